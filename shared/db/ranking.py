"""The ranking order in SQL, for the statements that settle and the one that ranks."""

from shared.domain.ranking import RANKING_ORDER

# score DESC, created_at, id
ORDER_BY = ", ".join(f"{column.name} DESC" if column.descending else column.name for column in RANKING_ORDER)


def _after() -> str:
    condition = "false"
    for column in reversed(RANKING_ORDER):
        name, sign = column.name, "<" if column.descending else ">"
        condition = f"({name} {sign} :after_{name} OR {name} = :after_{name} AND {condition})"
    # Implied, and what an index is entered by.
    first = RANKING_ORDER[0]
    return f"{first.name} {'<=' if first.descending else '>='} :after_{first.name} AND {condition}"


# Behind the entry whose columns are the parameters `after_score` and so on.
AFTER = _after()
