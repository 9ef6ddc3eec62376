"""The differences between a database and the contract, in the order in which to fix them."""

import re
from collections.abc import Iterator, Sequence

from sqlalchemy import Connection

from infra.schema import set_aside
from infra.schema.catalog import TEMPORARY, Catalog, Column, Table, read, read_contract
from infra.schema.constraints import constraint_differences, index_differences, later_checks, name_is_taken, own_checks
from infra.schema.conversions import (
    CORRECTIONS,
    add_numbering,
    change_type,
    conversion,
    is_text,
    number_from_highest,
    short,
)
from infra.schema.creation import column_statements, function_statements, table_statements, trigger_statement
from infra.schema.differences import Difference, Kind, missing, refused, rows_text, warning
from infra.schema.obstacles import obstacles
from infra.schema.quoting import quoted
from infra.schema.revisions import first, head, statements_until
from infra.schema.rows import Rows, ambiguous_date, prepare_rows

# The contract lets it be null, but only the platform writes it.
MAY_BE_REQUIRED = {"game_sessions.payment_tx_hash"}
OR_RENAME = "or rename the column that has it"
KINDS = {"p": "partitioned table", "v": "view", "m": "materialized view", "f": "foreign table", "S": "sequence"}


def differences(connection: Connection, schema: str, version: str | None, *, to_alter: bool) -> list[Difference]:
    """Compare a schema with what the revisions make of it.

    Args:
        connection: in its own transaction, to be rolled back; its search path is the schema.
        schema: where the tables are, or will be.
        version: up to which the revisions count, as the version table reads; None: the platform's own tables are to be
            adopted by the first one, and their rows are to fit all that come after it.
        to_alter: whether the role is to have the rights that an upgrade needs.
    """
    is_adopted = version is not None
    version = version or first()
    statements = statements_until(version, schema)
    found = read(connection, schema, statements)
    if in_the_way := list(obstacles(connection, schema, found.tables, to_alter=to_alter)):
        return in_the_way
    later = {} if is_adopted else _contract(connection, head()).tables
    contract = read_contract(connection, statements_until(version, TEMPORARY))
    listed: list[Difference] = []
    for name, table in contract.tables.items():  # sessions first: an entry goes with its session
        listed += _table(connection, schema, name, table, found, later=later.get(name), before=tuple(listed))
    if set_aside.TABLE in found.relations and not is_adopted:
        listed += _orphaned(connection, found)
    listed += _functions(schema, contract, found, statements, version)
    listed += _triggers(schema, contract, found, statements, version)
    if set_aside.TABLE in found.relations:
        counted = connection.exec_driver_sql(set_aside.counts(schema)).all()
        columns = {
            name: [column for column, there in table.columns.items() if not there.is_generated]
            for name, table in found.tables.items()
        }
        listed += set_aside.warnings(((table, reason, int(count)) for table, reason, count in counted), columns)
    elif any(_sets_aside(difference) for difference in listed):
        what = "takes the rows that do not fit, whole; they can be put back"
        listed.insert(0, refused(set_aside.TABLE, what, set_aside.make_table(schema)))
    return listed


def _sets_aside(difference: Difference) -> bool:
    return any(f"INSERT INTO {set_aside.TABLE} " in statement for statement in difference.statements)


def _contract(connection: Connection, version: str) -> Catalog:
    """What the revisions make until a version, without leaving the temporary tables."""
    savepoint = connection.begin_nested()
    contract = read_contract(connection, statements_until(version, TEMPORARY))
    savepoint.rollback()
    return contract


def _orphaned(connection: Connection, found: Catalog) -> Iterator[Difference]:
    """Entries whose session was set aside before: cleanup would remove them."""
    sessions, entries = (found.tables.get(name) for name in ("game_sessions", "leaderboard_entries"))
    if not sessions or not entries or "id" not in sessions.columns or "session_id" not in entries.columns:
        return
    if count := connection.exec_driver_sql(set_aside.count_entries_of_sessions()).scalar_one():
        what = f"of {rows_text(count)} is a session that is set aside; without it they would be orphans"
        yield missing("leaderboard_entries.session_id", set_aside.entries_of_sessions(), what=what)


