"""The operations endpoints, behind a Lambda function URL: only where `-c operationsApi=true` deployed them."""

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.session import Session

from shared.operations.api import OperationsApi
from shared.operations.deployment import Deployment

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

# Three attempts on a service that does not answer, and the answer 503, within the 30 seconds of the function.
TIMEOUTS = Config(connect_timeout=2, read_timeout=5)


def build_api(env: Mapping[str, str]) -> OperationsApi:
    """Build the endpoints from the environment of the function (`infra/stack/operations_api.py`).

    Args:
        env: `DEPLOYMENT`, the stage and the outputs of its stack as JSON; `JOBS`, the names of the jobs; `AWS_REGION`;
            on the laptop cloud `AWS_ENDPOINT_URL`.
    """
    session, region = Session(), env["AWS_REGION"]

    @lru_cache(maxsize=16)  # a client takes longer to create than to call
    def create_client(service: str, *, endpoint_url: str | None, config: Config) -> Any:
        return session.create_client(
            service, region_name=region, endpoint_url=endpoint_url, config=config.merge(TIMEOUTS)
        )

    deployment = Deployment(
        **json.loads(env["DEPLOYMENT"]),
        region=region,
        create_client=create_client,
        endpoint=env.get("AWS_ENDPOINT_URL"),
    )
    return OperationsApi(deployment, jobs=env["JOBS"].split(","), clock=lambda: datetime.now(UTC))


@cache
def get_api() -> OperationsApi:
    """The endpoints of this container."""
    return build_api(os.environ)


def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    """Answer one request; always a response, whatever the request."""
    return get_api()(event, context)
