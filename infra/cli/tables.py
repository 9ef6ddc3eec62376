"""Runs and statistics as tables for a terminal: whole at 80 columns, a line for each run when they are piped."""

from collections.abc import Collection, Sequence
from math import floor
from typing import TYPE_CHECKING, Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from infra.cli.did import describe_counts
from shared.domain.run import RunStatus
from shared.domain.tick import Trigger
from shared.operations.run_ids import short_id
from shared.runs.record import RunRecord

if TYPE_CHECKING:
    from shared.operations.statistics import JobStatistics

MINUTE = "%Y-%m-%d %H:%M"
A_SECOND = 1000  # milliseconds
STYLES = {
    RunStatus.RUNNING: "cyan",
    RunStatus.SUCCEEDED: "green",
    RunStatus.PARTIAL: "yellow",
    RunStatus.INCOMPLETE: "yellow",
    RunStatus.FAILED: "red",
    RunStatus.ABANDONED: "red",
}


def table_of(
    *columns: str, whole: Collection[str] = (), right: Collection[str] = (), title: str | None = None
) -> Table:
    """An empty table whose cells are folded, never cut.

    Args:
        columns: their headers.
        whole: of which no cell is folded either.
        right: with numbers.
        title: above it.
    """
    table = Table(title=title, box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.title_justify, table.title_style = "left", "bold"
    for name in columns:
        justify: Literal["left", "right"] = "right" if name in right else "left"
        table.add_column(name, justify=justify, no_wrap=name in whole, overflow="fold")
    return table


def runs_table(records: Sequence[RunRecord], *, between: str = "\n") -> Table:
    """The runs, the latest first.

    Args:
        records: in order.
        between: what is between the parts of a cell: a line break, or a space where each run is one line.
    """
    whole = ("run", "status", "started", "took")
    table = table_of(*whole, "did", whole=whole, right=("took",))
    table.caption, table.caption_justify = "times in UTC", "left"
    for record in records:
        table.add_row(
            short_id(record.run_id),
            Text(f",{between}".join(_status(record)), style=STYLES[record.status]),
            f"{record.started_at:%m-%d %H:%M}",
            took(record.duration_ms),
            describe_counts(record.job, record.counts or {}, status=record.status, dry_run=record.dry_run),
        )
    return table


def took(duration_ms: int | None) -> str:
    """A duration as `40 ms` or `12.3 s`."""
    if duration_ms is None:
        return ""
    return f"{duration_ms} ms" if duration_ms < A_SECOND else f"{duration_ms / A_SECOND:,.1f} s"


def _status(record: RunRecord) -> list[str]:
    """The status, and what is unusual: a dry run, a manual one, a later attempt."""
    remarks = {
        "dry run": record.dry_run,
        "manual": record.trigger == Trigger.MANUAL and not record.dry_run,
        f"attempt {record.attempt}": record.attempt > 1,
    }
    return [str(record.status), *(remark for remark, applies in remarks.items() if applies)]


def statistics_table(statistics: Sequence["JobStatistics"]) -> Table:
    """One column for each job: it is whole however many counts there are."""
    table = table_of("", *(job.job for job in statistics), right=[job.job for job in statistics])
    for status in ("runs", *RunStatus, "missed", "dry_runs"):
        row = [_count(job, status) for job in statistics]
        is_shown = {
            "runs": True,
            RunStatus.SUCCEEDED: True,
            "missed": any(job.missed is not None for job in statistics),
        }
        if is_shown.get(status, any(number != "0" for number in row)):
            style = STYLES.get(status) if isinstance(status, RunStatus) else None
            table.add_row(Text(status.replace("_", " "), style=style or ""), *row)
    table.add_section()
    table.add_row("success rate", *("" if job.success_rate is None else _rate(job.success_rate) for job in statistics))
    for name in ("p50", "p95", "p99", "longest"):
        table.add_row(name, *(took(getattr(job, f"{name}_ms")) for job in statistics))
    last = (job.last_success_at for job in statistics)
    table.add_row("last success (UTC)", *(f"{at:{MINUTE}}" if at else "none" for at in last))
    return table


def _rate(rate: float) -> str:
    """In percent, rounded down: one failure among thousands does not disappear."""
    return f"{floor(rate * 1000) / 10:.1f}%"


def _count(job: "JobStatistics", name: str) -> str:
    """How many runs have a status, or are counted under another name."""
    if name == "missed":
        return "unknown" if job.missed is None else f"{len(job.missed):,}"
    return f"{job.by_status[RunStatus(name)] if name in RunStatus.__members__.values() else getattr(job, name):,}"
