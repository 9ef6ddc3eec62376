# ruff: noqa: S608 - the queries are put together from the contract and the catalog, not from input
"""What the rows of a table would violate, looked up before anything is changed.

Columns of another type are looked at as they will be once their type is mended, so that one look finds everything.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from infra.schema.catalog import Constraint, Table
from infra.schema.mends import conversion
from infra.schema.session import message


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The rows of a table in the contract's types.

    Attributes:
        values: by column, the expression of its value; columns without one cannot be looked at.
        unreadable: by column, why its values cannot be converted.
    """

    connection: Connection
    table: str
    values: Mapping[str, str]
    unreadable: Mapping[str, str]

    def shows(self, constraint: Constraint) -> bool:
        """Whether all columns of a constraint can be looked at."""
        return constraint.columns <= self.values.keys()

    def count(self, conditions: list[str]) -> list[int]:
        """How many rows meet each condition, in one reading of the table."""
        if not conditions:
            return []
        counts = ", ".join(f"count(*) FILTER (WHERE {condition})" for condition in conditions)
        return list(self.connection.exec_driver_sql(f"SELECT {counts} FROM {self._rows}").one())

    def count_shared(self, columns: frozenset[str]) -> int:
        """How many keys more than one row has."""
        key = ", ".join(sorted(columns))
        present = " AND ".join(f"{column} IS NOT NULL" for column in sorted(columns))
        shared = f"SELECT FROM {self._rows} WHERE {present} GROUP BY {key} HAVING count(*) > 1"
        return int(self.connection.exec_driver_sql(f"SELECT count(*) FROM ({shared}) AS shared").scalar_one())

    @property
    def _rows(self) -> str:
        values = ", ".join(f"{value} AS {column}" for column, value in self.values.items())
        return f"(SELECT {values} FROM {self.table}) AS {self.table}"


def look(connection: Connection, table: str, want: Table, have: Table) -> Rows:
    """Prepare a look at the rows of a table.

    Args:
        connection: in a transaction, its search path the schema, TimeZone UTC.
        table: its name.
        want: as the contract has it.
        have: as it is.
    """
    values, unreadable = {}, {}
    for name, column in want.columns.items():
        there = have.columns.get(name)
        if there is None:
            if not column.is_required:
                values[name] = f"NULL::{column.type}"
        elif there.type == column.type:
            values[name] = name
        else:
            value, _ = conversion(name, there.type, column.type)
            if (reason := _why_not(connection, table, value)) is None:
                values[name] = value
            else:
                unreadable[name] = reason
    return Rows(connection=connection, table=table, values=values, unreadable=unreadable)


def ambiguous_date(connection: Connection, table: str, column: str) -> str | None:
    """A text that a session's DateStyle may read as another day, such as `03/04/2026`."""
    found = connection.exec_driver_sql(
        f"SELECT min({column}) FROM {table} WHERE {column} <> '' AND {column} !~ '^\\s*\\d{{4}}-\\d\\d-\\d\\d'"
    ).scalar_one()
    return None if found is None else re.sub(r"\s+", " ", str(found))[:40]


def _why_not(connection: Connection, table: str, value: str) -> str | None:
    """Why an expression fails for some row of a table; None if it does not."""
    savepoint = connection.begin_nested()
    try:
        connection.exec_driver_sql(f"SELECT count({value}) FROM {table}")
    except DBAPIError as error:
        savepoint.rollback()
        return message(error)
    savepoint.commit()
    return None
