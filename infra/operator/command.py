"""The `arcade-jobs` command (DESIGN section 3, Command)."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import ModuleType
from typing import Annotated, Any

import typer
from rich.console import Console
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from infra.jobs import JOBS
from infra.operator import data_api
from infra.operator.deployment import DEFAULT_STAGE, Deployment, DeploymentError, find_deployment, stack_name
from infra.operator.statistics import summarize
from infra.operator.tables import runs_table, statistics_table
from infra.operator.trigger import TriggerError, manual_event, trigger
from shared.db import migrations
from shared.db.connection import open_engine
from shared.db.errors import describe
from shared.db.migrations import roles
from shared.domain.run import RunStatus
from shared.domain.tick import BadEventError
from shared.runs.store import RunStore, RunStoreError

URL_EXAMPLE = "a URL such as postgresql://user@host:5432/arcade"
DEMO_STAGE = "demo"  # what make demo left; never deployed

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Operate the arcade's background jobs.",
)
db = typer.Typer(no_args_is_help=True, help="The schema of the platform's database.")
local = typer.Typer(no_args_is_help=True, help="The jobs on this machine, without an AWS account.")
app.add_typer(db, name="db")
app.add_typer(local, name="local")

out = Console()
err = Console(stderr=True, highlight=False, soft_wrap=True)

OneJob = Annotated[str, typer.Argument(help="prize-pool, leaderboard or cleanup.")]
AnyJob = Annotated[str | None, typer.Argument(help="prize-pool, leaderboard or cleanup; all if left out.")]
Stage = Annotated[str, typer.Option(help="The deployed stage; `demo` is what make demo left.")]
Profile = Annotated[str | None, typer.Option(help="Of your AWS configuration.")]
Region = Annotated[str | None, typer.Option(help="Of AWS; else as the profile or the environment says.")]
Local = Annotated[bool, typer.Option("--local", help="The laptop cloud instead of AWS.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Port = Annotated[int | None, typer.Option(min=1, max=65535, help="Of the AWS emulator; 4566 if left out.")]


class CommandError(Exception):
    """The command cannot go on. The message is one line for the user."""


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
            migrations.upgrade(engine, report=_say)
            if jobs_role:
                roles.grant(engine, jobs_role, report=_say)
    elif jobs_role:
        raise CommandError("--jobs-role: with DATABASE_URL only; a database of the stack's has its role already")
    else:
        data_api.upgrade(_made_database(stage, profile, region, on_laptop=on_laptop))
    _say("the schema is up to date")


@db.command("check")
def check_database(
    *,
    as_json: Json = False,
    stage: Stage = DEFAULT_STAGE,
    profile: Profile = None,
    region: Region = None,
    on_laptop: Local = False,
) -> None:
    """Say what the database of DATABASE_URL lacks, all of it at once; exit with 1 if anything that matters.

    Without DATABASE_URL: of the database that was made with the stage's stack, its revision, columns and roles.
    """
    if os.environ.get("DATABASE_URL"):
        with _database() as engine:
            differences = migrations.check(engine)
    else:
        differences = data_api.check(_made_database(stage, profile, region, on_laptop=on_laptop))
    if as_json:
        _print_json(
            [
                {"kind": found.kind, "where": found.where, "what": found.what, "mend": found.mend}
                for found in differences
            ]
        )
    else:
        for found in differences:
            _say(f"{found.kind}: {found}", *(f"    {line}" for line in found.mend.splitlines()))
        if not differences:
            _say("the schema is as it should be")
    if any(found.kind is not migrations.Kind.WARNING for found in differences):
        raise typer.Exit(1)


@app.command("trigger")
def trigger_job(
    job: OneJob,
    *,
    at: Annotated[
        str | None, typer.Option(help="The slot to stand for, such as 2026-01-12T00:00:00Z; else now.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would happen, change nothing.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why; kept with the run.")] = None,
    is_asynchronous: Annotated[bool, typer.Option("--async", help="Do not wait for the result.")] = False,
    as_json: Json = False,
    stage: Stage = DEFAULT_STAGE,
    profile: Profile = None,
    region: Region = None,
    on_laptop: Local = False,
) -> None:
    """Run a job now; exit with 1 if it does not succeed."""
    deployment = _deployment(stage, profile, region, on_laptop=on_laptop)
    event = manual_event(actor=deployment.caller, at=at, dry_run=dry_run, reason=reason, now=datetime.now(UTC))
    result = trigger(deployment, _known(job), event, is_asynchronous=is_asynchronous, report=_note)
    if as_json:
        _print_json(result)
    else:
        before = ", before: this is its stored result" if result.get("duplicate") else ""
        _say(f"{result.get('run_id', job)}: {result['status']}{before}")
        _print_json(result.get("result", {"request_id": result.get("request_id")}))
    if not is_asynchronous and result["status"] != RunStatus.SUCCEEDED:
        raise typer.Exit(1)


@app.command("history")
def show_history(
    job: AnyJob = None,
    *,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many runs at most.")] = 20,
    as_json: Json = False,
    stage: Stage = DEFAULT_STAGE,
    profile: Profile = None,
    region: Region = None,
    on_laptop: Local = False,
) -> None:
    """The last runs of a job, or of all, the latest first."""
    with _runs(stage, profile, region, on_laptop=on_laptop) as runs:
        records = runs.list_runs(_known(job) if job else None, limit=limit)
    if as_json:
        _print_json([record.to_json() | {"counts": record.counts} for record in records])
    else:
        out.print(runs_table(records))


@app.command("show")
def show_run(
    run_id: Annotated[str, typer.Argument(help="Such as prize-pool:2026-01-12T00:00Z.")],
    *,
    as_json: Json = False,
    stage: Stage = DEFAULT_STAGE,
    profile: Profile = None,
    region: Region = None,
    on_laptop: Local = False,
) -> None:
    """One run with its whole result."""
    with _runs(stage, profile, region, on_laptop=on_laptop) as runs:
        record = runs.get(run_id)
    if record is None:
        raise CommandError(f"run {run_id!r}: not found in stage {stage!r}; arcade-jobs history lists what there is")
    if as_json:
        _print_json(record.to_json())
    else:
        out.print(runs_table([record]))
        _print_json(record.result)


@app.command("stats")
def show_statistics(
    job: AnyJob = None,
    *,
    as_json: Json = False,
    stage: Stage = DEFAULT_STAGE,
    profile: Profile = None,
    region: Region = None,
    on_laptop: Local = False,
) -> None:
    """How many runs there were, how they ended and how long they took; over all that is kept."""
    with _runs(stage, profile, region, on_laptop=on_laptop) as runs:
        statistics = summarize(runs.list_runs(_known(job) if job else None))
    if as_json:
        _print_json([of_job.to_json() for of_job in statistics])
    else:
        out.print(statistics_table(statistics))


@local.command("demo")
def run_local_demo(*, as_json: Json = False) -> None:
    """Replay three weeks of an arcade through the three jobs, and show what came of them."""
    from infra.local.demo import show_demo  # noqa: PLC0415 - moto, which is slow to import

    raise typer.Exit(show_demo(as_json=as_json))


@local.command("up")
def start_cloud(
    *,
    stage: Stage = DEFAULT_STAGE,
    port: Port = None,
    context: Annotated[
        list[str] | None, typer.Option("--context", "-c", help="NAME=VALUE, as for cdk deploy; for this once.")
    ] = None,
) -> None:
    """Start PostgreSQL and an AWS emulator, and deploy the stack to it. What runs already stays as it is."""
    pairs = [assignment.partition("=") for assignment in context or ()]
    if wrong := [name for name, sign, _ in pairs if not sign]:
        raise CommandError(f"--context: {wrong[0]!r} is not NAME=VALUE")
    given = {name: value for name, _, value in pairs}
    with _laptop() as cloud:
        _say(*cloud.guide(cloud.up(stage=stage, port=port, context=given, report=_note)))


@local.command("down")
def stop_cloud() -> None:
    """Stop both. Their state is kept."""
    with _laptop() as cloud:
        cloud.down(report=_say)


@local.command("status")
def show_cloud(*, as_json: Json = False) -> None:
    """What runs on this machine; exit with 1 unless both do."""
    with _laptop() as cloud:
        status = cloud.status()
    endpoint = status.emulator.endpoint if status.emulator else None
    if as_json:
        _print_json({"postgres": status.has_postgres, "emulator": endpoint})
    else:
        _say(
            f"PostgreSQL: {'runs' if status.has_postgres else 'does not run'}",
            f"AWS emulator: {f'runs at {endpoint}' if endpoint else 'was killed' if status.killed else 'does not run'}",
        )
    if not (status.has_postgres and endpoint):
        raise typer.Exit(1)


def main() -> None:
    """Run the command. Whatever a user can mend is one line on standard error, and exit code 1."""
    try:
        app()
    except (
        BadEventError,
        CommandError,
        DeploymentError,
        RunStoreError,
        TriggerError,
        migrations.UpgradeError,
    ) as error:
        err.print(f"arcade-jobs: {error}", markup=False)
        sys.exit(1)


@contextmanager
def _laptop() -> Iterator[ModuleType]:
    """The laptop cloud's functions; what they refuse is one line for the user."""
    from infra.local import cloud  # noqa: PLC0415 - nothing else needs it
    from infra.local.cdk import CdkError  # noqa: PLC0415
    from infra.local.emulator import EmulatorError  # noqa: PLC0415
    from infra.local.postgres import PostgresError  # noqa: PLC0415
    from infra.node import NodeError  # noqa: PLC0415

    try:
        yield cloud
    except (CdkError, EmulatorError, NodeError, PostgresError) as error:
        raise CommandError(str(error)) from error


