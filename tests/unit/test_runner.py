"""The order of every run, with the real store on DynamoDB's emulation in this process (docs/design.md, Runs)."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from shared.domain.run import Outcome, Run, RunStatus
from shared.domain.tick import Tick
from shared.metrics import Metric
from shared.observability import logger
from shared.runs.record import RunRecord
from shared.runs.runner import Runner, RunNotSucceededError
from shared.runs.store import RunStore, RunStoreError
from tests.fakes import FakeClock, scheduled_event

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

RUN_ID = "prize-pool:2026-01-12T00:00Z"
NOW = datetime(2026, 1, 12, 0, 0, 30, tzinfo=UTC)
SCHEDULED = scheduled_event("2026-01-12T00:00:00Z")
BY_HAND = {"time": "2026-01-12T00:00:00Z", "actor": "ada", "reason": "missed"}
DONE = Outcome(result={"pools": 2, "errors": []}, items_processed=2, items_failed=0, metrics={Metric.ITEMS_FAILED: 0})
PARTIAL = Outcome(result={"pools": 1, "errors": [{"error": "no"}, {"error": "nor"}]}, items_processed=1, items_failed=2)
Work = Callable[[Run], Outcome]


@pytest.fixture
def runner(dynamodb: "DynamoDBClient", clock: FakeClock) -> Runner:
    store = RunStore(client=dynamodb, table_name="runs", clock=clock)
    return Runner(store=store, stage="prod", clock=clock, describe=lambda error: f"described: {error}")


def run(runner: Runner, event: dict[str, Any], work: Work, *, request_id: str = "r-1") -> RunRecord:
    tick = Tick.from_event(event, now=NOW, request_id=request_id)
    return runner.run("prize-pool", tick, work, time_left=lambda: timedelta(minutes=5))


def fail(_: Run) -> Outcome:
    raise LookupError("the database is gone")


def fail_if_called(_: Run) -> Outcome:
    raise AssertionError("the job worked")


def read_log(captured: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The log lines, and the lines of metrics."""
    lines = [json.loads(line) for line in captured.splitlines()]
    return [line for line in lines if "_aws" not in line], [line for line in lines if "_aws" in line]


def counts(metrics: dict[str, Any]) -> dict[str, float]:
    [directive] = metrics["_aws"]["CloudWatchMetrics"]
    return {metric["Name"]: metrics[metric["Name"]][0] for metric in directive["Metrics"]}


def test_a_run_is_recorded_from_its_start_to_its_end(runner: Runner, clock: FakeClock) -> None:
    seen: list[tuple[Run, RunRecord | None]] = []

    def work(run: Run) -> Outcome:
        seen.append((run, runner.store.get(run.id)))
        clock.now += timedelta(seconds=7)
        return DONE

    record = run(runner, BY_HAND, work)
    started = RunRecord(
        run_id=RUN_ID,
        job="prize-pool",
        trigger="manual",
        scheduled_at=datetime(2026, 1, 12, tzinfo=UTC),
        status=RunStatus.RUNNING,
        attempt=1,
        started_at=NOW,
        deadline_at=NOW + timedelta(minutes=5),
        actor="ada",
        reason="missed",
    )
    [(received, found_while_working)] = seen
    assert (received.id, received.tick.actor, received.time_left()) == (RUN_ID, "ada", timedelta(minutes=5))
    assert found_while_working == started
    assert record == replace(
        started,
        status=RunStatus.SUCCEEDED,
        finished_at=NOW + timedelta(seconds=7),
        result=DONE.result,
        counts={"pools": 2, "errors": 0},
    )
    assert runner.store.get(RUN_ID) == record


