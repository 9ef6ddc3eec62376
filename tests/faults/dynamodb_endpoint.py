"""The emulated DynamoDB of this process, for others on this machine."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from botocore import xform_name
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


class OneAtATime:
    """A client whose calls wait for each other: the emulation's own are not atomic, as DynamoDB's are."""

    def __init__(self, client: "DynamoDBClient") -> None:
        self.exceptions = client.exceptions
        self._client = client
        self._turn = threading.Lock()

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**parameters: Any) -> Any:
            with self._turn:
                return getattr(self._client, operation)(**parameters)

        return call


@contextlib.contextmanager
def serve(client: OneAtATime) -> Iterator[str]:
    """Pass on what is asked over HTTP; lend the address. DynamoDB's JSON is that of the client's own parameters."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            operation = xform_name(self.headers["X-Amz-Target"].partition(".")[2])
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                status, answer = 200, getattr(client, operation)(**request)
                del answer["ResponseMetadata"]
            except ClientError as error:
                status, answer = 400, {"__type": error.response["Error"]["Code"], "message": str(error)}
            body = json.dumps(answer).encode()
            with contextlib.suppress(OSError):  # who asked was killed
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.0")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.handle_error = lambda *_: None  # who asked was killed
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
