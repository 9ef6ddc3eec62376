"""Runs and statistics as tables for a terminal."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from infra.operator.statistics import JobStatistics
from shared.domain.run import RunStatus
from shared.runs.record import RunRecord

STYLES = {
    RunStatus.RUNNING: "cyan",
    RunStatus.SUCCEEDED: "green",
    RunStatus.PARTIAL: "yellow",
    RunStatus.INCOMPLETE: "yellow",
    RunStatus.FAILED: "red",
    RunStatus.ABANDONED: "red",
}


def runs_table(records: Sequence[RunRecord]) -> Table:
    """The runs, one a line: what each did stands in its counts, zeros left out."""
    table = Table(title=f"Last {len(records)} runs")
    for name in ("run", "status", "trigger", "attempt", "started (UTC)", "ms", "did"):
        table.add_column(name, justify="right" if name in {"attempt", "ms"} else "left", overflow="fold")
    for record in records:
        did = ", ".join(
            f"{name} {count}" for name, count in (record.counts or {}).items() if count and name != "duration_ms"
        )
        table.add_row(
            record.run_id,
            Text(str(record.status) + (" (dry run)" if record.dry_run else ""), style=STYLES[record.status]),
            record.trigger,
            str(record.attempt),
            f"{record.started_at:%Y-%m-%d %H:%M:%S}",
            "" if record.duration_ms is None else str(record.duration_ms),
            did,
        )
    return table


def statistics_table(statistics: Sequence[JobStatistics]) -> Table:
    """One line for each job."""
    table = Table(title="Statistics")
    table.add_column("job")
    statuses = [status for status in RunStatus if any(job.by_status[status] for job in statistics)]
    for name in ("runs", *statuses, "dry runs", "success", "median ms", "longest ms"):
        table.add_column(str(name), justify="right")
    table.add_column("last success (UTC)")
    for job in statistics:
        table.add_row(
            job.job,
            str(job.runs),
            *(str(job.by_status[status]) for status in statuses),
            str(job.dry_runs),
            "" if job.success_rate is None else f"{job.success_rate:.1%}",
            "" if job.median_ms is None else str(job.median_ms),
            "" if job.longest_ms is None else str(job.longest_ms),
            "" if job.last_success_at is None else f"{job.last_success_at:%Y-%m-%d %H:%M:%S}",
        )
    return table
