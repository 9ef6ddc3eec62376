"""Statements over prize pools (DESIGN section 2, Settling). Each runs in the caller's transaction."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, and_, bindparam, case, func, or_, select, update

from shared.db.tables import game_sessions as s
from shared.db.tables import leaderboard_entries as e
from shared.db.tables import prize_pools as p
from shared.db.tables import ranking_order
from shared.domain.periods import Period, PeriodType


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A prize pool and the competition that it is for."""

    id: int
    game_type: str
    period: Period


class Winner(NamedTuple):
    """The entry that wins a pool.

    Attributes:
        place: its place in the ranking order, from 1; those before it were passed over.
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


_KEY = (p.c.id, p.c.game_type, p.c.period_type, p.c.period_date)
_BOARD = and_(
    e.c.game_type == bindparam("game_type"),
    e.c.period_type == bindparam("period_type"),
    e.c.period_date == bindparam("period_date"),
)

# S02: everything that has ended and is open, however long ago; the oldest first.
_DUE_POOLS = (
    select(*_KEY)
    .where(
        p.c.status == "active",
        or_(
            and_(p.c.period_type == "daily", p.c.period_date < bindparam("today")),
            and_(p.c.period_type == "weekly", p.c.period_date <= bindparam("week_ago")),
        ),
    )
    .order_by(p.c.period_date + case((p.c.period_type == "weekly", 7), else_=1), p.c.id)
)


def list_due_pools(connection: Connection, *, today: date, week_ago: date) -> list[Pool]:
    """The active pools whose period has ended, the earliest end first.

    Args:
        connection: in whose transaction.
        today: the local day of the scheduled time: daily pools before it have ended.
        week_ago: seven days before: weekly pools that began then or earlier have ended.
    """
    return [_pool(row) for row in connection.execute(_DUE_POOLS, {"today": today, "week_ago": week_ago})]


# S01: only one settles a pool. S08: it waits for writers that came first, and holds off those that come later.
_LOCK_POOL = select(p.c.id).where(p.c.id == bindparam("pool_id"), p.c.status == "active").with_for_update()


def lock_active_pool(connection: Connection, pool: Pool) -> bool:
    """Wait for whoever writes to the pool or its scores, and keep others out. False: it is no longer active."""
    return connection.execute(_LOCK_POOL, {"pool_id": pool.id}).one_or_none() is not None


_placed = select(e, func.row_number().over(order_by=ranking_order()).label("place")).where(_BOARD).subquery("placed")
# S09: each condition of the join is one that a forged entry, or one whose session is gone, does not meet.
_FIND_WINNER = (
    select(_placed.c.id, _placed.c.player_address, _placed.c.score, _placed.c.place)
    .join(
        s,
        and_(
            s.c.id == _placed.c.session_id,
            s.c.status == "completed",
            s.c.player_address == _placed.c.player_address,
            s.c.game_type == _placed.c.game_type,
            s.c.score == _placed.c.score,
            s.c.completed_at >= bindparam("starts_at"),
            s.c.completed_at < bindparam("ends_at"),
        ),
    )
    .order_by(_placed.c.place)
    .limit(1)
)


def find_winner(connection: Connection, pool: Pool, *, starts_at: datetime, ends_at: datetime) -> Winner | None:
    """The first entry in ranking order that its own completed session backs; None if there is none.

    Args:
        connection: whose transaction holds the lock of the pool, if the answer is to be acted on.
        pool: whose game and period the entry is of.
        starts_at: the period's first instant, in which the session must have been completed.
        ends_at: the first instant after it.
    """
    row = connection.execute(_FIND_WINNER, _board(pool) | {"starts_at": starts_at, "ends_at": ends_at}).one_or_none()
    return Winner(*row) if row is not None else None


_LEADING_ENTRIES = (
    select(e.c.id, e.c.player_address, e.c.score).where(_BOARD).order_by(*ranking_order()).limit(bindparam("most"))
)


def list_leading_entries(connection: Connection, pool: Pool, *, most: int) -> list[PassedOver]:
    """The first entries of the pool's board in ranking order, at most so many."""
    return [PassedOver(*row) for row in connection.execute(_LEADING_ENTRIES, _board(pool) | {"most": most})]


_COUNT_ENTRIES = select(func.count()).select_from(e).where(_BOARD)


def count_entries(connection: Connection, pool: Pool) -> int:
    """How many entries the pool's board has."""
    return connection.execute(_COUNT_ENTRIES, _board(pool)).scalar_one()


_MARK_SETTLED = (
    update(p)
    .where(p.c.id == bindparam("pool_id"), p.c.status == "active")
    .values(
        status="finalized",
        winner_address=bindparam("winner"),
        winner_score=bindparam("winning_score"),
        finalized_at=bindparam("now"),
        settled_by=bindparam("run_id"),
        entries_passed_over=bindparam("passed_over"),
    )
)


def mark_settled(
    connection: Connection, pool: Pool, *, winner: Winner | None, passed_over: int, now: datetime, run_id: str
) -> None:
    """Finalize a pool that this transaction has locked. From here on the database refuses to change it."""
    connection.execute(
        _MARK_SETTLED,
        {
            "pool_id": pool.id,
            "winner": winner.player_address if winner else None,
            "winning_score": winner.score if winner else None,
            "now": now,
            "run_id": run_id,
            "passed_over": passed_over,
        },
    )


_TOTALS = (p.c.winner_address, p.c.winner_score, p.c.total_amount_usdc, p.c.total_games, p.c.entries_passed_over)
_SETTLED_POOLS = (
    select(*_KEY, *_TOTALS)
    .where(p.c.settled_by == bindparam("run_id"))
    .order_by(p.c.period_date + case((p.c.period_type == "weekly", 7), else_=1), p.c.id)
)


def list_settled_pools(connection: Connection, *, run_id: str) -> list[SettledPool]:
    """Everything that a run settled, whatever attempt did it, the earliest end first."""
    return [_settled(row) for row in connection.execute(_SETTLED_POOLS, {"run_id": run_id})]


_GET_POOL = select(*_KEY, *_TOTALS).where(p.c.id == bindparam("pool_id"))


def get_totals(connection: Connection, pool: Pool) -> SettledPool:
    """The pool with its amount as it stands."""
    return _settled(connection.execute(_GET_POOL, {"pool_id": pool.id}).one())


def _settled(row: Row[*tuple[Any, ...]]) -> SettledPool:
    return SettledPool(
        pool=_pool(row),
        winner_address=row.winner_address,
        winner_score=row.winner_score,
        total_amount_usdc=row.total_amount_usdc,
        total_games=row.total_games,
        entries_passed_over=row.entries_passed_over or 0,
    )


def _pool(row: Row[*tuple[Any, ...]]) -> Pool:
    return Pool(
        id=row.id, game_type=row.game_type, period=Period(type=PeriodType(row.period_type), date=row.period_date)
    )


def _board(pool: Pool) -> dict[str, object]:
    return {"game_type": pool.game_type, "period_type": str(pool.period.type), "period_date": pool.period.date}
