"""What the runner gives to a job, and gets back: the run, and the outcome of its work."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

from shared.domain.errors import ArcadeJobsError
from shared.domain.tick import Tick
from shared.metrics import Metric

# S19: kept of an invocation for the record of the run: DynamoDB's client gives up after two attempts of 2 s to connect
# and 3 s to read, with up to a second between them. No statement lasts longer than until then.
REPORTING_TIME = timedelta(seconds=12)
# A job starts nothing new when less than this is left of its invocation: enough for its last statements too.
STOP_BEFORE_LIMIT = REPORTING_TIME + timedelta(seconds=3)


class OutOfTimeError(ArcadeJobsError):
    """The job has to stop in the middle of something, for lack of time; the next attempt continues."""


Result = Mapping[str, Any]  # JSON-ready, in the job's own shape
Merge = Callable[[Result, Result], Result]


class RunStatus(StrEnum):
    """The status of a run (docs/design.md, Contract). `ABANDONED` is derived when read, never stored."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    INCOMPLETE = "incomplete"
    ABANDONED = "abandoned"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One attempt at a run.

    Attributes:
        id: `<job>:<slot>` or `<job>:<request id>`; the pools that it settles carry it.
        tick: when, by whom, and whether it is a dry run.
        time_left: what is left of the invocation, now.
    """

    id: str
    tick: Tick
    time_left: Callable[[], timedelta]

    @property
    def must_stop(self) -> bool:
        """Whether the job leaves the rest to the next attempt, for lack of time."""
        return self.must_stop_after(timedelta())

    def must_stop_after(self, pause: timedelta) -> bool:
        """Whether there is no time for anything after a pause."""
        return self.time_left() - pause < STOP_BEFORE_LIMIT


def take_latest(earlier: Result, latest: Result) -> dict[str, Any]:
    """The result of two attempts of which nothing adds up: the latest value of each key.

    Of a list that was cut to fit, `cut` has the true length (docs/design.md, Result).
    """
    cut = {name: length for name, length in earlier.get("cut", {}).items() if name not in latest}
    cut |= latest.get("cut", {})
    merged = {name: value for name, value in {**earlier, **latest}.items() if name != "cut"}
    return merged | {"cut": cut} if cut else merged


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a job did.

    Attributes:
        result: JSON-ready, in the job's own shape; its lists are complete.
        items_processed: pools settled, boards ranked, rows removed by this attempt: the metric `ItemsProcessed`.
        items_failed: how many pools, boards or steps failed: the metric `ItemsFailed`.
        is_complete: False when the run stopped for lack of time.
        metrics: further counts to publish.
        merge: the result of a run from those of two attempts, an earlier and the latest. It is the earlier one,
            unchanged, if the latest did nothing.
    """

    result: Result
    items_processed: int
    items_failed: int
    is_complete: bool = True
    metrics: dict[Metric, int] = field(default_factory=dict)
    merge: Merge = take_latest

    @property
    def status(self) -> RunStatus:
        """S05: one failed item makes it partial. Out of time comes first: the rest is tried again with what failed."""
        if not self.is_complete:
            return RunStatus.INCOMPLETE
        return RunStatus.PARTIAL if self.items_failed else RunStatus.SUCCEEDED
