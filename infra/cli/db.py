"""`arcade-jobs db`: the schema of the platform's database, connected to directly or through the Data API."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from botocore.config import Config
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from infra import schema as migrations
from infra.cli.terminal import CommandError, Json, Local, Profile, Region, Stage, find, note, print_json, say
from infra.deployed.deployment import DEFAULT_STAGE, PATIENCE, DeploymentError, stack_name
from infra.schema import data_api, roles
from shared.db.connection import open_engine
from shared.db.errors import describe

URL_EXAMPLE = "a URL such as postgresql://user@host:5432/arcade"

db = typer.Typer(no_args_is_help=True, help="The schema of the platform's database.")


def add_to(app: typer.Typer) -> None:
    """Make the commands known to the app."""
    app.add_typer(db, name="db")


@db.command("upgrade")
def upgrade_database(
    *,
    jobs_role: Annotated[
        str | None, typer.Option(help="With DATABASE_URL: a role that gets the rights that the jobs need.")
    ] = None,
    stage: Stage = DEFAULT_STAGE,
    profile: Profile = None,
    region: Region = None,
    on_laptop: Local = False,
) -> None:
    """Create the schema in the database of DATABASE_URL, or complete the one that is there. Nothing is dropped.

    Without DATABASE_URL: in the database that was made with the stage's stack, its roles included.
    """
    if os.environ.get("DATABASE_URL"):
        with _database() as engine:
            migrations.upgrade(engine, report=say)
            if jobs_role:
                roles.grant(engine, jobs_role, report=say)
    elif jobs_role:
        raise CommandError("--jobs-role: with DATABASE_URL only; a database of the stack's has its role already")
    else:
        data_api.upgrade(_made_database(stage, profile, region, on_laptop=on_laptop))
    say("the schema is up to date")


@db.command("check")
def check_database(
    *,
    as_json: Json = False,
    stage: Stage = DEFAULT_STAGE,
    profile: Profile = None,
    region: Region = None,
    on_laptop: Local = False,
) -> None:
    """Show how the database of DATABASE_URL differs, all of it at once; exit with 1 if anything that matters does.

    Without DATABASE_URL: of the database that was made with the stack: revision, columns, roles, rows set aside.
    """
    if os.environ.get("DATABASE_URL"):
        with _database() as engine:
            differences = migrations.check(engine)
    else:
        differences = data_api.check(_made_database(stage, profile, region, on_laptop=on_laptop))
    if as_json:
        print_json(
            [{"kind": found.kind, "where": found.where, "what": found.what, "fix": found.fix} for found in differences]
        )
    else:
        for found in differences:
            say(f"{found.kind}: {found}", *(f"    {line}" for line in found.fix.splitlines()))
        if not differences:
            say("the schema is as it should be")
    if any(found.kind is not migrations.Kind.WARNING for found in differences):
        raise typer.Exit(1)


def _made_database(stage: str, profile: str | None, region: str | None, *, on_laptop: bool) -> data_api.DataApi:
    """The database that was made with the stage's stack."""
    try:
        deployment = find(stage, profile, region, on_laptop=on_laptop)
    except DeploymentError as error:
        raise CommandError(f"{error}; a database of your own is named by DATABASE_URL") from error
    note(f"{deployment}")
    if "DatabaseClusterArn" not in deployment.outputs:
        raise CommandError(
            f"DATABASE_URL: missing, and stack {stack_name(stage)} made no database of its own;"
            + (" arcade-jobs local up upgrades the laptop's" if on_laptop else f" expected {URL_EXAMPLE}")
        )
    return data_api.DataApi(
        client=deployment.client("rds-data", PATIENCE.merge(Config(read_timeout=data_api.READ_TIMEOUT))),
        cluster=deployment.output("DatabaseClusterArn"),
        secret=deployment.output("DatabaseAdminSecretArn"),
        database=deployment.output("DatabaseName"),
        jobs_role=deployment.output("DatabaseUser"),
        report=note,
    )


@contextmanager
def _database() -> Iterator[Engine]:
    """The database of DATABASE_URL."""
    try:
        engine = open_engine(os.environ["DATABASE_URL"], connections=2)
    except SQLAlchemyError:  # the text is not shown: it may hold a password
        raise CommandError(f"DATABASE_URL: expected {URL_EXAMPLE}") from None
    try:
        yield engine
    except (SQLAlchemyError, OSError) as error:
        raise CommandError(f"DATABASE_URL: {describe(error)}") from error
    finally:
        engine.dispose()
