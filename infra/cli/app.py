"""The `arcade-jobs` command (DESIGN section 3, Command)."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer

from infra import schema as migrations
from infra.cli import db, operations
from infra.cli.tables import runs_table, statistics_table
from infra.cli.terminal import (
    DEMO_STAGE,
    AnyJob,
    CommandError,
    Json,
    Local,
    OneJob,
    Profile,
    Region,
    Stage,
    err,
    find,
    known,
    laptop,
    note,
    out,
    print_json,
    say,
)
from infra.deployed.deployment import DEFAULT_STAGE, DeploymentError
from infra.deployed.statistics import summarize
from infra.deployed.trigger import TriggerError, manual_event, trigger
from shared.domain.run import RunStatus
from shared.domain.tick import BadEventError
from shared.runs.store import RunStore, RunStoreError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Operate the arcade's background jobs.",
)
local = typer.Typer(no_args_is_help=True, help="The jobs on this machine, without an AWS account.")
app.add_typer(local, name="local")
db.add_to(app)
operations.add_to(app)

Port = Annotated[int | None, typer.Option(min=1, max=65535, help="Of the AWS emulator; 4566 if left out.")]


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
    deployment = find(stage, profile, region, on_laptop=on_laptop)
    event = manual_event(actor=deployment.caller, at=at, dry_run=dry_run, reason=reason, now=datetime.now(UTC))
    result = trigger(deployment, known(job), event, is_asynchronous=is_asynchronous, report=note)
    if as_json:
        print_json(result)
    else:
        before = ", before: this is its stored result" if result.get("duplicate") else ""
        say(f"{result.get('run_id', job)}: {result['status']}{before}")
        print_json(result.get("result", {"request_id": result.get("request_id")}))
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
        records = runs.list_runs(known(job) if job else None, limit=limit)
    if as_json:
        print_json([record.to_json() | {"counts": record.counts} for record in records])
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
        print_json(record.to_json())
    else:
        out.print(runs_table([record]))
        print_json(record.result)


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
        statistics = summarize(runs.list_runs(known(job) if job else None))
    if as_json:
        print_json([of_job.to_json() for of_job in statistics])
    else:
        out.print(statistics_table(statistics))


@local.command("demo")
def run_local_demo(*, as_json: Json = False) -> None:
    """Replay three weeks of an arcade through the three jobs, and show what came of them."""
    from infra.demo.demo import show_demo  # noqa: PLC0415 - moto, which is slow to import

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
    with laptop() as cloud:
        say(*cloud.guide(cloud.up(stage=stage, port=port, context=given, report=note)))


@local.command("down")
def stop_cloud() -> None:
    """Stop both. Their state is kept."""
    with laptop() as cloud:
        cloud.down(report=say)


@local.command("status")
def show_cloud(*, as_json: Json = False) -> None:
    """What runs on this machine; exit with 1 unless both do."""
    with laptop() as cloud:
        status = cloud.status()
    endpoint = status.emulator.endpoint if status.emulator else None
    if as_json:
        print_json({"postgres": status.has_postgres, "emulator": endpoint})
    else:
        say(
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
def _runs(stage: str, profile: str | None, region: str | None, *, on_laptop: bool) -> Iterator[RunStore]:
    """The run records of a stage."""
    if stage == DEMO_STAGE:
        from infra.demo.demo import saved_runs_file  # noqa: PLC0415 - moto, which is slow to import
        from infra.demo.saved_runs import NoSavedRunsError, open_saved_runs  # noqa: PLC0415

        try:
            with open_saved_runs(saved_runs_file()) as runs:
                yield runs
        except NoSavedRunsError as error:
            raise CommandError(str(error)) from error
    else:
        yield find(stage, profile, region, on_laptop=on_laptop).run_store()
