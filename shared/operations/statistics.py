"""Statistics of a history of runs."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

from shared.domain.run import RunStatus
from shared.runs.record import RunEnd, RunRecord, format_instant


@dataclass(frozen=True, kw_only=True)
class JobStatistics:
    """The runs of one job; durations in milliseconds. Dry runs, which belong to no slot, are counted apart.

    Attributes:
        by_status: how many runs have each status.
        success_rate: of the runs that ended, 0 to 1; None when none has.
    """

    job: str
    runs: int
    dry_runs: int
    by_status: Counter[RunStatus]
    success_rate: float | None
    median_ms: int | None
    longest_ms: int | None
    last_success_at: datetime | None

    def to_json(self) -> dict[str, Any]:
        """The statistics, JSON-ready."""
        return {
            "job": self.job,
            "runs": self.runs,
            "dry_runs": self.dry_runs,
            **{str(status): self.by_status[status] for status in RunStatus},
            "success_rate": self.success_rate,
            "median_ms": self.median_ms,
            "longest_ms": self.longest_ms,
            "last_success_at": format_instant(self.last_success_at) if self.last_success_at else None,
        }


def summarize(records: Iterable[RunRecord | RunEnd]) -> list[JobStatistics]:
    """The statistics of each job among the runs, by name."""
    by_job: dict[str, list[RunRecord | RunEnd]] = {}
    for record in records:
        by_job.setdefault(record.job, []).append(record)
    return [_summarize(job, of_job) for job, of_job in sorted(by_job.items())]


def _summarize(job: str, records: list[RunRecord | RunEnd]) -> JobStatistics:
    runs = [record for record in records if not record.dry_run]
    by_status = Counter(record.status for record in runs)
    ended = len(runs) - by_status[RunStatus.RUNNING]
    durations = [duration for record in runs if (duration := record.duration_ms) is not None]
    successes = [
        record.finished_at for record in runs if record.status is RunStatus.SUCCEEDED and record.finished_at is not None
    ]
    return JobStatistics(
        job=job,
        runs=len(runs),
        dry_runs=len(records) - len(runs),
        by_status=by_status,
        success_rate=by_status[RunStatus.SUCCEEDED] / ended if ended else None,
        median_ms=round(median(durations)) if durations else None,
        longest_ms=max(durations, default=None),
        last_success_at=max(successes, default=None),
    )
