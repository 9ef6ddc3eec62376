"""Dead letters: shown, sent again with their original event, or discarded.

A redrive invokes the function synchronously and deletes the message only after the run succeeded. Sent asynchronously,
the message would be gone before anybody knew whether it helped; a synchronous invocation that fails goes to no queue
and nothing else retries it, so the message is the one copy, and stays. A slot that succeeded meanwhile does what is
still undone, or returns its stored result.

A message that is looked at is hidden from others for half a minute, one that is sent again for a minute at a time: so
long it stays hidden when the command is killed.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event, Thread
from typing import Any

from shared.domain.errors import ArcadeJobsError, BadInputError
from shared.domain.run import RunStatus
from shared.domain.tick import BadEventError, Tick
from shared.operations.deployment import Deployment, aws_errors
from shared.operations.trigger import describe_failure, invoke, time_limit
from shared.runs.record import format_instant

LISTING = 30  # seconds for which a listed message stays hidden should the listing be killed
SENDING = 60  # the same of one that is sent again; extended at each third of it
LONG_POLL = 1  # seconds; a short poll queries only some of the servers of SQS, and may miss messages
UNDELIVERED = "ERROR_CODE"  # the attribute of a message that a rule or a schedule could not deliver
BATCH = 10  # messages; the most that SQS returns or takes in one call

Message = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """An event that was dead-lettered.

    Attributes:
        id: of the SQS message.
        body: the message, as text.
        event: the original, as the function received it or would have; None when the message holds none.
        reason: why it was dead-lettered, in one line.
        malformed: what is wrong with it, in one line, if the function would refuse it; None if it can be sent again.
        attempts: how often the function was invoked; 0 of an event that was not delivered, None if it is not known.
        stack: where the function's last error was raised, in lines.
        run_id: of the run that failed; None if there was none.
        received: how often it was received before.
        sent_at: when it entered the queue.
    """

    id: str
    job: str
    body: str
    event: Mapping[str, Any] | None
    reason: str
    malformed: str | None
    attempts: int | None
    stack: tuple[str, ...]
    run_id: str | None
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
            "attempts": self.attempts,
            "run_id": self.run_id,
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
    is_of_lambda = isinstance(body, dict) and "requestContext" in body
    attributes = message.get("MessageAttributes", {})
    context = body["requestContext"] if is_of_lambda and isinstance(body["requestContext"], dict) else {}
    if is_of_lambda:
        event, reason = body.get("requestPayload"), _reason_of_lambda(context, body.get("responsePayload"))
    else:
        event, reason = body, _reason_of_delivery(attributes)
    malformed = run_id = None
    request_id = context.get("requestId")
    try:
        tick = Tick.from_event(event, now=now, request_id=str(request_id))
    except BadEventError as error:
        malformed = str(error)
    else:
        run_id = tick.run_id(job) if is_of_lambda and (tick.slot or request_id) else None
    system = message["Attributes"]
    return DeadLetter(
        id=message["MessageId"],
        job=job,
        body=message["Body"],
        event=event if isinstance(event, dict) else None,
        reason=" ".join(reason.split()),
        malformed=malformed,
        attempts=context.get("approximateInvokeCount") if is_of_lambda else 0 if UNDELIVERED in attributes else None,
        stack=_stack(body.get("responsePayload")) if is_of_lambda else (),
        run_id=run_id,
        received=int(system["ApproximateReceiveCount"]) - 1,
        sent_at=datetime.fromtimestamp(int(system["SentTimestamp"]) / 1000, tz=UTC),
    )


def list_dead_letters(deployment: Deployment, job: str, *, now: datetime) -> list[DeadLetter]:
    """All dead letters of a job, as `list_all_dead_letters`."""
    return list_all_dead_letters(deployment, [job], now=now)


def list_all_dead_letters(deployment: Deployment, jobs: Collection[str], *, now: datetime) -> list[DeadLetter]:
    """The dead letters of some jobs, of each the oldest first. They stay in their queues; SQS counts the receptions.

    All queues are read at once. One that counts no message, and gives none to a short poll, is taken for empty: a
    message of the last seconds may be missed, as the count of SQS is approximate.

    Args:
        deployment: of the queues.
        jobs: their names.
        now: the wall clock, aware.

    Raises:
        ArcadeJobsError: SQS refused.
    """
    queues = [_Queue(deployment, job) for job in jobs]  # here: making clients is not safe in threads, using them is
    with ThreadPoolExecutor(len(queues)) as pool:
        return [found for of_queue in pool.map(lambda queue: _list(queue, now=now), queues) for found in of_queue]


def count_held(deployment: Deployment, jobs: Collection[str]) -> int:
    """How many dead letters of some jobs cannot be seen now, since a command has them; about, as SQS counts.

    Raises:
        ArcadeJobsError: SQS refused.
    """
    return sum(_Queue(deployment, job).count("ApproximateNumberOfMessagesNotVisible") for job in jobs)


def find_dead_letter(found: Iterable[DeadLetter], id_: str) -> DeadLetter:
    """The one among dead letters whose id begins so.

    Raises:
        BadInputError: several ids have the beginning.
        ArcadeJobsError: none has.
    """
    matching = [dead_letter for dead_letter in found if dead_letter.id.startswith(id_.lower())]
    if len(matching) > 1:
        raise BadInputError(f"ID: {id_!r} is the beginning of {', '.join(each.id for each in matching)}")
    if not matching:
        raise ArcadeJobsError(f"dead letter {id_!r}: not found; arcade-jobs dead-letters list shows what there is")
    return matching[0]


def discard(deployment: Deployment, dead_letter: DeadLetter) -> None:
    """Delete a dead letter, and nothing else.

    Raises:
        ArcadeJobsError: it is not there any more, or another command has it; or SQS refused.
    """
    queue = _Queue(deployment, dead_letter.job)
    with queue.receive_all() as messages:
        for message in messages:
            if message["MessageId"] == dead_letter.id:
                queue.delete(message)
                return
    raise ArcadeJobsError(
        f"dead letter {dead_letter.id}: gone, or another command has it for up to {SENDING} s; nothing was deleted"
    )


def redrive(
    deployment: Deployment,
    job: str,
    *,
    clock: Callable[[], datetime],
    report: Callable[[str], None],
) -> list[RedriveResult]:
    """Send each dead letter of a job to its function again, one after the other, and delete those that succeed.

    1. Receive one message, hidden from others for as long as this command lives.
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
    wait = queue.first_wait()
    with queue.hidden(kept):
        while messages := queue.receive(1, visibility_timeout=SENDING, wait=wait):
            wait = LONG_POLL
            [message] = messages
            is_repeated = message["MessageId"] in kept  # hiding it longer failed
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
    return results


