"""The AWS emulator of the laptop cloud: ministack, one process in its own environment.

It outlives the command that started it. Its folder is on its command line, so that a process id that was used again is
never taken for it. It listens on loopback only. It keeps its state in memory: to deploy again takes ten seconds,
and half of a saved state would be worse than none.

Its functions inherit its environment. So it gets none of ours: a variable that the template forgets must be missing
here as it would be on AWS.
"""

import contextlib
import fcntl
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import boto3
import psutil
from botocore.session import Session as BotocoreSession

from shared.domain.errors import ArcadeJobsError, BadInputError, NotReachableError

HOST = "127.0.0.1"
PORT = 4566
REGION = "us-east-1"
ACCOUNT = "000000000000"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
START_TIMEOUT = 30  # seconds; it takes 0.3
STOP_TIMEOUT = 10  # seconds; it takes less than one
SETTINGS = {
    "BIND_HOST": HOST,
    # What else would listen, on every interface, or touch containers that are not ours.
    "IOT_MTLS_ENABLED": "0",
    "SFTP_ENABLED": "0",
    "DOCKER_HOST": "unix:///nonexistent",
}


@dataclass(frozen=True, kw_only=True)
class Emulator:
    """A running emulator."""

    pid: int
    port: int

    @property
    def endpoint(self) -> str:
        """The endpoint URL for every AWS service."""
        return f"http://{HOST}:{self.port}"


def start(
    folder: Path,
    *,
    python: Path,
    port: int = PORT,
    settings: Mapping[str, str] | None = None,
    inherit: Sequence[int] = (),
) -> Emulator:
    """Start the emulator and wait until it responds; one that already runs on this folder is returned as it is.

    Args:
        folder: its log and temporary files; created on first use.
        python: the interpreter of the environment that it is installed in; the functions run under it too.
        port: where it listens; 0 for any that is free.
        settings: more of ministack's variables.
        inherit: open file descriptors to keep open for as long as it lives.

    Raises:
        ArcadeJobsError: what `check` refuses, or it died.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        check(folder, python=python, port=port)
        if found := running(folder):
            return found
        port = port or _free_port()
        log = folder / "emulator.log"
        shutil.rmtree(folder / "tmp", ignore_errors=True)
        (folder / "tmp").mkdir()
        with log.open("w") as output:
            process = subprocess.Popen(
                _command(folder, python),
                env=_environment(folder, port) | dict(settings or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=inherit,
                start_new_session=True,  # Ctrl-C in the terminal that started it is not meant for it
            )
        emulator = Emulator(pid=process.pid, port=port)
        _pid_file(folder).write_text(json.dumps(asdict(emulator)))
        try:
            _await_answer(emulator, process, log)
        except BaseException:
            process.kill()
            process.wait()
            _pid_file(folder).unlink()
            raise
        process.returncode = 0  # it outlives us: nothing here waits for it
        return emulator


def check(folder: Path, *, python: Path, port: int) -> None:
    """Refuse what `start` would refuse, and start nothing.

    Raises:
        BadInputError: the port is taken, or the emulator runs on another one.
        NotReachableError: it is not installed.
    """
    if found := running(folder):
        if port not in {0, found.port}:
            raise BadInputError(f"the emulator already runs on port {found.port}, not {port}; stop it first")
    elif not python.exists():
        raise NotReachableError(f"the emulator is not installed ({python} is missing): run make setup")
    elif port:
        _refuse_taken(port)


def running(folder: Path) -> Emulator | None:
    """The emulator that runs on this folder, or None."""
    try:
        emulator = Emulator(**json.loads(_pid_file(folder).read_text()))
    except (OSError, ValueError, TypeError):  # absent, or cut short by a crash
        return None
    return emulator if _is_emulator(emulator.pid, folder.resolve()) else None


def stop(folder: Path) -> Emulator | None:
    """Stop the emulator; return the one that ran, or None. One that does not end in time is killed."""
    folder = folder.resolve()
    if not folder.exists():
        return None
    with _locked(folder):
        emulator = running(folder)
        if emulator is None:
            return None
        process = psutil.Process(emulator.pid)
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait()
        _pid_file(folder).unlink()
        return emulator


def session() -> boto3.Session:
    """A session with the emulator, regardless of this machine's AWS profile, region or credentials."""
    nothing = (None, None, os.devnull, None)
    no_profile = (None, None, None, None)
    bare = BotocoreSession(session_vars={"profile": no_profile, "config_file": nothing, "credentials_file": nothing})
    credentials = {name.lower(): value for name, value in CREDENTIALS.items()}
    return boto3.Session(botocore_session=bare, region_name=REGION, **credentials)


def _command(folder: Path, python: Path) -> list[str]:
    # An -X option that Python does not know is ignored: it is here to be found by `_is_emulator`, and by `ps`.
    return [str(python), "-X", f"arcade-jobs={folder}", "-m", "ministack"]


def _environment(folder: Path, port: int) -> dict[str, str]:
    """All that the emulator gets, and so all that a function finds besides what the template sets."""
    temporary = folder / "tmp"
    return {
        "PATH": os.defpath,
        "HOME": str(folder),  # not the user's: ~/.aws is not the functions' business
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "TMPDIR": str(temporary),
        "GATEWAY_PORT": str(port),
        "STATE_DIR": str(temporary / "state"),
        "S3_DATA_DIR": str(temporary / "s3"),
        **SETTINGS,
    }


def _is_emulator(pid: int, folder: Path) -> bool:
    try:
        return f"arcade-jobs={folder}" in psutil.Process(pid).cmdline()
    except psutil.Error:
        return False


def _pid_file(folder: Path) -> Path:
    return folder / "emulator.json"


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One start or stop at a time. The operating system drops the lock of a dead process."""
    with (folder / "emulator.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was just left counts as free
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise BadInputError(
                f"port {port} is {_taken_by(port) or error.strerror}; choose another with --port"
            ) from None


def _taken_by(port: int) -> str | None:
    with contextlib.suppress(psutil.Error):  # macOS shows connections to root only
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.pid and connection.laddr[1:] == (port,):
                return f"in use by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    return None


def _await_answer(emulator: Emulator, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not _answers(emulator):
        if process.poll() is not None:
            raise ArcadeJobsError(f"the emulator died at once: {_last_line(log)} (all of it: {log})")
        if time.monotonic() > deadline:
            raise ArcadeJobsError(
                f"the emulator does not respond on port {emulator.port} after {START_TIMEOUT} s; see {log}"
            )
        time.sleep(0.05)


def _answers(emulator: Emulator) -> bool:
    try:
        with urllib.request.urlopen(f"{emulator.endpoint}/_ministack/health", timeout=2) as response:  # noqa: S310
            return bool(response.status == 200)  # noqa: PLR2004
    except (urllib.error.URLError, OSError):
        return False


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
