"""What was given up: shown, and sent again with its original event (DESIGN section 5, What catches what).

A redrive invokes the function synchronously and deletes the message only after the run succeeded. Sent asynchronously,
the message would be gone before anybody knew whether it helped; a synchronous invocation that fails goes to no queue
and is tried by nobody else, so the message is the one copy, and stays. A slot that was settled meanwhile answers with
its stored result.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from infra.deployed.deployment import Deployment, asking
from infra.deployed.trigger import TriggerError, first_line, invoke, time_limit
from shared.domain.run import RunStatus
from shared.domain.tick import BadEventError, Tick
from shared.runs.record import format_instant

HIDDEN_FOR = 30  # seconds in which a message that is only looked at is out of sight, should we die meanwhile
MARGIN = 60  # seconds beyond the function's own limit in which a message that is sent again is out of sight
LONG_POLL = 1  # seconds until SQS says that there is none; without it some of its servers are not asked
MOST = 10  # messages that SQS hands out or takes at once

Message = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """An event that was given up.

    Attributes:
        id: the message's, in SQS.
        event: the original, as the function was or would have been given it; None when the message holds none.
        reason: why it was given up, in one line.
        malformed: what is wrong with it, in one line, if the function would refuse it; None if it can be sent again.
        received: how often it was received before this time, by whomever.
        sent_at: when it came into the queue.
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
        """The scheduled time in the event, as it stands there."""
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
class Redriven:
    """What became of a dead letter.

    Attributes:
        is_settled: whether the run succeeded and the message is gone.
        outcome: the run and its status, or why the message was left, in one line.
    """

    letter: DeadLetter
    is_settled: bool
    outcome: str

    def to_json(self) -> dict[str, Any]:
        """The outcome, JSON-ready."""
        return {
            "id": self.letter.id,
            "job": self.letter.job,
            "time": self.letter.time,
            "settled": self.is_settled,
            "outcome": self.outcome,
        }


def read_letter(job: str, message: Message, *, now: datetime) -> DeadLetter:
    """Read a message of a job's dead-letter queue, in either of its shapes.

    A rule's or a schedule's target queue holds the bare event, with the reason in message attributes. Lambda's failure
    destination holds an envelope: the event is its `requestPayload`.
    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
    https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html

    Args:
        job: whose queue.
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
    """Look at all dead letters of a job, the oldest first. They stay; SQS counts that they were received.

    Args:
        deployment: where.
        job: its name.
        now: the wall clock, aware.

    Raises:
        DeploymentError: SQS refused.
    """
    queue = _Queue(deployment, job)
    seen: dict[str, Message] = {}
    try:
        while new := [m for m in queue.receive(MOST, hidden_for=HIDDEN_FOR) if m["MessageId"] not in seen]:
            seen |= {message["MessageId"]: message for message in new}
    finally:
        queue.give_back(seen.values())
    letters = [read_letter(job, message, now=now) for message in seen.values()]
    return sorted(letters, key=lambda letter: letter.sent_at)


def redrive(
    deployment: Deployment,
    job: str,
    *,
    clock: Callable[[], datetime],
    report: Callable[[str], None],
) -> list[Redriven]:
    """Send each dead letter of a job to its function again, one after the other, and delete those that succeed.

    1. Receive one, out of sight of others for as long as the function may run.
    2. Leave it if the function would refuse it.
    3. Invoke, and wait for the result. A scheduled event raises unless all is done.
    4. Delete the message if the run succeeded.
    5. In the end, or when stopped, put those that were left back in sight.

    Args:
        deployment: where.
        job: its name.
        clock: the wall clock, aware.
        report: is told before each one what is sent, and after it what came of it.

    Raises:
        DeploymentError, TriggerError: AWS could not be asked; messages that did not succeed are still there.
    """
    queue = _Queue(deployment, job)
    limit = time_limit(deployment, job)
    held: dict[str, Message] = {}
    redriven: list[Redriven] = []
    try:
        while messages := queue.receive(1, hidden_for=limit + MARGIN):
            [message] = messages
            if message["MessageId"] in held:  # the redrive took so long that one is in sight again
                held[message["MessageId"]] = message
                break
            held[message["MessageId"]] = message
            letter = read_letter(job, message, now=clock())
            if letter.malformed is None:
                report(f"{job} {letter.time or letter.id}: sending it again, up to {limit} s")
            done = _send(deployment, letter, limit=limit)
            if done.is_settled:
                queue.delete(message)
                del held[letter.id]
            report(f"{job} {letter.time or letter.id}: {'settled' if done.is_settled else 'left'}: {done.outcome}")
            redriven.append(done)
    finally:
        queue.give_back(held.values())
    return redriven


def _send(deployment: Deployment, letter: DeadLetter, *, limit: int) -> Redriven:
    if letter.malformed or letter.event is None:
        return Redriven(letter=letter, is_settled=False, outcome=f"message {letter.id}: {letter.malformed}")
    try:
        result = invoke(deployment, letter.job, dict(letter.event), limit=limit)
    except TriggerError as error:
        return Redriven(letter=letter, is_settled=False, outcome=str(error))
    # A manual event returns whatever the status.
    is_settled = result["status"] == RunStatus.SUCCEEDED
    return Redriven(letter=letter, is_settled=is_settled, outcome=f"{result['run_id']} {result['status']}")


def _reason_of_lambda(envelope: Mapping[str, Any]) -> str:
    context = envelope["requestContext"] if isinstance(envelope["requestContext"], dict) else {}
    condition = str(context.get("condition", "given up"))
    if envelope.get("responsePayload") is None:  # too old, or never begun
        return condition
    return f"{condition}: {first_line(envelope['responsePayload'])}"


def _reason_of_delivery(attributes: Mapping[str, Any]) -> str:
    told = [attributes[name]["StringValue"] for name in ("ERROR_CODE", "ERROR_MESSAGE") if name in attributes]
    return f"not delivered: {': '.join(told)}" if told else "not said"


class _Queue:
    """The dead-letter queue of a job."""

    def __init__(self, deployment: Deployment, job: str) -> None:
        self._sqs = deployment.client("sqs")
        self._url = deployment.dead_letter_queue(job)
        self._what = f"{job}: dead letters"

    def receive(self, most: int, *, hidden_for: int) -> list[Message]:
        with asking(self._what):
            answer = self._sqs.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=most,
                VisibilityTimeout=hidden_for,
                WaitTimeSeconds=LONG_POLL,
                MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
                MessageAttributeNames=["All"],
            )
        messages: list[Message] = answer.get("Messages", [])
        return messages

    def delete(self, message: Message) -> None:
        with asking(self._what):
            self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])

    def give_back(self, messages: Iterable[Message]) -> None:
        """Put messages in sight. One that is so already makes no error: SQS answers for each by itself."""
        given = list(messages)
        for first in range(0, len(given), MOST):
            entries = [
                {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0}
                for number, message in enumerate(given[first : first + MOST])
            ]
            with asking(self._what):
                self._sqs.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)
