"""`arcade-jobs trigger`, `history`, `show`, `stats`: runs, present and past."""

import re
from contextlib import nullcontext, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from infra.cli.options import AnyJob, Json, OneJob, OneRun, Target, with_target
from infra.cli.terminal import is_piped, out, print_json, print_lines, print_note, waiting_for
from infra.jobs import JOBS, Job
from infra.stage import DEMO_STAGE, REPLAY_STAGES, SIMULATION_STAGE
from shared.domain.errors import BadInputError, NotReachableError
from shared.domain.run import RunStatus

if TYPE_CHECKING:
    from shared.operations.deployment import Deployment
    from shared.operations.statistics import JobStatistics, Timetable
    from shared.runs.store import RunStore

app = typer.Typer()

AGE = re.compile(r"(\d{1,5})([dhm])")
UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}
ACCEPTS_ORPHANS = "cleanup"  # the one job that removes any
SHOWN_MISSED = 5  # slots of a job that are named; --json has all
# The fields of an event, and the options that they are given by.
FIELDS = {"event time": "--at", "event reason": "--reason"}


def read_since(text: str) -> datetime | timedelta:
    """An instant in UTC, or an age.

    Raises:
        BadInputError: it is neither.
    """
    if age := AGE.fullmatch(text):
        return int(age[1]) * UNITS[age[2]]
    try:
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise BadInputError(
            f"--since: {text!r} is no date such as 2026-01-12, no instant such as 2026-01-12T00:00:00Z, and no age such"
            " as 7d, 36h or 90m"
        ) from None


Since = Annotated[
    str | None,
    typer.Option(help="What began at or after a date or instant (UTC), or so long ago: 2026-01-12, 7d, 36h, 90m."),
]


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
    is_asynchronous: Annotated[
        bool, typer.Option("--async", help="Do not wait for the result; print the id of the run.")
    ] = False,
    as_json: Json = False,
    target: Target,
) -> None:
    """Run a job now; exit with 1 if it does not succeed."""
    from shared.domain.tick import BadEventError
    from shared.operations.schedule import check_reason
    from shared.operations.trigger import manual_event, trigger

    if accept_orphans and job != ACCEPTS_ORPHANS:
        raise BadInputError(f"--accept-orphans: of {ACCEPTS_ORPHANS} alone, not of {job}")
    reason = check_reason(reason)

    def event(actor: str) -> dict[str, Any]:
        try:
            return manual_event(
                actor=actor,
                at=at,
                dry_run=dry_run,
                reason=reason,
                now=datetime.now(UTC),
                accept_orphans=accept_orphans,
            )
        except BadEventError as error:
            field, colon, what = str(error).partition(":")
            raise BadInputError(f"{FIELDS.get(field, field)}{colon}{what}") from None

    event("")  # refused before anything is asked for over the network
    deployment = target.deployment()
    if at is not None:
        _warn_of_no_slot(_job(job), datetime.fromisoformat(at), target)
    with nullcontext() if is_asynchronous else waiting_for(f"{job} runs"):
        result = trigger(deployment, job, event(deployment.caller), is_asynchronous=is_asynchronous, report=print_note)
    if as_json:
        print_json(result)
    elif is_asynchronous:
        watch = f"show {result['run_id']}" if result["run_id"] else f"history {job} --limit 1"
        print_lines(f"{result['run_id'] or job}: queued", f"to watch it: arcade-jobs {watch}{target}")
    else:
        _print_run(result | _attempts(result, deployment), target)
    if not is_asynchronous and result["status"] != RunStatus.SUCCEEDED:
        raise typer.Exit(1)


@app.command("history")
@with_target
def show_history(
    job: AnyJob = None,
    *,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many runs at most.")] = 20,
    status: Annotated[RunStatus | None, typer.Option(help="Of this status alone.")] = None,
    since: Since = None,
    as_json: Json = False,
    target: Target,
) -> None:
    """The last runs of a job, or of all, the latest first."""
    begins = read_since(since) if since is not None else None
    with target.run_store() as runs:
        start = runs.clock() - begins if isinstance(begins, timedelta) else begins
        records = runs.list_runs(job, limit=limit, status=status, since=start)
    if as_json:
        print_json([record.to_json() | {"counts": record.counts} for record in records])
    elif records:
        from infra.cli.tables import runs_table

        out.print(runs_table(records, between=" " if is_piped() else "\n"))
    else:
        _print_none(job, target, narrowed=since is not None or status is not None)