def _table(
    connection: Connection,
    schema: str,
    name: str,
    contract: Table,
    found: Catalog,
    *,
    later: Table | None,
    before: Sequence[Difference],
) -> Iterator[Difference]:
    actual = found.tables.get(name)
    if actual is None or actual.kind != "r":
        taken = [index for index in contract.indexes if index in found.relations]
        yield from (name_is_taken(f"{name}.{index}", index, found) for index in taken)
        yield missing(name, *table_statements(schema, name, contract)) if actual is None else _not_a_table(name, actual)
        return
    rows = prepare_rows(connection, name, contract, actual)
    own = list(own_checks(connection, name, contract, actual))
    listed = [
        *own,
        *_columns(schema, name, contract, actual, rows),
        *_corrections(name, contract, actual, rows),
        *_entries_of_sessions(name, actual, rows, before),
        *_values(name, contract, actual, rows),
        *later_checks(name, contract, later, rows),
        *constraint_differences(name, contract, actual, rows, found, dropped={check.where for check in own}),
        *_numbering(name, contract, actual),
        *index_differences(name, contract, actual, found),
        *_storage(name, contract, actual),
    ]
    is_key_converted = "id" in actual.columns and actual.columns["id"].type != contract.columns["id"].type == "uuid"
    yield from _references(name, actual, must_go=is_key_converted or any(map(_sets_aside, listed)))
    yield from _needed_first(name, contract, actual, listed)
    yield from _rank_indexes(name, actual)


def _needed_first(table: str, contract: Table, actual: Table, listed: Sequence[Difference]) -> Iterator[Difference]:
    """The same differences; a column that is missing is to be added together with what reads it."""
    read = " ".join(line for each in listed if each.kind is Kind.REFUSED for line in each.statements)
    added = {f"{table}.{name}": name for name in contract.columns.keys() - actual.columns.keys()}
    for each in listed:
        name = added.get(each.where)
        if each.kind is Kind.MISSING and name is not None and re.search(rf"\b{name}\b", read):
            what = f"{each.what}, and statements below read it"
            yield refused(each.where, what, *each.statements, note=OR_RENAME)
        else:
            yield each


def _entries_of_sessions(table: str, actual: Table, rows: Rows, before: Sequence[Difference]) -> Iterator[Difference]:
    """Entries go with their sessions: corrected, so that they fit again, and before a player's best is looked for."""
    if table != "leaderboard_entries" or "session_id" not in actual.columns or rows.lacks:
        return
    if any("DELETE FROM game_sessions " in line for each in before for line in each.statements):
        what = "may be of a session that is set aside: without it the entry would be an orphan"
        yield refused(f"{table}.session_id", what, set_aside.entries_of_sessions())


def _not_a_table(name: str, actual: Table) -> Difference:
    what = f"is a {KINDS.get(actual.kind, 'relation of another kind')}; the jobs need an ordinary table"
    renamed = f"ALTER TABLE {name} RENAME TO {name}_platform"
    if actual.kind != "p":
        return refused(name, what, renamed, note=f"its rows stay in {name}_platform: copy them, or the jobs see none")
    columns = ", ".join(quoted(column) for column, there in actual.columns.items() if not there.is_generated)
    numbered = [column for column, there in actual.columns.items() if there.has_sequence]
    # One statement, all of it or nothing: a copy that failed would leave an empty table to adopt.
    steps = [
        renamed,
        f"CREATE TABLE {name} (LIKE {name}_platform INCLUDING ALL)",
        f"INSERT INTO {name} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {name}_platform",  # noqa: S608
        *(f"PERFORM {number_from_highest(name, column)}" for column in numbered),
    ]
    body = "".join(f"  {step};\n" for step in steps)
    note = "triggers, foreign keys and rights are not copied: repeat them"
    return refused(name, what, f"DO $copy$ BEGIN\n{body}END $copy$", note=note)


