"""Constraints and indexes that are missing, violated, or something else than the contract has."""

from collections.abc import Collection, Iterator

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from infra.schema import set_aside
from infra.schema.catalog import Catalog, Constraint, Table
from infra.schema.differences import Difference, missing, refused, rows_text
from infra.schema.quoting import quoted
from infra.schema.rows import Rows

# What the jobs write into a pool, with and without a winner: a check of the platform's own must let it pass.
_SETTLED = (
    {"status": "'finalized'", "finalized_at": "now()", "winner_address": "'0x1'", "winner_score": "1"},
    {"status": "'finalized'", "finalized_at": "now()"},
)


def own_checks(connection: Connection, table: str, contract: Table, actual: Table) -> Iterator[Difference]:
    """Checks of the platform's own that refuse what the jobs write, or that the contract's types do not have."""
    ours = {constraint.definition for constraint in contract.constraints.values()}
    types = {name: column.type for name, column in (actual.columns | contract.columns).items()}
    for name, there in actual.constraints.items():
        if there.kind != "c" or there.definition in ours or name.startswith("arcade_jobs_"):
            continue
        for written in _SETTLED if table == "prize_pools" else ({},):
            values = ", ".join(
                f"{written.get(column, 'NULL')}::{types[column]} AS {quoted(column)}"
                for column in sorted(there.columns)
            )
            row = f"(SELECT {values}) AS {table}"
            if reason := _reason_to_drop(connection, f"SELECT {there.expression} FROM {row}"):  # noqa: S608 - the catalog's
                drop = f"ALTER TABLE {table} DROP CONSTRAINT {quoted(name)}"
                yield refused(f"{table}.{name}", f"{reason}: {there.definition}", drop, note="or write it anew")
                break


def _reason_to_drop(connection: Connection, holds: str) -> str | None:
    savepoint = connection.begin_nested()
    try:
        is_refused = connection.exec_driver_sql(holds).scalar_one() is False
    except DBAPIError:
        savepoint.rollback()
        return "does not work with the types of the contract"
    savepoint.commit()
    return "refuses what a settlement writes" if is_refused else None


def later_checks(table: str, contract: Table, later: Table | None, rows: Rows) -> Iterator[Difference]:
    """Rows that the first revision takes and a later one does not.

    Args:
        table: its name.
        contract: as the first revision has it.
        later: as the last one has it; None: rows are not compared with it.
        rows: of the table.
    """
    checks = later.constraints if later else {}
    conditions = {}
    for name, check in checks.items():
        first = contract.constraints.get(name)
        if check.kind == "c" and rows.shows(check) and (first is None or first.definition != check.definition):
            conditions[name] = f"NOT ({check.expression})" + (f" AND ({first.expression})" if first else "")
    for (name, condition), count in zip(conditions.items(), rows.count([*conditions.values()]), strict=True):
        if count:
            what = f"is violated by {rows_text(count)}: {checks[name].definition}"
            moved = set_aside.rows_where(table, condition, f"violates {name}")
            yield refused(f"{table}.{name}", what, moved, note="or correct them manually")


