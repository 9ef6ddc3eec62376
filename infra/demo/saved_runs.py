"""Run records without AWS: an emulation of DynamoDB in this process, and a file to keep what it held.

The demo saves its runs, so that `arcade-jobs history --stage demo` can show them later.
"""

import json
import lzma
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import boto3
from moto import mock_aws

from infra.demo.runs_table import create_runs_table
from shared.domain.errors import ArcadeJobsError
from shared.runs.record import format_instant, parse_instant
from shared.runs.store import RunStore

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

TABLE_NAME = "arcade-jobs-demo-runs"
SAVED_RUNS = Path("demo", "runs.json.xz")  # where a demo leaves its runs, in the folder of local data
# Items of one request: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html
BATCH = 25


@contextmanager
def emulated_dynamodb() -> Iterator["DynamoDBClient"]:
    """Yield a client of an emulation with an empty runs table `TABLE_NAME`; the user's AWS settings do not matter."""
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


@contextmanager
def open_saved_runs(path: Path) -> Iterator[RunStore]:
    """Yield a store of the runs in a file. What is written to it is not saved.

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
    with emulated_dynamodb() as client:
        for start in range(0, len(items), BATCH):
            batch = items[start : start + BATCH]
            client.batch_write_item(RequestItems={TABLE_NAME: [{"PutRequest": {"Item": item}} for item in batch]})
        yield RunStore(client=client, table_name=TABLE_NAME, clock=lambda: at)
