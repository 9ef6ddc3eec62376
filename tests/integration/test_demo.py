"""The demo as a user runs it: a process of its own, in a folder of its own, interrupted at any moment."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from infra.cli.demo import show_demo
from infra.demo.saved_runs import SAVED_RUNS, open_saved_runs
from infra.local import postgres
from shared.db.connection import open_engine
from shared.domain.errors import ArcadeJobsError

ROOT = Path(__file__).parents[2]
# Three days of the three weeks: enough for pools to be settled, boards to be ranked and sessions to be deleted.
DEMO = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from infra.cli.demo import show_demo
until = datetime(2026, 1, 7, 3, tzinfo=UTC)
sys.exit(show_demo(folder=Path(sys.argv[1]), until=until, as_json="--json" in sys.argv))
"""
RUNS = 2 + 51 + 3  # 1 am on the 5th to 3 am on the 7th: midnights, hours, mornings except the first, which is the 5th's


@contextlib.contextmanager
def started(
    folder: Path, *arguments: str, stdout: int = subprocess.PIPE, **settings: str
) -> Iterator[subprocess.Popen[str]]:
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", DEMO, str(folder), *arguments],
        cwd=ROOT,
        env=environment | settings,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # what a terminal would send Ctrl-C to
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_for(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    assert line in (printed.strip() for printed in process.stdout), "it ended before"


def what_is_left(folder: Path) -> dict[str, Any]:
    """By a demo: its files, and in its database how many sessions there are."""
    files = {path.name: path.read_bytes() for path in (folder / "demo").iterdir()}
    with postgres.serve(folder / "postgres", environment={}) as server:
        engine = open_engine(server.url("arcade_demo").render_as_string())
        with engine.connect() as connection:
            sessions = connection.scalar(text("SELECT count(*) FROM game_sessions"))
        engine.dispose()
    return {**files, "sessions": sessions}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    postgres.stop_unused(tmp_path / "postgres")


def test_a_demo_that_is_killed_at_any_moment_begins_anew(folder: Path) -> None:
    for moment in ("starting PostgreSQL ...", "creating database arcade_demo ...", "replayed until 2026-01-06"):
        with started(folder) as process:
            wait_for(process, moment)
            process.kill()
    winners = []
    for _ in range(2):
        with started(folder) as process:
            output, errors = process.communicate()
        assert (process.returncode, errors) == (0, "")
        assert "Every pool is exactly as expected, counted by Python alone." in output
        winners.append((folder / "demo" / "winners.csv").read_text())
    assert winners[0] == winners[1]
    left = what_is_left(folder)
    with started(folder) as process:
        wait_for(process, "replayed until 2026-01-06")
        os.killpg(process.pid, signal.SIGINT)
        process.communicate()
    assert what_is_left(folder) == left
    assert left.keys() == {"jobs.log", "runs.json", "winners.csv", "sessions"}
    assert not postgres.is_running(folder / "postgres")


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("starting PostgreSQL ...", signal.SIGINT),
        ("creating database arcade_demo ...", signal.SIGTERM),
        ("replayed until 2026-01-06", signal.SIGINT),
    ],
)
def test_ctrl_c_leaves_nothing_running_and_prints_one_line(folder: Path, moment: str, number: signal.Signals) -> None:
    with started(folder) as process:
        wait_for(process, moment)
        os.killpg(process.pid, number)
        _, errors = process.communicate()
    assert errors == "arcade-jobs: interrupted; nothing was left running, and earlier results are as they were\n"
    assert process.returncode == 130
    assert not postgres.stop_unused(folder / "postgres")
    assert not (folder / "demo" / "runs.json").exists()


def test_a_terminal_shows_a_bar_and_nothing_that_the_jobs_print(folder: Path) -> None:
    ours, theirs = os.openpty()
    shown = b""
    with started(folder, stdout=theirs, TERM="xterm", COLUMNS="80") as process:
        os.close(theirs)
        while b"Tue 06 Jan" not in shown:  # any hour of it: a fast replay passes several between two frames
            shown += os.read(ours, 1000)
        os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(OSError):  # what the end of a terminal is to its reader, on Linux
            while more := os.read(ours, 1000):
                shown += more
    os.close(ours)
    assert "━" in shown.decode()
    assert b"{" not in shown
    assert len((folder / "demo.unfinished" / "jobs.log").read_text().splitlines()) > 40


def test_a_demo_prints_json_and_leaves_its_runs(folder: Path) -> None:
    """The user's AWS settings do not matter."""
    settings: dict[str, Any] = {
        "AWS_PROFILE": "absent",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_REGION": "eu-north-1",
    }
    with started(folder, "--json", **settings) as process:
        output, errors = process.communicate()
    assert process.returncode == 0, errors
    report = json.loads(output)
    assert report["differences"] == []
    assert {pool["status"] for pool in report["pools"]} == {"active", "finalized"}
    counts = {of_job["job"]: of_job["runs"] for of_job in report["statistics"]}
    assert (counts["prize-pool"], counts["leaderboard"], counts["cleanup"]) == (2, 51, 3)
    runs = open_saved_runs(folder / "demo" / SAVED_RUNS)
    assert len(runs.list_runs()) == sum(counts.values())
    assert [record.to_json()["run_id"] for record in runs.list_runs(limit=10)] == [
        record["run_id"] for record in report["last_runs"]
    ]
    settled = runs.get("prize-pool:2026-01-06T00:00Z")
    assert settled is not None
    assert settled.result is not None
    assert len(settled.result["finalized_pools"]) == 5
    for line in (folder / "demo" / "jobs.log").read_text().splitlines():
        assert {"_aws", "level"} & json.loads(line).keys()


def test_a_second_demo_at_the_same_time_is_refused(folder: Path) -> None:
    with (folder / "demo.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ArcadeJobsError, match=r"^another demo is running; wait for it, or stop it$"):
            show_demo(folder=folder)


def test_a_database_that_cannot_be_reached_is_reported_in_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:secret@127.0.0.1:1/arcade")
    with pytest.raises(ArcadeJobsError) as refused:
        show_demo(folder=folder)
    message = str(refused.value)
    assert message.startswith("DATABASE_URL: cannot connect to 127.0.0.1 port 1: ")
    assert "\n" not in message


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"at": 1768176000, "items": {}}',
        b'{"at": "2026-01-12T00:00:00Z", "items": [{"run_id": {"S": "prize-pool:2026-01-06T00:00Z"}}]}',
        b"\xfd7zXZ\x00 and no more",
        None,
    ],
)
def test_saved_runs_that_cannot_be_read_are_reported_in_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "runs.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArcadeJobsError, match=f"^{path}: .*make demo") as refused:
        open_saved_runs(path)
    assert "\n" not in str(refused.value)
