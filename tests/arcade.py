"""The arcade's platform for tests: it writes plays and pools as a platform does, row by row.

Whole plays, with pools filled and bests kept by the platform's own rules, are `infra.demo.platform`'s.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Engine, Row, text

from shared.domain.periods import Calendar, PeriodType, current_period, load_zone

UTC_CALENDAR = Calendar.of(load_zone("UTC"))
_ADD_POOL = text("""
    INSERT INTO prize_pools (game_type, period_type, period_date, total_amount_usdc, total_games)
    VALUES (:game, :period, :day, :amount, :games)
    RETURNING id
""")
_PAY = text("""
    INSERT INTO prize_pools AS pool (game_type, period_type, period_date, total_amount_usdc, total_games)
    VALUES (:game, :period, :day, :amount, 1)
    ON CONFLICT (game_type, period_type, period_date) DO UPDATE
    SET total_amount_usdc = pool.total_amount_usdc + excluded.total_amount_usdc, total_games = pool.total_games + 1
    RETURNING id
""")
_PAY_OUT = text("UPDATE prize_pools SET status = 'paid', payout_tx_hash = :payout WHERE id = :pool_id")
_ADD_SESSION = text("""
    INSERT INTO game_sessions (id, game_type, player_address, amount_paid_usdc, score, status, created_at, completed_at)
    VALUES (:id, :game, :player, :amount, :score, :status, :created_at, :completed_at)
""")
_COMPLETE = text("""
    UPDATE game_sessions SET status = 'completed', score = :score, completed_at = :at
    WHERE id = :id AND status = 'active'
""")
_ADD_ENTRY = text("""
    INSERT INTO leaderboard_entries AS entry (
        session_id, game_type, player_address, score, period_type, period_date, created_at)
    VALUES (:session_id, :game, :player, :score, :period, :day, :at)
    ON CONFLICT (player_address, game_type, period_type, period_date) DO UPDATE
    SET session_id = excluded.session_id, score = excluded.score, created_at = excluded.created_at
    WHERE excluded.score > entry.score
    RETURNING id
""")
_PLAY_MANY = text("""
    WITH played AS (
        INSERT INTO game_sessions (
            id, game_type, player_address, amount_paid_usdc, score, status, created_at, completed_at)
        SELECT gen_random_uuid(), :game, '0x' || n, 0.01, n, 'completed', :at, :at
        FROM generate_series(1, :players) AS n
        RETURNING *)
    INSERT INTO leaderboard_entries (
        session_id, game_type, player_address, score, period_type, period_date, created_at)
    SELECT id, game_type, player_address, score, :period, :day, completed_at FROM played
""")
_TOUCH = """
    INSERT INTO leaderboard_touches
    SELECT game_type, period_type, period_date FROM leaderboard_entries WHERE id = :id
"""
_POOL = text("SELECT * FROM prize_pools WHERE id = :pool_id")
_RANKS = text("""
    SELECT player_address, rank FROM leaderboard_entries
    WHERE game_type = :game AND period_type = :period AND (CAST(:day AS date) IS NULL OR period_date = :day)
    ORDER BY rank, id
