"""`arcade-jobs status`, `pause`, `resume`: whether the jobs fire, and how they are."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.options import JOB_NAMES, Json, OneJob, Target, with_target
from infra.cli.terminal import out, print_json, print_lines, print_note
from infra.stage import stack_name

if TYPE_CHECKING:
    from shared.operations.deployment import Deployment
    from shared.operations.schedule import Schedule, Switch

app = typer.Typer()


@app.command("status")
@with_target
def show_status(*, as_json: Json = False, target: Target) -> None:
    """The status of each job: its schedule, runs, dead letters and raised alarms."""
    from infra.cli.status_tables import status_table
    from shared.operations.status import read_status

    status = read_status(target.deployment(), JOB_NAMES, now=datetime.now(UTC))
    if as_json:
        print_json(status.to_json())
    else:
        out.print(status_table(status, stack=stack_name(target.stage)))


Reason = Annotated[str | None, typer.Option(help="Why; shown by status. Up to 500 characters.")]


@app.command("pause")
@with_target
def pause_job(job: OneJob, *, reason: Reason = None, as_json: Json = False, target: Target) -> None:
    """Stop a job from firing, and mute its silence alarm. It can still be triggered manually."""
    from shared.operations.schedule import check_reason, pause

    if check_reason(reason) is None:
        print_note("no --reason: whoever is on call next will not know why; pause again with one")
    _switch(pause, target.deployment(), job, reason, as_json=as_json)


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
