"""Where the database password comes from on AWS."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, cast
from urllib.parse import urlencode

from botocore.config import Config as ClientConfig
from botocore.exceptions import BotoCoreError, ClientError
from botocore.model import ServiceId
from botocore.session import Session
from botocore.signers import RequestSigner
from sqlalchemy import URL

from shared.config import Config, DatabaseAuth
from shared.domain.errors import ArcadeJobsError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager.client import SecretsManagerClient

TOKEN_LIFETIME = 900  # seconds; it is needed at the moment of connecting only
SECRETS_CLIENT = ClientConfig(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 3, "mode": "standard"})


class CredentialsError(ArcadeJobsError):
    """No password could be read. The message is one line, and holds no secret."""


def password_source(config: Config, session: Session) -> Callable[[], str] | None:
    """What to call for a password at each new connection; None: the URL has all that is needed."""
    match config.database_auth:
        case DatabaseAuth.IAM:
            return lambda: sign_token(config.database_url, session)
        case DatabaseAuth.SECRET:
            arn = cast("str", config.database_secret_arn)
            return lambda: read_secret(arn, session)
        case DatabaseAuth.URL:
            return None


def sign_token(url: URL, session: Session) -> str:
    """An IAM token for the user, host and port of a URL in normal form, signed locally, without a request.

    What `boto3.client("rds").generate_db_auth_token` creates, without loading the model of RDS
    (https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/UsingWithRDS.IAMDBAuth.Connecting.Python.html).
    The host must be the endpoint's own name: a CNAME is refused.

    Raises:
        CredentialsError: there are no AWS credentials, or no region.
    """
    region = session.get_config_variable("region")
    credentials = session.get_credentials()
    if credentials is None or region is None:
        raise CredentialsError("DATABASE_AUTH=iam: no AWS credentials or no region to sign a token with")
    signer = RequestSigner(
        ServiceId("rds-db"), region, "rds-db", "v4", credentials, session.get_component("event_emitter")
    )
    query = urlencode({"Action": "connect", "DBUser": url.username})
    address = f"https://{url.host}:{url.port}/?{query}"
    signed: str = signer.generate_presigned_url(
        {"method": "GET", "url": address, "body": {}, "headers": {}, "context": {}},
        operation_name="connect",
        expires_in=TOKEN_LIFETIME,
        region_name=region,
    )
    return signed.removeprefix("https://")


def read_secret(arn: str, session: Session) -> str:
    """The `password` of a Secrets Manager secret, as RDS writes them: a JSON object.

    Raises:
        CredentialsError: the secret cannot be read, or has no password.
    """
    client = cast("SecretsManagerClient", session.create_client("secretsmanager", config=SECRETS_CLIENT))
    try:
        text = client.get_secret_value(SecretId=arn)["SecretString"]
    except (BotoCoreError, ClientError) as error:
        raise CredentialsError(f"DATABASE_SECRET_ARN: {error}") from None
    try:
        return str(json.loads(text)["password"])
    except (ValueError, KeyError, TypeError):  # the text itself is not shown: it is the secret
        raise CredentialsError(f"DATABASE_SECRET_ARN: {arn} is not a JSON object with a password") from None
