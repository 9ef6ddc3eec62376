"""Connecting to PostgreSQL: verified TLS, the configured source of the password, and time limits."""

import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url

CONNECT_TIMEOUT = 10  # seconds
LOCK_TIMEOUT = 5_000  # ms a statement waits for one holder of a lock
STATEMENT_TIMEOUT = 60_000  # ms; the lock timeout counts for each holder again, so it alone bounds nothing
IDLE_IN_TRANSACTION_TIMEOUT = 30_000  # ms; a frozen process loses its locks
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
    # A lost sandbox sends no FIN: the server notices the dead peer within a minute.
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}


# The pool logs a traceback when it closes a connection that is dead already; the error that found it dead is reported.
logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)


def open_engine(
    url: str, *, password: Callable[[], str] | None = None, ca_file: Path | None = None, connections: int = 1
) -> Engine:
    """An engine with one connection (S15), kept open for as long as the container lives and checked before each use.

    Nothing is connected yet. TLS is always verified, host name included, but over a local socket or loopback.

    Args:
        url: of the database; `postgresql://` and `postgres://` mean `postgresql+pg8000://`.
        password: called for each new connection: IAM tokens live for 15 minutes, secrets rotate.
        ca_file: the certificate authorities to trust; None: those of the machine.
        connections: at most; the migrations need two.
    """
    parsed = make_url(url).set(drivername="postgresql+pg8000")
    engine = create_engine(
        parsed,
        pool_size=connections,
        max_overflow=0,
        pool_pre_ping=True,
        hide_parameters=True,  # what players send stays out of error texts
        connect_args={
            "application_name": "arcade-jobs",
            "timeout": CONNECT_TIMEOUT,
            "ssl_context": _ssl_context(parsed, ca_file),
            "startup_params": SESSION,
        },
    )

    @event.listens_for(engine, "do_connect")
    def set_password(_dialect: Any, _record: Any, _args: Any, parameters: dict[str, Any]) -> None:
        if password is not None:
            parameters["password"] = password()

    @event.listens_for(engine, "connect")
    def lift_socket_timeout(connection: Any, _record: Any) -> None:
        # pg8000's timeout is the socket's for ever after; from here on the server's own limits hold.
        connection._usock.settimeout(None)  # noqa: SLF001 - pg8000 has no public way

    return engine


def _ssl_context(url: URL, ca_file: Path | None) -> ssl.SSLContext | bool:
    if "unix_sock" in url.query or url.host in {"localhost", "127.0.0.1", "::1"}:
        return False
    return ssl.create_default_context(cafile=ca_file)
