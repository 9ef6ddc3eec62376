"""The statements of prize-pool (docs/design.md, Settling). Each runs in the caller's transaction."""
# ruff: noqa: S608 - the ranking order is put in; all values are parameters

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, text

from shared.db.ranking import AFTER, ORDER_BY
from shared.domain.board import Board


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A prize pool and the board that it rewards."""

    id: int
    board: Board

    def to_json(self) -> dict[str, Any]:
        """How results and logs name it."""
        return {"pool_id": self.id, **self.board.to_json()}


class Place(NamedTuple):
    """An entry of a board where a search for its winner has arrived.

    Attributes:
        created_at: as PostgreSQL writes it: no value is too odd to continue from.
        place: in ranking order, from 1, in the slice that was read.
        is_backed: by its own session: it wins. Otherwise it is the slice's last, and none in the slice is.
    """

    id: int
    player_address: str
    score: int
    created_at: str
    place: int
    is_backed: bool


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


# S16: where statistics are from a time when every pool was open, the planner would read all pools there ever were.
_READ_BY_INDEX = text("SELECT set_config('enable_seqscan', 'off', true)")

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
    connection.execute(_READ_BY_INDEX)
    return [_pool(row) for row in connection.execute(_LIST_DUE_POOLS, {"today": today, "week_ago": week_ago})]


# S01: only one run settles a pool. S08: it waits for writers that came first, and later ones wait for it.
_LOCK_ACTIVE_POOL = text("SELECT id FROM prize_pools WHERE id = :pool_id AND status = 'active' FOR UPDATE")


def lock_active_pool(connection: Connection, pool: Pool) -> bool:
    """Lock the pool against writers of it and of its scores. False: it is no longer active."""
    return connection.execute(_LOCK_ACTIVE_POOL, {"pool_id": pool.id}).one_or_none() is not None


def _slice(condition: str = "") -> str:
    """The next entries of a board in ranking order, each with its place among them."""
    return f"""
        SELECT id, session_id, game_type, player_address, score, created_at,
               row_number() OVER (ORDER BY {ORDER_BY}) AS place
        FROM leaderboard_entries
        WHERE game_type = :game_type AND period_type = :period_type AND period_date = :period_date {condition}
        ORDER BY {ORDER_BY}
        LIMIT :most
    """


# S16: OFFSET 0 keeps the planner from joining any other way than entry by entry, each with its session's key, until one
# is found. S09: each condition on the session is one that a forged entry, or one whose session is gone, does not meet.
# The slice's end is found by the same statement, on the same snapshot: between two, an entry could be deleted, and the
# end be behind one that was not looked at.
_FIND_WINNER, _FIND_WINNER_AFTER = (
    text(f"""
    WITH winner AS MATERIALIZED (
        SELECT entry.id, entry.player_address, entry.score, entry.created_at, entry.place
        FROM ({entries}) AS entry
        CROSS JOIN LATERAL (
            SELECT FROM game_sessions AS session
            WHERE session.id = entry.session_id
              AND session.status = 'completed'
              AND session.player_address = entry.player_address
              AND session.game_type = entry.game_type
              AND session.score = entry.score
              AND session.completed_at >= :starts_at
              AND session.completed_at < :ends_at
            OFFSET 0
        ) AS its_session
        ORDER BY {ORDER_BY}
        LIMIT 1
    )
    SELECT id, player_address, score, created_at::text, place, true AS is_backed FROM winner
    UNION ALL
    SELECT id, player_address, score, created_at::text, place, false
    FROM (SELECT * FROM ({entries}) AS entry ORDER BY place DESC LIMIT 1) AS slice_end
    WHERE NOT EXISTS (SELECT FROM winner)
    """)
    for entries in (_slice(), _slice(f"AND {AFTER}"))
)


def find_winner(
    connection: Connection, pool: Pool, *, starts_at: datetime, ends_at: datetime, most: int, after: Place | None = None
) -> Place | None:
    """The first entry of a slice, in ranking order, that its own completed session backs, or else the slice's last.

    None if no entry is in the slice.

    Args:
        connection: its transaction holds the lock of the pool, unless this is a preview.
        pool: whose board the entry is on.
        starts_at: the period's first instant: the session was completed in the period.
        ends_at: the first instant after it.
        most: entries in the slice.
        after: the end of the slice before; None for the first.
    """
    parameters = {**_slice_of(pool, most=most, after=after), "starts_at": starts_at, "ends_at": ends_at}
    row = connection.execute(_FIND_WINNER_AFTER if after else _FIND_WINNER, parameters).one_or_none()
    return Place(*row) if row is not None else None


_LIST_LEADING_ENTRIES = text(f"SELECT id, player_address, score FROM ({_slice()}) AS entry ORDER BY place")


def list_leading_entries(connection: Connection, pool: Pool, *, most: int) -> list[PassedOver]:
    """The first entries of the pool's board in ranking order, at most so many."""
    return [PassedOver(*row) for row in connection.execute(_LIST_LEADING_ENTRIES, _slice_of(pool, most=most))]