@app.command("show")
@with_target
def show_run(
    run_id: OneRun,
    *,
    with_log: Annotated[bool, typer.Option("--log", help="And what it logged, as `logs` prints it.")] = False,
    as_json: Json = False,
    target: Target,
) -> None:
    """One run: its errors and what to do, winners, counts, who asked and why, attempts."""
    from shared.operations.run_ids import find_run

    if with_log and as_json:
        raise BadInputError("--log: not with --json; arcade-jobs logs --json prints the lines")
    if with_log and target.stage in REPLAY_STAGES:
        raise BadInputError(f"--log: not with --stage {target.stage}, which keeps no log")
    with target.run_store() as runs:
        record = find_run(runs, run_id)
    run = record.to_json() | {"attempts": [attempt.to_json() for attempt in record.attempts]}
    if as_json:
        print_json(run)
    else:
        _print_run(run, target)
    if with_log:
        from infra.cli.logs import print_log_of

        print_lines("")
        print_log_of(target.deployment(), record)


@app.command("stats")
@with_target
def show_statistics(job: AnyJob = None, *, since: Since = None, as_json: Json = False, target: Target) -> None:
    """How many runs there were, how they ended and how long they took, and which slots were missed."""
    from shared.operations.statistics import summarize

    begins = read_since(since) if since is not None else None
    with target.run_store() as runs:
        now = runs.clock()
        timetables = {each.name: found for each in JOBS if (found := timetable_of(each, runs, target))}
        start = now - begins if isinstance(begins, timedelta) else begins
        statistics = summarize(runs.list_ends(job), timetables=timetables, now=now, since=start)
    if as_json:
        print_json([of_job.to_json() for of_job in statistics])
    elif statistics:
        from infra.cli.tables import statistics_table

        out.print(statistics_table(statistics))
        print_lines(*(line for of_job in statistics for line in _missed(of_job)))
    else:
        _print_none(job, target)


def _attempts(result: dict[str, Any], deployment: "Deployment") -> dict[str, Any]:
    """What the run remembers of its attempts, should this not be the first; nothing if that cannot be read."""
    if result.get("attempt", 1) == 1:
        return {}
    with suppress(NotReachableError):  # the run is done, and its result is here
        if record := deployment.run_store().get(result["run_id"]):
            return {"attempts": [attempt.to_json() for attempt in record.attempts]}
    return {}


def _job(name: str) -> Job:
    return next(job for job in JOBS if job.name == name)


def timetable_of(job: Job, runs: "RunStore", target: Target) -> "Timetable | None":
    """When a job should have fired; None if it was deployed not to."""
    from shared.domain.tick import EARLIEST
    from shared.operations.statistics import Timetable
    from shared.runs.pauses import paused_spans

    cron, zone = job.cron, "UTC"
    if target.stage == SIMULATION_STAGE:
        return None  # its zone is not kept
    if target.stage != DEMO_STAGE:
        deployment = target.deployment()
        if not deployment.is_enabled(job.name):
            return None
        cron, zone = deployment.cron(job.name), deployment.output("Timezone") if job.follows_zone else "UTC"
    paused = paused_spans(runs, job.name, EARLIEST, runs.clock())
    return Timetable(cron=cron, zone=ZoneInfo(zone), delivery_window=job.delivery_window, paused=paused)


def _warn_of_no_slot(job: Job, at: datetime, target: Target) -> None:
    """Say that a job does not fire at an instant, and when it does."""
    from shared.operations.slots import is_slot, last_slot, next_slot

    deployment = target.deployment()
    cron, zone = deployment.cron(job.name), ZoneInfo(deployment.output("Timezone") if job.follows_zone else "UTC")
    if is_slot(cron, zone, at):
        return
    before, after = (f"{find(cron, zone, now=at):%Y-%m-%dT%H:%M:%SZ}" for find in (last_slot, next_slot))
    print_note(
        f"warning: --at: {job.name} has no slot at {at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ} ({cron}, {zone.key});"
        f" the nearest are {before} and {after}"
    )


def _print_run(run: dict[str, Any], target: Target) -> None:
    from infra.cli.result_tables import run_tables

    for part in run_tables(run, options=str(target), between=" " if is_piped() else "\n"):
        out.print(part)


def _print_none(job: str | None, target: Target, *, narrowed: bool = False) -> None:
    """An empty answer in a sentence, with what to do about it."""
    if narrowed:
        print_lines(f"no such runs{f' of {job}' if job else ''}; arcade-jobs history{target} lists all there are")
    else:
        print_lines(
            f"no runs{f' of {job}' if job else ''} yet; arcade-jobs trigger {job or JOBS[0].name}{target} runs one"
        )


def _missed(of_job: "JobStatistics") -> list[str]:
    """The slots that were missed, in one line, the latest first."""
    if not of_job.missed:
        return []
    shown = ", ".join(f"{slot:%Y-%m-%dT%H:%MZ}" for slot in reversed(of_job.missed[-SHOWN_MISSED:]))
    more = f" and {len(of_job.missed) - SHOWN_MISSED} before" if len(of_job.missed) > SHOWN_MISSED else ""
    return [f"{of_job.job} missed {shown}{more}"]
