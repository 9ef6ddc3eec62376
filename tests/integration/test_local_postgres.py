"""The local server's lifecycle, with real processes. Each test that needs a server has one of its own."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from infra.local import cluster, postgres
from shared.domain.errors import ArcadeJobsError
from tests.sql import open_database

ROOT = Path(__file__).parents[2]
# A process that uses the server until its standard input ends.
HOLDER = """
import sys
from pathlib import Path
from infra.local import postgres
with postgres.serve(Path(sys.argv[1]), environment={}) as server:
    print("serving", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A folder for a server, in one that is closed to everybody else; what a test leaves running is stopped."""
    closed = tmp_path / "a closed folder"
    closed.mkdir(mode=0o700)
    yield closed / "postgres"
    if process := server_process(closed / "postgres"):
        process.kill()
    shutil.rmtree(closed, ignore_errors=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that initdb has filled and a server has left in order: a copy spares a test half a second."""
    folder = tmp_path_factory.mktemp("made") / "postgres"
    with postgres.serve(folder, environment={}):
        pass
    return folder


@pytest.fixture
def made_data(made: Path, data: Path) -> Path:
    shutil.copytree(made, data)
    return data


def server_process(data: Path) -> psutil.Process | None:
    return cluster.Cluster(data=data.resolve()).process()


def query(server: postgres.Server, statement: str = "SELECT 1") -> object:
    engine = open_database(server.admin_url)
    try:
        with engine.connect() as connection:
            return connection.execute(text(statement)).scalar()
    finally:
        engine.dispose()


def refusal(data: Path, url: str = "") -> str:
    """The message with which a server is refused: one line, without a password."""
    with pytest.raises(ArcadeJobsError) as refused, postgres.serve(data, environment={"DATABASE_URL": url}):
        pytest.fail("it was accepted")
    message = str(refused.value)
    assert message.isprintable()
    assert "secret" not in message
    return message


@contextlib.contextmanager
def holder(data: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that uses the server of a folder, and has begun to."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(data)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "serving\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_a_server_runs_while_it_is_in_use_and_its_data_stay(data: Path) -> None:
    with postgres.serve(data, environment={}) as server:
        process = server_process(data)
        assert query(server, "SHOW listen_addresses") == ""
        created = server.create_database("kept")
        assert created.database == "kept"
    assert process is not None
    assert cluster.has_ended(process)
    assert not (data / "postmaster.pid").exists()
    with postgres.serve(data, environment={}) as server:
        assert query(server, "SELECT count(*) FROM pg_database WHERE datname = 'kept'") == 1
        server.drop_database("kept")
        server.drop_database("kept")
        assert query(server, "SELECT count(*) FROM pg_database WHERE datname = 'kept'") == 0


def test_creating_a_database_replaces_one_that_is_in_use(server: postgres.Server) -> None:
    name = f"replaced_{uuid4().hex[:12]}"
    url = server.create_database(name)
    engine = open_database(url)
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE old ()"))
        connection.commit()
        server.create_database(name)
        with pytest.raises(DBAPIError):
            connection.execute(text("SELECT 1"))
    engine.dispose()
    assert query(postgres.Server(admin_url=url), "SELECT to_regclass('old')") is None
    server.drop_database(name)


def test_two_processes_share_one_server_and_the_last_one_stops_it(made_data: Path) -> None:
    with holder(made_data) as other:
        with postgres.serve(made_data, environment={}) as server:
            shared = server_process(made_data)
            assert query(server) == 1
        assert server_process(made_data) == shared, "the other one still uses it"
        other.communicate()
        assert other.returncode == 0
        assert shared is not None
        assert cluster.has_ended(shared)


def test_the_first_one_may_leave_first(made_data: Path) -> None:
    with holder(made_data) as other, postgres.serve(made_data, environment={}) as server:
        other.communicate()
        assert query(server) == 1
    assert server_process(made_data) is None


def test_a_server_runs_on_while_a_lease_is_held(made_data: Path) -> None:
    with postgres.serve(made_data, environment={}):
        lease = postgres.lease(made_data)
    assert postgres.is_running(made_data)
    assert not postgres.stop_unused(made_data)
    lease.close()
    assert postgres.stop_unused(made_data)
    assert not postgres.is_running(made_data)
    assert not postgres.stop_unused(made_data)


def test_a_server_whose_user_was_killed_is_used_again_and_stopped(made_data: Path) -> None:
    with holder(made_data) as other:
        other.kill()
        other.wait()
        left_behind = server_process(made_data)
        assert left_behind is not None
    with postgres.serve(made_data, environment={}) as server:
        assert server_process(made_data) == left_behind
        assert query(server) == 1
    assert cluster.has_ended(left_behind)


def test_a_server_that_was_killed_recovers(made_data: Path) -> None:
    with postgres.serve(made_data, environment={}) as server:
        server.create_database("kept")
        query(server, "SELECT pg_switch_wal()")
        process = server_process(made_data)
        assert process is not None
        children = process.children()
        process.kill()
        psutil.wait_procs([process, *children], timeout=30)
    assert (made_data / "postmaster.pid").exists()
    with postgres.serve(made_data, environment={}) as server:
        assert query(server, "SELECT count(*) FROM pg_database WHERE datname = 'kept'") == 1


@pytest.mark.parametrize("command", ["sleep", "postgres"])
def test_another_process_with_the_id_of_a_dead_server_is_left_alone(
    made_data: Path, tmp_path: Path, command: str
) -> None:
    """Even one that is called postgres: another server of this machine."""
    program = tmp_path / command
    program.symlink_to(shutil.which("sleep") or "sleep")
    stranger = subprocess.Popen([program, "300"])
    try:
        account = [str(stranger.pid), str(made_data), "1767571200", "5432", str(tmp_path), "", "1 2", "ready   "]
        (made_data / "postmaster.pid").write_text("\n".join(account) + "\n")
        with postgres.serve(made_data, environment={}) as server:
            assert query(server) == 1
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("torn", [b"", b"\n", b"12", b"not a number\n", b"\xff\xfe\x00", b"9" * 4000, b"-1\n", b"0\n"])
def test_a_torn_pid_file_does_not_keep_a_server_from_starting(made_data: Path, torn: bytes) -> None:
    (made_data / "postmaster.pid").write_bytes(torn)
    with postgres.serve(made_data, environment={}) as server:
        assert query(server) == 1
    assert server_process(made_data) is None


def test_an_initdb_that_was_killed_is_done_again(data: Path) -> None:
    leftover = data.with_name("postgres.init-killed")
    leftover.mkdir()
    (leftover / "PG_VERSION").write_text("18\n")
    with postgres.serve(data, environment={}) as server:
        assert query(server) == 1
    assert not leftover.exists()


def test_a_start_that_was_interrupted_leaves_nothing_running(made_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C between the server's start and its first use."""

    def interrupt(_self: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(cluster.Cluster, "is_ready", interrupt)
    with pytest.raises(KeyboardInterrupt), postgres.serve(made_data, environment={}):
        pytest.fail("it was not interrupted")
    assert server_process(made_data) is None


def test_a_server_is_found_from_elsewhere(made_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another folder for temporary files, another port by default, and by another path."""
    with holder(made_data):
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.setattr("tempfile.tempdir", None)
        monkeypatch.setenv("PGPORT", "6543")
        (tmp_path / "link").symlink_to(made_data)
        with postgres.serve(tmp_path / "link", environment={}) as server:
            assert query(server) == 1


def test_a_long_folder_for_temporary_files_and_settings_of_psql_do_not_matter(
    made_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_folder = tmp_path / ("x" * 100)
    long_folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long_folder))
    monkeypatch.setenv("PGPORT", "6543")
    monkeypatch.setenv("PGDATA", "/nonexistent")
    with postgres.serve(made_data, environment={}) as server:
        assert query(server, "SHOW port") == "5432"


@pytest.fixture
def denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder at the head of PATH in which to put programs that fail."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return programs


def deny(programs: Path, name: str) -> None:
    (programs / name).write_text("#!/bin/sh\nexit 1\n")
    (programs / name).chmod(0o755)


def test_where_user_namespaces_are_denied_root_becomes_nobody(
    data: Path, denied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker's default. Data and programs lie in a folder that only root may enter, as under /root."""
    package = cluster.binaries().parents[1]
    for part in (package, package.with_name(package.name + ".libs")):
        if part.exists():  # on macOS the libraries lie elsewhere
            shutil.copytree(part, data.parent / part.name)
    monkeypatch.setattr(cluster, "binaries", lambda: data.parent / package.name / "pginstall" / "bin")
    deny(denied, "unshare")
    with postgres.serve(data, environment={}) as server:
        assert query(server) == 1
        process = server_process(data)
        assert process is not None
        assert process.uids().effective != 0
    assert server_process(data) is None


def test_data_of_one_way_of_not_being_root_serve_the_other(made_data: Path, denied: Path) -> None:
    for shim in ("unshare", "setpriv"):
        deny(denied, shim)
        if shim == "setpriv":
            (denied / "unshare").unlink()
        with postgres.serve(made_data, environment={}) as server:
            assert query(server) == 1


def test_root_that_may_not_become_another_user_gets_advice(
    data: Path, denied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deny(denied, "unshare")
    deny(denied, "setpriv")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert "run as another user, or set DATABASE_URL" in refusal(data)


def test_a_server_that_cannot_start_reports_the_reason(made_data: Path) -> None:
    (made_data / "global" / "pg_control").write_bytes(b"")
    assert re.match(r"PostgreSQL did not start: .*PANIC: .*pg_control", refusal(made_data))


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ArcadeJobsError, match=f"^{tmp_path}/file"),
        postgres.serve(tmp_path / "file" / "x" / "y"),
    ):
        pytest.fail("it started")


def test_a_given_server_is_used_instead_and_not_stopped(server: postgres.Server, data: Path) -> None:
    url = server.admin_url.set(drivername="postgresql").render_as_string(hide_password=False)
    with postgres.serve(data, environment={"DATABASE_URL": url}) as given:
        assert query(given) == 1
    assert query(server) == 1
    assert not data.exists()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense secret", "DATABASE_URL: expected a URL such as postgresql"),
        ("postgresql://me:secret@localhost:port/x", "DATABASE_URL: the port is not a number from 1 to 65535"),
        ("sqlite:///secret.db", "DATABASE_URL: expected a URL such as postgresql"),
    ],
)
def test_a_given_url_that_is_none_is_refused(data: Path, url: str, message: str) -> None:
    assert refusal(data, url).startswith(message)


def test_a_given_server_that_cannot_be_reached_is_named_without_its_password(data: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        refused = refusal(data, f"postgresql+pg8000://me:secret@127.0.0.1:{port}/arcade")
    assert refused == f"DATABASE_URL: cannot connect to 127.0.0.1 port {port}: Connection refused"


def test_the_error_of_a_given_server_is_passed_on(server: postgres.Server, data: Path) -> None:
    url = server.admin_url.set(database="absent").render_as_string()
    assert refusal(data, url).endswith('database "absent" does not exist (SQLSTATE 3D000)')


def test_ctrl_c_in_a_terminal_stops_the_server(made_data: Path) -> None:
    """The terminal sends it to every process of the foreground; the server is not one of them."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(made_data)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "serving\n"
    running = server_process(made_data)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate()
    assert running is not None
    assert cluster.has_ended(running)
    assert not (made_data / "postmaster.pid").exists()
