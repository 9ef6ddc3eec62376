"""The statements that make the schema in an empty database, each of which can be sent on its own."""

from sqlalchemy import Column
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.schema import (
    BaseDDLElement,
    CreateColumn,
    CreateIndex,
    CreateTable,
    SetColumnComment,
    SetTableComment,
)

from infra.schema.triggers import FUNCTIONS, TRIGGERS
from shared.db import tables

# How literal SQL is rendered: with a named parameter style a percent sign stays single.
_DIALECT = PGDialect(paramstyle="named")  # type: ignore[no-untyped-call]


# Alembic's own default name may be taken by the platform.
VERSION_TABLE = "arcade_jobs_version"


def quoted(name: str) -> str:
    """A name as it is written in SQL."""
    return _DIALECT.identifier_preparer.quote(name)


def schema_statements(schema: str) -> list[str]:
    """Everything, in order: tables with their indexes, trigger functions, triggers.

    Args:
        schema: the name of a schema that is there.
    """
    return [
        *(statement for name in tables.metadata.tables for statement in table_statements(schema, name)),
        *(statement for function in FUNCTIONS for statement in function_statements(schema, function.name)),
        *(trigger.statement(quoted(schema)) for trigger in TRIGGERS),
    ]


def table_statements(schema: str, name: str) -> list[str]:
    """One table, with its constraints, indexes and comments."""
    table = tables.metadata.tables[name]
    indexes = sorted(table.indexes, key=lambda index: str(index.name))
    elements: list[BaseDDLElement] = [CreateTable(table), *map(CreateIndex, indexes)]
    if table.comment:
        elements.append(SetTableComment(table))
    comments = (comment for column in table.columns for comment in _comments(schema, column))
    return [*(_rendered(element, schema) for element in elements), *comments]


def column_statements(schema: str, table: str, name: str) -> list[str]:
    """ADD COLUMN of one column. Its constraints and indexes are not in it."""
    column = tables.metadata.tables[table].columns[name]
    added = f"ALTER TABLE {quoted(schema)}.{table} ADD COLUMN {_rendered(CreateColumn(column), schema)}"
    return [added, *_comments(schema, column)]


def function_statements(schema: str, name: str) -> list[str]:
    """One trigger function, which nobody can attach to a table of his own."""
    function = next(function for function in FUNCTIONS if function.name == name)
    written = quoted(schema)
    return [function.statement(written), f"REVOKE ALL ON FUNCTION {written}.{name}() FROM PUBLIC"]


def _comments(schema: str, column: Column[object]) -> list[str]:
    return [_rendered(SetColumnComment(column), schema)] if column.comment else []


def _rendered(element: BaseDDLElement, schema: str) -> str:
    rendered = element.compile(dialect=_DIALECT, schema_translate_map={None: schema}, render_schema_translate=True)
    return "\n".join(line.replace("\t", "  ").rstrip() for line in str(rendered).splitlines() if line.strip())
