"""What a job needs of the schema and the database lacks: all of it at once.

From the catalog, without the migrations: they are not part of the functions.
"""

from collections.abc import Iterable

from sqlalchemy import Connection, text

from shared.db.tables import metadata

# `:tables` is an array of their names, or its text, such as {prize_pools}.
COLUMNS = """
    SELECT wanted.name AS relation, CAST(a.attname AS text) AS name
    FROM unnest(CAST(:tables AS text[])) AS wanted (name)
    JOIN pg_attribute a ON a.attrelid = to_regclass(wanted.name) AND a.attnum > 0 AND NOT a.attisdropped
"""


def missing_columns(connection: Connection) -> list[str]:
    """Name what the statements need and the database lacks, by way of the connection's search path.

    Args:
        connection: in a transaction that has not failed.

    Returns:
        Columns such as `prize_pools.settled_by`, and tables such as `leaderboards` that are not there at all, in the
        order of `shared.db.tables`. Empty when nothing is missing.
    """
    rows = connection.execute(text(COLUMNS), {"tables": list(metadata.tables)})
    return missing_among((relation, name) for relation, name in rows)


def missing_among(columns: Iterable[tuple[str, str]]) -> list[str]:
    """The same for the columns that `COLUMNS` found, as pairs of table and column."""
    found = set(columns)
    there = {relation for relation, _ in found}
    missing = []
    for table in metadata.tables.values():
        if table.name in there:
            names = (column.name for column in table.columns)
            missing += [f"{table.name}.{name}" for name in names if (table.name, name) not in found]
        else:
            missing.append(table.name)
    return missing
