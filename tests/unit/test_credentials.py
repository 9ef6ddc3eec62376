"""Passwords for the database: IAM tokens, and secrets that rotate."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import boto3
import pytest
from botocore.session import Session
from moto import mock_aws

from shared.config import Config
from shared.credentials import CredentialsError, password_source, sign_token
from shared.database_url import parse_database_url

HOST = "c.cluster-x.eu-west-1.rds.amazonaws.com"
URL = f"postgresql+pg8000://jobs@{HOST}:5433/arcade"
PARSED = parse_database_url(URL)


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "a/session+token=",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        yield Session()


def config(**env: str) -> Config:
    return Config.from_env({"DATABASE_URL": URL, "RUNS_TABLE_NAME": "runs", **env})


def test_a_token_is_what_the_sdk_would_sign(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    from_the_sdk = boto3.client("rds").generate_db_auth_token(HOST, 5433, "jobs")
    ours = sign_token(PARSED, session)
    when = "X-Amz-Date="
    assert ours.split(when)[0] == from_the_sdk.split(when)[0]
    assert ours.count("X-Amz-Signature=") == 1
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: datetime(2026, 1, 12, tzinfo=UTC))
    assert sign_token(PARSED, session) == boto3.client("rds").generate_db_auth_token(HOST, 5433, "jobs")


def test_iam_signs_for_each_new_connection(session: Session) -> None:
    source = password_source(config(DATABASE_AUTH="iam"), session)
    assert source is not None
    assert source().startswith(f"{HOST}:5433/?Action=connect&DBUser=jobs&X-Amz-Algorithm=AWS4-HMAC-SHA256")


def test_a_secret_is_read_anew_after_it_rotated(session: Session) -> None:
    secrets = boto3.client("secretsmanager")
    arn = secrets.create_secret(Name="arcade", SecretString=json.dumps({"password": "old"}))["ARN"]
    source = password_source(config(DATABASE_AUTH="secret", DATABASE_SECRET_ARN=arn), session)
    assert source is not None
    assert source() == "old"
    secrets.put_secret_value(SecretId=arn, SecretString=json.dumps({"password": "new"}))
    assert source() == "new"


@pytest.mark.parametrize("text", ["plain-s3cr3t", '["s3cr3t"]', '{"pass": "s3cr3t"}'])
def test_a_secret_without_a_password_is_refused_and_not_shown(session: Session, text: str) -> None:
    arn = boto3.client("secretsmanager").create_secret(Name="arcade", SecretString=text)["ARN"]
    source = password_source(config(DATABASE_AUTH="secret", DATABASE_SECRET_ARN=arn), session)
    assert source is not None
    with pytest.raises(CredentialsError, match="is not a JSON object with a password") as refused:
        source()
    assert "s3cr3t" not in str(refused.value)


def test_a_secret_that_cannot_be_read_is_named(session: Session) -> None:
    arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:gone"
    source = password_source(config(DATABASE_AUTH="secret", DATABASE_SECRET_ARN=arn), session)
    assert source is not None
    with pytest.raises(CredentialsError, match=r"^DATABASE_SECRET_ARN: .*ResourceNotFoundException"):
        source()


def test_with_url_there_is_nothing_to_fetch(session: Session) -> None:
    assert password_source(config(), session) is None