def test_a_run_publishes_its_counts_and_logs_its_result(runner: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    record = run(runner, SCHEDULED, lambda _: DONE)
    [logged], [metrics] = read_log(capsys.readouterr().out)
    assert counts(metrics) == {"RunSucceeded": 1, "ItemsProcessed": 2, "ItemsFailed": 0}
    assert (metrics["job"], metrics["stage"], metrics["run_id"]) == ("prize-pool", "prod", RUN_ID)
    assert (logged["level"], logged["message"], logged["run"]) == ("INFO", "run succeeded", record.to_json())
    assert (logged["run_id"], logged["job"]) == (RUN_ID, "prize-pool")


def test_a_log_line_after_a_run_does_not_name_it(runner: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RunNotSucceededError):
        run(runner, SCHEDULED, fail)
    capsys.readouterr()
    logger.info("after the run")
    [[after], _] = read_log(capsys.readouterr().out)
    assert not {"run_id", "job"} & after.keys()


def test_a_run_that_succeeded_before_is_returned_and_not_done_again(
    runner: Runner, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(runner, SCHEDULED, lambda _: DONE)
    capsys.readouterr()
    again = run(runner, SCHEDULED, fail_if_called, request_id="r-2")
    assert again == replace(first, duplicate=True)
    [logged], metrics = read_log(capsys.readouterr().out)
    assert metrics == []
    assert (logged["message"], logged["attempt"]) == ("run has succeeded before; nothing done", 1)
    assert logged["run_id"] == RUN_ID


def test_an_exception_fails_the_run_and_is_described_in_its_result(
    runner: Runner, capsys: pytest.CaptureFixture[str]
) -> None:
    record = run(runner, BY_HAND, fail)
    assert (record.status, record.finished_at) == (RunStatus.FAILED, NOW)
    assert record.result == {"errors": [{"error": "described: the database is gone"}]}
    assert record.counts == {"errors": 1}
    assert runner.store.get(RUN_ID) == record
    [exception, result], [metrics] = read_log(capsys.readouterr().out)
    assert (exception["level"], exception["message"]) == ("ERROR", "run failed")
    assert "LookupError" in exception["exception"]
    assert result["message"] == "run failed"
    assert counts(metrics) == {"RunFailed": 1}


def test_a_partial_run_counts_as_failed_with_what_it_did(runner: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(runner, BY_HAND, lambda _: PARTIAL).status is RunStatus.PARTIAL
    _, [metrics] = read_log(capsys.readouterr().out)
    assert counts(metrics) == {"RunFailed": 1, "ItemsProcessed": 1, "ItemsFailed": 2}


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (fail, "failed; first of 1 errors: described: the database is gone"),
        (lambda _: PARTIAL, "partial; first of 2 errors: no"),
        (lambda _: replace(DONE, is_complete=False), "incomplete"),
        (lambda _: replace(DONE, result={}, is_complete=False), "incomplete"),
    ],
    ids=["failed", "partial", "incomplete", "incomplete without a result"],
)
def test_a_scheduled_run_that_did_not_succeed_raises_after_it_was_recorded(
    runner: Runner, work: Work, message: str
) -> None:
    with pytest.raises(RunNotSucceededError) as raised:
        run(runner, SCHEDULED, work)
    assert str(raised.value) == f"run {RUN_ID} {message}"
    stored = runner.store.get(RUN_ID)
    assert stored is not None
    assert str(stored.status) == message.split(";", maxsplit=1)[0]


def test_a_dry_run_is_recorded_and_publishes_nothing(runner: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    record = run(runner, {"dry_run": True}, lambda _: DONE)
    assert (record.run_id, record.dry_run) == ("prize-pool:r-1", True)
    assert runner.store.get("prize-pool:r-1") == record
    [logged], metrics = read_log(capsys.readouterr().out)
    assert (logged["message"], metrics) == ("run succeeded", [])


def test_a_job_works_without_its_runs_table_and_a_metric_counts_that(
    runner: Runner, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = replace(runner, store=replace(runner.store, table_name="missing"))
    record = run(elsewhere, SCHEDULED, lambda _: DONE)
    assert (record.status, record.attempt, record.result) == (RunStatus.SUCCEEDED, 0, DONE.result)
    [at_its_start, at_its_end, _], [metrics] = read_log(capsys.readouterr().out)
    assert at_its_start["message"] == "run not recorded at its start; the job works anyway"
    assert at_its_end["message"] == "run not recorded at its end"
    for line in (at_its_start, at_its_end):
        assert line["level"] == "ERROR"
        assert line["error"].startswith("runs table: ResourceNotFoundException")
    assert counts(metrics) == {"RunSucceeded": 1, "ItemsProcessed": 2, "ItemsFailed": 0, "RunNotRecorded": 1}


@pytest.mark.parametrize("missing", ["start", "finish"])
def test_a_run_whose_start_or_end_alone_is_not_recorded_is_counted_too(
    runner: Runner, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    def fail_to_reach(*_: Any) -> None:
        raise RunStoreError("runs table: gone")

    monkeypatch.setattr(RunStore, missing, fail_to_reach)
    run(runner, BY_HAND, lambda _: DONE)
    _, [metrics] = read_log(capsys.readouterr().out)
    assert counts(metrics)["RunNotRecorded"] == 1
