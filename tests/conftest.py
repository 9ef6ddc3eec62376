"""What tests share: one real PostgreSQL for the session, a fresh, migrated database where requested, and apps.

Nothing starts before a test requests it, and the unit tests may not (tests/unit/conftest.py).
"""

import sys
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config as ClientConfig
from moto import mock_aws
from sqlalchemy import Engine

from infra import schema as migrations
from infra.demo.runs_table import MemoryRunsTable
from infra.local import emulator as aws_emulator
from infra.local import postgres
from infra.local.emulator import Emulator
from shared.app import App, build_app
from shared.db import connection as db_connection
from shared.db.connection import open_engine
from shared.db.prepared import prepare_statements
from shared.domain.periods import Calendar, load_zone
from shared.services.transactions import Transactions
from tests.arcade import Arcade
from tests.fakes import FakeClock
from tests.fakes.dynamodb import create_runs_table, one_at_a_time
from tests.jobs import StartApp
from tests.sql import new_database

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

ROOT = Path(__file__).parent.parent
EMULATOR_PYTHON = ROOT / ".emulator" / "venv" / "bin" / "python"
RUNS_TABLE = "runs"


# What coverage traces, set-up included. All other tests run the same lines, or none of the functions'; tracing them
# would double what they cost, and show nothing more.
TRACED = (
    "unit/",
    *(f"integration/test_{name}.py" for name in ("cleanup", "handlers", "leaderboard", "operations_api", "prepared")),
    "integration/test_prize_pool.py",
    *(f"integration/test_{name}.py" for name in ("db_errors", "run_store", "touches")),
    "scenarios/test_s28_purged_sessions.py",
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Trace nothing of the other tests.

    The mark `no_cover` of pytest-cov leaves their fixtures to be traced, and in a worker of xdist all of them: it stops
    the worker's own tracer, under which the one that pytest-cov began with in that process goes on.
    """
    tracer, tracer_of_threads = sys.gettrace(), threading.gettrace()
    is_coverage = type(tracer).__module__.startswith("coverage")  # a debugger is let alone
    if not is_coverage or item.path.relative_to(ROOT / "tests").as_posix().startswith(TRACED):
        return (yield)
    sys.settrace(None)
    threading.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracer)
        threading.settrace(tracer_of_threads)


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Server]:
    with postgres.serve(ROOT / ".local" / "postgres-tests", settings={"fsync": "off"}) as server:
        yield server


@pytest.fixture(scope="session")
def template(server: postgres.Server) -> Iterator[str]:
    """The name of a migrated database to copy: 0.1 s instead of a migration for each test."""
    with new_database(server, "template") as engine:
        migrations.upgrade(engine)
        engine.dispose()  # a database that is connected to cannot be copied
        yield str(engine.url.database)


@pytest.fixture
def engine(server: postgres.Server, template: str) -> Iterator[Engine]:
    """An engine on a fresh, migrated database."""
    with new_database(server, "test", template=template) as engine:
        yield engine


@pytest.fixture(scope="session")
def aws() -> boto3.Session:
    """Makes clients: it keeps the services' descriptions, which take longer to read than most tests."""
    return boto3.Session("testing", "testing", region_name="us-east-1")


@pytest.fixture
def runs_table() -> MemoryRunsTable:
    """The runs table in memory, a hundred times faster than moto: `tests/integration/test_run_store.py` holds both."""
    return MemoryRunsTable()


@pytest.fixture
def dynamodb(aws: boto3.Session, monkeypatch: pytest.MonkeyPatch) -> Iterator["DynamoDBClient"]:
    """A DynamoDB client on an emulation in this process, with the runs table `runs`."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        client = aws.client("dynamodb")
        create_runs_table(client, RUNS_TABLE)
        yield client


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """The AWS emulator of the laptop cloud, for what other processes have to reach, or moto alone cannot prove."""
    folder = tmp_path_factory.mktemp("emulator")
    yield aws_emulator.start(folder, python=EMULATOR_PYTHON, port=0)
    aws_emulator.stop(folder)


@pytest.fixture
def emulated_dynamodb(aws: boto3.Session, emulator: Emulator) -> Iterator["DynamoDBClient"]:
    """A DynamoDB client on the emulator, with the runs table `runs`."""
    client = aws.client("dynamodb", endpoint_url=emulator.endpoint)
    create_runs_table(client, RUNS_TABLE)
    yield client
    client.delete_table(TableName=RUNS_TABLE)


@pytest.fixture
def unreachable_dynamodb(aws: boto3.Session) -> "DynamoDBClient":
    """A DynamoDB client of nowhere."""
    config = ClientConfig(connect_timeout=1, retries={"total_max_attempts": 1})
    return aws.client("dynamodb", endpoint_url="http://127.0.0.1:1", config=config)


@pytest.fixture
def arcade(engine: Engine) -> Arcade:
    return Arcade(engine)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def transactions(engine: Engine, clock: FakeClock) -> Iterator[Transactions]:
    """Transactions as the functions have them: one connection, with the limits of a session."""
    jobs_engine = open_engine(engine.url.render_as_string(hide_password=False))
    prepare_statements(jobs_engine)
    yield Transactions(engine=jobs_engine, sleep=clock.sleep, chance=lambda: 1.0)
    jobs_engine.dispose()


@pytest.fixture
def start_app(
    engine: Engine, runs_table: MemoryRunsTable, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[StartApp]:
    """Builds apps, as a cold start does; settings of the session and of the environment can be given by name.

    A zone that is given is recorded in the database too, unless `records_zone` is false.
    """
    client = one_at_a_time(runs_table.client)
    started: list[App] = []

    def start(
        *,
        session: dict[str, str] | None = None,
        dynamodb: "DynamoDBClient" = client,
        records_zone: bool = True,
        **env: str,
    ) -> App:
        for name, value in (session or {}).items():
            monkeypatch.setitem(db_connection.SESSION, name, value)
        if records_zone and "JOB_SCHEDULER_TIMEZONE" in env:
            Arcade(engine, calendar=Calendar.of(load_zone(env["JOB_SCHEDULER_TIMEZONE"]))).record_calendar()
        url = engine.url.render_as_string(hide_password=False)
        variables = {"DATABASE_URL": url, "RUNS_TABLE_NAME": RUNS_TABLE, **env}
        app = build_app(variables, dynamodb=dynamodb, clock=clock, sleep=clock.sleep)
        started.append(app)
        return app

    yield start
    for app in started:
        app.engine.dispose()


@pytest.fixture
def app(start_app: StartApp) -> App:
    """A warm container: one app, one database connection."""
    return start_app()
