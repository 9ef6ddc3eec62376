"""DynamoDB by moto: the runs table, one call at a time, and the same over HTTP for other processes."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, cast

from botocore import xform_name
from botocore.exceptions import ClientError

from shared.runs.table import INDEXES, PARTITION_KEY, RunsIndex

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import GlobalSecondaryIndexTypeDef


def create_runs_table(client: "DynamoDBClient", name: str) -> None:
    """Create the table that `shared.runs.table` describes."""
    keys = {PARTITION_KEY, *(key for index in INDEXES for key in (index.partition_key, index.sort_key))}
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": PARTITION_KEY, "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in sorted(keys)],
        GlobalSecondaryIndexes=[_index(index) for index in INDEXES],
    )


def _index(index: RunsIndex) -> "GlobalSecondaryIndexTypeDef":
    return {
        "IndexName": index.name,
        "KeySchema": [
            {"AttributeName": index.partition_key, "KeyType": "HASH"},
            {"AttributeName": index.sort_key, "KeyType": "RANGE"},
        ],
        "Projection": {
            "ProjectionType": "INCLUDE",
            "NonKeyAttributes": index.projected_attributes,
        },
    }


class _OneAtATime:
    def __init__(self, client: "DynamoDBClient") -> None:
        self.exceptions = client.exceptions
        self._client = client
        self._lock = threading.Lock()

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**parameters: Any) -> Any:
            with self._lock:
                return getattr(self._client, operation)(**parameters)

        return call


def one_at_a_time(client: "DynamoDBClient") -> "DynamoDBClient":
    """A client whose calls wait for each other: DynamoDB's writes to an item are atomic, moto's are not."""
    return cast("DynamoDBClient", _OneAtATime(client))


@contextlib.contextmanager
def serve(client: "DynamoDBClient") -> Iterator[str]:
    """Answer HTTP requests with the client; yields the address. DynamoDB's JSON is that of the client's parameters."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            operation = xform_name(self.headers["X-Amz-Target"].partition(".")[2])
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                status, response = 200, getattr(client, operation)(**request)
                response.pop("ResponseMetadata", None)  # moto's clients have it
            except ClientError as error:
                status, response = 400, {"__type": error.response["Error"]["Code"], "message": str(error)}
                if item := cast("Any", error.response).get("Item"):  # as it was when a condition failed
                    response["Item"] = item
            body = json.dumps(response).encode()
            with contextlib.suppress(OSError):  # the client process was killed
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.0")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:  # the client process was killed
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
