"""The `arcade-jobs` command: one module for each group of commands.

What only some commands use is imported where they do: AWS, SQLAlchemy, tables.

Exit codes: 0 done, 1 a run or a check did not succeed, 2 bad usage, 3 not reachable, 130 interrupted.
"""

import gc
import sys

import typer

from infra.cli import db, dead_letters, local, logs, runs, schedules
from infra.cli.terminal import err
from shared.domain.errors import ArcadeJobsError, BadInputError, NotReachableError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Operate the arcade's background jobs.",
)
for group in (runs, logs, schedules, dead_letters, db, local):
    app.add_typer(group.app)


# What a command reads is needed until it ends: 50,000 runs are read in half the time when none is searched for garbage.
gc.set_threshold(1_000_000)


def main() -> None:
    """Run the command. What its user can act on is one line on standard error."""
    try:
        app()
    except ArcadeJobsError as error:
        err.print(f"arcade-jobs: {error}", markup=False)
        sys.exit(2 if isinstance(error, BadInputError) else 3 if isinstance(error, NotReachableError) else 1)
