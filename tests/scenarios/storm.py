"""A storm: fifty players pay and play at once while pools are settled, boards ranked and sessions cleaned."""

import random
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from time import monotonic
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError

from infra.demo.platform import Platform, PlatformError
from infra.demo.plays import Play
from shared.db.errors import sqlstate
from tests.fakes import FakeClock
from tests.plays import Key, keys
from tests.scenarios.conftest import Container

WRITERS = 50
GAMES = ("pong", "snake")
PLAYS_A_DAY = 25
FIRST_DAY = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
ZONE = ZoneInfo("UTC")
FORGE = text("""
    INSERT INTO leaderboard_entries AS entry (
        session_id, game_type, player_address, score, period_type, period_date, created_at)
    VALUES (:id, :game, :player, :score, 'daily', :day, :at), (:id, :game, :player, :score, 'weekly', :monday, :at)
    ON CONFLICT (player_address, game_type, period_type, period_date) DO UPDATE
    SET session_id = excluded.session_id, score = excluded.score, created_at = excluded.created_at
""")


@dataclass
class Storm:
    """What the writers were promised: what committed, by pool; and what went wrong.

    Attributes:
        engine: of the database; each writer has a connection of its own.
        clock: of the jobs; moved to each midnight.
        jobs: a container for each job.
        seconds: how long it blows.
    """

    engine: Engine
    clock: FakeClock
    jobs: dict[str, Container]
    seconds: float
    day: int = 0
    paid: dict[Key, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    best: dict[Key, tuple[int, str]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def blow(self) -> None:
        """Until the time is up; then settle, clean and rank what is left."""
        for container in self.jobs.values():
            event.listen(container.app.engine, "handle_error", self._note_error)
        self.clock.now = self._midnight() + timedelta(minutes=1)
        self.until = monotonic() + self.seconds
        players = create_engine(self.engine.url, pool_size=WRITERS, max_overflow=0, pool_timeout=120)
        try:
            with ThreadPoolExecutor(WRITERS + len(self.jobs)) as threads:
                blowing = [threads.submit(self._play, players, random.Random(n)) for n in range(WRITERS)]
                blowing += [
                    threads.submit(self._settle_days),
                    threads.submit(self._repeat, "leaderboard"),
                    threads.submit(self._repeat, "cleanup"),
                ]
                for thread in blowing:
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
        result = self.jobs[job].invoke(job, {})
        with self.lock:
            self.counts[job] += 1
            if result["status"] != "succeeded":
                self.failures.append(f"{job}: {result['result']['errors']}")

    def _repeat(self, job: str) -> None:
        while monotonic() < self.until:
            self._invoke(job)

    def _settle_days(self) -> None:
        """A day ends as soon as there is something to settle, in the midst of its scores."""
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
            if self._write(lambda play=play: platform.receive(started=[play], completed=[])):
                self._count("payments", lambda play=play: self._add_payment(play))
                if dice.random() < 0.9 and self._write(
                    lambda play=play: platform.receive(started=[], completed=[play])
                ):
                    self._count("scores", lambda play=play: self._add_score(play))

    def _next_play(self, dice: random.Random) -> Play:
        """A play of this day, or now and then of the one before: its player was slow."""
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
        """The same few forgers again and again, so that cleaning meets entries that are being improved."""
        day = self._midnight()
        values = {"id": uuid4(), "game": dice.choice(GAMES), "player": f"0xforger{dice.randrange(5)}"}
        score = {"score": dice.randrange(10**9), "at": day - timedelta(hours=2)}
        with players.begin() as connection:
            connection.execute(
                FORGE, values | score | {"day": day.date(), "monday": (day - timedelta(days=day.weekday())).date()}
            )

    def _write(self, write: Callable[[], object]) -> bool:
        """Whether it was taken. Refused by the seal is no failure; anything else of the database's is."""
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
