"""Connecting to PostgreSQL: verified TLS, the configured source of the password, and time limits."""

import logging
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event

from shared.database_url import parse_database_url, uses_tls
from shared.db.errors import CANNOT_CONNECT
from shared.domain.errors import BadInputError
from shared.domain.run import REPORTING_TIME

CONNECT_TIMEOUT = 10  # seconds
LOCK_TIMEOUT = 5_000  # ms a statement waits for one holder of a lock
STATEMENT_TIMEOUT = 60_000  # ms; the lock timeout counts for each holder again, so it alone bounds nothing
IDLE_IN_TRANSACTION_TIMEOUT = 30_000  # ms; a frozen process loses its locks
# ms. A frozen function does not close its connection, and Aurora pauses only without one. Longer than any pause of a
# run that holds its connection (5 s of back-off); one in the pool is checked before each use, and opened again.
IDLE_TIMEOUT = 60_000
# S11: set for each session, so that settings of the database, its roles or the machine do not matter.
SESSION = {
    "default_transaction_isolation": "read committed",  # S08: what settling is right under
    "datestyle": "ISO, MDY",  # the only one that the driver reads
    "timezone": "UTC",
    "plan_cache_mode": "force_custom_plan",  # S16: prepared statements are planned for their values
    # S05: one locked or slow row must not take the time of all the others.
    "lock_timeout": str(LOCK_TIMEOUT),
    "statement_timeout": str(STATEMENT_TIMEOUT),
    "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_TIMEOUT),
    "idle_session_timeout": str(IDLE_TIMEOUT),  # S36
    # A lost sandbox sends no FIN: the server notices the dead peer within a minute.
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
# An execution option for the few statements whose time grows with a board: only the time that is left limits them.
NO_LIMIT = "no_statement_timeout"
# An answer that comes later than the server's own limit for it does not come: the server is frozen, or out of reach.
ANSWER_SLACK = timedelta(seconds=1)
STATEMENT_LIMIT = timedelta(milliseconds=STATEMENT_TIMEOUT)
ONE_MILLISECOND = timedelta(milliseconds=1)

_time_left: ContextVar[Callable[[], timedelta] | None] = ContextVar("time_left", default=None)


@contextmanager
def within(time_left: Callable[[], timedelta]) -> Iterator[None]:
    """Let nothing that is begun in this context, connecting or a statement, take longer than there is time (S19)."""
    token = _time_left.set(time_left)
    try:
        yield
    finally:
        _time_left.reset(token)


# The pool logs a traceback when it closes a connection that is dead already; the error that found it dead is reported.
logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)


def open_engine(
    url: str | URL, *, password: Callable[[], str] | None = None, ca_file: Path | None = None, connections: int = 1
) -> Engine:
    """An engine with one connection (S15), kept open for as long as the container lives and checked before each use.

    Nothing is connected yet. TLS is always verified, host name included, but over a local socket or loopback.

    Args:
        url: of the database: a text, or what `parse_database_url` made of it.
        password: called for each new connection: IAM tokens live for 15 minutes, secrets rotate.
        ca_file: the certificate authorities to trust, unless the URL has its own; None: those of the machine.
        connections: at most; the migrations need two.

    Raises:
        BadInputError: the URL cannot be used. One line, without its password.
    """
    parsed = url if isinstance(url, URL) else _parse(url)
    query = parsed.query
    session = SESSION | ({"search_path": _quoted(str(query["schema"]))} if "schema" in query else {})
    engine = create_engine(
        parsed.set(query={name: value for name, value in query.items() if name == "unix_sock"}),
        pool_size=connections,
        max_overflow=0,
        pool_pre_ping=True,
        hide_parameters=True,  # what players send stays out of error texts
        connect_args={
            "application_name": query.get("application_name", "arcade-jobs"),
            "timeout": int(str(query.get("connect_timeout", 0))) or CONNECT_TIMEOUT,
            "ssl_context": _ssl_context(parsed, ca_file),
            "startup_params": session,
        },
    )

    @event.listens_for(engine, "do_connect")
    def connect(dialect: Any, _record: Any, _args: Any, parameters: dict[str, Any]) -> Any:
        if password is not None:
            parameters["password"] = password()
        if (limit := _limit()) is not None:
            parameters["timeout"] = min(limit.total_seconds(), parameters["timeout"])
        try:
            return dialect.connect(**parameters)
        except (OSError, dialect.dbapi.InterfaceError) as error:  # pg8000 names the host of some, the reason of others
            reason = error.__cause__ or error
            raise dialect.dbapi.InterfaceError(f"{CANNOT_CONNECT}{_address(parsed)}: {_text(reason)}") from reason

    @event.listens_for(engine, "connect")
    def lift_socket_timeout(connection: Any, _record: Any) -> None:
        # pg8000's timeout is the socket's for ever after; from here on the server's own limits hold.
        connection._usock.settimeout(None)  # noqa: SLF001 - pg8000 has no public way

    _limit_time(engine)
    return engine


def _limit_time(engine: Engine) -> None:
    """Let no statement and no commit outlive the invocation (S19)."""

    # The server's limit for a session is right until less than that is left of the invocation.
    @event.listens_for(engine, "before_cursor_execute")
    def limit_statement(
        connection: Connection, cursor: Any, _statement: str, _parameters: Any, context: Any, _many: Any
    ) -> None:
        limit = _limit()
        if limit is None:
            return
        is_limited_by_session = limit >= STATEMENT_LIMIT and not context.execution_options.get(NO_LIMIT)
        longest = STATEMENT_LIMIT if is_limited_by_session else limit
        _wait_for(connection, longest)
        if not is_limited_by_session:
            cursor.execute(f"SET LOCAL statement_timeout = {limit // ONE_MILLISECOND}")

    @event.listens_for(engine, "commit")
    def limit_commit(connection: Connection) -> None:
        if (limit := _limit()) is not None:
            _wait_for(connection, min(limit, STATEMENT_LIMIT))


def _wait_for(connection: Connection, limit: timedelta) -> None:
    """Let the next answers of the server take so long."""
    socket = connection.connection.dbapi_connection._usock  # type: ignore[union-attr]  # noqa: SLF001
    socket.settimeout((limit + ANSWER_SLACK).total_seconds())


def _limit() -> timedelta | None:
    """How long what is begun now may take; None outside of a run."""
    time_left = _time_left.get()
    return None if time_left is None else max(time_left() - REPORTING_TIME, ONE_MILLISECOND)


def _parse(text: str) -> URL:
    try:
        return parse_database_url(text)
    except ValueError as error:
        raise BadInputError(f"DATABASE_URL: {error}") from None


def _quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))


def _address(url: URL) -> str:
    return str(url.query["unix_sock"]) if "unix_sock" in url.query else f"{url.host} port {url.port}"


def _text(reason: BaseException) -> str:
    """Such as `Connection refused`, without the number of an operating system's error."""
    return (getattr(reason, "strerror", None) if not isinstance(reason, ssl.SSLError) else None) or str(reason)


def _ssl_context(url: URL, ca_file: Path | None) -> ssl.SSLContext | bool:
    if not uses_tls(url):
        return False
    own = url.query.get("sslrootcert")
    if own is None:
        return ssl.create_default_context(cafile=ca_file)
    try:
        return ssl.create_default_context(cafile=None if own == "system" else str(own))
    except OSError as error:
        raise BadInputError(f"DATABASE_URL: sslrootcert: {own}: {_text(error)}") from None
