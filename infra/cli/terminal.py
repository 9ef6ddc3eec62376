"""What the commands share: their options, how they print, and where they look."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Annotated, Any

import typer
from rich.console import Console

from infra.deployed.deployment import Deployment, find_deployment
from infra.jobs import JOBS
from shared.domain.errors import ArcadeJobsError

DEMO_STAGE = "demo"  # what make demo left; never deployed

OneJob = Annotated[str, typer.Argument(help="prize-pool, leaderboard or cleanup.")]
AnyJob = Annotated[str | None, typer.Argument(help="prize-pool, leaderboard or cleanup; all if left out.")]
Stage = Annotated[str, typer.Option(help="The deployed stage; `demo` is what make demo left.")]
Profile = Annotated[str | None, typer.Option(help="Of your AWS configuration.")]
Region = Annotated[str | None, typer.Option(help="Of AWS; else as the profile or the environment says.")]
Local = Annotated[bool, typer.Option("--local", help="The laptop cloud instead of AWS.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

out = Console()
err = Console(stderr=True, highlight=False, soft_wrap=True)


class CommandError(Exception):
    """The command cannot go on. The message is one line for the user."""


def known(job: str) -> str:
    """The name of a job.

    Raises:
        CommandError: it is none.
    """
    names = [each.name for each in JOBS]
    if job not in names:
        raise CommandError(f"JOB: {job!r} is not a job; expected one of {', '.join(names)}")
    return job


def find(stage: str, profile: str | None, region: str | None, *, on_laptop: bool) -> Deployment:
    """The deployment that the options name.

    Raises:
        CommandError: the stage is the replay's, or the laptop cloud does not answer.
        DeploymentError: there is none.
    """
    if stage == DEMO_STAGE:
        raise CommandError(f"--stage: {stage!r} is the replay's, and is not deployed; its jobs run with make demo")
    if on_laptop:
        with laptop() as cloud:
            deployment: Deployment = cloud.connect(stage=stage)
            return deployment
    return find_deployment(stage, profile=profile, region=region)


@contextmanager
def laptop() -> Iterator[ModuleType]:
    """The laptop cloud's functions; what they refuse is one line for the user."""
    from infra.local import cloud  # noqa: PLC0415 - nothing else needs it
    from infra.local.cdk import CdkError  # noqa: PLC0415
    from infra.local.emulator import EmulatorError  # noqa: PLC0415
    from infra.local.postgres import PostgresError  # noqa: PLC0415

    try:
        yield cloud
    except (CdkError, EmulatorError, ArcadeJobsError, PostgresError) as error:
        raise CommandError(str(error)) from error


def say(*lines: str) -> None:
    """What was asked for, to be piped or copied: no line is folded."""
    for line in lines:
        out.print(line, markup=False, highlight=False, soft_wrap=True)


def note(line: str) -> None:
    """What goes on meanwhile."""
    err.print(line, markup=False)


def print_json(value: Any) -> None:
    """What was asked for, for a program."""
    out.print_json(json.dumps(value))
