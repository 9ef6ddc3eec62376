"""The runs table in the memory of this process: the three requests of `RunStore`, as DynamoDB serves them.

Held to the contract that DynamoDB's emulations are held to, by the same tests (tests/integration/test_run_store.py).
It reads what `RunStore` writes of DynamoDB's expressions, and no more.
"""

import re
from collections.abc import Callable, Collection, Mapping
from operator import eq, ge, gt, itemgetter, lt, ne
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from shared.runs.attributes import read_attribute, write_attribute
from shared.runs.store import Item
from shared.runs.table import INDEXES, PARTITION_KEY

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

PlainItem = Mapping[str, Any]

_CLAUSE = re.compile(r"(?:^| )(SET|REMOVE|ADD) ")
_PRESENCE = re.compile(r"attribute_(?P<absent>not_)?exists\((?P<name>\S+)\)")
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {"=": eq, "<>": ne, ">": gt, ">=": ge, "<": lt}


class ConditionFailedError(ClientError):
    """A write was refused by its condition; the response has the item as it is."""

    def __init__(self, item: Item) -> None:
        super().__init__({"Error": {"Code": "ConditionalCheckFailedException"}}, "UpdateItem")
        self.response["Item"] = item  # type: ignore[typeddict-unknown-key]  # as UpdateItem alone returns it


class MemoryRunsTable:
    """A client of DynamoDB with one table, in this process.

    Attributes:
        items: by run id; their values are plain: texts, numbers, maps, lists of maps, and lists of texts for sets.
    """

    class exceptions:  # noqa: N801 - botocore's name
        """As botocore's clients have them."""

        ConditionalCheckFailedException = ConditionFailedError

    def __init__(self, items: Mapping[str, PlainItem] | None = None) -> None:
        self.items = dict(items or {})

    @property
    def client(self) -> "DynamoDBClient":
        """This table, as the type of client that `RunStore` has."""
        return cast("DynamoDBClient", self)

    def get_item(self, **request: Any) -> dict[str, Any]:
        """GetItem."""
        item = self.items.get(request["Key"][PARTITION_KEY]["S"])
        return {"Item": _attributes(item)} if item else {}

    def query(self, **request: Any) -> dict[str, Any]:
        """Query of an index, the latest first, in one page."""
        [index] = [index for index in INDEXES if index.name == request["IndexName"]]
        names = request["ExpressionAttributeNames"]
        values = _plain_values(request)
        is_shown = _condition(f"{request['KeyConditionExpression']} AND {request['FilterExpression']}", names, values)
        found = [item for item in self.items.values() if is_shown(item)]
        found.sort(key=itemgetter(index.sort_key), reverse=True)
        shown: Collection[str] = {PARTITION_KEY, index.partition_key, index.sort_key, *index.projected_attributes}
        if projection := request.get("ProjectionExpression"):
            shown = [names[alias] for alias in projection.split(", ")]
        return {
            "Items": [
                _attributes({name: item[name] for name in shown if name in item})
                for item in found[: request.get("Limit")]
            ]
        }

    def update_item(self, **request: Any) -> dict[str, Any]:
        """UpdateItem, which returns the new item.

        Raises:
            ConditionFailedError: the condition does not hold.
        """
        names, values = request.get("ExpressionAttributeNames", {}), _plain_values(request)
        key = request["Key"][PARTITION_KEY]["S"]
        old = self.items.get(key, {})
        condition = request.get("ConditionExpression")
        if condition and not _condition(condition, names, values)(old):
            raise ConditionFailedError(_attributes(old))
        new = {PARTITION_KEY: key, **old}
        _, *clauses = _CLAUSE.split(request["UpdateExpression"])
        for clause, actions in zip(clauses[::2], clauses[1::2], strict=True):
            for action in _split(actions, ", "):
                words = action.split(" ")
                name, value = names.get(words[0], words[0]), values.get(words[-1].removesuffix(")"))
                match clause:
                    case "SET":
                        is_appended = words[2].startswith("list_append(")
                        new[name] = old.get(name, []) + value if is_appended else value
                    case "ADD":
                        new[name] = old.get(name, 0) + value
                    case _:
                        new.pop(name, None)
        self.items[key] = new
        return {"Attributes": _attributes(new)}


def _condition(text: str, names: Mapping[str, str], values: PlainItem) -> Callable[[PlainItem], bool]:
    """A condition on an item, of comparisons and presence, AND, OR and parentheses."""
    if len(parts := _split(text, " OR ")) > 1:
        alternatives = [_condition(part, names, values) for part in parts]
        return lambda item: any(condition(item) for condition in alternatives)
    if len(parts := _split(text, " AND ")) > 1:
        conditions = [_condition(part, names, values) for part in parts]
        return lambda item: all(condition(item) for condition in conditions)
    if text.startswith("("):
        return _condition(text[1:-1], names, values)
    if found := _PRESENCE.fullmatch(text):
        return lambda item: (names[found["name"]] in item) is (found["absent"] is None)
    alias, comparison, parameter = text.split(" ")
    name, value, compare = names[alias], values[parameter], _COMPARISONS[comparison]
    # To DynamoDB an attribute that is not there is unequal to every value.
    return lambda item: compare(item[name], value) if name in item else compare is ne


def _split(text: str, word: str) -> list[str]:
    """What is between a word, outside of parentheses."""
    parts, unfinished = [], ""
    for piece in text.split(word):
        unfinished += piece
        if unfinished.count("(") == unfinished.count(")"):
            parts.append(unfinished)
            unfinished = ""
        else:
            unfinished += word
    return parts


def _plain_values(request: Mapping[str, Any]) -> PlainItem:
    return {name: read_attribute(value) for name, value in request.get("ExpressionAttributeValues", {}).items()}


def _attributes(item: PlainItem) -> Item:
    # Most are texts; those of 50,000 runs are converted for each statistics.
    return {name: {"S": value} if type(value) is str else _attribute(value) for name, value in item.items()}


def _attribute(value: Any) -> Mapping[str, Any]:
    is_set = isinstance(value, list) and isinstance(value[0], str)
    return {"SS": value} if is_set else write_attribute(value)