def constraint_differences(
    table: str, contract: Table, actual: Table, rows: Rows, found: Catalog, *, dropped: Collection[str]
) -> Iterator[Difference]:
    """Those of a table, with the rows that violate one set aside.

    Args:
        table: its name.
        contract: as the contract has it.
        actual: as it is.
        rows: its rows.
        found: the schema.
        dropped: the constraints that are to be dropped, as `table.name`.
    """
    lacking = {
        name: constraint
        for name, constraint in contract.constraints.items()
        if not actual.has_constraint(name, constraint)
    }
    checks = {name: constraint for name, constraint in lacking.items() if constraint.kind == "c"}
    keys = [
        difference
        for name, constraint in lacking.items()
        if constraint.kind != "c"
        for difference in _key(name, constraint, actual, rows, found)
    ]
    # Of several pools of a period one that may be settled stays, if only to be set aside: no other may be settled too.
    if table == "prize_pools":
        yield from keys
    shown = {name: constraint for name, constraint in checks.items() if rows.shows(constraint)}
    counts = rows.count([f"NOT ({constraint.expression})" for constraint in shown.values()])
    violated = dict(zip(shown, counts, strict=True))
    for name, constraint in checks.items():
        where = f"{table}.{name}"
        there = None if where in dropped else actual.constraints.get(name)
        added = [f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}"]
        if violated.get(name):
            what = f"is violated by {rows_text(violated[name])}: {constraint.definition}"
            moved = set_aside.rows_where(table, f"NOT ({constraint.expression})", f"violates {name}")
            yield refused(where, what, moved, note="or correct them manually")
        if there is not None and there.definition != constraint.definition:
            what = f"is {there.definition}; expected {constraint.definition}"
            yield refused(where, what, f"ALTER TABLE {table} RENAME CONSTRAINT {name} TO {name}_platform")
        elif there is not None:
            yield missing(where, *added, what="is not validated")
        else:
            new = f"ALTER TABLE {table} ADD CONSTRAINT {name} {constraint.definition} NOT VALID"
            yield missing(where, new, *added)
    if table != "prize_pools":
        yield from keys


def _key(name: str, contract: Constraint, actual: Table, rows: Rows, found: Catalog) -> Iterator[Difference]:
    table, where = rows.table, f"{rows.table}.{name}"
    shared = rows.count_shared(contract.columns) if actual.has_rows and rows.shows(contract) else 0
    if shared:
        moved, note = set_aside.rows_that_share(table, contract.columns, f"violates {name}")
        what = f"is violated: {shared} {'key has' if shared == 1 else 'keys have'} several rows: {contract.definition}"
        yield refused(where, what, moved, note=note)
    kind, key = contract.definition.split(" (", 1)
    if kind == "PRIMARY KEY" and any(there.kind == "p" for there in actual.constraints.values()):
        other = next(name for name, there in actual.constraints.items() if there.kind == "p")
        drop = f"DROP CONSTRAINT {quoted(other)}"
        yield refused(
            where,
            f"is on other columns: {actual.constraints[other].definition}; expected {contract.definition}",
            f"ALTER TABLE {table} {drop}, ADD CONSTRAINT {name} {contract.definition}",
        )
        return
    index = actual.indexes.get(name)
    use = f"ALTER TABLE {table} ADD CONSTRAINT {name} {kind} USING INDEX {name}"
    if index is not None and index.is_key and index.is_valid and index.columns == contract.columns:
        yield missing(where, use)
        return
    build = f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} ({key}"
    if index is not None and not index.is_valid and not index.of_constraint:
        yield missing(where, f"DROP INDEX CONCURRENTLY {name}", build, use, what="was left by an interrupted build")
    elif name in found.relations:
        yield name_is_taken(where, name, found)
    else:
        yield missing(where, build, use)


def index_differences(table: str, contract: Table, actual: Table, found: Catalog) -> Iterator[Difference]:
    """Those of a table that belong to no constraint."""
    for name, index in contract.indexes.items():
        if index.of_constraint:
            continue
        where = f"{table}.{name}"
        same = [there for there in actual.indexes.values() if there.definition == index.definition]
        there = actual.indexes.get(name)
        build = f"CREATE INDEX CONCURRENTLY {name} ON {table} USING {index.definition}"
        if any(other.is_valid for other in same):
            continue
        if there is not None and not there.is_valid:
            yield missing(where, f"DROP INDEX CONCURRENTLY {name}", build, what="was left by an interrupted build")
        elif name in found.relations:
            yield name_is_taken(where, name, found)
        else:
            yield missing(where, build)


def name_is_taken(where: str, name: str, found: Catalog) -> Difference:
    """The name of an index or constraint belongs to something else."""
    kind = "INDEX" if found.relations[name] in "iI" else "TABLE"
    return refused(where, "is something else than expected", f"ALTER {kind} {name} RENAME TO {name}_platform")
