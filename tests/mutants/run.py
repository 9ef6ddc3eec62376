"""Mutation tests: `make mutants`. Change the product in one place, in a copy of the tree; a test must fail.

    python -m tests.mutants.run [WORD ...]   # only the guards whose promise or scenario has one of the words

Two kinds. The guards of `guards.toml` are SQL, settings and conditions; the rules and the runner, which are Python, are
mutated by mutmut. Writes `build/mutants.md`. Fails when a mutant survives that is not in `equivalent.toml`, when the
text of a guard is no longer found, and when a test fails without any mutant.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from infra.local import postgres

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent
REPORT = ROOT / "build" / "mutants.md"
COPIES = ROOT / "build" / "mutants"
AT_ONCE = 2  # mutants
LIMIT = 300  # seconds for the tests of one guard: a mutant that hangs is killed too
NOT_COPIED = (".*", "build", "cdk.out", "__pycache__", "node_modules", "docs")
FAILED = re.compile(r"^FAILED \S*?([^/\s]+?)(?:\[.*)?(?: - .*)?$", re.MULTILINE)
SURVIVOR = re.compile(r"^\s*(\S+): survived$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Edit:
    file: str
    old: str
    new: str

    def problem(self, tree: Path) -> str | None:
        """Why the edit cannot be made; None if it can."""
        found = (tree / self.file).read_text().count(self.old)
        return None if found == 1 else f"{self.file}: found {found} times, not once: {self.old.strip()[:60]!r}"


@dataclass(frozen=True, kw_only=True)
class Guard:
    """What keeps a promise, and how to take it out.

    Attributes:
        tests: which must fail without it.
        works: which must pass without it, so that the mutant is a working program.
    """

    scenario: str
    promise: str
    tests: tuple[str, ...]
    works: tuple[str, ...]
    edits: tuple[Edit, ...]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of a guard's mutant.

    Attributes:
        killed_by: the first test that failed; None if all passed.
        problem: why there is no verdict.
    """

    guard: Guard
    killed_by: str | None = None
    problem: str | None = None

    @property
    def result(self) -> str:
        return self.problem or ("killed" if self.killed_by else "SURVIVED")


@dataclass(frozen=True, kw_only=True)
class Survivor:
    """A mutant of the tool that no test killed.

    Attributes:
        why: it is equivalent; None if that is not known.
    """

    name: str
    removed: tuple[str, ...]
    added: tuple[str, ...]
    why: str | None


def main(words: Sequence[str]) -> int:
    guards = [guard for guard in load_guards() if not words or any(w in guard.promise + guard.scenario for w in words)]
    verdicts = judge_guards(guards)
    survivors, counts = ([], {}) if words else run_mutmut()
    report = "\n".join(write_report(verdicts, survivors, counts))
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(report + "\n")
    print(report)
    is_bad = any(verdict.result != "killed" for verdict in verdicts) or any(each.why is None for each in survivors)
    return 1 if is_bad else 0


def load_guards() -> list[Guard]:
    return [
        Guard(
            scenario=row["scenario"],
            promise=row["promise"],
            tests=tuple(row["tests"]),
            works=tuple(row.get("works", ())),
            edits=tuple(Edit(**edit) for edit in row["edit"]),
        )
        for row in tomllib.loads((FOLDER / "guards.toml").read_text())["guard"]
    ]


def judge_guards(guards: Sequence[Guard]) -> list[Verdict]:
    with ExitStack() as stack:
        copies: SimpleQueue[Path] = SimpleQueue()
        for n in range(AT_ONCE):
            copies.put(stack.enter_context(copy_of_the_tree(COPIES / str(n))))
        tests = sorted({test for guard in guards for test in (*guard.tests, *guard.works)})
        print(f"{len(tests)} tests without a mutant ...", flush=True)
        copy = copies.get()
        untouched = run_tests(copy, tests, stop_at_first=False)
        copies.put(copy)
        if untouched.returncode:
            sys.exit(f"{untouched.stdout[-5000:]}\ntests fail without any mutant: mutants would prove nothing")

        def judge_in_a_copy(guard: Guard) -> Verdict:
            copy = copies.get()
            try:
                return judge(guard, copy)
            finally:
                copies.put(copy)

        verdicts: list[Verdict] = []
        with ThreadPoolExecutor(AT_ONCE) as threads:
            for verdict in threads.map(judge_in_a_copy, guards):
                verdicts.append(verdict)
                print(f"[{len(verdicts)}/{len(guards)}] {verdict.result}: {verdict.guard.promise}", flush=True)
        return verdicts


@contextmanager
def copy_of_the_tree(copy: Path) -> Iterator[Path]:
    """A copy with a PostgreSQL server that stays up between its tests."""
    if copy.exists():
        postgres.stop_unused(copy / ".local" / "postgres-tests")
        shutil.rmtree(copy)
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*NOT_COPIED))
    (copy / ".emulator").symlink_to(ROOT / ".emulator")
    try:
        with postgres.serve(copy / ".local" / "postgres-tests", settings={"fsync": "off"}):
            yield copy
    finally:
        shutil.rmtree(copy)


