"""`arcade-jobs db`: the schema of the platform's database, connected to directly or through the Data API."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.options import Json, Target, with_target
from infra.cli.terminal import print_json, print_lines, print_note
from infra.stage import stack_name
from shared.domain.errors import ArcadeJobsError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from infra.schema.data_api import DataApi

URL_EXAMPLE = "a URL such as postgresql://user@host:5432/arcade"

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

    Without DATABASE_URL: in the database that was created with the stage's stack, its roles included.
    """
    from infra import schema
    from infra.schema import data_api, roles

    if os.environ.get("DATABASE_URL"):
        with _database() as engine:
            schema.upgrade(engine, report=print_lines)
            if jobs_role:
                roles.grant(engine, jobs_role, report=print_lines)
    elif jobs_role:
        raise ArcadeJobsError("--jobs-role: with DATABASE_URL only; a database of the stack's has its role already")
    else:
        data_api.upgrade(_stack_database(target))
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
        differences = data_api.check(_stack_database(target))
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


def _stack_database(target: Target) -> "DataApi":
    """The database that was created with the stage's stack."""
    from botocore.config import Config

    from infra.deployed.deployment import CLIENT_CONFIG
    from infra.schema import data_api

    try:
        deployment = target.deployment()
    except ArcadeJobsError as error:
        raise ArcadeJobsError(f"{error}; a database of your own is named by DATABASE_URL") from error
    print_note(str(deployment))
    if "DatabaseClusterArn" not in deployment.outputs:
        raise ArcadeJobsError(
            f"DATABASE_URL: missing, and stack {stack_name(target.stage)} created no database of its own;"
            + (" arcade-jobs local up upgrades the laptop's" if target.local else f" expected {URL_EXAMPLE}")
        )
    return data_api.DataApi(
        client=deployment.client("rds-data", CLIENT_CONFIG.merge(Config(read_timeout=data_api.READ_TIMEOUT))),
        cluster=deployment.output("DatabaseClusterArn"),
        secret=deployment.output("DatabaseAdminSecretArn"),
        database=deployment.output("DatabaseName"),
        jobs_role=deployment.output("DatabaseUser"),
        report=print_note,
    )


@contextmanager
def _database() -> Iterator["Engine"]:
    """The database of DATABASE_URL."""
    from sqlalchemy.exc import SQLAlchemyError

    from shared.db.connection import open_engine
    from shared.db.errors import describe

    try:
        engine = open_engine(os.environ["DATABASE_URL"], connections=2)
    except SQLAlchemyError:  # the text is not shown: it may hold a password
        raise ArcadeJobsError(f"DATABASE_URL: expected {URL_EXAMPLE}") from None
    try:
        yield engine
    except (SQLAlchemyError, OSError) as error:
        raise ArcadeJobsError(f"DATABASE_URL: {describe(error)}") from error
    finally:
        engine.dispose()
