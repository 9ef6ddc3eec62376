"""A process of a job that is watched at each of its requests, and hit by a fault at one of them (S04).

A request is one trip to PostgreSQL (connecting, BEGIN, a statement, COMMIT, the pool's ping) or one call of DynamoDB.
The watch sits on the driver's own connection and socket: what the process learns of a fault, and what the server does
about it, is real.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, cast

import pg8000.dbapi
from botocore.exceptions import ConnectionClosedError
from sqlalchemy import event

from shared.app import App, build_app
from tests.fakes import FakeClock
from tests.jobs import invoke

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

TIMEOUT = 60  # seconds until a process that does not come back is a failure

# What the server waits, by the session's own setting, for a frozen process; a thousandth of it is waited here.
SHORTEN_TIMEOUT = (
    "SELECT set_config(name, (setting::int / 1000)::text, false) FROM pg_settings"
    " WHERE name = 'idle_in_transaction_session_timeout'"
)


class Moment(StrEnum):
    """Where in a request the fault happens."""

    BEFORE = "before"
    DURING = "during"  # the request is with the server, its response is not read
    AFTER = "after"


class Kind(StrEnum):
    """What happens to the process."""

    KILLED = "killed"  # it ends at once; its sockets close without a Terminate message
    CUT = "cut off"  # it lives, its connection does not
    FROZEN = "frozen"  # it stops until it is woken


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault, at one request of a process.

    Attributes:
        request: which, from 1.
    """

    kind: Kind
    moment: Moment
    request: int


class Killed(BaseException):
    """The process is dead: nothing catches this."""


@dataclass(kw_only=True)
class Process:
    """An app with its one connection, as a container has it, until its fault happens.

    Attributes:
        env: of its functions.
        dynamodb: the client that it is given.
        clock: its wall clock.
        fault: what will happen to it; None: nothing.
        requests: those made so far.
        was_hit: whether its fault has happened.
        is_dead: whether it may do nothing any more.
    """

    env: Mapping[str, str]
    dynamodb: "DynamoDBClient"
    clock: FakeClock
    fault: Fault | None = None
    requests: list[str] = field(default_factory=list)
    was_hit: bool = False
    is_dead: bool = False
    app: App = field(init=False)
    _connections: list["_Connection"] = field(default_factory=list)
    _frozen: threading.Event = field(default_factory=threading.Event)
    _woken: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        client = cast("DynamoDBClient", _Client(self.dynamodb, self))
        self.app = build_app(self.env, dynamodb=client, clock=self.clock, sleep=self.clock.sleep)
        event.listen(self.app.engine, "do_connect", self._connect, insert=True)

    def invoke(self, job: str, event: Any) -> dict[str, Any]:
        """Run a job for an event; raises what its handler raises, and `Killed`."""
        return invoke(self.app, job, event)

    def invoke_until_frozen(self, job: str, event: Any) -> "FrozenRun":
        """Run a job in a thread until it is frozen; the caller wakes it."""
        run = FrozenRun(self, job, event)
        run.thread.start()
        while not self._frozen.wait(0.01):
            assert run.thread.is_alive(), f"the run ended before its fault: {run.error or run.result}"
        return run

    def wake(self) -> None:
        """Thaw a frozen process."""
        self._woken.set()

    def close(self) -> None:
        """Close its connections; it does nothing any more."""
        self.is_dead = True
        with contextlib.suppress(Killed):
            self.app.engine.dispose()
        for connection in self._connections:
            connection.close()

    def begin(self, request: str, *, lose: Callable[[], None], connection: "_Connection | None" = None) -> None:
        """A request is about to be made; `lose` is what a cut does to it."""
        if self.is_dead:
            raise Killed
        self.requests.append(request)
        if self._is_due() and self.fault and self.fault.kind is Kind.FROZEN and connection:
            connection.shorten_timeout()
        self.pass_moment(Moment.BEFORE, lose=lose)

    def pass_moment(self, moment: Moment, *, lose: Callable[[], None]) -> None:
        """Continue, unless the fault happens here."""
        if self.is_dead:
            raise Killed
        if self.fault is None or not self._is_due() or moment is not self.fault.moment:
            return
        self.was_hit = True
        match self.fault.kind:
            case Kind.KILLED:
                self.is_dead = True
                for connection in self._connections:
                    connection.hang_up()
                raise Killed
            case Kind.CUT:
                lose()
            case Kind.FROZEN:
                self._frozen.set()
                assert self._woken.wait(TIMEOUT), "the process was not woken in time"

    def _is_due(self) -> bool:
        return self.fault is not None and not self.was_hit and len(self.requests) == self.fault.request

    def _connect(self, _dialect: Any, _record: Any, arguments: Any, parameters: Any) -> "_Connection":
        self.begin("connect", lose=_refuse)
        connection = _Connection(*arguments, **parameters)
        connection.process = self
        self._connections.append(connection)
        for moment in (Moment.DURING, Moment.AFTER):
            self.pass_moment(moment, lose=connection.hang_up)
        return connection


