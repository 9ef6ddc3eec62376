"""What the runner gives to a job, and gets back: the run, and the outcome of its work."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

from shared.domain.errors import ArcadeJobsError
from shared.domain.tick import Tick
from shared.metrics import Metric

# A job starts nothing new when less than this is left of its invocation: enough for the statement under way to
# finish, the result to be read and the run to be recorded.
STOP_BEFORE_LIMIT = timedelta(seconds=15)


class OutOfTimeError(ArcadeJobsError):
    """The job has to stop in the middle of something, for lack of time; the next attempt continues."""


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
        return self.time_left() < STOP_BEFORE_LIMIT


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a job did.

    Attributes:
        result: JSON-ready, in the job's own shape; its lists are complete.
        items_processed: pools settled, boards ranked, rows removed by this attempt: the metric `ItemsProcessed`.
        items_failed: how many pools, boards or steps failed: the metric `ItemsFailed`.
        is_complete: False when the run stopped for lack of time.
        metrics: further counts to publish.
    """

    result: dict[str, Any]
    items_processed: int
    items_failed: int
    is_complete: bool = True
    metrics: dict[Metric, int] = field(default_factory=dict)

    @property
    def status(self) -> RunStatus:
        """S05: one failed item makes it partial. Out of time comes first: the rest is tried again with what failed."""
        if not self.is_complete:
            return RunStatus.INCOMPLETE
        return RunStatus.PARTIAL if self.items_failed else RunStatus.SUCCEEDED
