"""Fakes that behave: a clock that is set manually, an invocation's context, events and runs."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from shared.domain.run import Run
from shared.domain.tick import Tick
from shared.runs.record import RunRecord
from shared.runs.store import Attempt, RunStore


@dataclass
class FakeClock:
    """A wall clock that moves when it is set, or by sleeping."""

    now: datetime = datetime(2026, 1, 12, 0, 0, 30, tzinfo=UTC)
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> datetime:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)


@dataclass
class FakeContext:
    """What Lambda passes with the event."""

    aws_request_id: str = field(default_factory=lambda: str(uuid4()))
    remaining_ms: int = 300_000

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


def scheduled_event(time: str) -> dict[str, Any]:
    """What EventBridge sends."""
    return {
        "version": "0",
        "id": str(uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "123456789012",
        "time": time,
        "region": "us-east-1",
        "resources": [],
        "detail": {},
    }


def make_run(
    at: str, *, job: str = "prize-pool", dry_run: bool = False, scheduled: bool = True, seconds_left: float = 300
) -> Run:
    """A run for a slot, by default with time enough."""
    now = datetime.fromisoformat(at) + timedelta(minutes=1)
    event = scheduled_event(at) if scheduled and not dry_run else {"time": at, "dry_run": dry_run}
    tick = Tick.from_event(event, now=now, request_id=str(uuid4()))
    return Run(id=tick.run_id(job), tick=tick, time_left=lambda: timedelta(seconds=seconds_left))


def save_run(store: RunStore, record: RunRecord) -> None:
    """Put the record of a run that has ended into an empty place, as if its start had not been recorded."""
    store.finish(Attempt(record=record), record)