def _columns(schema: str, table: str, contract: Table, actual: Table, rows: Rows) -> Iterator[Difference]:
    """Columns that are not there, of another type, without default, or that demand a value."""
    for name, column in contract.columns.items():
        where = f"{table}.{name}"
        there = actual.columns.get(name)
        if there is None:
            yield _missing_column(schema, table, name, column, rows, has_rows=actual.has_rows)
            continue
        if not column.is_required and where not in MAY_BE_REQUIRED:
            yield from _optional(table, name, there)
        if there.type != column.type:
            yield _other_type(table, name, column, there, rows)
        if column.default is not None and there.default is None:
            default = f"ALTER TABLE {table} ALTER COLUMN {name} SET DEFAULT {column.default}"
            yield missing(where, default, what=f"has no default {column.default}")


def _missing_column(schema: str, table: str, name: str, column: Column, rows: Rows, *, has_rows: bool) -> Difference:
    where = f"{table}.{name}"
    added = column_statements(schema, table, name, column)
    if name in rows.lacks:
        what = "is missing, and its values in the rows that are there are not known"
        moved = set_aside.all_rows(table, f"has no {name}")
        return refused(where, what, moved, *added, note=OR_RENAME)
    if column.has_sequence and has_rows:
        note = f"invents: {name} of each row, in no particular order; in a quiet hour"
        return refused(where, "is missing, and adding it rewrites the table", *added, note=note)
    return missing(where, *added)


def _other_type(table: str, name: str, column: Column, there: Column, rows: Rows) -> Difference:
    value, note = conversion(table, name, there, column)
    statements = [change_type(table, name, there, column)]
    what = f"is {short(there.type)}; expected {short(column.type)}"
    if count := rows.unreadable.get(name, 0):
        what += f", and {rows_text(count)} cannot be converted"
        statements.insert(0, set_aside.rows_not_read(table, name, f"({value})::{column.type}", short(column.type)))
    if name in rows.unconvertible:
        note = f"there is no such conversion, write one: {rows.unconvertible[name]}"
    elif is_text(there.type) and column.type in {"date", "timestamp with time zone"}:
        odd = ambiguous_date(rows.connection, table, name)
        note = note if odd is None else f"SET DateStyle to MDY or DMY first, to state how '{odd}' is meant"
    return refused(f"{table}.{name}", what, *statements, note=note)


def _optional(table: str, name: str, there: Column) -> Iterator[Difference]:
    """A column that is empty until a job fills it: the platform must not demand or invent a value."""
    steps = []
    if there.is_required:
        steps.append(f"ALTER COLUMN {name} DROP NOT NULL")
    if there.default not in (None, "NULL") and table != "game_sessions":
        steps.append(f"ALTER COLUMN {name} DROP DEFAULT")
    if steps:
        what = f"is never null{f', by default {there.default}' * (there.default is not None)}; expected NULL at first"
        yield refused(f"{table}.{name}", what, f"ALTER TABLE {table} {', '.join(steps)}")


def _corrections(table: str, contract: Table, actual: Table, rows: Rows) -> Iterator[Difference]:
    """Values that follow from their own row."""
    for name, count in rows.count_corrected().items():
        correction = CORRECTIONS[table][name]
        written = f"UPDATE {table} SET {name} = {correction.value} WHERE {name} IS DISTINCT FROM ({correction.value})"  # noqa: S608
        statements = [written]
        if actual.columns[name].is_required and not contract.columns[name].is_required:
            statements.insert(0, f"ALTER TABLE {table} ALTER COLUMN {name} DROP NOT NULL")
        yield refused(f"{table}.{name}", f"{correction.what} in {rows_text(count)}", *statements)


