"""A fake of the RDS Data API: a real client whose requests are answered by a real PostgreSQL.

It keeps to what AWS documents for Aurora Serverless v2
(https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/data-api.limitations.html): one statement a call, no more
than 65,536 characters, 45 seconds unless it may continue, 1 MiB of results and 64 KB a row, few types.
"""

import io
import json
import re
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from pg8000.exceptions import DatabaseError, InterfaceError
from pg8000.native import to_statement
from sqlalchemy import URL, Engine, NullPool, PoolProxiedConnection

from tests.sql import open_database

STATUS = {"DatabaseUnavailableException": 504, "AccessDeniedException": 403, "DatabaseNotFoundException": 404}
TEXTS, BOOLEAN, INTEGERS = {25, 1042, 1043}, 16, {20, 21, 23}


class DataApiError(Exception):
    """A response that is an error: its code and message."""


class _Raw(io.BytesIO):
    def stream(self, **_: Any) -> list[bytes]:
        return [self.read()]


@dataclass
class FakeDataApi:
    """The cluster of one database.

    Attributes:
        url: of the database, as the admin whose password the secret holds.
        asleep: how many requests a paused database refuses before it has woken up.
        limit: seconds that a statement may take.
        refusal: a code and a message that every request is refused with.
        before: called before a statement is run.
        after: called when a statement has run, before it is answered.
        in_transaction: whether every statement runs in a transaction block.
        going_on: statements that timed out for the caller and run on.
    """

    url: URL
    asleep: int = 0
    limit: float = 45
    refusal: tuple[str, str] | None = None
    before: Callable[[str], None] = lambda _: None
    after: Callable[[str], None] = lambda _: None
    in_transaction: bool = False
    statements: list[str] = field(default_factory=list)
    going_on: list[Future[Any]] = field(default_factory=list)

    cluster = "arn:aws:rds:eu-west-1:123456789012:cluster:arcade"
    secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:arcade"

    @cached_property
    def client(self) -> Any:
        """A client of `rds-data`."""
        return self.session.client("rds-data")

    @cached_property
    def session(self) -> boto3.Session:
        """A session whose `rds-data` clients are answered here instead of by AWS."""
        session = boto3.Session("key", "secret", region_name="eu-west-1")
        session.events.register_first("before-send.rds-data", cast("Any", self._answer))
        return session

    @cached_property
    def _engine(self) -> Engine:
        """Each call has a session of its own."""
        return open_database(self.url, poolclass=NullPool)

    def _answer(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        assert request.url == "https://rds-data.eu-west-1.amazonaws.com/Execute"
        call = json.loads(cast("bytes", request.body))
        assert (call["resourceArn"], call["secretArn"]) == (self.cluster, self.secret)
        assert call["database"] == self.url.database
        try:
            status, headers, body = 200, {}, self._execute(call)
        except DataApiError as error:
            code, message = error.args
            status, headers, body = STATUS.get(code, 400), {"x-amzn-ErrorType": code}, {"message": message}
        return AWSResponse(request.url, status, HTTPHeaders.from_dict(headers), _Raw(json.dumps(body).encode()))

    def _execute(self, call: dict[str, Any]) -> dict[str, Any]:
        if self.refusal:
            raise DataApiError(*self.refusal)
        if self.asleep:
            self.asleep -= 1
            message = f"The Aurora DB instance {self.cluster} is resuming after being auto-paused. Please wait."
            raise DataApiError("DatabaseResumingException", message)
        if len(call["sql"]) > 65_536:
            raise DataApiError("ValidationException", "Member must have length less than or equal to 65536")
        self.statements.append(call["sql"])
        self.before(call["sql"])
        session = self._engine.raw_connection()
        backend = int.from_bytes(cast("Any", session.driver_connection)._backend_key_data[:4], "big")
        executor = ThreadPoolExecutor(1)
        running = executor.submit(_run, session, call, in_transaction=self.in_transaction)
        executor.shutdown(wait=False)
        try:
            return running.result(self.limit)
        except TimeoutError:
            if call.get("continueAfterTimeout"):
                self.going_on.append(running)
            else:
                with self._engine.connect() as other:
                    other.exec_driver_sql(f"SELECT pg_cancel_backend({backend})")
                wait([running])
            raise DataApiError("StatementTimeoutException", "Request timed out") from None
        finally:
            self.after(call["sql"])


def _run(session: PoolProxiedConnection, call: dict[str, Any], *, in_transaction: bool) -> dict[str, Any]:
    """Over the extended protocol, which takes one statement."""
    driver: Any = session.driver_connection
    try:
        if in_transaction:
            driver.execute_simple("BEGIN")
        response = _records(driver, call)
        driver.execute_simple("COMMIT")  # one of no transaction does nothing
    except DatabaseError as error:
        fields = error.args[0]
        message = f"ERROR: {fields['M']}; SQLState: {fields['C']}"
        raise DataApiError("DatabaseErrorException", message) from None
    except InterfaceError:
        raise DataApiError("DatabaseErrorException", "The connection to the database was lost") from None
    else:
        return response
    finally:
        session.invalidate()


def _records(connection: Any, call: dict[str, Any]) -> dict[str, Any]:
    statement, values = call["sql"], ()
    if given := {one["name"]: one["value"]["stringValue"] for one in call.get("parameters", ())}:
        statement, values_of = to_statement(statement)
        values = values_of(given)
    else:
        assert not re.search(r"(?<!:):\w", statement), "what follows the colon may be taken for a parameter"
    done = connection.execute_unnamed(statement, vals=values)
    records = [
        [_field(value, column["type_oid"]) for value, column in zip(row, done.columns, strict=True)]
        for row in done.rows or ()
    ]
    if any(len(json.dumps(record)) > 2**16 for record in records) or len(json.dumps(records)) > 2**20:
        raise DataApiError("DatabaseErrorException", "Database returned more than the allowed response size limit")
    return {"records": records, "numberOfRecordsUpdated": 0}


def _field(value: Any, type_oid: int) -> dict[str, Any]:
    if type_oid not in {*TEXTS, *INTEGERS, BOOLEAN}:
        raise DataApiError("UnsupportedResultException", f"The result contains the unsupported data type {type_oid}")
    if value is None:
        return {"isNull": True}
    kind = "stringValue" if type_oid in TEXTS else "booleanValue" if type_oid == BOOLEAN else "longValue"
    return {kind: value}
