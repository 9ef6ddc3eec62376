"""Values as DynamoDB has them, each with its type."""

from collections.abc import Mapping
from typing import Any


def write_attribute(value: Any) -> dict[str, Any]:
    """A value as DynamoDB has it, with its type.

    Raises:
        TypeError: it is no truth value, number, text, set of texts, or list or map of these.
    """
    match value:
        case str():  # first: most are
            return {"S": value}
        case bool():
            return {"BOOL": value}
        case int():
            return {"N": str(value)}
        case frozenset():
            return {"SS": sorted(value)}
        case list():
            return {"L": [write_attribute(inner) for inner in value]}
        case Mapping():
            return {"M": {name: write_attribute(inner) for name, inner in value.items()}}
    raise TypeError(f"no attribute type for {type(value).__name__}")


def read_attribute(value: Mapping[str, Any]) -> Any:
    """The value of what DynamoDB has; a set is a list."""
    [(kind, content)] = value.items()
    match kind:
        case "N":
            return int(content)
        case "L":
            return [read_attribute(inner) for inner in content]
        case "M":
            return {name: read_attribute(inner) for name, inner in content.items()}
        case _:
            return content
