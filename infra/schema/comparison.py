"""The differences between a database and the contract, in the order in which they are to be mended."""

from collections.abc import Iterator

from sqlalchemy import Connection, text

from infra.schema import mends
from infra.schema.catalog import Catalog, Column, Constraint, Table, read, read_wanted
from infra.schema.creation import column_statements, function_statements, quoted, table_statements
from infra.schema.differences import Difference, Kind
from infra.schema.rows import Rows, ambiguous_date, look
from infra.schema.triggers import FUNCTIONS, TRIGGERS
from shared.db.tables import metadata

OLDEST = 15  # the PostgreSQL release from which everything here is there
# The contract lets it be null, but only the platform writes it.
MAY_BE_REQUIRED = {"game_sessions.payment_tx_hash"}
KINDS = {"p": "partitioned table", "v": "view", "m": "materialized view", "f": "foreign table", "S": "sequence"}


def differences(connection: Connection, schema: str, *, to_alter: bool) -> list[Difference]:
    """Compare a schema with the contract.

    Args:
        connection: in a transaction of its own, which is to be rolled back; its search path is the schema.
        schema: where the tables are, or are to be.
        to_alter: whether the role is to have the rights that an upgrade needs.
    """
    found = read(connection, schema)
    obstacles = list(_obstacles(connection, schema, found, to_alter=to_alter))
    if obstacles:
        return obstacles
    wanted = read_wanted(connection)
    return [
        difference
        for name in metadata.tables
        for difference in _table(connection, schema, name, wanted.tables[name], found)
    ] + [*_functions(schema, wanted, found), *_triggers(schema, wanted, found)]


def _obstacles(connection: Connection, schema: str, found: Catalog, *, to_alter: bool) -> Iterator[Difference]:
    """What stands in the way of looking further: the server, and the rights of this role."""
    row = connection.execute(
        text("""
            SELECT current_setting('server_version') AS release, current_setting('server_version_num')::int AS number,
                   quote_ident(current_user) AS role, quote_ident(current_database()) AS database,
                   has_schema_privilege(:schema, 'CREATE') AS may_create,
                   has_database_privilege(current_database(), 'TEMPORARY') AS may_compare
        """),
        {"schema": schema},
    ).one()
    if row.number < OLDEST * 10_000:
        yield _refused("PostgreSQL", f"is {row.release}; {OLDEST} or newer is needed")
    if to_alter and not row.may_create:
        grant = f"GRANT CREATE ON SCHEMA {quoted(schema)} TO {row.role}"
        yield _refused(f"schema {schema}", f"lets {row.role} create nothing", grant)
    if not row.may_compare:
        grant = f"GRANT TEMPORARY ON DATABASE {row.database} TO {row.role}"
        yield _refused(f"database {row.database}", f"lets {row.role} make no temporary tables to compare with", grant)
    for name, table in found.tables.items():
        if not table.may_read:
            yield _refused(name, f"cannot be read by {row.role}", f"GRANT SELECT ON {name} TO {row.role}")
        if to_alter and not table.may_alter:
            grant = f"GRANT {quoted(table.owner)} TO {row.role}"
            yield _refused(name, f"belongs to {table.owner}; {row.role} may not alter it", grant)


def _refused(where: str, what: str, *statements: str, note: str = "") -> Difference:
    return Difference(kind=Kind.REFUSED, where=where, what=what, statements=statements, note=note)


def _missing(where: str, *statements: str, what: str = "is missing") -> Difference:
    return Difference(kind=Kind.MISSING, where=where, what=what, statements=statements)


def _warning(where: str, what: str, *statements: str) -> Difference:
    return Difference(kind=Kind.WARNING, where=where, what=what, statements=statements)


def _table(connection: Connection, schema: str, name: str, want: Table, found: Catalog) -> Iterator[Difference]:
    have = found.tables.get(name)
    if have is None or have.kind != "r":
        taken = [index for index in want.indexes if index in found.relations]
        yield from (_name_is_taken(f"{name}.{index}", index, found) for index in taken)
        yield _missing(name, *table_statements(schema, name)) if have is None else _not_a_table(name, have)
        return
    rows = look(connection, name, want, have)
    yield from _columns(schema, name, want, have, rows)
    yield from _values(name, want, have, rows)
    yield from _constraints(name, want, have, rows, found)
    yield from _indexes(name, want, have, found)
    yield from _storage(name, want, have)
    yield from _warnings(name, have)


