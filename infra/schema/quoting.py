"""Names and texts as they are written in SQL."""

from sqlalchemy.dialects.postgresql.base import PGDialect

_PREPARER = PGDialect(paramstyle="named").identifier_preparer  # type: ignore[no-untyped-call]


def quoted(name: str) -> str:
    """A name, in quotation marks if it needs them."""
    return _PREPARER.quote(name)


def literal(value: str) -> str:
    """A text in quotation marks."""
    return "'" + value.replace("'", "''") + "'"
