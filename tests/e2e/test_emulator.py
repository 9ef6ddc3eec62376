"""The emulator's process: it outlives its starter, keeps nothing, and reports in one line what is wrong."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from infra.local import emulator, postgres
from infra.local.emulator import Emulator
from shared.domain.errors import ArcadeJobsError

PYTHON = Path(__file__).parents[2] / ".emulator" / "venv" / "bin" / "python"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "emulator"
    emulator.stop(tmp_path / "emulator")


def queues(running: Emulator) -> list[str]:
    return client(running).list_queues().get("QueueUrls", [])


def client(running: Emulator, service: str = "sqs") -> Any:
    return cast("Any", emulator.session()).client(service, endpoint_url=running.endpoint)


def running_on(folder: Path) -> Emulator:
    found = emulator.running(folder)
    assert found is not None
    return found


def kill(running: Emulator) -> None:
    process = psutil.Process(running.pid)
    process.kill()
    process.wait()


def test_it_listens_on_loopback_only(folder):
    running = emulator.start(folder, python=PYTHON, port=0)
    listening = [c.laddr for c in psutil.Process(running.pid).net_connections() if c.status == psutil.CONN_LISTEN]
    assert [tuple(address) for address in listening] == [("127.0.0.1", running.port)]


def test_it_gets_nothing_of_our_environment(folder, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql+pg8000://secret")
    monkeypatch.setenv("AWS_PROFILE", "work")
    running = emulator.start(folder, python=PYTHON, port=0)
    given = set(psutil.Process(running.pid).environ())
    assert given == {
        "PATH",
        "HOME",
        "LANG",
        "TZ",
        "TMPDIR",
        "GATEWAY_PORT",
        "STATE_DIR",
        "S3_DATA_DIR",
        *emulator.SETTINGS,
    }


def test_it_outlives_the_process_that_started_it(folder):
    script = "import sys; from pathlib import Path; from infra.local import emulator;"
    script += "emulator.start(Path(sys.argv[1]), python=Path(sys.argv[2]), port=0)"
    subprocess.run([sys.executable, "-c", script, folder, PYTHON], check=True, cwd=PYTHON.parents[3])
    assert queues(running_on(folder)) == []


def test_starting_it_twice_returns_the_one_that_runs(folder):
    first = emulator.start(folder, python=PYTHON, port=0)
    assert emulator.start(folder, python=PYTHON, port=0) == first
    with pytest.raises(ArcadeJobsError, match=f"already runs on port {first.port}, not 1; stop it first"):
        emulator.start(folder, python=PYTHON, port=1)


def test_stopping_what_does_not_run_is_no_error(folder):
    assert emulator.stop(folder) is None
    assert emulator.running(folder) is None


def test_it_starts_with_nothing_after_a_stop_and_after_a_kill(folder):
    for end in (emulator.stop, lambda folder: kill(running_on(folder))):
        running = emulator.start(folder, python=PYTHON, port=0)
        assert queues(running) == []
        assert client(running, "s3").list_buckets()["Buckets"] == []
        client(running).create_queue(QueueName="lost")
        client(running, "s3").create_bucket(Bucket="lost")
        end(folder)
        assert emulator.running(folder) is None
    assert queues(emulator.start(folder, python=PYTHON, port=0)) == []


def test_another_process_with_the_recorded_id_is_left_alone(folder):
    folder.mkdir()
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        (folder / "emulator.json").write_text(json.dumps({"pid": stranger.pid, "port": 4566}))
        assert emulator.running(folder) is None
        assert emulator.stop(folder) is None
        assert stranger.poll() is None
    finally:
        stranger.communicate(b"\n")


def test_a_taken_port_is_refused_by_the_name_of_its_holder(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        name = psutil.Process().name()
        with pytest.raises(ArcadeJobsError) as refused:
            emulator.start(folder, python=PYTHON, port=port)
    assert str(refused.value) == f"port {port} is in use by {name} (process {os.getpid()}); choose another with --port"


def test_a_dead_child_is_reported_with_the_last_line_it_wrote(folder):
    with pytest.raises(
        ArcadeJobsError, match=r"^the emulator died at once: .*No module named ministack \(all of it: .*log\)$"
    ):
        emulator.start(folder, python=Path(sys.executable), port=0)
    assert emulator.running(folder) is None


def test_an_environment_that_is_not_there_is_named(folder):
    with pytest.raises(ArcadeJobsError, match=r"not installed \(nowhere/python is missing\): run make setup"):
        emulator.start(folder, python=Path("nowhere/python"), port=0)


def test_one_that_does_not_stop_in_time_is_killed(folder, monkeypatch):
    running = emulator.start(folder, python=PYTHON, port=0)
    os.kill(running.pid, signal.SIGSTOP)
    monkeypatch.setattr(emulator, "STOP_TIMEOUT", 0.1)
    assert emulator.stop(folder) == running
    assert not psutil.pid_exists(running.pid)


def test_postgresql_runs_for_as_long_as_the_emulator_that_inherited_its_lease(folder):
    data = folder.with_name("postgres")
    with postgres.serve(data, environment={}), postgres.lease(data) as lease:
        running = emulator.start(folder, python=PYTHON, port=0, inherit=[lease.fileno()])
    assert not postgres.stop_unused(data)
    assert postgres.is_running(data)
    kill(running)
    assert postgres.stop_unused(data)
    assert not postgres.is_running(data)
