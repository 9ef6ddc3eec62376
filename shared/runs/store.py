"""Run records in DynamoDB: it remembers, and decides nothing (docs/design.md, Runs)."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError

from shared.domain.errors import NotReachableError
from shared.domain.run import Merge, RunStatus, take_latest
from shared.runs.attributes import read_attribute, write_attribute
from shared.runs.queries import runs_query
from shared.runs.record import (
    STORED_ATTRIBUTES,
    AttemptRecord,
    RunEnd,
    RunRecord,
    merge_attempt,
    parse_instant,
)
from shared.runs.table import ANY_JOB, BY_JOB, BY_START, PARTITION_KEY, RUNNING, TIME_TO_LIVE, RunsIndex

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

KEPT_FOR = timedelta(days=400)  # of history: a year and a month
ROUNDS = 20  # of a write that others overtake: more deliveries than this do not end within one write of each other
# All but the key. The last two are in no index: the projections of a deployed one cannot change.
ATTRIBUTES = (
    *(name for name in STORED_ATTRIBUTES if name != PARTITION_KEY),
    *("history", "running", TIME_TO_LIVE, "revision", "merged"),
)

Item = Mapping[str, Any]


class RunStoreError(NotReachableError):
    """The runs table could not be read or written."""


class _ConditionError(Exception):
    """A write was refused by its condition."""

    def __init__(self, item: Item) -> None:
        super().__init__()
        self.item = item


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A run as the table has it.

    Attributes:
        record: None: there is none, or it has expired.
        revision: counts the writes; None before the first.
        merged: the tokens of the attempts whose ends it has.
    """

    record: RunRecord | None = None
    revision: int | None = None
    merged: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """An attempt that was opened, or could not be.

    Attributes:
        record: its own; of a run that has succeeded, or could not be reached, the number is counted at the end.
        stored: the run, as it was then.
        token: by which the run remembers that it has this attempt's end.
    """

    record: RunRecord
    stored: Stored = field(default_factory=Stored)
    token: str = field(default_factory=lambda: uuid4().hex)

    @property
    def success(self) -> RunRecord | None:
        """The record of a run that had succeeded."""
        record = self.stored.record
        return record if record is not None and record.status is RunStatus.SUCCEEDED else None


