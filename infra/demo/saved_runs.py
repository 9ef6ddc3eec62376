"""Run records without AWS: an emulation of DynamoDB in this process, and a file to keep what it held.

The demo saves its runs, so that `arcade-jobs history --stage demo` can show them later.
"""

import json
import lzma
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import patch

from shared.domain.errors import ArcadeJobsError
from shared.runs.record import format_instant, parse_instant
from shared.runs.store import Item, RunStore
from shared.runs.table import INDEXES, PARTITION_KEY, TIME_TO_LIVE

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

TABLE_NAME = "arcade-jobs-demo-runs"
SAVED_RUNS = Path("demo", "runs.json.xz")  # where a demo leaves its runs, in the folder of local data


@contextmanager
def emulated_dynamodb() -> Iterator["DynamoDBClient"]:
    """Yield a client of an emulation with an empty runs table `TABLE_NAME`; the user's AWS settings do not matter."""
    # Here, since the command reads what was saved without them.
    import boto3  # noqa: PLC0415
    from moto import mock_aws  # noqa: PLC0415

    from infra.demo.runs_table import create_runs_table  # noqa: PLC0415

    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    no_settings = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    with patch.dict(os.environ, environment | no_settings, clear=True), mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        create_runs_table(client, TABLE_NAME)
        yield client


def save_runs(client: "DynamoDBClient", path: Path, *, at: datetime) -> None:
    """Write all items of the table to a file, whole or not at all.

    Args:
        client: of the emulation.
        path: of the file, compressed JSON.
        at: the wall clock of the runs; they are read as of then.
    """
    pages = client.get_paginator("scan").paginate(TableName=TABLE_NAME)
    items = [item for page in pages for item in page["Items"]]
    unfinished = path.with_name(path.name + ".unfinished")
    with lzma.open(unfinished, "wt", encoding="utf-8", preset=1) as file:
        json.dump({"at": format_instant(at), "items": items}, file)
    unfinished.replace(path)


@dataclass(frozen=True, kw_only=True)
class SavedItems:
    """A client for reading alone: the two requests of `RunStore` that read, served from the items of a file."""

    items: Sequence[Item]

    def get_item(self, **request: Any) -> dict[str, Any]:
        """GetItem."""
        [(name, value)] = request["Key"].items()
        found = [item for item in self.items if item[name] == value]
        return {"Item": found[0]} if found else {}

    def query(self, **request: Any) -> dict[str, Any]:
        """Query of an index, the latest first, in one page."""
        [index] = [index for index in INDEXES if index.name == request["IndexName"]]
        values = request["ExpressionAttributeValues"]
        found = [
            item
            for item in self.items
            if item.get(index.partition_key) == values[":partition"]
            and int(item[TIME_TO_LIVE]["N"]) > int(values[":now"]["N"])
        ]
        found.sort(key=lambda item: cast("str", item[index.sort_key]["S"]), reverse=True)
        names = {PARTITION_KEY, index.partition_key, index.sort_key, *index.projected_attributes}
        return {
            "Items": [
                {name: value for name, value in item.items() if name in names} for item in found[: request.get("Limit")]
            ]
        }


def open_saved_runs(path: Path) -> RunStore:
    """A store of the runs in a file; nothing can be written to it.

    Raises:
        ArcadeJobsError: there is no such file, or it cannot be read.
    """
    try:
        with lzma.open(path, "rt", encoding="utf-8") as file:
            saved = json.load(file)
        at, items = parse_instant(saved["at"]), saved["items"]
    except FileNotFoundError:
        raise ArcadeJobsError(f"{path}: no runs are saved there; make demo replays three weeks of them") from None
    except (OSError, ValueError, LookupError, EOFError, lzma.LZMAError) as error:
        raise ArcadeJobsError(f"{path}: cannot be read ({error}); make demo writes it again") from None
    client = cast("DynamoDBClient", SavedItems(items=items))
    return RunStore(client=client, table_name=TABLE_NAME, clock=lambda: at)
