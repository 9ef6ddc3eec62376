"""Completing a schema: look first, refuse or go on, add what is missing."""

import contextlib
from collections.abc import Iterator, Sequence

from sqlalchemy import Connection

from infra.schema.comparison import differences
from infra.schema.creation import quoted
from infra.schema.differences import Difference, Kind, SchemaError
from infra.schema.session import Session, home

TOUCH_TRIGGERS = "leaderboard_entries.arcade_jobs_touch_"


def plan(session: Session) -> list[Difference]:
    """List what is missing. Nothing is changed.

    Raises:
        SchemaError: something must be mended first.
    """
    session.report("comparing the schema and its rows with the contract")
    with looking(session.connection) as schema:
        found = differences(session.connection, schema, to_alter=True)
    if refused := [difference for difference in found if difference.kind is Kind.REFUSED]:
        raise SchemaError(refused)
    for difference in found:
        if difference.kind is Kind.WARNING:
            session.report(f"warning: {difference}")
    return [difference for difference in found if difference.kind is Kind.MISSING]


def add(session: Session, missing: Sequence[Difference]) -> None:
    """Add what is missing, and mark the boards that were written to while no trigger told of it.

    Raises:
        UpgradeError: a statement failed; what was done before stays.
    """
    for number, difference in enumerate(missing, start=1):
        session.report(f"[{number}/{len(missing)}] {difference}: mending it")
        for statement in difference.statements:
            session.run(statement)
    if any(difference.where.startswith(TOUCH_TRIGGERS) for difference in missing):
        mark_boards(session)


@contextlib.contextmanager
def looking(connection: Connection) -> Iterator[str]:
    """A transaction that is rolled back, whatever the session's settings; it yields the schema that is looked at.

    Args:
        connection: in autocommit.
    """
    connection.exec_driver_sql("BEGIN ISOLATION LEVEL READ COMMITTED")
    try:
        schema = home(connection)
        for setting in ("statement_timeout = 0", "TimeZone = 'UTC'", "DateStyle = 'ISO, MDY'"):
            connection.exec_driver_sql(f"SET LOCAL {setting}")
        # The contract's own tables will be in pg_temp, which comes first unless it is named.
        connection.exec_driver_sql(f"SET LOCAL search_path = {quoted(schema)}, pg_temp")
        yield schema
    finally:
        connection.exec_driver_sql("ROLLBACK")


def mark_boards(session: Session) -> None:
    """Mark every board that has entries as pending, so that the next run ranks it.

    It was written to while no trigger told of it. What is written from now on is told, so nothing falls between.
    """
    session.run(
        "INSERT INTO leaderboards (game_type, period_type, period_date)"
        " SELECT DISTINCT game_type, period_type, period_date FROM leaderboard_entries"
        " ON CONFLICT (game_type, period_type, period_date) DO UPDATE SET is_pending = true"
    )
