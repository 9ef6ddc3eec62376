"""The arguments and options that several commands share."""

import functools
import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.jobs import JOBS
from infra.local import FOLDER
from infra.stage import DEFAULT_STAGE, REPLAY_STAGES
from shared.domain.errors import ArcadeJobsError, BadInputError
from shared.domain.stage import parse_stage

if TYPE_CHECKING:
    from shared.operations.deployment import Deployment
    from shared.runs.store import RunStore

JOB_NAMES = [job.name for job in JOBS]
COMPLETED = 100  # of the last runs
LONGEST_RUN_ID = 200  # characters; those that there are have 60, and DynamoDB takes no key of 2,048 bytes
JOB_HELP = f"{', '.join(JOB_NAMES[:-1])} or {JOB_NAMES[-1]}"


def check_job(name: str | None) -> str | None:
    """The name of a job, or None.

    Raises:
        BadInputError: no job has this name.
    """
    if name is not None and name not in JOB_NAMES:
        raise BadInputError(f"JOB: {name!r} is not a job; expected one of {', '.join(JOB_NAMES)}")
    return name


def check_stage(text: str) -> str:
    """The name of a stage.

    Raises:
        BadInputError: no stage can have it.
    """
    try:
        return parse_stage(text)
    except ValueError as error:
        raise BadInputError(f"--stage: {error}") from None


def check_run_id(text: str) -> str:
    """The id of a run, or the beginning of one.

    Raises:
        BadInputError: it is empty, or longer than any.
    """
    if not text.strip():
        raise BadInputError(f"RUN_ID: {text!r} is empty; arcade-jobs history lists what there is")
    if len(text) > LONGEST_RUN_ID:
        raise BadInputError(f"RUN_ID: {len(text)} characters are too many; at most {LONGEST_RUN_ID}")
    return text.strip()


def complete_job(begun: str) -> list[str]:
    """The names of jobs, for the shell."""
    return [name for name in JOB_NAMES if name.startswith(begun)]


def complete_run(context: typer.Context, begun: str) -> list[str]:
    """The ids of the last runs, for the shell; none where they cannot be read, since it cannot show an error."""
    options = {name: value for name, value in context.params.items() if name in TARGET_OPTIONS and value is not None}
    try:
        with Target(**options).run_store() as runs:
            return [run.run_id for run in runs.list_runs(limit=COMPLETED) if run.run_id.startswith(begun)]
    except ArcadeJobsError:
        return []


OneJob = Annotated[str, typer.Argument(callback=check_job, autocompletion=complete_job, help=f"{JOB_HELP}.")]
AnyJob = Annotated[
    str | None,
    typer.Argument(callback=check_job, autocompletion=complete_job, help=f"{JOB_HELP}; all if left out."),
]
OneRun = Annotated[
    str,
    typer.Argument(
        callback=check_run_id,
        autocompletion=complete_run,
        help="Such as prize-pool:2026-01-12T00:00Z, or what only its id begins with: prize-pool:1a2b, 1a2b.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True, kw_only=True)
class Target:
    """The deployment that a command works on. Each field is an option of `with_target`."""

    stage: Annotated[
        str, typer.Option(callback=check_stage, help="The deployed stage; `demo` and `simulation` are replays.")
    ] = DEFAULT_STAGE
    profile: Annotated[str | None, typer.Option(help="Of your AWS configuration.")] = None
    region: Annotated[str | None, typer.Option(help="Of AWS; else from the profile or the environment.")] = None
    local: Annotated[bool, typer.Option("--local", help="The laptop cloud instead of AWS.")] = False

    def __str__(self) -> str:
        """The options, as they are appended to a command: ` --stage prod`; nothing for what is so anyway."""
        given = ((name, getattr(self, name)) for name in ("stage", "profile", "region"))
        options = [f" --{name} {value}" for name, value in given if value and value != DEFAULT_STAGE]
        return "".join([*options, " --local" if self.local else ""])

    def deployment(self) -> "Deployment":
        """Find the deployment, once.

        Raises:
            BadInputError: the stage is the demo's, or an option is empty.
            NotReachableError: there is none, or it cannot be reached.
        """
        return self._deployment

    @functools.cached_property
    def _deployment(self) -> "Deployment":
        for name in ("profile", "region"):
            if (value := getattr(self, name)) is not None and not value.strip():
                raise BadInputError(f"--{name}: {value!r} is empty")
        if replay := REPLAY_STAGES.get(self.stage):
            raise BadInputError(
                f"--stage: {self.stage!r} is the replay's, and is not deployed; its jobs run with {replay}"
            )
        import boto3

        from infra.deployed.lookup import find_deployment
        from shared.operations.deployment import aws_errors

        if self.local:
            from infra.local import cloud, emulator

            return find_deployment(self.stage, session=emulator.session(), endpoint=cloud.endpoint())
        with aws_errors(f"stage {self.stage!r}"):
            # The CDK and the AWS CLI read AWS_REGION, boto3 does not.
            region = self.region or os.environ.get("AWS_REGION")
            session = boto3.Session(profile_name=self.profile, region_name=region)
        return find_deployment(self.stage, session=session)

    @contextmanager
    def run_store(self) -> Iterator["RunStore"]:
        """The run records of the deployment, or those that a replay left.

        Raises:
            NotReachableError: they cannot be reached.
        """
        if self.stage in REPLAY_STAGES:
            from infra.demo.saved_runs import SAVED_RUNS, open_saved_runs

            yield open_saved_runs(FOLDER / self.stage / SAVED_RUNS)
        else:
            yield self.deployment().run_store()


TARGET_OPTIONS = inspect.signature(Target).parameters


def with_target(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options --stage, --profile, --region and --local.

    They replace its parameter `target`, which receives them as one `Target`.
    """

    @functools.wraps(command)
    def with_options(**arguments: Any) -> None:
        target = Target(**{name: arguments.pop(name) for name in TARGET_OPTIONS})
        command(target=target, **arguments)

    own = inspect.signature(command).parameters
    parameters = [*(own[name] for name in own if name != "target"), *TARGET_OPTIONS.values()]
    # Typer reads both.
    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_options
