"""The revisions: frozen SQL text, and how far a database has come in it.

A file `NNNN_name.sql` in `revisions/` is never edited once it was released. It is plain SQL for psql: a statement ends
with a semicolon and an empty line, and every table and function is named in `:"schema"`, a variable of psql.
`CREATE INDEX CONCURRENTLY IF NOT EXISTS` is the one statement that does not share a transaction with its number.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from infra.schema.differences import UpgradeError
from infra.schema.quoting import quoted

FOLDER = Path(__file__).parent / "revisions"
# The revision that a database has; `0001+3` while the next one is under way: its first three statements are done.
VERSION_TABLE = "arcade_jobs_version"
NOTHING = "0000"  # before the first statement of the first revision

_QUALIFIED = r'(?:"(?:[^"]|"")+"|:"schema"|\w+)\.\w+'
_CONCURRENT = re.compile(
    rf"CREATE (?:UNIQUE )?INDEX CONCURRENTLY IF NOT EXISTS (?P<index>\w+) ON (?P<table>{_QUALIFIED}) "
)


_SETS_ASIDE = re.compile(rf"WITH gone AS \(\s*DELETE FROM (?P<table>{_QUALIFIED})\s")  # noqa: S608 - a pattern


@dataclass(frozen=True, kw_only=True)
class Revision:
    """One file.

    Attributes:
        number: such as `0001`.
        statements: in order, with the schema's name still open.
    """

    number: str
    statements: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One statement of a revision, and what the version table reads before and after it.

    Attributes:
        revision: its number.
        number: its place in the revision, from 1.
        of: how many statements the revision has.
    """

    revision: str
    number: int
    of: int
    statement: str
    before: str
    after: str

    @property
    def concurrent_index(self) -> tuple[str, str] | None:
        """The index and the table, as they are written in SQL, if the statement cannot run in a transaction."""
        match = _CONCURRENT.match(self.statement)
        return (match["index"], match["table"]) if match else None

    @property
    def sets_aside_from(self) -> str | None:
        """The table, as it is written in SQL, if the statement sets rows of one aside."""
        match = _SETS_ASIDE.match(self.statement)
        return match["table"] if match else None

    def __str__(self) -> str:
        return f"revision {self.revision}, from statement {self.number} of {self.of}"


@cache
def revisions() -> tuple[Revision, ...]:
    """All of this version's, oldest first."""
    return tuple(
        Revision(number=path.name.split("_")[0], statements=tuple(_statements(path.read_text("utf-8"))))
        for path in sorted(FOLDER.glob("*.sql"))
    )


def head() -> str:
    """The number of the last revision."""
    return revisions()[-1].number


def first() -> str:
    """The number of the revision that a platform's own schema is compared with."""
    return revisions()[0].number


def steps_after(version: str, schema: str) -> list[Step]:
    """What is left to do.

    Args:
        version: what the version table reads.
        schema: the schema of the tables.

    Raises:
        UpgradeError: it reads nothing that this version of the project wrote.
    """
    steps = [step for revision in _pairs() for step in _steps(*revision, schema)]
    if version == head():
        return []
    for place, step in enumerate(steps):
        if step.before == version:
            return steps[place:]
    raise UpgradeError(
        f"{VERSION_TABLE}: {version} is no revision of this version, whose last one is {head()};"
        " is a newer version of arcade-jobs in use?"
    )


def statements_until(version: str, schema: str) -> list[str]:
    """What was done in a database, in order, each of which can run in one transaction with the others.

    Args:
        version: what its version table reads.
        schema: how the statements are to name their schema.

    Raises:
        UpgradeError: it reads nothing that this version of the project wrote.
    """
    left = len(steps_after(version, schema))
    rendered = [render(statement, schema) for revision in revisions() for statement in revision.statements]
    return [without_concurrently(statement) for statement in rendered[: len(rendered) - left]]


def render(statement: str, schema: str) -> str:
    """A statement with the schema's name filled in, as psql fills it in."""
    return statement.replace(':"schema"', quoted(schema))


def without_concurrently(statement: str) -> str:
    """The same index, built under a lock that keeps writers waiting, where a transaction is all there is."""
    return statement.replace("INDEX CONCURRENTLY ", "INDEX ", 1) if _CONCURRENT.match(statement) else statement


def created(kind: str, statements: Sequence[str]) -> list[str]:
    """The names of what statements create, such as every TABLE, in order and once."""
    pattern = re.compile(rf"CREATE (?:OR REPLACE )?{kind} (?:IF NOT EXISTS )?({_QUALIFIED})")
    matches = (pattern.match(statement) for statement in statements)
    return list(dict.fromkeys(match[1].rpartition(".")[2] for match in matches if match))


def _statements(written: str) -> Iterator[str]:
    for part in written.split(";\n\n"):
        lines = part.removesuffix(";\n").splitlines()
        while lines and (not lines[0] or lines[0].startswith("--")):
            lines.pop(0)
        if lines:
            yield "\n".join(lines)


def _pairs() -> list[tuple[str, Revision]]:
    numbers = [NOTHING, *(revision.number for revision in revisions())]
    return list(zip(numbers, revisions(), strict=False))


def _steps(before: str, revision: Revision, schema: str) -> Iterator[Step]:
    count = len(revision.statements)
    versions = [before, *(f"{before}+{done}" for done in range(1, count)), revision.number]
    for place, statement in enumerate(revision.statements):
        yield Step(
            revision=revision.number,
            number=place + 1,
            of=count,
            statement=render(statement, schema),
            before=versions[place],
            after=versions[place + 1],
        )