def _values(table: str, contract: Table, actual: Table, rows: Rows) -> Iterator[Difference]:
    """Values that are promised (NOT NULL)."""
    names = [
        name
        for name, column in contract.columns.items()
        if column.is_required and name in actual.columns and not actual.columns[name].is_required
    ]
    shown = [name for name in names if name in rows.values]
    empty = dict(zip(shown, rows.count([f"{name} IS NULL" for name in shown]), strict=True))
    for name in names:
        helper = _helper(table, name)
        if empty.get(name):
            what = f"is NULL in {rows_text(empty[name])}; the contract promises a value"
            moved = set_aside.rows_where(table, f"{name} IS NULL", f"{name} is NULL")
            yield refused(f"{table}.{name}", what, moved, note="or put in what is right")
        else:
            # A CHECK that was validated spares SET NOT NULL its reading of the table under an exclusive lock.
            checked = f"ALTER TABLE {table} ADD CONSTRAINT {helper} CHECK ({name} IS NOT NULL) NOT VALID"
            yield missing(
                f"{table}.{name}",
                *([] if helper in actual.constraints else [checked]),
                f"ALTER TABLE {table} VALIDATE CONSTRAINT {helper}",
                f"ALTER TABLE {table} ALTER COLUMN {name} SET NOT NULL",
                f"ALTER TABLE {table} DROP CONSTRAINT {helper}",
                what="may be NULL; the contract promises a value",
            )
    for name in actual.columns.keys() - names:
        if _helper(table, name) in actual.constraints:
            drop = f"ALTER TABLE {table} DROP CONSTRAINT {_helper(table, name)}"
            yield missing(f"{table}.{name}", drop, what="was set NOT NULL by an upgrade that was interrupted")


def _helper(table: str, column: str) -> str:
    return f"arcade_jobs_{table}_{column}_filled"


def _numbering(table: str, contract: Table, actual: Table) -> Iterator[Difference]:
    for name, column in contract.columns.items():
        if column.has_sequence and name in actual.columns and not actual.columns[name].has_sequence:
            yield refused(f"{table}.{name}", "does not number new rows by itself", *add_numbering(table, name))


def _storage(table: str, contract: Table, actual: Table) -> Iterator[Difference]:
    lacking = {option: value for option, value in contract.options.items() if option not in actual.options}
    if lacking:
        options = ", ".join(f"{option} = {value}" for option, value in lacking.items())
        yield missing(table, f"ALTER TABLE {table} SET ({options})", what=f"is stored without {options}")


def _references(table: str, actual: Table, *, must_go: bool) -> Iterator[Difference]:
    """Foreign keys to a table: they stop cleanup, or delete with it; and so when rows are set aside."""
    for source, name in actual.referenced_by:
        drop = f"ALTER TABLE {source} DROP CONSTRAINT {quoted(name)}"
        if must_go or (source, table) == ("leaderboard_entries", "game_sessions"):
            what = f"refers to {table}: a row that it points to cannot be deleted or set aside, or others go with it"
            yield refused(f"{source}.{name}", what, drop)
        elif table in {"game_sessions", "leaderboard_entries"}:
            what = f"refers to {table}: cleanup cannot delete a row that it points to, or deletes both"
            yield warning(f"{source}.{name}", what, drop)


def _rank_indexes(table: str, actual: Table) -> Iterator[Difference]:
    for name, index in actual.indexes.items():
        if table == "leaderboard_entries" and "rank" in index.columns:
            what = "contains rank: every new rank is written to every index of the table, eight times slower"
            yield warning(f"{table}.{name}", what, f"DROP INDEX CONCURRENTLY {quoted(name)}")


def _functions(
    schema: str, contract: Catalog, found: Catalog, statements: Sequence[str], version: str
) -> Iterator[Difference]:
    for name, definition in contract.functions.items():
        there = found.functions.get(name)
        if there != definition:
            what = "is missing" if there is None else f"differs from revision {version}"
            yield missing(f"function {name}()", *function_statements(schema, name, statements), what=what, is_code=True)


def _triggers(
    schema: str, contract: Catalog, found: Catalog, statements: Sequence[str], version: str
) -> Iterator[Difference]:
    for table, expected in contract.tables.items():
        actual = found.tables.get(table)
        for name, (definition, _) in expected.triggers.items():
            where = f"trigger {table}.{name}"
            there, is_enabled = actual.triggers.get(name, ("", True)) if actual else ("", True)
            if there != definition:
                what = f"differs from revision {version}" if there else "is missing"
                yield missing(where, trigger_statement(schema, table, name, statements), what=what, is_code=True)
            if not is_enabled:
                yield missing(where, f"ALTER TABLE {table} ENABLE TRIGGER {name}", what="is disabled")
