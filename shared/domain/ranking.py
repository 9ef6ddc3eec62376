"""The order in which entries rank, stated once for ranking and settling (docs/design.md, Settling).

The highest score first; of equal scores the earliest; of equal times the lowest entry id. The order is total: no two
entries share a place, and neither the order of insertion nor the player's address decides one.
"""

from typing import NamedTuple


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
