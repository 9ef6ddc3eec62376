"""The asset under AWS's own Lambda runtime client and its Runtime Interface Emulator, which kills at the time limit."""

import contextlib
import http.client
import json
import os
import platform
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from infra.local import cloud, emulator
from infra.stack import bundle
from infra.stack.target import LOCAL
from tests.arcade import Arcade
from tests.fakes import scheduled_event
from tests.fakes.dynamodb import create_runs_table

pytestmark = pytest.mark.xdist_group("runtime")

SHORT = 3  # seconds: a time limit before which a runs table that is silent has not been given up
AMPLE = 60  # seconds
START_TIMEOUT = 20  # seconds; it takes 0.05


@dataclass(frozen=True)
class Lambda:
    """One execution environment: invocations follow each other; after a kill the next starts a new process."""

    port: int
    log: Path

    def invoke(self, event: dict[str, Any]) -> tuple[str, dict[str, Any] | None]:
        """The response as it came, and as JSON if it is. A result, an error and a timeout all come with status 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request("POST", "/2015-03-31/functions/function/invocations", json.dumps(event))
            response = connection.getresponse().read().decode()
        with contextlib.suppress(ValueError):
            return response, json.loads(response)
        return response, None

    def logged(self, pattern: str) -> list[str]:
        return re.findall(pattern, self.log.read_text())


@pytest.fixture(scope="module")
def asset() -> Path:
    """What is deployed to the laptop cloud, built for the interpreter that runs it here too."""
    return bundle.build(replace(LOCAL.platform, python=str(cloud.emulator_python())))


@pytest.fixture
def variables(asset: Path, engine: Engine, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of the function, with a fresh database and runs table."""
    aws = emulator.start(tmp_path / "emulator", python=cloud.emulator_python(), port=0)
    try:
        create_runs_table(emulator.session().client("dynamodb", endpoint_url=aws.endpoint), "runs")
        yield {
            **emulator.CREDENTIALS,
            "AWS_REGION": emulator.REGION,
            "AWS_DEFAULT_REGION": emulator.REGION,
            "AWS_ENDPOINT_URL": aws.endpoint,
            "DATABASE_URL": engine.url.render_as_string(hide_password=False),
            "RUNS_TABLE_NAME": "runs",
            "AWS_LAMBDA_FUNCTION_NAME": "prize-pool",
            "LAMBDA_TASK_ROOT": str(asset),
            "PATH": os.defpath,
        }
    finally:
        emulator.stop(tmp_path / "emulator")


@pytest.fixture
def start(asset: Path, variables: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Lambda]]:
    """Starts the prize pool's function with a time limit in seconds; it can import the asset and nothing else."""
    with contextlib.ExitStack() as running:

        def start(limit: int, **more: str) -> Lambda:
            environment = variables | {"AWS_LAMBDA_FUNCTION_TIMEOUT": str(limit), **more}
            log = tmp_path / f"limit-{limit}.log"
            return running.enter_context(running_lambda("functions.prize_pool.handler", asset, environment, log))

        yield start


@contextlib.contextmanager
def running_lambda(handler: str, asset: Path, variables: dict[str, str], log: Path) -> Iterator[Lambda]:
    port, runtime_port = free_port(), free_port()
    python = cloud.emulator_python()
    with log.open("w") as output:
        process = subprocess.Popen(
            [
                rie(python),
                *("--runtime-interface-emulator-address", f"127.0.0.1:{port}"),
                *("--runtime-api-address", f"127.0.0.1:{runtime_port}"),
                *("--log-level", "info", python, "-m", "awslambdaric", handler),
            ],
            cwd=asset,
            env=variables,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_TIMEOUT
        while not is_reachable(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield Lambda(port=port, log=log)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def rie(python: Path) -> Path:
    machine = "arm64" if platform.machine() == "aarch64" else "x86_64"
    [found] = python.parents[1].glob(f"lib/python3*/site-packages/samcli/local/rapid/aws-lambda-rie-{machine}")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_reachable(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_cold_start_imports_only_the_asset_and_a_warm_one_nothing(start: Callable[..., Lambda]) -> None:
    function = start(AMPLE)
    for minute in (0, 1):
        _, result = function.invoke(scheduled_event(f"2026-01-12T00:0{minute}:00Z"))
        assert result is not None
        assert result["status"] == "succeeded"
    assert function.logged(r"INIT RTDONE\(status: (\w+)\)") == ["success"]
    [init_ms] = map(float, function.logged(r"INIT REPORT\(durationMs: ([\d.]+)\)"))
    assert init_ms < 10_000  # what Lambda allows for it


def test_a_malformed_event_is_an_error_and_the_process_survives(start: Callable[..., Lambda]) -> None:
    function = start(AMPLE)
    _, refused = function.invoke(scheduled_event("yesterday"))
    assert refused is not None
    assert refused["errorType"] == "BadEventError"
    assert refused["errorMessage"] == "event time: 'yesterday' is not a time such as 2026-01-12T00:00:00Z"
    _, result = function.invoke(scheduled_event("2026-01-12T00:00:00Z"))
    assert result is not None
    assert result["status"] == "succeeded"
    assert len(function.logged("INIT START")) == 1


def test_s04_a_run_past_the_time_limit_is_killed_and_the_next_attempts_continue(
    start: Callable[..., Lambda], engine: Engine
) -> None:
    """PostgreSQL cannot hold a run for that long (S19); a runs table that is silent can."""
    arcade = Arcade(engine)
    pool_id = arcade.add_pool("2026-01-11")
    arcade.play("0xa", 5, "2026-01-11T10:00:00Z")
    event = scheduled_event("2026-01-12T00:00:00Z")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        function = start(SHORT, AWS_ENDPOINT_URL_DYNAMODB=address)
        killed, _ = function.invoke(event)
    assert killed == f"Task timed out after {SHORT}.00 seconds"
    assert len(function.logged("Sending SIGKILL to runtime")) == 1

    _, out_of_time = function.invoke(event)  # the same environment, in a new process: too little time to settle in
    assert out_of_time is not None
    assert out_of_time["errorMessage"] == "run prize-pool:2026-01-12T00:00Z incomplete"
    assert len(function.logged("INIT START")) == 2

    _, settled = start(AMPLE).invoke(event)
    assert settled is not None
    assert (settled["status"], settled["attempt"]) == ("succeeded", 1)
    assert (arcade.pool(pool_id).status, arcade.pool(pool_id).winner_address) == ("finalized", "0xa")
