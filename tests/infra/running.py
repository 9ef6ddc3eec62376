"""Jobs run as the functions run them, on a real database and a runs table in process."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import boto3
from moto import mock_aws

from infra.demo.runs_table import create_runs_table
from infra.jobs import JOBS
from shared.app import App, build_app
from tests.fakes import FakeClock, FakeContext

RUNS_TABLE = "runs"
HANDLERS = {job.name: job.load_handler() for job in JOBS}


@contextmanager
def dynamodb() -> Iterator[Any]:
    """A client of a DynamoDB that has the runs table."""
    with mock_aws():
        client = boto3.client(
            "dynamodb", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
        )
        create_runs_table(client, RUNS_TABLE)
        yield client


@contextmanager
def app(environment: Mapping[str, str], client: Any) -> Iterator[App]:
    clock = FakeClock()
    built = build_app({"RUNS_TABLE_NAME": RUNS_TABLE, **environment}, dynamodb=client, clock=clock, sleep=clock.sleep)
    yield built
    built.engine.dispose()


def invoke(built: App, job: str, event: dict[str, Any]) -> dict[str, Any]:
    return replace(HANDLERS[job], app=lambda: built)(event, FakeContext())
