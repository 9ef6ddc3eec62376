"""How the commands print: results on standard output, progress and errors on standard error."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

UNFOLDED = 10_000  # columns of what is no terminal: a line that is piped is whole


def _columns() -> int | None:
    """As wide as the terminal, or as COLUMNS says."""
    return None if sys.stdout.isatty() or "COLUMNS" in os.environ else UNFOLDED


# Text that others wrote is shown as it is: no brackets of it are styles, and no word between colons is an emoji.
out = Console(width=_columns(), markup=False, emoji=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)


def is_piped() -> bool:
    """Whether results go to a program or a file: a line for each thing, however long."""
    return out.width == UNFOLDED


def print_lines(*lines: str) -> None:
    """Print a result, to be piped or copied: no line is folded."""
    for line in lines:
        out.print(line, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print a result for a program."""
    out.print_json(json.dumps(value), ensure_ascii=True)  # an event may hold what is no Unicode


def print_note(line: str) -> None:
    """Print progress."""
    err.print(line)


def printable(text: str) -> str:
    """Text that others wrote, which may hold what commands a terminal, on one line: such characters are escaped."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


@contextmanager
def waiting_for(what: str) -> Iterator[None]:
    """Show that something goes on, and for how long; nothing where there is no terminal."""
    if not err.is_terminal:
        yield
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        progress.add_task(what, total=None)
        yield
