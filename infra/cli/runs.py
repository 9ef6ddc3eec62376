"""`arcade-jobs trigger`, `history`, `show`, `stats`: runs, present and past."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from infra.cli.options import AnyJob, Json, OneJob, Target, with_target
from infra.cli.terminal import out, print_json, print_lines, print_note
from shared.domain.errors import ArcadeJobsError
from shared.domain.run import RunStatus

app = typer.Typer()


@app.command("trigger")
@with_target
def trigger_job(
    job: OneJob,
    *,
    at: Annotated[str | None, typer.Option(help="The slot to run for, such as 2026-01-12T00:00:00Z; else now.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would happen, change nothing.")] = False,
    accept_orphans: Annotated[
        bool, typer.Option("--accept-orphans", help="Of cleanup: remove orphans however many they are.")
    ] = False,
    reason: Annotated[str | None, typer.Option(help="Why; stored with the run.")] = None,
    is_asynchronous: Annotated[bool, typer.Option("--async", help="Do not wait for the result.")] = False,
    as_json: Json = False,
    target: Target,
) -> None:
    """Run a job now; exit with 1 if it does not succeed."""
    from shared.operations.trigger import manual_event, trigger

    deployment = target.deployment()
    event = manual_event(
        actor=deployment.caller,
        at=at,
        dry_run=dry_run,
        reason=reason,
        now=datetime.now(UTC),
        accept_orphans=accept_orphans,
    )
    result = trigger(deployment, job, event, is_asynchronous=is_asynchronous, report=print_note)
    if as_json:
        print_json(result)
    else:
        before = ", before: nothing was left to do" if result.get("duplicate") else ""
        print_lines(f"{result.get('run_id', job)}: {result['status']}{before}")
        print_json(result.get("result", {"request_id": result.get("request_id")}))
    if not is_asynchronous and result["status"] != RunStatus.SUCCEEDED:
        raise typer.Exit(1)


@app.command("history")
@with_target
def show_history(
    job: AnyJob = None,
    *,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many runs at most.")] = 20,
    as_json: Json = False,
    target: Target,
) -> None:
    """The last runs of a job, or of all, the latest first."""
    with target.run_store() as runs:
        records = runs.list_runs(job, limit=limit)
    if as_json:
        print_json([record.to_json() | {"counts": record.counts} for record in records])
    else:
        from infra.cli.tables import runs_table

        out.print(runs_table(records))


@app.command("show")
@with_target
def show_run(
    run_id: Annotated[str, typer.Argument(help="Such as prize-pool:2026-01-12T00:00Z.")],
    *,
    as_json: Json = False,
    target: Target,
) -> None:
    """One run with its whole result."""
    with target.run_store() as runs:
        record = runs.get(run_id)
    if record is None:
        raise ArcadeJobsError(
            f"run {run_id!r}: not found in stage {target.stage!r}; arcade-jobs history lists what there is"
        )
    if as_json:
        print_json(record.to_json())
    else:
        from infra.cli.tables import runs_table

        out.print(runs_table([record]))
        print_json(record.result)


@app.command("stats")
@with_target
def show_statistics(job: AnyJob = None, *, as_json: Json = False, target: Target) -> None:
    """How many runs there were, how they ended and how long they took; over all that are stored."""
    from shared.operations.statistics import summarize

    with target.run_store() as runs:
        statistics = summarize(runs.list_ends(job))
    if as_json:
        print_json([of_job.to_json() for of_job in statistics])
    else:
        from infra.cli.tables import statistics_table

        out.print(statistics_table(statistics))
