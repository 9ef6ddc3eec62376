"""The contract of the runs table, held by moto in this process and by the emulator of the laptop cloud."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config

from shared.domain.run import RunStatus
from shared.runs.record import RunRecord
from shared.runs.store import KEPT_FOR, RunStore, RunStoreError
from tests.fakes import FakeClock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

AT = datetime(2026, 1, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(now=AT + timedelta(seconds=30))


@pytest.fixture(
    params=["dynamodb", pytest.param("emulated_dynamodb", marks=pytest.mark.xdist_group("emulator"))],
    ids=["moto", "emulator"],
)
def store(request: pytest.FixtureRequest, clock: FakeClock) -> RunStore:
    """One suite for both: what the store requests of DynamoDB must not depend on who emulates it."""
    client: DynamoDBClient = request.getfixturevalue(request.param)
    return RunStore(client=client, table_name="runs", clock=clock)


def a_run(
    name: str = "prize-pool:2026-01-12T00:00Z", *, started_at: datetime = AT, job: str = "prize-pool"
) -> RunRecord:
    return RunRecord(
        run_id=name,
        job=job,
        trigger="scheduled",
        scheduled_at=AT,
        status=RunStatus.RUNNING,
        attempt=0,
        started_at=started_at,
        deadline_at=started_at + timedelta(minutes=5),
    )


def ended(record: RunRecord, status: RunStatus, *, n: int = 1) -> RunRecord:
    finished_at = record.started_at + timedelta(seconds=2)
    return replace(record, status=status, finished_at=finished_at, result={"n": n, "errors": []}, counts={"n": n})


def test_a_run_is_stored_with_all_its_attributes(store: RunStore) -> None:
    done = ended(store.start(replace(a_run(), actor="me", reason="why", dry_run=True)), RunStatus.SUCCEEDED)
    store.finish(done)
    assert store.get(done.run_id) == done
    assert done.duration_ms == 2000


def test_each_start_is_another_attempt(store: RunStore) -> None:
    assert [store.start(a_run()).attempt for _ in range(3)] == [1, 2, 3]


def test_a_run_that_succeeded_is_final(store: RunStore) -> None:
    done = ended(store.start(a_run()), RunStatus.SUCCEEDED)
    store.finish(done)
    assert store.start(a_run()) == replace(done, duplicate=True)
    store.finish(ended(replace(done, attempt=2), RunStatus.FAILED, n=9))
    assert store.get(done.run_id) == done


@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.PARTIAL, RunStatus.INCOMPLETE])
def test_a_run_that_did_not_succeed_is_opened_again(store: RunStore, status: RunStatus) -> None:
    store.finish(ended(store.start(a_run()), status))
    again = store.start(a_run(started_at=AT + timedelta(minutes=1)))
    assert (again.attempt, again.duplicate) == (2, False)
    stored = store.get(again.run_id)
    assert stored is not None
    assert (stored.status, stored.result, stored.finished_at) == (RunStatus.RUNNING, None, None)


def test_an_old_attempt_that_fails_late_leaves_the_newer_one_alone(store: RunStore) -> None:
    old = store.start(a_run())
    new = store.start(a_run())
    store.finish(ended(old, RunStatus.FAILED))
    assert [run.status for run in store.list_running()] == [RunStatus.RUNNING]
    store.finish(ended(new, RunStatus.PARTIAL))
    stored = store.get(new.run_id)
    assert stored is not None
    assert (stored.status, stored.attempt) == (RunStatus.PARTIAL, 2)


def test_an_old_attempt_that_succeeds_late_counts(store: RunStore) -> None:
    old = store.start(a_run())
    store.finish(ended(store.start(a_run()), RunStatus.FAILED))
    store.finish(ended(old, RunStatus.SUCCEEDED))
    assert store.start(a_run()).duplicate


def test_the_end_is_recorded_even_if_the_start_was_not(store: RunStore) -> None:
    store.finish(ended(a_run(), RunStatus.SUCCEEDED))
    assert store.start(a_run()).duplicate
    assert len(store.list_runs()) == 1


def test_lists_are_of_one_job_or_of_all_and_the_latest_first(store: RunStore) -> None:
    for minute in range(6):
        job = ("leaderboard", "cleanup")[minute % 2]
        store.start(a_run(f"{job}:{minute}", started_at=AT + timedelta(minutes=minute), job=job))
    assert [run.run_id for run in store.list_runs(limit=3)] == ["cleanup:5", "leaderboard:4", "cleanup:3"]
    assert [run.run_id for run in store.list_runs("cleanup")] == ["cleanup:5", "cleanup:3", "cleanup:1"]
    assert store.list_runs("prize-pool") == []


def test_only_what_runs_is_listed_as_running(store: RunStore) -> None:
    store.finish(ended(store.start(a_run("a")), RunStatus.SUCCEEDED))
    store.start(a_run("b"))
    assert [run.run_id for run in store.list_running()] == ["b"]


def test_a_run_past_its_deadline_reads_abandoned(store: RunStore, clock: FakeClock) -> None:
    record = store.start(a_run())
    clock.now = record.deadline_at
    assert [run.status for run in store.list_running()] == [RunStatus.RUNNING]
    clock.now += timedelta(microseconds=1)
    assert [run.status for run in store.list_running()] == [RunStatus.ABANDONED]
    assert store.start(a_run()).attempt == 2


def test_an_expired_run_is_never_shown(store: RunStore, clock: FakeClock) -> None:
    store.finish(ended(store.start(a_run("old")), RunStatus.SUCCEEDED))
    store.finish(ended(store.start(a_run("new", started_at=AT + timedelta(days=1))), RunStatus.SUCCEEDED))
    clock.now = AT + KEPT_FOR
    assert store.get("old") is None
    assert [run.run_id for run in store.list_runs(limit=5)] == ["new"]


def test_lists_page_through_everything(store: RunStore) -> None:
    megabytes_over_a_page = "x" * 50_000
    for n in range(60):
        record = a_run(f"r{n:02}", started_at=AT + timedelta(minutes=n))
        store.finish(replace(ended(record, RunStatus.SUCCEEDED), reason=megabytes_over_a_page))
    assert [run.run_id for run in store.list_runs()] == [f"r{n:02}" for n in reversed(range(60))]
    assert len(store.list_runs(limit=50)) == 50


def test_a_table_that_cannot_be_reached_is_one_error() -> None:
    client = boto3.client(
        "dynamodb",
        region_name="us-east-1",
        endpoint_url="http://127.0.0.1:1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(connect_timeout=1, retries={"total_max_attempts": 1}),
    )
    store = RunStore(client=client, table_name="runs", clock=FakeClock())
    requests: list[Callable[[], object]] = [
        lambda: store.start(a_run()),
        lambda: store.finish(a_run()),
        lambda: store.get("x"),
        store.list_runs,
    ]
    for request in requests:
        with pytest.raises(RunStoreError, match="runs table: EndpointConnectionError"):
            request()
