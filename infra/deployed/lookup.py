"""Finding a deployed stage by its stack."""

import boto3
from botocore.exceptions import ClientError

from infra.stage import stack_name
from shared.domain.errors import NotReachableError
from shared.operations.deployment import CLIENT_CONFIG, Deployment, aws_errors


def find_deployment(stage: str, *, session: boto3.Session, endpoint: str | None = None) -> Deployment:
    """Find a stage by its stack.

    Args:
        stage: such as `dev`.
        session: with the credentials and the region.
        endpoint: of the emulator; None: AWS.

    Raises:
        NotReachableError: no credentials, no region, or no such stack.
    """
    stack = stack_name(stage)
    if session.region_name == "":  # of which botocore makes a host name
        raise NotReachableError(f"stage {stage!r}: the region is empty; set AWS_DEFAULT_REGION, or give --region")
    with aws_errors(f"stage {stage!r}"):
        identity = session.client("sts", endpoint_url=endpoint, config=CLIENT_CONFIG).get_caller_identity()
        cloudformation = session.client("cloudformation", endpoint_url=endpoint, config=CLIENT_CONFIG)
        try:
            [found] = cloudformation.describe_stacks(StackName=stack)["Stacks"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ValidationError":
                raise
            where = f"at {endpoint}" if endpoint else f"in account {identity['Account']}, {session.region_name}"
            raise NotReachableError(f"stage {stage!r}: there is no stack {stack} {where}") from None
    return Deployment(
        stage=stage,
        stack=stack,
        account=identity["Account"],
        caller=identity["Arn"],
        region=session.region_name,
        create_client=session.client,
        endpoint=endpoint,
        outputs={output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])},
    )