""")


@dataclass(frozen=True)
class Arcade:
    """The platform's writes, each in a transaction of its own, or in the open one of `within`."""

    engine: Engine
    calendar: Calendar = UTC_CALENDAR
    connection: Connection | None = None

    def within(self, connection: Connection) -> "Arcade":
        """The same arcade, its writes in a transaction that the test ends."""
        return replace(self, connection=connection)

    def record_calendar(self) -> None:
        """Make the zones of its calendar those of the database."""
        self.execute("DELETE FROM arcade_jobs_timezones")
        for begins, zone in self.calendar.zones.items():
            self.execute("INSERT INTO arcade_jobs_timezones VALUES (:begins, :zone)", begins=begins, zone=zone.key)

    def add_pool(
        self, day: str, *, game: str = "pong", period: str = "daily", amount: str = "0.7", games: int = 100
    ) -> int:
        pool = {"game": game, "period": period, "day": date.fromisoformat(day)}
        return int(self._execute(_ADD_POOL, pool | {"amount": Decimal(amount), "games": games}))

    def pay(self, day: str, *, game: str = "pong", period: str = "daily", amount: str = "0.007") -> int:
        """A payment into the pool of a period; returns the pool's id."""
        pool = {"game": game, "period": period, "day": date.fromisoformat(day)}
        return int(self._execute(_PAY, pool | {"amount": Decimal(amount)}))

    def pay_out(self, pool_id: int, payout: str) -> None:
        self._execute(_PAY_OUT, {"pool_id": pool_id, "payout": payout})

    def add_session(
        self,
        created_at: str,
        *,
        player: str = "0xa",
        game: str = "pong",
        score: int | None = None,
        completed_at: str | None = None,
        status: str | None = None,
        amount: str = "0.01",
        session_id: UUID | None = None,
    ) -> UUID:
        session_id = session_id or uuid4()
        session = {
            "id": session_id,
            "game": game,
            "player": player,
            "amount": Decimal(amount),
            "score": score,
            "status": status or ("active" if completed_at is None else "completed"),
            "created_at": datetime.fromisoformat(created_at),
            "completed_at": datetime.fromisoformat(completed_at) if completed_at else None,
        }
        self._execute(_ADD_SESSION, session)
        return session_id

    def complete(self, session_id: UUID, score: int, completed_at: str) -> None:
        """The end of a game that was being played."""
        self._execute(_COMPLETE, {"id": session_id, "score": score, "at": datetime.fromisoformat(completed_at)})

    def add_entry(
        self,
        session_id: UUID,
        score: int,
        reached_at: str,
        *,
        player: str = "0xa",
        game: str = "pong",
        period: str = "daily",
        day: str | None = None,
    ) -> int | None:
        """A score on a board; returns the entry's id, or None if the player's best is as good.

        Args:
            session_id: of a completed game with this score.
            score: points.
            reached_at: when; the board is that of its period.
            player: whose.
            game: of the board.
            period: of the board.
            day: the board's, if it is not the one in which the score was reached.
        """
        at = datetime.fromisoformat(reached_at)
        own_day = current_period(PeriodType(period), at, self.calendar).date
        entry = {"session_id": session_id, "game": game, "player": player, "score": score, "period": period, "at": at}
        entry_id: int | None = self._execute(_ADD_ENTRY, entry | {"day": date.fromisoformat(day) if day else own_day})
        return entry_id

    def add_unchecked_entry(self, session_id: UUID, score: int, reached_at: str, **entry: str) -> int | None:
        """`add_entry` as it was before revision 0003: no session need back the entry, and its time is its own.

        The triggers are off meanwhile, and its board is touched by hand. It is not refused in a settled period.
        """
        with self._transaction() as connection:
            arcade = self.within(connection)
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            entry_id = arcade.add_entry(session_id, score, reached_at, **entry)
            connection.execute(text("SET LOCAL session_replication_role = origin"))
            if entry_id is not None:
                arcade.execute(_TOUCH, id=entry_id)
        return entry_id

    def add_orphan(
        self,
        score: int,
        reached_at: str,
        *,
        player: str = "0xa",
        game: str = "pong",
        periods: tuple[str, ...] = ("daily",),
    ) -> None:
        """A play whose session the platform deleted afterwards."""
        session_id = self.play(player, score, reached_at, game=game, periods=periods)
        self.execute("DELETE FROM game_sessions WHERE id = :id", id=session_id)

    def play(
        self, player: str, score: int, completed_at: str, *, game: str = "pong", periods: tuple[str, ...] = ("daily",)
    ) -> UUID:
        """A game played to its end, and its entries."""
        started_at = datetime.fromisoformat(completed_at) - timedelta(seconds=40)
        session_id = self.add_session(
            started_at.isoformat(), player=player, game=game, score=score, completed_at=completed_at
        )
        for period in periods:
            self.add_entry(session_id, score, completed_at, player=player, game=game, period=period)
        return session_id

    def play_many(self, players: int, completed_at: str, *, game: str = "pong", period: str = "daily") -> None:
        """A game of each of many players, `0x1` and on, its number the score, and their entries: in one statement."""
        at = datetime.fromisoformat(completed_at)
        day = current_period(PeriodType(period), at, self.calendar).date
        self._execute(_PLAY_MANY, {"players": players, "at": at, "game": game, "period": period, "day": day})

    def pool(self, pool_id: int) -> Row[Any]:
        with self._transaction() as connection:
            return connection.execute(_POOL, {"pool_id": pool_id}).one()

    def ranks(
        self, *, period: str = "daily", day: str | None = None, game: str = "pong"
    ) -> list[tuple[str, int | None]]:
        """Player and rank of a board, in the order of ranks."""
        board = {"game": game, "period": period, "day": date.fromisoformat(day) if day else None}
        with self._transaction() as connection:
            return [(row.player_address, row.rank) for row in connection.execute(_RANKS, board)]

    def execute(self, *statements: str, **parameters: Any) -> None:
        """Anything else that a platform, or a fault, may do to the database."""
        with self._transaction() as connection:
            for statement in statements:
                connection.execute(text(statement), parameters)

    def _execute(self, statement: Any, parameters: dict[str, Any]) -> Any:
        with self._transaction() as connection:
            result = connection.execute(statement, parameters)
            return result.scalar() if result.returns_rows else None

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        if self.connection is not None:
            yield self.connection
        else:
            with self.engine.begin() as connection:
                yield connection
