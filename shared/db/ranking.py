"""The ranking order in SQL, for the statements that settle and the one that ranks."""

from shared.domain.ranking import RANKING_ORDER

# score DESC, created_at, id
ORDER_BY = ", ".join(f"{column.name} DESC" if column.descending else column.name for column in RANKING_ORDER)