def _not_a_table(name: str, have: Table) -> Difference:
    what = f"is a {KINDS.get(have.kind, 'relation of another kind')}; the jobs need an ordinary table"
    renamed = f"ALTER TABLE {name} RENAME TO {name}_platform"
    if have.kind != "p":
        return _refused(name, what, renamed)
    copied = f"INSERT INTO {name} OVERRIDING SYSTEM VALUE SELECT * FROM {name}_platform"  # noqa: S608
    return _refused(name, what, renamed, f"CREATE TABLE {name} (LIKE {name}_platform INCLUDING ALL)", copied)


def _columns(schema: str, table: str, want: Table, have: Table, rows: Rows) -> Iterator[Difference]:
    """Columns that are not there, of another type, without number or default, or that demand a value."""
    for name, column in want.columns.items():
        where = f"{table}.{name}"
        there = have.columns.get(name)
        if there is None:
            yield _missing_column(schema, table, name, column, has_rows=have.has_rows)
            continue
        if there.type != column.type:
            yield _other_type(table, name, column, there, rows)
        if column.has_sequence and not there.has_sequence:
            yield _refused(where, "does not number new rows by itself", *mends.add_numbering(table, name))
        if column.default is not None and there.default is None:
            default = f"ALTER TABLE {table} ALTER COLUMN {name} SET DEFAULT {column.default}"
            yield _missing(where, default, what=f"has no default {column.default}")
        if not column.is_required and where not in MAY_BE_REQUIRED:
            yield from _optional(table, name, there)


def _missing_column(schema: str, table: str, name: str, column: Column, *, has_rows: bool) -> Difference:
    where = f"{table}.{name}"
    added = column_statements(schema, table, name)
    if not column.is_required or not has_rows:
        return _missing(where, *added)
    if column.has_sequence:
        return _refused(where, "is missing, and adding it rewrites the table", *added, note="in a quiet hour")
    return _refused(
        where,
        "is missing, and nothing says what it is in the rows that are there",
        *mends.add_required(table, name, column),
        note="or put in what is right, or rename the column that has it",
    )


def _other_type(table: str, name: str, column: Column, there: Column, rows: Rows) -> Difference:
    _, note = mends.conversion(name, there.type, column.type)
    if name in rows.unreadable:
        note = f"fails until such values are corrected: {rows.unreadable[name]}"
    elif mends.is_text(there.type) and column.type in {"date", "timestamp with time zone"}:
        odd = ambiguous_date(rows.connection, table, name)
        note = note if odd is None else f"SET DateStyle to MDY or DMY first, to say how '{odd}' is meant"
    what = f"is {mends.short(there.type)}; the contract says {mends.short(column.type)}"
    return _refused(f"{table}.{name}", what, mends.change_type(table, name, there, column), note=note)


def _optional(table: str, name: str, there: Column) -> Iterator[Difference]:
    """A column that is empty until a job fills it: the platform must not demand or invent a value."""
    steps = []
    if there.is_required:
        steps.append(f"ALTER COLUMN {name} DROP NOT NULL")
    if there.default not in (None, "NULL") and table != "game_sessions":
        steps.append(f"ALTER COLUMN {name} DROP DEFAULT")
    if steps:
        what = f"is never null{f', by default {there.default}' * (there.default is not None)}; the contract says null"
        yield _refused(f"{table}.{name}", what, f"ALTER TABLE {table} {', '.join(steps)}")


