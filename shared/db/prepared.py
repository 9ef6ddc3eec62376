"""Statements with parameters, prepared once for each connection: one round trip each where pg8000 takes three.

pg8000 parses, describes and executes a statement anew each time, and rewrites its placeholders one character after the
other in Python; it has no prepared statements for SQLAlchemy's kind of cursor. It sends COMMIT in three round trips
too. A pool is settled in five instead of fourteen: BEGIN, three statements, COMMIT.
"""

from typing import Any

from pg8000.converters import make_params
from pg8000.dbapi import convert_paramstyle
from sqlalchemy import Engine, PoolProxiedConnection, event


def prepare_statements(engine: Engine) -> None:
    """Let an engine prepare its statements with parameters, once for each connection, and commit in one round trip.

    For programs with few statements, on tables that do not change: those of the functions. They are planned for their
    values each time as before (`plan_cache_mode` in `shared.db.connection`).
    """

    @event.listens_for(engine, "do_execute")
    def execute(cursor: Any, statement: str, parameters: tuple[Any, ...], context: Any) -> bool:
        """What pg8000's own `Cursor.execute` does, with the parts of `Connection` that its `PreparedStatement` uses."""
        if not parameters:
            return False  # pg8000 sends it as it is, in one round trip
        connection = context.root_connection.connection.dbapi_connection
        if not connection._in_transaction and not connection.autocommit:  # noqa: SLF001 - pg8000 has no public way
            connection.execute_simple("begin transaction")
        prepared = context.root_connection.info.setdefault("prepared", {})  # as old as the connection
        if statement not in prepared:
            sql, _ = convert_paramstyle("format", statement, parameters)
            prepared[statement] = connection.prepare_statement(sql, ())
        name, columns, converters = prepared[statement]
        values = make_params(connection.py_types, parameters)
        try:
            done = connection.execute_named(name, values, columns, converters, statement)
        except Exception:
            # A table may have changed meanwhile: `cached plan must not change result type`. The next attempt prepares.
            del prepared[statement]
            raise
        cursor._context, cursor._row_iter = done, iter(done.rows or ())  # noqa: SLF001 - it has no public way
        return True

    def commit(connection: PoolProxiedConnection) -> None:
        connection.dbapi_connection.execute_simple("commit")  # type: ignore[union-attr]

    engine.dialect.do_commit = commit  # type: ignore[assignment, method-assign]
