"""The connection of an upgrade: one at a time, every statement its own transaction, no lock waited for long."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from infra.schema.creation import quoted
from infra.schema.differences import UpgradeError

ADVISORY_LOCK = 0x61726361_6A6F6273  # "arca", "jobs": held by whoever upgrades this database
POLL = 0.2  # seconds between two looks at the lock of another upgrade
LOCK_TIMEOUT = 1.0  # seconds; whoever comes after a waiting ALTER TABLE waits as long as it does
LOCK_ATTEMPTS = 8
BACKOFF = 0.5  # seconds before the second attempt; doubled each time: a minute in all
SHOWN = 160  # characters of a statement in a message
HOME = """
coalesce(
  (SELECT nspname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace, unnest(
      ARRAY[to_regclass('prize_pools'), to_regclass('leaderboard_entries'), to_regclass('game_sessions')]
   ) WITH ORDINALITY AS found (oid, place) WHERE pg_class.oid = found.oid ORDER BY place LIMIT 1),
  current_schema())
"""
HOMELESS = "search_path: names no schema that exists; create one, or set search_path to one that does"
GAVE_WAY = ("55P03", "40P01")  # lock_not_available, deadlock_detected: nothing was done, and it may be tried again


@dataclass(frozen=True, kw_only=True)
class Session:
    """An upgrade under way.

    Attributes:
        connection: in autocommit, its search path the schema alone.
        schema: where the tables are, or are to be.
        report: takes lines that say what is going on.
        pause: waits for a number of seconds.
    """

    connection: Connection
    schema: str
    report: Callable[[str], None]
    pause: Callable[[float], None] = time.sleep

    def run(self, statement: str) -> None:
        """Run a statement; one that cannot have its lock gives way to others and tries again.

        CREATE INDEX CONCURRENTLY waits for transactions that are under way, but nobody waits for it: it has no limit.

        Raises:
            UpgradeError: it failed, or never had its lock.
        """
        limit = 0 if " CONCURRENTLY " in statement else int(LOCK_TIMEOUT * 1000)
        self.connection.exec_driver_sql(f"SET lock_timeout = {limit}")
        for attempt in range(1, LOCK_ATTEMPTS + 1):
            try:
                self.connection.exec_driver_sql(statement)
            except DBAPIError as error:
                if limit == 0 or sqlstate(error) not in GAVE_WAY:
                    raise UpgradeError(f"{message(error)}, in: {_line(statement)}") from error
                if attempt == LOCK_ATTEMPTS:
                    raise UpgradeError(f"no lock after {attempt} attempts, for: {_line(statement)}") from error
                self.report(f"waiting for a lock that others hold (attempt {attempt} of {LOCK_ATTEMPTS})")
                self.pause(BACKOFF * 2 ** (attempt - 1))
            else:
                return


@contextlib.contextmanager
def begin(engine: Engine, *, report: Callable[[str], None], pause: Callable[[float], None]) -> Iterator[Session]:
    """Open the session of an upgrade, as soon as no other one is under way in this database.

    It looks again and again instead of waiting in `pg_advisory_lock`: that call's snapshot would be waited for by the
    other upgrade's CREATE INDEX CONCURRENTLY, for ever.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        try:
            connection.exec_driver_sql("SET statement_timeout = 0")
            _await_turn(connection, report=report, pause=pause)
            schema = home(connection)
            connection.exec_driver_sql(f"SET search_path = {quoted(schema)}")
            yield Session(connection=connection, schema=schema, report=report, pause=pause)
        finally:
            connection.invalidate()  # its settings and its lock do not go back to the pool


def _await_turn(connection: Connection, *, report: Callable[[str], None], pause: Callable[[float], None]) -> None:
    waiting = False
    while not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": ADVISORY_LOCK}):
        if not waiting:
            report("another upgrade of this database is under way; waiting for it")
            waiting = True
        pause(POLL)


def home(connection: Connection) -> str:
    """The schema of the platform's tables: where `prize_pools` or another is found, or else where tables are made.

    Raises:
        UpgradeError: there is none.
    """
    schema = connection.scalar(text(f"SELECT {HOME}"))
    if schema is None:
        raise UpgradeError(HOMELESS)
    return str(schema)


def _line(statement: str) -> str:
    line = " ".join(statement.split())
    return line if len(line) <= SHOWN else line[: SHOWN - 3] + "..."


def sqlstate(error: DBAPIError) -> str | None:
    """The SQLSTATE of an error of the database; None of one that the driver raised."""
    return _field(error, "C")


def message(error: DBAPIError) -> str:
    """The message of an error, without the statement."""
    return _field(error, "M") or str(error.orig)


def _field(error: DBAPIError, code: str) -> str | None:
    arguments = error.orig.args if error.orig else ()
    return arguments[0].get(code) if arguments and isinstance(arguments[0], dict) else None
