"""Run records in DynamoDB: it remembers, and decides nothing (docs/design.md, Runs)."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from shared.domain.errors import ArcadeJobsError
from shared.domain.run import RunStatus
from shared.runs.record import RunRecord
from shared.runs.table import ANY_JOB, BY_JOB, BY_START, PARTITION_KEY, RUNNING, TIME_TO_LIVE, RunsIndex

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

KEPT_FOR = timedelta(days=400)  # of history: a year and a month

Item = Mapping[str, Any]


class RunStoreError(ArcadeJobsError):
    """The runs table could not be read or written."""


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

    def start(self, record: RunRecord) -> RunRecord:
        """Open an attempt; the number of it is counted here.

        A run that is running, or was left so by a crash, is opened again: PostgreSQL guards every pool and board, so
        overlap is safe. One that succeeded stays as it is.

        Returns:
            The record with its attempt; or the stored one, `duplicate`, of a run that has succeeded.

        Raises:
            RunStoreError: the table cannot be reached or written.
        """
        values = {**_attributes(record), "history": ANY_JOB, "running": ANY_JOB, TIME_TO_LIVE: self._expiry(record)}
        try:
            response = self.client.update_item(
                TableName=self.table_name,
                Key={PARTITION_KEY: {"S": record.run_id}},
                UpdateExpression=_set(values) + " ADD attempt :one REMOVE finished_at, duration_ms, #result, #counts",
                # S01: a later delivery finds what succeeded, and opens nothing.
                ConditionExpression="attribute_not_exists(#status) OR #status <> :succeeded",
                ExpressionAttributeNames={**_names(values), "#result": "result", "#counts": "counts"},
                ExpressionAttributeValues={
                    **_values(values),
                    ":one": {"N": "1"},
                    ":succeeded": {"S": RunStatus.SUCCEEDED},
                },
                ReturnValues="UPDATED_NEW",
            )
        except self.client.exceptions.ConditionalCheckFailedException:
            stored = self.get(record.run_id)
            if stored is None:  # it expired between the two calls
                return replace(record, attempt=1)
            return replace(stored, duplicate=True)
        except (BotoCoreError, ClientError) as error:
            raise RunStoreError(_describe(error)) from error
        return replace(record, attempt=int(response["Attributes"]["attempt"]["N"]))

    def finish(self, record: RunRecord) -> None:
        """Close an attempt with its status and result.

        An attempt that succeeded is final. One that did not leaves the record alone when a newer attempt has begun or
        the run has succeeded meanwhile.

        Raises:
            RunStoreError: the table cannot be reached or written.
        """
        values = {**_attributes(record), "history": ANY_JOB, TIME_TO_LIVE: self._expiry(record)}
        values["attempt"] = max(record.attempt, 1)
        is_ours = "(attribute_not_exists(attempt) OR attempt <= :attempt)"
        is_open = "(attribute_not_exists(#status) OR #status <> :succeeded)"
        succeeded = record.status is RunStatus.SUCCEEDED
        try:
            self.client.update_item(
                TableName=self.table_name,
                Key={PARTITION_KEY: {"S": record.run_id}},
                UpdateExpression=_set(values) + " REMOVE running",
                ConditionExpression=is_open if succeeded else f"{is_open} AND {is_ours}",
                ExpressionAttributeNames=_names(values),
                ExpressionAttributeValues={**_values(values), ":succeeded": {"S": RunStatus.SUCCEEDED}},
            )
        except self.client.exceptions.ConditionalCheckFailedException:
            return  # another attempt of the same run has the last word
        except (BotoCoreError, ClientError) as error:
            raise RunStoreError(_describe(error)) from error

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
        if item is None or int(item[TIME_TO_LIVE]["N"]) <= self.clock().timestamp():
            return None
        return self._record(item)

    def list_runs(self, job: str | None = None, *, limit: int | None = None) -> list[RunRecord]:
        """The last runs of a job, or of all, the latest start first, without their results.

        Args:
            job: whose; None: of all.
            limit: how many at most; None: all that are stored.

        Raises:
            RunStoreError: the table cannot be reached.
        """
        index, partition = (BY_START, ANY_JOB) if job is None else (BY_JOB, job)
        return list(self._query(index, partition, limit))

    def list_running(self) -> list[RunRecord]:
        """What is running, and what was abandoned; the latest start first.

        Raises:
            RunStoreError: the table cannot be reached.
        """
        return list(self._query(RUNNING, ANY_JOB, None))

    def _query(self, index: RunsIndex, partition: str, limit: int | None) -> Iterator[RunRecord]:
        """Page through an index. Expired items stay in the table for up to two days, and are left out here (S14)."""
        remaining = limit
        request: dict[str, Any] = {
            "TableName": self.table_name,
            "IndexName": index.name,
            "KeyConditionExpression": "#partition = :partition",
            "FilterExpression": "#expiry > :now",
            "ExpressionAttributeNames": {"#partition": index.partition_key, "#expiry": TIME_TO_LIVE},
            "ExpressionAttributeValues": {
                ":partition": {"S": partition},
                ":now": {"N": str(int(self.clock().timestamp()))},
            },
            "ScanIndexForward": False,
        }
        while remaining is None or remaining > 0:
            if remaining is not None:
                request["Limit"] = remaining
            try:
                response = self.client.query(**request)
            except (BotoCoreError, ClientError) as error:
                raise RunStoreError(_describe(error)) from error
            for item in response["Items"]:
                yield self._record(item)
            if remaining is not None:
                remaining -= len(response["Items"])
            if "LastEvaluatedKey" not in response:
                return
            request["ExclusiveStartKey"] = response["LastEvaluatedKey"]

    def _expiry(self, record: RunRecord) -> int:
        return int((record.started_at + KEPT_FOR).timestamp())

    def _record(self, item: Item) -> RunRecord:
        record = RunRecord.from_attributes({name: _read(value) for name, value in item.items()})
        if record.status is RunStatus.RUNNING and record.deadline_at < self.clock():  # S04: it was killed
            return replace(record, status=RunStatus.ABANDONED)
        return record


def _attributes(record: RunRecord) -> dict[str, Any]:
    """What an update sets: the key and the number of the attempt are not among it."""
    return {name: value for name, value in record.to_attributes().items() if name not in (PARTITION_KEY, "attempt")}


def _set(values: Mapping[str, Any]) -> str:
    return "SET " + ", ".join(f"#{name} = :{name}" for name in values)


def _names(values: Mapping[str, Any]) -> dict[str, str]:
    return {"#status": "status"} | {f"#{name}": name for name in values}


def _values(values: Mapping[str, Any]) -> dict[str, Any]:
    return {f":{name}": _write(value) for name, value in values.items()}


def _write(value: Any) -> dict[str, Any]:
    match value:
        case bool():
            return {"BOOL": value}
        case int():
            return {"N": str(value)}
        case str():
            return {"S": value}
        case Mapping():
            return {"M": {name: _write(inner) for name, inner in value.items()}}
    raise TypeError(f"no attribute type for {type(value).__name__}")


def _read(value: Mapping[str, Any]) -> Any:
    [(kind, content)] = value.items()
    match kind:
        case "N":
            return int(content)
        case "M":
            return {name: _read(inner) for name, inner in content.items()}
        case _:
            return content


def _describe(error: Exception) -> str:
    return f"runs table: {type(error).__name__}: {error}"
