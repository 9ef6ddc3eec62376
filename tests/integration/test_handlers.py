"""The handlers with real events, PostgreSQL and an emulated DynamoDB: what a run returns, stores, logs and raises."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config as ClientConfig
from sqlalchemy import text

from functions import cleanup, leaderboard, prize_pool
from shared.app import App, JobHandler, build_app
from shared.config import ConfigError
from shared.domain.tick import BadEventError
from shared.observability import logger
from shared.runs.runner import RunNotSucceededError
from tests.arcade import Arcade
from tests.fakes import FakeClock, FakeContext, scheduled_event

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

EVENTS = Path(__file__).parents[2] / "events"
SECRET = "s3cr3t-password"
Invoke = Callable[..., dict[str, Any]]


def event(name: str) -> dict[str, Any]:
    return json.loads((EVENTS / f"{name}.json").read_text())


@pytest.fixture
def env(arcade: Arcade) -> dict[str, str]:
    return {
        "DATABASE_URL": arcade.engine.url.set(password=SECRET).render_as_string(hide_password=False),
        "RUNS_TABLE_NAME": "runs",
    }


@pytest.fixture
def app(env: Mapping[str, str], dynamodb: "DynamoDBClient", clock: FakeClock) -> Iterator[App]:
    app = build_app(env, dynamodb=dynamodb, clock=clock, sleep=clock.sleep)
    yield app
    app.engine.dispose()


@pytest.fixture
def invoke(app: App) -> Invoke:
    def call(handler: JobHandler, event: Any, *, request_id: str = "request-1", app: App = app) -> dict[str, Any]:
        return replace(handler, app=lambda: app)(event, FakeContext(aws_request_id=request_id))

    return call


def lines(captured: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in captured.splitlines()]


def metrics(captured: str) -> list[dict[str, Any]]:
    """What CloudWatch makes of the output: dimensions and values of each EMF line."""
    found = []
    for line in lines(captured):
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", []):
            names = [metric["Name"] for metric in directive["Metrics"]]
            found.append(
                {
                    "namespace": directive["Namespace"],
                    "dimensions": {name: line[name] for name in directive["Dimensions"][0]},
                    "values": {name: line[name][0] for name in names},
                }
            )
    return found


@pytest.mark.parametrize(
    ("handler", "name", "run_id"),
    [
        (prize_pool.handler, "prize_pool", "prize-pool:2026-01-12T00:00Z"),
        (leaderboard.handler, "leaderboard", "leaderboard:2026-01-12T01:00Z"),
        (cleanup.handler, "cleanup", "cleanup:2026-01-12T03:00Z"),
    ],
)
def test_a_scheduled_event_is_one_run_however_often_it_is_delivered(
    invoke: Invoke, app: App, clock: FakeClock, handler: JobHandler, name: str, run_id: str
) -> None:
    clock.now = clock.now.replace(hour=4)
    first = invoke(handler, event(name))
    assert (first["run_id"], first["status"], first["trigger"]) == (run_id, "succeeded", "scheduled")
    assert (first["duplicate"], first["attempt"]) == (False, 1)
    assert invoke(handler, event(name), request_id="request-2") == first | {"duplicate": True}
    assert [run.run_id for run in app.runner.store.list_runs()] == [run_id]


def test_the_result_has_the_keys_of_the_contract(invoke: Invoke) -> None:
    assert list(invoke(prize_pool.handler, event("prize_pool"))) == [
        "run_id",
        "job",
        "trigger",
        "scheduled_at",
        "status",
        "duplicate",
        "attempt",
        "started_at",
        "finished_at",
        "duration_ms",
        "result",
    ]


def test_a_manual_event_with_a_time_stands_for_its_slot(invoke: Invoke) -> None:
    by_hand = invoke(prize_pool.handler, event("manual_back_dated"))
    assert by_hand["run_id"] == "prize-pool:2026-01-12T00:00Z"
    assert by_hand["actor"] == "operator@example.com"
    assert invoke(prize_pool.handler, event("prize_pool"))["duplicate"]


def test_a_manual_event_without_a_time_is_a_run_of_its_own(invoke: Invoke) -> None:
    assert invoke(prize_pool.handler, event("manual"), request_id="r7")["run_id"] == "prize-pool:r7"


def test_a_dry_run_stands_for_no_slot_and_counts_for_no_alarm(
    invoke: Invoke, arcade: Arcade, capsys: pytest.CaptureFixture[str]
) -> None:
    pool_id = arcade.add_pool("2026-01-11")
    dry = invoke(prize_pool.handler, {"time": "2026-01-12T00:00:00Z", "dry_run": True}, request_id="r8")
    assert (dry["run_id"], dry["dry_run"], dry["result"]["pools_finalized"]) == ("prize-pool:r8", True, 1)
    assert metrics(capsys.readouterr().out) == []
    assert arcade.pool(pool_id).status == "active"
    assert not invoke(prize_pool.handler, event("prize_pool"))["duplicate"]


def test_a_run_publishes_its_counts_under_service_job_and_stage(
    invoke: Invoke, arcade: Arcade, capsys: pytest.CaptureFixture[str]
) -> None:
    arcade.add_pool("2026-01-11")
    for _ in range(2):  # a duplicate publishes nothing
        invoke(prize_pool.handler, event("prize_pool"))
    assert metrics(capsys.readouterr().out) == [
        {
            "namespace": "ArcadeJobs",
            "dimensions": {"service": "arcade-jobs", "job": "prize-pool", "stage": "dev"},
            "values": {"RunSucceeded": 1, "ItemsProcessed": 1, "ItemsFailed": 0, "PoolsWithoutWinner": 1},
        }
    ]


def test_every_log_line_of_a_run_names_run_and_job(
    invoke: Invoke, arcade: Arcade, capsys: pytest.CaptureFixture[str]
) -> None:
    arcade.add_pool("2026-01-11")
    invoke(prize_pool.handler, event("prize_pool"))
    logger.info("after the run")
    *of_the_run, after = [line for line in lines(capsys.readouterr().out) if "_aws" not in line]
    assert of_the_run
    assert {(line["run_id"], line["job"]) for line in of_the_run} == {("prize-pool:2026-01-12T00:00Z", "prize-pool")}
    assert "run_id" not in after


@pytest.fixture
def a_poisoned_pool(arcade: Arcade) -> Arcade:
    arcade.add_pool("2026-01-11", game="pong")
    arcade.add_pool("2026-01-11", game="snake")
    with arcade.engine.begin() as connection:
        connection.execute(
            text(
                "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                " IF NEW.game_type = 'snake' THEN RAISE 'poisoned'; END IF; RETURN NEW; END $$;"
            )
        )
        connection.execute(
            text("CREATE TRIGGER poison BEFORE UPDATE ON prize_pools FOR EACH ROW EXECUTE FUNCTION poison()")
        )
    return arcade


def test_a_scheduled_run_that_is_partial_raises_and_its_retry_finishes_it(
    invoke: Invoke, app: App, a_poisoned_pool: Arcade, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(
        RunNotSucceededError, match=r"^run prize-pool:2026-01-12T00:00Z partial; .* poisoned \(SQLSTATE"
    ):
        invoke(prize_pool.handler, event("prize_pool"))
    [published] = metrics(capsys.readouterr().out)
    assert published["values"] == {"RunFailed": 1, "ItemsProcessed": 1, "ItemsFailed": 1, "PoolsWithoutWinner": 1}
    [stored] = app.runner.store.list_runs()
    assert (stored.status, stored.attempt, stored.counts["errors"]) == ("partial", 1, 1)
    with a_poisoned_pool.engine.begin() as connection:
        connection.execute(text("DROP TRIGGER poison ON prize_pools"))
    retried = invoke(prize_pool.handler, event("prize_pool"))
    assert (retried["status"], retried["attempt"], retried["result"]["pools_finalized"]) == ("succeeded", 2, 2)


@pytest.mark.usefixtures("a_poisoned_pool")
def test_a_manual_run_returns_its_result_whatever_the_status(invoke: Invoke) -> None:
    assert invoke(prize_pool.handler, {})["status"] == "partial"


def test_a_job_works_without_its_runs_table_and_says_so_in_a_metric(
    env: Mapping[str, str], invoke: Invoke, arcade: Arcade, clock: FakeClock, capsys: pytest.CaptureFixture[str]
) -> None:
    pool_id = arcade.add_pool("2026-01-11")
    nowhere = boto3.client(
        "dynamodb",
        region_name="us-east-1",
        endpoint_url="http://127.0.0.1:1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=ClientConfig(connect_timeout=1, retries={"total_max_attempts": 1}),
    )
    app = build_app(env, dynamodb=nowhere, clock=clock, sleep=clock.sleep)
    assert invoke(prize_pool.handler, event("prize_pool"), app=app)["status"] == "succeeded"
    app.engine.dispose()
    assert arcade.pool(pool_id).status == "finalized"
    [published] = metrics(capsys.readouterr().out)
    assert (published["values"]["RunSucceeded"], published["values"]["RunNotRecorded"]) == (1, 1)


@pytest.mark.parametrize(
    "bad",
    [scheduled_event("2026-01-12"), {"time": "yesterday"}, {"dry_run": "yes"}, {"tiem": "now"}, [], None],
    ids=["a time without a zone", "no time", "no boolean", "an unknown key", "a list", "null"],
)
def test_a_malformed_event_is_refused_before_anything_is_touched(
    invoke: Invoke, app: App, arcade: Arcade, bad: Any
) -> None:
    pool_id = arcade.add_pool("2026-01-11")
    with pytest.raises(BadEventError):
        invoke(prize_pool.handler, bad)
    assert arcade.pool(pool_id).status == "active"
    assert app.runner.store.list_runs() == []


def test_a_malformed_environment_is_refused_before_anything_is_touched(env: Mapping[str, str]) -> None:
    handler = replace(prize_pool.handler, app=lambda: build_app({**env, "JOB_SCHEDULER_TIMEZONE": "Mars/Olympus"}))
    with pytest.raises(ConfigError, match=r"^JOB_SCHEDULER_TIMEZONE: 'Mars/Olympus' is not an IANA time zone"):
        handler(event("prize_pool"), FakeContext())


def test_an_unreachable_database_fails_the_run_in_one_line_without_the_password(
    dynamodb: "DynamoDBClient", invoke: Invoke, clock: FakeClock, capsys: pytest.CaptureFixture[str]
) -> None:
    env = {"DATABASE_URL": f"postgresql://jobs:{SECRET}@127.0.0.1:1/arcade", "RUNS_TABLE_NAME": "runs"}
    app = build_app(env, dynamodb=dynamodb, clock=clock, sleep=clock.sleep)
    with pytest.raises(
        RunNotSucceededError, match=r"failed; .*Can't create a connection to host 127\.0\.0\.1 and port 1"
    ):
        invoke(prize_pool.handler, event("prize_pool"), app=app)
    assert 45 <= sum(clock.slept) < 50  # a failover and a resume from zero are waited for, but not for ever
    failed = invoke(prize_pool.handler, {}, app=app)
    assert failed["status"] == "failed"
    assert "\n" not in failed["result"]["errors"][0]["error"]
    assert SECRET not in capsys.readouterr().out
    assert SECRET not in json.dumps(failed)


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ("ALTER TABLE game_sessions DROP COLUMN completed_at", "column session.completed_at does not exist"),
        ("DROP TABLE game_sessions", 'relation "game_sessions" does not exist'),
    ],
)
def test_on_a_schema_that_is_behind_the_error_says_how_to_upgrade_it(
    invoke: Invoke, arcade: Arcade, change: str, missing: str
) -> None:
    pool_id = arcade.add_pool("2026-01-11")
    with arcade.engine.begin() as connection:
        connection.execute(text(change))
    with pytest.raises(RunNotSucceededError) as raised:
        invoke(prize_pool.handler, event("prize_pool"))
    assert f"{missing} (SQLSTATE" in str(raised.value)
    assert str(raised.value).endswith("; run arcade-jobs db upgrade")
    assert arcade.pool(pool_id).status == "active"
