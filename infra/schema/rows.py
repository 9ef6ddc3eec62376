# ruff: noqa: S608 - the queries are put together from the contract and the catalog, not from input
"""What the rows of a table would violate, looked up before anything is changed.

They are read as they will be once what is mechanical is done, types and spellings, so that one pass finds
everything.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from infra.schema.catalog import Constraint, Table
from infra.schema.conversions import CORRECTIONS, Correction, conversion
from shared.db.errors import describe, sqlstate

DATA_EXCEPTION = "22"  # the class of what is wrong with a value


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The rows of a table in the contract's types.

    Attributes:
        values: by column, the expression of its value; columns without one cannot be looked at.
        corrections: by column, those that the table's constraints do not exclude.
        unreadable: by column, in how many rows its value cannot be converted.
        unconvertible: by column, why no value of its type can be.
        lacks: required columns that are missing: no row can stay as it is.
    """

    connection: Connection
    table: str
    values: Mapping[str, str]
    corrections: Mapping[str, Correction]
    unreadable: Mapping[str, int] = field(default_factory=dict)
    unconvertible: Mapping[str, str] = field(default_factory=dict)
    lacks: tuple[str, ...] = ()

    def shows(self, constraint: Constraint) -> bool:
        """Whether all columns of a constraint can be looked at."""
        return constraint.columns <= self.values.keys()

    def count(self, conditions: list[str]) -> list[int]:
        """How many rows meet each condition, in one reading of the table."""
        if not conditions or self.lacks:
            return [0] * len(conditions)
        counts = ", ".join(f"count(*) FILTER (WHERE {condition})" for condition in conditions)
        return list(self.connection.exec_driver_sql(f"SELECT {counts} FROM {self._corrected}").one())

    def count_shared(self, columns: frozenset[str]) -> int:
        """How many keys more than one row has."""
        if self.lacks:
            return 0
        key = ", ".join(sorted(columns))
        present = " AND ".join(f"{column} IS NOT NULL" for column in sorted(columns))
        shared = f"SELECT FROM {self._corrected} WHERE {present} GROUP BY {key} HAVING count(*) > 1"
        return int(self.connection.exec_driver_sql(f"SELECT count(*) FROM ({shared}) AS shared").scalar_one())

    def count_corrected(self) -> dict[str, int]:
        """By column, how many rows have a value that has another spelling."""
        corrections = self.corrections
        if not corrections or self.lacks:
            return {}
        counts = ", ".join(
            f"count(*) FILTER (WHERE {column} IS DISTINCT FROM ({correction.value}))"
            for column, correction in corrections.items()
        )
        found = self.connection.exec_driver_sql(f"SELECT {counts} FROM {self._converted}").one()
        return {column: count for column, count in zip(corrections, found, strict=True) if count}

    @property
    def _corrected(self) -> str:
        corrections = self.corrections
        values = ", ".join(
            f"{corrections[column].value} AS {column}" if column in corrections else column for column in self.values
        )
        return f"(SELECT {values} FROM {self._converted}) AS {self.table}"

    @property
    def _converted(self) -> str:
        """The rows that can be read; OFFSET keeps the server from converting others before it has left them out."""
        readable = " AND ".join(
            f"ctid NOT IN (SELECT place FROM {_unread(self.table, column)})" for column in self.unreadable
        )
        source = f"(SELECT * FROM {self.table} WHERE {readable} OFFSET 0) AS {self.table}" if readable else self.table
        values = ", ".join(f"{value} AS {column}" for column, value in self.values.items())
        return f"(SELECT {values} FROM {source} OFFSET 0) AS {self.table}"


def prepare_rows(connection: Connection, table: str, contract: Table, actual: Table) -> Rows:
    """Prepare the queries on the rows of a table.

    Args:
        connection: in a transaction to be rolled back, its search path the schema, TimeZone UTC.
        table: its name.
        contract: as the contract has it.
        actual: as it is.
    """
    values: dict[str, str] = {}
    unreadable: dict[str, int] = {}
    unconvertible: dict[str, str] = {}
    lacks: list[str] = []
    for name, column in contract.columns.items():
        there = actual.columns.get(name)
        if there is None and not column.is_required:
            values[name] = f"NULL::{column.type}"
        elif there is None and not column.has_sequence and actual.has_rows:
            lacks.append(name)
        elif there is not None and there.type == column.type:
            values[name] = name
        elif there is not None:
            expression, _ = conversion(table, name, there, column)
            value = f"({expression})::{column.type}"
            error = _error_of(connection, table, value)
            if error is not None and not (sqlstate(error) or "").startswith(DATA_EXCEPTION):
                unconvertible[name] = describe(error)
                continue
            values[name] = value
            if error is not None:
                unreadable[name] = _count_unreadable(connection, table, name, value)
    corrections = {
        name: correction
        for name, correction in CORRECTIONS.get(table, {}).items()
        if correction.uses <= values.keys()
        and correction.constraint in contract.constraints  # not dropped by a later revision
        and not actual.has_constraint(correction.constraint, contract.constraints[correction.constraint])
    }
    return Rows(
        connection=connection,
        table=table,
        values=values,
        corrections=corrections,
        unreadable=unreadable,
        unconvertible=unconvertible,
        lacks=tuple(lacks),
    )


def ambiguous_date(connection: Connection, table: str, column: str) -> str | None:
    """A text that a session's DateStyle may read as another day, such as `03/04/2026`."""
    found = connection.exec_driver_sql(
        f"SELECT min({column}) FROM {table} WHERE {column} ~ '^\\s*\\d' AND {column} !~ '^\\s*\\d{{4}}-\\d\\d-\\d\\d'"
    ).scalar_one()
    return None if found is None else re.sub(r"\s+", " ", str(found))[:40]


def _error_of(connection: Connection, table: str, value: str) -> DBAPIError | None:
    """Why an expression fails for some row of a table; None if it does not."""
    savepoint = connection.begin_nested()
    try:
        connection.exec_driver_sql(f"SELECT count({value}) FROM {table}")
    except DBAPIError as error:
        savepoint.rollback()
        return error
    savepoint.commit()
    return None


def _unread(table: str, column: str) -> str:
    return f"pg_temp.arcade_jobs_unread_{table}_{column}"


def _count_unreadable(connection: Connection, table: str, column: str, value: str) -> int:
    """How many rows an expression fails for; PostgreSQL 15 can only try, in a function, one row after the other.

    Where they are is kept for the other queries: to try takes 10 us a row.
    """
    reads = f"pg_temp.arcade_jobs_reads_{column}"
    connection.exec_driver_sql(
        f"CREATE FUNCTION {reads}(given {table}) RETURNS boolean LANGUAGE plpgsql AS $$"
        f" BEGIN PERFORM {value} FROM (SELECT given.*) AS {table}; RETURN true;"
        " EXCEPTION WHEN data_exception THEN RETURN false; END $$"
    )
    unread = _unread(table, column)
    kept = f"CREATE TEMPORARY TABLE {unread.removeprefix('pg_temp.')} AS SELECT ctid AS place FROM {table}"
    connection.exec_driver_sql(f"{kept} WHERE NOT {reads}({table})")
    return int(connection.exec_driver_sql(f"SELECT count(*) FROM {unread}").scalar_one())
