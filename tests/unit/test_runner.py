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
from shared.runs.record import AttemptRecord, RunRecord
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
    return Runner(
        store=store, stage="prod", clock=clock, sleep=clock.sleep, describe=lambda error: f"described: {error}"
    )


def run(runner: Runner, event: dict[str, Any], work: Work, *, request_id: str = "r-1") -> RunRecord:
    tick = Tick.from_event(event, now=NOW, request_id=request_id)
    return runner.run("prize-pool", tick, work, time_left=lambda: timedelta(minutes=5))


def fail(_: Run) -> Outcome:
    raise LookupError("the database is gone")


def raise_unreachable(*_: Any) -> None:
    raise RunStoreError("runs table: gone")


def read_log(captured: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The log lines but that of the start, and the lines of metrics."""
    lines = [json.loads(line) for line in captured.splitlines()]
    lines = [line for line in lines if line.get("message") != "run started"]
    return [line for line in lines if "_aws" not in line], [line for line in lines if "_aws" in line]


def counts(*metrics: dict[str, Any]) -> dict[str, float]:
    return {
        metric["Name"]: line[metric["Name"]][0]
        for line in metrics
        for directive in line["_aws"]["CloudWatchMetrics"]
        for metric in directive["Metrics"]
    }


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
    assert found_while_working == replace(started, attempts=(AttemptRecord.of(started),))
    assert replace(record, attempts=()) == replace(
        started,
        status=RunStatus.SUCCEEDED,
        finished_at=NOW + timedelta(seconds=7),
        result=DONE.result,
        counts={"pools": 2, "errors": 0},
    )
    assert record.attempts == (AttemptRecord.of(record),)
    assert runner.store.get(RUN_ID) == record


def test_a_run_publishes_its_counts_and_logs_its_result(runner: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    record = run(runner, SCHEDULED, lambda _: DONE)
    [logged], metrics = read_log(capsys.readouterr().out)
    assert counts(*metrics) == {"RunSucceeded": 1, "ItemsProcessed": 2, "ItemsFailed": 0}
    for line in metrics:
        assert (line["job"], line["stage"], line["run_id"]) == ("prize-pool", "prod", RUN_ID)
    assert (logged["level"], logged["message"], logged["run"]) == ("INFO", "run succeeded", record.to_json())
    assert (logged["run_id"], logged["job"]) == (RUN_ID, "prize-pool")


def test_a_log_line_after_a_run_does_not_name_it(runner: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RunNotSucceededError):
        run(runner, SCHEDULED, fail)
    capsys.readouterr()
    logger.info("after the run")
    [[after], _] = read_log(capsys.readouterr().out)
    assert not {"run_id", "job"} & after.keys()


def test_s27_a_run_that_succeeded_is_looked_at_again_and_returned_if_nothing_was_left(
    runner: Runner, clock: FakeClock, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(runner, SCHEDULED, lambda _: DONE)
    capsys.readouterr()
    clock.now += timedelta(minutes=1)
    looked: list[str] = []

    def find_nothing(run: Run) -> Outcome:
        looked.append(run.id)
        return replace(DONE, items_processed=0)

    again = run(runner, SCHEDULED, find_nothing, request_id="r-2")
    assert looked == [RUN_ID]
    assert again == replace(first, duplicate=True)
    assert runner.store.get(RUN_ID) == first
    [logged], metrics = read_log(capsys.readouterr().out)
    assert metrics == []
    assert (logged["message"], logged["attempt"]) == ("run has succeeded before; nothing left to do", 1)
    assert logged["run_id"] == RUN_ID


MORE = {"pools": 3, "errors": []}


@pytest.mark.parametrize(
    "outcome",
    [
        replace(DONE, items_processed=1),
        replace(DONE, items_processed=0, result=MORE),
        replace(DONE, items_processed=0, items_failed=1),
        replace(DONE, items_processed=0, is_complete=False),
    ],
    ids=["did something", "found more than is stored", "failed", "ran out of time"],
)
def test_s27_else_it_is_another_attempt(
    runner: Runner, clock: FakeClock, outcome: Outcome, capsys: pytest.CaptureFixture[str]
) -> None:
    run(runner, BY_HAND, lambda _: DONE)
    capsys.readouterr()
    clock.now += timedelta(minutes=1)
    again = run(runner, BY_HAND, lambda _: outcome)
    assert (again.attempt, again.duplicate, again.status) == (2, False, outcome.status)
    assert again.result == outcome.result
    assert runner.store.get(RUN_ID) == again
    assert read_log(capsys.readouterr().out)[1] != []


def test_s27_an_exception_after_a_success_is_recorded_with_what_was_done_before(
    runner: Runner, clock: FakeClock
) -> None:
    run(runner, SCHEDULED, lambda _: DONE)
    clock.now += timedelta(minutes=1)
    with pytest.raises(RunNotSucceededError, match=r"failed; first of 1 errors: described"):
        run(runner, SCHEDULED, fail)
    stored = runner.store.get(RUN_ID)
    assert stored is not None
    assert (stored.status, stored.attempt) == (RunStatus.FAILED, 2)
    assert stored.result == {"pools": 2, "errors": [{"error": "described: the database is gone"}]}


def test_s27_what_earlier_attempts_did_is_returned_though_the_end_cannot_be_recorded(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = replace(DONE, merge=lambda earlier, latest: {**latest, "pools": earlier["pools"] + latest["pools"]})
    run(runner, BY_HAND, lambda _: add)
    monkeypatch.setattr(RunStore, "finish", raise_unreachable)
    assert run(runner, BY_HAND, lambda _: add).result == {"pools": 4, "errors": []}


@pytest.mark.parametrize("seconds_ahead", [0.5, 150, 270])
def test_s27_a_scheduled_time_that_lies_ahead_is_waited_for_in_small_steps(
    runner: Runner, clock: FakeClock, seconds_ahead: float
) -> None:
    slot = datetime(2026, 1, 12, tzinfo=UTC)
    clock.now = slot - timedelta(seconds=seconds_ahead)
    began_at: list[datetime] = []

    def work(_: Run) -> Outcome:
        began_at.append(clock.now)
        return DONE

    record = run(runner, SCHEDULED, work)
    assert began_at == [record.started_at] == [slot]
    assert max(clock.slept) <= 1
    assert record.deadline_at == slot + timedelta(minutes=5)


def test_s27_no_run_begins_before_its_time_when_the_invocation_is_too_short(runner: Runner, clock: FakeClock) -> None:
    clock.now = datetime(2026, 1, 11, 23, 59, tzinfo=UTC)
    tick = Tick.from_event(SCHEDULED, now=clock.now, request_id="r-1")
    ends_at = clock.now + timedelta(seconds=30)
    with pytest.raises(RunNotSucceededError, match=rf"^run {RUN_ID} not begun: its time is 0:00:4\d ahead"):
        runner.run("prize-pool", tick, fail, time_left=lambda: ends_at - clock.now)
    assert sum(clock.slept) == pytest.approx(16, abs=1)
    assert runner.store.get(RUN_ID) is None


def test_an_exception_fails_the_run_and_is_described_in_its_result(
    runner: Runner, capsys: pytest.CaptureFixture[str]
) -> None:
    record = run(runner, BY_HAND, fail)
    assert (record.status, record.finished_at) == (RunStatus.FAILED, NOW)
    assert record.result == {"errors": [{"error": "described: the database is gone"}]}
    assert record.counts == {"errors": 1}
    assert runner.store.get(RUN_ID) == record
    [exception, result], metrics = read_log(capsys.readouterr().out)
    assert (exception["level"], exception["message"]) == ("ERROR", "run failed")
    assert "LookupError" in exception["exception"]
    assert result["message"] == "run failed"
    assert counts(*metrics) == {"RunFailed": 1}


def test_a_partial_run_counts_as_failed_with_what_it_did(runner: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(runner, BY_HAND, lambda _: PARTIAL).status is RunStatus.PARTIAL
    _, metrics = read_log(capsys.readouterr().out)
    assert counts(*metrics) == {"RunFailed": 1, "ItemsProcessed": 1, "ItemsFailed": 2}


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
    [at_its_start, at_its_end, _], metrics = read_log(capsys.readouterr().out)
    assert at_its_start["message"] == "run not recorded at its start; the job works anyway"
    assert at_its_end["message"] == "run not recorded at its end"
    for line in (at_its_start, at_its_end):
        assert line["level"] == "ERROR"
        assert line["error"].startswith("runs table: ResourceNotFoundException")
    assert counts(*metrics) == {"RunSucceeded": 1, "ItemsProcessed": 2, "ItemsFailed": 0, "RunNotRecorded": 1}


@pytest.mark.parametrize("missing", ["start", "finish"])
def test_a_run_whose_start_or_end_alone_is_not_recorded_is_counted_too(
    runner: Runner, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setattr(RunStore, missing, raise_unreachable)
    run(runner, BY_HAND, lambda _: DONE)
    _, metrics = read_log(capsys.readouterr().out)
    assert counts(*metrics)["RunNotRecorded"] == 1


def test_a_run_logs_its_start_with_what_its_lines_are_found_by(
    runner: Runner, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that is killed logs nothing else."""
    run(runner, SCHEDULED, lambda _: DONE)
    started, *_ = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (started["message"], started["attempt"]) == ("run started", 1)
    assert (started["run_id"], started["job"], started["function_request_id"]) == (RUN_ID, "prize-pool", "r-1")
