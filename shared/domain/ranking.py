"""The order in which entries rank, stated once for ranking and settling (docs/design.md, Settling).

The highest score first; of equal scores the earliest; of equal times the lowest entry id. The order is total: no two
entries share a place, and neither the order of insertion nor the player's address decides one.
"""

from datetime import datetime
from typing import NamedTuple, Protocol


class SortColumn(NamedTuple):
    """A column of `leaderboard_entries` and its direction in the ranking."""

    name: str
    descending: bool


# S06: of any number of equal scores one is first, and it is always the same.
RANKING_ORDER = (
    SortColumn("score", descending=True),
    SortColumn("created_at", descending=False),
    SortColumn("id", descending=False),
)


class Rankable(Protocol):
    """What the order needs to know of an entry."""

    @property
    def score(self) -> int: ...  # noqa: D102 - points
    @property
    def created_at(self) -> datetime: ...  # noqa: D102 - when that score was reached
    @property
    def id(self) -> int: ...  # noqa: D102 - unique


def ranking_key(entry: Rankable) -> tuple[int, datetime, int]:
    """The key that sorts entries into ranking order: `sorted(entries, key=ranking_key)[0]` is the leader."""
    return (-entry.score, entry.created_at, entry.id)
