"""The contract of the runs table, held by moto, by the emulator of the laptop cloud, and by the demo's table."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from infra.demo.runs_table import MemoryRunsTable
from shared.domain.run import Result, RunStatus
from shared.runs.record import MAX_ATTEMPTS, MAX_ERROR, RunEnd, RunRecord
from shared.runs.store import KEPT_FOR, Attempt, RunStore, RunStoreError
from shared.runs.table import INDEXES
from tests.fakes import FakeClock, save_run
from tests.fakes.dynamodb import one_at_a_time

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

AT = datetime(2026, 1, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(now=AT + timedelta(seconds=30))


@pytest.fixture
def demo_table() -> "DynamoDBClient":
    return MemoryRunsTable().client


@pytest.fixture(
    params=["dynamodb", pytest.param("emulated_dynamodb", marks=pytest.mark.xdist_group("emulator")), "demo_table"],
    ids=["moto", "emulator", "demo"],
)
def store(request: pytest.FixtureRequest, clock: FakeClock) -> RunStore:
    """One suite for all: what the store requests of DynamoDB must not depend on who emulates it."""
    client: DynamoDBClient = request.getfixturevalue(request.param)
    return RunStore(client=client, table_name="runs", clock=clock)


class CountingClient:
    """A client, and the names of what it sent."""

    def __init__(self, client: "DynamoDBClient") -> None:
        self.exceptions = client.exceptions
        self.sent: list[str] = []
        self._client = client

    def __getattr__(self, operation: str) -> Any:
        self.sent.append(operation)
        return getattr(self._client, operation)


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
    return replace(
        record, status=status, finished_at=finished_at, result={"n": n, "errors": []}, counts={"n": n, "errors": 0}
    )


def add(earlier: Result, latest: Result) -> Result:
    """Results of which `n` adds up."""
    return {**latest, "n": earlier["n"] + latest["n"]}


def close(store: RunStore, attempt: Attempt, status: RunStatus = RunStatus.SUCCEEDED, *, n: int = 1) -> RunRecord:
    return store.finish(attempt, ended(attempt.record, status, n=n), add)


def read(store: RunStore, name: str = "prize-pool:2026-01-12T00:00Z") -> RunRecord:
    record = store.get(name)
    assert record is not None
    return record


def after(seconds: int) -> datetime:
    return AT + timedelta(seconds=seconds)


def test_a_run_is_stored_with_all_its_attributes(store: RunStore) -> None:
    opened = store.start(replace(a_run(), actor="me", reason="why", dry_run=True))
    done = close(store, opened)
    assert read(store) == done
    assert (done.actor, done.duration_ms, done.result) == ("me", 2000, {"n": 1, "errors": []})


def test_each_start_is_another_attempt(store: RunStore) -> None:
    assert [store.start(a_run()).record.attempt for _ in range(3)] == [1, 2, 3]


def test_s27_a_run_without_overlap_takes_two_requests_and_a_duplicate_one(store: RunStore) -> None:
    client = CountingClient(store.client)
    store = replace(store, client=cast("DynamoDBClient", client))
    close(store, store.start(a_run()))
    assert client.sent == ["update_item"] * 2
    close(store, store.start(a_run()), RunStatus.FAILED)
    assert client.sent == ["update_item"] * 4
    close(store, store.start(a_run()))
    store.start(a_run())
    assert client.sent == ["update_item"] * 7


@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.PARTIAL, RunStatus.INCOMPLETE])
def test_a_run_that_did_not_succeed_is_opened_again_and_keeps_what_it_did(store: RunStore, status: RunStatus) -> None:
    close(store, store.start(replace(a_run(), actor="me")), status)
    again = store.start(a_run(started_at=after(60)))
    assert (again.record.attempt, again.success) == (2, None)
    opened = read(store)
    assert (opened.status, opened.result, opened.finished_at) == (RunStatus.RUNNING, {"n": 1, "errors": []}, None)
    assert opened.actor is None
    assert close(store, again, n=2).result == {"n": 3, "errors": []}
    assert (read(store).attempt, read(store).status, read(store).counts) == (
        2,
        RunStatus.SUCCEEDED,
        {"n": 3, "errors": 0},
    )


def test_s27_a_run_that_succeeded_stays_so_while_it_is_looked_at_again(store: RunStore, clock: FakeClock) -> None:
    done = close(store, store.start(a_run()))
    again = store.start(a_run(started_at=after(60)))
    assert (again.success, again.record.attempt) == (done, 0)
    clock.now += timedelta(hours=1)  # it was killed
    assert read(store) == done
    assert store.list_running() == []


def test_s27_what_is_done_after_a_success_is_another_attempt(store: RunStore) -> None:
    close(store, store.start(a_run()))
    again = close(store, store.start(a_run(started_at=after(60))), n=2)
    assert (again.attempt, again.status, again.result) == (2, RunStatus.SUCCEEDED, {"n": 3, "errors": []})
    assert read(store) == again


def test_s27_a_failure_after_a_success_is_recorded(store: RunStore) -> None:
    close(store, store.start(a_run()))
    again = close(store, store.start(a_run(started_at=after(60))), RunStatus.FAILED, n=2)
    assert (again.attempt, again.status, again.result) == (2, RunStatus.FAILED, {"n": 3, "errors": []})
    assert read(store) == again


def test_s27_a_failure_leaves_a_success_that_was_recorded_while_it_worked(store: RunStore) -> None:
    slow, quick = store.start(a_run()), store.start(a_run())
    close(store, quick)
    returned = close(store, slow, RunStatus.FAILED, n=2)
    assert (returned.status, returned.attempt) == (RunStatus.FAILED, 1)
    stored = read(store)
    assert (stored.status, stored.attempt, stored.result) == (RunStatus.SUCCEEDED, 2, {"n": 3, "errors": []})


def test_s27_two_looks_at_a_success_count_one_after_the_other(store: RunStore) -> None:
    close(store, store.start(a_run()))
    first, second = (store.start(a_run(started_at=after(60 + n))) for n in range(2))
    assert [close(store, second, n=10).attempt, close(store, first, n=100).attempt] == [2, 3]
    assert (read(store).attempt, read(store).result) == (3, {"n": 111, "errors": []})


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_s27_two_attempts_at_once_keep_what_the_other_stored(store: RunStore, order: tuple[int, int]) -> None:
    attempts = [store.start(a_run(started_at=after(n))) for n in range(2)]
    returned = [close(store, attempts[number], n=10**number) for number in order]
    assert [record.attempt for record in returned] == [number + 1 for number in order]
    assert returned[-1].result == {"n": 11, "errors": []}
    stored = read(store)
    assert (stored.attempt, stored.status, stored.result) == (2, RunStatus.SUCCEEDED, {"n": 11, "errors": []})
    assert stored.started_at == after(1)  # of two that succeeded the one that began last
    assert store.list_running() == []


def test_s27_an_end_that_is_sent_twice_is_merged_once(store: RunStore) -> None:
    """A client sends a write again when the response to the first was lost; another may have come in between."""
    first, second = store.start(a_run()), store.start(a_run())
    close(store, first, n=1)
    assert close(store, first, n=1).result == {"n": 1, "errors": []}
    close(store, second, n=10)
    close(store, first, n=1)
    assert read(store).result == {"n": 11, "errors": []}


def test_s27_ten_attempts_that_end_at_once_are_all_merged(dynamodb: "DynamoDBClient", clock: FakeClock) -> None:
    store = RunStore(client=one_at_a_time(dynamodb), table_name="runs", clock=clock)
    attempts = [store.start(a_run()) for _ in range(10)]
    with ThreadPoolExecutor(len(attempts)) as threads:
        list(threads.map(lambda attempt: close(store, attempt, n=10 ** (attempt.record.attempt - 1)), attempts))
    assert (read(store).result, read(store).attempt) == ({"n": 1_111_111_111, "errors": []}, 10)


def test_an_old_attempt_that_fails_late_leaves_the_newer_one_alone(store: RunStore) -> None:
    old = store.start(a_run())
    new = store.start(a_run())
    close(store, old, RunStatus.FAILED)
    assert [(run.status, run.attempt) for run in store.list_running()] == [(RunStatus.RUNNING, 2)]
    close(store, new, RunStatus.PARTIAL)
    assert (read(store).status, read(store).attempt, read(store).result) == (
        RunStatus.PARTIAL, 2, {"n": 2, "errors": []}
    )  # fmt: skip


def test_an_older_failure_leaves_a_newer_one_alone(store: RunStore) -> None:
    old, new = store.start(a_run()), store.start(a_run())
    close(store, new, RunStatus.PARTIAL)
    close(store, old, RunStatus.FAILED)
    assert (read(store).status, read(store).attempt) == (RunStatus.PARTIAL, 2)


def test_an_old_attempt_that_succeeds_late_counts_and_its_number_does_not_go_backwards(store: RunStore) -> None:
    old = store.start(a_run())
    close(store, store.start(a_run()), RunStatus.FAILED)
    close(store, old)
    assert (read(store).status, read(store).attempt) == (RunStatus.SUCCEEDED, 2)
    assert store.list_running() == []


def test_the_end_is_recorded_even_if_the_start_was_not(store: RunStore) -> None:
    close(store, Attempt(record=a_run()))
    assert store.start(a_run()).success == read(store)
    assert (read(store).attempt, len(store.list_runs())) == (1, 1)


def test_the_end_of_an_attempt_whose_start_was_not_recorded_is_merged(store: RunStore) -> None:
    close(store, store.start(a_run()))
    assert close(store, Attempt(record=a_run(started_at=after(60))), n=2).attempt == 2
    assert read(store).result == {"n": 3, "errors": []}


def brief(record: RunRecord) -> list[tuple[int, str, str | None]]:
    return [(attempt.number, str(attempt.status), attempt.error) for attempt in record.attempts]


def fail(store: RunStore, attempt: Attempt, error: str) -> RunRecord:
    result = {"n": 0, "errors": [{"error": error}, {"error": "more"}]}
    return store.finish(attempt, replace(ended(attempt.record, RunStatus.FAILED), result=result), add)


def test_an_attempt_that_failed_is_remembered_when_a_later_one_succeeds(store: RunStore) -> None:
    fail(store, store.start(a_run()), "no route to the database")
    done = close(store, store.start(a_run(started_at=after(60))))
    assert read(store) == done
    assert brief(done) == [(1, "failed", "no route to the database"), (2, "succeeded", None)]
    first = done.attempts[0]
    assert (first.started_at, first.finished_at, first.deadline_at) == (AT, after(2), after(300))


def test_an_attempt_that_was_killed_is_remembered_as_abandoned(store: RunStore, clock: FakeClock) -> None:
    store.start(a_run())
    clock.now = after(400)
    second = store.start(a_run(started_at=after(400)))
    assert brief(read(store)) == [(1, "abandoned", None), (2, "running", None)]
    fail(store, second, "gone")
    close(store, store.start(a_run(started_at=after(500))))
    assert brief(read(store)) == [(1, "abandoned", None), (2, "failed", "gone"), (3, "succeeded", None)]


def test_attempts_that_overlap_are_remembered_by_number_in_whatever_order_they_end(store: RunStore) -> None:
    attempts = [store.start(a_run(started_at=after(n))) for n in range(3)]
    fail(store, attempts[1], "second")
    close(store, attempts[2])
    fail(store, attempts[0], "first")
    assert brief(read(store)) == [(1, "failed", "first"), (2, "failed", "second"), (3, "succeeded", None)]
    fail(store, store.start(a_run(started_at=after(600))), "after a success")
    assert brief(read(store))[-1] == (4, "failed", "after a success")


def test_a_run_remembers_a_bounded_number_of_attempts_and_characters(store: RunStore) -> None:
    for n in range(MAX_ATTEMPTS + 3):
        fail(store, store.start(a_run(started_at=after(n))), "x" * 10_000)
    attempts = read(store).attempts
    assert [attempt.number for attempt in attempts] == list(range(4, MAX_ATTEMPTS + 4))
    assert {len(attempt.error or "") for attempt in attempts} == {MAX_ERROR}


def test_a_record_from_before_attempts_were_kept_is_read_and_goes_on_with_the_next_one(store: RunStore) -> None:
    for n in range(2):
        fail(store, store.start(a_run(started_at=after(n))), "no")
    store.client.update_item(
        TableName="runs", Key={"run_id": {"S": a_run().run_id}}, UpdateExpression="REMOVE attempts"
    )
    assert (read(store).attempt, read(store).attempts) == (2, ())
    third = store.start(a_run(started_at=after(60)))
    assert brief(read(store)) == [(3, "running", None)]
    close(store, third)
    assert brief(read(store)) == [(3, "succeeded", None)]


def test_lists_can_be_of_one_status_and_of_what_started_since(store: RunStore, clock: FakeClock) -> None:
    for n, status in enumerate([RunStatus.FAILED, RunStatus.SUCCEEDED, RunStatus.PARTIAL, RunStatus.FAILED]):
        close(store, store.start(a_run(f"prize-pool:{n}", started_at=after(60 * n))), status)
    store.start(a_run("prize-pool:killed", started_at=after(240)))
    store.start(a_run("prize-pool:runs", started_at=after(600)))
    clock.now = after(600)

    def listed(**narrowed: Any) -> list[str]:
        return [run.run_id.removeprefix("prize-pool:") for run in store.list_runs("prize-pool", **narrowed)]

    assert listed(status=RunStatus.FAILED) == ["3", "0"]
    assert listed(status=RunStatus.FAILED, limit=1) == ["3"]
    assert listed(status=RunStatus.FAILED, since=after(1)) == ["3"]
    assert listed(status=RunStatus.INCOMPLETE) == []
    assert (listed(status=RunStatus.RUNNING), listed(status=RunStatus.ABANDONED)) == (["runs"], ["killed"])
    assert listed(since=after(180)) == ["runs", "killed", "3"]
    assert [run.run_id for run in store.list_runs(since=after(600))] == ["prize-pool:runs"]


def test_ids_are_found_by_what_they_begin_with(store: RunStore) -> None:
    for name in ("prize-pool:1a2b3c4d-1", "prize-pool:1a9", "prize-pool:2026-01-12T00:00Z"):
        store.start(a_run(name))
    store.start(a_run("cleanup:1a2", job="cleanup"))
    assert store.find_ids("prize-pool:1a2b") == ["prize-pool:1a2b3c4d-1"]
    assert set(store.find_ids("1a2")) == {"prize-pool:1a2b3c4d-1", "cleanup:1a2"}
    assert set(store.find_ids("prize-pool:1a")) == {"prize-pool:1a2b3c4d-1", "prize-pool:1a9"}
    assert store.find_ids("2026-01-12T00:00") == ["prize-pool:2026-01-12T00:00Z"]
    assert store.find_ids("3") == store.find_ids(":") == []


def test_a_record_of_an_earlier_version_is_merged_too(store: RunStore) -> None:
    """Items that were written before there were revisions."""
    close(store, store.start(a_run()))
    store.client.update_item(
        TableName="runs", Key={"run_id": {"S": a_run().run_id}}, UpdateExpression="REMOVE revision, merged"
    )
    close(store, store.start(a_run(started_at=after(60))), n=2)
    assert (read(store).attempt, read(store).result) == (2, {"n": 3, "errors": []})


def test_a_record_that_lost_its_status_is_opened_again(store: RunStore) -> None:
    """To DynamoDB an attribute that is not there is unequal to every value."""
    close(store, store.start(a_run()))
    store.client.update_item(
        TableName="runs",
        Key={"run_id": {"S": a_run().run_id}},
        UpdateExpression="REMOVE #status",
        ExpressionAttributeNames={"#status": "status"},
    )
    assert store.start(a_run(started_at=after(60))).record.attempt == 2


def test_no_index_holds_what_only_the_table_needs() -> None:
    """The projections of a deployed index cannot change."""
    projected = {name for index in INDEXES for name in index.projected_attributes}
    assert not projected & {"result", "attempts", "revision", "merged"}


@pytest.mark.parametrize("status", [RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.RUNNING])
@pytest.mark.parametrize("is_opened", [True, False], ids=["opened", "its start not recorded"])
def test_s31_a_run_that_has_expired_and_is_not_yet_removed_counts_as_absent(
    store: RunStore, clock: FakeClock, status: RunStatus, is_opened: bool
) -> None:
    old = store.start(replace(a_run(), actor="me"))
    if status is not RunStatus.RUNNING:
        close(store, old, status, n=100)
    clock.now = AT + KEPT_FOR
    record = a_run(started_at=clock.now)
    attempt = store.start(record) if is_opened else Attempt(record=record)
    if is_opened:
        assert replace(read(store), attempts=()) == attempt.record == replace(record, attempt=1)
        assert [begun.number for begun in read(store).attempts] == [1]
        assert [run.attempt for run in store.list_running()] == [1]
    done = close(store, attempt)
    assert read(store) == done
    assert (done.attempt, done.result, done.actor) == (1, {"n": 1, "errors": []}, None)
    assert [run.status for run in store.list_runs()] == [RunStatus.SUCCEEDED]


def test_lists_are_of_one_job_or_of_all_and_the_latest_first(store: RunStore) -> None:
    for minute in range(6):
        job = ("leaderboard", "cleanup")[minute % 2]
        store.start(a_run(f"{job}:{minute}", started_at=AT + timedelta(minutes=minute), job=job))
    assert [run.run_id for run in store.list_runs(limit=3)] == ["cleanup:5", "leaderboard:4", "cleanup:3"]
    assert [run.run_id for run in store.list_runs("cleanup")] == ["cleanup:5", "cleanup:3", "cleanup:1"]
    assert store.list_runs("prize-pool") == []


def test_only_what_runs_is_listed_as_running(store: RunStore) -> None:
    close(store, store.start(a_run("a")))
    store.start(a_run("b"))
    assert [run.run_id for run in store.list_running()] == ["b"]


def test_a_run_past_its_deadline_reads_abandoned(store: RunStore, clock: FakeClock) -> None:
    record = store.start(a_run()).record
    clock.now = record.deadline_at
    assert [run.status for run in store.list_running()] == [RunStatus.RUNNING]
    clock.now += timedelta(microseconds=1)
    assert [run.status for run in store.list_running()] == [RunStatus.ABANDONED]
    assert store.start(a_run()).record.attempt == 2


def test_an_expired_run_is_never_shown(store: RunStore, clock: FakeClock) -> None:
    close(store, store.start(a_run("old")))
    close(store, store.start(a_run("new", started_at=AT + timedelta(days=1))))
    clock.now = AT + KEPT_FOR
    assert store.get("old") is None
    assert [run.run_id for run in store.list_runs(limit=5)] == ["new"]


def test_lists_page_through_everything(store: RunStore) -> None:
    megabytes_over_a_page = "x" * 50_000
    for n in range(60):
        record = a_run(f"r{n:02}", started_at=AT + timedelta(minutes=n))
        save_run(store, replace(ended(record, RunStatus.SUCCEEDED), reason=megabytes_over_a_page))
    assert [run.run_id for run in store.list_runs()] == [f"r{n:02}" for n in reversed(range(60))]
    assert len(store.list_runs(limit=50)) == 50


def test_ends_are_what_lists_have_for_statistics(store: RunStore, clock: FakeClock) -> None:
    close(store, store.start(a_run("expired", started_at=AT - KEPT_FOR)))
    close(store, store.start(a_run("a")))
    close(store, store.start(replace(a_run("b", job="cleanup"), dry_run=True)), RunStatus.FAILED)
    store.start(a_run("killed"))
    store.start(a_run("running", started_at=AT + timedelta(hours=1)))
    clock.now = AT + timedelta(hours=1)
    for job in (None, "prize-pool", "cleanup"):
        listed = [RunEnd.of(run) for run in store.list_runs(job)]
        assert Counter(store.list_ends(job)) == Counter(listed)
    assert [end.status for end in store.list_ends("cleanup")] == [RunStatus.FAILED]
    assert Counter(end.status for end in store.list_ends())[RunStatus.ABANDONED] == 1


def test_a_table_that_cannot_be_reached_is_one_error(unreachable_dynamodb: "DynamoDBClient") -> None:
    store = RunStore(client=unreachable_dynamodb, table_name="runs", clock=FakeClock())
    requests: list[Callable[[], object]] = [
        lambda: store.start(a_run()),
        lambda: save_run(store, a_run()),
        lambda: store.get("x"),
        store.list_runs,
        lambda: list(store.list_ends()),
    ]
    for request in requests:
        with pytest.raises(RunStoreError, match="runs table: EndpointConnectionError"):
            request()
