"""Dead letters: shown, and sent again with their original event.

A redrive invokes the function synchronously and deletes the message only after the run succeeded. Sent asynchronously,
the message would be gone before anybody knew whether it helped; a synchronous invocation that fails goes to no queue
and nothing else retries it, so the message is the one copy, and stays. A slot that succeeded meanwhile does what is
still undone, or returns its stored result.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shared.domain.errors import ArcadeJobsError
from shared.domain.run import RunStatus
from shared.domain.tick import BadEventError, Tick
from shared.operations.deployment import Deployment, aws_errors
from shared.operations.trigger import describe_failure, invoke, time_limit
from shared.runs.record import format_instant

LISTING = 30  # seconds for which a listed message stays hidden should the listing be killed
MARGIN = 60  # seconds beyond the function's own limit for which a message that is sent again stays hidden
LONG_POLL = 1  # seconds; a short poll queries only some of the servers of SQS, and may miss messages
BATCH = 10  # messages; the most that SQS returns or takes in one call

Message = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """An event that was dead-lettered.

    Attributes:
        id: of the SQS message.
        event: the original, as the function received it or would have; None when the message holds none.
        reason: why it was dead-lettered, in one line.
        malformed: what is wrong with it, in one line, if the function would refuse it; None if it can be sent again.
        received: how often it was received before.
        sent_at: when it entered the queue.
    """

    id: str
    job: str
    event: Mapping[str, Any] | None
    reason: str
    malformed: str | None
    received: int
    sent_at: datetime

    @property
    def time(self) -> str | None:
        """The scheduled time in the event, unparsed."""
        time = self.event.get("time") if self.event else None
        return time if isinstance(time, str) else None

    def to_json(self) -> dict[str, Any]:
        """The dead letter, JSON-ready."""
        return {
            "id": self.id,
            "job": self.job,
            "time": self.time,
            "reason": self.reason,
            "malformed": self.malformed,
            "received": self.received,
            "sent_at": format_instant(self.sent_at),
            "event": self.event,
        }


@dataclass(frozen=True, kw_only=True)
class RedriveResult:
    """What a redrive did with a dead letter.

    Attributes:
        succeeded: the run did, and the message was deleted; else it stays in the queue.
        outcome: the run and its status, or why there was none, in one line.
    """

    dead_letter: DeadLetter
    succeeded: bool
    outcome: str

    def to_json(self) -> dict[str, Any]:
        """The outcome, JSON-ready."""
        return {
            "id": self.dead_letter.id,
            "job": self.dead_letter.job,
            "time": self.dead_letter.time,
            "succeeded": self.succeeded,
            "outcome": self.outcome,
        }


def read_dead_letter(job: str, message: Message, *, now: datetime) -> DeadLetter:
    """Read a message of a job's dead-letter queue, in either of its shapes.

    A rule's or a schedule's target queue holds the bare event, with the reason in message attributes. Lambda's failure
    destination holds an envelope: the event is its `requestPayload`.
    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
    https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html

    Args:
        job: of the queue.
        message: as SQS returns it, with all attributes.
        now: the wall clock, aware.
    """
    try:
        body = json.loads(message["Body"])
    except ValueError:
        body = None
    if isinstance(body, dict) and "requestContext" in body:
        event, reason = body.get("requestPayload"), _reason_of_lambda(body)
    else:
        event, reason = body, _reason_of_delivery(message.get("MessageAttributes", {}))
    malformed = None
    try:
        Tick.from_event(event, now=now, request_id="")
    except BadEventError as error:
        malformed = str(error)
    system = message["Attributes"]
    return DeadLetter(
        id=message["MessageId"],
        job=job,
        event=event if isinstance(event, dict) else None,
        reason=" ".join(reason.split()),
        malformed=malformed,
        received=int(system["ApproximateReceiveCount"]) - 1,
        sent_at=datetime.fromtimestamp(int(system["SentTimestamp"]) / 1000, tz=UTC),
    )


def list_dead_letters(deployment: Deployment, job: str, *, now: datetime) -> list[DeadLetter]:
    """All dead letters of a job, the oldest first. They stay in the queue; SQS counts that they were received.

    Args:
        deployment: of the queue.
        job: its name.
        now: the wall clock, aware.

    Raises:
        ArcadeJobsError: SQS refused.
    """
    queue = _Queue(deployment, job)
    seen: dict[str, Message] = {}
    try:
        while new := [m for m in queue.receive(BATCH, visibility_timeout=LISTING) if m["MessageId"] not in seen]:
            seen |= {message["MessageId"]: message for message in new}
    finally:
        queue.release(seen.values())
    found = [read_dead_letter(job, message, now=now) for message in seen.values()]
    return sorted(found, key=lambda dead_letter: dead_letter.sent_at)


def redrive(
    deployment: Deployment,
    job: str,
    *,
    clock: Callable[[], datetime],
    report: Callable[[str], None],
) -> list[RedriveResult]:
    """Send each dead letter of a job to its function again, one after the other, and delete those that succeed.

    1. Receive one message, hidden from others for as long as the function may run.
    2. Keep it if the function would refuse it.
    3. Invoke, and wait for the result. A scheduled event raises unless all is done.
    4. Delete the message if the run succeeded.
    5. At the end, or when interrupted, make the kept ones visible again.

    Args:
        deployment: of the queue and the function.
        job: its name.
        clock: the wall clock, aware.
        report: takes a line before each event, and one with its outcome.

    Raises:
        ArcadeJobsError: AWS could not be reached; messages that did not succeed are still there.
    """
    queue = _Queue(deployment, job)
    limit = time_limit(deployment, job)
    kept: dict[str, Message] = {}
    results: list[RedriveResult] = []
    try:
        while messages := queue.receive(1, visibility_timeout=limit + MARGIN):
            [message] = messages
            is_repeated = message["MessageId"] in kept  # the redrive took so long that one is visible again
            kept[message["MessageId"]] = message
            if is_repeated:
                break
            dead_letter = read_dead_letter(job, message, now=clock())
            name = f"{job} {dead_letter.time or dead_letter.id}"
            if dead_letter.malformed is None:
                report(f"{name}: sending it again, up to {limit} s")
            result = _send(deployment, dead_letter, limit=limit)
            if result.succeeded:
                queue.delete(message)
                del kept[dead_letter.id]
            report(f"{name}: {'deleted' if result.succeeded else 'kept'}: {result.outcome}")
            results.append(result)
    finally:
        queue.release(kept.values())
    return results


def _send(deployment: Deployment, dead_letter: DeadLetter, *, limit: int) -> RedriveResult:
    succeeded = False
    if dead_letter.malformed or dead_letter.event is None:
        outcome = f"message {dead_letter.id}: {dead_letter.malformed}"
    else:
        try:
            result = invoke(deployment, dead_letter.job, dict(dead_letter.event), limit=limit)
        except ArcadeJobsError as error:
            outcome = str(error)
        else:
            succeeded = result["status"] == RunStatus.SUCCEEDED  # a manual event returns regardless of the status
            outcome = f"{result['run_id']} {result['status']}"
    return RedriveResult(dead_letter=dead_letter, succeeded=succeeded, outcome=outcome)


def _reason_of_lambda(envelope: Mapping[str, Any]) -> str:
    context = envelope["requestContext"] if isinstance(envelope["requestContext"], dict) else {}
    condition = str(context.get("condition", "dead-lettered"))
    if envelope.get("responsePayload") is None:  # too old, or never begun
        return condition
    return f"{condition}: {describe_failure(envelope['responsePayload'])}"


def _reason_of_delivery(attributes: Mapping[str, Any]) -> str:
    errors = [attributes[name]["StringValue"] for name in ("ERROR_CODE", "ERROR_MESSAGE") if name in attributes]
    return f"not delivered: {': '.join(errors)}" if errors else "no reason given"


class _Queue:
    """The dead-letter queue of a job."""

    def __init__(self, deployment: Deployment, job: str) -> None:
        self._sqs = deployment.client("sqs")
        self._url = deployment.dead_letter_queue(job)
        self._subject = f"{job}: dead letters"

    def receive(self, most: int, *, visibility_timeout: int) -> list[Message]:
        with aws_errors(self._subject):
            response = self._sqs.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=most,
                VisibilityTimeout=visibility_timeout,
                WaitTimeSeconds=LONG_POLL,
                MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
                MessageAttributeNames=["All"],
            )
        messages: list[Message] = response.get("Messages", [])
        return messages

    def delete(self, message: Message) -> None:
        with aws_errors(self._subject):
            self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])

    def release(self, messages: Iterable[Message]) -> None:
        """Make messages visible again. One that is so already is no error: SQS reports each by itself."""
        hidden = list(messages)
        for first in range(0, len(hidden), BATCH):
            entries = [
                {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0}
                for number, message in enumerate(hidden[first : first + BATCH])
            ]
            with aws_errors(self._subject):
                self._sqs.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)
