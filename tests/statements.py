"""Costs without a clock: the statements that an engine runs, and what PostgreSQL plans and reads for each."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, event


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
        return list(walk(self.root))

    @property
    def kinds(self) -> list[str]:
        """Such as `Index Scan`."""
        return [node["Node Type"] for node in self.nodes]

    @property
    def indexes(self) -> set[str]:
        return {node["Index Name"] for node in self.nodes if "Index Name" in node}

    @property
    def rows_read(self) -> int:
        """Rows that the scans of tables and indexes found, with those that a filter then removed."""
        scans = [node for node in self.nodes if "Relation Name" in node and "Scan" in node["Node Type"]]
        removed = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
        return round(
            sum(
                (node["Actual Rows"] + sum(node.get(key, 0) for key in removed)) * node["Actual Loops"]
                for node in scans
            )
        )

    @property
    def buffers(self) -> int:
        """Pages that were read, from the cache or the disk."""
        return int(self.root["Shared Hit Blocks"] + self.root["Shared Read Blocks"])


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


def walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The nodes of a plan that were executed, a parent before its children."""
    if node["Actual Loops"]:
        yield node
        for child in node.get("Plans", []):
            yield from walk(child)
