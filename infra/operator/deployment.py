"""Finding a deployed stage: its stack's outputs tell the names of everything (DESIGN section 3, Command)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from shared.runs.store import RunStore

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

DEFAULT_STAGE = "dev"
EMULATOR_CREDENTIALS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}


class DeploymentError(Exception):
    """The stage cannot be found or reached. The message is one line that says what to do."""


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """One deployed stage.

    Attributes:
        stage: such as `dev` or `prod`.
        session: whose credentials and region are used.
        endpoint: of the emulator; None on AWS.
        outputs: those of the stack, by name.
    """

    stage: str
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
        client: DynamoDBClient = self.session.client("dynamodb", endpoint_url=self.endpoint)
        return RunStore(client=client, table_name=self.output("RunsTableName"), clock=lambda: datetime.now(UTC))


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
        if endpoint is None:
            session = boto3.Session(profile_name=profile, region_name=region)
        else:  # never the user's own credentials, whatever AWS_PROFILE says
            session = boto3.Session(**EMULATOR_CREDENTIALS, region_name=region or "us-east-1")
        cloudformation = session.client("cloudformation", endpoint_url=endpoint)
        [stack] = cloudformation.describe_stacks(StackName=stack_name(stage))["Stacks"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationError":
            where = "on the laptop cloud" if endpoint else "in this account and region"
            raise DeploymentError(f"stage {stage!r}: there is no stack {stack_name(stage)} {where}") from None
        raise DeploymentError(f"stage {stage!r}: {error}") from None
    except BotoCoreError as error:
        raise DeploymentError(f"stage {stage!r}: {error}") from None
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    return Deployment(stage=stage, session=session, endpoint=endpoint, outputs=outputs)
