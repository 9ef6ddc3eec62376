"""A board: what players compete on. A leaderboard shows it, a prize pool rewards it."""

from dataclasses import dataclass
from datetime import date
from typing import Any

from shared.domain.periods import Period, PeriodType

GAME_TYPE_PATTERN = "[a-z][a-z0-9_]*"


@dataclass(frozen=True, kw_only=True)
class Board:
    """One game in one period."""

    game_type: str
    period: Period

    @classmethod
    def from_key(cls, game_type: str, period_type: str, period_date: date) -> "Board":
        """The board of its three key columns, which every table that is about a board has."""
        return cls(game_type=game_type, period=Period(type=PeriodType(period_type), date=period_date))

    @property
    def key(self) -> dict[str, Any]:
        """The key columns, as parameters of a statement."""
        return {
            "game_type": self.game_type,
            "period_type": str(self.period.type),
            "period_date": self.period.date,
        }

    def to_json(self) -> dict[str, str]:
        """The key columns, JSON-ready."""
        return {**self.key, "period_date": self.period.date.isoformat()}
