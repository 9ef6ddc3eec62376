"""The status of a stage and its dead letters, for a terminal: whole at 80 columns."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from rich.table import Table
from rich.text import Text

from infra.cli.tables import MINUTE, STYLES, table_of
from infra.cli.terminal import printable
from shared.domain.run import RunStatus
from shared.domain.tick import Trigger
from shared.runs.record import RunRecord

if TYPE_CHECKING:
    from infra.deployed.dead_letters import DeadLetter
    from infra.deployed.pools import OpenPools
    from shared.operations.status import JobStatus, Status

UNDONE = (RunStatus.PARTIAL, RunStatus.INCOMPLETE, RunStatus.FAILED, RunStatus.ABANDONED)
SHORT_ID = 8  # characters of the id of a message: enough to be the only one
LONGEST_TIME = len("2026-01-12T00:00:00Z")  # what is no time is cut: dead-letters show has all of it


def status_table(status: "Status", *, stack: str) -> Table:
    """One row for each job; the names of alarms without their common prefix."""
    as_of = status.jobs[0].as_of.astimezone(UTC)
    table = table_of("job", "schedule", "runs", "needs you", whole=["job"], title=f"{stack} at {as_of:{MINUTE}:%S} UTC")
    table.show_lines = True
    for job in status.jobs:
        table.add_row(job.job, _schedule(job), _runs(job), _trouble(job, stack=stack))
    return table


def status_lines(status: "Status", pools: "OpenPools | str", *, stack: str) -> list[Text]:
    """What is for all jobs together, and where to look further; lines that are copied whole.

    Args:
        status: of the stage.
        pools: what is open, or why that is not known.
        stack: its name.
    """
    lines = [Text()]
    if status.alarms:
        names = ", ".join(name.removeprefix(f"{stack}-") for name in status.alarms)
        lines.append(Text(f"alarms     raised for all jobs: {names}", style="red"))
    is_open = not isinstance(pools, str) and (pools.due or pools.unpaid)
    lines.append(Text(f"pools      {_pools(pools)}", style="yellow" if is_open else ""))
    lines.append(Text(f"dashboard  {status.dashboard}"))
    return [*lines, *(Text(f"function   {job.function}") for job in status.jobs)]


def _pools(pools: "OpenPools | str") -> str:
    if isinstance(pools, str):
        return f"unknown: {pools}"
    since = f", the oldest settled {pools.oldest_unpaid_at:{MINUTE}}" if pools.oldest_unpaid_at else ""
    unpaid = f"{pools.unpaid:,} unpaid ({pools.unpaid_usdc:,} USDC{since})" if pools.unpaid else "none unpaid"
    return f"{f'{pools.due:,}' if pools.due else 'none'} due, {unpaid}"


def _schedule(job: "JobStatus") -> Text:
    from shared.operations.schedule import SilenceAlarm, State

    schedule = job.schedule
    state = Text(str(schedule.state), style="green" if schedule.state is State.ON else "yellow")
    parts = [state]
    if job.pause:
        state.append(f" {_age(job.as_of - job.pause.at)} ago")
        parts.append(Text(f"by {job.pause.actor.rpartition(':')[2]}"))
        parts += [Text(job.pause.reason, style="yellow")] if job.pause.reason else []
    if schedule.silence_alarm is SilenceAlarm.MUTED:
        parts.append(Text("silence alarm muted", style="yellow"))
    if job.next_fire:
        local = job.next_fire.astimezone(ZoneInfo(schedule.zone))
        parts.append(Text(f"next {local:%a %m-%d %H:%M}\n{schedule.zone}, in {_age(job.next_fire - job.as_of)}"))
    return Text("\n").join(parts)


def _runs(job: "JobStatus") -> Text:
    shown = [*job.running, *([job.last_run] if job.last_run and job.last_run not in job.running else [])]
    lines = [_status_and_age(run, job.as_of) for run in shown] or [Text("no run yet")]
    if job.last_success_age is None:
        lines.append(Text("no success yet", style="yellow"))
    elif job.last_run != job.last_success:
        lines.append(Text(f"last success {_age(job.last_success_age)} ago"))
    if job.silence is not None and job.silent_after is not None:
        lines.append(Text(f"silence {_age(job.silence)} of {_age(job.silent_after)}"))
    return Text("\n").join(lines)


def _trouble(job: "JobStatus", *, stack: str) -> Text:
    lines = []
    if job.is_silent:
        lines.append(f"silent for {_age(job.silence)}" if job.silence else "never succeeded")
    if job.dead_letters:
        lines.append(f"{job.dead_letters} dead letter{'s' if job.dead_letters > 1 else ''}")
    if job.last_run and job.last_run.trigger == Trigger.MANUAL and job.last_run.status in UNDONE:
        lines.append(f"a run by hand {job.last_run.status}")  # which no platform retries
    lines += [f"alarm {name.removeprefix(f'{stack}-{job.job}-')}" for name in job.alarms]
    return Text("\n".join(lines) or "nothing", style="red" if lines else "green")


def dead_letters_table(dead_letters: Sequence["DeadLetter"], *, between: str = "\n") -> Table:
    """Which event each is, why it is there, and whether it can be sent again.

    Args:
        dead_letters: of any jobs.
        between: what parts the values of one cell: a space makes a line of each dead letter.
    """
    whole = ("id", "job", "for, queued (UTC)")
    table = table_of(*whole, "why", whole=whole)
    table.show_lines = len(dead_letters) > 1 and between == "\n"
    for found in dead_letters:
        why = Text(printable(found.reason))
        if found.malformed:
            why.append(f"{between}malformed: {printable(found.malformed)}", style="red")
        times = f"{printable(found.time or 'no time')[:LONGEST_TIME]}{between}{found.sent_at:{MINUTE}}"
        table.add_row(found.id[:SHORT_ID], found.job, times, why)
    return table


def _status_and_age(run: RunRecord, as_of: datetime) -> Text:
    """The status of a run and its age."""
    remark = " (dry run)" if run.dry_run else ""
    return Text.assemble((f"{run.status}{remark}", STYLES[run.status]), f" {_age(as_of - run.started_at)} ago")


def _age(age: timedelta) -> str:
    """In the largest unit of which there are at least two: `26 h`, `90 min`, `40 s`."""
    for unit, name in ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "min")):
        if age >= 2 * unit:
            return f"{age // unit} {name}"
    return f"{max(age // timedelta(seconds=1), 0)} s"
