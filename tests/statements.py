"""Costs without a clock: the statements that an engine runs, and what PostgreSQL plans and reads for each."""

import json
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, event

from tests.sql import run

# https://www.postgresql.org/docs/current/auto-explain.html
_AUTO_EXPLAIN = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_level": "notice",  # sent to the client
    "auto_explain.log_format": "json",
    "auto_explain.log_nested_statements": "on",  # in triggers too
    "auto_explain.log_analyze": "on",
    "auto_explain.log_buffers": "on",
    "auto_explain.log_timing": "off",
}


@dataclass(frozen=True)
class Statement:
    """A statement as the driver got it, or the end of a transaction: `COMMIT` or `ROLLBACK`."""

    sql: str
    parameters: tuple[Any, ...] = ()

    @property
    def verb(self) -> str:
        return self.sql.split(maxsplit=1)[0]


@dataclass(frozen=True)
class Plan:
    """What EXPLAIN ANALYZE says of a statement: its root node."""

    root: dict[str, Any]

    @property
    def nodes(self) -> list[dict[str, Any]]:
        """All nodes that were executed, a parent before its children."""
        return list(_walk(self.root))

    @property
    def kinds(self) -> list[str]:
        """Such as `Index Scan`."""
        return [node["Node Type"] for node in self.nodes]

    @property
    def indexes(self) -> set[str]:
        return {node["Index Name"] for node in self.nodes if "Index Name" in node}

    @property
    def scans(self) -> list["Scan"]:
        """Those of tables, by whatever index."""
        return [Scan(node) for node in self.nodes if "Relation Name" in node and "Scan" in node["Node Type"]]

    @property
    def rows_read(self) -> int:
        """Rows that the scans of tables and indexes found, with those that a filter then removed."""
        return sum(scan.rows_read for scan in self.scans)

    def rows_written(self, tables: Collection[str]) -> int:
        """Rows that were inserted, updated and deleted."""
        return round(
            sum(
                below["Actual Rows"] * below["Actual Loops"]
                for node in self.nodes
                if node["Node Type"] == "ModifyTable" and node["Relation Name"] in tables
                for below in node["Plans"]
                if below["Parent Relationship"] == "Outer"
            )
        )

    @property
    def buffers(self) -> int:
        """Pages that were read, from the cache or the disk."""
        return _buffers(self.root)


@dataclass(frozen=True)
class Scan:
    """A node of a plan that reads a table."""

    node: dict[str, Any]

    def __str__(self) -> str:
        index = f" by {self.node['Index Name']}" if "Index Name" in self.node else ""
        return (
            f"{self.kind} of {self.table}{index}: {self.rows_read} rows and {self.buffers} pages in {self.loops} loops"
        )

    @property
    def table(self) -> str:
        return str(self.node["Relation Name"])

    @property
    def kind(self) -> str:
        """Such as `Index Scan`."""
        return str(self.node["Node Type"])

    @property
    def loops(self) -> int:
        return int(self.node["Actual Loops"])

    @property
    def rows_read(self) -> int:
        """Rows found, with those that a filter then removed."""
        removed = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
        return round((self.node["Actual Rows"] + sum(self.node.get(key, 0) for key in removed)) * self.loops)

    @property
    def buffers(self) -> int:
        """Pages that were read, for what is below it too."""
        return _buffers(self.node)


@contextmanager
def recorded(engine: Engine) -> Iterator[list[Statement]]:
    """The statements of an engine, in a list that grows while the context is open."""
    statements: list[Statement] = []

    def note(_connection: Any, _cursor: Any, sql: str, parameters: Any, *_: Any) -> None:
        statements.append(Statement(sql, tuple(parameters)))

    listeners: dict[str, Any] = {
        "before_cursor_execute": note,
        "commit": lambda _connection: statements.append(Statement("COMMIT")),
        "rollback": lambda _connection: statements.append(Statement("ROLLBACK")),
    }
    for name, listener in listeners.items():
        event.listen(engine, name, listener)
    try:
        yield statements
    finally:
        for name, listener in listeners.items():
            event.remove(engine, name, listener)


def explain(engine: Engine, statement: Statement) -> Plan:
    """Run a statement once more under EXPLAIN, and roll back what it does."""
    with engine.connect() as connection, connection.begin() as transaction:
        options = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "
        [found] = connection.exec_driver_sql(options + statement.sql, statement.parameters).scalar_one()
        transaction.rollback()
    return Plan(found["Plan"])


def explain_all(engine: Engine) -> None:
    """Let the server send a plan of each statement that a new session of this database executes (a superuser's)."""
    run(
        engine,
        *(f"ALTER DATABASE {engine.url.database} SET {name} = '{value}'" for name, value in _AUTO_EXPLAIN.items()),
    )


@contextmanager
def sent_plans(engine: Engine) -> Iterator[list[tuple[str, Plan]]]:
    """What the server has sent after `explain_all`: texts and plans, complete when the context ends.

    In the order in which they ended: one that was nested comes before the statement that it was nested in.
    """
    notices: deque[dict[bytes, bytes]] = deque()
    plans: list[tuple[str, Plan]] = []

    def keep_all_notices(connection: Any, _record: Any) -> None:
        connection.notices = notices  # pg8000's own keeps the last hundred

    event.listen(engine, "connect", keep_all_notices)
    try:
        yield plans
    finally:
        event.remove(engine, "connect", keep_all_notices)
        for notice in notices:
            _, found, plan = notice[b"M"].decode().partition("plan:\n")
            if found:
                content = json.loads(plan)
                plans.append((content["Query Text"], Plan(content["Plan"])))


def _buffers(node: dict[str, Any]) -> int:
    return int(node["Shared Hit Blocks"] + node["Shared Read Blocks"])


def _walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if node["Actual Loops"]:
        yield node
        for child in node.get("Plans", []):
            yield from _walk(child)
