"""The locks against published advisories: `python -m infra.audit requirements/*.txt`.

An advisory that applies fails. A service that cannot be asked does not, since nothing of ours has changed; but what was
not looked up is said in a line that nobody overlooks. (pip-audit itself says "no known vulnerabilities found" of
packages that the service does not know, as behind a mirror of the index that has no advisories.)
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The locks are complete and hashed: nothing is resolved, downloaded or installed.
PIP_AUDIT = ("-m", "pip_audit", "--require-hashes", "--no-deps", "--disable-pip", "--progress-spinner=off")
SOCKET_TIMEOUT = 10  # seconds
LIMIT = 60  # seconds for a lock
WARNING = "WARNING"


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What is known of a lock.

    Attributes:
        audited: packages that were looked up.
        skipped: packages that were not.
        advisories: one line for each that applies.
        failure: why nothing was looked up at all; None if something was.
    """

    audited: int = 0
    skipped: int = 0
    advisories: tuple[str, ...] = ()
    failure: str | None = None

    @property
    def lines(self) -> list[str]:
        """What to print."""
        said = [f"vulnerable: {advisory}" for advisory in self.advisories]
        if self.failure is not None:
            said.append(f"{WARNING}: the dependencies were NOT audited: {self.failure}")
        elif self.skipped:
            said.append(
                f"{WARNING}: {self.skipped} of {self.audited + self.skipped} dependencies were NOT audited:"
                " the advisory service does not know them, or could not be asked"
            )
        if self.audited:
            said.append(f"{self.audited} dependencies audited, {len(self.advisories)} advisories apply")
        return said


def read_report(report: dict[str, Any]) -> Audit:
    """Read pip-audit's JSON."""
    packages = report["dependencies"]
    looked_up = [package for package in packages if "skip_reason" not in package]
    advisories = sorted(
        f"{package['name']} {package['version']}: {found['id']}, mended in {', '.join(found['fix_versions']) or 'none'}"
        for package in looked_up
        for found in package["vulns"]
    )
    return Audit(
        audited=len(looked_up), skipped=len(packages) - len(looked_up), advisories=tuple(dict.fromkeys(advisories))
    )


def audit(lock: Path, *, command: Sequence[str] = (sys.executable, *PIP_AUDIT)) -> Audit:
    """Ask the advisory service about everything in a lock.

    Args:
        lock: a hashed requirements file.
        command: runs pip-audit.
    """
    options = ["--format=json", f"--timeout={SOCKET_TIMEOUT}", "-r", str(lock)]
    try:
        done = subprocess.run([*command, *options], check=False, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return Audit(failure=f"no answer within {LIMIT} s")
    try:
        return read_report(json.loads(done.stdout))
    except (ValueError, LookupError, TypeError):
        lines = done.stderr.strip().splitlines()
        return Audit(failure=lines[-1][:200] if lines else f"pip-audit ended with {done.returncode} and no word")


def main() -> None:
    """Print what is known of each lock; exit with 1 if an advisory applies."""
    prefix = "::warning::" if os.environ.get("GITHUB_ACTIONS") else ""
    is_vulnerable = False
    for lock in map(Path, sys.argv[1:]):
        found = audit(lock)
        is_vulnerable |= bool(found.advisories)
        for line in found.lines:
            print(f"{prefix if line.startswith(WARNING) else ''}{lock.name}: {line}", flush=True)  # noqa: T201
    raise SystemExit(1 if is_vulnerable else 0)


if __name__ == "__main__":
    main()
