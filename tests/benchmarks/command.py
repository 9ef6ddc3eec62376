"""The command: how long a user waits for it, against a program of Typer's that does nothing.

In CPU time of the process, which other processes of the machine disturb less than they do the clock.
"""

import resource
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from infra.demo.runs_table import MemoryRunsTable
from infra.demo.saved_runs import SAVED_RUNS, TABLE_NAME, save_runs
from infra.stage import DEMO_STAGE
from shared.domain.run import RunStatus
from shared.runs.record import RunRecord, format_instant
from shared.runs.store import RunStore
from tests.benchmarks.database import median
from tests.benchmarks.rows import Row, spread
from tests.fakes import save_run

BARE = "import typer; app = typer.Typer(); app.command()(lambda: None); app()"
# Its own runs, so that no deployment and no network are measured.
COMMAND = """
import sys
from pathlib import Path
from infra.cli import options
from infra.cli.app import main
options.FOLDER = Path(sys.argv.pop(1))
main()
"""
HELP, HISTORY, STATS = 0.3, 0.6, 1.0  # seconds, at most; the last of any question about MANY
FEW, MANY = 576, 50_000  # runs: those of the demo; years of them
LAST = datetime(2026, 1, 27, 3, tzinfo=UTC)


def measure(*, quick: bool) -> list[Row]:
    """The help, the history of the demo and that of 50,000 runs, and their statistics."""
    repetitions = 2 if quick else 9
    with tempfile.TemporaryDirectory() as work:
        folders = {runs: Path(work, str(runs)) for runs in (FEW, MANY)}
        for runs, folder in folders.items():
            _save(runs, folder)
        cases = [
            ("arcade-jobs --help", HELP, FEW, ["--help"]),
            ("arcade-jobs history", HISTORY, FEW, ["history", "--stage", "demo"]),
            (f"arcade-jobs history of {MANY:,} runs", STATS, MANY, ["history", "--limit", "100", "--stage", "demo"]),
            (f"arcade-jobs stats of {MANY:,} runs", STATS, MANY, ["stats", "--stage", "demo"]),
        ]
        bare: list[float] = []
        seconds: dict[str, list[float]] = {name: [] for name, *_ in cases}
        for _ in range(repetitions):  # interleaved
            bare.append(_cpu_seconds(BARE, "--help"))
            for name, _most, runs, arguments in cases:
                seconds[name].append(_cpu_seconds(COMMAND, str(folders[runs]), *arguments))
    return [
        Row(
            measure=name,
            against=f"bare Typer: {min(bare):.2f} s",
            target=f"at most {most:g} s of CPU",
            figures=f"{spread(seconds[name], unit='s of CPU', scale=1)}, least {min(seconds[name]) / min(bare):.2f}x",
            is_met=median(seconds[name]) <= most,
        )
        for name, most, _, _ in cases
    ]


def _save(runs: int, folder: Path) -> None:
    """Runs of an hourly job as the demo saves them."""
    table = MemoryRunsTable()
    store = RunStore(client=table.client, table_name=TABLE_NAME, clock=lambda: LAST)
    record = RunRecord(
        run_id="leaderboard:first",
        job="leaderboard",
        trigger="scheduled",
        scheduled_at=LAST,
        status=RunStatus.SUCCEEDED,
        attempt=1,
        started_at=LAST,
        finished_at=LAST,
        counts={"leaderboards_processed": 15, "entries_updated": 123, "errors": 0},
        deadline_at=LAST + timedelta(minutes=15),
    )
    save_run(store, record)
    first = table.items.pop(record.run_id)
    for number in range(runs):
        at = LAST - timedelta(minutes=number)
        started_at, duration_ms = format_instant(at), number % 1000
        finished_at = format_instant(at + timedelta(milliseconds=duration_ms))
        own = {"scheduled_at": started_at, "started_at": started_at, "finished_at": finished_at}
        run_id = f"leaderboard:{at:%Y-%m-%dT%H:%MZ}"
        table.items[run_id] = {**first, **own, "run_id": run_id, "duration_ms": duration_ms}
    path = folder / DEMO_STAGE / SAVED_RUNS
    path.parent.mkdir(parents=True)
    save_runs(table, path, at=LAST)


def _cpu_seconds(program: str, *arguments: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
