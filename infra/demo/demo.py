"""`arcade-jobs local demo`: three weeks of an arcade, replayed through the three jobs, on this machine alone."""

import csv
import fcntl
import logging
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from datetime import datetime
from pathlib import Path
from typing import IO, NoReturn
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from infra import schema as migrations
from infra.demo.platform import Platform, Pool, list_entries, list_pools
from infra.demo.plays import load_plays, load_settlements
from infra.demo.replay import FIRST_SLOT, LAST_SLOT, VirtualClock, compare, list_slots, replay
from infra.demo.replay_report import Report
from infra.demo.saved_runs import TABLE_NAME, emulated_dynamodb, save_runs
from infra.deployed.statistics import summarize
from infra.local import postgres
from shared.app import build_app
from shared.db.connection import open_engine
from shared.db.errors import describe
from shared.domain.periods import PeriodType
from shared.observability import logger
from shared.runs.runner import RunNotSucceededError
from shared.runs.store import RunStore

FOLDER = Path(__file__).parents[2] / ".local"
STAGE = "demo"  # what the command calls the runs that a demo left
DATABASE = "arcade_demo"
ZONE = ZoneInfo("UTC")
INTERRUPTED = 130  # the exit code of a program that Ctrl-C ended
TOP = 3  # entries of each board that are shown
LAST_RUNS = 10
FILE_WIDTH = 140  # columns


class DemoError(Exception):
    """The demo cannot go on. The message is one line that says what to do."""


def saved_runs_file(folder: Path = FOLDER) -> Path:
    """Where a demo leaves its runs."""
    return folder / "demo" / "runs.json.xz"


def run_demo(console: Console, *, folder: Path = FOLDER, until: datetime = LAST_SLOT) -> Report:
    """Replay the plays into a fresh database `arcade_demo`, and leave everything to be looked at.

    What an earlier demo left is removed first, so that a second one has the same result, and one that was killed does
    no harm.

    Args:
        console: tells what is going on.
        folder: for the server's data and, in `demo`, the log of the jobs, the winners and the runs.
        until: the last slot.

    Raises:
        DemoError: another demo is running; a job did not succeed.
        PostgresError: the server cannot be used.
    """
    with ExitStack() as stack:
        ours = stack.enter_context(_fresh_folder(folder / "demo"))
        console.print("starting PostgreSQL ...")
        server = stack.enter_context(postgres.serve(folder / "postgres"))
        console.print(f"creating database {DATABASE} ...")
        url = server.create_database(DATABASE)
        engine = open_engine(url.render_as_string(hide_password=False), connections=2)
        stack.callback(engine.dispose)
        migrations.upgrade(engine)
        client = stack.enter_context(emulated_dynamodb())
        clock = VirtualClock(FIRST_SLOT)
        environment = {
            "DATABASE_URL": url.render_as_string(hide_password=False),
            "RUNS_TABLE_NAME": TABLE_NAME,
            "JOB_SCHEDULER_TIMEZONE": ZONE.key,
        }
        app = build_app(environment, dynamodb=client, clock=clock, sleep=clock.sleep)
        stack.callback(app.engine.dispose)
        log = stack.enter_context((ours / "jobs.log").open("w", encoding="utf-8", buffering=1))
        platform = Platform(engine=engine, zone=ZONE)
        slots = list_slots(until)
        started_at = time.monotonic()
        with _logging_to(log), _progress(console, slots) as advance:
            try:
                for slot in replay(load_plays(), platform=platform, app=app, clock=clock, slots=slots):
                    advance(slot)
            except RunNotSucceededError as error:
                raise DemoError(f"{error}; {log.name} has more") from error
        seconds = time.monotonic() - started_at
        save_runs(client, saved_runs_file(folder), at=clock())
        runs = RunStore(client=client, table_name=TABLE_NAME, clock=clock)
        report = _report(engine, runs, seconds=seconds, until=until)
        _write_winners(report.pools, ours / "winners.csv")
        return report


