"""How a database differs from the contract, and the statements that fix it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from shared.domain.errors import ArcadeJobsError


class Kind(StrEnum):
    """Who is to act on a difference."""

    MISSING = "missing"  # an upgrade adds it
    REFUSED = "refused"  # needs a decision: an upgrade changes nothing while there is one
    WARNING = "warning"  # the jobs work anyway


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One difference between a database and the contract.

    Attributes:
        kind: who is to act on it.
        where: the table, column, constraint, index, trigger or function, such as `prize_pools.settled_by`.
        what: the rest of a sentence that begins with `where`.
        statements: the SQL that fixes it, to be run in this order, each on its own and outside a transaction.
        note: what to consider before running them; empty for most. One that begins with `invents: ` names facts that
            the statements make up.
        is_code: the statements are the body of a function or trigger of a revision: `db check --sql` prints it.
    """

    kind: Kind
    where: str
    what: str
    statements: Sequence[str] = ()
    note: str = ""
    is_code: bool = False

    @property
    def fix(self) -> str:
        """The statements as text to run in psql."""
        return ";\n".join(self.statements) + ";" * bool(self.statements) + f" -- {self.note}" * bool(self.note)

    def __str__(self) -> str:
        return f"{self.where} {self.what}"


def refused(where: str, what: str, *statements: str, note: str = "") -> Difference:
    """A difference that needs a decision."""
    return Difference(kind=Kind.REFUSED, where=where, what=what, statements=statements, note=note)


def missing(where: str, *statements: str, what: str = "is missing", is_code: bool = False) -> Difference:
    """A difference that an upgrade ends."""
    return Difference(kind=Kind.MISSING, where=where, what=what, statements=statements, is_code=is_code)


def warning(where: str, what: str, *statements: str, note: str = "") -> Difference:
    """A difference that the jobs can live with."""
    return Difference(kind=Kind.WARNING, where=where, what=what, statements=statements, note=note)


def rows_text(count: int) -> str:
    """A number of rows, in English."""
    return "1 row" if count == 1 else f"{count} rows"


class UpgradeError(ArcadeJobsError):
    """The upgrade could not continue. What was done stays, and the next upgrade continues there."""


class SchemaError(UpgradeError):
    """The schema cannot be adopted as it is. Nothing was changed.

    The message lists every difference, each followed by the statements that fix it.

    Attributes:
        differences: those that were refused.
    """

    def __init__(self, differences: Sequence[Difference]) -> None:
        self.differences = tuple(differences)
        lines = ["the schema differs from the contract and needs a decision; nothing was changed"]
        for difference in differences:
            lines += [f"- {difference}", *(f"    {line}" for line in difference.fix.splitlines())]
        super().__init__("\n".join(lines))
