"""The jobs as a role that has their rights and no other, beside a platform that has no right on what is the jobs'."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import ProgrammingError

from infra.jobs import JOBS
from infra.local import postgres
from infra.schema import roles, set_aside, tables
from shared.app import App, build_app
from shared.db.errors import sqlstate
from tests.arcade import Arcade
from tests.fakes import FakeClock, scheduled_event
from tests.jobs import invoke
from tests.sql import open_database

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

DOCS = Path(__file__).parents[2] / "docs"
INSUFFICIENT_PRIVILEGE = "42501"


@pytest.fixture
def role(engine: Engine, server: postgres.Server) -> Iterator[str]:
    """A role that may log in, and nothing by itself."""
    name = f"role_{uuid4().hex[:12]}"
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {name} LOGIN PASSWORD 'a password'")
        connection.exec_driver_sql(f"REVOKE ALL ON DATABASE {engine.url.database} FROM PUBLIC")
    yield name
    engine.dispose()
    server.drop_database(engine.url.database or "")
    maintenance = open_database(server.admin_url, isolation_level="AUTOCOMMIT")
    with maintenance.connect() as connection:
        connection.exec_driver_sql(f"DROP ROLE {name}")
    maintenance.dispose()


@pytest.fixture
def as_role(engine: Engine, role: str) -> Iterator[Engine]:
    """An engine on the database as that role."""
    limited = open_database(engine.url.set(username=role, password="a password"))
    yield limited
    limited.dispose()


@pytest.fixture
def app(as_role: Engine, dynamodb: "DynamoDBClient", clock: FakeClock) -> Iterator[App]:
    env = {"DATABASE_URL": as_role.url.render_as_string(hide_password=False), "RUNS_TABLE_NAME": "runs"}
    app = build_app(env, dynamodb=dynamodb, clock=clock, sleep=clock.sleep)
    yield app
    app.engine.dispose()


def run(app: App, job: str, at: str) -> dict[str, Any]:
    result = invoke(app, job, scheduled_event(at))
    assert result["status"] == "succeeded"
    found: dict[str, Any] = result["result"]
    return found


def dry_run(app: App, job: str, at: str) -> None:
    assert invoke(app, job, {"time": at, "dry_run": True})["status"] == "succeeded"


def test_the_rights_of_the_jobs_suffice_for_all_three(engine: Engine, role: str, app: App, clock: FakeClock) -> None:
    roles.grant(engine, role)
    arcade = Arcade(engine)
    pool_id = arcade.add_pool("2026-01-11")
    for player, score in (("0xa", 10), ("0xb", 20)):
        arcade.play(player, score, "2026-01-11T10:00:00Z", periods=("daily", "alltime"))
    arcade.add_session("2026-01-11T09:00:00Z", player="0xc")
    clock.now = clock.now.replace(hour=4)

    for job in JOBS:
        dry_run(app, job.name, "2026-01-12T00:00:00Z")
    assert run(app, "prize-pool", "2026-01-12T00:00:00Z")["pools_finalized"] == 1
    assert run(app, "leaderboard", "2026-01-12T01:00:00Z")["entries_updated"] == 4
    assert run(app, "cleanup", "2026-01-12T03:00:00Z")["expired_sessions_deleted"] == 1

    assert arcade.pool(pool_id).winner_address == "0xb"
    assert arcade.ranks(period="daily") == [("0xb", 1), ("0xa", 2)]


def test_orphans_are_removed_with_the_rights_of_the_jobs(engine: Engine, role: str, app: App, clock: FakeClock) -> None:
    roles.grant(engine, role)
    clock.now = clock.now.replace(hour=4)
    Arcade(engine).add_orphan(10, "2026-01-11T10:00:00Z")
    assert run(app, "cleanup", "2026-01-12T03:00:00Z")["orphaned_entries_deleted"] == 1
    assert run(app, "leaderboard", "2026-01-12T04:00:00Z")["leaderboards_processed"] == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE prize_pools SET total_amount_usdc = 1",
        "UPDATE prize_pools SET payout_tx_hash = '0x1'",
        "DELETE FROM prize_pools",
        "TRUNCATE prize_pools",
        "INSERT INTO leaderboard_entries (score) VALUES (1)",
        "UPDATE leaderboard_entries SET score = 1",
        "UPDATE game_sessions SET score = 1",
        "INSERT INTO leaderboard_touches VALUES ('pong', 'daily', '2026-01-11')",
        "DELETE FROM leaderboards",
        "ALTER TABLE prize_pools DISABLE TRIGGER ALL",
        "SET session_replication_role = replica",
        "SELECT * FROM arcade_jobs_version",
        "SELECT * FROM arcade_jobs_set_aside",
        "CREATE TABLE mine ()",
    ],
)
def test_the_jobs_have_no_other_rights(engine: Engine, role: str, as_role: Engine, statement: str) -> None:
    roles.grant(engine, role)
    with as_role.connect() as connection, pytest.raises(ProgrammingError) as raised:
        connection.exec_driver_sql(statement)
    assert sqlstate(raised.value) == INSUFFICIENT_PRIVILEGE


def test_a_platform_writes_scores_without_a_right_on_pools_and_touches(
    engine: Engine, role: str, as_role: Engine
) -> None:
    """The triggers' functions have the rights of their owner."""
    with engine.begin() as connection:
        connection.exec_driver_sql(f"GRANT CONNECT ON DATABASE {engine.url.database} TO {role}")
        for table in ("game_sessions", "leaderboard_entries"):
            connection.exec_driver_sql(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {role}")
    owner, platform = Arcade(engine), Arcade(as_role)
    owner.add_pool("2026-01-11")
    sealed = owner.add_pool("2026-01-10")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f"UPDATE prize_pools SET status = 'finalized', finalized_at = now() WHERE id = {sealed}"
        )
    platform.play("0xa", 10, "2026-01-11T10:00:00Z")
    with pytest.raises(ProgrammingError) as refused:
        platform.play("0xa", 10, "2026-01-10T10:00:00Z")
    assert sqlstate(refused.value) == "AJ001"
    with as_role.begin() as connection:
        connection.exec_driver_sql("DELETE FROM leaderboard_entries")
    with engine.connect() as connection:
        touches = "SELECT game_type, period_date::text FROM leaderboard_touches"
        assert connection.exec_driver_sql(touches).all() == [("pong", "2026-01-11")] * 2


def test_every_table_has_its_rights_and_the_documents_state_them() -> None:
    assert {*roles.RIGHTS, set_aside.TABLE} == set(tables.metadata.tables)  # the jobs do not touch what is set aside
    written = (DOCS / "deploy.md").read_text()
    for statement in roles.grant_statements("arcade_jobs")[1:]:
        assert f"{statement};\n" in written