@contextmanager
def _fresh_folder(folder: Path) -> Iterator[Path]:
    """Hold the folder for this demo alone, and empty it."""
    folder.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError("another demo is running; wait for it, or stop it") from None
        shutil.rmtree(folder)
        folder.mkdir()
        yield folder


@contextmanager
def _logging_to(file: IO[str]) -> Iterator[None]:
    """Write to a file what Lambda would take from standard output: the log, and metrics in EMF."""
    handler = logger.registered_handler
    if not isinstance(handler, logging.StreamHandler):
        raise TypeError(f"the log goes to {handler}, not to a stream")
    usual = handler.setStream(file)
    try:
        with redirect_stdout(file):
            yield
    finally:
        handler.setStream(usual or sys.stdout)


@contextmanager
def _progress(console: Console, slots: Sequence[datetime]) -> Iterator[Callable[[datetime], None]]:
    """Show how far the replay is: a bar in a terminal, elsewhere a line for each day. Lends what is told each slot."""
    if not console.is_terminal:
        yield lambda slot: console.print(f"replayed until {slot:%Y-%m-%d}") if slot.hour == 0 else None
        return
    columns = (TextColumn("replaying {task.description}"), BarColumn(), TextColumn("{task.percentage:.0f}%"))
    bar = Progress(*columns, TimeElapsedColumn(), console=console, transient=True, redirect_stdout=False)
    with bar as progress:
        task = progress.add_task(f"{slots[0]:%a %d %b %H:%M}", total=len(slots))
        yield lambda slot: progress.update(task, advance=1, description=f"{slot:%a %d %b %H:%M}")


def _report(engine: Engine, runs: RunStore, *, seconds: float, until: datetime) -> Report:
    with engine.connect() as connection:
        pools = list_pools(connection)
        leaders = list_entries(connection, period_type=PeriodType.ALLTIME, most=TOP)
    records = runs.list_runs()
    return Report(
        seconds=seconds,
        pools=pools,
        leaders=leaders,
        last_runs=records[:LAST_RUNS],
        statistics=summarize(records),
        differences=compare(pools, load_settlements(), at=until, zone=ZONE),
    )


def _write_winners(pools: list[Pool], path: Path) -> None:
    with path.open("w", encoding="ascii", newline="") as file:
        lines = [pool.to_json() for pool in pools]
        writer = csv.DictWriter(file, fieldnames=list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


def show_demo(*, as_json: bool = False, folder: Path = FOLDER, until: datetime = LAST_SLOT) -> int:
    """Run the demo for a user: say how it goes, print what came of it, leave nothing running.

    Args:
        as_json: print JSON; how it goes is told on standard error then.
        folder: of the server's data and of what the demo leaves.
        until: the last slot.

    Returns:
        The exit code: 1 if a pool is not as it should be or the demo cannot go on, 130 after Ctrl-C.
    """
    # Named, since standard output is the jobs' while they run. A file has room for whole tables.
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else FILE_WIDTH)
    told = Console(file=sys.stderr, highlight=False, soft_wrap=True)
    usual = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        report = run_demo(told if as_json else console, folder=folder, until=until)
    except KeyboardInterrupt:
        told.print("arcade-jobs: interrupted; nothing was left running")
        return INTERRUPTED
    except (DemoError, postgres.PostgresError, migrations.UpgradeError) as error:
        told.print(f"arcade-jobs: {error}", markup=False)
        return 1
    except (DBAPIError, OSError) as error:
        told.print(f"arcade-jobs: {describe(error)}", markup=False)
        return 1
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
    if as_json:
        console.print_json(data=report.to_json())
    else:
        report.print_to(console, left_in=folder / "demo")
    return 1 if report.differences else 0


def _interrupt(_number: int, _frame: object) -> NoReturn:
    """End in order, once: a second Ctrl-C must not keep the server from being stopped."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
