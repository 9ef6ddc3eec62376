"""Where a scene runs: a database, a runs table, a clock, and the process that makes the next attempt."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from infra.demo.runs_table import MemoryRunsTable
from shared.domain.run import RunStatus
from shared.runs.record import RunRecord
from shared.runs.store import RunStore
from tests.fakes import FakeClock, FakeContext, scheduled_event
from tests.faults.process import Fault, Process
from tests.faults.scenes import Scene, await_quiet, read_state, restore


@dataclass(frozen=True)
class Undisturbed:
    """A run without a fault: the requests that it makes, and the state and result that every other run must reach."""

    requests: list[str]
    state: dict[str, Any]
    result: dict[str, Any]


class Stage:
    """A scene that can be played again and again.

    Attributes:
        successor: a process that nothing happens to; it makes the next attempt, warm.
    """

    def __init__(self, scene: Scene, engine: Engine, runs_table: MemoryRunsTable) -> None:
        self.scene = scene
        self.engine = engine
        self.runs_table = runs_table
        self.clock = FakeClock()
        self.store = RunStore(client=runs_table.client, table_name="runs", clock=self.clock)
        self.event = scheduled_event(scene.at)
        self.env = {
            "DATABASE_URL": engine.url.render_as_string(hide_password=False),
            "RUNS_TABLE_NAME": "runs",
        }
        self.successor = self.start()

    def set_up(self) -> None:
        restore(self.engine)
        self.runs_table.items.pop(self.scene.run_id, None)
        self.clock.now = datetime.fromisoformat(self.scene.at) + timedelta(minutes=1)

    def start(self, fault: Fault | None = None) -> Process:
        return Process(env=self.env, dynamodb=self.runs_table.client, clock=self.clock, fault=fault)

    def invoke(self, process: Process) -> dict[str, Any]:
        return process.invoke(self.scene.job, self.event)

    def recorded(self) -> RunRecord | None:
        return self.store.get(self.scene.run_id)

    def pass_deadline(self) -> None:
        """Lambda retries after the deadline of the attempt; the server's own timeouts are over by then."""
        await_quiet(self.engine)
        self.clock.now += timedelta(milliseconds=FakeContext().remaining_ms + 1)

    def play_undisturbed(self) -> Undisturbed:
        self.set_up()
        process = self.start()
        record = self.invoke(process)
        process.close()
        assert record["status"] == "succeeded"
        return Undisturbed(requests=process.requests, state=read_state(self.engine), result=record["result"])

    def finish(self, undisturbed: Undisturbed) -> RunRecord:
        """The next attempt does all that was left to do, without waiting; returns its record."""
        slept = len(self.clock.slept)
        assert self.invoke(self.successor)["status"] == "succeeded"
        assert len(self.clock.slept) == slept, "something stood in the way of the next attempt"
        assert read_state(self.engine) == undisturbed.state
        recorded = self.recorded()
        assert recorded is not None
        assert recorded.status is RunStatus.SUCCEEDED
        assert recorded.result is not None
        assert recorded.result["errors"] == []
        if self.scene.job == "prize-pool":  # its result lists what all attempts settled
            assert recorded.result == undisturbed.result
        return recorded

    def expect_the_end_of(self, newest: RunRecord) -> None:
        """An older attempt that ends late adds its end and what it did, and changes nothing else."""
        recorded = self.recorded()
        assert recorded is not None
        assert all(attempt.finished_at for attempt in recorded.attempts)
        recorded, newest = replace(recorded, attempts=()), replace(newest, attempts=())
        if self.scene.job == "prize-pool":
            assert recorded == newest
        assert replace(recorded, result=None, counts=None) == replace(newest, result=None, counts=None)