def _values(table: str, want: Table, have: Table, rows: Rows) -> Iterator[Difference]:
    """Values that are promised (NOT NULL)."""
    names = [
        name
        for name, column in want.columns.items()
        if column.is_required and name in have.columns and not have.columns[name].is_required
    ]
    shown = [name for name in names if name in rows.values]
    empty = dict(zip(shown, rows.count([f"{name} IS NULL" for name in shown]), strict=True))
    for name in names:
        helper = _helper(table, name)
        if empty.get(name):
            what = f"is NULL in {_rows(empty[name])}; the contract promises a value"
            mend = mends.fill(table, name, want.columns[name])
            yield _refused(f"{table}.{name}", what, mend, note="or put in what is right")
        else:  # a CHECK that was validated spares SET NOT NULL its reading of the table under an exclusive lock
            checked = f"ALTER TABLE {table} ADD CONSTRAINT {helper} CHECK ({name} IS NOT NULL) NOT VALID"
            yield _missing(
                f"{table}.{name}",
                *([] if helper in have.constraints else [checked]),
                f"ALTER TABLE {table} VALIDATE CONSTRAINT {helper}",
                f"ALTER TABLE {table} ALTER COLUMN {name} SET NOT NULL",
                f"ALTER TABLE {table} DROP CONSTRAINT {helper}",
                what="may be NULL; the contract promises a value",
            )
    for name in have.columns.keys() - names:
        if _helper(table, name) in have.constraints:
            drop = f"ALTER TABLE {table} DROP CONSTRAINT {_helper(table, name)}"
            yield _missing(f"{table}.{name}", drop, what="was made NOT NULL by an upgrade that was interrupted")


def _helper(table: str, column: str) -> str:
    return f"arcade_jobs_{table}_{column}_filled"


def _constraints(table: str, want: Table, have: Table, rows: Rows, found: Catalog) -> Iterator[Difference]:
    missing = {
        name: constraint for name, constraint in want.constraints.items() if not _has_constraint(name, constraint, have)
    }
    checks = {name: constraint for name, constraint in missing.items() if constraint.kind == "c"}
    shown = {name: constraint for name, constraint in checks.items() if rows.shows(constraint)}
    counts = rows.count([f"NOT ({constraint.expression})" for constraint in shown.values()])
    violated = dict(zip(shown, counts, strict=True))
    for name, constraint in checks.items():
        where = f"{table}.{name}"
        there = have.constraints.get(name)
        added = [f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}"]
        if violated.get(name):
            what = f"is violated by {_rows(violated[name])}: {constraint.definition}"
            yield _refused(where, what, *mends.correct(table, name, constraint), note="or correct them by hand")
        if there is not None and there.definition != constraint.definition:
            what = f"is {there.definition}; the contract says {constraint.definition}"
            yield _refused(where, what, f"ALTER TABLE {table} RENAME CONSTRAINT {name} TO {name}_platform")
        elif there is not None:
            yield _missing(where, *added, what="is not validated")
        else:
            new = f"ALTER TABLE {table} ADD CONSTRAINT {name} {constraint.definition} NOT VALID"
            yield _missing(where, new, *added)
    for name, constraint in missing.items():
        if constraint.kind != "c":
            yield from _key(name, constraint, have, rows, found)


def _has_constraint(name: str, want: Constraint, have: Table) -> bool:
    """Whether a table has a constraint, or one that is as good, by whatever name."""
    if want.kind == "c":
        same = (there for there in have.constraints.values() if there.definition == want.definition)
        return any(there.is_valid for there in same)
    if name in have.indexes and not have.indexes[name].of_constraint:
        return False  # an index of ours that was not made a constraint yet
    return any(index.is_key and index.is_valid and index.columns == want.columns for index in have.indexes.values())


