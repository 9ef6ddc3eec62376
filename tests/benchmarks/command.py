"""The command: how long a user waits for it, against a program of Typer's that does nothing.

In CPU time of the process, which other processes of the machine disturb less than they do the clock.
"""

import json
import lzma
import resource
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, cast

from infra.demo.saved_runs import SAVED_RUNS
from shared.domain.run import RunStatus
from shared.runs.record import RunRecord, format_instant
from shared.runs.store import RunStore
from shared.runs.table import ANY_JOB, TIME_TO_LIVE
from tests.benchmarks.rows import Row, at_most
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
HELP, HISTORY, STATS = 0.3, 0.6, 1.0  # seconds, at most
FEW, MANY = 576, 50_000  # runs: those of the demo; years of them
LAST = datetime(2026, 1, 27, 3, tzinfo=UTC)


def measure(*, quick: bool) -> list[Row]:
    """The help, the history of the demo and the statistics of 50,000 runs."""
    repetitions = 3 if quick else 11
    with tempfile.TemporaryDirectory() as work:
        folders = {runs: Path(work, str(runs)) for runs in (FEW, MANY)}
        for runs, folder in folders.items():
            _save(runs, folder)
        cases = [
            ("arcade-jobs --help", HELP, FEW, ["--help"]),
            ("arcade-jobs history", HISTORY, FEW, ["history", "--stage", "demo"]),
            (f"arcade-jobs stats of {MANY:,} runs", STATS, MANY, ["stats", "--stage", "demo"]),
        ]
        bare: list[float] = []
        seconds: dict[str, list[float]] = {name: [] for name, *_ in cases}
        for _ in range(repetitions):  # interleaved
            bare.append(_cpu_seconds(BARE, "--help"))
            for name, _most, runs, arguments in cases:
                seconds[name].append(_cpu_seconds(COMMAND, str(folders[runs]), *arguments))
    against = f"bare Typer: {median(bare):.2f} s"
    return [at_most(most, seconds[name], name=name, against=against, unit="s of CPU") for name, most, _, _ in cases]


def _save(runs: int, folder: Path) -> None:
    """Runs of an hourly job as the demo saves them."""
    items = _Items()
    store = RunStore(client=cast("Any", items), table_name="", clock=lambda: LAST)
    path = folder / SAVED_RUNS
    path.parent.mkdir(parents=True)
    for number in range(runs):
        at = LAST - timedelta(minutes=number)
        save_run(
            store,
            RunRecord(
                run_id=f"leaderboard:{at:%Y-%m-%dT%H:%MZ}",
                job="leaderboard",
                trigger="scheduled",
                scheduled_at=at,
                status=RunStatus.SUCCEEDED,
                attempt=1,
                started_at=at,
                finished_at=at + timedelta(milliseconds=number % 1000),
                counts={"leaderboards_processed": 15, "entries_updated": number, "errors": 0},
                deadline_at=at + timedelta(minutes=15),
            ),
        )
    with lzma.open(path, "wt", preset=0) as file:
        json.dump({"at": format_instant(LAST), "items": items.items}, file)


class _Items:
    """Takes what the store writes, as items."""

    class exceptions:  # noqa: N801 - botocore's name
        ConditionalCheckFailedException = KeyError

    def __init__(self) -> None:
        self.items: list[dict] = []

    def update_item(self, **request) -> None:
        names = request["ExpressionAttributeNames"]
        item = {
            names[f"#{name[1:]}"]: value
            for name, value in request["ExpressionAttributeValues"].items()
            if f"#{name[1:]}" in names
        }
        self.items.append(
            request["Key"] | item | {"attempt": {"N": "1"}, "history": {"S": ANY_JOB}, TIME_TO_LIVE: {"N": str(2**31)}}
        )


def _cpu_seconds(program: str, *arguments: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