class FrozenRun:
    """A run that is stopped, in a thread of its own.

    Attributes:
        result: what it returned finally.
        error: what it raised finally.
    """

    def __init__(self, process: Process, job: str, event: Any) -> None:
        self.process = process
        self.result: dict[str, Any] | None = None
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, args=(job, event), daemon=True)

    def _run(self, job: str, event: Any) -> None:
        try:
            self.result = self.process.invoke(job, event)
        except BaseException as error:  # noqa: BLE001 - the test raises it
            self.error = error

    def wake(self) -> None:
        """Let it continue, to its end."""
        self.process.wake()
        self.thread.join(TIMEOUT)
        assert not self.thread.is_alive(), "the process that was woken did not come to an end"


class _Connection(pg8000.dbapi.Connection):  # type: ignore[misc]  # pg8000 has no types
    """The driver's connection, watched."""

    process: Process | None = None
    _is_asking = False

    def execute_simple(self, statement: str) -> Any:
        return self._ask(statement, lambda: super(_Connection, self).execute_simple(statement))

    def execute_unnamed(self, statement: str, *arguments: Any, **options: Any) -> Any:
        return self._ask(statement, lambda: super(_Connection, self).execute_unnamed(statement, *arguments, **options))

    def _ask(self, statement: str, trip: Callable[[], Any]) -> Any:
        if self.process is None:
            return trip()
        self.process.begin(" ".join(statement.split()), lose=self.hang_up, connection=self)
        response = trip()
        self.process.pass_moment(Moment.AFTER, lose=self.hang_up)
        return response

    def send_QUERY(self, sql: str) -> None:  # noqa: N802 - the driver's name
        super().send_QUERY(sql)
        self._is_asking = True

    def send_EXECUTE(self) -> None:  # noqa: N802 - the driver's name
        super().send_EXECUTE()
        self._is_asking = True

    def handle_messages(self, context: Any) -> None:
        """Read a response. The statement's own comes after those to its preparation, which are no moments of it."""
        if self._is_asking and self.process is not None:
            self._is_asking = False
            self.process.pass_moment(Moment.DURING, lose=self.hang_up)
        super().handle_messages(context)

    def shorten_timeout(self) -> None:
        """Make the server time out soon."""
        super().execute_simple(SHORTEN_TIMEOUT)
        self._is_asking = False

    def hang_up(self) -> None:
        """Shut the socket, as the operating system does for the dead."""
        with contextlib.suppress(OSError, AttributeError):  # it is shut already
            self._usock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """A dead process sends no Terminate message."""
        if self.process is not None and self.process.is_dead:
            self.hang_up()
        with contextlib.suppress(pg8000.dbapi.InterfaceError, OSError):
            super().close()


class _Client:
    """A DynamoDB client, watched. Its calls fail as after the last retry."""

    def __init__(self, client: "DynamoDBClient", process: Process) -> None:
        self.exceptions = client.exceptions
        self._client = client
        self._process = process

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**parameters: Any) -> Any:
            self._process.begin(operation, lose=_lose_call)
            try:
                return getattr(self._client, operation)(**parameters)
            finally:  # a refusal is a response too
                for moment in (Moment.DURING, Moment.AFTER):
                    self._process.pass_moment(moment, lose=_lose_call)

        return call


def _refuse() -> None:
    raise pg8000.dbapi.InterfaceError("Can't create a connection to host db and port 5432: it is gone")


def _lose_call() -> None:
    raise ConnectionClosedError(endpoint_url="https://dynamodb.test")