@contextmanager
def _runs(stage: str, profile: str | None, region: str | None, *, on_laptop: bool) -> Iterator[RunStore]:
    """The run records of a stage."""
    if stage == DEMO_STAGE:
        from infra.local.demo import saved_runs_file  # noqa: PLC0415 - moto, which is slow to import
        from infra.local.saved_runs import NoSavedRunsError, open_saved_runs  # noqa: PLC0415

        try:
            with open_saved_runs(saved_runs_file()) as runs:
                yield runs
        except NoSavedRunsError as error:
            raise CommandError(str(error)) from error
    else:
        yield _deployment(stage, profile, region, on_laptop=on_laptop).run_store()


def _deployment(stage: str, profile: str | None, region: str | None, *, on_laptop: bool) -> Deployment:
    if stage == DEMO_STAGE:
        raise CommandError(f"--stage: {stage!r} is the replay's, and is not deployed; its jobs run with make demo")
    if on_laptop:
        with _laptop() as cloud:
            deployment: Deployment = cloud.connect(stage=stage)
            return deployment
    return find_deployment(stage, profile=profile, region=region)


def _made_database(stage: str, profile: str | None, region: str | None, *, on_laptop: bool) -> data_api.DataApi:
    """The database that was made with the stage's stack."""
    try:
        deployment = _deployment(stage, profile, region, on_laptop=on_laptop)
    except DeploymentError as error:
        raise CommandError(f"{error}; a database of your own is named by DATABASE_URL") from error
    _note(f"{deployment}")
    if "DatabaseClusterArn" not in deployment.outputs:
        raise CommandError(
            f"DATABASE_URL: missing, and stack {stack_name(stage)} made no database of its own;"
            + (" arcade-jobs local up upgrades the laptop's" if on_laptop else " expected " + URL_EXAMPLE)
        )
    return data_api.open_data_api(deployment, report=_note)


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


def _known(job: str) -> str:
    names = [known.name for known in JOBS]
    if job not in names:
        raise CommandError(f"JOB: {job!r} is not a job; expected one of {', '.join(names)}")
    return job


def _say(*lines: str) -> None:
    """What was asked for, to be piped or copied: no line is folded."""
    for line in lines:
        out.print(line, markup=False, highlight=False, soft_wrap=True)


def _note(line: str) -> None:
    """What goes on meanwhile."""
    err.print(line, markup=False)


def _print_json(value: Any) -> None:
    out.print_json(json.dumps(value))
