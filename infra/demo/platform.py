"""A simulation of the arcade's platform: it sells plays, fills the pools and updates the boards.

Its statements are the platform's, not the jobs', and so are here and not in `shared.db`. They keep to the lock order
of the platform's writers: entries by player, then daily, weekly, alltime (docs/design.md, Lock order).
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Engine, text

from infra.demo.plays import Play, Settlement
from shared.domain.errors import ArcadeJobsError
from shared.domain.periods import Calendar, Period, PeriodType, current_period
from shared.runs.record import format_instant

POOL_SHARE = Decimal("0.70")  # of each payment into the pool of the day, and the same into that of the week


class PlatformError(ArcadeJobsError):
    """A play does not fit what is stored."""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A prize pool as the platform shows it.

    Attributes:
        settlement: its key, amount and winner.
        status: active, finalized or paid.
        equal_scores: entries with the winner's score; above one, the earlier time decided.
    """

    settlement: Settlement
    status: str
    equal_scores: int

    def to_json(self) -> dict[str, Any]:
        """The pool, JSON-ready; the amount is text, since it is exact."""
        pool = self.settlement
        return {
            "game_type": pool.game_type,
            **_key(pool.period),
            "status": self.status,
            "winner_address": pool.winner_address,
            "winner_score": pool.winner_score,
            "equal_scores": self.equal_scores,
            "total_amount_usdc": str(pool.total_amount_usdc),
            "total_games": pool.total_games,
            "entries": pool.entries,
        }


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line of a leaderboard as the platform shows it."""

    game_type: str
    period: Period
    rank: int | None
    player_address: str
    score: int
    created_at: datetime
    id: int

    def to_json(self) -> dict[str, Any]:
        """The line, JSON-ready."""
        return {
            "game_type": self.game_type,
            **_key(self.period),
            "rank": self.rank,
            "player_address": self.player_address,
            "score": self.score,
            "created_at": format_instant(self.created_at),
        }


@dataclass(frozen=True, kw_only=True)
class Platform:
    """The platform.

    Attributes:
        engine: of its database.
        calendar: of its days and weeks.
    """

    engine: Engine
    calendar: Calendar

    def receive(self, *, started: Sequence[Play], completed: Sequence[Play]) -> None:
        """Take in the plays that started and those that were completed, in one transaction.

        1. Sessions begin, `active`.
        2. Payments go into the pools of the day and the week of the start.
        3. Sessions end, `completed`.
        4. Each player's best goes into the boards of the day, the week and all time of the completion. A strictly
           better score replaces one; an equal one comes too late.

        Args:
            started: the plays that began.
            completed: those that came to their end; each has started, now or before.

        Raises:
            PlatformError: the session of a completed play is not there, or is not active.
        """
        with self.engine.begin() as connection:
            if started:
                connection.execute(_START, {"plays": json.dumps([_started(play) for play in started])})
                payments = [payment for play in started for payment in self._payments(play)]
                connection.execute(_PAY, {"payments": json.dumps(payments), "share": str(POOL_SHARE)})
            if completed:
                ended = connection.execute(_COMPLETE, {"plays": json.dumps([_completed(play) for play in completed])})
                if ended.rowcount != len(completed):
                    raise PlatformError(f"{len(completed) - ended.rowcount} completed plays have no active session")
                scores = [score for play in completed for score in self._scores(play)]
                connection.execute(_ENTER, {"scores": json.dumps(scores)})

    def _payments(self, play: Play) -> list[dict[str, Any]]:
        return [
            {
                "game_type": play.game_type,
                **_key(current_period(period_type, play.created_at, self.calendar)),
                "amount_paid_usdc": str(play.amount_paid_usdc),
                "created_at": play.created_at.isoformat(),
            }
            for period_type in (PeriodType.DAILY, PeriodType.WEEKLY)
        ]

    def _scores(self, play: Play) -> list[dict[str, Any]]:
        if play.completed_at is None:
            raise PlatformError(f"play {play.session_id} was not completed")
        return [
            {
                "session_id": str(play.session_id),
                "game_type": play.game_type,
                "player_address": play.player_address,
                "score": play.score,
                **_key(current_period(period_type, play.completed_at, self.calendar)),
                "created_at": play.completed_at.isoformat(),
            }
            for period_type in PeriodType
        ]


def list_pools(connection: Connection) -> list[Pool]:
    """All pools, the earliest end first."""
    return [
        Pool(
            settlement=Settlement(
                game_type=row.game_type,
                period=_period(row.period_type, row.period_date),
                total_amount_usdc=row.total_amount_usdc,
                total_games=row.total_games,
                winner_address=row.winner_address,
                winner_score=row.winner_score,
                entries=row.entries,
            ),
            status=row.status,
            equal_scores=row.equal_scores,
        )
        for row in connection.execute(_POOLS)
    ]


def list_entries(
    connection: Connection, *, period_type: PeriodType | None = None, most: int | None = None
) -> list[Entry]:
    """The boards with their entries in the order of their ranks, as the last ranking left them.

    Args:
        connection: in whose transaction.
        period_type: of the boards; None: all boards.
        most: entries of each board; None: all.
    """
    parameters = {"period_type": period_type, "most": most}
    return [
        Entry(
            game_type=row.game_type,
            period=_period(row.period_type, row.period_date),
            rank=row.rank,
            player_address=row.player_address,
            score=row.score,
            created_at=row.created_at,
            id=row.id,
        )
        for row in connection.execute(_ENTRIES, parameters)
    ]


_START = text("""
INSERT INTO game_sessions (id, game_type, player_address, payment_tx_hash, amount_paid_usdc, status, created_at)
SELECT id, game_type, player_address, payment_tx_hash, amount_paid_usdc, 'active', created_at
FROM json_to_recordset(CAST(:plays AS json)) AS play (
  id uuid, game_type text, player_address text, payment_tx_hash text, amount_paid_usdc numeric, created_at timestamptz)
