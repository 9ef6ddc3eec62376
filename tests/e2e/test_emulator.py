"""The emulator's process: it outlives who started it, keeps its state, and says in one line what is wrong."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import psutil
import pytest

from infra.local import emulator, postgres
from infra.local.emulator import Emulator, EmulatorError

PYTHON = Path(__file__).parents[2] / ".emulator" / "venv" / "bin" / "python"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "emulator"
    emulator.stop(tmp_path / "emulator")


def queues(running: Emulator) -> list[str]:
    return client(running).list_queues().get("QueueUrls", [])


def client(running: Emulator, service: str = "sqs"):
    return boto3.client(
        service,
        endpoint_url=running.endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def kill(running: Emulator) -> None:
    process = psutil.Process(running.pid)
    process.kill()
    process.wait()


def test_it_listens_on_loopback_only(folder):
    running = emulator.start(folder, python=PYTHON, port=0)
    listening = [c.laddr for c in psutil.Process(running.pid).net_connections() if c.status == psutil.CONN_LISTEN]
    assert [tuple(address) for address in listening] == [("127.0.0.1", running.port)]


def test_it_is_given_nothing_of_our_environment(folder, monkeypatch):
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


def test_its_state_survives_a_restart(folder):
    client(emulator.start(folder, python=PYTHON, port=0)).create_queue(QueueName="kept")
    emulator.stop(folder)
    assert [url.rsplit("/", 1)[1] for url in queues(emulator.start(folder, python=PYTHON, port=0))] == ["kept"]


def test_it_outlives_the_process_that_started_it(folder):
    script = "import sys; from pathlib import Path; from infra.local import emulator;"
    script += "emulator.start(Path(sys.argv[1]), python=Path(sys.argv[2]), port=0)"
    subprocess.run([sys.executable, "-c", script, folder, PYTHON], check=True, cwd=PYTHON.parents[3])
    assert queues(emulator.running(folder)) == []


def test_starting_it_twice_returns_the_one_that_runs(folder):
    first = emulator.start(folder, python=PYTHON, port=0)
    assert emulator.start(folder, python=PYTHON, port=0) == first
    with pytest.raises(EmulatorError, match=f"already runs on port {first.port}, not 1; stop it first"):
        emulator.start(folder, python=PYTHON, port=1)


def test_stopping_what_does_not_run_is_no_error(folder):
    assert emulator.stop(folder) is None
    assert emulator.running(folder) is None


def test_a_killed_emulator_is_told_from_a_stopped_one_and_started_again(folder):
    first = emulator.start(folder, python=PYTHON, port=0)
    kill(first)
    assert emulator.running(folder) is None
    assert emulator.died(folder) == first
    second = emulator.start(folder, python=PYTHON, port=0)
    assert emulator.running(folder) == second
    emulator.stop(folder)
    assert emulator.died(folder) is None


def test_after_a_kill_it_goes_back_to_where_it_began_and_not_half_way(folder):
    first = emulator.start(folder, python=PYTHON, port=0)
    client(first).create_queue(QueueName="kept")
    emulator.stop(folder)
    second = emulator.start(folder, python=PYTHON, port=0)
    client(second).create_queue(QueueName="lost")
    client(second, "s3").create_bucket(Bucket="written-at-once")
    kill(second)
    assert emulator.stop(folder) is None
    third = emulator.start(folder, python=PYTHON, port=0)
    assert [url.rsplit("/", 1)[1] for url in queues(third)] == ["kept"]
    assert client(third, "s3").list_buckets()["Buckets"] == []


def test_a_machine_that_was_shut_down_is_no_kill(folder):
    running = emulator.start(folder, python=PYTHON, port=0)
    client(running).create_queue(QueueName="kept")
    process = psutil.Process(running.pid)
    process.terminate()
    process.wait()
    assert emulator.died(folder) is None
    assert [url.rsplit("/", 1)[1] for url in queues(emulator.start(folder, python=PYTHON, port=0))] == ["kept"]


def test_a_stranger_with_the_recorded_process_id_is_left_alone(folder):
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
        with pytest.raises(EmulatorError) as refused:
            emulator.start(folder, python=PYTHON, port=port)
    assert str(refused.value) == f"port {port} is in use by {name} (process {os.getpid()}); choose another with --port"
    assert emulator.died(folder) is None


def test_a_dead_child_is_reported_with_the_last_line_it_wrote(folder):
    with pytest.raises(
        EmulatorError, match=r"^the emulator died at once: .*No module named ministack \(all of it: .*log\)$"
    ):
        emulator.start(folder, python=Path(sys.executable), port=0)
    assert emulator.running(folder) is None


def test_an_environment_that_is_not_there_is_named(folder):
    with pytest.raises(EmulatorError, match=r"not installed \(nowhere/python is missing\): run make local"):
        emulator.start(folder, python=Path("nowhere/python"), port=0)


def test_a_state_that_cannot_be_read_is_refused_and_kept(folder):
    client(emulator.start(folder, python=PYTHON, port=0)).create_queue(QueueName="kept")
    emulator.stop(folder)
    state = folder / "state" / "services" / "sqs.json"
    state.write_text("{")
    with pytest.raises(EmulatorError, match=r"cannot read its saved state: .*sqs.*; remove .*emulator and start again"):
        emulator.start(folder, python=PYTHON, port=0)
    assert state.read_text() == "{"
    assert emulator.running(folder) is None


def test_one_that_does_not_stop_in_time_is_killed_and_said_so(folder, monkeypatch):
    running = emulator.start(folder, python=PYTHON, port=0)
    os.kill(running.pid, signal.SIGSTOP)
    monkeypatch.setattr(emulator, "STOP_TIMEOUT", 0.1)
    with pytest.raises(EmulatorError, match=r"did not stop within 0\.1 s and was killed"):
        emulator.stop(folder)
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
