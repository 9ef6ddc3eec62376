"""The log of one run: its lines in CloudWatch Logs, of every attempt.

Each line of ours carries the id of the run and that of the invocation (`shared/runs/runner.py`). The lines of Lambda
itself carry the latter alone, and one of them says that an invocation was killed: they are asked for second.
The emulator of the laptop cloud evaluates no pattern on JSON: what it returns is looked at here again.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.domain.run import RunStatus
from shared.operations.deployment import Deployment, aws_errors
from shared.runs.record import RunRecord

MARGIN = timedelta(minutes=1)  # between the clocks of a function, of Lambda and of CloudWatch
POLL = 2.0  # seconds between two looks at a log that is followed
SETTLING = timedelta(seconds=5)  # after the end of a run: CloudWatch shows a line some seconds after it was written
REQUESTS = 5  # ids of invocations in one pattern, which has 1,024 characters at most
OUTCOMES = ("success", "initialized")  # of an invocation, in the lines of Lambda that say nothing more
SHOWN_APART = {"level", "message", "timestamp", "exception", "exception_name", "stack_trace", "location", "run"}
OF_EVERY_LINE = {"service", "run_id", "job", "function_request_id", "xray_trace_id", "sampling_rate"}


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """A line of a log.

    Attributes:
        id: of the event in CloudWatch Logs.
        raw: the line itself.
        at: when it was written.
        details: what else it has, by name.
        traceback: of the exception that it reports, in lines.
        is_for_programs: it holds metrics, or says that an invocation began or ended.
    """

    id: str
    raw: str
    at: datetime
    level: str
    message: str
    details: Mapping[str, Any]
    traceback: tuple[str, ...]
    is_for_programs: bool


def read_log(deployment: Deployment, record: RunRecord, *, now: datetime) -> list[LogLine]:
    """The lines of all attempts of a run, in their order.

    Raises:
        NotReachableError: AWS refused, the log is gone, or the stack is of another version.
    """
    log = _Log(deployment, record.job)
    begins, ends = window(record, now)
    events = {event["eventId"]: event for event in log.search("$.run_id", [record.run_id], begins, ends)}
    lines = [_parse(event) for event in events.values()]
    requests = sorted({request for line in lines if (request := _request_of(line.raw))})
    for first in range(0, len(requests), REQUESTS):
        some = requests[first : first + REQUESTS]
        of_lambda = log.search("$.requestId", some, begins, ends, other="$.record.requestId")
        lines += [_parse(event) for event in of_lambda if event["eventId"] not in events]
    return sorted(lines, key=lambda line: line.at)


def follow_log(
    deployment: Deployment, record: RunRecord, *, clock: Callable[[], datetime], sleep: Callable[[float], None]
) -> Iterator[LogLine]:
    """The lines of a run as they come, until it has ended.

    Raises:
        NotReachableError: as `read_log`.
    """
    seen: set[str] = set()
    while True:
        now = clock()
        for line in read_log(deployment, record, now=now):
            if line.id not in seen:
                seen.add(line.id)
                yield line
        if record.status is not RunStatus.RUNNING and now - (record.finished_at or record.deadline_at) > SETTLING:
            return
        sleep(POLL)
        record = deployment.run_store().get(record.run_id) or record


def window(record: RunRecord, now: datetime) -> tuple[datetime, datetime]:
    """From before its first attempt began until after its last one ended, or will have."""
    started_at = min([record.started_at, *(attempt.started_at for attempt in record.attempts)])
    if record.attempt > max(len(record.attempts), 1):  # earlier ones are not remembered
        started_at = min(started_at, record.scheduled_at)
    ends = record.finished_at or record.deadline_at
    return started_at - MARGIN, min(max(ends, record.started_at) + MARGIN, now + MARGIN)


class _Log:
    """The log of a job's function."""

    def __init__(self, deployment: Deployment, job: str) -> None:
        self._logs = deployment.client("logs")
        self._group = deployment.log_group(job)
        self._subject = f"{job}: log {self._group}"

    def search(
        self, field: str, values: Collection[str], begins: datetime, ends: datetime, *, other: str | None = None
    ) -> Iterator[Mapping[str, Any]]:
        """The events of an interval in which a field, or another, has one of some values."""
        fields = [field, other] if other else [field]
        terms = [f"{name} = {json.dumps(value)}" for name in fields for value in values]
        request: dict[str, Any] = {
            "logGroupName": self._group,
            "startTime": _milliseconds(begins),
            "endTime": _milliseconds(ends),
            "filterPattern": f"{{ {' || '.join(f'({term})' for term in terms)} }}",
        }
        while True:
            with aws_errors(self._subject):
                found = self._logs.filter_log_events(**request)
            for number, event in enumerate(found["events"]):
                if any(value in event["message"] for value in values):
                    stream = event.get("logStreamName")
                    # The emulator gives events no id.
                    yield {"eventId": f"{stream} {event['timestamp']} {number}", **event}
            if "nextToken" not in found:
                return
            request["nextToken"] = found["nextToken"]


def _parse(event: Mapping[str, Any]) -> LogLine:
    raw, at = event["message"].rstrip("\n"), datetime.fromtimestamp(event["timestamp"] / 1000, tz=UTC)
    try:
        body = json.loads(raw)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        is_frame = raw.startswith(("START ", "END ", "REPORT ", "INIT_START "))
        return _line(event, raw, at, level="", message=raw, is_for_programs=is_frame)
    record = body.get("record")
    if isinstance(record, dict):  # of Lambda itself
        outcome = record.get("status")
        message = f"{body.get('type')}: {outcome}" if outcome else str(body.get("type"))
        is_frame = outcome is None or outcome in OUTCOMES
        return _line(event, raw, at, level="" if is_frame else "ERROR", message=message, is_for_programs=is_frame)
    stack = body.get("exception") or body.get("stackTrace") or ()
    return _line(
        event,
        raw,
        _written_at(body.get("timestamp")) or at,
        level=str(body.get("level", "")),
        message=str(body.get("message") or body.get("errorMessage") or ""),
        details={name: value for name, value in body.items() if name not in SHOWN_APART | OF_EVERY_LINE},
        traceback=tuple("".join(stack).splitlines()),
        is_for_programs="_aws" in body or "requestId" in body,
    )


def _line(event: Mapping[str, Any], raw: str, at: datetime, **rest: Any) -> LogLine:
    return LogLine(**{"id": event["eventId"], "raw": raw, "at": at, "details": {}, "traceback": ()} | rest)


def _request_of(raw: str) -> str | None:
    """The id of the invocation that wrote a line."""
    try:
        body = json.loads(raw)
    except ValueError:
        return None
    request = body.get("function_request_id") if isinstance(body, dict) else None
    return request if isinstance(request, str) else None


def _written_at(text: Any) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return at.astimezone(UTC) if at.tzinfo else None


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)
