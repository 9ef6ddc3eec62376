"""The runs table in the memory of this process: the three requests of `RunStore`, as DynamoDB serves them.

Held to the contract that DynamoDB's emulations are held to, by the same tests (tests/integration/test_run_store.py).
It reads what `RunStore` writes of DynamoDB's expressions, and no more.
"""

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from shared.runs.store import Item
from shared.runs.table import INDEXES, PARTITION_KEY

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

_CLAUSE = re.compile(r"(?:^| )(SET|REMOVE|ADD) ")
_IS_ABSENT = re.compile(r"attribute_not_exists\((\S+)\)")


class ConditionFailedError(ClientError):
    """A write was refused by its condition; the response has the item as it is."""

    def __init__(self, item: Item) -> None:
        super().__init__({"Error": {"Code": "ConditionalCheckFailedException"}}, "UpdateItem")
        self.response["Item"] = item  # type: ignore[typeddict-unknown-key]  # as UpdateItem alone returns it


class MemoryRunsTable:
    """A client of DynamoDB with one table, in this process."""

    class exceptions:  # noqa: N801 - botocore's name
        """As botocore's clients have them."""

        ConditionalCheckFailedException = ConditionFailedError

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self._items = {item[PARTITION_KEY]["S"]: item for item in items}

    @property
    def client(self) -> "DynamoDBClient":
        """This table, as the type of client that `RunStore` has."""
        return cast("DynamoDBClient", self)

    @property
    def items(self) -> list[Item]:
        """All there are."""
        return list(self._items.values())

    def get_item(self, **request: Any) -> dict[str, Any]:
        """GetItem."""
        item = self._items.get(request["Key"][PARTITION_KEY]["S"])
        return {"Item": item} if item else {}

    def query(self, **request: Any) -> dict[str, Any]:
        """Query of an index by its partition key alone, the latest first, in one page."""
        [index] = [index for index in INDEXES if index.name == request["IndexName"]]
        names, values = request["ExpressionAttributeNames"], request["ExpressionAttributeValues"]
        partition = values[":partition"]
        found = [
            item
            for item in self._items.values()
            if item.get(index.partition_key) == partition and _holds(request["FilterExpression"], item, names, values)
        ]
        found.sort(key=lambda item: cast("str", item[index.sort_key]["S"]), reverse=True)
        projected = {PARTITION_KEY, index.partition_key, index.sort_key, *index.projected_attributes}
        return {
            "Items": [
                {name: value for name, value in item.items() if name in projected}
                for item in found[: request.get("Limit")]
            ]
        }

    def update_item(self, **request: Any) -> dict[str, Any]:
        """UpdateItem, which returns the new item.

        Raises:
            ConditionFailedError: the condition does not hold.
        """
        names, values = request.get("ExpressionAttributeNames", {}), request.get("ExpressionAttributeValues", {})
        key = request["Key"][PARTITION_KEY]["S"]
        old = self._items.get(key, {})
        condition = request.get("ConditionExpression")
        if condition and not _holds(condition, old, names, values):
            raise ConditionFailedError(old)
        new = {**request["Key"], **old}
        _, *clauses = _CLAUSE.split(request["UpdateExpression"])
        for clause, actions in zip(clauses[::2], clauses[1::2], strict=True):
            for action in actions.split(", "):
                words = action.split(" ")
                name, value = names.get(words[0], words[0]), values.get(words[-1])
                match clause:
                    case "SET":
                        new[name] = value
                    case "ADD":
                        new[name] = {"N": str(int(old.get(name, {"N": "0"})["N"]) + int(value["N"]))}
                    case _:
                        new.pop(name, None)
        self._items[key] = new
        return {"Attributes": new}


def _holds(condition: str, item: Item, names: Mapping[str, str], values: Mapping[str, Any]) -> bool:
    """Whether a condition holds of an item: tests that are joined by OR, and by AND within parentheses."""
    terms = (term[1:-1] if term.startswith("(") else term for term in condition.split(" OR "))
    return any(all(_is_true(test, item, names, values) for test in term.split(" AND ")) for term in terms)


def _is_true(test: str, item: Item, names: Mapping[str, str], values: Mapping[str, Any]) -> bool:
    if absent := _IS_ABSENT.fullmatch(test):
        return names[absent[1]] not in item
    alias, operator, parameter = test.split(" ")
    found, value = item.get(names[alias]), values[parameter]
    match operator:
        case "=":
            return bool(found == value)
        case "<>":
            return bool(found != value)
        case ">":
            return found is not None and int(found["N"]) > int(value["N"])
    raise NotImplementedError(test)
