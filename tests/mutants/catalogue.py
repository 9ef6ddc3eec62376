"""The guards and how to take each of them out: one TOML file for each scenario, beside this one.

    scenario = "S01"
    title = "what happens"

    [[evidence]]                      # a row of the first table in docs/scenarios.md
    test = "tests/scenarios/test_s01_deliveries_at_once.py"
    injected = "what was done to the system"
    times = "how often"
    lost = "nothing"

    [[mutant]]                        # a row of the second
    guard = "what the guard promises"
    tests = ["tests/..."]             # which must fail without it: files, or files::tests

    unharmed = ["tests/..."]          # optional: which must pass without it, so that the mutant is a working program

    [[mutant.edit]]                   # one or more; `old` must be in the file exactly once
    file = "shared/..."
    old = '''exact text'''
    new = '''what stands there instead'''

The file of a guard names its scenario in a comment beside the guard.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Edit:
    file: str
    old: str
    new: str


@dataclass(frozen=True, kw_only=True)
class Mutant:
    scenario: str
    guard: str
    tests: tuple[str, ...]
    unharmed: tuple[str, ...]
    edits: tuple[Edit, ...]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    test: str
    injected: str
    times: str
    lost: str


@dataclass(frozen=True, kw_only=True)
class Scenario:
    number: str
    title: str
    evidence: tuple[Evidence, ...]
    mutants: tuple[Mutant, ...]


def load_scenarios() -> list[Scenario]:
    return [_scenario(tomllib.loads(path.read_text())) for path in sorted(FOLDER.glob("s*.toml"))]


def _scenario(data: dict) -> Scenario:
    return Scenario(
        number=data["scenario"],
        title=data["title"],
        evidence=tuple(Evidence(**row) for row in data.get("evidence", ())),
        mutants=tuple(
            Mutant(
                scenario=data["scenario"],
                guard=row["guard"],
                tests=tuple(row["tests"]),
                unharmed=tuple(row.get("unharmed", ())),
                edits=tuple(Edit(**edit) for edit in row["edit"]),
            )
            for row in data["mutant"]
        ),
    )


def misplaced(edit: Edit, root: Path) -> str | None:
    """Why the edit cannot be made; None if it can."""
    found = (root / edit.file).read_text().count(edit.old)
    return None if found == 1 else f"{edit.file}: expected once, found {found} times: {edit.old.strip()[:60]!r}"
