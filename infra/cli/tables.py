"""Runs, statistics, status and dead letters as tables for a terminal."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from shared.domain.run import RunStatus
from shared.domain.tick import Trigger
from shared.runs.record import RunRecord

if TYPE_CHECKING:
    from infra.deployed.dead_letters import DeadLetter
    from shared.operations.statistics import JobStatistics
    from shared.operations.status import Status

LONGEST_SLOT_ID = len("leaderboard:2026-01-12T00:00Z")  # the id of a manual run may be longer, and is folded
MINUTE = "%Y-%m-%d %H:%M"
NO_WORK = {"duration_ms", "leaderboards_unchanged"}  # counts of something else
STYLES = {
    RunStatus.RUNNING: "cyan",
    RunStatus.SUCCEEDED: "green",
    RunStatus.PARTIAL: "yellow",
    RunStatus.INCOMPLETE: "yellow",
    RunStatus.FAILED: "red",
    RunStatus.ABANDONED: "red",
}


def runs_table(records: Sequence[RunRecord]) -> Table:
    """The runs, one a line, with their counts except zeros."""
    table = Table(title=f"Last {len(records)} runs" if len(records) > 1 else None, box=SIMPLE_HEAD)
    table.add_column("run", no_wrap=all(len(record.run_id) <= LONGEST_SLOT_ID for record in records), overflow="fold")
    table.add_column("status")
    table.add_column("started (UTC)", no_wrap=True)
    table.add_column("ms", justify="right", no_wrap=True)
    table.add_column("did", overflow="fold")
    for record in records:
        counts = (record.counts or {}).items()
        table.add_row(
            record.run_id,
            Text(_status(record), style=STYLES[record.status]),
            f"{record.started_at:{MINUTE}}",
            "" if record.duration_ms is None else str(record.duration_ms),
            ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts if count and name not in NO_WORK),
        )
    return table


def _status(record: RunRecord) -> str:
    """The status, and what is unusual: a dry run, a manual one, a later attempt."""
    remarks = {
        "dry run": record.dry_run,
        "manual": record.trigger == Trigger.MANUAL and not record.dry_run,
        f"attempt {record.attempt}": record.attempt > 1,
    }
    return ", ".join([str(record.status), *(remark for remark, applies in remarks.items() if applies)])


def statistics_table(statistics: Sequence["JobStatistics"]) -> Table:
    """One line for each job."""
    table = Table(title="Statistics", box=SIMPLE_HEAD)
    table.add_column("job", no_wrap=True)
    statuses = [status for status in RunStatus if any(job.by_status[status] for job in statistics)]
    for name in ("runs", *statuses, *(["dry runs"] if any(job.dry_runs for job in statistics) else [])):
        table.add_column(str(name), justify="right", no_wrap=True)
    for name in ("rate", "median", "longest", "last success"):
        table.add_column(name, justify="right", no_wrap=True)
    for job in statistics:
        numbers = [job.runs, *(job.by_status[status] for status in statuses)]
        table.add_row(
            job.job,
            *map(str, numbers),
            *([str(job.dry_runs)] if any(other.dry_runs for other in statistics) else []),
            "" if job.success_rate is None else f"{job.success_rate:.1%}",
            "" if job.median_ms is None else f"{job.median_ms} ms",
            "" if job.longest_ms is None else f"{job.longest_ms} ms",
            "" if job.last_success_at is None else f"{job.last_success_at:%m-%d %H:%M}",
        )
    return table


def status_table(status: "Status", *, stack: str) -> Table:
    """One line for each job; the names of alarms without their common prefix."""
    from shared.operations.schedule import SilenceAlarm, State

    title = f"{stack} at {status.jobs[0].as_of.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    table = Table(title=title, box=SIMPLE_HEAD, show_lines=True, collapse_padding=True, pad_edge=False)
    for name in ("job", "schedule", "runs", "last success", "dead letters", "alarms"):
        is_whole = name in {"job", "schedule", "alarms"}
        table.add_column(name, justify="right" if name == "dead letters" else "left", no_wrap=is_whole, overflow="fold")
    for job in status.jobs:
        schedule = job.schedule
        raised = "\n".join(name.removeprefix(f"{stack}-{job.job}-") for name in job.alarms)
        shown = [*job.running, *([job.last_run] if job.last_run and job.last_run not in job.running else [])]
        table.add_row(
            job.job,
            Text.assemble(
                (str(schedule.state), "green" if schedule.state is State.ON else "yellow"),
                ("\nsilence alarm muted", "yellow") if schedule.silence_alarm is SilenceAlarm.MUTED else "",
                f"\n{schedule.expression}\n{schedule.zone}",
            ),
            Text("\n").join(_status_and_age(run, job.as_of) for run in shown) if shown else "none",
            f"{_age(job.last_success_age)} ago" if job.last_success_age is not None else Text("none", style="yellow"),
            Text(str(job.dead_letters), style="red" if job.dead_letters else ""),
            Text(raised or "none", style="red" if raised else ""),
        )
    if status.alarms:
        table.caption = Text(
            "Raised for all jobs: " + ", ".join(name.removeprefix(f"{stack}-") for name in status.alarms), style="red"
        )
    return table


def dead_letters_table(dead_letters: Sequence["DeadLetter"]) -> Table:
    """One line for each dead letter: which event, why it is there, and whether it can be sent again."""
    table = Table(title=f"{len(dead_letters)} dead letters" if len(dead_letters) > 1 else None, box=SIMPLE_HEAD)
    for name in ("job", "time of the event", "queued (UTC)", "received", "why"):
        is_whole = name in {"job", "queued (UTC)"}
        table.add_column(name, justify="right" if name == "received" else "left", no_wrap=is_whole, overflow="fold")
    for found in dead_letters:
        why = Text(found.reason)
        if found.malformed:
            why.append(f"\nmalformed, message {found.id}: {found.malformed}", style="red")
        table.add_row(found.job, found.time or "", f"{found.sent_at:{MINUTE}}", str(found.received), why)
    return table


def _status_and_age(run: RunRecord, as_of: datetime) -> Text:
    """The status of a run and, below it, its age."""
    remark = " (dry run)" if run.dry_run else ""
    return Text.assemble((f"{run.status}{remark}", STYLES[run.status]), f"\n{_age(as_of - run.started_at)} ago")


def _age(age: timedelta) -> str:
    """In the largest unit of which there are at least two: `26 h`, `90 min`, `40 s`."""
    for unit, name in ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "min")):
        if age >= 2 * unit:
            return f"{age // unit} {name}"
    return f"{max(age // timedelta(seconds=1), 0)} s"
