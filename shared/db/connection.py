"""Connecting to PostgreSQL: verified TLS, the configured source of the password, and time limits."""

import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event

from shared.database_url import parse_database_url, uses_tls
from shared.db.errors import CANNOT_CONNECT
from shared.domain.errors import ArcadeJobsError

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
        ArcadeJobsError: the URL cannot be used. One line, without its password.
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
        try:
            return dialect.connect(**parameters)
        except (OSError, dialect.dbapi.InterfaceError) as error:  # pg8000 names the host of some, the reason of others
            reason = error.__cause__ or error
            raise dialect.dbapi.InterfaceError(f"{CANNOT_CONNECT}{_address(parsed)}: {_text(reason)}") from reason

    @event.listens_for(engine, "connect")
    def lift_socket_timeout(connection: Any, _record: Any) -> None:
        # pg8000's timeout is the socket's for ever after; from here on the server's own limits hold.
        connection._usock.settimeout(None)  # noqa: SLF001 - pg8000 has no public way

    return engine


def _parse(text: str) -> URL:
    try:
        return parse_database_url(text)
    except ValueError as error:
        raise ArcadeJobsError(f"DATABASE_URL: {error}") from None


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
        raise ArcadeJobsError(f"DATABASE_URL: sslrootcert: {own}: {_text(error)}") from None
