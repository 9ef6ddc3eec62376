"""How the commands print: results on standard output, progress and errors on standard error."""

import json
from typing import Any

from rich.console import Console

out = Console()
err = Console(stderr=True, highlight=False, soft_wrap=True)


def print_lines(*lines: str) -> None:
    """Print a result, to be piped or copied: no line is folded."""
    for line in lines:
        out.print(line, markup=False, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print a result for a program."""
    out.print_json(json.dumps(value))


def print_note(line: str) -> None:
    """Print progress."""
    err.print(line, markup=False)


def printable(text: str) -> str:
    """Text that others wrote, which may hold what commands a terminal, on one line: such characters are escaped."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
