"""S04: whatever happens to a process, at whichever of its requests, nothing is lost and nothing is done twice."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine

from shared.domain.run import RunStatus
from shared.runs.record import RunRecord
from shared.runs.store import RunStore
from shared.services import cleanup, leaderboard
from tests.arcade import Arcade
from tests.fakes import FakeClock, FakeContext, scheduled_event
from tests.faults.process import Blow, Fault, Killed, Moment, Process
from tests.faults.scenes import SCENES, Scene, keep, read_footprint, read_state, restore

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

# After one request is before the next, and who is frozen amid one is frozen before the next to all others.
EVERY_BLOW = [
    (Blow.KILLED, Moment.BEFORE),
    (Blow.KILLED, Moment.AMID),
    (Blow.CUT, Moment.BEFORE),
    (Blow.CUT, Moment.AMID),
    (Blow.FROZEN, Moment.BEFORE),
    pytest.param(Blow.KILLED, Moment.AFTER, marks=pytest.mark.soak),
    pytest.param(Blow.CUT, Moment.AFTER, marks=pytest.mark.soak),
    pytest.param(Blow.FROZEN, Moment.AMID, marks=pytest.mark.soak),
    pytest.param(Blow.FROZEN, Moment.AFTER, marks=pytest.mark.soak),
]


@pytest.fixture(params=SCENES)
def scene(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(leaderboard, "CHUNK_ROWS", 3)
    monkeypatch.setattr(cleanup, "SESSION_BATCH", 2)
    monkeypatch.setattr(cleanup, "ORPHAN_BATCH", 3)
    monkeypatch.setattr(cleanup, "ORPHAN_WINDOW", 8)
    return SCENES[request.param]


class Stage:
    """A scene that can be played again and again.

    Attributes:
        successor: a process that nothing happens to; it makes the next attempt, warm.
    """

    def __init__(self, scene: Scene, engine: Engine, dynamodb: "DynamoDBClient") -> None:
        self.scene = scene
        self.engine = engine
        self.dynamodb = dynamodb
        self.clock = FakeClock()
        self.store = RunStore(client=dynamodb, table_name="runs", clock=self.clock)
        self.event = scheduled_event(scene.at)
        self.successor = self.start()

    def set_up(self) -> None:
        restore(self.engine)
        self.dynamodb.delete_item(TableName="runs", Key={"run_id": {"S": self.scene.run_id}})
        self.clock.now = datetime.fromisoformat(self.scene.at) + timedelta(minutes=1)

    def start(self, fault: Fault | None = None) -> Process:
        env = {
            "DATABASE_URL": self.engine.url.render_as_string(hide_password=False),
            "RUNS_TABLE_NAME": "runs",
        }
        return Process(env=env, dynamodb=self.dynamodb, clock=self.clock, fault=fault)

    def invoke(self, process: Process) -> dict[str, Any]:
        return process.invoke(self.scene.handler, self.event)

    def recorded(self) -> RunRecord | None:
        return self.store.get(self.scene.run_id)

    def pass_deadline(self) -> None:
        self.clock.now += timedelta(milliseconds=FakeContext().remaining_ms + 1)


@pytest.fixture
def stage(scene: Scene, arcade: Arcade, engine: Engine, dynamodb: "DynamoDBClient") -> Iterator[Stage]:
    scene.fill(arcade)
    keep(engine)
    stage = Stage(scene, engine, dynamodb)
    yield stage
    stage.successor.bury()


@dataclass(frozen=True)
class Undisturbed:
    """The same run with nothing in its way: the requests that it makes, and what has to come of it."""

    requests: list[str]
    state: dict[str, Any]
    result: dict[str, Any]


@pytest.fixture
def undisturbed(stage: Stage) -> Undisturbed:
    stage.set_up()
    process = stage.start()
    record = stage.invoke(process)
    process.bury()
    assert record["status"] == "succeeded"
    return Undisturbed(requests=process.requests, state=read_state(stage.engine), result=record["result"])


@pytest.mark.parametrize(("blow", "moment"), EVERY_BLOW)
def test_s04_a_fault_at_any_request_loses_nothing_and_does_nothing_twice(
    stage: Stage, undisturbed: Undisturbed, blow: Blow, moment: Moment
) -> None:
    strike = {Blow.KILLED: _kill, Blow.CUT: _cut, Blow.FROZEN: _freeze}[blow]
    for number, request in enumerate(undisturbed.requests, start=1):
        stage.set_up()
        victim = stage.start(Fault(blow=blow, moment=moment, request=number))
        try:
            strike(stage, victim, undisturbed)
        except BaseException as error:
            error.add_note(f"{blow} {moment} request {number} of {len(undisturbed.requests)}: {request}")
            raise
        finally:
            victim.bury()
        assert victim.has_been_struck
    assert [run.run_id for run in stage.store.list_runs()] == [stage.scene.run_id]
    assert stage.store.list_running() == []
    print(f"{blow} {moment} each of {len(undisturbed.requests)} requests of {stage.scene.run_id}")


def _kill(stage: Stage, victim: Process, undisturbed: Undisturbed) -> None:
    with pytest.raises(Killed):
        stage.invoke(victim)
    stage.pass_deadline()
    left = stage.recorded()
    assert left is None or left.status in {RunStatus.ABANDONED, RunStatus.SUCCEEDED}
    _finish(stage, undisturbed)


def _cut(stage: Stage, victim: Process, undisturbed: Undisturbed) -> None:
    assert stage.invoke(victim)["status"] == "succeeded"  # it finds its way by itself
    assert read_state(stage.engine) == undisturbed.state
    stage.pass_deadline()
    _finish(stage, undisturbed)


def _freeze(stage: Stage, victim: Process, undisturbed: Undisturbed) -> None:
    frozen = victim.invoke_until_frozen(stage.scene.handler, stage.event)
    stage.pass_deadline()
    try:
        recorded = _finish(stage, undisturbed)
        footprint = read_footprint(stage.engine)
    finally:
        frozen.wake()
    assert frozen.error is None, frozen.error
    assert frozen.result["status"] == "succeeded"
    assert read_footprint(stage.engine) == footprint, "the process that woke late has written"
    assert stage.recorded() == recorded


def _finish(stage: Stage, undisturbed: Undisturbed) -> RunRecord:
    """The next attempt: it finds all that was left to do, and need not wait for it. Returns what is recorded of it."""
    slept = len(stage.clock.slept)
    assert stage.invoke(stage.successor)["status"] == "succeeded"
    assert len(stage.clock.slept) == slept, "something stood in the way of the next attempt"
    assert read_state(stage.engine) == undisturbed.state
    recorded = stage.recorded()
    assert recorded.status is RunStatus.SUCCEEDED
    assert recorded.result["errors"] == []
    if stage.scene is SCENES["prize-pool"]:
        assert recorded.result == undisturbed.result
    return recorded
