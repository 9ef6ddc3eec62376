"""A board: what players compete on. A leaderboard shows it, a prize pool rewards it."""

from dataclasses import dataclass
from datetime import date
from typing import Any

from shared.domain.periods import Period, PeriodType

GAME_TYPE_PATTERN = "[a-z][a-z0-9_]*"


@dataclass(frozen=True, kw_only=True)
class Board:
    """One game in one period, by the three key columns that every table about a board has.

    Attributes:
        period_type: a value of `PeriodType`.
        period_date: text, if it is one that no calendar has: infinite, or before year 1.
    """

    game_type: str
    period_type: str
    period_date: date | str

    @classmethod
    def from_key(cls, game_type: str, period_type: str, period_date: date | str) -> "Board":
        """The board of its key columns, whatever is in them: a row that is wrong is found by its use alone (S22)."""
        return cls(game_type=game_type, period_type=period_type, period_date=period_date)

    @property
    def period(self) -> Period:
        """What the board is played in.

        Raises:
            ValueError: there is no such period.
        """
        if isinstance(self.period_date, str):
            raise ValueError(f"no calendar has the date {self.period_date}")  # noqa: TRY004 - the value is wrong
        return Period(type=PeriodType(self.period_type), date=self.period_date)

    @property
    def key(self) -> dict[str, Any]:
        """The key columns, as parameters of a statement."""
        return {"game_type": self.game_type, "period_type": self.period_type, "period_date": self.period_date}

    def to_json(self) -> dict[str, str]:
        """The key columns, JSON-ready."""
        return {**self.key, "period_date": str(self.period_date)}
