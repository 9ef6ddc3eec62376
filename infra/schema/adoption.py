"""Completing a schema: compare first, refuse or continue, add what is missing."""

import contextlib
from collections.abc import Iterator, Sequence

from sqlalchemy import Connection

from infra.schema import guarded
from infra.schema.comparison import differences
from infra.schema.differences import Difference, Kind, SchemaError
from infra.schema.quoting import quoted
from infra.schema.revisions import first, head
from infra.schema.session import Session, schema_of_tables

# Without one of them a touched board goes unnoticed.
TOUCH_TRIGGERS = tuple(f"trigger leaderboard_entries.arcade_jobs_{name}_" for name in ("guard", "touch"))


def adopt(session: Session) -> None:
    """Bring a platform's own tables to the first revision, and record it. Nothing that is there is dropped or changed.

    Raises:
        SchemaError: something must be fixed first.
        UpgradeError: a statement failed; what was done before stays.
    """
    complete(session, None)
    mark_boards(session)
    session.run_block(guarded.begin_body(session.schema, first()), expected=None)


def complete(session: Session, version: str | None) -> None:
    """Add what is missing of a revision, and mark the boards that were written to while no trigger noticed it.

    Args:
        session: of the upgrade.
        version: as the version table reads; None: the platform's own tables are to be adopted.

    Raises:
        SchemaError: something must be fixed first.
        UpgradeError: a statement failed; what was done before stays.
    """
    session.report("comparing the schema and its rows with the contract")
    with looking(session.connection) as schema:
        found = differences(session.connection, schema, version, to_alter=True)
    if refused := [difference for difference in found if difference.kind is Kind.REFUSED]:
        raise SchemaError(refused)
    for difference in found:
        if difference.kind is Kind.WARNING and version == head():
            session.report(f"warning: {difference}")
    _add(session, [difference for difference in found if difference.kind is Kind.MISSING])


def _add(session: Session, missing: Sequence[Difference]) -> None:
    for number, difference in enumerate(missing, start=1):
        session.report(f"[{number}/{len(missing)}] {difference}: adding it")
        for statement in difference.statements:
            session.run(statement)
    if any(difference.where.startswith(TOUCH_TRIGGERS) for difference in missing):
        mark_boards(session)


@contextlib.contextmanager
def looking(connection: Connection) -> Iterator[str]:
    """A transaction that is rolled back, independent of the session's settings; it yields the schema of the tables.

    Args:
        connection: in autocommit.
    """
    connection.exec_driver_sql("BEGIN ISOLATION LEVEL READ COMMITTED")
    try:
        schema = schema_of_tables(connection)
        for setting in ("statement_timeout = 0", "TimeZone = 'UTC'", "DateStyle = 'ISO, MDY'"):
            connection.exec_driver_sql(f"SET LOCAL {setting}")
        # The contract's own tables will be in pg_temp, which comes first unless it is named.
        connection.exec_driver_sql(f"SET LOCAL search_path = {quoted(schema)}, pg_temp")
        yield schema
    finally:
        connection.exec_driver_sql("ROLLBACK")


def mark_boards(session: Session) -> None:
    """Mark every board that has entries as pending, so that the next run ranks it.

    It was written to while no trigger noticed it. What is written from now on is noticed, so nothing falls between.
    """
    session.run(
        "INSERT INTO leaderboards (game_type, period_type, period_date)"
        " SELECT DISTINCT game_type, period_type, period_date FROM leaderboard_entries"
        " ON CONFLICT (game_type, period_type, period_date) DO UPDATE SET is_pending = true"
    )
