"""A Lambda function URL in this process: requests become its events, as AWS makes them."""

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from tests.fakes import FakeContext

CALLER = "arn:aws:sts::123456789012:assumed-role/operators/ada"

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A response of the function."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)

    @property
    def content_type(self) -> str:
        return self.headers["Content-Type"]


@dataclass(frozen=True, kw_only=True)
class FunctionUrl:
    """Sends requests to a handler; also a WSGI application.

    https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads
    """

    handler: Handler

    def request(self, method: str, path: str, body: str | bytes | None = None) -> Answer:
        """Send one request; the path with its query, percent-encoded as a client sends it."""
        raw_path, _, query = path.partition("?")
        is_binary = isinstance(body, bytes)
        event: dict[str, Any] = {
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": raw_path,
            "rawQueryString": query,
            "headers": {"content-type": "application/json"},
            "requestContext": {
                "accountId": "123456789012",
                "authorizer": {"iam": {"accountId": "123456789012", "userArn": CALLER}},
                "http": {"method": method, "path": raw_path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1"},
                "requestId": "r",
                "routeKey": "$default",
                "stage": "$default",
            },
            "isBase64Encoded": is_binary,
        }
        if query:
            values: dict[str, str] = {}
            for name, value in parse_qsl(query, keep_blank_values=True):
                values[name] = f"{values[name]},{value}" if name in values else value
            event["queryStringParameters"] = values
        if body is not None:
            event["body"] = base64.b64encode(body).decode() if isinstance(body, bytes) else body
        found = self.handler(json.loads(json.dumps(event)), FakeContext())
        return Answer(status=found["statusCode"], headers=found["headers"], text=found["body"])

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        query = f"?{environ['QUERY_STRING']}" if environ.get("QUERY_STRING") else ""
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)) or None
        path = environ["PATH_INFO"].encode("latin-1").decode(errors="replace")  # WSGI's own decoding
        answer = self.request(environ["REQUEST_METHOD"], f"{path.replace('?', '%3F')}{query}", body)
        start_response(f"{answer.status} ", list(answer.headers.items()))
        return [answer.text.encode()]
