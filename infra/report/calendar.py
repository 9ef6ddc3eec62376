"""The calendar of a job: its days and hours, and how the run of each slot ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from infra.report.facts import JobFacts
from shared.domain.run import RunStatus

DAYS = 35  # at most: what fits beside each other on a phone
MISSED = "missed"
# The worst of an hour is shown.
SEVERITY = (
    RunStatus.SUCCEEDED,
    RunStatus.RUNNING,
    RunStatus.INCOMPLETE,
    RunStatus.PARTIAL,
    MISSED,
    RunStatus.FAILED,
    RunStatus.ABANDONED,
)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """An hour of a day in which a slot was.

    Attributes:
        status: of its run, or `missed`.
        slot: its instant, in the job's zone.
        run_id: None: there is no run.
    """

    status: str
    slot: datetime
    run_id: str | None


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """Cells by day and hour, in the job's zone; none where no slot was."""

    days: Sequence[date]
    hours: Sequence[int]
    cells: Mapping[tuple[date, int], Cell]


def calendar_of(job: JobFacts, *, since: datetime, now: datetime) -> Calendar:
    """The last days of a job, from its first run on. Runs of no slot are left out."""
    cells: dict[tuple[date, int], Cell] = {}
    missed = (job.statistics.missed or ()) if job.statistics else ()
    found = [Cell(status=MISSED, slot=slot.astimezone(job.zone), run_id=None) for slot in missed]
    found += [
        Cell(status=run.status, slot=run.scheduled_at.astimezone(job.zone), run_id=run.run_id)
        for run in job.runs
        if run.run_id == f"{job.job}:{run.scheduled_at:%Y-%m-%dT%H:%MZ}"
    ]
    begins = max(since, now - timedelta(days=DAYS - 1)).astimezone(job.zone).date()
    for cell in found:
        key = (cell.slot.date(), cell.slot.hour)
        shown = cells.get(key)
        if key[0] >= begins and (shown is None or SEVERITY.index(cell.status) > SEVERITY.index(shown.status)):
            cells[key] = cell
    if not cells:
        return Calendar(days=(), hours=(), cells={})
    first, last = min(day for day, _ in cells), now.astimezone(job.zone).date()
    return Calendar(
        days=[first + timedelta(days=number) for number in range((last - first).days + 1)],
        hours=sorted({hour for _, hour in cells}),
        cells=cells,
    )
