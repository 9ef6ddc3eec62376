"""A database for a test: engines on it, and statements as an operator runs them in psql, each its own transaction."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from sqlalchemy import URL, Engine, create_engine

from infra.local import postgres


def open_database(url: URL, **options: Any) -> Engine:
    """An engine without TLS: pg8000 would build a context for each connection, which takes longer than to connect."""
    return create_engine(url, connect_args={"ssl_context": False}, **options)


@contextmanager
def new_database(
    server: postgres.Server, prefix: str, *, template: str | None = None, **options: Any
) -> Iterator[Engine]:
    """An engine on a database of its own, empty or a copy, which is dropped in the end."""
    name = f"{prefix}_{uuid4().hex[:12]}"
    engine = open_database(server.create_database(name, template=template), **options)
    try:
        yield engine
    finally:
        engine.dispose()
        server.drop_database(name)


_PARTS = re.compile(r"--[^\n]*|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$(\w*)\$.*?\$\1\$|;|[^-;'\"$]+|.", re.DOTALL)


def split(script: str) -> list[str]:
    """The statements of a script, as psql tells them apart."""
    statements = [""]
    for part in _PARTS.finditer(script):
        if part[0] == ";":
            statements.append("")
        elif not part[0].startswith("--"):
            statements[-1] += part[0]
    return [statement.strip() for statement in statements if statement.strip()]


def run(engine: Engine, *statements: str) -> None:
    """Run statements."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def rows(engine: Engine, query: str) -> list[tuple[Any, ...]]:
    """The rows of a query."""
    with engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def contents(engine: Engine, table: str) -> list[tuple[Any, ...]]:
    """All rows of a table, in the order of its first column."""
    return rows(engine, f"SELECT * FROM {table} ORDER BY 1")
