"""The queries of the runs table: pure, so that a scan cannot be among them."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from shared.domain.run import RunStatus
from shared.runs.record import format_instant
from shared.runs.table import TIME_TO_LIVE, RunsIndex


def runs_query(
    index: RunsIndex,
    partition: str,
    *,
    now: datetime,
    attributes: Collection[str] = (),
    status: RunStatus | None = None,
    since: datetime | None = None,
) -> dict[str, Any]:
    """The request for the items of an index, the latest start first.

    Expired items stay in the table for up to two days, and are left out here (S14).

    Args:
        index: which.
        partition: of it.
        now: the wall clock, aware; decides what has expired and what was abandoned.
        attributes: of the items; none: all that the index has.
        status: of which status; None: any.
        since: started at or after it.
    """
    keys, filters = ["#partition = :partition"], ["#expiry > :now"]
    names = {"#partition": index.partition_key, "#expiry": TIME_TO_LIVE}
    values = {":partition": {"S": partition}, ":now": {"N": str(int(now.timestamp()))}}
    if since is not None:
        keys.append("#start >= :since")
        names["#start"], values[":since"] = index.sort_key, {"S": format_instant(since)}
    if status in {RunStatus.RUNNING, RunStatus.ABANDONED}:  # both are stored as running
        filters += ["#status = :status", f"#deadline {'<' if status is RunStatus.ABANDONED else '>='} :clock"]
        names |= {"#status": "status", "#deadline": "deadline_at"}
        values |= {":status": {"S": str(RunStatus.RUNNING)}, ":clock": {"S": format_instant(now)}}
    elif status is not None:
        filters.append("#status = :status")
        names["#status"], values[":status"] = "status", {"S": str(status)}
    request: dict[str, Any] = {"IndexName": index.name, "ScanIndexForward": False}
    if attributes:
        aliases = {"#partition" if name == index.partition_key else f"#{name}": name for name in attributes}
        request["ProjectionExpression"] = ", ".join(aliases)
        names |= aliases
    return request | {
        "KeyConditionExpression": " AND ".join(keys),
        "FilterExpression": " AND ".join(filters),
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
    }