@dataclass(frozen=True, kw_only=True)
class RunStore:
    """The runs table.

    Attributes:
        client: with short timeouts: the job's work must not wait for its record.
        table_name: the table, of the shape in `shared.runs.table`.
        clock: the wall clock, aware; decides what has expired and what was abandoned.
    """

    client: "DynamoDBClient"
    table_name: str
    clock: Callable[[], datetime]

    def start(self, record: RunRecord) -> Attempt:
        """Open an attempt; the number of it is counted here.

        A run that is running, or was left so by a crash, is opened again: PostgreSQL guards every pool and board, so
        overlap is safe. One that succeeded stays as it is until the attempt ends: a crash leaves it succeeded (S27).
        One that has expired and not yet been removed counts as absent (S31).

        Raises:
            RunStoreError: the table cannot be reached or written.
        """
        values = {**_attributes(record), "history": ANY_JOB, "running": ANY_JOB, TIME_TO_LIVE: _expiry(record)}
        kept = ("attempt", "attempts", "revision", "merged", "result", "counts")
        begun = AttemptRecord.of(record)
        for _ in range(ROUNDS):
            try:
                item = self._update(
                    record.run_id,
                    set_=values,
                    remove=[name for name in ATTRIBUTES if name not in values and name not in kept],
                    append={"attempts": [begun.to_json()]},
                    add={"attempt": 1, "revision": 1},
                    condition="attribute_not_exists(#run_id) OR (#status <> :succeeded AND #expires_at > :now)",
                    names=(PARTITION_KEY, "status", TIME_TO_LIVE),
                    parameters={"succeeded": str(RunStatus.SUCCEEDED), "now": self._now()},
                )
            except _ConditionError as failed:
                stored = self._stored(failed.item)
                if stored.record is not None:
                    return Attempt(record=record, stored=stored)
                first = replace(record, attempt=1)
                with suppress(_ConditionError):  # else another delivery was first: it is there now
                    return Attempt(
                        record=first, stored=self._put(replace(first, attempts=(AttemptRecord.of(first),)), stored)
                    )
            else:
                stored = self._stored(item)
                return Attempt(record=replace(record, attempt=int(item["attempt"]["N"])), stored=stored)
        raise RunStoreError(f"runs table: {record.run_id} changed {ROUNDS} times while it was opened")

    def finish(self, attempt: Attempt, ended: RunRecord, merge: Merge = take_latest) -> RunRecord:
        """Close an attempt: merge its end and its result into the run's record (`merge_attempt`).

        Optimistic: the write is conditional on the revision that was read, so that deliveries which overlap lose
        nothing that another stored, and each attempt is merged once (S27).

        Returns:
            The record of the attempt: its own end, and the result of all attempts.

        Raises:
            RunStoreError: the table cannot be reached or written.
        """
        stored = attempt.stored
        for _ in range(ROUNDS):
            merged = merge_attempt(stored.record, ended, merge)
            try:
                self._put(merged.stored, stored, token=attempt.token)
            except _ConditionError as failed:
                stored = self._stored(failed.item)
                if attempt.token not in stored.merged:
                    continue
                # The client sent the write again, since the response to the first was lost.
            return merged.returned
        raise RunStoreError(f"runs table: {ended.run_id} changed {ROUNDS} times while it was closed")

    def get(self, run_id: str) -> RunRecord | None:
        """The run of this id, with its result; None if there is none, or it has expired.

        Raises:
            RunStoreError: the table cannot be reached.
        """
        try:
            response = self.client.get_item(
                TableName=self.table_name, Key={PARTITION_KEY: {"S": run_id}}, ConsistentRead=True
            )
        except (BotoCoreError, ClientError) as error:
            raise RunStoreError(_describe(error)) from error
        item = response.get("Item")
        if item is None or "history" not in item or self._has_expired(item):  # a note of a pause is in no history
            return None
        return self._record(item)

    def list_runs(
        self,
        job: str | None = None,
        *,
        limit: int | None = None,
        status: RunStatus | None = None,
        since: datetime | None = None,
    ) -> list[RunRecord]:
        """The last runs of a job, or of all, the latest start first, without their results.

        Args:
            job: whose; None: of all.
            limit: how many at most; None: all that are stored.
            status: of which status; None: any.
            since: started at or after it.

        Raises:
            RunStoreError: the table cannot be reached.
        """
        found = self._query(*_runs_of(job), limit=limit, status=status, since=since)
        return [self._record(item) for item in found]

    def list_ends(self, job: str | None = None) -> Iterator[RunEnd]:
        """How all runs of a job, or of all, ended: what statistics need, without reading the rest of `list_runs`.

        Raises:
            RunStoreError: the table cannot be reached.
        """
        for item in self._query(*_runs_of(job), attributes=(*RunEnd._fields, "deadline_at")):
            status = RunStatus(item["status"]["S"])
            if status is RunStatus.RUNNING and self._is_abandoned(parse_instant(item["deadline_at"]["S"])):
                status = RunStatus.ABANDONED
            yield RunEnd(
                item["run_id"]["S"],
                item["job"]["S"],
                item["trigger"]["S"],
                parse_instant(item["started_at"]["S"]),
                status,
                "dry_run" in item,
                int(item["duration_ms"]["N"]) if "duration_ms" in item else None,
                parse_instant(item["finished_at"]["S"]) if "finished_at" in item else None,
            )

    def find_ids(self, prefix: str) -> list[str]:
        """The ids of the runs that begin with a text, or do so after `<job>:`; the latest start first.

        Raises:
            RunStoreError: the table cannot be reached.
        """
        job, colon, _ = prefix.partition(":")
        # A slot has a colon too: 2026-01-12T00:00Z.
        of_job = job if job and colon and "T" not in job else None
        ids = (item[PARTITION_KEY]["S"] for item in self._query(*_runs_of(of_job), attributes=(PARTITION_KEY,)))
        return [run_id for run_id in ids if run_id.startswith(prefix) or run_id.partition(":")[2].startswith(prefix)]

    def list_running(self) -> list[RunRecord]:
        """What is running, and what was abandoned; the latest start first.

        Raises:
            RunStoreError: the table cannot be reached.
        """
        return [self._record(item) for item in self._query(RUNNING, ANY_JOB)]

    def _query(
        self,
        index: RunsIndex,
        partition: str,
        *,
        limit: int | None = None,
        attributes: Collection[str] = (),
        status: RunStatus | None = None,
        since: datetime | None = None,
    ) -> Iterator[Item]:
        """Page through an index (`runs_query`), up to so many items."""
        now = self.clock()
        request = runs_query(index, partition, now=now, attributes=attributes, status=status, since=since)
        request["TableName"] = self.table_name
        remaining = limit
        while remaining is None or remaining > 0:
            # It counts what is read: of a status that is rare there are few in each page.
            if remaining is not None and status is None:
                request["Limit"] = remaining
            try:
                response = self.client.query(**request)
            except (BotoCoreError, ClientError) as error:
                raise RunStoreError(_describe(error)) from error
            yield from response["Items"][:remaining]
            if remaining is not None:
                remaining -= len(response["Items"])
            if "LastEvaluatedKey" not in response:
                return
            request["ExclusiveStartKey"] = response["LastEvaluatedKey"]

    def _put(self, record: RunRecord, stored: Stored, *, token: str | None = None) -> Stored:
        """Replace a whole item, unless it has changed since it was read."""
        tokens = stored.merged | {token} if token else stored.merged
        revision = (stored.revision or 0) + 1
        values = {
            **_attributes(record),
            "attempt": record.attempt,
            "history": ANY_JOB,
            TIME_TO_LIVE: _expiry(record),
            "revision": revision,
            **({"running": ANY_JOB} if record.status is RunStatus.RUNNING else {}),
            **({"merged": tokens} if tokens else {}),
        }
        is_known = stored.revision is not None
        self._update(
            record.run_id,
            set_=values,
            remove=[name for name in ATTRIBUTES if name not in values],
            condition="#revision = :known" if is_known else "attribute_not_exists(#revision)",
            parameters={"known": stored.revision} if is_known else {},
        )
        return Stored(record=record, revision=revision, merged=tokens)

    def _update(
        self,
        run_id: str,
        *,
        set_: Mapping[str, Any],
        remove: Collection[str],
        append: Mapping[str, Any] | None = None,
        add: Mapping[str, int] | None = None,
        condition: str,
        names: Collection[str] = (),
        parameters: Mapping[str, Any],
    ) -> Item:
        """Write an item under a condition; return it as it is then.

        Args:
            run_id: its key.
            set_: attributes and their values.
            remove: attributes.
            append: lists, and the items that each gets at its end.
            add: attributes, and the number by which each grows.
            condition: with `#name` for an attribute and `:name` for a parameter.
            names: of attributes that only the condition has.
            parameters: of the condition.

        Raises:
            RunStoreError: the table cannot be reached or written.
        """
        append, add = append or {}, add or {}
        appended = (f"#{name} = list_append(if_not_exists(#{name}, :none), :{name})" for name in append)
        clauses = [
            "SET " + ", ".join([*(f"#{name} = :{name}" for name in set_), *appended]),
            "REMOVE " + ", ".join(f"#{name}" for name in remove),
            *(["ADD " + ", ".join(f"#{name} :{name}" for name in add)] if add else []),
        ]
        values = {**set_, **append, **({"none": []} if append else {}), **add, **parameters}
        try:
            response = self.client.update_item(
                TableName=self.table_name,
                Key={PARTITION_KEY: {"S": run_id}},
                UpdateExpression=" ".join(clauses),
                ConditionExpression=condition,
                ExpressionAttributeNames={f"#{name}": name for name in (*set_, *remove, *append, *add, *names)},
                ExpressionAttributeValues={f":{name}": write_attribute(value) for name, value in values.items()},
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",  # spares a second request
            )
        except self.client.exceptions.ConditionalCheckFailedException as error:
            raise _ConditionError(cast("Item", error.response.get("Item", {}))) from error
        except (BotoCoreError, ClientError) as error:
            raise RunStoreError(_describe(error)) from error
        return response["Attributes"]

    def _stored(self, item: Item) -> Stored:
        revision = read_attribute(item["revision"]) if "revision" in item else None
        if not item or self._has_expired(item):
            return Stored(revision=revision)
        merged = frozenset(read_attribute(item["merged"])) if "merged" in item else frozenset()
        return Stored(record=_parse(item), revision=revision, merged=merged)

    def _has_expired(self, item: Item) -> bool:
        """Expired items stay in the table for up to two days (S31)."""
        return int(item[TIME_TO_LIVE]["N"]) <= self._now()

    def _now(self) -> int:
        return int(self.clock().timestamp())

    def _record(self, item: Item) -> RunRecord:
        record = _parse(item)
        attempts = tuple(replace(attempt, status=self._status(attempt)) for attempt in record.attempts)
        return replace(record, status=self._status(record), attempts=attempts)

    def _status(self, found: RunRecord | AttemptRecord) -> RunStatus:
        is_open = found.status is RunStatus.RUNNING
        return RunStatus.ABANDONED if is_open and self._is_abandoned(found.deadline_at) else found.status

    def _is_abandoned(self, deadline_at: datetime) -> bool:
        """Of a run that has no end: it was killed (S04)."""
        return deadline_at < self.clock()


def _runs_of(job: str | None) -> tuple[RunsIndex, str]:
    """Where the runs of a job are, or those of all."""
    return (BY_START, ANY_JOB) if job is None else (BY_JOB, job)


def _parse(item: Item) -> RunRecord:
    return RunRecord.from_attributes({name: read_attribute(value) for name, value in item.items()})


def _expiry(record: RunRecord) -> int:
    return int((record.started_at + KEPT_FOR).timestamp())


def _attributes(record: RunRecord) -> dict[str, Any]:
    """What an update sets: the key and the number of the attempt are not among it."""
    return {name: value for name, value in record.to_attributes().items() if name not in (PARTITION_KEY, "attempt")}


def _describe(error: Exception) -> str:
    return f"runs table: {type(error).__name__}: {error}"
