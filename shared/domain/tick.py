"""The tick that starts a run: an event, checked in every part before anything is touched (docs/design.md, Contract)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from shared.domain.errors import BadInputError

SCHEDULED_EVENT = "Scheduled Event"  # the detail-type of EventBridge; our Scheduler input carries it too
MANUAL_KEYS = ("time", "trigger", "actor", "reason", "dry_run", "accept_orphans")
MAX_AHEAD = timedelta(minutes=5)  # of a scheduled event's time; up to that it is waited for: two clocks differ
MAX_TEXT = 500  # characters of actor and reason
EXAMPLE_TIME = "2026-01-12T00:00:00Z"
# Python's own reading is wider, and differs between its versions: week dates, any separator, no hyphens.
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?", re.ASCII)
SURROGATE = re.compile("[\ud800-\udfff]")  # JSON may hold half of a pair; UTF-8, and so DynamoDB, cannot
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)  # before any play; nearer to year 1 local dates would leave the calendar


class BadEventError(BadInputError):
    """The event is malformed. The message names the field and the value; nothing was touched."""


class Trigger(StrEnum):
    """Where the request for a run came from."""

    SCHEDULED = "scheduled"
    MANUAL = "manual"


@dataclass(frozen=True, kw_only=True)
class Tick:
    """One request for a run of a job.

    Attributes:
        at: the scheduled time, in UTC: the only business clock of a job.
        trigger: scheduled, or manual (anything that is not a scheduled event).
        slot: the scheduled time cut to the minute, when the run represents a slot of the schedule; None otherwise.
        request_id: the id of the invocation; a retry of the platform has the same.
        dry_run: report what would happen, change nothing.
        actor: who triggered it by hand, if given.
        reason: why, if given.
        accept_orphans: cleanup removes orphans however many they are; the other jobs have none (S28).
    """

    at: datetime
    trigger: Trigger
    slot: datetime | None
    request_id: str
    dry_run: bool = False
    actor: str | None = None
    reason: str | None = None
    accept_orphans: bool = False

    @property
    def is_scheduled(self) -> bool:
        """Whether Lambda retries and dead-letters this run, which takes an exception for each failure."""
        return self.trigger is Trigger.SCHEDULED

    def run_id(self, job: str) -> str:
        """The identity of the run: `<job>:<slot>`, such as `prize-pool:2026-01-12T00:00Z`, or `<job>:<request id>`.

        Every delivery and every retry of one slot has the same (S01).
        """
        return f"{job}:{self.slot:%Y-%m-%dT%H:%MZ}" if self.slot else f"{job}:{self.request_id}"

    @classmethod
    def from_event(cls, event: Any, *, now: datetime, request_id: str) -> "Tick":
        """Read the tick from an invocation's event.

        Args:
            event: an EventBridge scheduled event, or a manual one with any of `MANUAL_KEYS`.
            now: the wall clock, aware.
            request_id: the id of the invocation.

        Raises:
            BadEventError: the event is malformed, or its time lies ahead: of a manual one at all, of a scheduled one
                more than five minutes.
        """
        if not isinstance(event, Mapping):
            raise BadEventError(f"event: expected a JSON object, got {_shown(event)}")
        if event.get("detail-type") == SCHEDULED_EVENT:
            for key in ("dry_run", "accept_orphans"):
                if key in event:
                    raise BadEventError(f"event {key}: {_shown(event[key])} does not belong in a scheduled event")
            if event.get("time") is None:
                raise BadEventError(f"event time: missing; a scheduled event carries one, such as {EXAMPLE_TIME}")
            at = _read_time(event["time"], now, ahead=MAX_AHEAD)
            return cls(at=at, trigger=Trigger.SCHEDULED, slot=_cut(at), request_id=request_id)
        for key in event:
            if key not in MANUAL_KEYS:
                raise BadEventError(f"event key {_shown(key)}: unknown; expected any of {', '.join(MANUAL_KEYS)}")
        if event.get("trigger", Trigger.MANUAL) != Trigger.MANUAL:
            raise BadEventError(f"event trigger: expected 'manual', got {_shown(event['trigger'])}")
        dry_run = _read_flag(event, "dry_run")
        has_time = "time" in event
        # S27: a run before its slot would leave the real one with what it had not seen.
        at = _read_time(event["time"], now, ahead=timedelta()) if has_time else now.astimezone(UTC)
        return cls(
            at=at,
            trigger=Trigger.MANUAL,
            slot=_cut(at) if has_time and not dry_run else None,
            request_id=request_id,
            dry_run=dry_run,
            actor=_read_text(event, "actor"),
            reason=_read_text(event, "reason"),
            accept_orphans=_read_flag(event, "accept_orphans"),
        )


def _read_time(value: Any, now: datetime, *, ahead: timedelta) -> datetime:
    """An aware RFC 3339 instant, not more than so much after now; in UTC."""
    if not isinstance(value, str):
        raise BadEventError(f"event time: expected text such as {EXAMPLE_TIME}, got {_shown(value)}")
    try:
        at = datetime.fromisoformat(value) if RFC_3339.fullmatch(value) else None
    except ValueError:
        at = None
    if at is None:
        raise BadEventError(f"event time: {_shown(value)} is not a time such as {EXAMPLE_TIME}")
    if at.utcoffset() is None:
        raise BadEventError(f"event time: {_shown(value)} has no zone; write it as in {EXAMPLE_TIME}")
    if at < EARLIEST:
        raise BadEventError(f"event time: {_shown(value)} is before 1970")
    if at - now > ahead:
        raise BadEventError(
            f"event time: {_shown(value)} is in the future; it is now {now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        )
    return at.astimezone(UTC)


def _read_flag(event: Mapping[str, Any], key: str) -> bool:
    value = event.get(key, False)
    if not isinstance(value, bool):
        raise BadEventError(f"event {key}: expected true or false, got {_shown(value)}")
    return value


def _read_text(event: Mapping[str, Any], key: str) -> str | None:
    value = event.get(key)
    if value is not None and not isinstance(value, str):
        raise BadEventError(f"event {key}: expected text, got {_shown(value)}")
    if value is not None and len(value) > MAX_TEXT:
        raise BadEventError(f"event {key}: {len(value)} characters are too many; at most {MAX_TEXT}")
    if value is not None and SURROGATE.search(value):
        raise BadEventError(f"event {key}: {_shown(value)} is not valid Unicode")
    return value


def _cut(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


def _shown(value: Any) -> str:
    """The value as it goes into a message: on one line, escaped, and cut."""
    try:
        text = ascii(value)
    except (RecursionError, ValueError):  # nested too deeply; an integer of thousands of digits
        text = f"{type(value).__name__} too large to show"
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004 - what fits in a line
