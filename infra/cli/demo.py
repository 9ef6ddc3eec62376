"""`arcade-jobs local demo` and `simulate`: weeks of an arcade, replayed through the jobs on this machine alone."""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from infra import schema
from infra.cli.tables import runs_table, statistics_table
from infra.demo.demo import replaced_folder, run_demo
from infra.local import FOLDER, postgres
from infra.stage import DEMO_STAGE, replay_database
from shared.db.connection import open_engine
from shared.db.errors import describe
from shared.domain.errors import ArcadeJobsError
from shared.domain.periods import PeriodType
from shared.operations.statistics import summarize

if TYPE_CHECKING:
    from infra.demo.demo import Report
    from infra.demo.platform import Entry, Pool
    from infra.demo.replay import Scenario

INTERRUPTED = 130  # the exit code of a program that Ctrl-C ended
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LAST_RUNS = 10
FILE_WIDTH = 140  # columns; a file has room for whole tables
BAR_WIDTH = 20  # columns


def show_demo(*, as_json: bool = False, folder: Path = FOLDER, until: datetime | None = None) -> int:
    """Run the demo: `show_replay` of the real plays.

    Args:
        as_json: print JSON; progress goes to standard error then.
        folder: of the server's data and, in `demo`, of what the demo leaves.
        until: the last slot; None: all three weeks.
    """
    from infra.demo.demo import shipped

    return show_replay(shipped(until=until) if until else shipped(), DEMO_STAGE, as_json=as_json, folder=folder)


def show_replay(scenario: "Scenario", stage: str, *, as_json: bool, folder: Path) -> int:
    """Replay a scenario in a fresh database, print its report, leave nothing running.

    It begins anew each time, so that each has the same result, and one that was killed does no harm. What an earlier
    one left is replaced at the end, by what a replay leaves that came to its end.

    Args:
        scenario: to be replayed.
        stage: under whose name the runs can be read later.
        as_json: print JSON; progress goes to standard error then.
        folder: of the server's data and, in one with the stage's name, of what the replay leaves.

    Returns:
        The exit code: 1 if a pool is not as expected, 130 after Ctrl-C.

    Raises:
        ArcadeJobsError: the replay cannot continue.
    """
    # The file is named: while the jobs run, standard output is their log.
    out = Console(file=sys.stdout, width=None if sys.stdout.isatty() else FILE_WIDTH)
    err = Console(file=sys.stderr, highlight=False, soft_wrap=True)
    previous = {number: signal.signal(number, _interrupt) for number in SIGNALS}
    try:
        report = _run(scenario, stage, err if as_json else out, folder=folder)
    except KeyboardInterrupt:
        err.print("arcade-jobs: interrupted; nothing was left running, and earlier results are as they were")
        return INTERRUPTED
    except (DBAPIError, OSError) as error:
        raise ArcadeJobsError(describe(error)) from error
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if as_json:
        out.print_json(data=report_json(report))
    else:
        print_report(report, out, left_in=folder / stage)
    return 1 if report.differences else 0


def report_json(report: "Report") -> dict[str, Any]:
    """The report and the statistics of its runs, JSON-ready."""
    return report.to_json() | {
        "last_runs": [record.to_json() | {"counts": record.counts} for record in report.runs[:LAST_RUNS]],
        "statistics": [of_job.to_json() for of_job in summarize(report.runs)],
    }


def print_report(report: "Report", console: Console, *, left_in: Path) -> None:
    """Print the tables, the verdict, and what to try next.

    Args:
        report: of the demo.
        console: to print to.
        left_in: the folder of the replay's files; its name is the stage.
    """
    statistics = summarize(report.runs)
    console.print(
        _winners_table(report.pools),
        _leaders_table(report.leaders),
        *("", runs_table(report.runs[:LAST_RUNS])),
        *("", statistics_table(statistics), ""),
    )
    settled = [pool for pool in report.pools if pool.status == "finalized"]
    by_time = sum(pool.equal_scores > 1 for pool in settled)
    without_points = sum(pool.settlement.winner_score == 0 for pool in settled)
    runs = sum(of_job.runs for of_job in statistics)
    console.print(
        f"{runs} runs in {report.seconds:.0f} s settled {len(settled)} pools, {by_time} of them by the earlier time."
    )
    if without_points:
        console.print(
            f"Won with 0 points: {without_points}; nobody scored more, and of equal scores the earliest wins.",
            soft_wrap=True,
        )
    for difference in report.differences:
        console.print(f"[red]not as expected:[/red] {difference}", soft_wrap=True)
    if not report.differences:
        console.print("[green]Every pool is exactly as expected, counted by Python alone.[/green]")
    by_pools = sorted(report.runs, key=lambda run: (run.counts or {}).get("pools_finalized", 0))
    stage = f"--stage {left_in.name}"
    examples = {
        **{f"show {run.run_id} {stage}": "a run with its whole result" for run in by_pools[-1:]},
        f"history cleanup --limit 5 {stage}": "the last runs of a job",
        f"stats {stage} --json": "for other programs",
    }
    width = max(map(len, examples))
    console.print(
        f"\nAll winners: {left_in / 'winners.csv'}   what the jobs logged: {left_in / 'jobs.log'}\nTry next:",
        *(f"  .venv/bin/arcade-jobs {typed:<{width}}   {what}" for typed, what in examples.items()),
        sep="\n",
        highlight=False,
        soft_wrap=True,
    )


