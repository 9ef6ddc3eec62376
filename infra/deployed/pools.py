"""Pools, money and boards of the platform's database: read, and nothing else.

Each function is one statement, which takes all its values as parameters of a stated type, so that it is the same
through a connection and through the Data API. A row is what JSON has of it: texts, whole numbers, decimals.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from shared.domain.board import Board
from shared.domain.errors import ArcadeJobsError
from shared.domain.periods import ONE_WEEK, Calendar, load_zone
from shared.runs.record import format_instant

LATEST_WINNERS = 10  # pools that a person looks at
MOST_UNPAID = 100  # pools; how many there are in all is counted
LAST_PLACES = 20  # entries at the end of a board in which its last rank is looked for

# Takes a statement and the values of its parameters, returns the rows by the names of their columns.
Query = Callable[[str, Mapping[str, Any]], list[Mapping[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class OpenPools:
    """What waits for a run or for a payout; the amount in USDC.

    Attributes:
        due: active pools whose period has ended: the next run settles them.
        unpaid: pools with a winner that are not paid.
        unpaid_usdc: the sum of those.
        oldest_unpaid_at: when the first of them was settled; None if there is none.
    """

    due: int
    unpaid: int
    unpaid_usdc: Decimal
    oldest_unpaid_at: datetime | None

    def to_json(self) -> dict[str, Any]:
        """The counts, JSON-ready."""
        return {
            "due": self.due,
            "unpaid": self.unpaid,
            "unpaid_usdc": str(self.unpaid_usdc),
            "oldest_unpaid_at": format_instant(self.oldest_unpaid_at) if self.oldest_unpaid_at else None,
        }


@dataclass(frozen=True, kw_only=True)
class SettledDay:
    """The settled pools of a game whose period had this as its last day; the amount in USDC."""

    day: date
    game_type: str
    pools: int
    amount_usdc: Decimal
    games: int


@dataclass(frozen=True, kw_only=True)
class SettledPool:
    """A settled pool; the amount in USDC.

    Attributes:
        winner_address: None, and the score too: no entry was valid, and the amount is kept.
    """

    pool_id: int
    board: Board
    winner_address: str | None
    winner_score: int | None
    amount_usdc: Decimal
    games: int
    status: str
    finalized_at: datetime


@dataclass(frozen=True, kw_only=True)
class BoardSize:
    """How many entries a board had when it was last ranked."""

    board: Board
    entries: int


_LIST_ZONES = "SELECT valid_from, timezone FROM arcade_jobs_timezones"


def read_calendar(query: Query) -> Calendar:
    """The zones of the periods, as they are recorded.

    Raises:
        ArcadeJobsError: none is.
    """
    zones = {date.fromisoformat(row["valid_from"]): load_zone(row["timezone"]) for row in query(_LIST_ZONES, {})}
    if not zones:
        raise ArcadeJobsError("no time zone is recorded: run arcade-jobs db upgrade")
    return Calendar(zones=zones)


# What is due is what `shared.db.prize_pool.list_due_pools` lists. The table has a row for each game and period, a few
# thousand a year: it is read whole for the unpaid ones, which have no index.
_COUNT_OPEN = """
    SELECT
        count(*) FILTER (
            WHERE status = 'active' AND (period_type = 'daily' AND period_date < CAST(:today AS date)
                OR period_type = 'weekly' AND period_date <= CAST(:week_ago AS date))
        ) AS due,
        count(*) FILTER (WHERE status = 'finalized' AND winner_address IS NOT NULL) AS unpaid,
        coalesce(sum(total_amount_usdc) FILTER (WHERE status = 'finalized' AND winner_address IS NOT NULL), 0)
            AS unpaid_usdc,
        min(finalized_at) FILTER (WHERE status = 'finalized' AND winner_address IS NOT NULL) AS oldest_unpaid_at
    FROM prize_pools
