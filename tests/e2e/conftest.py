"""What only Linux can run: AWS publishes its runtime client and emulator for nothing else."""

import sys

collect_ignore = [] if sys.platform == "linux" else ["test_runtime.py"]


def pytest_report_header() -> str | None:
    return "left out here: tests/e2e/test_runtime.py needs Linux" if collect_ignore else None
