"""`arcade-jobs report`: one page about a stage, to be looked at."""

import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from infra.cli.options import JOB_NAMES, Target, with_target
from infra.cli.runs import Since, read_since, timetable_of
from infra.cli.terminal import print_lines
from infra.jobs import JOBS
from infra.stage import REPLAY_STAGES
from shared.domain.errors import ArcadeJobsError, BadInputError
from shared.domain.run import RunStatus

if TYPE_CHECKING:
    from infra.deployed.dead_letters import DeadLetter
    from infra.report.facts import JobFacts, PoolFacts, Unread
    from shared.operations.deployment import Deployment
    from shared.operations.status import Status
    from shared.runs.record import RunRecord
    from shared.runs.store import RunStore

app = typer.Typer()

SHOWN = timedelta(days=35)  # five weeks
MOST_TROUBLED = 50  # runs that are told in full
UTC = ZoneInfo("UTC")
NO_DATABASE = "the stack created no database, and DATABASE_URL is not set; set it to see pools, winners and boards"


@app.command("report")
@with_target
def write_report(
    *,
    out: Annotated[Path, typer.Option(help="The file; one that is there is replaced.")] = Path("report.html"),
    since: Since = None,
    target: Target,
) -> None:
    """Write a page about a stage: runs, durations, pools and money, winners, boards, dead letters; of five weeks.

    One file of HTML that needs no network. Pools and boards are read from the stack's database, or DATABASE_URL's.
    """
    from infra.report.facts import Report
    from infra.report.page import render
    from shared.runs.store import KEPT_FOR

    _check_writable(out)
    begins = read_since(since) if since is not None else SHOWN
    deployment = None if target.stage in REPLAY_STAGES else target.deployment()
    with target.run_store() as runs:
        now = runs.clock()
        start = now - begins if isinstance(begins, timedelta) else begins
        if start > now:
            raise BadInputError(f"--since: {since!r} lies ahead")
        start = max(start, now - KEPT_FOR)
        jobs = _read_jobs(runs, target, since=start, now=now)
        troubled, untold = _read_troubled(runs, jobs)
    report = Report(
        stage=target.stage,
        options=str(target),
        where=str(deployment) if deployment else f"a replay on this machine, by {REPLAY_STAGES[target.stage]}",
        made_at=now,
        since=start,
        jobs=jobs,
        status=_read_status(deployment, now=now),
        troubled=troubled,
        untold=untold,
        dead_letters=_read_dead_letters(deployment, now=now),
        pools=_read_pools(target, since=start, now=now),
    )
    _write(render(report), out)
    print_lines(f"{out}: {out.stat().st_size // 1000:,} kB")


def _read_jobs(runs: "RunStore", target: Target, *, since: datetime, now: datetime) -> "list[JobFacts]":
    """Each job's runs, and the statistics that `stats --since` has."""
    from infra.report.facts import JobFacts
    from shared.operations.statistics import summarize

    timetables = {job.name: found for job in JOBS if (found := timetable_of(job, runs, target))}
    statistics = {
        of_job.job: of_job for of_job in summarize(runs.list_ends(), timetables=timetables, now=now, since=since)
    }
    records = [record for record in runs.list_runs(since=since) if not record.dry_run]
    return [
        JobFacts(
            job=job.name,
            zone=timetables[job.name].zone if job.name in timetables else UTC,
            timeout=job.timeout,
            statistics=statistics.get(job.name),
            runs=[record for record in records if record.job == job.name],
        )
        for job in JOBS
    ]


def _read_troubled(runs: "RunStore", jobs: "Sequence[JobFacts]") -> "tuple[list[RunRecord], int]":
    """The latest runs that did not succeed at once, in full, and how many more there are."""
    done = {RunStatus.SUCCEEDED, RunStatus.RUNNING}
    found = [run for job in jobs for run in job.runs if run.status not in done or run.attempt > 1]
    found.sort(key=lambda run: run.started_at, reverse=True)
    whole = [runs.get(run.run_id) or run for run in found[:MOST_TROUBLED]]
    return whole, len(found) - len(whole)


def _read_status(deployment: "Deployment | None", *, now: datetime) -> "Status | Unread":
    from infra.report.facts import Unread
    from shared.operations.status import read_status

    if deployment is None:
        return Unread("the replay has no alarms")
    try:
        return read_status(deployment, JOB_NAMES, now=now)
    except ArcadeJobsError as error:
        return Unread(str(error))


def _read_dead_letters(deployment: "Deployment | None", *, now: datetime) -> "Sequence[DeadLetter] | Unread":
    from infra.deployed.dead_letters import list_dead_letters
    from infra.report.facts import Unread

    if deployment is None:
        return Unread("the replay has no queues")
    try:
        return [letter for job in JOB_NAMES for letter in list_dead_letters(deployment, job, now=now)]
    except ArcadeJobsError as error:
        return Unread(str(error))


def _read_pools(target: Target, *, since: datetime, now: datetime) -> "PoolFacts | Unread":
    from infra.cli.database import database
    from infra.deployed import pools
    from infra.report.facts import PoolFacts, Unread

    try:
        with database(target) as query:
            if query is None:
                return Unread(NO_DATABASE)
            calendar = pools.read_calendar(query)
            begins = calendar.local_day(since)
            return PoolFacts(
                open=pools.count_open(query, calendar=calendar, now=now),
                days=pools.list_settled_days(query, since=begins),
                winners=pools.list_latest_winners(query),
                unpaid=pools.list_unpaid_pools(query),
                sizes=pools.list_board_sizes(query, since=begins),
            )
    except ArcadeJobsError as error:
        return Unread(str(error))


def _check_writable(path: Path) -> None:
    """Refuse a file that could not be written, before anything is read.

    Raises:
        BadInputError: it is a folder or a device, or its folder is not there or closed.
    """
    folder = path.resolve().parent
    if path.is_dir():
        reason = "is a folder"
    elif path.exists() and not path.is_file():
        reason = "is no file"
    elif not folder.is_dir():
        reason = "its folder is not there"
    elif not os.access(folder, os.W_OK | os.X_OK):
        reason = "its folder cannot be written to"
    else:
        return
    raise BadInputError(f"--out: {str(path)!r}: {reason}")


def _write(page: str, path: Path) -> None:
    """Replace the file, whole or not at all; where it is a link, what it leads to.

    Raises:
        BadInputError: it cannot be written.
    """
    file = path.resolve()
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        unfinished.write_text(page, encoding="utf-8")
        unfinished.replace(file)
    except OSError as error:
        raise BadInputError(f"--out: {str(path)!r}: {error.strerror}") from None
    finally:
        unfinished.unlink(missing_ok=True)
