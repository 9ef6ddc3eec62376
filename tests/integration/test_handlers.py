"""The handlers with real events, PostgreSQL and an emulated DynamoDB: what a run returns, stores, logs and raises."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from shared.app import App, build_app
from shared.config import ConfigError
from shared.domain.tick import BadEventError
from shared.observability import logger
from shared.runs.runner import RunNotSucceededError
from tests.arcade import Arcade
from tests.fakes import FakeClock, FakeContext, scheduled_event
from tests.jobs import HANDLERS, StartApp, invoke

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

EVENTS = Path(__file__).parents[2] / "events"
SECRET = "s3cr3t-password"


def event(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return loaded


@pytest.fixture
def url(arcade: Arcade) -> str:
    """A URL with a password, which must not be shown."""
    return arcade.engine.url.set(password=SECRET).render_as_string(hide_password=False)


@pytest.fixture
def app(start_app: StartApp, url: str) -> App:
    return start_app(DATABASE_URL=url)


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
    ("job", "run_id"),
    [
        ("prize-pool", "prize-pool:2026-01-12T00:00Z"),
        ("leaderboard", "leaderboard:2026-01-12T01:00Z"),
        ("cleanup", "cleanup:2026-01-12T03:00Z"),
    ],
)
def test_a_scheduled_event_is_one_run_however_often_it_is_delivered(
    app: App, clock: FakeClock, job: str, run_id: str
) -> None:
    clock.now = clock.now.replace(hour=4)
    slot = event(job.replace("-", "_"))
    first = invoke(app, job, slot)
    assert (first["run_id"], first["status"], first["trigger"]) == (run_id, "succeeded", "scheduled")
    assert (first["duplicate"], first["attempt"]) == (False, 1)
    assert invoke(app, job, slot) == first | {"duplicate": True}
    assert [run.run_id for run in app.runner.store.list_runs()] == [run_id]


def test_the_result_has_the_keys_of_the_contract(app: App) -> None:
    assert list(invoke(app, "prize-pool", event("prize_pool"))) == [
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


def test_a_manual_event_with_a_time_represents_its_slot(app: App) -> None:
    by_hand = invoke(app, "prize-pool", event("manual_back_dated"))
    assert by_hand["run_id"] == "prize-pool:2026-01-12T00:00Z"
    assert by_hand["actor"] == "operator@example.com"
    assert invoke(app, "prize-pool", event("prize_pool"))["duplicate"]


def test_a_manual_event_without_a_time_is_a_run_of_its_own(app: App) -> None:
    assert invoke(app, "prize-pool", event("manual"), FakeContext(aws_request_id="r7"))["run_id"] == "prize-pool:r7"


def test_a_dry_run_represents_no_slot_and_counts_for_no_alarm(
    app: App, arcade: Arcade, capsys: pytest.CaptureFixture[str]
) -> None:
    pool_id = arcade.add_pool("2026-01-11")
    dry = invoke(app, "prize-pool", {"time": "2026-01-12T00:00:00Z", "dry_run": True}, FakeContext(aws_request_id="r8"))
    assert (dry["run_id"], dry["dry_run"], dry["result"]["pools_finalized"]) == ("prize-pool:r8", True, 1)
    assert metrics(capsys.readouterr().out) == []
    assert arcade.pool(pool_id).status == "active"
    assert not invoke(app, "prize-pool", event("prize_pool"))["duplicate"]


def test_a_run_publishes_its_counts_under_service_job_and_stage(
    app: App, arcade: Arcade, capsys: pytest.CaptureFixture[str]
) -> None:
    arcade.add_pool("2026-01-11")
    for _ in range(2):  # a duplicate publishes nothing
        invoke(app, "prize-pool", event("prize_pool"))
    of_the_job = {
        "namespace": "ArcadeJobs",
        "dimensions": {"service": "arcade-jobs", "job": "prize-pool", "stage": "dev"},
    }
    assert metrics(capsys.readouterr().out) == [
        of_the_job | {"values": {"RunSucceeded": 1}},
        of_the_job
        | {
            "values": {
                "ItemsProcessed": 1,
                "ItemsFailed": 0,
                "PoolsWithoutWinner": 1,
                "EntriesPassedOver": 0,
                "PoolsDueAfterRun": 0,
                "PeriodsWithoutPool": 0,
            }
        },
    ]


def test_every_log_line_of_a_run_names_run_and_job(
    app: App, arcade: Arcade, capsys: pytest.CaptureFixture[str]
) -> None:
    arcade.add_pool("2026-01-11")
    invoke(app, "prize-pool", event("prize_pool"))
    logger.info("after the run")
    *of_the_run, after = [line for line in lines(capsys.readouterr().out) if "_aws" not in line]
    assert of_the_run
    assert {(line["run_id"], line["job"]) for line in of_the_run} == {("prize-pool:2026-01-12T00:00Z", "prize-pool")}
    assert "run_id" not in after


@pytest.fixture
def a_poisoned_pool(arcade: Arcade) -> Arcade:
    arcade.add_pool("2026-01-11", game="pong")
    arcade.add_pool("2026-01-11", game="snake")
    arcade.execute(
        "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.game_type = 'snake' THEN RAISE 'poisoned'; END IF; RETURN NEW; END $$;",
        "CREATE TRIGGER poison BEFORE UPDATE ON prize_pools FOR EACH ROW EXECUTE FUNCTION poison()",
    )
    return arcade


def test_a_scheduled_run_that_is_partial_raises_and_its_retry_finishes_it(
    app: App, a_poisoned_pool: Arcade, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(
        RunNotSucceededError, match=r"^run prize-pool:2026-01-12T00:00Z partial; .* poisoned \(SQLSTATE"
    ):
        invoke(app, "prize-pool", event("prize_pool"))
    [published] = metrics(capsys.readouterr().out)
    counts = {name: count for name, count in published["values"].items() if count}
    assert counts == {"RunFailed": 1, "ItemsProcessed": 1, "ItemsFailed": 1, "PoolsWithoutWinner": 1}
    [stored] = app.runner.store.list_runs()
    assert stored.counts is not None
    assert (stored.status, stored.attempt, stored.counts["errors"]) == ("partial", 1, 1)
    a_poisoned_pool.execute("DROP TRIGGER poison ON prize_pools")
    retried = invoke(app, "prize-pool", event("prize_pool"))
    assert (retried["status"], retried["attempt"], retried["result"]["pools_finalized"]) == ("succeeded", 2, 2)


@pytest.mark.usefixtures("a_poisoned_pool")
def test_a_manual_run_returns_its_result_regardless_of_its_status(app: App) -> None:
    assert invoke(app, "prize-pool", {})["status"] == "partial"


def test_a_job_works_without_its_runs_table_and_publishes_a_metric_about_it(
    start_app: StartApp,
    unreachable_dynamodb: Any,
    url: str,
    arcade: Arcade,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pool_id = arcade.add_pool("2026-01-11")
    app = start_app(DATABASE_URL=url, dynamodb=unreachable_dynamodb)
    assert invoke(app, "prize-pool", event("prize_pool"))["status"] == "succeeded"
    assert arcade.pool(pool_id).status == "finalized"
    [of_slot, of_now] = metrics(capsys.readouterr().out)
    assert (of_slot["values"], of_now["values"]["RunNotRecorded"]) == ({"RunSucceeded": 1}, 1)


@pytest.mark.parametrize(
    "bad",
    [scheduled_event("2026-01-12"), {"time": "yesterday"}, {"dry_run": "yes"}, {"tiem": "now"}, [], None],
    ids=["a time without a zone", "no time", "no boolean", "an unknown key", "a list", "null"],
)
def test_a_malformed_event_is_refused_before_anything_is_touched(app: App, arcade: Arcade, bad: Any) -> None:
    pool_id = arcade.add_pool("2026-01-11")
    with pytest.raises(BadEventError):
        invoke(app, "prize-pool", bad)
    assert arcade.pool(pool_id).status == "active"
    assert app.runner.store.list_runs() == []


def test_a_malformed_environment_is_refused_before_anything_is_touched(url: str) -> None:
    env = {"DATABASE_URL": url, "RUNS_TABLE_NAME": "runs", "JOB_SCHEDULER_TIMEZONE": "Mars/Olympus"}
    handler = replace(HANDLERS["prize-pool"], app=lambda: build_app(env))
    with pytest.raises(ConfigError, match=r"^JOB_SCHEDULER_TIMEZONE: 'Mars/Olympus' is not an IANA time zone"):
        handler(event("prize_pool"), cast("LambdaContext", FakeContext()))


def test_an_unreachable_database_fails_the_run_in_one_line_without_the_password(
    start_app: StartApp, clock: FakeClock, capsys: pytest.CaptureFixture[str]
) -> None:
    app = start_app(DATABASE_URL=f"postgresql://jobs:{SECRET}@127.0.0.1:1/arcade")
    with pytest.raises(
        RunNotSucceededError, match=r"failed; .*cannot connect to 127\.0\.0\.1 port 1: Connection refused"
    ):
        invoke(app, "prize-pool", event("prize_pool"))
    assert 45 <= sum(clock.slept) < 50  # long enough for a failover or a resume from zero, then over
    failed = invoke(app, "prize-pool", {})
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
def test_on_a_schema_that_is_behind_the_error_names_the_command_that_upgrades_it(
    app: App, arcade: Arcade, change: str, missing: str
) -> None:
    pool_id = arcade.add_pool("2026-01-11")
    arcade.execute(change)
    with pytest.raises(RunNotSucceededError) as raised:
        invoke(app, "prize-pool", event("prize_pool"))
    assert f"{missing} (SQLSTATE" in str(raised.value)
    assert str(raised.value).endswith("; run arcade-jobs db upgrade")
    assert arcade.pool(pool_id).status == "active"
