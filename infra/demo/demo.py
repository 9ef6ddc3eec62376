"""Weeks of an arcade, replayed through the three jobs: one call from a database to a report."""

import csv
import fcntl
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Engine

from infra.demo.platform import Entry, Platform, Pool, list_entries, list_pools
from infra.demo.plays import load_plays, load_settlements
from infra.demo.replay import LAST_SLOT, UTC_ZONE, Scenario, VirtualClock, compare, list_slots, replay
from infra.demo.runs_table import MemoryRunsTable
from infra.demo.saved_runs import SAVED_RUNS, TABLE_NAME, save_runs
from shared.app import build_app
from shared.domain.errors import ArcadeJobsError
from shared.domain.periods import Calendar, PeriodType
from shared.observability import logger
from shared.runs.record import RunRecord
from shared.runs.runner import RunNotSucceededError

TOP = 3  # entries of each board


@dataclass(frozen=True, kw_only=True)
class Report:
    """How a replay ended.

    Attributes:
        seconds: that it took, without what was set up before.
        pools: all of them, the earliest end first.
        leaders: the top of each all-time board.
        runs: all of them, the latest first.
        differences: pools that are not as expected, one line each.
    """

    seconds: float
    pools: list[Pool]
    leaders: list[Entry]
    runs: list[RunRecord]
    differences: list[str]

    def to_json(self) -> dict[str, Any]:
        """The report without its runs, JSON-ready."""
        return {
            "seconds": round(self.seconds, 1),
            "differences": self.differences,
            "pools": [pool.to_json() for pool in self.pools],
            "leaders": [entry.to_json() for entry in self.leaders],
        }


def shipped(*, until: datetime = LAST_SLOT) -> Scenario:
    """The three weeks of real plays, up to a slot."""
    return Scenario(plays=load_plays(), settlements=load_settlements(), zone=UTC_ZONE, slots=list_slots(until))


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """A new folder for what a replay leaves; what it holds takes its place in `folder` when the block ends in order.

    Until then, and for good when the block raises, what an earlier replay left stays as it is.

    Raises:
        ArcadeJobsError: another replay is at it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArcadeJobsError(f"another {folder.name} is running; wait for it, or stop it") from None
        unfinished = folder.with_suffix(".unfinished")
        unfinished.mkdir(exist_ok=True)
        yield unfinished
        for path in unfinished.iterdir():
            path.replace(folder / path.name)
        unfinished.rmdir()


def run_demo(
    engine: Engine, *, database_url: str, folder: Path, scenario: Scenario, report: Callable[[datetime], None]
) -> Report:
    """Replay a scenario into an empty database with the schema.

    Args:
        engine: on the database, as the platform.
        database_url: of the same database, for the jobs.
        folder: for the log of the jobs, the winners and the runs.
        scenario: to be replayed.
        report: takes each slot after its runs.

    Raises:
        ArcadeJobsError: a run did not succeed.
    """
    with ExitStack() as stack:
        table = MemoryRunsTable()
        clock, calendar = VirtualClock(scenario.slots[0]), Calendar.of(scenario.zone)
        environment = {
            "DATABASE_URL": database_url,
            "RUNS_TABLE_NAME": TABLE_NAME,
            "JOB_SCHEDULER_TIMEZONE": scenario.zone.key,
        }
        app = build_app(environment, dynamodb=table.client, clock=clock, sleep=clock.sleep)
        stack.callback(app.engine.dispose)
        log = stack.enter_context((folder / "jobs.log").open("w", encoding="utf-8", buffering=1))
        platform = Platform(engine=engine, calendar=calendar)
        slots, zone = scenario.slots, scenario.zone
        started_at = time.monotonic()
        with _logging_to(log):
            try:
                for slot in replay(scenario.plays, platform=platform, app=app, clock=clock, slots=slots, zone=zone):
                    report(slot)
            except RunNotSucceededError as error:
                raise ArcadeJobsError(f"{error}; {log.name} has more") from error
        seconds = time.monotonic() - started_at
        save_runs(table, folder / SAVED_RUNS, at=clock())
        runs = app.runner.store.list_runs()
    with engine.connect() as connection:
        pools = list_pools(connection)
        leaders = list_entries(connection, period_type=PeriodType.ALLTIME, most=TOP)
    _write_winners(pools, folder / "winners.csv")
    return Report(
        seconds=seconds,
        pools=pools,
        leaders=leaders,
        runs=runs,
        differences=compare(pools, scenario.settlements, at=scenario.slots[-1], calendar=calendar),
    )


@contextmanager
def _logging_to(file: IO[str]) -> Iterator[None]:
    """Write to a file what Lambda would take from standard output: the log, and metrics in EMF."""
    handler = logger.registered_handler
    if not isinstance(handler, logging.StreamHandler):
        raise TypeError(f"the log goes to {handler}, not to a stream")
    previous = handler.setStream(file)
    try:
        with redirect_stdout(file):
            yield
    finally:
        handler.setStream(previous or sys.stdout)


def _write_winners(pools: list[Pool], path: Path) -> None:
    with path.open("w", encoding="ascii", newline="") as file:
        lines = [pool.to_json() for pool in pools]
        writer = csv.DictWriter(file, fieldnames=list(lines[0]) if lines else [])
        writer.writeheader()
        writer.writerows(lines)
