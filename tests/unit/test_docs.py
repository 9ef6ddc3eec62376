"""The pages fit the tree and each other: every file, link, anchor, rule and scenario that they name is there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IGNORED = {".git", *(line.rstrip("/") for line in (ROOT / ".gitignore").read_text().split())}
PAGES = sorted(page for folder in (ROOT, ROOT / "docs") for page in folder.glob("*.md"))
EXAMPLES = ("heartbeat", "NNNN")  # files that a page only imagines
FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)


def files(folder: Path = ROOT) -> Iterator[str]:
    """Every file of the repository, without asking git: a tarball has none."""
    for path in sorted(folder.iterdir()):
        if not any(Path(path.name).match(pattern) for pattern in IGNORED):
            if path.is_dir():
                yield from files(path)
            else:
                yield path.relative_to(ROOT).as_posix()


def listed() -> set[str]:
    """The paths in the tree of docs/architecture.md; those of folders end with a slash."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    paths: set[str] = set()
    folders: list[str] = []
    for line in page.partition("```text\n")[2].partition("```")[0].splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        folders = [*folders[:depth], line.split()[0]]
        paths.add("".join(folders))
    return paths


def summary(path: str) -> str:
    """The first line of a module's docstring: what its line in the tree may be."""
    text = (ROOT / path).read_text() if path.endswith(".py") else ""
    return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_tree_has_one_line_for_each_file() -> None:
    paths = listed()
    # A folder without lines of its own stands for all that is in it, and every folder's line for its __init__.py.
    whole = tuple(path for path in paths if path.endswith("/") and sum(p.startswith(path) for p in paths) == 1)
    lacking = [
        path
        for path in files()
        if path not in paths and not path.startswith(whole) and not path.endswith("__init__.py")
    ]
    surplus = [path for path in sorted(paths) if not (ROOT / path).exists()]
    report = [*(f"missing: {path}  {summary(path)}" for path in lacking), *(f"too many: {path}" for path in surplus)]
    assert not report, "\n".join(["docs/architecture.md, The tree:", *report])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_between_the_pages_leads_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text())):
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        if "://" not in target and (not linked.exists() or (anchor and anchor not in anchors(linked))):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    rooms = "|".join(sorted({re.escape(path.partition("/")[0]) for path in files() if "/" in path}))
    named = re.findall(rf"`((?:{rooms})/[\w./-]+)(?:::\w+)?`", FENCE.sub("", page.read_text()))
    missing = [path for path in named if not (ROOT / path).exists()]
    assert [path for path in missing if not any(name in path for name in EXAMPLES)] == []


def test_every_section_that_code_refers_to_is_there() -> None:
    sections = {page.name: {heading.partition("-")[0] for heading in anchors(page)} for page in PAGES}
    for path in files():
        if path.endswith((".py", ".sql")):
            for page, section in re.findall(r"docs/(\w+\.md), ([A-Z]\w+)", (ROOT / path).read_text()):
                assert section.lower() in sections[page], f"{path}: docs/{page} has no section {section}"


def test_every_scenario_has_a_test_under_its_number() -> None:
    page = (ROOT / "docs" / "scenarios.md").read_text()
    rows = dict(re.findall(r"^\| (S\d\d) \|.*\|([^|]*)\|$", page, re.MULTILINE))
    assert list(rows) == [f"S{number:02}" for number in range(1, len(rows) + 1)]
    for number, tests in rows.items():
        paths = re.findall(r"`(tests/[^`]*)`", tests)
        carries = re.compile(rf"\b{number}\b|test_{number.lower()}_")
        assert any(carries.search((ROOT / path).read_text()) for path in paths), (
            f"no test of {number} carries its number"
        )
    numbered = {path for path in files() if re.search(r"/test_s\d\d_\w+\.py$", path)}
    assert {path for path in numbered if f"`{path}`" not in page} == set()
