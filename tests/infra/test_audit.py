"""The audit of the locks: an advisory fails, silence of the service does not, and says so."""

import json
import sys
from pathlib import Path

import pytest

from infra.audit import Audit, audit

LOCK = Path("requirements/functions.txt")
SAFE = {"name": "sqlalchemy", "version": "2.1.9", "vulns": []}
VULNERABLE = {
    "name": "pg8000",
    "version": "1.31.4",
    "vulns": [{"id": "PYSEC-2025-1", "fix_versions": ["1.31.5"], "aliases": [], "description": "..."}],
}
UNKNOWN = {"name": "tzdata", "skip_reason": "Dependency not found on PyPI and could not be audited: tzdata (2026.6)"}


def answer(*packages: dict[str, object], code: int = 0) -> Audit:
    """The audit, with a pip-audit that reports so."""
    report = json.dumps({"dependencies": packages, "fixes": []})
    return audit(LOCK, command=[sys.executable, "-c", f"print({report!r}); raise SystemExit({code})"])


def test_an_advisory_that_applies_is_named_with_what_mends_it() -> None:
    found = answer(SAFE, VULNERABLE, code=1)
    assert found.advisories == ("pg8000 1.31.4: PYSEC-2025-1, mended in 1.31.5",)
    assert found.lines[-1] == "2 dependencies audited, 1 advisories apply"


def test_packages_that_the_service_does_not_know_are_a_warning_and_not_a_clean_bill() -> None:
    assert answer(UNKNOWN, UNKNOWN).lines == [
        "WARNING: 2 of 2 dependencies were NOT audited: the advisory service does not know them, or could not be asked"
    ]
    assert answer(SAFE, UNKNOWN).lines[0].startswith("WARNING: 1 of 2 dependencies were NOT audited")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("raise SystemExit('requests.exceptions.ConnectionError: no route')", "ConnectionError: no route"),
        ("raise SystemExit(2)", "pip-audit ended with 2 and no word"),
        ("print('{}')", "no word"),
    ],
)
def test_a_service_that_cannot_be_asked_is_a_warning(script: str, said: str) -> None:
    found = audit(LOCK, command=[sys.executable, "-c", script])
    [line] = found.lines
    assert line.startswith("WARNING: the dependencies were NOT audited: ")
    assert said in line
    assert found.advisories == ()
