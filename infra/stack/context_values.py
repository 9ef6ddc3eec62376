"""The values of the CDK context: parsers for them, and a reader that collects every mistake."""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

NAMES_OF_THE_CDK = ("acknowledged-issue-numbers", "cli-telemetry")  # beside those with an @ or a colon
Value = TypeVar("Value")
Default = TypeVar("Default")


def matching(pattern: str, example: str) -> Callable[[str], str]:
    """A parser of text that matches a regular expression; it raises ValueError for anything else."""

    def parse(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"expected a value such as {example}, got {value!r}")
        return value

    return parse


def one_of(values: Collection[str]) -> Callable[[str], str]:
    """A parser of one of a few values; it raises ValueError for anything else."""

    def parse(value: str) -> str:
        if value not in values:
            raise ValueError(f"expected one of {', '.join(values)}, got {value!r}")
        return value

    return parse


def list_of(parse: Callable[[str], str]) -> Callable[[str], tuple[str, ...]]:
    """A parser of values with commas between them."""
    return lambda value: tuple(parse(each.strip()) for each in value.split(","))


def checked(parse: Callable[[str], Any]) -> Callable[[str], str]:
    """A parser that refuses what another one refuses, and returns the text as it is."""

    def check(value: str) -> str:
        parse(value)
        return value

    return check


FLAG = one_of(["true", "false"])


class ContextValues:
    """Reads one value at a time. A mistake is collected, and its value read as the default.

    Attributes:
        mistakes: one line each, naming the context key and its value.
    """

    def __init__(self, context: Mapping[str, Any]) -> None:
        self._values = {name: _as_text(value) for name, value in context.items()}
        self._names_read = set(NAMES_OF_THE_CDK)
        self.mistakes: list[str] = []

    def text(self, name: str) -> str:
        """A value as it is given; empty when there is none."""
        self._names_read.add(name)
        return self._values.get(name, "")

    def value(self, name: str, parse: Callable[[str], Value], default: Default) -> Value | Default:
        """A value as `parse` reads it, which raises ValueError for a mistake; the default when there is none."""
        text = self.text(name)
        try:
            return parse(text) if text else default
        except ValueError as error:
            self.mistakes.append(f"{name}: {error}")
            return default

    def flag(self, name: str, *, default: bool) -> bool:
        """A value that is true or false."""
        return self.value(name, FLAG, str(default).lower()) == "true"

    def check_names(self) -> None:
        """Collect what is given under a name that was not read. To be called last."""
        for name, value in self._values.items():
            if name not in self._names_read and "@" not in name and ":" not in name:
                self.mistakes.append(f"{name}: there is no such name; docs/deploy.md lists them")


def _as_text(value: Any) -> str:
    """A value of `-c` is text; one of cdk.json may be a number, a boolean or a list."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "" if value is None else str(value).strip()
