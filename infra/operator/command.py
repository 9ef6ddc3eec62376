"""The `arcade-jobs` command (DESIGN section 3, Command)."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from sqlalchemy import Engine

from infra import node
from infra.jobs import JOBS
from infra.local import cloud
from infra.local.cdk import CdkError
from infra.local.emulator import EmulatorError
from infra.local.postgres import PostgresError
from infra.operator import trigger
from infra.operator.deployment import DEFAULT_STAGE, Deployment, DeploymentError, find_deployment
from infra.operator.laptop import local
from infra.operator.statistics import summarize
from infra.operator.tables import runs_table, statistics_table
from shared.db import migrations
from shared.db.connection import open_engine
from shared.db.errors import describe
from shared.domain.tick import BadEventError
from shared.runs.store import RunStore, RunStoreError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Operate the arcade's background jobs.",
)
db = typer.Typer(no_args_is_help=True, help="The schema of the platform's database.")
app.add_typer(db, name="db")
app.add_typer(local, name="local")

out = Console()
err = Console(stderr=True, highlight=False, soft_wrap=True)

Job = Annotated[str | None, typer.Argument(help="prize-pool, leaderboard or cleanup; all if left out.")]
Stage = Annotated[str, typer.Option(help="The deployed stage; `demo` is what make demo left.")]
Profile = Annotated[str | None, typer.Option(help="Of your AWS configuration.")]
Region = Annotated[str | None, typer.Option(help="Of AWS; else as the profile or the environment says.")]
Local = Annotated[bool, typer.Option("--local", help="The laptop cloud instead of AWS.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class CommandError(Exception):
    """The command cannot go on. The message is one line for the user."""


MENDABLE = (
    *(BadEventError, CdkError, CommandError, DeploymentError, EmulatorError, node.NodeError, PostgresError),
    *(RunStoreError, migrations.SchemaError, migrations.UpgradeError, trigger.TriggerError),
)


@db.command("upgrade")
def upgrade_database() -> None:
    """Create the schema in the database of DATABASE_URL, or complete the one that is there. Nothing is dropped."""
    with _database() as engine:
        migrations.upgrade(engine, report=out.print)
    out.print("the schema is up to date")


@db.command("check")
def check_database(*, as_json: Json = False) -> None:
    """Say what the database of DATABASE_URL lacks, all of it at once; exit with 1 if anything."""
    with _database() as engine:
        differences = migrations.check(engine)
    if as_json:
        _print_json([{"what": difference.what, "mend": difference.mend} for difference in differences])
    else:
        for difference in differences:
            out.print(difference.what, f"  mend: {difference.mend}", sep="\n", highlight=False, markup=False)
        if not differences:
            out.print("the schema is as it should be")
    raise typer.Exit(1 if differences else 0)


@app.command("history")
def show_history(
    job: Job = None,
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
        records = runs.list_runs(_known(job), limit=limit)
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
        out.print_json(json.dumps(record.to_json()["result"]))


@app.command("stats")
def show_statistics(
    job: Job = None,
    *,
    as_json: Json = False,
    stage: Stage = DEFAULT_STAGE,
    profile: Profile = None,
    region: Region = None,
    on_laptop: Local = False,
) -> None:
    """How many runs there were, how they ended and how long they took; over all that is kept."""
    with _runs(stage, profile, region, on_laptop=on_laptop) as runs:
        statistics = summarize(runs.list_runs(_known(job)))
    if as_json:
        _print_json([of_job.to_json() for of_job in statistics])
    else:
        out.print(statistics_table(statistics))


@app.command("trigger")
def trigger_job(
    job: Annotated[str, typer.Argument(help="prize-pool, leaderboard or cleanup.")],
    *,
    at: Annotated[str | None, typer.Option(help="The slot to stand for, such as 2026-01-12T00:00:00Z.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen; change nothing.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why; it is kept with the run.")] = None,
    is_asynchronous: Annotated[bool, typer.Option("--async", help="Do not wait for the result.")] = False,
    as_json: Json = False,
    stage: Stage = DEFAULT_STAGE,
    profile: Profile = None,
    region: Region = None,
    on_laptop: Local = False,
) -> None:
    """Run a job now, once, and wait for its result."""
    _known(job)
    deployment = _deployment(stage, profile, region, on_laptop=on_laptop)
    event = trigger.manual_event(actor=deployment.caller, at=at, dry_run=dry_run, reason=reason, now=datetime.now(UTC))
    with err.status(f"{job} runs ..."):
        result = trigger.trigger(deployment, job, event, is_asynchronous=is_asynchronous, report=err.print)
    if as_json or "result" not in result:
        _print_json(result)
    else:
        out.print(f"{result['run_id']} {result['status']}", highlight=False)
        out.print_json(json.dumps(result["result"]))
    if result["status"] not in {"queued", "succeeded"}:
        raise typer.Exit(1)


def main() -> None:
    """Run the command. Whatever a user can mend is one line on standard error, and exit code 1."""
    try:
        app()
    except MENDABLE as error:
        err.print(f"arcade-jobs: {error}", markup=False)
        sys.exit(1)


@contextmanager
def _runs(stage: str, profile: str | None, region: str | None, *, on_laptop: bool) -> Iterator[RunStore]:
    """The run records of a stage."""
    yield _deployment(stage, profile, region, on_laptop=on_laptop).run_store()


def _deployment(stage: str, profile: str | None, region: str | None, *, on_laptop: bool) -> Deployment:
    if on_laptop:
        return cloud.connect(stage=stage)
    return find_deployment(stage, profile=profile, region=region)


@contextmanager
def _database() -> Iterator[Engine]:
    """The database of DATABASE_URL, reachable."""
    url = os.environ.get("DATABASE_URL")
    if not url:
        raise CommandError("DATABASE_URL: missing; expected a URL such as postgresql://user@host:5432/arcade")
    engine = open_engine(url)
    try:
        yield engine
    except Exception as error:
        raise CommandError(f"DATABASE_URL: {describe(error)}") from error
    finally:
        engine.dispose()


def _known(job: str | None) -> str | None:
    """The job, refused unless there is one of that name; None: all."""
    names = [known.name for known in JOBS]
    if job is not None and job not in names:
        raise CommandError(f"job {job!r}: unknown; expected one of {', '.join(names)}")
    return job


def _print_json(value: Any) -> None:
    out.print_json(json.dumps(value))
