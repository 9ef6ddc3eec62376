"""`arcade-jobs db`: the schema of the platform's database, connected to directly or through the Data API."""

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.options import Json, Target, with_target
from infra.cli.terminal import print_json, print_lines, print_note
from infra.stage import stack_name
from shared.domain.errors import ArcadeJobsError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from sqlalchemy import Engine

    from infra.schema.data_api import DataApi
    from infra.schema.session import Session
    from shared.operations.deployment import Deployment

app = typer.Typer()
db = typer.Typer(no_args_is_help=True, help="The schema of the platform's database.")
app.add_typer(db, name="db")


@db.command("upgrade")
@with_target
def upgrade_database(
    *,
    jobs_role: Annotated[
        str | None, typer.Option(help="With DATABASE_URL: a role that gets the rights that the jobs need.")
    ] = None,
    target: Target,
) -> None:
    """Create the schema in the database of DATABASE_URL, or complete the one that is there. Nothing is dropped.

    Without DATABASE_URL: in the database that was created with the stage's stack, its roles included. The time zone of
    the periods is recorded once: JOB_SCHEDULER_TIMEZONE (UTC), or what the stage was deployed with.
    """
    from infra import schema
    from infra.schema import data_api, roles, timezones

    if os.environ.get("DATABASE_URL"):
        zone = _read_zone("JOB_SCHEDULER_TIMEZONE", os.environ.get("JOB_SCHEDULER_TIMEZONE") or schema.UTC.key)
        with _database() as engine:
            schema.upgrade(engine, timezone=zone, report=print_lines)
            if jobs_role:
                roles.grant(engine, jobs_role, report=print_lines)
            for found in roles.check(engine):
                print_lines(f"warning: {found}", *(f"    {line}" for line in found.fix.splitlines()))
            with _session(engine) as session:
                zones = timezones.list_zones(session)
    elif jobs_role:
        raise ArcadeJobsError("--jobs-role: with DATABASE_URL only; a database of the stack's has its role already")
    else:
        deployment = _stack(target)
        zone = _read_zone("Timezone", deployment.output("Timezone"))
        api = _data_api(deployment)
        data_api.upgrade(api, timezone=zone)
        zones = data_api.list_zones(api)
    for note in timezones.notes(zones, configured=zone, now=datetime.now(UTC)):
        print_note(note)
    print_lines("the schema is up to date")


@db.command("check")
@with_target
def check_database(*, as_json: Json = False, target: Target) -> None:
    """Show how the database of DATABASE_URL differs, all of it at once; exit with 1 if anything that matters does.

    Without DATABASE_URL: of the database that was created with the stack: revision, columns, roles, rows set aside.
    """
    from infra import schema
    from infra.schema import data_api

    if os.environ.get("DATABASE_URL"):
        with _database() as engine:
            differences = schema.check(engine)
    else:
        differences = data_api.check(_data_api(_stack(target)))
    if as_json:
        print_json(
            [{"kind": found.kind, "where": found.where, "what": found.what, "fix": found.fix} for found in differences]
        )
    else:
        for found in differences:
            print_lines(f"{found.kind}: {found}", *(f"    {line}" for line in found.fix.splitlines()))
        if not differences:
            print_lines("the schema is as it should be")
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
        raise ArcadeJobsError("db timezone: NAME and --from DATE belong together; one is missing")
    day = begins.date() if begins else None
    zone = _read_zone("NAME", name) if name is not None else None
    if os.environ.get("DATABASE_URL"):
        with _database() as engine, _session(engine) as session:
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
        print_json([{"from": str(first), "timezone": str(each)} for first, each in zones.items()])
    else:
        print_lines(*(f"from {first}  {each}" for first, each in zones.items()))


def _read_zone(what: str, name: str) -> "ZoneInfo":
    from shared.domain.periods import load_zone

    try:
        return load_zone(name)
    except ValueError as error:
        raise ArcadeJobsError(f"{what}: {error}") from None


def _stack(target: Target) -> "Deployment":
    """The stage, if its stack has created a database."""
    from shared.database_url import EXAMPLE

    try:
        deployment = target.deployment()
    except ArcadeJobsError as error:
        raise type(error)(f"{error}; a database of your own is named by DATABASE_URL") from error
    print_note(str(deployment))
    if "DatabaseClusterArn" not in deployment.outputs:
        raise ArcadeJobsError(
            f"DATABASE_URL: missing, and stack {stack_name(target.stage)} created no database of its own;"
            + (" arcade-jobs local up upgrades the laptop's" if target.local else f" expected a URL such as {EXAMPLE}")
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
def _database() -> Iterator["Engine"]:
    """The database of DATABASE_URL."""
    from sqlalchemy.exc import SQLAlchemyError

    from shared.db.connection import open_engine
    from shared.db.errors import describe

    engine = open_engine(os.environ["DATABASE_URL"], connections=2)
    try:
        yield engine
    except (SQLAlchemyError, OSError) as error:
        raise ArcadeJobsError(f"DATABASE_URL: {describe(error)}") from error
    finally:
        engine.dispose()
