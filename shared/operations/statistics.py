"""Statistics of a history of runs."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from math import ceil
from typing import Any
from zoneinfo import ZoneInfo

from shared.domain.run import RunStatus
from shared.domain.tick import Trigger
from shared.operations.slots import slots
from shared.runs.record import RunEnd, RunRecord, format_instant


@dataclass(frozen=True, kw_only=True)
class Timetable:
    """When a job should have fired, by its present schedule.

    Attributes:
        cron: five fields, read in the zone.
        delivery_window: how long after its slot an event may still be delivered.
        paused: spans, half-open, of which no slot counts.
    """

    cron: str
    zone: ZoneInfo
    delivery_window: timedelta
    paused: Sequence[tuple[datetime, datetime]] = ()

    def missed(self, *, job: str, run_ids: Collection[str], begins: datetime, now: datetime) -> list[datetime]:
        """The slots from an instant on of which there is no run, though none can be delivered any more."""
        ended = takewhile(
            lambda slot: slot <= now - self.delivery_window, slots(self.cron, self.zone, begins=begins)
        )  # fmt: skip
        return [
            slot
            for slot in ended
            if f"{job}:{slot:%Y-%m-%dT%H:%MZ}" not in run_ids
            and not any(begin <= slot < end for begin, end in self.paused)
        ]


@dataclass(frozen=True, kw_only=True)
class JobStatistics:
    """The runs of one job; durations in milliseconds. Dry runs, which belong to no slot, are counted apart.

    Attributes:
        by_status: how many runs have each status.
        success_rate: of the runs that ended, 0 to 1; None when none has.
        p50_ms: half of the runs took no longer; so for p95 and p99.
        missed: slots since the first scheduled run that is stored, of which there is no run; None: not known.
    """

    job: str
    runs: int
    dry_runs: int
    by_status: Counter[RunStatus]
    success_rate: float | None
    p50_ms: int | None
    p95_ms: int | None
    p99_ms: int | None
    longest_ms: int | None
    last_success_at: datetime | None
    missed: Sequence[datetime] | None

    def to_json(self) -> dict[str, Any]:
        """The statistics, JSON-ready."""
        return {
            "job": self.job,
            "runs": self.runs,
            "dry_runs": self.dry_runs,
            **{str(status): self.by_status[status] for status in RunStatus},
            "missed": None if self.missed is None else len(self.missed),
            "missed_slots": None if self.missed is None else [format_instant(slot) for slot in self.missed],
            "success_rate": self.success_rate,
            "p50_ms": self.p50_ms,
            "p95_ms": self.p95_ms,
            "p99_ms": self.p99_ms,
            "longest_ms": self.longest_ms,
            "last_success_at": format_instant(self.last_success_at) if self.last_success_at else None,
        }


def summarize(
    records: Iterable[RunRecord | RunEnd],
    *,
    timetables: Mapping[str, Timetable] | None = None,
    now: datetime | None = None,
    since: datetime | None = None,
) -> list[JobStatistics]:
    """The statistics of each job among the runs, by name.

    Args:
        records: all that are stored of the jobs, also before `since`: the first one tells since when a job fires.
        timetables: by job; of one that has none, missed slots are not known.
        now: the wall clock, aware; needed with timetables.
        since: count what began, or should have, at or after it; None: all.
    """
    by_job: dict[str, list[RunRecord | RunEnd]] = {}
    for record in records:
        by_job.setdefault(record.job, []).append(record)
    statistics = []
    for job, stored in sorted(by_job.items()):
        timetable = (timetables or {}).get(job)
        missed = _missed(timetable, job, stored, now=now, since=since) if timetable and now else None
        counted = stored if since is None else [record for record in stored if record.started_at >= since]
        statistics.append(_summarize(job, counted, missed))
    return statistics


def _missed(
    timetable: Timetable, job: str, stored: Sequence[RunRecord | RunEnd], *, now: datetime, since: datetime | None
) -> list[datetime]:
    # The id of a scheduled run ends with its slot, always of the same width.
    first = min((record.run_id for record in stored if record.trigger == Trigger.SCHEDULED), default=None)
    if first is None:
        return []
    begins = datetime.fromisoformat(first.removeprefix(f"{job}:"))
    run_ids = {record.run_id for record in stored}
    return timetable.missed(job=job, run_ids=run_ids, begins=max(begins, since or begins), now=now)


def _summarize(job: str, records: list[RunRecord | RunEnd], missed: Sequence[datetime] | None) -> JobStatistics:
    runs = [record for record in records if not record.dry_run]
    by_status = Counter(record.status for record in runs)
    ended = len(runs) - by_status[RunStatus.RUNNING]
    durations = sorted(duration for record in runs if (duration := record.duration_ms) is not None)
    successes = [
        record.finished_at for record in runs if record.status is RunStatus.SUCCEEDED and record.finished_at is not None
    ]
    return JobStatistics(
        job=job,
        runs=len(runs),
        dry_runs=len(records) - len(runs),
        by_status=by_status,
        success_rate=by_status[RunStatus.SUCCEEDED] / ended if ended else None,
        p50_ms=_percentile(durations, 50),
        p95_ms=_percentile(durations, 95),
        p99_ms=_percentile(durations, 99),
        longest_ms=durations[-1] if durations else None,
        last_success_at=max(successes, default=None),
        missed=missed,
    )


def _percentile(ordered: Sequence[int], percent: int) -> int | None:
    """By the nearest rank: a duration that some run had."""
    return ordered[ceil(len(ordered) * percent / 100) - 1] if ordered else None
