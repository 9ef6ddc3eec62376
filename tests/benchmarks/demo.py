"""The demo: from a command to its report, as a user waits for it."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from infra.local import postgres
from tests.benchmarks.rows import Row, at_most

MOST = 30.0  # seconds
DEMO = """
import sys
from pathlib import Path
from infra.cli.demo import show_demo
sys.exit(show_demo(folder=Path(sys.argv[1]), as_json=True))
"""


def measure(*, quick: bool) -> list[Row]:
    """Three weeks, 576 runs, in a folder of its own. Quick: once."""
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(1 if quick else 3):
            started = time.monotonic()
            subprocess.run([sys.executable, "-c", DEMO, folder], check=True, capture_output=True)
            seconds.append(time.monotonic() - started)
        postgres.stop_unused(Path(folder) / "postgres")
    return [at_most(MOST, seconds, name="make demo after set-up, 576 runs", against="", unit="s")]
