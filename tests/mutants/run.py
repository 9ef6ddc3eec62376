"""Take out each guard in turn, in a copy of the tree, and see that a test fails: `make mutants`.

    python -m tests.scenarios.mutants.run [S01 S08 ...]   # those scenarios only; docs/scenarios.md is left alone

Fails when a mutant survives, when a guard's text is no longer found, or when a test fails without any mutant.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from rich.console import Console
from rich.table import Table

from infra.local import postgres
from tests.scenarios.mutants.catalogue import Mutant, Scenario, load_scenarios, misplaced

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "scenarios.md"
GENERATED = "<!-- From here on written by `make mutants`. -->"
COPIES = ROOT / "build" / "mutants"
AT_ONCE = 2  # mutants
LIMIT = 300  # seconds for the tests of one mutant: one that hangs is killed too
NOT_COPIED = (".*", "build", "cdk.out", "__pycache__", "node_modules", "docs")
FAILED = re.compile(r"^FAILED \S*?([^/\s]+?)(?:\[.*)?(?: - .*)?$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of a mutant.

    Attributes:
        killed_by: the first test that failed; None if all passed.
        problem: why there is no verdict.
    """

    mutant: Mutant
    killed_by: str | None = None
    problem: str | None = None

    @property
    def result(self) -> str:
        return self.problem or ("killed" if self.killed_by else "SURVIVED")


def main(wanted: list[str]) -> int:
    console = Console(width=160)
    scenarios = [scenario for scenario in load_scenarios() if not wanted or scenario.number in wanted]
    mutants = [mutant for scenario in scenarios for mutant in scenario.mutants]
    with contextlib.ExitStack() as stack:
        copies: SimpleQueue[Path] = SimpleQueue()
        for n in range(AT_ONCE):
            copies.put(stack.enter_context(copy_of_the_tree(COPIES / str(n))))
        tests = sorted({test for mutant in mutants for test in (*mutant.tests, *mutant.unharmed)})
        console.print(f"{len(tests)} tests without a mutant ...")
        copy = copies.get()
        untouched = run_tests(copy, tests, stop_at_first=False)
        copies.put(copy)
        if untouched.returncode:
            console.print(untouched.stdout[-5000:], markup=False)
            console.print("tests fail without any mutant: there is nothing to learn from mutants")
            return 1

        def judge_in_a_copy(mutant: Mutant) -> Verdict:
            copy = copies.get()
            try:
                return judge(mutant, copy)
            finally:
                copies.put(copy)

        verdicts = []
        with ThreadPoolExecutor(AT_ONCE) as threads:
            for verdict in threads.map(judge_in_a_copy, mutants):
                verdicts.append(verdict)
                number = f"[{len(verdicts)}/{len(mutants)}]"
                console.print(number, verdict.mutant.scenario, verdict.result, "-", verdict.mutant.guard, markup=False)
    console.print(as_table(verdicts))
    if not wanted:
        DOCUMENT.write_text(with_results(DOCUMENT.read_text(), scenarios, verdicts))
    bad = [verdict for verdict in verdicts if verdict.result != "killed"]
    console.print(f"{len(verdicts) - len(bad)} of {len(verdicts)} mutants killed")
    return 1 if bad else 0


@contextlib.contextmanager
def copy_of_the_tree(copy: Path) -> Iterator[Path]:
    """A copy with a PostgreSQL server that stays up between its tests."""
    if copy.exists():
        postgres.stop_unused(copy / ".local" / "postgres-tests")
        shutil.rmtree(copy)
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*NOT_COPIED))
    try:
        with postgres.serve(copy / ".local" / "postgres-tests"):
            yield copy
    finally:
        shutil.rmtree(copy)


def judge(mutant: Mutant, copy: Path) -> Verdict:
    for edit in mutant.edits:
        if problem := misplaced(edit, copy):
            return Verdict(mutant=mutant, problem=problem)
    originals = {edit.file: (copy / edit.file).read_text() for edit in mutant.edits}
    try:
        for edit in mutant.edits:
            path = copy / edit.file
            path.write_text(path.read_text().replace(edit.old, edit.new))
        if mutant.unharmed:
            works = run_tests(copy, list(mutant.unharmed), stop_at_first=True)
            if works.returncode:
                return Verdict(mutant=mutant, problem=f"it does not even work: {_last_words(works)}")
        ended = run_tests(copy, list(mutant.tests), stop_at_first=True)
    except subprocess.TimeoutExpired:
        return Verdict(mutant=mutant, killed_by=f"no end within {LIMIT} s")
    finally:
        for file, original in originals.items():
            (copy / file).write_text(original)
    if ended.returncode == 0:
        return Verdict(mutant=mutant)
    failed = FAILED.search(ended.stdout)
    if ended.returncode != 1 or failed is None:  # no test ran: the mutant is no program, or the test has another name
        return Verdict(mutant=mutant, problem=f"no test ran: {_last_words(ended)}")
    return Verdict(mutant=mutant, killed_by=failed.group(1))


def _last_words(ended: subprocess.CompletedProcess[str]) -> str:
    return " ".join(ended.stdout.split())[-300:]


def run_tests(copy: Path, tests: list[str], *, stop_at_first: bool) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "--show-capture=no", "-p", "no:cacheprovider", *tests]
    # An edit within the same second, of the same length, would leave stale bytecode in use.
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        command + ["-x"] * stop_at_first,
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT if stop_at_first else None,
    )


def as_table(verdicts: list[Verdict]) -> Table:
    table = Table("scenario", "guard", "test that failed", "result")
    for verdict in verdicts:
        table.add_row(verdict.mutant.scenario, verdict.mutant.guard, verdict.killed_by, verdict.result)
    return table


def with_results(document: str, scenarios: list[Scenario], verdicts: list[Verdict]) -> str:
    """The document with both tables as they are now."""
    head, marker, _ = document.partition(GENERATED)
    evidence = [
        (scenario.number, scenario.title, f"`{row.test}`", row.injected, row.times, row.lost)
        for scenario in scenarios
        for row in scenario.evidence
    ]
    judged = [
        (verdict.mutant.scenario, verdict.mutant.guard, f"`{verdict.killed_by}`", verdict.result)
        for verdict in verdicts
    ]
    return "\n".join(
        [
            head.rstrip(),
            "",
            marker or GENERATED,
            "",
            "## What was injected, and what was lost",
            "",
            *_rows(("", "it happens", "test", "injected", "how often", "lost"), evidence),
            "",
            "## Each guard taken out",
            "",
            *_rows(("", "guard", "test that fails without it", "mutant"), judged),
            "",
        ]
    )


def _rows(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (header, tuple("---" for _ in header), *rows)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
