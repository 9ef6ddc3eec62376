"""The `arcade-jobs` command: one module for each group of commands.

What only some commands use is imported where they do: AWS, SQLAlchemy, tables.

Exit codes: 0 done, 1 a run or a check did not succeed, 2 bad usage, 3 not reachable, 130 interrupted.
"""

import gc
import re
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import typer

from infra.cli import db, dead_letters, local, logs, report, runs, schedules
from infra.cli.terminal import err, print_lines
from shared.domain.errors import ArcadeJobsError, BadInputError, NotReachableError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Operate the arcade's background jobs.",
    epilog="Exit codes: 0 done, 1 a run or a check did not succeed, 2 bad usage, 3 not reachable, 130 interrupted.",
)
for group in (runs, logs, schedules, dead_letters, report, db, local):
    app.add_typer(group.app)

BAD_USAGE = 2  # what Typer exits with, too
# What Typer says of a mistake, and the same in the words of our own checks.
USAGE = (
    (
        r"Invalid value for '(?P<name>[^']*)'.*?: (?:Value error, )?(?P<what>'[^']*') does not match the formats .*",
        "{name}: {what} is not a date such as 2026-03-02",
    ),
    (r"Invalid value for '(?P<name>[^']*)'.*?: (?:Value error, )?(?P<what>.*)", "{name}: {what}"),
    (r"Missing (argument|option) '(?P<name>[^']*)'.*", "{name}: missing; --help shows the usage"),
    (r"Option '(?P<name>[^']*)' (?P<what>.*)", "{name}: {what}"),
    (r"No such option: (?P<name>\S+)", "{name}: no such option"),
    (r"No such option: (?P<name>\S+) \(Possible options: (?P<what>.*)\)", "{name}: no such option; perhaps {what}"),
    (r"No such command '(?P<what>[^']*)'.*", "{what!r}: no such command"),
    (r"Got unexpected extra arguments? ?\(?s?\)? \((?P<what>.*)\)", "{what!r}: one argument too many"),
)

# What a command reads is needed until it ends: of 50,000 runs, none is searched for garbage.
gc.set_threshold(1_000_000)


def _show_version(is_asked: bool) -> None:  # noqa: FBT001 - as Typer calls it
    if is_asked:
        from importlib.metadata import version

        print_lines(f"arcade-jobs {version('arcade-jobs')}")
        raise typer.Exit


@app.callback()
def choose(
    *,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Operate the arcade's background jobs."""


def main() -> None:
    """Run the command. What its user can act on is one line on standard error."""
    try:
        sys.exit(app(standalone_mode=False))
    except ArcadeJobsError as error:
        _fail(
            str(error),
            BAD_USAGE if isinstance(error, BadInputError) else 3 if isinstance(error, NotReachableError) else 1,
        )
    except typer.Abort:
        _fail("interrupted", 130)
    except typer.TyperException as error:  # its help is printed already where a command was missing
        _fail(describe_usage(error.format_message(), sys.argv[1:]), error.exit_code)


def describe_usage(message: str, arguments: Sequence[str]) -> str:
    """What Typer says of a mistake, in one line that names the option and its value.

    Args:
        message: Typer's own.
        arguments: of the command line.
    """
    for pattern, words in USAGE:
        if found := re.fullmatch(pattern, message, re.DOTALL):
            parts = found.groupdict()
            name = parts.get("name", "")
            if (value := _value_of(name, arguments)) is not None:
                parts["what"] = parts.get("what", "").replace("Input", repr(value), 1)
            message = words.format(**parts | {"name": name if name.startswith("-") else name.upper()})
            break
    return " ".join(message.split()).removesuffix(".")


def _value_of(option: str, arguments: Sequence[str]) -> str | None:
    """What was given to an option."""
    together = (argument.partition("=") for argument in arguments)
    apart = (value for name, value in pairwise(arguments) if name == option)
    return next((value for name, sign, value in together if sign and name == option), None) or next(apart, None)


def _fail(line: str, code: int) -> None:
    if line:
        err.print(f"arcade-jobs: {line}")
    sys.exit(code)
