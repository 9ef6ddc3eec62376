"""Finding a deployed stage: its stack's outputs hold the names of everything.

AWS and the emulator of the laptop cloud differ here and nowhere else: another session, and an endpoint.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from infra.jobs import JOBS
from infra.stage import stack_name
from shared.domain.errors import ArcadeJobsError
from shared.runs.store import RunStore

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

CLIENT_CONFIG = Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 3, "mode": "standard"})
TITLES = {job.name: job.title for job in JOBS}  # what the outputs of a job begin with


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """One deployed stage.

    Attributes:
        account: the id of the AWS account.
        caller: the ARN that the session's credentials belong to.
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
            ArcadeJobsError: the stack has no such output.
        """
        try:
            return self.outputs[name]
        except KeyError:
            raise ArcadeJobsError(
                f"stack {stack_name(self.stage)} has no output {name}: deploy this version of it first"
            ) from None

    def run_store(self) -> RunStore:
        """The stage's run records."""
        client: DynamoDBClient = self.client("dynamodb")
        return RunStore(client=client, table_name=self.output("RunsTableName"), clock=lambda: datetime.now(UTC))

    def function(self, job: str) -> str:
        """The name of a job's function."""
        return self.output(f"{TITLES[job]}FunctionName")

    def dead_letter_queue(self, job: str) -> str:
        """The URL of a job's dead-letter queue."""
        return self.output(f"{TITLES[job]}DeadLetterQueueUrl")

    def alarms(self, job: str | None) -> list[str]:
        """The names of a job's alarms; None: of those for all jobs together, which the laptop cloud does not have."""
        names = self.outputs.get("AlarmNames") if job is None else self.output(f"{TITLES[job]}AlarmNames")
        return names.split(",") if names else []

    def rule(self, job: str) -> str | None:
        """The name of the rule that fires a job; None when a schedule of EventBridge Scheduler does."""
        return self.outputs.get(f"{TITLES[job]}RuleName")

    def schedule(self, job: str) -> str:
        """The name of the schedule that fires a job which no rule fires."""
        return self.output(f"{TITLES[job]}ScheduleName")

    def is_enabled(self, job: str) -> bool:
        """Whether the job was deployed to fire."""
        return self.output(f"{TITLES[job]}IsEnabled") == "true"

    def client(self, service: str, config: Config = CLIENT_CONFIG) -> Any:
        """A client of one of AWS's services, by its name in boto3."""
        return self.session.client(service, endpoint_url=self.endpoint, config=config)  # type: ignore[call-overload]

    def __str__(self) -> str:
        return f"account {self.account}, {self.session.region_name}, stack {stack_name(self.stage)}"


@contextmanager
def aws_errors(subject: str) -> Iterator[None]:
    """Turn an error of boto3 into one line for the user that begins with the subject.

    Raises:
        ArcadeJobsError: AWS refused, or was not reached.
    """
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise ArcadeJobsError(f"{subject}: {' '.join(str(error).split())}") from error


def find_deployment(stage: str, *, session: boto3.Session, endpoint: str | None = None) -> Deployment:
    """Find a stage by its stack.

    Args:
        stage: such as `dev`.
        session: with the credentials and the region.
        endpoint: of the emulator; None: AWS.

    Raises:
        ArcadeJobsError: no credentials, no region, or no such stack.
    """
    stack = stack_name(stage)
    with aws_errors(f"stage {stage!r}"):
        identity = session.client("sts", endpoint_url=endpoint, config=CLIENT_CONFIG).get_caller_identity()
        cloudformation = session.client("cloudformation", endpoint_url=endpoint, config=CLIENT_CONFIG)
        try:
            [found] = cloudformation.describe_stacks(StackName=stack)["Stacks"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ValidationError":
                raise
            where = f"at {endpoint}" if endpoint else f"in account {identity['Account']}, {session.region_name}"
            raise ArcadeJobsError(f"stage {stage!r}: there is no stack {stack} {where}") from None
    return Deployment(
        stage=stage,
        account=identity["Account"],
        caller=identity["Arn"],
        session=session,
        endpoint=endpoint,
        outputs={output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])},
    )
