"""A load test: fifty players pay and play at once while pools are settled, boards ranked and sessions cleaned."""

import random
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from time import monotonic
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, event
from sqlalchemy.exc import DBAPIError

from infra.demo.platform import Platform, PlatformError
from infra.demo.plays import Play
from shared.app import App
from shared.db.errors import sqlstate
from tests.arcade import Arcade
from tests.fakes import FakeClock
from tests.jobs import invoke
from tests.plays import Key, keys
from tests.sql import open_database

WRITERS = 50
GAMES = ("pong", "snake")
PLAYS_A_DAY = 25
FIRST_DAY = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
ZONE = ZoneInfo("UTC")


@dataclass
class Load:
    """The writers and the jobs, and what was acknowledged to the writers, by pool.

    Attributes:
        engine: of the database; each writer has a connection of its own.
        clock: of the jobs; moved to each midnight.
        apps: one for each job.
        seconds: how long the writers write.
    """

    engine: Engine
    clock: FakeClock
    apps: dict[str, App]
    seconds: float
    day: int = 0
    paid: dict[Key, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    best: dict[Key, tuple[int, str]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    until: float = 0

    def run(self) -> None:
        """Write until the time is up; then settle, clean and rank what is left."""
        for app in self.apps.values():
            event.listen(app.engine, "handle_error", self._note_error)
        self.clock.now = self._midnight() + timedelta(minutes=1)
        self.until = monotonic() + self.seconds
        players = open_database(self.engine.url, pool_size=WRITERS, max_overflow=0, pool_timeout=120)
        try:
            with ThreadPoolExecutor(WRITERS + len(self.apps)) as threads:
                threads_running = [threads.submit(self._play, players, random.Random(n)) for n in range(WRITERS)]
                threads_running += [
                    threads.submit(self._settle_days),
                    threads.submit(self._repeat, "leaderboard"),
                    threads.submit(self._repeat, "cleanup"),
                ]
                for thread in threads_running:
                    thread.result(self.seconds + 300)
        finally:
            players.dispose()
        self.day += 8  # the last week has ended too
        self.clock.now = self._midnight() + timedelta(minutes=1)
        for job in ("prize-pool", "cleanup", "leaderboard"):
            self._invoke(job)

    def _midnight(self) -> datetime:
        return FIRST_DAY + timedelta(days=self.day)

    def _note_error(self, context: Any) -> None:
        self.failures.append(f"a job: {context.original_exception}")

    def _invoke(self, job: str) -> None:
        result = invoke(self.apps[job], job, {})
        with self.lock:
            self.counts[job] += 1
            if result["status"] != "succeeded":
                self.failures.append(f"{job}: {result['result']['errors']}")

    def _repeat(self, job: str) -> None:
        while monotonic() < self.until:
            self._invoke(job)

    def _settle_days(self) -> None:
        """A day ends as soon as there is something to settle, while its scores are still being written."""
        while monotonic() < self.until:
            enough = self.counts["scores"] + PLAYS_A_DAY
            while self.counts["scores"] < enough and monotonic() < self.until:
                self._invoke("prize-pool")
            self.day += 1
            self.clock.now = self._midnight() + timedelta(minutes=1)
            self._invoke("prize-pool")

    def _play(self, players: Engine, dice: random.Random) -> None:
        platform = Platform(engine=players, zone=ZONE)
        while monotonic() < self.until:
            if dice.random() < 0.1:
                self._write(lambda: self._forge(players, dice))
                continue
            play = self._next_play(dice)
            if self._write(partial(platform.receive, started=[play], completed=[])):
                self._count("payments", partial(self._add_payment, play))
                if dice.random() < 0.9 and self._write(partial(platform.receive, started=[], completed=[play])):
                    self._count("scores", partial(self._add_score, play))

    def _next_play(self, dice: random.Random) -> Play:
        """A play of this day, or one time in ten of the day before: its player was slow."""
        midnight = self._midnight() - timedelta(days=dice.random() < 0.1)
        completed_at = midnight + timedelta(seconds=dice.randrange(60, 86_400))
        return Play(
            session_id=UUID(int=dice.getrandbits(128)),
            game_type=dice.choice(GAMES),
            player_address=f"0x{dice.randrange(30)}",
            amount_paid_usdc=Decimal("0.01"),
            created_at=completed_at - timedelta(seconds=50),
            completed_at=completed_at,
            score=dice.randrange(10**9),
            game_duration_ms=50_000,
        )

    def _forge(self, players: Engine, dice: random.Random) -> None:
        """Plays whose sessions are deleted at once, by the same few players again and again.

        So cleaning meets orphans that are being improved.
        """
        day = self._midnight()
        reached_at = (day - timedelta(hours=2)).isoformat()  # old enough to be an orphan
        score = int(monotonic() * 1000)  # better each time
        player, game = f"0xforger{dice.randrange(5)}", dice.choice(GAMES)
        with players.begin() as connection:
            forger = Arcade(players).within(connection)
            session_id = forger.add_session(reached_at, player=player, game=game, score=score, completed_at=reached_at)
            for period, board in (("daily", day), ("weekly", day - timedelta(days=day.weekday()))):
                forger.add_entry(
                    session_id, score, reached_at, player=player, game=game, period=period, day=board.date().isoformat()
                )
            forger.execute("DELETE FROM game_sessions WHERE id = :id", id=session_id)

    def _write(self, write: Callable[[], object]) -> bool:
        """Whether it committed. Refused by the seal is no failure; any other database error is."""
        try:
            write()
        except PlatformError:
            self._count("abandoned")  # cleaning deleted the session before its score came
        except DBAPIError as error:
            self._count("refused" if sqlstate(error) == "AJ001" else "failed")
            if sqlstate(error) != "AJ001":
                self.failures.append(f"a writer: {error.orig}")
        else:
            return True
        return False

    def _count(self, name: str, note: Callable[[], None] = lambda: None) -> None:
        with self.lock:
            self.counts[name] += 1
            note()

    def _add_payment(self, play: Play) -> None:
        for key in keys(play.game_type, play.created_at, ZONE):
            self.paid[key] += play.amount_paid_usdc * 7 / 10

    def _add_score(self, play: Play) -> None:
        assert play.completed_at is not None
        assert play.score is not None
        for key in keys(play.game_type, play.completed_at, ZONE):
            self.best[key] = max(self.best.get(key, (-1, "")), (play.score, play.player_address))
