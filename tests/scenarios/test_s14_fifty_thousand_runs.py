"""S14: 50,000 runs of history. The last 100 cost what they cost with 100; what has expired is never shown.

No emulation shows how fast DynamoDB is: moto itself looks at every item it has. The requests are exact: which calls,
how many pages, and how many items are read (`ScannedCount`), which is what takes time and money there
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Query.html).
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends

from infra.jobs import JOBS
from shared.domain.run import RunStatus
from shared.runs.record import RunRecord
from shared.runs.store import KEPT_FOR, RunStore
from shared.runs.table import ANY_JOB, PARTITION_KEY, TIME_TO_LIVE

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HISTORY = 50_000
EXPIRED = 15_000  # of them: DynamoDB deletes what has expired within days, not at once
RETURNED = 400  # the latest of all, among which are a hundred of each job
KEYS = {PARTITION_KEY, "job", "history", "started_at", "running", TIME_TO_LIVE}
HOUR = timedelta(hours=1)


@dataclass
class Requests:
    """The requests to DynamoDB, and the items that it read for them."""

    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    items_read: int = 0

    def sent(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        self.calls.append((model.name, params))

    def answered(self, parsed: dict[str, Any], **_: Any) -> None:
        self.items_read += parsed.get("ScannedCount", 1)


@pytest.fixture
def requests(dynamodb: "DynamoDBClient") -> Requests:
    requests = Requests()
    dynamodb.meta.events.register(
        "provide-client-params.dynamodb", lambda params, model, **_: requests.sent(params, model)
    )
    dynamodb.meta.events.register("after-call.dynamodb", requests.answered)
    return requests


@pytest.fixture
def store(dynamodb: "DynamoDBClient") -> RunStore:
    return RunStore(client=dynamodb, table_name="runs", clock=lambda: NOW)


def a_run(number: int, job: str, started_at: datetime, status: RunStatus = RunStatus.SUCCEEDED) -> RunRecord:
    return RunRecord(
        run_id=f"{job}:{started_at:%Y-%m-%dT%H:%MZ}:{number}",
        job=job,
        trigger="scheduled",
        scheduled_at=started_at,
        status=status,
        attempt=1,
        started_at=started_at,
        deadline_at=started_at + timedelta(minutes=15),
        finished_at=started_at + timedelta(seconds=3),
        result={"errors": [], "leaderboards_processed": 15},
        counts={"errors": 0, "leaderboards_processed": 15},
    )


def begun(record: RunRecord) -> RunRecord:
    """As it was when it began."""
    return replace(record, status=RunStatus.RUNNING, finished_at=None, result=None, counts=None)


def fill(dynamodb: "DynamoDBClient", store: RunStore, count: int, *, expired: int = 0) -> None:
    """Put runs into the table, the latest first; the oldest have expired.

    One is written by the store; its item is copied, past moto's own door, which takes a millisecond an item.
    """
    table = dynamodb_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].tables["runs"]
    for number in range(count):
        is_expired = number >= count - expired
        age = KEPT_FOR + timedelta(minutes=number) if is_expired else number * timedelta(minutes=15)
        record = a_run(number, JOBS[number % 10 % 3].name, NOW - HOUR - age)
        if number == 0:
            store.finish(store.start(begun(record)), record)
            stored = dynamodb.get_item(TableName="runs", Key={PARTITION_KEY: {"S": record.run_id}})["Item"]
            model = {name: value for name, value in stored.items() if name not in {"result", "counts"}}
        item = {
            **model,
            PARTITION_KEY: {"S": record.run_id},
            "job": {"S": record.job},
            "started_at": {"S": f"{record.started_at:%Y-%m-%dT%H:%M:%S.%f}Z"},
            TIME_TO_LIVE: {"N": str(int((record.started_at + KEPT_FOR).timestamp()))},
        }
        if is_expired and number % 300 == 0:
            item["running"] = {"S": ANY_JOB}  # killed, and never tried again
            item["status"] = {"S": "running"}
        # An item costs moto the square of its attributes; those that no query returns need their keys alone.
        table.put_item(item if number < RETURNED else {name: item[name] for name in item if name in KEYS})


def cost(requests: Requests) -> tuple[Counter[str], int]:
    return Counter(name for name, _ in requests.calls), requests.items_read


def test_s14_the_last_hundred_of_fifty_thousand_cost_what_they_cost_of_a_hundred(
    dynamodb: "DynamoDBClient", store: RunStore, requests: Requests
) -> None:
    fill(dynamodb, store, RETURNED)
    costs = []
    for history in (RETURNED, HISTORY):
        if history == HISTORY:
            fill(dynamodb, store, HISTORY, expired=EXPIRED)
        for job in (None, "leaderboard"):
            requests.calls.clear()
            requests.items_read = 0
            runs = store.list_runs(job, limit=100)
            assert len(runs) == 100
            assert runs == sorted(runs, key=lambda run: run.started_at, reverse=True)
            assert {run.job for run in runs} == ({job} if job else {job.name for job in JOBS})
            costs.append(cost(requests))
            [(_, request)] = requests.calls
            assert (request["Limit"], request["ScanIndexForward"]) == (100, False)
            assert request["IndexName"] == ("by_job" if job else "by_start")
    assert set(map(str, costs)) == {str((Counter({"Query": 1}), 100))}

    # The other requests, with all runs in the table.
    requests.calls.clear()
    requests.items_read = 0
    newest = store.list_runs(limit=1)[0]
    assert store.get(newest.run_id) is not None
    assert store.list_running() == []  # those that were killed have expired
    assert {name for name, _ in requests.calls} == {"Query", "GetItem"}


def test_s14_what_has_expired_is_never_shown_though_it_is_still_there(store: RunStore) -> None:
    kept = a_run(1, "cleanup", NOW - KEPT_FOR + timedelta(seconds=1))
    expired = a_run(2, "cleanup", NOW - KEPT_FOR)
    killed = a_run(3, "cleanup", NOW - KEPT_FOR - HOUR)
    for record in (kept, expired):
        store.finish(store.start(begun(record)), record)
    store.start(begun(killed))
    assert [run.run_id for run in store.list_runs("cleanup", limit=1)] == [kept.run_id]
    assert [run.run_id for run in store.list_runs()] == [kept.run_id]
    assert store.list_running() == []
    assert [store.get(run.run_id) is not None for run in (kept, expired, killed)] == [True, False, False]


def test_s14_storage_is_bounded_each_item_expires_from_its_start_on(
    store: RunStore, dynamodb: "DynamoDBClient"
) -> None:
    """For every end of a run: one that is killed has its expiry already.

    That the table's TTL reads the attribute is a property of the template (`tests/infra/test_stack.py`).
    """
    started = a_run(1, "leaderboard", NOW)
    attempt = store.start(begun(started))
    [item] = dynamodb.scan(TableName="runs")["Items"]
    assert int(item[TIME_TO_LIVE]["N"]) == int((NOW + KEPT_FOR).timestamp())
    store.finish(attempt, replace(started, status=RunStatus.FAILED))
    later = replace(started, started_at=NOW + HOUR)
    store.start(begun(later))
    [item] = dynamodb.scan(TableName="runs")["Items"]
    assert int(item[TIME_TO_LIVE]["N"]) == int((NOW + HOUR + KEPT_FOR).timestamp())
    a_day = {"prize-pool": 1, "leaderboard": 24, "cleanup": 1}
    assert sum(a_day.values()) * KEPT_FOR.days < 11_000  # runs stored, except those triggered manually
