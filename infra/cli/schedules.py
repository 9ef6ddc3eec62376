"""`arcade-jobs status`, `pause`, `resume`: whether the jobs fire, and how they are."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from infra.cli.options import JOB_NAMES, Json, OneJob, Target, with_target
from infra.cli.terminal import out, print_json, print_lines, print_note
from infra.stage import stack_name

if TYPE_CHECKING:
    from shared.operations.deployment import Deployment
    from shared.operations.schedule import Schedule

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


@app.command("pause")
@with_target
def pause_job(job: OneJob, *, as_json: Json = False, target: Target) -> None:
    """Stop a job from firing, and mute its silence alarm. It can still be triggered manually."""
    from shared.operations.schedule import pause

    _switch(pause, target.deployment(), job, as_json=as_json)


@app.command("resume")
@with_target
def resume_job(job: OneJob, *, as_json: Json = False, target: Target) -> None:
    """Let a job fire again, and unmute its silence alarm. Reverses `pause`."""
    from shared.operations.schedule import resume

    _switch(resume, target.deployment(), job, as_json=as_json)


def _switch(
    switch: "Callable[[Deployment, str], Schedule]", deployment: "Deployment", job: str, *, as_json: bool
) -> None:
    from shared.operations.schedule import read_schedule

    print_note(str(deployment))
    before = switch(deployment, job)
    after = read_schedule(deployment, job)
    if as_json:
        switched = ("schedule", "silence_alarm")
        print_json({"job": job, **after.to_json(), "before": {name: before.to_json()[name] for name in switched}})
    else:
        print_lines(f"{job}: {_describe(before, after)}")


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
