"""The values of the CDK context: parsers for them, and a reader that collects every mistake."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Values of one origin.

    Attributes:
        origin: what a mistake has before the name: `stages.prod.`, or nothing.
    """

    origin: str
    values: Mapping[str, Any]


class ContextValues:
    """Reads one value at a time. A mistake is collected, and its value read as the default.

    Attributes:
        mistakes: one line each, naming the context key and its value.
    """

    def __init__(self, *layers: Layer) -> None:
        """The first layer that has a name decides, with an empty value too."""
        self._layers = layers
        self._names_read = set(NAMES_OF_THE_CDK)
        self.mistakes: list[str] = []

    def text(self, name: str) -> str:
        """A value as it is given; empty when there is none."""
        self._names_read.add(name)
        layer = self._layer(name)
        return _as_text(layer.values[name]) if layer else ""

    def value(self, name: str, parse: Callable[[str], Value], default: Default) -> Value | Default:
        """A value as `parse` reads it, which raises ValueError for a mistake; the default when there is none."""
        text = self.text(name)
        try:
            return parse(text) if text else default
        except ValueError as error:
            layer = self._layer(name)
            self.mistakes.append(f"{layer.origin if layer else ''}{name}: {error}")
            return default

    def flag(self, name: str, *, default: bool) -> bool:
        """A value that is true or false."""
        return self.value(name, FLAG, str(default).lower()) == "true"

    def check_names(self, *layers: Layer) -> None:
        """Collect what is given under a name that was not read, in these layers too. To be called last."""
        for layer in (*self._layers, *layers):
            for name in layer.values:
                is_of_the_cdk = not layer.origin and ("@" in name or ":" in name)
                if name not in self._names_read and not is_of_the_cdk:
                    self.mistakes.append(f"{layer.origin}{name}: there is no such name; docs/deploy.md lists them")

    def _layer(self, name: str) -> Layer | None:
        return next((layer for layer in self._layers if name in layer.values), None)


def _as_text(value: Any) -> str:
    """A value of `-c` is text; one of cdk.json may be a number, a boolean or a list."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "" if value is None else str(value).strip()