def judge(guard: Guard, copy: Path) -> Verdict:
    for edit in guard.edits:
        if problem := edit.problem(copy):
            return Verdict(guard=guard, problem=problem)
    originals = {edit.file: (copy / edit.file).read_text() for edit in guard.edits}
    try:
        for edit in guard.edits:
            path = copy / edit.file
            path.write_text(path.read_text().replace(edit.old, edit.new))
        if guard.works:
            works = run_tests(copy, guard.works, stop_at_first=True)
            if works.returncode:
                return Verdict(guard=guard, problem=f"the mutant does not even work: {_last_words(works)}")
        ended = run_tests(copy, guard.tests, stop_at_first=True)
    except subprocess.TimeoutExpired:
        return Verdict(guard=guard, killed_by=f"no end within {LIMIT} s")
    finally:
        for file, original in originals.items():
            (copy / file).write_text(original)
    if ended.returncode == 0:
        return Verdict(guard=guard)
    failed = FAILED.search(ended.stdout)
    if ended.returncode != 1 or failed is None:  # no test ran: the mutant is no program, or the test has another name
        return Verdict(guard=guard, problem=f"no test ran: {_last_words(ended)}")
    return Verdict(guard=guard, killed_by=failed.group(1))


def run_tests(copy: Path, tests: Sequence[str], *, stop_at_first: bool) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "--show-capture=no", "-p", "no:cacheprovider", *tests]
    return _run([*command, *["-x"] * stop_at_first], copy, timeout=LIMIT if stop_at_first else None)


def run_mutmut() -> tuple[list[Survivor], dict[str, int]]:
    """Mutate what pyproject.toml names, in a copy; return the survivors, and how many mutants ended how."""
    copy = COPIES / "mutmut"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*NOT_COPIED))
    mutmut = [sys.executable, "-m", "mutmut"]
    print("mutmut ...", flush=True)
    ended = _run([*mutmut, "run", "--max-children", str(AT_ONCE)], copy)
    if ended.returncode:
        sys.exit(f"{ended.stdout[-3000:]}{ended.stderr[-3000:]}\nmutmut failed")
    _run([*mutmut, "export-cicd-stats"], copy)
    counts = json.loads((copy / "mutants" / "mutmut-cicd-stats.json").read_text())
    known = tomllib.loads((FOLDER / "equivalent.toml").read_text())["mutant"]
    reasons = {(tuple(row["removed"]), tuple(row["added"])): row["why"] for row in known}
    survivors = []
    for name in SURVIVOR.findall(_run([*mutmut, "results"], copy).stdout):
        diff = _run([*mutmut, "show", name], copy).stdout.splitlines()
        removed, added = (
            tuple(line[1:].strip() for line in diff if line.startswith(sign) and not line.startswith(sign * 3))
            for sign in "-+"
        )
        survivors.append(Survivor(name=name, removed=removed, added=added, why=reasons.get((removed, added))))
    shutil.rmtree(copy)
    return survivors, counts


def _run(command: Sequence[str], folder: Path, *, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    # An edit within the same second, of the same length, would leave stale bytecode in use.
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(folder)}
    if "mutmut" in command:  # it puts its own copy of the sources on the path
        del environment["PYTHONPATH"]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=timeout
    )


def _last_words(ended: subprocess.CompletedProcess[str]) -> str:
    return " ".join(ended.stdout.split())[-300:]


def write_report(verdicts: Sequence[Verdict], survivors: Sequence[Survivor], counts: dict[str, int]) -> Iterator[str]:
    killed = sum(verdict.result == "killed" for verdict in verdicts)
    yield from ("# Mutation tests", "", "## Guards in SQL, settings and conditions", "")
    yield from (f"{killed} of {len(verdicts)} killed.", "")
    yield from ("| | guard | test that fails without it | mutant |", "|---|---|---|---|")
    for verdict in verdicts:
        yield f"| {verdict.guard.scenario} | {verdict.guard.promise} | `{verdict.killed_by}` | {verdict.result} |"
    if counts:
        unknown = [survivor for survivor in survivors if survivor.why is None]
        ended = ", ".join(f"{count} {how.replace('_', ' ')}" for how, count in counts.items() if count)
        yield from ("", "## The rules and the runner (mutmut)", "")
        yield f"{ended}; {len(unknown)} survivors that no reason is known for."
    for survivor in survivors:
        yield from ("", f"`{survivor.name}`: {survivor.why or 'SURVIVED'}", "", "```diff")
        yield from (*(f"-{line}" for line in survivor.removed), *(f"+{line}" for line in survivor.added), "```")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
