"""A warm run with nothing to do, counted: round trips to PostgreSQL and to DynamoDB."""

import contextlib
import io
import os
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import boto3
from moto import mock_aws
from sqlalchemy import text

from infra.jobs import JOBS
from infra.local import postgres
from shared.app import App, build_app
from tests.benchmarks.database import Board, database, fill, timed
from tests.benchmarks.rows import Row, spread
from tests.fakes import FakeClock, scheduled_event
from tests.fakes.database_proxy import DatabaseProxy, proxy_to
from tests.fakes.dynamodb import create_runs_table
from tests.jobs import invoke

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


def measure(server: postgres.Server, *, quick: bool) -> list[Row]:
    return list(_trips(server, rounds=3 if quick else 9))


def _trips(server: postgres.Server, *, rounds: int) -> Iterator[Row]:
    with database(server) as engine, _runs_table() as dynamodb, proxy_to(engine.url) as proxy:
        fill(engine, boards=[Board(game="pong", day="2026-01-05", entries=1_000)])
        requests = []
        dynamodb.meta.events.register("before-send.dynamodb", lambda **_: requests.append(1))
        url = proxy.url(engine.url.database or "")
        clock = FakeClock()
        app = build_app({"DATABASE_URL": url, "RUNS_TABLE_NAME": "runs"}, dynamodb=dynamodb, clock=clock,
                        sleep=clock.sleep)  # fmt: skip
        floor = _bare(app, proxy) + 1  # and one DynamoDB call
        for job in JOBS:
            for slot in range(2):
                _run(app, clock, job.name, slot)
            before = proxy.round_trips, len(requests)
            _run(app, clock, job.name, 2)
            database_trips, calls = proxy.round_trips - before[0], len(requests) - before[1]
            seconds = [timed(partial(_run, app, clock, job.name, slot)) for slot in range(3, 3 + rounds)]
            total = database_trips + calls
            yield Row(
                measure=f"warm run of {job.name} with nothing to do",
                against="bare `SELECT 1`, as a pool sends it (check, BEGIN, COMMIT), and one DynamoDB call",
                target=f"at most 4x its {floor} round trips",
                figures=f"{total / floor:.1f}x: {database_trips} to PostgreSQL, {calls} to DynamoDB; {spread(seconds)}",
                is_met=total <= 4 * floor,
            )
        app.engine.dispose()


def _bare(app: App, proxy: DatabaseProxy) -> int:
    """The round trips of `SELECT 1` as any program with a pool of this engine sends it, its connection being there."""
    for _ in range(2):
        before = proxy.round_trips
        with app.engine.begin() as connection:
            connection.execute(text("SELECT 1"))
    return proxy.round_trips - before


def _run(app: App, clock: FakeClock, job: str, slot: int) -> None:
    clock.now = clock.now.replace(hour=3 + slot)
    with contextlib.redirect_stdout(io.StringIO()):  # its log and its metrics
        invoke(app, job, scheduled_event(f"2026-01-12T{3 + slot:02}:00:00Z"))


@contextlib.contextmanager
def _runs_table() -> Iterator["DynamoDBClient"]:
    os.environ.update(AWS_ACCESS_KEY_ID="testing", AWS_SECRET_ACCESS_KEY="testing", AWS_DEFAULT_REGION="us-east-1")
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        create_runs_table(client, "runs")
        yield client
