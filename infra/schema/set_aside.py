# ruff: noqa: S608 - the statements are put together from the contract and the catalog, not from input
"""Rows that do not fit are set aside whole, as JSON with table, reason and time, and can be put back.

The statements are to be reviewed, then run. Each moves rows or does nothing: none is lost between. Their own names are
qualified: a table may have columns of any name.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping

from infra.schema.differences import Difference, rows_text, warning
from infra.schema.quoting import literal, quoted
from infra.schema.revisions import render, revisions

TABLE = "arcade_jobs_set_aside"
# Which of several rows with one key stays: the first in this order.
FIRST: Mapping[str, tuple[str, str]] = {
    "game_sessions": ("created_at, id", "the earliest session stays"),
    "leaderboard_entries": (
        "score DESC NULLS LAST, created_at, id",
        "the best entry stays, of equals the earliest",
    ),
    "prize_pools": (
        "status = 'active', id",
        "a settled pool stays, or else the one with the lowest id; amounts are not added up: compare them first",
    ),
}


def make_table(schema: str) -> str:
    """The table that set-aside rows go to, as the revision has it, unless it is there."""
    start = f'CREATE TABLE IF NOT EXISTS :"schema".{TABLE} '
    statements = (statement for revision in revisions() for statement in revision.statements)
    return render(next(statement for statement in statements if statement.startswith(start)), schema)


def rows_where(table: str, condition: str, reason: str) -> str:
    """Set aside the rows that meet a condition."""
    return _move(table, f"WHERE {condition}", reason)


def all_rows(table: str, reason: str) -> str:
    """Set aside every row."""
    return _move(table, "", reason)


def rows_that_share(table: str, columns: Collection[str], reason: str) -> tuple[str, str]:
    """Set aside all but one of the rows that have a key in common: the statement, and which one stays."""
    key = ", ".join(sorted(columns))
    present = " AND ".join(f"{column} IS NOT NULL" for column in sorted(columns))
    order, note = FIRST.get(table, ("ctid", "one of them stays"))
    numbered = (
        f"SELECT ctid AS place, row_number() OVER (PARTITION BY {key} ORDER BY {order}, ctid) AS number"
        f" FROM {table} WHERE {present}"
    )
    others = f"USING ({numbered}) AS numbered WHERE {table}.ctid = numbered.place AND numbered.number > 1"
    return _move(table, others, reason), note


def rows_not_read(table: str, column: str, value: str, type_: str) -> str:
    """Set aside the rows in which a value cannot be converted, one row after the other."""
    move = _move(table, "WHERE ctid = arcade_jobs_place", f"{column} cannot be converted to {type_}")
    return f"""DO $$
DECLARE
  arcade_jobs_place tid;
BEGIN
  FOR arcade_jobs_place IN SELECT ctid FROM {table} LOOP
    BEGIN
      PERFORM {value} FROM {table} WHERE ctid = arcade_jobs_place;
    EXCEPTION WHEN data_exception THEN
      {move};
    END;
  END LOOP;
END $$"""


# The texts of ids: of sessions that were set aside before their ids were converted, or after.
_OF_SESSIONS = (
    f"WHERE lower(session_id::text) IN (SELECT lower(content->>'id') FROM {TABLE} WHERE table_name = 'game_sessions')"
    " AND NOT EXISTS (SELECT FROM game_sessions"
    " WHERE lower(game_sessions.id::text) = lower(leaderboard_entries.session_id::text))"
)


def entries_of_sessions() -> str:
    """Set aside the entries whose session was."""
    return _move("leaderboard_entries", _OF_SESSIONS, "its session is set aside")


def count_entries_of_sessions() -> str:
    """A query for how many entries have a session that was set aside."""
    return f"SELECT count(*) FROM leaderboard_entries {_OF_SESSIONS}"


def put_back(table: str, reason: str, columns: Collection[str]) -> tuple[str, str]:
    """Put back the rows that were set aside for one reason, all or none of them.

    One that was set aside before its columns were converted may have times without a zone: UTC, as in the conversions.
    """
    names = ", ".join(map(quoted, columns))
    values = ", ".join(f"fitting.{quoted(column)}" for column in columns)
    returned = (
        f"WITH back AS (DELETE FROM {TABLE} WHERE table_name = {literal(table)}"
        f" AND reason = {literal(reason)} RETURNING content)"
        f" INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE"
        f" SELECT {values} FROM back, jsonb_populate_record(NULL::{table}, back.content) AS fitting"
    )
    return "SET TimeZone = 'UTC'", returned


def counts(schema: str) -> str:
    """A query for what is set aside: table, reason, number of rows as text."""
    return (
        f"SELECT table_name, reason, CAST(count(*) AS text) FROM {quoted(schema)}.{TABLE}"
        " GROUP BY table_name, reason ORDER BY table_name, reason"
    )


def warnings(counted: Iterable[tuple[str, str, int]], columns: Mapping[str, Collection[str]]) -> Iterator[Difference]:
    """What is set aside, and how to put it back.

    Args:
        counted: table, reason and number of rows.
        columns: of each table that is there, those that are not generated.
    """
    for table, reason, count in counted:
        what = f"has {rows_text(count)} of {table}: {reason}"
        if table in columns:
            note = "once they fit: puts back all of them or none"
            yield warning(TABLE, what, *put_back(table, reason, columns[table]), note=note)
        else:
            yield warning(TABLE, what)


def _move(table: str, which: str, reason: str) -> str:
    returning = f"RETURNING to_jsonb({table}) AS content"
    return (
        f"WITH gone AS (DELETE FROM {table} {which}{' ' * bool(which)}{returning})"
        f" INSERT INTO {TABLE} (table_name, reason, content)"
        f" SELECT {literal(table)}, {literal(reason)}, content FROM gone"
    )
