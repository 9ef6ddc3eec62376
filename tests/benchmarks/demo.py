"""The demo: from a command to its report, as a user waits for it."""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from infra.local import postgres
from tests.benchmarks.database import median
from tests.benchmarks.rows import Row, spread

MOST = 30.0  # seconds
DEMO = """
import sys
from datetime import datetime
from pathlib import Path
from infra.cli.demo import show_demo
folder, *until = sys.argv[1:]
sys.exit(show_demo(folder=Path(folder), as_json=True, until=datetime.fromisoformat(*until) if until else None))
"""
TWO_DAYS = "2026-01-07T03:00:00+00:00"


def measure(*, quick: bool) -> list[Row]:
    """Three weeks, 576 runs, in a folder of its own. Quick: two days."""
    seconds, processor_seconds = [], []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(1 if quick else 2):
            started, before = time.monotonic(), _processor_seconds()
            replay(Path(folder), *([TWO_DAYS] if quick else []))
            seconds.append(time.monotonic() - started)
            processor_seconds.append(_processor_seconds() - before)
        postgres.stop_unused(Path(folder) / "postgres")
    return [
        Row(
            measure="make demo after set-up, " + ("two days of it" if quick else "576 runs"),
            against=f"{min(processor_seconds):.1f} s of CPU without PostgreSQL's",
            target=f"at most {MOST:g} s",
            figures=spread(seconds, unit="s", scale=1),
            is_met=None if quick else median(seconds) <= MOST,
        )
    ]


def replay(folder: Path, *until: str) -> dict[str, Any]:
    """Run the demo, in a process of its own; returns its report."""
    done = subprocess.run([sys.executable, "-c", DEMO, str(folder), *until], check=True, capture_output=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
