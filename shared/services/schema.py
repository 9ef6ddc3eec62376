"""No job begins on a database that lacks what its statements name."""

from collections.abc import Callable
from dataclasses import dataclass

from shared.db.schema_check import missing_columns
from shared.domain.run import Outcome, Run
from shared.services.transactions import Transactions


class SchemaError(Exception):
    """The database lacks tables or columns. The message names all of them; nothing was touched."""


@dataclass(kw_only=True)
class SchemaGuard:
    """Looks at the schema once, before the first work of a container.

    Attributes:
        transactions: the database.
        is_complete: whether it was found complete; nothing drops columns under a running container.
    """

    transactions: Transactions
    is_complete: bool = False

    def before(self, work: Callable[[Run], Outcome]) -> Callable[[Run], Outcome]:
        """The same work, which raises `SchemaError` instead of beginning on a database that lacks something."""

        def guarded(run: Run) -> Outcome:
            if not self.is_complete:
                if missing := self.transactions.run(missing_columns, run=run):
                    raise SchemaError(f"the database lacks {', '.join(missing)}: run arcade-jobs db upgrade")
                self.is_complete = True
            return work(run)

        return guarded
