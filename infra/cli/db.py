"""`arcade-jobs db`: the schema of the platform's database, connected to directly or through the Data API."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.options import Json, Target, with_target
from infra.cli.terminal import print_json, print_lines, print_note
from infra.stage import stack_name
from shared.domain.errors import ArcadeJobsError, BadInputError, NotReachableError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from sqlalchemy import URL, Engine

    from infra.schema.data_api import DataApi
    from infra.schema.differences import Difference
    from infra.schema.session import Session
    from infra.schema.timezones import Zones
    from shared.operations.deployment import Deployment

NOT_ADMITTED = ("28", "3D")  # SQLSTATE classes: a password or a role is wrong, there is no such database

app = typer.Typer()
db = typer.Typer(no_args_is_help=True, help="The schema of the platform's database.")
app.add_typer(db, name="db")


@db.command("upgrade")
@with_target
def upgrade_database(
    *,
    jobs_role: Annotated[
        str | None, typer.Option(help="With DATABASE_URL or --local: a role that gets the rights that the jobs need.")
    ] = None,
    as_json: Json = False,
    target: Target,
) -> None:
    """Create the schema in the database of DATABASE_URL, or complete the one that is there. Nothing is dropped.

    Without DATABASE_URL: in the database that was created with the stage's stack, its roles included; with --local: in
    the laptop cloud's. The time zone of the periods is recorded once: JOB_SCHEDULER_TIMEZONE (UTC), or what the stage
    was deployed with.
    """
    from infra import schema
    from infra.schema import data_api, roles, timezones
    from infra.schema.revisions import head

    report = print_note if as_json else print_lines
    warned: list[Difference] = []
    if database := _find_database(target):
        configured = os.environ.get("JOB_SCHEDULER_TIMEZONE") or schema.UTC.key
        zone = _read_zone("JOB_SCHEDULER_TIMEZONE", database.timezone or configured)
        with _open(database) as engine:
            if jobs_role and not roles.exists(engine, jobs_role):
                raise BadInputError(f"--jobs-role: there is no role {jobs_role!r}; create it first")
            schema.upgrade(engine, timezone=zone, report=report)
            if jobs_role:
                roles.grant(engine, jobs_role, report=report)
            warned = roles.check(engine)
            with _session(engine) as session:
                zones = timezones.list_zones(session)
    elif jobs_role:
        raise BadInputError("--jobs-role: with DATABASE_URL only; a database of the stack's has its role already")
    else:
        deployment = _stack(target)
        zone = _read_zone("Timezone", deployment.output("Timezone"))
        api = _data_api(deployment)
        data_api.upgrade(api, timezone=zone)
        zones = data_api.list_zones(api)
    for note in timezones.notes(zones, configured=zone, now=datetime.now(UTC)):
        print_note(note)
    if as_json:
        print_json({"revision": head(), "timezones": _zones(zones), "warnings": [_as_json(each) for each in warned]})
        return
    for found in warned:
        print_lines(*_report(found))
    print_lines("the schema is up to date")


@db.command("check")
@with_target
def check_database(
    *,
    as_sql: Annotated[
        bool, typer.Option("--sql", help="Print nothing but the SQL that ends the differences, in order: for psql.")
    ] = False,
    as_json: Json = False,
    target: Target,
) -> None:
    """Show how the database of DATABASE_URL differs, all of it at once; exit with 1 if anything that matters does.

    Without DATABASE_URL: of the database that was created with the stack: revision, columns, roles, rows set aside.
    With --local: the laptop cloud's, all of it.
    """
    from infra import schema
    from infra.schema import data_api
    from infra.schema.session import schema_of_tables

    if as_sql and as_json:
        raise BadInputError("--sql, --json: expected one of them")
    home = ""
    if database := _find_database(target):
        with _open(database) as engine:
            differences = schema.check(engine)
            with engine.connect() as connection:
                home = schema_of_tables(connection)
    elif as_sql:
        raise BadInputError("--sql: with DATABASE_URL or --local only; a database of the stack's is never adopted")
    else:
        differences = data_api.check(_data_api(_stack(target)))
    if as_json:
        print_json([_as_json(found) for found in differences])
    elif as_sql:
        _print_script(home, differences)
    else:
        _print_report(differences)
    if any(found.kind is not schema.Kind.WARNING for found in differences):
        raise typer.Exit(1)


@db.command("timezone")
@with_target
def change_timezone(
    name: Annotated[str | None, typer.Argument(help="An IANA name such as Europe/London.")] = None,
    *,
    begins: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="The first date that begins in it.")
    ] = None,
    as_json: Json = False,
    target: Target,
) -> None:
    """Show the time zones of the periods, or record that another one is in force from a date on.

    The date is later than today and every pool's. It replaces what was recorded for that date and later ones: naming
    the zone that is in force on the day before withdraws a change. Deploy with the new zone before the date.
    """
    from infra.schema import data_api, timezones

    if (name is None) != (begins is None):
        raise BadInputError("db timezone: NAME and --from DATE belong together; one is missing")
    day = begins.date() if begins else None
    zone = _read_zone("NAME", name) if name is not None else None
    if database := _find_database(target):
        with _open(database) as engine, _session(engine) as session:
            if zone and day:
                print_note(f"database {engine.url.database}, schema {session.schema}")
                zones = timezones.change(session, zone, begins=day, now=datetime.now(UTC))
            else:
                zones = timezones.list_zones(session)
    else:
        api = _data_api(_stack(target))
        if zone and day:
            zones = data_api.change_timezone(api, zone, begins=day, now=datetime.now(UTC))
        else:
            zones = data_api.list_zones(api)
    if as_json:
        print_json(_zones(zones))
    else:
        print_lines(*(f"from {first}  {each}" for first, each in zones.items()))


def _read_zone(what: str, name: str) -> "ZoneInfo":
    from shared.domain.periods import load_zone

    try:
        return load_zone(name)
    except ValueError as error:
        raise BadInputError(f"{what}: {error}") from None


def _print_script(home: str, differences: "Sequence[Difference]") -> None:
    from infra.schema.script import script

    lines = list(script(home, differences))
    print_lines(*lines)
    for found in differences:
        if found.kind == "warning" or not found.statements:
            print_note(f"{found.kind}: {found}")
    print_note("to read, then to run: psql -v ON_ERROR_STOP=1 -f FILE" if lines else "no statement is needed")


def _print_report(differences: "Sequence[Difference]") -> None:
    for found in differences:
        print_lines(*_report(found))
    if any(found.is_code for found in differences):
        print_note("functions and triggers in full: arcade-jobs db check --sql")
    if not differences:
        print_lines("the schema is as it should be")


def _report(found: "Difference") -> list[str]:
    """A difference and its statements; of functions and triggers the name alone."""
    return [f"{found.kind}: {found}", *(f"    {line}" for line in ("" if found.is_code else found.fix).splitlines())]


def _as_json(found: "Difference") -> dict[str, str]:
    return {"kind": found.kind, "where": found.where, "what": found.what, "fix": found.fix}


def _zones(zones: "Zones") -> list[dict[str, str]]:
    return [{"from": str(first), "timezone": str(each)} for first, each in zones.items()]


@dataclass(frozen=True, kw_only=True)
class _Database:
    """One to connect to.

    Attributes:
        url: of it.
        source: what names it.
        timezone: what the laptop cloud was deployed with; None: not known.
    """

    url: "str | URL"
    source: str
    timezone: str | None = None


def _find_database(target: Target) -> _Database | None:
    """The laptop cloud's, or else that of DATABASE_URL; None if it is the stack's."""
    if target.local:
        from infra.local import cloud

        deployment = target.deployment()
        url = cloud.database_url(deployment)
        print_note(f"{deployment}, database {url.database}")
        return _Database(url=url, source="laptop cloud", timezone=deployment.output("Timezone"))
    if named := os.environ.get("DATABASE_URL"):
        return _Database(url=named, source="DATABASE_URL")
    return None


def _stack(target: Target) -> "Deployment":
    """The stage, if its stack has created a database."""
    from shared.database_url import EXAMPLE

    try:
        deployment = target.deployment()
    except ArcadeJobsError as error:
        raise type(error)(f"{error}; a database of your own is named by DATABASE_URL") from error
    print_note(str(deployment))
    if "DatabaseClusterArn" not in deployment.outputs:
        raise NotReachableError(
            f"DATABASE_URL: missing, and stack {stack_name(target.stage)} created no database of its own;"
            f" expected a URL such as {EXAMPLE}"
        )
    return deployment


def _data_api(deployment: "Deployment") -> "DataApi":
    """The database that was created with the stack."""
    from botocore.config import Config

    from infra.schema import data_api
    from shared.operations.deployment import CLIENT_CONFIG

    return data_api.DataApi(
        client=deployment.client("rds-data", CLIENT_CONFIG.merge(Config(read_timeout=data_api.READ_TIMEOUT))),
        cluster=deployment.output("DatabaseClusterArn"),
        secret=deployment.output("DatabaseAdminSecretArn"),
        database=deployment.output("DatabaseName"),
        jobs_role=deployment.output("DatabaseUser"),
        report=print_note,
    )


def _session(engine: "Engine") -> AbstractContextManager["Session"]:
    from infra.schema.session import begin

    return begin(engine, report=print_note, sleep=time.sleep)


@contextmanager
def _open(database: _Database) -> Iterator["Engine"]:
    from sqlalchemy.exc import SQLAlchemyError

    from shared.db.connection import open_engine
    from shared.db.errors import describe, is_connection_lost, sqlstate

    engine = open_engine(database.url, connections=2)
    try:
        yield engine
    except (SQLAlchemyError, OSError) as error:
        is_reached = not is_connection_lost(error) and not (sqlstate(error) or "").startswith(NOT_ADMITTED)
        failure = ArcadeJobsError if is_reached else NotReachableError
        raise failure(f"{database.source}: {describe(error)}") from error
    finally:
        engine.dispose()
