"""The sections about runs: how they ended, how long they took, and what went wrong."""

from collections.abc import Collection, Iterable
from datetime import date

from infra.report import charts
from infra.report.calendar import MISSED, SEVERITY, Calendar, Cell, calendar_of
from infra.report.elements import Html, card, figure, join, soft, table, tag
from infra.report.facts import JobFacts, Report
from infra.report.formats import MINUTE, milliseconds, seconds
from shared.domain.run import RunStatus
from shared.runs.record import RunRecord

TALL = 3  # rows of a calendar above which they are low, and not each has its hour
WEEK = 7  # columns from one date at the top to the next
ROOM = 3  # columns that a date needs
MEANING = {
    RunStatus.SUCCEEDED: "all is done",
    RunStatus.PARTIAL: "some items failed",
    RunStatus.INCOMPLETE: "out of time",
    RunStatus.FAILED: "ended by an error",
    RunStatus.ABANDONED: "killed or lost",
    RunStatus.RUNNING: "at work",
    MISSED: "no run of the slot",
}


def summary(job: JobFacts) -> Html:
    """How the runs of a job ended: the numbers of `stats`."""
    found = job.statistics
    if found is None:
        return card(soft("no runs"), title=job.job)
    statuses = [status for status in RunStatus if found.by_status[status]]
    counts = ", ".join(f"{found.by_status[status]:,} {status}" for status in statuses) or "none"
    rate = "none ended" if found.success_rate is None else f"{found.success_rate:.1%}"
    bar = (tag("i", class_=str(status), style=f"flex:{found.by_status[status]}") for status in statuses)
    facts = {
        "runs": f"{found.runs:,}",
        "dry runs": f"{found.dry_runs:,}",
        "missed slots": "not known" if found.missed is None else f"{len(found.missed):,}",
        "median": milliseconds(found.p50_ms),
        "p95": milliseconds(found.p95_ms),
        "longest": milliseconds(found.longest_ms),
        "last success": f"{found.last_success_at:{MINUTE}}" if found.last_success_at else "none",
    }
    return card(
        tag("div", tag("b", rate), tag("span", "succeeded", class_="soft"), class_="number"),
        tag("div", *bar, class_="bar", role="img", aria_label=counts),
        soft(counts),
        tag("dl", *(join(tag("dt", name), tag("dd", value)) for name, value in facts.items())),
        title=job.job,
    )


def calendars(report: Report) -> Iterable[Html]:
    """A calendar for each job, and what the colors mean."""
    drawn = [(job, calendar_of(job, since=report.since, now=report.made_at)) for job in report.jobs]
    shown = {cell.status for _, calendar in drawn for cell in calendar.cells.values()}
    legend = (tag("li", tag("i", class_=each), f"{each}: {MEANING[each]}") for each in SEVERITY if each in shown)
    if shown:
        yield tag("ul", *legend, class_="legend")
    told = {run.run_id for run in report.troubled}
    for job, calendar in drawn:
        yield card(_calendar(job, calendar, told)) if calendar.cells else card(soft("no slot yet"), title=job.job)


def durations(job: JobFacts) -> Html:
    """The durations of a job day by day."""
    found = charts.durations(job)
    if not found:
        return card(soft("no run has ended"), title=job.job)
    longest, timeout = seconds(max(each.longest for each in found)), seconds(job.timeout.total_seconds())
    label = f"{job.job}: the longest run took {longest}, the timeout is {timeout}"
    rows = [(each.day, f"{each.runs:,}", seconds(each.median), seconds(each.longest)) for each in found]
    return figure(
        job.job,
        charts.draw_durations(job, found, label=label),
        label=label,
        numbers=table(label, ("day", "runs", "median", "longest"), rows),
    )


def troubled(report: Report) -> Iterable[Html]:
    """The runs that did not succeed at once, each with its errors and attempts."""
    if not report.troubled:
        yield card(soft("every run succeeded at once"))
        return
    yield tag("div", *(_run(run, report.options) for run in report.troubled), class_="runs")
    if report.untold:
        yield soft(f"and {report.untold:,} before these, which arcade-jobs history{report.options} lists")


def _calendar(job: JobFacts, calendar: Calendar, told: Collection[str]) -> Html:
    is_tall = len(calendar.hours) > TALL
    last = len(calendar.days) - ROOM
    head = [_head(day, is_named=place % WEEK == 0 and (place <= last or place == 0))
            for place, day in enumerate(calendar.days)]  # fmt: skip
    rows = []
    for place, hour in enumerate(calendar.hours):
        name = f"{hour:02}:00"
        label = tag("th", _hidden(name) if is_tall and place % TALL else name, scope="row")
        rows.append(tag("tr", label, *(_cell(calendar.cells.get((day, hour)), told) for day in calendar.days)))
    return tag(
        "table",
        tag("caption", tag("b", job.job), f", by day and hour of {job.zone.key}"),
        tag("colgroup", Html('<col class="hour">')),
        tag("thead", tag("tr", tag("th", _hidden("hour"), scope="col"), *head)),
        tag("tbody", *rows),
        class_="calendar tall" if is_tall else "calendar",
    )


def _head(day: date, *, is_named: bool) -> Html:
    name = charts.name_day(day)
    return tag("th", name if is_named else _hidden(name), scope="col")


def _cell(cell: Cell | None, told: Collection[str]) -> Html:
    """A slot: its status by color, pattern and name; a link to its run if the page tells of it."""
    if cell is None:
        return tag("td")
    text = f"{cell.slot:{MINUTE}} {cell.status}"
    inside = _hidden(cell.status)
    if cell.run_id in told:
        inside = tag("a", inside, href=f"#{cell.run_id}", aria_label=text)
    return tag("td", inside, class_=str(cell.status), title=text)


def _hidden(text: str) -> Html:
    """What is heard, and not seen."""
    return tag("span", text, class_="hidden")


def _run(run: RunRecord, options: str) -> Html:
    result = run.result or {}
    errors = [_error(error) for error in result.get("errors", ())]
    first = next(iter([*errors, *(each.error for each in run.attempts if each.error)]), None)
    line = tag(
        "summary",
        tag("span", tag("i", class_=str(run.status)), str(run.status), class_="badge"),
        tag("span", run.run_id, class_="mono"),
        tag("span", f"started {run.started_at:{MINUTE}}, attempt {run.attempt}", class_="soft"),
        tag("span", first or "no error is recorded", class_="first"),
    )
    cut = result.get("cut", {}).get("errors", len(errors)) - len(errors)
    told = [tag("li", error) for error in (*errors, *([f"and {cut:,} more"] if cut > 0 else []))]
    attempts = [
        (str(each.number), f"{each.started_at:{MINUTE}}", str(each.status), each.error or "") for each in run.attempts
    ]
    # A link to what a fold holds unfolds it; one to the fold itself would not.
    inside = tag(
        "div",
        tag("ul", *told, class_="why") if len(told) > 1 else "",
        table("Attempts", ("attempt", "started", "status", "error"), attempts, stacks=True) if attempts else "",
        tag("p", tag("code", f"arcade-jobs show {run.run_id}{options}")),
        id=run.run_id,
    )
    return tag("details", line, inside, class_="card run")


def _error(error: object) -> str:
    """An error of a result: which pool, board or step, and what went wrong."""
    if not isinstance(error, dict):
        return str(error)
    where = " ".join(
        f"pool {value}" if name == "pool_id" else str(value) for name, value in error.items() if name != "error"
    )
    return ": ".join(part for part in (where, str(error.get("error", ""))) if part)
