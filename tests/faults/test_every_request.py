"""S04: whatever happens to a process, at whichever of its requests, nothing is lost and nothing is done twice."""

import sys

import pytest

from shared.domain.run import RunStatus
from tests.faults.process import Blow, Fault, Killed, Moment, Process
from tests.faults.scenes import read_footprint, read_state
from tests.faults.stage import Stage, Undisturbed

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
    sys.stdout.write(f"{stage.scene.job}: {blow} {moment} each of {len(undisturbed.requests)} requests\n")


def _kill(stage: Stage, victim: Process, undisturbed: Undisturbed) -> None:
    with pytest.raises(Killed):
        stage.invoke(victim)
    stage.pass_deadline()
    left = stage.recorded()
    assert left is None or left.status in {RunStatus.ABANDONED, RunStatus.SUCCEEDED}
    stage.finish(undisturbed)


def _cut(stage: Stage, victim: Process, undisturbed: Undisturbed) -> None:
    assert stage.invoke(victim)["status"] == "succeeded"  # it finds its way by itself
    assert read_state(stage.engine) == undisturbed.state
    stage.pass_deadline()
    stage.finish(undisturbed)


def _freeze(stage: Stage, victim: Process, undisturbed: Undisturbed) -> None:
    frozen = victim.invoke_until_frozen(stage.scene.handler, stage.event)
    stage.pass_deadline()
    try:
        recorded = stage.finish(undisturbed)
        footprint = read_footprint(stage.engine)
    finally:
        frozen.wake()
    if frozen.error is not None:
        raise frozen.error
    assert frozen.result["status"] == "succeeded"
    assert read_footprint(stage.engine) == footprint, "the process that woke late has written"
    assert stage.recorded() == recorded
