"""Running a job now, by Lambda's invoke."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from botocore.config import Config

from shared.domain.errors import ArcadeJobsError
from shared.domain.tick import EARLIEST, MAX_TEXT, Tick
from shared.operations.deployment import CLIENT_CONFIG, Deployment, aws_errors

MARGIN = 30  # seconds a caller waits beyond the function's own limit


def manual_event(
    *,
    actor: str,
    at: str | None,
    dry_run: bool,
    reason: str | None,
    now: datetime,
    accept_orphans: bool = False,
) -> dict[str, Any]:
    """The event of a manual run (docs/design.md, Contract).

    Args:
        actor: who triggers it.
        at: the slot to run for, such as `2026-01-12T00:00:00Z`; None: now, for no slot.
        dry_run: report what would happen, change nothing.
        reason: why; stored with the run.
        now: the wall clock, aware.
        accept_orphans: remove orphans however many they are.

    Raises:
        BadEventError: what the function would refuse; nothing was sent.
    """
    event: dict[str, Any] = {"trigger": "manual", "actor": actor[:MAX_TEXT]}
    if at is not None:
        event["time"] = at
    if reason is not None:
        event["reason"] = reason
    if dry_run:
        event["dry_run"] = True
    if accept_orphans:
        event["accept_orphans"] = True
    Tick.from_event(event, now=now, request_id="")
    return event


def trigger(
    deployment: Deployment,
    job: str,
    event: dict[str, Any],
    *,
    is_asynchronous: bool = False,
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Invoke a job's function once.

    A synchronous call waits as long as the function may run, and is never sent again: a second one would be a second
    run. An asynchronous one is queued by Lambda, which retries it only if the invocation itself fails: a manual run
    returns its result, regardless of the status.

    Args:
        deployment: of the function.
        job: its name.
        event: as `manual_event` builds it.
        is_asynchronous: do not wait for the result.
        report: takes one line, before anything happens: which function of which account.

    Returns:
        The result (docs/design.md, Contract); of an asynchronous call, `job`, `status: "queued"`, `request_id`, and the
        `run_id` that will appear; None for a run of no slot in the laptop cloud.

    Raises:
        ArcadeJobsError: Lambda refused, no response came, or the job raised.
    """
    report(f"{deployment}: {deployment.function(job)}")
    result = invoke(deployment, job, event, limit=time_limit(deployment, job), is_asynchronous=is_asynchronous)
    if not is_asynchronous:
        return result
    run_id = _queued_run_id(job, event, result["request_id"])
    # The emulator gives the function another id than the caller: of no slot the id is not known there.
    is_known = deployment.endpoint is None or result["request_id"] not in run_id
    return result | {"run_id": run_id if is_known else None}


def _queued_run_id(job: str, event: dict[str, Any], request_id: str) -> str:
    """The id that the function will give to the run of an event; the invocation has the id of the request."""
    # When it is read no longer matters: a time that lies ahead was refused.
    now = datetime.fromisoformat(event["time"]) if "time" in event else EARLIEST
    return Tick.from_event(event, now=now, request_id=request_id).run_id(job)


def time_limit(deployment: Deployment, job: str) -> int:
    """How long a job's function may run, in seconds.

    Raises:
        ArcadeJobsError: Lambda refused.
    """
    with aws_errors(job):
        found = deployment.client("lambda").get_function_configuration(FunctionName=deployment.function(job))
    limit: int = found["Timeout"]
    return limit


def invoke(
    deployment: Deployment, job: str, event: dict[str, Any], *, limit: int, is_asynchronous: bool = False
) -> dict[str, Any]:
    """Send an event to a job's function, once; as `trigger`, but without a report.

    Args:
        deployment: of the function.
        job: its name.
        event: scheduled or manual.
        limit: how long the function may run, in seconds.
        is_asynchronous: do not wait for the result.

    Raises:
        ArcadeJobsError: Lambda refused, no response came, or the job raised.
    """
    once = CLIENT_CONFIG.merge(Config(read_timeout=limit + MARGIN, retries={"total_max_attempts": 1}))
    with aws_errors(job):
        response = deployment.client("lambda", once).invoke(
            FunctionName=deployment.function(job),
            InvocationType="Event" if is_asynchronous else "RequestResponse",
            Payload=json.dumps(event).encode(),
        )
    if is_asynchronous:
        return {"job": job, "status": "queued", "request_id": response["ResponseMetadata"]["RequestId"]}
    payload = json.loads(response["Payload"].read() or b"null")
    if "FunctionError" in response:
        raise ArcadeJobsError(f"{job}: {describe_failure(payload)}")
    result: dict[str, Any] = payload
    return result


def describe_failure(payload: Any) -> str:
    """What Lambda returns for a function that raised or was killed, in one line."""
    if not isinstance(payload, dict):
        return str(payload)
    kind, message = payload.get("errorType"), payload.get("errorMessage", payload)
    return " ".join(f"{kind}: {message}".split()) if kind else " ".join(str(message).split())
