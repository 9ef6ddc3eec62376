"""Runs and statistics as tables for a terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from shared.domain.run import RunStatus
from shared.domain.tick import Trigger
from shared.runs.record import RunRecord

if TYPE_CHECKING:
    from shared.operations.statistics import JobStatistics

LONGEST_SLOT_ID = len("leaderboard:2026-01-12T00:00Z")  # the id of a manual run may be longer, and is folded
MINUTE = "%Y-%m-%d %H:%M"
NO_WORK = {"duration_ms", "leaderboards_unchanged"}  # counts of something else
STYLES = {
    RunStatus.RUNNING: "cyan",
    RunStatus.SUCCEEDED: "green",
    RunStatus.PARTIAL: "yellow",
    RunStatus.INCOMPLETE: "yellow",
    RunStatus.FAILED: "red",
    RunStatus.ABANDONED: "red",
}


def runs_table(records: Sequence[RunRecord]) -> Table:
    """The runs, one a line, with their counts except zeros."""
    table = Table(title=f"Last {len(records)} runs" if len(records) > 1 else None, box=SIMPLE_HEAD)
    table.add_column("run", no_wrap=all(len(record.run_id) <= LONGEST_SLOT_ID for record in records), overflow="fold")
    table.add_column("status")
    table.add_column("started (UTC)", no_wrap=True)
    table.add_column("ms", justify="right", no_wrap=True)
    table.add_column("did", overflow="fold")
    for record in records:
        counts = (record.counts or {}).items()
        table.add_row(
            record.run_id,
            Text(_status(record), style=STYLES[record.status]),
            f"{record.started_at:{MINUTE}}",
            "" if record.duration_ms is None else str(record.duration_ms),
            ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts if count and name not in NO_WORK),
        )
    return table


def _status(record: RunRecord) -> str:
    """The status, and what is unusual: a dry run, a manual one, a later attempt."""
    remarks = {
        "dry run": record.dry_run,
        "manual": record.trigger == Trigger.MANUAL and not record.dry_run,
        f"attempt {record.attempt}": record.attempt > 1,
    }
    return ", ".join([str(record.status), *(remark for remark, applies in remarks.items() if applies)])


def statistics_table(statistics: Sequence["JobStatistics"]) -> Table:
    """One line for each job."""
    table = Table(title="Statistics", box=SIMPLE_HEAD)
    table.add_column("job", no_wrap=True)
    statuses = [status for status in RunStatus if any(job.by_status[status] for job in statistics)]
    for name in ("runs", *statuses, *(["dry runs"] if any(job.dry_runs for job in statistics) else [])):
        table.add_column(str(name), justify="right", no_wrap=True)
    for name in ("rate", "median", "longest", "last success"):
        table.add_column(name, justify="right", no_wrap=True)
    for job in statistics:
        numbers = [job.runs, *(job.by_status[status] for status in statuses)]
        table.add_row(
            job.job,
            *map(str, numbers),
            *([str(job.dry_runs)] if any(other.dry_runs for other in statistics) else []),
            "" if job.success_rate is None else f"{job.success_rate:.1%}",
            "" if job.median_ms is None else f"{job.median_ms} ms",
            "" if job.longest_ms is None else f"{job.longest_ms} ms",
            "" if job.last_success_at is None else f"{job.last_success_at:%m-%d %H:%M}",
        )
    return table
