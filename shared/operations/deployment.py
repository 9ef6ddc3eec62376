"""A deployed stage: its stack's outputs hold the names of everything.

AWS and the emulator of the laptop cloud differ here and nowhere else: another session, and an endpoint.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from shared.domain.errors import NotReachableError
from shared.operations.outputs import job_title
from shared.runs.store import RunStore

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_dynamodb.client import DynamoDBClient

CLIENT_CONFIG = Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 3, "mode": "standard"})


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """One deployed stage.

    Attributes:
        stack: the name of its CloudFormation stack.
        account: the id of the AWS account.
        caller: the ARN that the session's credentials belong to.
        endpoint: of the emulator; None on AWS.
        outputs: those of the stack, by name.
    """

    stage: str
    stack: str
    account: str
    caller: str
    session: "boto3.Session"
    endpoint: str | None
    outputs: Mapping[str, str]

    def output(self, name: str) -> str:
        """The value of one output.

        Raises:
            NotReachableError: the stack has no such output.
        """
        try:
            return self.outputs[name]
        except KeyError:
            raise NotReachableError(
                f"stack {self.stack} has no output {name}: deploy this version of it first"
            ) from None

    def run_store(self) -> RunStore:
        """The stage's run records."""
        client: DynamoDBClient = self.client("dynamodb")
        return RunStore(client=client, table_name=self.output("RunsTableName"), clock=lambda: datetime.now(UTC))

    def function(self, job: str) -> str:
        """The name of a job's function."""
        return self.output(f"{job_title(job)}FunctionName")

    def log_group(self, job: str) -> str:
        """The name of the CloudWatch log group of a job's function."""
        return self.output(f"{job_title(job)}LogGroupName")

    def dead_letter_queue(self, job: str) -> str:
        """The URL of a job's dead-letter queue."""
        return self.output(f"{job_title(job)}DeadLetterQueueUrl")

    def alarms(self, job: str | None) -> list[str]:
        """The names of a job's alarms; None: of those for all jobs together, which the laptop cloud does not have."""
        names = self.outputs.get("AlarmNames") if job is None else self.output(f"{job_title(job)}AlarmNames")
        return names.split(",") if names else []

    def rule(self, job: str) -> str | None:
        """The name of the rule that fires a job; None when a schedule of EventBridge Scheduler does."""
        return self.outputs.get(f"{job_title(job)}RuleName")

    def schedule(self, job: str) -> str:
        """The name of the schedule that fires a job which no rule fires."""
        return self.output(f"{job_title(job)}ScheduleName")

    def cron(self, job: str) -> str:
        """When the job fires, in the five fields of cron, as it was deployed."""
        return self.output(f"{job_title(job)}Cron")

    def silent_after(self, job: str) -> timedelta | None:
        """How long no run may succeed before the silence alarm is raised; None: the job has no such alarm."""
        hours = self.outputs.get(f"{job_title(job)}SilentAfterHours")
        return timedelta(hours=int(hours)) if hours else None

    def is_enabled(self, job: str) -> bool:
        """Whether the job was deployed to fire."""
        return self.output(f"{job_title(job)}IsEnabled") == "true"

    def client(self, service: str, config: Config = CLIENT_CONFIG) -> Any:
        """A client of one of AWS's services, by its name in boto3."""
        return self.session.client(service, endpoint_url=self.endpoint, config=config)  # type: ignore[call-overload]

    def __str__(self) -> str:
        return f"account {self.account}, {self.session.region_name}, stack {self.stack}"


@contextmanager
def aws_errors(subject: str) -> Iterator[None]:
    """Turn an error of boto3 into one line for the user that begins with the subject.

    Raises:
        NotReachableError: AWS refused, or was not reached.
    """
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise NotReachableError(f"{subject}: {' '.join(str(error).split())}") from error
