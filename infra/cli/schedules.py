"""`arcade-jobs status`, `pause`, `resume`: whether the jobs fire, and how they are."""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.options import JOB_NAMES, Json, OneJob, Target, with_target
from infra.cli.terminal import out, print_json, print_lines, print_note, printable
from infra.stage import stack_name
from shared.domain.errors import ArcadeJobsError, BadInputError, NotReachableError

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from infra.deployed.pools import OpenPools
    from shared.operations.deployment import Deployment
    from shared.operations.schedule import Schedule, Switch
    from shared.operations.status import Status

app = typer.Typer()


FIVE_SECONDS = 5.0
POOLS_EVERY = timedelta(minutes=1)  # of a status that is watched: each look keeps a database awake that could sleep


@app.command("status")
@with_target
def show_status(
    *,
    is_watched: Annotated[bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(min=1, max=3600, help="Seconds between two looks of --watch.")] = FIVE_SECONDS,
    as_json: Json = False,
    target: Target,
) -> None:
    """The status of each job: schedule, runs, silence, dead letters and raised alarms; pools due and unpaid."""
    if is_watched and (as_json or not out.is_terminal):
        raise BadInputError("--watch: for a terminal; leave it out with --json and in a pipe")
    if is_watched:
        _watch(target, every)
        return
    status, pools = _read_status(target), _read_pools(target)
    if as_json:
        print_json(status.to_json() | {"pools": {"unknown": pools} if isinstance(pools, str) else pools.to_json()})
    else:
        table, *lines = _render(status, pools, target)
        out.print(table)
        for line in lines:
            out.print(line, soft_wrap=True)


def _watch(target: Target, every: float) -> None:
    """Show the status until interrupted. What cannot be reached for a while is a line below what was seen last."""
    from rich.console import Group
    from rich.live import Live

    shown: Group | str = "reading"
    with suppress(KeyboardInterrupt), Live(console=out, auto_refresh=False, vertical_overflow="visible") as live:
        pools, read_at = _read_pools(target), datetime.now(UTC)
        while True:
            try:
                if datetime.now(UTC) - read_at > POOLS_EVERY:
                    pools, read_at = _read_pools(target), datetime.now(UTC)
                shown = Group(*_render(_read_status(target), pools, target))
                live.update(shown, refresh=True)
            except NotReachableError as error:
                live.update(Group(shown, printable(f"{datetime.now(UTC):%H:%M:%S} UTC: {error}")), refresh=True)
            time.sleep(every)


def _read_status(target: Target) -> "Status":
    from shared.operations.status import read_status

    return read_status(target.deployment(), JOB_NAMES, now=datetime.now(UTC))


def _read_pools(target: Target) -> "OpenPools | str":
    """What is due and unpaid, or why that is not known: the rest of the status does not depend on it."""
    from infra.cli.database import database
    from infra.deployed.pools import count_open, read_calendar

    try:
        with database(target) as query:
            if query is None:
                return "set DATABASE_URL"
            return count_open(query, calendar=read_calendar(query), now=datetime.now(UTC))
    except ArcadeJobsError as error:
        return printable(str(error))


def _render(status: "Status", pools: "OpenPools | str", target: Target) -> list["Table | Text"]:
    from infra.cli.status_tables import status_lines, status_table

    stack = stack_name(target.stage)
    return [status_table(status, stack=stack), *status_lines(status, pools, stack=stack)]


Reason = Annotated[str | None, typer.Option(help="Why; shown by status. Up to 500 characters.")]


@app.command("pause")
@with_target
def pause_job(job: OneJob, *, reason: Reason = None, as_json: Json = False, target: Target) -> None:
    """Stop a job from firing, and mute its silence alarm. It can still be triggered manually."""
    from shared.operations.schedule import check_reason, pause

    check_reason(reason)
    _switch(pause, target.deployment(), job, reason, as_json=as_json)
    if reason is None:
        print_note("no --reason: whoever is on call next will not know why; pause again with one")


@app.command("resume")
@with_target
def resume_job(job: OneJob, *, reason: Reason = None, as_json: Json = False, target: Target) -> None:
    """Let a job fire again, and unmute its silence alarm. Reverses `pause`."""
    from shared.operations.schedule import check_reason, resume

    check_reason(reason)
    _switch(resume, target.deployment(), job, reason, as_json=as_json)


def _switch(
    switch: "Callable[..., Switch]", deployment: "Deployment", job: str, reason: str | None, *, as_json: bool
) -> None:
    from shared.operations.schedule import read_schedule

    print_note(str(deployment))
    done = switch(deployment, job, reason=reason, now=datetime.now(UTC))
    after = read_schedule(deployment, job)
    if as_json:
        before = {name: done.before.to_json()[name] for name in ("schedule", "silence_alarm")}
        note = done.note.to_json() if done.note else None
        print_json({"job": job, **after.to_json(), "before": before, "note": note})
    else:
        by = f"; noted: by {done.note.actor}{f': {done.note.reason}' if done.note.reason else ''}" if done.note else ""
        print_lines(f"{job}: {_describe(done.before, after)}{by}")
    if done.not_noted:
        print_note(f"who and why could not be noted: {done.not_noted}; run the same command again later")


def _describe(before: "Schedule", after: "Schedule") -> str:
    """The change in one line."""
    from shared.operations.schedule import SilenceAlarm, State

    state = {
        State.ON: "fires again" if before.state is not State.ON else "is on",
        State.PAUSED: "is paused" if before.state is State.PAUSED else "was paused",
        State.DISABLED: "is disabled by its deployment",
    }[after.state]
    silence_alarm = {
        SilenceAlarm.ACTIVE: "its silence alarm is active",
        SilenceAlarm.MUTED: "its silence alarm is muted",
        SilenceAlarm.NONE: "it has no silence alarm here",
    }[after.silence_alarm]
    return f"{state}; {silence_alarm}" + ("" if before != after else ", as before")
