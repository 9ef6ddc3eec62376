"""The connection of an upgrade: one upgrade at a time, each statement its own transaction, no long wait for a lock."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from infra.schema import guarded
from infra.schema.differences import UpgradeError
from infra.schema.quoting import quoted
from infra.schema.revisions import VERSION_TABLE
from shared.db.errors import describe, sqlstate

POLL = 0.2  # seconds between two attempts at the lock of another upgrade
LOCK_TIMEOUT = 1.0  # seconds; what comes after a waiting ALTER TABLE waits as long as it does
LOCK_ATTEMPTS = 8
BACKOFF = 0.5  # seconds before the second attempt; doubled each time: a minute in all
SHOWN = 160  # characters of a statement in a message
LOCKED = ("55P03", "40P01")  # lock_not_available, deadlock_detected: nothing was done, and it may be tried again
# The schema of the platform's tables: where `prize_pools` or another is found, or else where tables are created.
SCHEMA_OF_TABLES = """
coalesce(
  (SELECT nspname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace, unnest(
      ARRAY[to_regclass('prize_pools'), to_regclass('leaderboard_entries'), to_regclass('game_sessions')]
   ) WITH ORDINALITY AS found (oid, place) WHERE pg_class.oid = found.oid ORDER BY place LIMIT 1),
  current_schema())
"""
NO_SCHEMA = "search_path: names no schema that exists; create one, or set search_path to one that does"


@dataclass(frozen=True, kw_only=True)
class Session:
    """An upgrade under way over a connection.

    Attributes:
        connection: in autocommit, its search path the schema alone.
        schema: where the tables are, or will be.
        report: takes lines of progress.
        sleep: waits for a number of seconds.
        role: None: what is created belongs to the role that is connected.
    """

    connection: Connection
    schema: str
    report: Callable[[str], None]
    sleep: Callable[[float], None] = time.sleep
    role: None = None

    def run(self, statement: str) -> None:
        """Run a statement; one that cannot have its lock lets others pass and tries again.

        CREATE INDEX CONCURRENTLY waits for transactions that are under way, but nothing waits for it: it has no limit.

        Raises:
            UpgradeError: it failed, or never had its lock.
        """
        limit = 0 if " CONCURRENTLY " in statement else round(LOCK_TIMEOUT * 1000)
        self.connection.exec_driver_sql(f"SET lock_timeout = {limit}")
        self._try(statement, shown=statement, may_wait=limit > 0)

    def run_block(self, body: str, *, expected: str | None) -> None:
        """Run statements and record them, or neither.

        Raises:
            guarded.MovedError: the version table does not read what was expected.
            UpgradeError: it failed, or never had its lock.
        """
        block = guarded.block(self.schema, body, lock_timeout=LOCK_TIMEOUT, expected=expected)
        self._try(block, shown=body.strip().removeprefix("EXECUTE '"), may_wait=True)

    def build(self, statement: str) -> bool:
        """Build an index concurrently with writers.

        Raises:
            UpgradeError: it failed.
        """
        self.run(statement)
        return True

    def version(self) -> str | None:
        """What the version table reads; None before the first revision."""
        return version_of(self.connection, self.schema)

    def rows(self, query: str) -> list[guarded.Row]:
        """The rows of a query whose columns are all text."""
        return [tuple(row) for row in self.connection.exec_driver_sql(query)]

    def _try(self, statement: str, *, shown: str, may_wait: bool) -> None:
        attempt = 1
        is_busy = False
        while True:
            try:
                self.connection.exec_driver_sql(statement)
            except DBAPIError as error:
                message = describe(error)
                if message.startswith(guarded.MOVED):
                    raise guarded.MovedError from error
                if message.startswith(guarded.BUSY):  # through the Data API: its statement may take long
                    if not is_busy:
                        self.report(f"{guarded.BUSY}; waiting for it")
                        is_busy = True
                    self.sleep(POLL)
                    continue
                if not may_wait or sqlstate(error) not in LOCKED:
                    raise UpgradeError(f"{message}, in: {_line(shown)}") from error
                if attempt == LOCK_ATTEMPTS:
                    raise UpgradeError(f"no lock after {attempt} attempts, for: {_line(shown)}") from error
                self.report(f"waiting for a lock that others hold (attempt {attempt} of {LOCK_ATTEMPTS})")
                self.sleep(BACKOFF * 2 ** (attempt - 1))
                attempt += 1
            else:
                return


@contextlib.contextmanager
def begin(engine: Engine, *, report: Callable[[str], None], sleep: Callable[[float], None]) -> Iterator[Session]:
    """Open the session of an upgrade, as soon as no other one is under way in this database.

    It polls instead of waiting in `pg_advisory_lock`: that call's snapshot would be waited for by the
    other upgrade's CREATE INDEX CONCURRENTLY, forever.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        try:
            connection.exec_driver_sql("SET statement_timeout = 0")
            connection.exec_driver_sql(
                "SET idle_session_timeout = 0"
            )  # S36: it waits longer for a lock, and must keep its own
            connection.exec_driver_sql("SET default_transaction_isolation = 'read committed'")
            _await_turn(connection, report=report, sleep=sleep)
            schema = schema_of_tables(connection)
            connection.exec_driver_sql(f"SET search_path = {quoted(schema)}")
            yield Session(connection=connection, schema=schema, report=report, sleep=sleep)
        finally:
            connection.invalidate()  # its settings and its lock do not go back to the pool


def schema_of_tables(connection: Connection) -> str:
    """Where the platform's tables are, or will be created.

    Raises:
        UpgradeError: there is no such schema.
    """
    schema = connection.scalar(text(f"SELECT {SCHEMA_OF_TABLES}"))
    if schema is None:
        raise UpgradeError(NO_SCHEMA)
    return str(schema)


def version_of(connection: Connection, schema: str) -> str | None:
    """What the version table reads; None before the first revision.

    Raises:
        UpgradeError: this role may not read it.
    """
    table = f"{quoted(schema)}.{VERSION_TABLE}"
    if connection.scalar(text("SELECT to_regclass(:name)"), {"name": table}) is None:
        return None
    if not connection.scalar(text("SELECT has_table_privilege(:name, 'SELECT')"), {"name": table}):
        role = connection.scalar(text("SELECT current_user"))
        raise UpgradeError(f"{VERSION_TABLE}: role {role} may not read it; connect as the owner of the tables")
    version = connection.exec_driver_sql(f"SELECT version_num FROM {table}").scalar()  # noqa: S608 - quoted
    return None if version is None else str(version)


def _await_turn(connection: Connection, *, report: Callable[[str], None], sleep: Callable[[float], None]) -> None:
    waiting = False
    while not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": guarded.ADVISORY_LOCK}):
        if not waiting:
            report(f"{guarded.BUSY}; waiting for it")
            waiting = True
        sleep(POLL)


def _line(statement: str) -> str:
    line = " ".join(statement.split())
    return line if len(line) <= SHOWN else line[: SHOWN - 3] + "..."
