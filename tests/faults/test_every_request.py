"""S04: a process killed, cut off or frozen at any request loses nothing and does nothing twice."""

import sys

import pytest

from shared.domain.run import RunStatus
from tests.faults.process import Fault, Killed, Kind, Moment, Process
from tests.faults.scenes import read_footprint, read_state
from tests.faults.stage import Stage, Undisturbed

# After one request is before the next, and frozen during one is frozen before the next, as others see it.
EVERY_FAULT = [
    (Kind.KILLED, Moment.BEFORE),
    (Kind.KILLED, Moment.DURING),
    (Kind.CUT, Moment.BEFORE),
    (Kind.CUT, Moment.DURING),
    (Kind.FROZEN, Moment.BEFORE),
    pytest.param(Kind.KILLED, Moment.AFTER, marks=pytest.mark.soak),
    pytest.param(Kind.CUT, Moment.AFTER, marks=pytest.mark.soak),
    pytest.param(Kind.FROZEN, Moment.DURING, marks=pytest.mark.soak),
    pytest.param(Kind.FROZEN, Moment.AFTER, marks=pytest.mark.soak),
]


@pytest.mark.parametrize(("kind", "moment"), EVERY_FAULT)
def test_s04_a_fault_at_any_request_loses_nothing_and_does_nothing_twice(
    stage: Stage, undisturbed: Undisturbed, kind: Kind, moment: Moment
) -> None:
    hit = {Kind.KILLED: _kill, Kind.CUT: _cut, Kind.FROZEN: _freeze}[kind]
    for number, request in enumerate(undisturbed.requests, start=1):
        stage.set_up()
        victim = stage.start(Fault(kind=kind, moment=moment, request=number))
        try:
            hit(stage, victim, undisturbed)
        except BaseException as error:
            error.add_note(f"{kind} {moment} request {number} of {len(undisturbed.requests)}: {request}")
            raise
        finally:
            victim.close()
        assert victim.was_hit
    assert [run.run_id for run in stage.store.list_runs()] == [stage.scene.run_id]
    assert stage.store.list_running() == []
    sys.stdout.write(f"{stage.scene.job}: {kind} {moment} each of {len(undisturbed.requests)} requests\n")


def _kill(stage: Stage, victim: Process, undisturbed: Undisturbed) -> None:
    with pytest.raises(Killed):
        stage.invoke(victim)
    stage.pass_deadline()
    left = stage.recorded()
    assert left is None or left.status in {RunStatus.ABANDONED, RunStatus.SUCCEEDED}
    stage.finish(undisturbed)


def _cut(stage: Stage, victim: Process, undisturbed: Undisturbed) -> None:
    assert stage.invoke(victim)["status"] == "succeeded"  # it recovers by itself
    assert read_state(stage.engine) == undisturbed.state
    stage.pass_deadline()
    stage.finish(undisturbed)


def _freeze(stage: Stage, victim: Process, undisturbed: Undisturbed) -> None:
    frozen = victim.invoke_until_frozen(stage.scene.job, stage.event)
    stage.pass_deadline()
    try:
        recorded = stage.finish(undisturbed)
        footprint = read_footprint(stage.engine)
    finally:
        frozen.wake()
    if frozen.error is not None:
        raise frozen.error
    assert frozen.result is not None
    assert frozen.result["status"] == "succeeded"
    assert read_footprint(stage.engine) == footprint, "the process that woke late has written"
    stage.expect_the_end_of(recorded)