def _list(queue: "_Queue", *, now: datetime) -> list[DeadLetter]:
    with queue.receive_all() as messages:
        found = [read_dead_letter(queue.job, message, now=now) for message in messages]
    return sorted(found, key=lambda dead_letter: dead_letter.sent_at)


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


def _reason_of_lambda(context: Mapping[str, Any], response: Any) -> str:
    condition = str(context.get("condition", "dead-lettered"))
    if response is None:  # too old, or never begun
        return condition
    return f"{condition}: {describe_failure(response)}"


def _stack(response: Any) -> tuple[str, ...]:
    stack = response.get("stackTrace") if isinstance(response, dict) else None
    return tuple(str(line).rstrip() for line in stack) if isinstance(stack, list) else ()


def _reason_of_delivery(attributes: Mapping[str, Any]) -> str:
    errors = [attributes[name]["StringValue"] for name in (UNDELIVERED, "ERROR_MESSAGE") if name in attributes]
    return f"not delivered: {': '.join(errors)}" if errors else "no reason given"


class _Queue:
    """The dead-letter queue of a job."""

    def __init__(self, deployment: Deployment, job: str) -> None:
        self.job = job
        self._sqs = deployment.client("sqs")
        self._url = deployment.dead_letter_queue(job)
        self._subject = f"{job}: dead letters"

    def receive(self, most: int, *, visibility_timeout: int, wait: int) -> list[Message]:
        """Up to so many messages, after so many seconds at most."""
        with aws_errors(self._subject):
            response = self._sqs.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=most,
                VisibilityTimeout=visibility_timeout,
                WaitTimeSeconds=wait,
                MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
                MessageAttributeNames=["All"],
            )
        messages: list[Message] = response.get("Messages", [])
        return messages

    def first_wait(self) -> int:
        """How many seconds a first reception waits: none, of a queue that counts no message."""
        return LONG_POLL if self.count("ApproximateNumberOfMessages") else 0

    def count(self, name: str) -> int:
        """A number that SQS keeps of the queue, by the name of its attribute."""
        with aws_errors(self._subject):
            found = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=[name])
        return int(found["Attributes"][name])

    @contextmanager
    def receive_all(self) -> Iterator[list[Message]]:
        """All messages, each once; visible again afterwards, unless they were deleted."""
        seen: dict[str, Message] = {}
        wait = self.first_wait()
        try:
            while new := [
                message
                for message in self.receive(BATCH, visibility_timeout=LISTING, wait=wait)
                if message["MessageId"] not in seen
            ]:
                seen |= {message["MessageId"]: message for message in new}
                wait = LONG_POLL
            yield list(seen.values())
        finally:
            self.release(seen.values())

    @contextmanager
    def hidden(self, messages: Mapping[str, Message]) -> Iterator[None]:
        """Keep messages hidden, those too that are added meanwhile; make what is left visible at the end."""
        is_over = Event()

        def extend() -> None:
            while not is_over.wait(SENDING / 3):
                with suppress(ArcadeJobsError):  # the next time, or it is received once more
                    self._set_visibility(list(messages.values()), SENDING)

        thread = Thread(target=extend, daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()
            self.release(messages.values())

    def delete(self, message: Message) -> None:
        with aws_errors(self._subject):
            self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])

    def release(self, messages: Iterable[Message]) -> None:
        """Make messages visible again. One that is so already, or deleted, is no error: SQS reports each by itself."""
        self._set_visibility(list(messages), 0)

    def _set_visibility(self, messages: list[Message], seconds: int) -> None:
        for first in range(0, len(messages), BATCH):
            entries = [
                {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": seconds}
                for number, message in enumerate(messages[first : first + BATCH])
            ]
            with aws_errors(self._subject):
                self._sqs.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)
