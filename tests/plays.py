"""What the plays must come to, counted by Python alone: no SQL, and no period arithmetic of the project's."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from infra.demo.plays import Play


class Key(NamedTuple):
    game_type: str
    period_type: str
    period_date: date


class Best(NamedTuple):
    score: int
    created_at: datetime
    session_id: UUID


def ranking_key(entry: Any) -> tuple[int, datetime, int]:
    """Sorts entries into ranking order, as docs/design.md, Ranking states it: the first one leads."""
    return (-entry.score, entry.created_at, entry.id)


def keys(game_type: str, at: datetime, zone: ZoneInfo) -> list[Key]:
    """The day and the week of an instant, by the clock on the wall (not near a jump)."""
    day = at.astimezone(zone).date()
    return [Key(game_type, "daily", day), Key(game_type, "weekly", day - timedelta(days=day.weekday()))]


def expected_pools(plays: Iterable[Play], zone: ZoneInfo) -> dict[Key, tuple[Decimal, int]]:
    pools: dict[Key, tuple[Decimal, int]] = defaultdict(lambda: (Decimal(0), 0))
    for play in plays:
        for key in keys(play.game_type, play.created_at, zone):
            amount, games = pools[key]
            pools[key] = (amount + play.amount_paid_usdc * 7 / 10, games + 1)
    return pools


def expected_boards(plays: Iterable[Play], zone: ZoneInfo) -> dict[Key, dict[str, Best]]:
    boards: dict[Key, dict[str, Best]] = defaultdict(dict)
    completed = [
        (play, play.completed_at, play.score) for play in plays if play.completed_at and play.score is not None
    ]
    for play, at, score in sorted(completed, key=lambda each: each[1]):
        best = Best(score, at, play.session_id)
        for key in [*keys(play.game_type, at, zone), Key(play.game_type, "alltime", date(1970, 1, 1))]:
            board = boards[key]
            if play.player_address not in board or board[play.player_address].score < best.score:
                board[play.player_address] = best
    return boards