_MARK_SETTLED = text("""
    UPDATE prize_pools
    SET status = 'finalized', winner_address = :winner_address, winner_score = :winner_score,
        finalized_at = :finalized_at, settled_by = :run_id, entries_passed_over = :passed_over
    WHERE id = :pool_id AND status = 'active'
""")


def mark_settled(
    connection: Connection, pool: Pool, *, winner: Place | None, passed_over: int, now: datetime, run_id: str
) -> None:
    """Finalize a pool that this transaction has locked. From here on the database refuses to change it.

    Raises:
        RuntimeError: the database did not do it, and sent no error.
    """
    marked = connection.execute(
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
    if marked.rowcount != 1:  # S35: what a trigger of the platform or a policy suppresses is no settlement
        raise RuntimeError(f"prize pool {pool.id} could not be marked: a trigger or a policy suppressed the update")


_SETTLED_POOL = """
    SELECT id, game_type, period_type, period_date, winner_address, winner_score, total_amount_usdc, total_games,
        entries_passed_over
    FROM prize_pools
"""
_LIST_SETTLED_POOLS = text(f"""
    {_SETTLED_POOL}
    WHERE settled_by = :run_id AND status <> 'active'
    ORDER BY period_date + CASE period_type WHEN 'weekly' THEN 7 ELSE 1 END, id
""")


def list_settled_pools(connection: Connection, *, run_id: str) -> list[SettledPool]:
    """Everything that a run settled, in whichever attempt, the earliest end first."""
    return [_settled_pool(row) for row in connection.execute(_LIST_SETTLED_POOLS, {"run_id": run_id})]


_GET_POOL = text(f"{_SETTLED_POOL} WHERE id = :pool_id")


def get_pool(connection: Connection, pool: Pool) -> SettledPool:
    """The pool with its current amount."""
    return _settled_pool(connection.execute(_GET_POOL, {"pool_id": pool.id}).one())


# A daily period ends when the day after its date begins, a weekly one seven days after. The touches are what was played
# since the last ranking; all other boards have one row each in the other table.
_LIST_PERIODS_WITHOUT_POOL = text("""
    SELECT game_type, period_type, period_date
    FROM (
        SELECT game_type, period_type, period_date FROM leaderboards
        UNION
        SELECT game_type, period_type, period_date FROM leaderboard_touches
    ) AS played
    WHERE (period_type = 'daily' AND period_date >= :week_ago AND period_date < :today
        OR period_type = 'weekly' AND period_date > :two_weeks_ago AND period_date <= :week_ago)
      AND EXISTS (
        SELECT FROM prize_pools AS pool
        WHERE pool.game_type = played.game_type AND pool.period_type = played.period_type
      )
      AND NOT EXISTS (
        SELECT FROM prize_pools AS pool
        WHERE pool.game_type = played.game_type
          AND pool.period_type = played.period_type
          AND pool.period_date = played.period_date
      )
    ORDER BY period_date, period_type, game_type
""")


def list_periods_without_pool(
    connection: Connection, *, today: date, week_ago: date, two_weeks_ago: date
) -> list[Board]:
    """The boards that were played, ended within the seven days before today, and have no pool.

    Only where the game has had a pool for this type of period: an arcade may have none for weeks.
    """
    days = {"today": today, "week_ago": week_ago, "two_weeks_ago": two_weeks_ago}
    return [Board.from_key(*row) for row in connection.execute(_LIST_PERIODS_WITHOUT_POOL, days)]


def _slice_of(pool: Pool, *, most: int, after: Place | None = None) -> dict[str, Any]:
    """The parameters of a slice."""
    behind = {"after_score": after.score, "after_created_at": after.created_at, "after_id": after.id} if after else {}
    return {**pool.board.key, "most": most, **behind}


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
