"""Weeks of an arcade on a virtual clock: plays arrive, and every job fires at each of its slots.

The jobs run as they do in Lambda: through their handlers, with the events of EventBridge.
"""

import json
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4
from zoneinfo import ZoneInfo

from infra.demo.platform import Platform, Pool
from infra.demo.plays import Play, Settlement
from infra.jobs import JOBS, Job
from shared.app import App
from shared.domain.periods import Calendar, has_ended
from shared.operations.slots import slots as slots_of

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

EVENTS = Path(__file__).parents[2] / "events"
UTC_ZONE = ZoneInfo("UTC")
FIRST_SLOT = datetime(2026, 1, 5, 1, tzinfo=UTC)  # the first hour of the plays is over
LAST_SLOT = datetime(2026, 1, 27, 3, tzinfo=UTC)  # a day after the last pools are settled
STARTS_AFTER = timedelta(seconds=15)  # a job's start after its slot: the settlement grace is over, nothing waits
INVOCATION_LIMIT = timedelta(minutes=5)


class VirtualClock:
    """A wall clock that can be set, and runs on from there at normal speed."""

    def __init__(self, now: datetime) -> None:
        self.set(now)

    def set(self, now: datetime) -> None:
        """Set the time, an aware instant."""
        self._now, self._set_at = now, time.monotonic()

    def __call__(self) -> datetime:
        """The current time."""
        return self._now + timedelta(seconds=time.monotonic() - self._set_at)

    def sleep(self, seconds: float) -> None:
        """Move the clock forward at once."""
        self._now += timedelta(seconds=seconds)


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """The context that Lambda passes with the event."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        """All the time there is: a replay does not test the limit."""
        return INVOCATION_LIMIT // timedelta(milliseconds=1)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What is replayed.

    Attributes:
        plays: all of them.
        settlements: how each of their pools must be settled once its period has ended.
        zone: of the periods and of the schedules that follow it.
        slots: in their order; the last one ends the replay.
    """

    plays: Sequence[Play]
    settlements: Sequence[Settlement]
    zone: ZoneInfo
    slots: Sequence[datetime]


def list_slots(until: datetime, *, begins: datetime = FIRST_SLOT, zone: ZoneInfo = UTC_ZONE) -> list[datetime]:
    """The instants at which a job fires, from the first to the last."""
    return sorted({slot for job in JOBS for slot in _fires(job, zone, begins=begins, until=until)})


def replay(
    plays: Iterable[Play],
    *,
    platform: Platform,
    app: App,
    clock: VirtualClock,
    slots: Sequence[datetime],
    zone: ZoneInfo = UTC_ZONE,
) -> Iterator[datetime]:
    """Replay slot by slot: the plays since the last one arrive, then each job fires whose slot it is.

    Args:
        plays: all of them; those after the last slot never arrive.
        platform: receives them.
        app: for the handlers; it reads the time from the clock.
        clock: is set for each slot.
        slots: in their order.
        zone: of the schedules that follow the zone of the periods.

    Yields:
        Each slot after its runs.

    Raises:
        RunNotSucceededError: a run did not succeed.
    """
    plays = list(plays)
    started = _by_slot(plays, slots, lambda play: play.created_at)
    completed = _by_slot(plays, slots, lambda play: play.completed_at)
    events = {job: json.loads((EVENTS / f"{job.stem}.json").read_text(encoding="utf-8")) for job in JOBS}
    handlers = {job: job.load_handler() for job in JOBS}
    fires = {job: set(_fires(job, zone, begins=slots[0], until=slots[-1])) for job in JOBS}
    for slot in slots:
        platform.receive(started=started.get(slot, []), completed=completed.get(slot, []))
        clock.set(slot + STARTS_AFTER)
        for job in JOBS:
            if slot in fires[job]:
                invocation = cast("LambdaContext", Invocation(aws_request_id=str(uuid4())))
                replace(handlers[job], app=lambda: app)(_at(events[job], slot), invocation)
        yield slot


def compare(pools: Iterable[Pool], settlements: Iterable[Settlement], *, at: datetime, calendar: Calendar) -> list[str]:
    """The pools that are not as expected, one line each.

    Args:
        pools: all that there are.
        settlements: how each must be settled, if its period ended at or before `at`.
        at: the last slot.
        calendar: of the periods.
    """
    found = {(pool.settlement.game_type, pool.settlement.period): pool for pool in pools}
    differences = []
    for expected in settlements:
        if not has_ended(expected.period, at, calendar):
            continue
        pool = found.get((expected.game_type, expected.period))
        if pool is None or pool.status != "finalized" or pool.settlement != expected:
            differences.append(f"expected {expected}, found {pool or 'no such pool'}")
    return differences


def _by_slot(
    plays: Iterable[Play], slots: Sequence[datetime], instant: Callable[[Play], datetime | None]
) -> dict[datetime, list[Play]]:
    """The plays by the first slot after an instant of each."""
    by_slot: dict[datetime, list[Play]] = {}
    for play in plays:
        if (at := instant(play)) and (number := bisect_right(slots, at)) < len(slots):
            by_slot.setdefault(slots[number], []).append(play)
    return by_slot


def _fires(job: Job, zone: ZoneInfo, *, begins: datetime, until: datetime) -> Iterator[datetime]:
    """The slots of a job from one instant to another, both of them included."""
    fired = slots_of(job.cron, zone if job.follows_zone else UTC_ZONE, begins=begins)
    return takewhile(lambda slot: slot <= until, fired)


def _at(event: dict[str, Any], slot: datetime) -> dict[str, Any]:
    """The event as EventBridge would send it for a slot."""
    return event | {"id": str(uuid4()), "time": f"{slot:%Y-%m-%dT%H:%M:%SZ}"}
