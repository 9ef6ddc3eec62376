"""`db upgrade` and `db check` over a connection."""

import time
from collections.abc import Callable, Iterator
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine, text

from infra.schema import adoption, guarded, roles, timezones, unbacked
from infra.schema.comparison import differences
from infra.schema.differences import Difference, SchemaError, missing
from infra.schema.obstacles import obstacles
from infra.schema.revisions import NOTHING, VERSION_TABLE, created, first, head, statements_until, steps_after
from infra.schema.session import Session, begin, version_of

UTC = ZoneInfo("UTC")


def _silent(_: str) -> None:
    """Report nothing."""


def upgrade(
    engine: Engine,
    *,
    timezone: ZoneInfo = UTC,
    report: Callable[[str], None] = _silent,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Create the schema in an empty database, adopt the one that is there, or bring ours up to date.

    1. Where no revision is recorded, compare the platform's tables with the first one: refuse, or complete and record.
    2. Where one is recorded and others are left, compare with it, and restore what was lost since.
       Count what the check of entries will refuse, if it is to be added.
    3. Run the revisions that are left, each statement together with its number.
    4. Compare with the result of all of them.
    5. Record the time zone of the periods, unless one is recorded.

    Two at once are safe. An upgrade that was killed is finished by the next one; one that finds nothing to do does
    nothing.

    Args:
        engine: on the database, as the role that owns the tables or will. Not through a transaction pooler.
        timezone: of all periods; where one is recorded it does nothing.
        report: takes lines of progress.
        sleep: waits for a number of seconds.

    Raises:
        SchemaError: the schema differs from the contract in a way that needs a decision.
        UpgradeError: a statement failed; what was done before stays.
    """
    with begin(engine, report=report, sleep=sleep) as session:
        version = session.version()
        if version is None:
            if _is_empty(session):
                _create(session)
            else:
                adoption.adopt(session)
        elif version != head() and "+" not in version:  # a revision counts on what those before it made
            adoption.complete(session, version)
        for difference in _unbacked(session.connection, session.version(), session.schema):
            session.report(f"warning: {difference}")
        _run_revisions(session)
        adoption.complete(session, head())
        if not timezones.list_zones(session):
            session.run(timezones.first_statement(session.schema, timezone))


def check(engine: Engine) -> list[Difference]:
    """Name everything that is missing or different, all at once. Nothing is changed.

    Args:
        engine: on the database, as a role that may read the tables and create temporary ones.

    Raises:
        UpgradeError: there is no schema, or a newer version has upgraded it.
    """
    autocommit = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    with autocommit as connection, adoption.looking(connection) as schema:
        version = version_of(connection, schema)
        found = differences(connection, schema, version, to_alter=False)
        found += _unbacked(connection, version, schema)
        found += roles.warnings(connection, schema)
        return [*behind(version), *found]


def behind(version: str | None) -> Iterator[Difference]:
    """The difference between what the version table reads and this version's last revision, unless there is none."""
    if version is None:
        yield missing(VERSION_TABLE, what=f"has no revision; {head()} is this version's")
    elif version != head():
        yield missing(VERSION_TABLE, what=f"is {version}; {head()} is this version's")


def _unbacked(connection: Connection, version: str | None, schema: str) -> Iterator[Difference]:
    if unbacked.is_due(version, schema):
        [counted] = connection.exec_driver_sql(unbacked.counts(schema))
        yield from unbacked.warnings(*map(int, counted))


def _is_empty(session: Session) -> bool:
    """Whether none of the contract's tables is there."""
    names = created("TABLE", statements_until(first(), session.schema))
    return not session.connection.scalar(
        text("SELECT EXISTS (SELECT FROM unnest(CAST(:names AS text[])) AS name WHERE to_regclass(name) IS NOT NULL)"),
        {"names": names},
    )


def _create(session: Session) -> None:
    with adoption.looking(session.connection) as schema:
        in_the_way = list(obstacles(session.connection, schema, {}, to_alter=True))
    if in_the_way:
        raise SchemaError(in_the_way)
    session.run_block(guarded.begin_body(session.schema, NOTHING), expected=None)


def _run_revisions(session: Session) -> None:
    while steps := steps_after(session.version() or NOTHING, session.schema):
        try:
            for place, step in enumerate(steps):
                if place == 0 or step.number == 1:
                    session.report(f"{step}")
                guarded.run_step(session, step)
        except guarded.MovedError:  # by an upgrade through the Data API: compare again
            continue
