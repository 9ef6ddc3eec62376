"""S04 with real processes: killed, or stopped and continued after another run, at random moments.

FAULTS_SEED=... repeats a seed; the moments still depend on the speed of the machine.
"""

import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator

import psutil
import pytest

from shared.domain.run import RunStatus
from tests.fakes.dynamodb import one_at_a_time, serve
from tests.faults.container import Containers, open_containers
from tests.faults.scenes import read_footprint
from tests.faults.stage import Stage, Undisturbed

SEED = int(os.environ.get("FAULTS_SEED", random.randrange(2**32)))
ROUNDS = [4, pytest.param(80, marks=pytest.mark.soak)]


@pytest.fixture(scope="module")
def containers() -> Iterator[Containers]:
    with open_containers() as containers:
        yield containers


@pytest.fixture
def start(containers: Containers, stage: Stage) -> Iterator[Callable[[], int]]:
    """Starts the scene's run in a process of its own, and returns the process's id."""
    with serve(one_at_a_time(stage.runs_table.client)) as address:
        env = stage.env | {
            "AWS_ENDPOINT_URL_DYNAMODB": address,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "NO_PROXY": "127.0.0.1",
        }
        yield lambda: containers.start(stage.scene.job, stage.event, env)


@pytest.fixture
def at_a_moment(
    containers: Containers, stage: Stage, undisturbed: Undisturbed, start: Callable[[], int]
) -> Callable[[], int]:
    """Starts a run; returns the process at a moment that is anywhere in the run, or a little later."""
    sys.stdout.write(f"FAULTS_SEED={SEED}\n")
    dice = random.Random(SEED)
    stage.set_up()
    pid = start()
    started = time.monotonic()
    assert containers.wait(pid) == 0
    usual = time.monotonic() - started
    stage.finish(undisturbed)

    def start_and_wait() -> int:
        stage.set_up()
        pid = start()
        time.sleep(dice.uniform(0, 1.1 * usual))  # seconds after its start
        return pid

    return start_and_wait


@pytest.mark.parametrize("rounds", ROUNDS)
def test_s04_a_process_killed_at_any_moment_loses_nothing(
    containers: Containers,
    stage: Stage,
    undisturbed: Undisturbed,
    at_a_moment: Callable[[], int],
    rounds: int,
) -> None:
    found = []
    for _ in range(rounds):
        pid = at_a_moment()
        os.kill(pid, signal.SIGKILL)
        assert containers.wait(pid) in {0, -signal.SIGKILL}
        _pass_deadline(stage)
        left = stage.recorded()
        found.append(left.status.value if left else "no record")
        assert left is None or left.status in {RunStatus.ABANDONED, RunStatus.SUCCEEDED}
        stage.finish(undisturbed)
    sys.stdout.write(f"{stage.scene.job}: found after the kill: {dict(Counter(found))}\n")


@pytest.mark.parametrize("rounds", ROUNDS)
def test_s04_a_process_frozen_at_any_moment_writes_nothing_when_it_is_woken(
    containers: Containers,
    stage: Stage,
    undisturbed: Undisturbed,
    at_a_moment: Callable[[], int],
    rounds: int,
) -> None:
    found = []
    for _ in range(rounds):
        pid = at_a_moment()
        os.kill(pid, signal.SIGSTOP)
        while psutil.Process(pid).status() not in {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}:
            time.sleep(0.001)
        _pass_deadline(stage)
        left = stage.recorded()
        found.append(left.status.value if left else "no record")
        try:
            recorded = stage.finish(undisturbed)
            footprint = read_footprint(stage.engine)
        finally:
            os.kill(pid, signal.SIGCONT)
            code = containers.wait(pid)
        assert code == 0
        assert read_footprint(stage.engine) == footprint, "the process that woke late has written"
        stage.expect_the_end_of(recorded)
    sys.stdout.write(f"{stage.scene.job}: found after the freeze: {dict(Counter(found))}\n")


def _pass_deadline(stage: Stage) -> None:
    """The processes use the clock of the machine."""
    stage.clock.now = type(stage.clock.now).fromtimestamp(time.time(), tz=stage.clock.now.tzinfo)
    stage.pass_deadline()
