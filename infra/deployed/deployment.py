"""Finding a deployed stage: its stack's outputs tell the names of everything (DESIGN section 3, Command).

AWS and the laptop cloud are told apart here and nowhere else: the local one is the same code with another endpoint.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session as BotocoreSession

from shared.runs.store import RunStore

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

DEFAULT_STAGE = "dev"
LOCAL_REGION = "us-east-1"
LOCAL_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
PATIENCE = Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 3, "mode": "standard"})


class DeploymentError(Exception):
    """The stage cannot be found or reached. The message is one line that says what to do."""


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """One deployed stage.

    Attributes:
        stage: such as `dev` or `prod`.
        account: the account it is in.
        caller: the ARN of whoever asks.
        session: whose credentials and region are used.
        endpoint: of the emulator; None on AWS.
        outputs: those of the stack, by name.
    """

    stage: str
    account: str
    caller: str
    session: boto3.Session
    endpoint: str | None
    outputs: Mapping[str, str]

    def output(self, name: str) -> str:
        """The value of one output.

        Raises:
            DeploymentError: the stack has no such output.
        """
        try:
            return self.outputs[name]
        except KeyError:
            raise DeploymentError(
                f"stack {stack_name(self.stage)} has no output {name}: deploy this version of it first"
            ) from None

    def run_store(self) -> RunStore:
        """The stage's run records."""
        client: DynamoDBClient = self.client("dynamodb")
        return RunStore(client=client, table_name=self.output("RunsTableName"), clock=lambda: datetime.now(UTC))

    def function(self, job: str) -> str:
        """The name of a job's function."""
        return self.output(f"{_title(job)}FunctionName")

    def dead_letter_queue(self, job: str) -> str:
        """The URL of a job's dead-letter queue."""
        return self.output(f"{_title(job)}DeadLetterQueueUrl")

    def alarms(self, job: str | None) -> list[str]:
        """The names of a job's alarms; None: of those for all jobs together, which the laptop does not have."""
        names = self.outputs.get("AlarmNames") if job is None else self.output(f"{_title(job)}AlarmNames")
        return names.split(",") if names else []

    def rule(self, job: str) -> str | None:
        """The name of the rule that fires a job; None when a schedule of EventBridge Scheduler does."""
        return self.outputs.get(f"{_title(job)}RuleName")

    def schedule(self, job: str) -> str:
        """The name of the schedule that fires a job which no rule fires."""
        return self.output(f"{_title(job)}ScheduleName")

    def is_enabled(self, job: str) -> bool:
        """Whether the job was deployed to fire."""
        return self.output(f"{_title(job)}IsEnabled") == "true"

    def client(self, service: str, config: Config = PATIENCE) -> Any:
        """A client of one of AWS's services, by its name in boto3."""
        return self.session.client(service, endpoint_url=self.endpoint, config=config)  # type: ignore[call-overload]

    def __str__(self) -> str:
        return f"account {self.account}, {self.session.region_name}, stack {stack_name(self.stage)}"


@contextmanager
def asking(what: str) -> Iterator[None]:
    """Make what AWS refuses one line for the user, with what was asked before it.

    Raises:
        DeploymentError: AWS refused, or was not reached.
    """
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise DeploymentError(f"{what}: {' '.join(str(error).split())}") from error


def stack_name(stage: str) -> str:
    """The CloudFormation stack of a stage."""
    return f"arcade-jobs-{stage}"


def find_deployment(
    stage: str, *, profile: str | None = None, region: str | None = None, endpoint: str | None = None
) -> Deployment:
    """Look a stage up by its stack.

    Args:
        stage: such as `dev`.
        profile: of the AWS configuration; None: as the environment says.
        region: None: as the profile or the environment says.
        endpoint: of the emulator, whose credentials are not AWS's; None: AWS.

    Raises:
        DeploymentError: no credentials, no region, or no such stack.
    """
    try:
        session = boto3.Session(profile_name=profile, region_name=region) if endpoint is None else local_session()
        identity = session.client("sts", endpoint_url=endpoint, config=PATIENCE).get_caller_identity()
        cloudformation = session.client("cloudformation", endpoint_url=endpoint, config=PATIENCE)
        [stack] = cloudformation.describe_stacks(StackName=stack_name(stage))["Stacks"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationError":
            where = "on the laptop cloud" if endpoint else f"in account {identity['Account']}, {session.region_name}"
            raise DeploymentError(f"stage {stage!r}: there is no stack {stack_name(stage)} {where}") from None
        raise DeploymentError(f"stage {stage!r}: {error}") from None
    except BotoCoreError as error:
        raise DeploymentError(f"stage {stage!r}: {error}") from None
    return Deployment(
        stage=stage,
        account=identity["Account"],
        caller=identity["Arn"],
        session=session,
        endpoint=endpoint,
        outputs={output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])},
    )


def local_session() -> boto3.Session:
    """A session with the laptop cloud, whatever profile, region or credentials this machine has for AWS."""
    nothing = (None, None, os.devnull, None)
    no_profile = (None, None, None, None)
    session = BotocoreSession(session_vars={"profile": no_profile, "config_file": nothing, "credentials_file": nothing})
    credentials = {name.lower(): value for name, value in LOCAL_CREDENTIALS.items()}
    return boto3.Session(botocore_session=session, region_name=LOCAL_REGION, **credentials)


def _title(job: str) -> str:
    return "".join(word.capitalize() for word in job.split("-"))
