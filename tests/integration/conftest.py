"""Databases that are not upgraded yet, and the command on a deployment that is emulated in this process."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner, Result

from infra.cli.app import app
from infra.cli.options import Target
from infra.cli.terminal import out
from infra.deployed import dead_letters
from infra.local import postgres
from infra.schema.data_api import DataApi
from tests.fakes.data_api import FakeDataApi
from tests.fakes.stage import FakeStage, make_stage
from tests.integration.cluster import Cluster, create_cluster
from tests.integration.upgraded import earlier_databases
from tests.sql import new_database, rows, run

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

# The platform's schema, as the contract has it, written out: names of its own, bigserial, a unique index instead of a
# constraint, columns and a table that are none of the jobs' business.
PLATFORM = """
CREATE TABLE game_sessions (
    id uuid PRIMARY KEY, game_type text NOT NULL, player_address text NOT NULL, payment_tx_hash text NOT NULL,
    amount_paid_usdc numeric(18,6) NOT NULL, score bigint, status text NOT NULL DEFAULT 'active',
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP, completed_at timestamptz, game_duration_ms integer,
    client_version text);
CREATE UNIQUE INDEX one_session_per_payment ON game_sessions (payment_tx_hash);
CREATE TABLE leaderboard_entries (
    id bigserial PRIMARY KEY, session_id uuid NOT NULL, game_type text NOT NULL, player_address text NOT NULL,
    score bigint NOT NULL, period_type text NOT NULL, period_date date NOT NULL, rank integer,
    created_at timestamptz DEFAULT now());
CREATE TABLE prize_pools (
    id bigserial PRIMARY KEY, game_type text NOT NULL, period_type text NOT NULL, period_date date NOT NULL,
    total_amount_usdc numeric(18,6) NOT NULL DEFAULT 0, total_games integer NOT NULL DEFAULT 0,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'finalized', 'paid')),
    winner_address text, winner_score bigint, payout_tx_hash text, created_at timestamptz NOT NULL DEFAULT now(),
    finalized_at timestamptz, sponsor text);
CREATE TABLE payments (id bigserial PRIMARY KEY, tx_hash text NOT NULL);
INSERT INTO game_sessions SELECT gen_random_uuid(), 'tetris', '0x' || n, 'tx' || n, 0.01, n, 'completed',
    '2026-01-05 10:00Z', '2026-01-05 10:10Z', 600000, '1.0' FROM generate_series(1, 20) AS n;
INSERT INTO leaderboard_entries (session_id, game_type, player_address, score, period_type, period_date)
    SELECT id, game_type, player_address, score, p.* FROM game_sessions,
    (VALUES ('daily', date '2026-01-05'), ('weekly', '2026-01-05'), ('alltime', '1970-01-01')) AS p;
INSERT INTO prize_pools (game_type, period_type, period_date, total_amount_usdc, total_games)
    VALUES ('tetris', 'daily', '2026-01-05', 0.14, 20), ('tetris', 'weekly', '2026-01-05', 0.14, 20);
INSERT INTO prize_pools (game_type, period_type, period_date, status, winner_address, winner_score, finalized_at)
    VALUES ('tetris', 'daily', '2026-01-04', 'finalized', '0x7', 7, '2026-01-05Z');
"""


@pytest.fixture
def empty(server: postgres.Server) -> Iterator[Engine]:
    """An engine on an empty database."""
    with new_database(server, "empty") as engine:
        yield engine


@pytest.fixture
def platform(empty: Engine) -> Engine:
    """An engine on a database with the platform's own schema and some plays."""
    with empty.begin() as connection:
        connection.exec_driver_sql(PLATFORM)
    return empty


@pytest.fixture
def stage(dynamodb: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch) -> FakeStage:
    """A deployed stage whose queues respond at once."""
    monkeypatch.setattr(dead_letters, "LONG_POLL", 0)
    return make_stage(dynamodb)


@pytest.fixture
def command(stage: FakeStage, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command, on that deployment and a wide terminal."""
    monkeypatch.setattr(Target, "deployment", lambda _: stage.deployment)
    monkeypatch.setattr(out, "width", 200)
    return lambda *arguments: CliRunner().invoke(app, arguments)


@pytest.fixture
def cluster(server: postgres.Server) -> Iterator[Cluster]:
    with create_cluster(server) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def earlier(server: postgres.Server) -> Iterator[dict[str, str]]:
    """By revision, the name of a database of it with rows."""
    with earlier_databases(server) as names:
        yield names


@pytest.fixture
def first(server: postgres.Server, earlier: dict[str, str], request: pytest.FixtureRequest) -> Iterator[Engine]:
    """A database of the first revision, or of the one in the test's parameter."""
    with new_database(server, "upgraded", template=earlier[getattr(request, "param", "0001")]) as engine:
        yield engine


@pytest.fixture
def fake(first: Engine) -> FakeDataApi:
    """The Data API of that database."""
    return FakeDataApi(first.url)


@pytest.fixture
def api(first: Engine, fake: FakeDataApi) -> Iterator[Callable[[], DataApi]]:
    """Makes clients of it, for an admin who owns the tables."""
    jobs = f"jobs_{uuid4().hex[:12]}"
    run(first, "DO $$ BEGIN CREATE ROLE rds_iam; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$")

    def make() -> DataApi:
        return DataApi(
            client=fake.client,
            cluster=fake.cluster,
            secret=fake.secret,
            database=first.url.database or "",
            jobs_role=jobs,
            report=lambda _: None,
            sleep=lambda _: None,
        )

    yield make
    first.dispose()
    for (role,) in rows(first, f"SELECT rolname::text FROM pg_roles WHERE rolname ~ '^{jobs}'"):
        run(first, f"DROP OWNED BY {role}", f"DROP ROLE {role}")