"""


def count_open(query: Query, *, calendar: Calendar, now: datetime) -> OpenPools:
    """How many pools are due, and how many are settled and not paid."""
    today = calendar.local_day(now)
    [row] = query(_COUNT_OPEN, {"today": today, "week_ago": today - ONE_WEEK})
    oldest = row["oldest_unpaid_at"]
    return OpenPools(
        due=row["due"],
        unpaid=row["unpaid"],
        unpaid_usdc=Decimal(row["unpaid_usdc"]),
        oldest_unpaid_at=_instant(oldest) if oldest else None,
    )


_LIST_SETTLED_DAYS = """
    SELECT last_day, game_type, count(*) AS pools, sum(total_amount_usdc) AS amount_usdc, sum(total_games) AS games
    FROM prize_pools
    CROSS JOIN LATERAL (SELECT period_date + CASE period_type WHEN 'weekly' THEN 6 ELSE 0 END AS last_day) AS period
    WHERE status <> 'active' AND period_date > CAST(:since AS date) - 7 AND last_day >= CAST(:since AS date)
    GROUP BY last_day, game_type
    ORDER BY last_day, game_type
"""


def list_settled_days(query: Query, *, since: date) -> list[SettledDay]:
    """The settled pools of each day since a local date, by game; a weekly pool counts on its Sunday."""
    return [
        SettledDay(
            day=date.fromisoformat(row["last_day"]),
            game_type=row["game_type"],
            pools=row["pools"],
            amount_usdc=Decimal(row["amount_usdc"]),
            games=row["games"],
        )
        for row in query(_LIST_SETTLED_DAYS, {"since": since})
    ]


_SETTLED_POOL = """
    SELECT id, game_type, period_type, period_date, winner_address, winner_score, total_amount_usdc, total_games,
        status, finalized_at
    FROM prize_pools
"""
_LIST_LATEST_WINNERS = f"""
    {_SETTLED_POOL}
    WHERE winner_address IS NOT NULL
    ORDER BY finalized_at DESC, id DESC
    LIMIT CAST(:most AS int)
"""


def list_latest_winners(query: Query, *, most: int = LATEST_WINNERS) -> list[SettledPool]:
    """The pools that were settled last with a winner, the latest first."""
    return [_settled_pool(row) for row in query(_LIST_LATEST_WINNERS, {"most": most})]


_LIST_UNPAID = f"""
    {_SETTLED_POOL}
    WHERE status = 'finalized' AND winner_address IS NOT NULL
    ORDER BY finalized_at, id
    LIMIT CAST(:most AS int)
"""


def list_unpaid_pools(query: Query, *, most: int = MOST_UNPAID) -> list[SettledPool]:
    """The pools that have a winner and are not paid, the oldest first, at most so many."""
    return [_settled_pool(row) for row in query(_LIST_UNPAID, {"most": most})]


# A board is ranked 1..n, so its last rank is its size, and stands at the end of the index in ranking order: a few
# entries of each board are read, however many it has. Behind the last rank there are only those of the last hour.
_LIST_BOARD_SIZES = """
    SELECT board.game_type, board.period_type, board.period_date, last.rank AS entries
    FROM leaderboards AS board
    CROSS JOIN LATERAL (
        SELECT max(rank) AS rank
        FROM (
            SELECT rank FROM leaderboard_entries AS entry
            WHERE entry.game_type = board.game_type
              AND entry.period_type = board.period_type
              AND entry.period_date = board.period_date
            ORDER BY score, created_at DESC, entry.id DESC
            LIMIT CAST(:last_places AS int)
        ) AS last_places
    ) AS last
    WHERE last.rank IS NOT NULL
      AND (board.period_type = 'alltime' OR board.period_type = 'daily' AND board.period_date >= CAST(:since AS date))
    ORDER BY board.period_date, board.game_type
"""


def list_board_sizes(query: Query, *, since: date) -> list[BoardSize]:
    """The sizes of the daily boards since a local date and of the all-time ones, as of their last ranking."""
    rows = query(_LIST_BOARD_SIZES, {"since": since, "last_places": LAST_PLACES})
    return [BoardSize(board=_board(row), entries=row["entries"]) for row in rows]


def _settled_pool(row: Mapping[str, Any]) -> SettledPool:
    return SettledPool(
        pool_id=row["id"],
        board=_board(row),
        winner_address=row["winner_address"],
        winner_score=row["winner_score"],
        amount_usdc=Decimal(row["total_amount_usdc"]),
        games=row["total_games"],
        status=row["status"],
        finalized_at=_instant(row["finalized_at"]),
    )


def _board(row: Mapping[str, Any]) -> Board:
    return Board.from_key(row["game_type"], row["period_type"], date.fromisoformat(row["period_date"]))


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
