"""Runs and statistics as tables for a terminal: whole at 80 columns, a line for each run when they are piped."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from math import floor
from typing import TYPE_CHECKING, Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from infra.cli.did import describe_counts
from shared.domain.run import RunStatus
from shared.domain.tick import Trigger
from shared.operations.run_ids import short_id
from shared.runs.record import RunRecord

if TYPE_CHECKING:
    from infra.deployed.dead_letters import DeadLetter
    from shared.operations.statistics import JobStatistics
    from shared.operations.status import Status

MINUTE = "%Y-%m-%d %H:%M"
A_SECOND = 1000  # milliseconds
STYLES = {
    RunStatus.RUNNING: "cyan",
    RunStatus.SUCCEEDED: "green",
    RunStatus.PARTIAL: "yellow",
    RunStatus.INCOMPLETE: "yellow",
    RunStatus.FAILED: "red",
    RunStatus.ABANDONED: "red",
}


def table_of(
    *columns: str, whole: Collection[str] = (), right: Collection[str] = (), title: str | None = None
) -> Table:
    """An empty table whose cells are folded, never cut.

    Args:
        columns: their headers.
        whole: of which no cell is folded either.
        right: with numbers.
        title: above it.
    """
    table = Table(title=title, box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.title_justify, table.title_style = "left", "bold"
    for name in columns:
        justify: Literal["left", "right"] = "right" if name in right else "left"
        table.add_column(name, justify=justify, no_wrap=name in whole, overflow="fold")
    return table


def runs_table(records: Sequence[RunRecord], *, between: str = "\n") -> Table:
    """The runs, the latest first.

    Args:
        records: in order.
        between: what is between the parts of a cell: a line break, or a space where each run is one line.
    """
    whole = ("run", "status", "started", "took")
    table = table_of(*whole, "did", whole=whole, right=("took",))
    table.caption, table.caption_justify = "times in UTC", "left"
    for record in records:
        table.add_row(
            short_id(record.run_id),
            Text(f",{between}".join(_status(record)), style=STYLES[record.status]),
            f"{record.started_at:%m-%d %H:%M}",
            took(record.duration_ms),
            describe_counts(record.job, record.counts or {}, status=record.status, dry_run=record.dry_run),
        )
    return table


def took(duration_ms: int | None) -> str:
    """A duration as `40 ms` or `12.3 s`."""
    if duration_ms is None:
        return ""
    return f"{duration_ms} ms" if duration_ms < A_SECOND else f"{duration_ms / A_SECOND:,.1f} s"


def _status(record: RunRecord) -> list[str]:
    """The status, and what is unusual: a dry run, a manual one, a later attempt."""
    remarks = {
        "dry run": record.dry_run,
        "manual": record.trigger == Trigger.MANUAL and not record.dry_run,
        f"attempt {record.attempt}": record.attempt > 1,
    }
    return [str(record.status), *(remark for remark, applies in remarks.items() if applies)]


def statistics_table(statistics: Sequence["JobStatistics"]) -> Table:
    """One column for each job: it is whole however many counts there are."""
    table = table_of("", *(job.job for job in statistics), right=[job.job for job in statistics])
    for status in ("runs", *RunStatus, "missed", "dry_runs"):
        row = [_count(job, status) for job in statistics]
        is_shown = {
            "runs": True,
            RunStatus.SUCCEEDED: True,
            "missed": any(job.missed is not None for job in statistics),
        }
        if is_shown.get(status, any(number != "0" for number in row)):
            style = STYLES.get(status) if isinstance(status, RunStatus) else None
            table.add_row(Text(status.replace("_", " "), style=style or ""), *row)
    table.add_section()
    table.add_row("success rate", *("" if job.success_rate is None else _rate(job.success_rate) for job in statistics))
    for name in ("p50", "p95", "p99", "longest"):
        table.add_row(name, *(took(getattr(job, f"{name}_ms")) for job in statistics))
    last = (job.last_success_at for job in statistics)
    table.add_row("last success (UTC)", *(f"{at:{MINUTE}}" if at else "none" for at in last))
    return table


def _rate(rate: float) -> str:
    """In percent, rounded down: one failure among thousands does not disappear."""
    return f"{floor(rate * 1000) / 10:.1f}%"


def _count(job: "JobStatistics", name: str) -> str:
    """How many runs have a status, or are counted under another name."""
    if name == "missed":
        return "unknown" if job.missed is None else f"{len(job.missed):,}"
    return f"{job.by_status[RunStatus(name)] if name in RunStatus.__members__.values() else getattr(job, name):,}"


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