""")

_PAY = text("""
INSERT INTO prize_pools AS pool (game_type, period_type, period_date, total_amount_usdc, total_games, created_at)
SELECT game_type, period_type, period_date, sum(amount_paid_usdc * CAST(:share AS numeric)), count(*), min(created_at)
FROM json_to_recordset(CAST(:payments AS json)) AS payment (
  game_type text, period_type text, period_date date, amount_paid_usdc numeric, created_at timestamptz)
GROUP BY game_type, period_type, period_date
ORDER BY period_type, period_date, game_type
ON CONFLICT (game_type, period_type, period_date) DO UPDATE
SET total_amount_usdc = pool.total_amount_usdc + excluded.total_amount_usdc,
    total_games = pool.total_games + excluded.total_games
""")

_COMPLETE = text("""
UPDATE game_sessions AS session
SET status = 'completed', score = play.score, completed_at = play.completed_at, game_duration_ms = play.duration_ms
FROM json_to_recordset(CAST(:plays AS json)) AS play (id uuid, score bigint, completed_at timestamptz, duration_ms int)
WHERE session.id = play.id AND session.status = 'active'
""")

_ENTER = text("""
INSERT INTO leaderboard_entries AS entry (
  session_id, game_type, player_address, score, period_type, period_date, created_at)
SELECT session_id, game_type, player_address, score, period_type, period_date, created_at
FROM (
  SELECT DISTINCT ON (player_address, game_type, period_type, period_date) *
  FROM json_to_recordset(CAST(:scores AS json)) AS played (
    session_id uuid, game_type text, player_address text, score bigint, period_type text, period_date date,
    created_at timestamptz)
  ORDER BY player_address, game_type, period_type, period_date, score DESC, created_at
) AS best
ORDER BY player_address, array_position(ARRAY['daily', 'weekly', 'alltime'], period_type), game_type, period_date
ON CONFLICT (player_address, game_type, period_type, period_date) DO UPDATE
SET session_id = excluded.session_id, score = excluded.score, created_at = excluded.created_at
WHERE excluded.score > entry.score
""")

_POOLS = text("""
SELECT pool.*, board.entries, board.equal_scores
FROM prize_pools AS pool CROSS JOIN LATERAL (
  SELECT count(*) AS entries, count(*) FILTER (WHERE score = pool.winner_score) AS equal_scores
  FROM leaderboard_entries AS entry
  WHERE (entry.game_type, entry.period_type, entry.period_date)
      = (pool.game_type, pool.period_type, pool.period_date)
) AS board
ORDER BY pool.period_date + CASE pool.period_type WHEN 'weekly' THEN 7 ELSE 1 END, pool.period_type, pool.game_type
""")

_ENTRIES = text("""
SELECT * FROM leaderboard_entries
WHERE (CAST(:period_type AS text) IS NULL OR period_type = :period_type)
  AND (CAST(:most AS int) IS NULL OR rank <= :most)
ORDER BY period_date, period_type, game_type, rank
""")


def _started(play: Play) -> dict[str, Any]:
    return {
        "id": str(play.session_id),
        "game_type": play.game_type,
        "player_address": play.player_address,
        # No chain here: a hash as unique as the session, and the same each time.
        "payment_tx_hash": "0x" + hashlib.sha256(play.session_id.bytes).hexdigest(),
        "amount_paid_usdc": str(play.amount_paid_usdc),
        "created_at": play.created_at.isoformat(),
    }


def _completed(play: Play) -> dict[str, Any]:
    return {
        "id": str(play.session_id),
        "score": play.score,
        "completed_at": play.completed_at.isoformat() if play.completed_at else None,
        "duration_ms": play.game_duration_ms,
    }


def _key(period: Period) -> dict[str, str]:
    return {"period_type": period.type, "period_date": period.date.isoformat()}


def _period(period_type: str, period_date: date) -> Period:
    return Period(type=PeriodType(period_type), date=period_date)
