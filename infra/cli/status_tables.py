"""The status of a stage and its dead letters as tables for a terminal."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from infra.cli.tables import MINUTE, STYLES
from infra.cli.terminal import printable
from shared.runs.record import RunRecord

if TYPE_CHECKING:
    from infra.deployed.dead_letters import DeadLetter
    from shared.operations.status import Status

SHORT_ID = 8  # characters of the id of a message: enough to be the only one
LONGEST_TIME = len("2026-01-12T00:00:00Z")  # what is no time is cut: dead-letters show has all of it


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
    """Which event each is, why it is there, and whether it can be sent again."""
    table = Table(
        title=f"{len(dead_letters)} dead letters" if len(dead_letters) > 1 else None, box=SIMPLE_HEAD, pad_edge=False
    )
    for name in ("id", "job", "for, queued (UTC)"):
        table.add_column(name, no_wrap=True)
    table.add_column("why", overflow="fold")
    for found in dead_letters:
        why = Text(printable(found.reason))
        if found.malformed:
            why.append(f"\nmalformed: {printable(found.malformed)}", style="red")
        times = f"{printable(found.time or 'no time')[:LONGEST_TIME]}\n{found.sent_at:{MINUTE}}"
        table.add_row(found.id[:SHORT_ID], found.job, times, why)
    table.caption = "arcade-jobs dead-letters show ID"
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