def _run(scenario: "Scenario", stage: str, console: Console, *, folder: Path) -> "Report":
    database = replay_database(stage)
    with replaced_folder(folder / stage) as left_in:
        console.print("starting PostgreSQL ...")
        with postgres.serve(folder / "postgres") as server:
            console.print(f"creating database {database} ...")
            unfinished = f"{database}_unfinished"
            url = server.create_database(unfinished).render_as_string(hide_password=False)
            engine = open_engine(url, connections=2)
            try:
                _commit_without_waiting(engine)
                schema.upgrade(engine, timezone=scenario.zone)
                with _progress(console, scenario.slots) as advance:
                    report = run_demo(engine, database_url=url, folder=left_in, scenario=scenario, report=advance)
            finally:
                engine.dispose()
            server.rename_database(unfinished, to=database)
            return report


def _commit_without_waiting(engine: Engine) -> None:
    """Let no commit in the replay's database wait for the disk: what a crash would lose begins anew anyway."""
    with engine.begin() as connection:
        connection.execute(text(f"ALTER DATABASE {engine.url.database} SET synchronous_commit TO off"))
    engine.dispose()  # it holds for connections from now on


@contextmanager
def _progress(console: Console, slots: Sequence[datetime]) -> Iterator[Callable[[datetime], None]]:
    """Show the replayed slots that the yielded function is called with: a bar in a terminal, else a line a day."""
    if not console.is_terminal:
        yield lambda slot: console.print(f"replayed until {slot:%Y-%m-%d}") if slot.hour == slot.minute == 0 else None
        return
    done, left = TextColumn("replaying {task.description}"), TextColumn("left")
    columns = (done, BarColumn(BAR_WIDTH), TextColumn("{task.percentage:.0f}%,"), TimeRemainingColumn(), left)
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as progress:
        task = progress.add_task(f"{slots[0]:%a %d %b %H:%M}", total=len(slots))
        yield lambda slot: progress.update(task, advance=1, description=f"{slot:%a %d %b %H:%M}")


def _interrupt(_number: int, _frame: object) -> NoReturn:
    """End in order, once: a second Ctrl-C must not keep the server from being stopped."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _winners_table(pools: "list[Pool]") -> Table:
    """The pools of each week, and those of the last day."""
    weekly = [pool for pool in pools if pool.settlement.period.type is PeriodType.WEEKLY]
    daily = [pool for pool in pools if pool.settlement.period.type is PeriodType.DAILY]
    shown = [*weekly, *(pool for pool in daily if pool.settlement.period == daily[-1].settlement.period)]
    table = Table(
        title="Winners of each week and of the last day",
        caption="time (n): the earliest of n equal scores",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for name in ("period", "game", "winner", "score", "decided by", "games", "USDC"):
        is_number = name in {"score", "games", "USDC"}
        # Where there is little room a game's name is folded: nothing else may be cut.
        table.add_column(name, justify="right" if is_number else "left", no_wrap=name != "game", overflow="fold")
    for period, pools_of_period in groupby(shown, key=lambda pool: pool.settlement.period):
        last = period.date + timedelta(days=6 if period.type is PeriodType.WEEKLY else 0)
        first = f"{period.date:%d}" if period.date.month == last.month else f"{period.date:%d %b}"
        days = (f"{first}-" if period.date != last else "") + f"{last:%d %b}"
        for pool in pools_of_period:
            settlement = pool.settlement
            table.add_row(
                days,
                settlement.game_type,
                _shorten(settlement.winner_address) if settlement.winner_address else "none",
                "" if settlement.winner_score is None else str(settlement.winner_score),
                f"time ({pool.equal_scores})" if pool.equal_scores > 1 else "score",
                str(settlement.total_games),
                f"{settlement.total_amount_usdc:.3f}",
            )
        table.add_section()
    return table


def _leaders_table(leaders: "list[Entry]") -> Table:
    table = Table(title="All-time leaders", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in ("game", "rank", "player", "score", "reached (UTC)"):
        table.add_column(name, justify="right" if name in {"rank", "score"} else "left", no_wrap=True)
    for game_type, entries in groupby(leaders, key=lambda entry: entry.game_type):
        for entry in entries:
            reached = f"{entry.created_at:%Y-%m-%d %H:%M:%S}"
            table.add_row(game_type, str(entry.rank), _shorten(entry.player_address), str(entry.score), reached)
        table.add_section()
    return table


def _shorten(address: str) -> str:
    """An address as wallets show it."""
    return f"{address[:6]}…{address[-4:]}"
