"""The statements of prize-pool (docs/design.md, Settling). Each runs in the caller's transaction."""
# ruff: noqa: S608 - the ranking order is put in; all values are parameters

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, text

from shared.db.ranking import ORDER_BY
from shared.domain.board import Board


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A prize pool and the board that it rewards."""

    id: int
    board: Board

    def to_json(self) -> dict[str, Any]:
        """How results and logs name it."""
        return {"pool_id": self.id, **self.board.to_json()}


class Winner(NamedTuple):
    """The entry that wins a pool.

    Attributes:
        place: in the ranking order, from 1; those before it were passed over.
    """

    entry_id: int
    player_address: str
    score: int
    place: int


class SettledPool(NamedTuple):
    """A pool as a run left it; the amount in USDC."""

    pool: Pool
    winner_address: str | None
    winner_score: int | None
    total_amount_usdc: Decimal
    total_games: int
    entries_passed_over: int


class PassedOver(NamedTuple):
    """An entry that no completed session of the same player, game and score backs."""

    entry_id: int
    player_address: str
    score: int


# S02: everything that has ended and is open, however long ago; the earliest end first.
_LIST_DUE_POOLS = text("""
    SELECT id, game_type, period_type, period_date FROM prize_pools
    WHERE status = 'active'
      AND (period_type = 'daily' AND period_date < :today OR period_type = 'weekly' AND period_date <= :week_ago)
    ORDER BY period_date + CASE period_type WHEN 'weekly' THEN 7 ELSE 1 END, id
""")


def list_due_pools(connection: Connection, *, today: date, week_ago: date) -> list[Pool]:
    """The active pools whose period has ended, the earliest end first.

    Args:
        connection: in whose transaction.
        today: the local day of the scheduled time: daily pools before it have ended.
        week_ago: seven days before: weekly pools that began then or earlier have ended.
    """
    return [_pool(row) for row in connection.execute(_LIST_DUE_POOLS, {"today": today, "week_ago": week_ago})]


# S01: only one run settles a pool. S08: it waits for writers that came first, and later ones wait for it.
_LOCK_ACTIVE_POOL = text("SELECT id FROM prize_pools WHERE id = :pool_id AND status = 'active' FOR UPDATE")


def lock_active_pool(connection: Connection, pool: Pool) -> bool:
    """Lock the pool against writers of it and of its scores. False: it is no longer active."""
    return connection.execute(_LOCK_ACTIVE_POOL, {"pool_id": pool.id}).one_or_none() is not None


# S09: each condition of the join is one that a forged entry, or one whose session is gone, does not meet.
_FIND_WINNER = text(f"""
    SELECT placed.id, placed.player_address, placed.score, placed.place
    FROM (
        SELECT *, row_number() OVER (ORDER BY {ORDER_BY}) AS place FROM leaderboard_entries
        WHERE game_type = :game_type AND period_type = :period_type AND period_date = :period_date
    ) AS placed
    JOIN game_sessions AS session
      ON session.id = placed.session_id
     AND session.status = 'completed'
     AND session.player_address = placed.player_address
     AND session.game_type = placed.game_type
     AND session.score = placed.score
     AND session.completed_at >= :starts_at
     AND session.completed_at < :ends_at
    ORDER BY placed.place
    LIMIT 1
""")


def find_winner(connection: Connection, pool: Pool, *, starts_at: datetime, ends_at: datetime) -> Winner | None:
    """The first entry in ranking order that its own completed session backs; None if there is none.

    Args:
        connection: its transaction holds the lock of the pool, unless this is a preview.
        pool: whose board the entry is on.
        starts_at: the period's first instant: the session was completed in the period.
        ends_at: the first instant after it.
    """
    parameters = {**pool.board.key, "starts_at": starts_at, "ends_at": ends_at}
    row = connection.execute(_FIND_WINNER, parameters).one_or_none()
    return Winner(*row) if row is not None else None


_LIST_LEADING_ENTRIES = text(f"""
    SELECT id, player_address, score FROM leaderboard_entries
    WHERE game_type = :game_type AND period_type = :period_type AND period_date = :period_date
    ORDER BY {ORDER_BY}
    LIMIT :most
""")


def list_leading_entries(connection: Connection, pool: Pool, *, most: int) -> list[PassedOver]:
    """The first entries of the pool's board in ranking order, at most so many."""
    rows = connection.execute(_LIST_LEADING_ENTRIES, {**pool.board.key, "most": most})
    return [PassedOver(*row) for row in rows]


_COUNT_ENTRIES = text("""
    SELECT count(*) FROM leaderboard_entries
    WHERE game_type = :game_type AND period_type = :period_type AND period_date = :period_date
""")


def count_entries(connection: Connection, pool: Pool) -> int:
    """How many entries the pool's board has."""
    count: int = connection.execute(_COUNT_ENTRIES, pool.board.key).scalar_one()
    return count


_MARK_SETTLED = text("""
    UPDATE prize_pools
    SET status = 'finalized', winner_address = :winner_address, winner_score = :winner_score,
        finalized_at = :finalized_at, settled_by = :run_id, entries_passed_over = :passed_over
    WHERE id = :pool_id AND status = 'active'
""")


def mark_settled(
    connection: Connection, pool: Pool, *, winner: Winner | None, passed_over: int, now: datetime, run_id: str
) -> None:
    """Finalize a pool that this transaction has locked. From here on the database refuses to change it."""
    connection.execute(
        _MARK_SETTLED,
        {
            "pool_id": pool.id,
            "winner_address": winner.player_address if winner else None,
            "winner_score": winner.score if winner else None,
            "finalized_at": now,
            "run_id": run_id,
            "passed_over": passed_over,
        },
    )


_SETTLED_POOL = """
    SELECT id, game_type, period_type, period_date, winner_address, winner_score, total_amount_usdc, total_games,
        entries_passed_over
    FROM prize_pools
"""
_LIST_SETTLED_POOLS = text(f"""
    {_SETTLED_POOL}
    WHERE settled_by = :run_id
    ORDER BY period_date + CASE period_type WHEN 'weekly' THEN 7 ELSE 1 END, id
""")


def list_settled_pools(connection: Connection, *, run_id: str) -> list[SettledPool]:
    """Everything that a run settled, in whichever attempt, the earliest end first."""
    return [_settled_pool(row) for row in connection.execute(_LIST_SETTLED_POOLS, {"run_id": run_id})]


_GET_POOL = text(f"{_SETTLED_POOL} WHERE id = :pool_id")


def get_pool(connection: Connection, pool: Pool) -> SettledPool:
    """The pool with its current amount."""
    return _settled_pool(connection.execute(_GET_POOL, {"pool_id": pool.id}).one())


def _pool(row: Row[*tuple[Any, ...]]) -> Pool:
    return Pool(id=row.id, board=Board.from_key(row.game_type, row.period_type, row.period_date))


def _settled_pool(row: Row[*tuple[Any, ...]]) -> SettledPool:
    return SettledPool(
        pool=_pool(row),
        winner_address=row.winner_address,
        winner_score=row.winner_score,
        total_amount_usdc=row.total_amount_usdc,
        total_games=row.total_games,
        entries_passed_over=row.entries_passed_over or 0,
    )
