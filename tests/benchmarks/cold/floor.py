"""The least that reads PostgreSQL and writes to DynamoDB: the driver alone, and a request signed by hand."""

import hashlib
import hmac
import http.client
import json
import os
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pg8000.native

connection = None


def put_item(item: dict[str, Any]) -> None:
    """PutItem with Signature Version 4: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html."""
    body = json.dumps({"TableName": os.environ["RUNS_TABLE_NAME"], "Item": item}).encode()
    host, region = urlsplit(os.environ["AWS_ENDPOINT_URL"]).netloc, os.environ["AWS_REGION"]
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    headers = {
        "content-type": "application/x-amz-json-1.0",
        "host": host,
        "x-amz-date": now,
        "x-amz-target": "DynamoDB_20120810.PutItem",
    }
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    request = "\n".join(["POST", "/", "", lines, ";".join(headers), hashlib.sha256(body).hexdigest()])
    scope = f"{now[:8]}/{region}/dynamodb/aws4_request"
    to_sign = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = b"AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"].encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    credential = f"{os.environ['AWS_ACCESS_KEY_ID']}/{scope}"
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={';'.join(headers)}, Signature={signature}"
    )
    client = http.client.HTTPConnection(host, timeout=3)
    client.request("POST", "/", body, headers)
    response = client.getresponse()
    if response.status != 200:
        raise RuntimeError(response.status, response.read())


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    global connection
    if connection is None:
        url = urlsplit(os.environ["DATABASE_URL"])
        [socket] = parse_qs(url.query)["unix_sock"]
        connection = pg8000.native.Connection(
            url.username, password=url.password, database=url.path[1:], unix_sock=socket
        )
    due = "SELECT id FROM prize_pools WHERE status = 'active' AND period_date < CAST(:time AS timestamptz)::date"
    pools = connection.run(due, time=event["time"])
    put_item({"run_id": {"S": event["id"]}, "pools": {"N": str(len(pools))}})
    print(json.dumps({"message": "settled", "pools": len(pools)}))
    return {"status": "succeeded", "pools": len(pools)}
