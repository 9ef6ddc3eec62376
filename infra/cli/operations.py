"""The commands that look after a deployment: how it stands, pausing, dead letters (DESIGN section 3, Command)."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import typer

from infra.cli.tables import dead_letters_table, status_table
from infra.cli.terminal import (
    AnyJob,
    Json,
    Local,
    OneJob,
    Profile,
    Region,
    Stage,
    find,
    known,
    note,
    out,
    print_json,
    say,
)
from infra.deployed.dead_letters import list_dead_letters, redrive
from infra.deployed.deployment import DEFAULT_STAGE, Deployment, stack_name
from infra.deployed.schedule import Schedule, Silence, State, pause, read_schedule, resume
from infra.deployed.status import read_status
from infra.jobs import JOBS

dead_letters = typer.Typer(no_args_is_help=True, help="Events that were given up.")


def add_to(app: typer.Typer) -> None:
    """Make the commands known to the app."""
    app.command("status")(show_status)
    app.command("pause")(pause_job)
    app.command("resume")(resume_job)
    app.add_typer(dead_letters, name="dead-letters")


def show_status(
    *,
    as_json: Json = False,
    stage: Stage = DEFAULT_STAGE,
    profile: Profile = None,
    region: Region = None,
    on_laptop: Local = False,
) -> None:
    """How each job stands: its schedule, runs, dead letters and raised alarms."""
    deployment = find(stage, profile, region, on_laptop=on_laptop)
    status = read_status(deployment, _jobs(None), now=datetime.now(UTC))
    if as_json:
        print_json(status.to_json())
    else:
        out.print(status_table(status, stack=stack_name(stage)))


def pause_job(
    job: OneJob,
    *,
    as_json: Json = False,
    stage: Stage = DEFAULT_STAGE,
    profile: Profile = None,
    region: Region = None,
    on_laptop: Local = False,
) -> None:
    """Stop a job from firing, and mute its silence alarm. It can still be triggered by hand."""
    known(job)
    deployment = find(stage, profile, region, on_laptop=on_laptop)
    _switch(pause, deployment, job, as_json=as_json)


def resume_job(
    job: OneJob,
    *,
    as_json: Json = False,
    stage: Stage = DEFAULT_STAGE,
    profile: Profile = None,
    region: Region = None,
    on_laptop: Local = False,
) -> None:
    """Let a job fire again, and its silence alarm be heard. The undoing of `pause`."""
    known(job)
    deployment = find(stage, profile, region, on_laptop=on_laptop)
    _switch(resume, deployment, job, as_json=as_json)


@dead_letters.command("list")
def show_dead_letters(
    job: AnyJob = None,
    *,
    as_json: Json = False,
    stage: Stage = DEFAULT_STAGE,
    profile: Profile = None,
    region: Region = None,
    on_laptop: Local = False,
) -> None:
    """The events that were given up, and why. None is removed."""
    jobs = _jobs(job)
    deployment = find(stage, profile, region, on_laptop=on_laptop)
    now = datetime.now(UTC)
    letters = [letter for of_job in jobs for letter in list_dead_letters(deployment, of_job, now=now)]
    if as_json:
        print_json([letter.to_json() for letter in letters])
    elif letters:
        out.print(dead_letters_table(letters))
    else:
        say("no dead letters")


@dead_letters.command("redrive")
def redrive_dead_letters(
    job: AnyJob = None,
    *,
    as_json: Json = False,
    stage: Stage = DEFAULT_STAGE,
    profile: Profile = None,
    region: Region = None,
    on_laptop: Local = False,
) -> None:
    """Send the events that were given up to their jobs again; exit with 1 if any is left. Nothing is lost."""
    jobs = _jobs(job)
    deployment = find(stage, profile, region, on_laptop=on_laptop)
    note(str(deployment))
    redriven = [
        done for of_job in jobs for done in redrive(deployment, of_job, clock=lambda: datetime.now(UTC), report=note)
    ]
    settled = sum(done.is_settled for done in redriven)
    if as_json:
        print_json([done.to_json() for done in redriven])
    else:
        say(f"{settled} settled, {len(redriven) - settled} left" if redriven else "no dead letters")
    if settled < len(redriven):
        raise typer.Exit(1)


def _switch(switch: Callable[[Deployment, str], Schedule], deployment: Deployment, job: str, *, as_json: bool) -> None:
    note(str(deployment))
    before = switch(deployment, job)
    after = read_schedule(deployment, job)
    if as_json:
        print_json({"job": job, **after.to_json(), "before": _standing(before)})
    else:
        say(f"{job}: {_told(before, after)}")


def _standing(schedule: Schedule) -> dict[str, Any]:
    return {name: schedule.to_json()[name] for name in ("schedule", "silence")}


def _told(before: Schedule, after: Schedule) -> str:
    """What was done, in one line."""
    state = {
        State.ON: "fires again" if before.state is not State.ON else "is on",
        State.PAUSED: "is paused" if before.state is State.PAUSED else "was paused",
        State.DISABLED: "is disabled by its deployment",
    }[after.state]
    silence = {
        Silence.WATCHED: "its silence alarm is heard",
        Silence.MUTED: "its silence alarm is muted",
        Silence.UNWATCHED: "it has no silence alarm here",
    }[after.silence]
    return f"{state}; {silence}" + ("" if before != after else ", as before")


def _jobs(job: str | None) -> list[str]:
    return [known(job)] if job else [each.name for each in JOBS]