def _key(name: str, want: Constraint, have: Table, rows: Rows, found: Catalog) -> Iterator[Difference]:
    table, where = rows.table, f"{rows.table}.{name}"
    shared = rows.count_shared(want.columns) if have.has_rows and rows.shows(want) else 0
    if shared:
        statements, note = mends.separate(table, name, want)
        what = f"is violated: {shared} {'key has' if shared == 1 else 'keys have'} several rows: {want.definition}"
        yield _refused(where, what, *statements, note=note)
    kind, key = want.definition.split(" (", 1)
    if kind == "PRIMARY KEY" and any(there.kind == "p" for there in have.constraints.values()):
        other = next(name for name, there in have.constraints.items() if there.kind == "p")
        yield _refused(
            where,
            f"is on other columns: {have.constraints[other].definition}; the contract says {want.definition}",
            f"ALTER TABLE {table} DROP CONSTRAINT {other}, ADD CONSTRAINT {name} {want.definition}",
        )
        return
    index = have.indexes.get(name)
    use = f"ALTER TABLE {table} ADD CONSTRAINT {name} {kind} USING INDEX {name}"
    if index is not None and index.is_key and index.is_valid and index.columns == want.columns:
        yield _missing(where, use)
        return
    build = f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} ({key}"
    if index is not None and not index.is_valid and not index.of_constraint:
        yield _missing(where, f"DROP INDEX CONCURRENTLY {name}", build, use, what="was left by an interrupted build")
    elif name in found.relations:
        yield _name_is_taken(where, name, found)
    else:
        yield _missing(where, build, use)


def _indexes(table: str, want: Table, have: Table, found: Catalog) -> Iterator[Difference]:
    for name, index in want.indexes.items():
        if index.of_constraint:
            continue
        where = f"{table}.{name}"
        same = [there for there in have.indexes.values() if there.definition == index.definition]
        there = have.indexes.get(name)
        build = f"CREATE INDEX CONCURRENTLY {name} ON {table} USING {index.definition}"
        if any(other.is_valid for other in same):
            continue
        if there is not None and not there.is_valid:
            yield _missing(where, f"DROP INDEX CONCURRENTLY {name}", build, what="was left by an interrupted build")
        elif name in found.relations:
            yield _name_is_taken(where, name, found)
        else:
            yield _missing(where, build)


def _name_is_taken(where: str, name: str, found: Catalog) -> Difference:
    kind = "INDEX" if found.relations[name] in "iI" else "TABLE"
    return _refused(where, "is something else than the contract says", f"ALTER {kind} {name} RENAME TO {name}_platform")


def _storage(table: str, want: Table, have: Table) -> Iterator[Difference]:
    missing = {option: value for option, value in want.options.items() if option not in have.options}
    if missing:
        options = ", ".join(f"{option} = {value}" for option, value in missing.items())
        yield _missing(table, f"ALTER TABLE {table} SET ({options})", what=f"is stored without {options}")


def _warnings(table: str, have: Table) -> Iterator[Difference]:
    if table == "leaderboard_entries":
        for name, index in have.indexes.items():
            if "rank" in index.columns:
                what = "contains rank: every new rank is written to every index of the table, eight times slower"
                yield _warning(f"{table}.{name}", what, f"DROP INDEX CONCURRENTLY {name}")
    if table in ("game_sessions", "leaderboard_entries"):
        for source, name in have.referenced_by:
            what = f"refers to {table}: cleanup cannot delete a row that it points to, or deletes both"
            yield _warning(f"{source}.{name}", what, f"ALTER TABLE {source} DROP CONSTRAINT {quoted(name)}")


def _functions(schema: str, wanted: Catalog, found: Catalog) -> Iterator[Difference]:
    for name in (function.name for function in FUNCTIONS):
        if name not in found.functions:
            yield _missing(f"{name}()", *function_statements(schema, name))
        elif found.functions[name] != wanted.functions[name]:
            yield _missing(f"{name}()", *function_statements(schema, name), what="is not this version's")


def _triggers(schema: str, wanted: Catalog, found: Catalog) -> Iterator[Difference]:
    for trigger in TRIGGERS:
        where = f"{trigger.table}.{trigger.name}"
        definition, _ = wanted.tables[trigger.table].triggers[trigger.name]
        have = found.tables.get(trigger.table)
        there, is_enabled = have.triggers.get(trigger.name, ("", True)) if have else ("", True)
        if there != definition:
            what = "is not this version's" if there else "is missing"
            yield _missing(where, trigger.statement(quoted(schema)), what=what)
        if not is_enabled:
            yield _missing(where, f"ALTER TABLE {trigger.table} ENABLE TRIGGER {trigger.name}", what="is disabled")


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"
