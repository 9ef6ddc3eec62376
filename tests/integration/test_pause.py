"""`arcade-jobs pause` and `resume`: two switches, each other's inverse."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from infra.cli.app import app
from infra.jobs import JOBS
from shared.domain.errors import ArcadeJobsError
from shared.operations.deployment import Deployment
from shared.operations.schedule import SilenceAlarm, State, pause, read_schedule, resume
from tests.fakes.stage import JOB, FakeStage, client


@pytest.mark.parametrize("job", ["prize-pool", "cleanup"])
def test_resume_reverses_pause_exactly(stage: FakeStage, job: str) -> None:
    def everything() -> Any:
        return stage.rule(), stage.schedule(), {n: dict(a) for n, a in stage.alarms.composites.items()}

    before = everything()
    assert pause(stage.deployment, job).state is State.ON
    paused = read_schedule(stage.deployment, job)
    assert (paused.state, paused.silence_alarm) == (State.PAUSED, SilenceAlarm.MUTED)
    assert everything() != before
    assert resume(stage.deployment, job).state is State.PAUSED
    assert everything() == before


def test_a_paused_schedule_keeps_everything_but_its_state(stage: FakeStage) -> None:
    before = stage.schedule()
    pause(stage.deployment, "cleanup")
    assert stage.schedule() == before | {"State": "DISABLED"}


def test_a_pause_mutes_the_silence_alarm_and_nothing_else(stage: FakeStage) -> None:
    before = dict(stage.alarms.composites["arcade-jobs-dev-prize-pool"])
    pause(stage.deployment, JOB)
    after = stage.alarms.composites["arcade-jobs-dev-prize-pool"]
    assert after == before | {"AlarmRule": before["AlarmRule"].replace("AND TRUE", "AND FALSE")}
    assert stage.alarms.puts == 1


def test_pausing_and_resuming_twice_is_as_once(stage: FakeStage) -> None:
    for switch, done in ((pause, (State.PAUSED, SilenceAlarm.MUTED)), (resume, (State.ON, SilenceAlarm.ACTIVE))):
        switch(stage.deployment, JOB)
        puts = stage.alarms.puts
        again = switch(stage.deployment, JOB)
        assert (again.state, again.silence_alarm) == done
        assert stage.alarms.puts == puts


def test_a_half_done_pause_is_finished_by_the_next(stage: FakeStage) -> None:
    client("events").disable_rule(Name=f"rule-{JOB}")
    assert pause(stage.deployment, JOB).silence_alarm is SilenceAlarm.ACTIVE
    assert read_schedule(stage.deployment, JOB).silence_alarm is SilenceAlarm.MUTED


def test_a_job_deployed_to_be_off_can_be_resumed_and_has_no_silence_alarm_to_mute(stage: FakeStage) -> None:
    assert pause(stage.deployment, "leaderboard").state is State.DISABLED
    resume(stage.deployment, "leaderboard")
    resumed = read_schedule(stage.deployment, "leaderboard")
    assert (resumed.state, resumed.silence_alarm, stage.alarms.puts) == (State.ON, SilenceAlarm.NONE, 0)


def test_a_refusal_of_aws_is_one_line(stage: FakeStage) -> None:
    client("events").delete_rule(Name=f"rule-{JOB}")
    with pytest.raises(ArcadeJobsError, match=r"^prize-pool: schedule: An error occurred .*ResourceNotFound[^\n]*$"):
        pause(stage.deployment, JOB)


def test_a_stack_of_an_older_version_is_named(stage: FakeStage) -> None:
    older = {name: value for name, value in stage.deployment.outputs.items() if name != "CleanupScheduleName"}
    deployment = Deployment(**{**vars(stage.deployment), "outputs": older})
    with pytest.raises(ArcadeJobsError, match="has no output CleanupScheduleName: deploy this version of it first"):
        read_schedule(deployment, "cleanup")


def test_the_commands_name_account_and_stack_before_they_show_what_they_did(command: Callable[..., Result]) -> None:
    paused = command("pause", JOB)
    assert paused.stderr == "account 123456789012, us-east-1, stack arcade-jobs-dev\n"
    assert paused.stdout == "prize-pool: was paused; its silence alarm is muted\n"
    assert command("pause", JOB).stdout == "prize-pool: is paused; its silence alarm is muted, as before\n"
    resumed = command("resume", JOB, "--json")
    assert json.loads(resumed.stdout)["before"] == {"schedule": "paused", "silence_alarm": "muted"}
    assert json.loads(resumed.stdout)["schedule"] == "on"
    assert command("resume", JOB).stdout == "prize-pool: is on; its silence alarm is active, as before\n"


@pytest.mark.parametrize("arguments", [["pause"], ["resume"], ["dead-letters", "list"], ["dead-letters", "redrive"]])
def test_a_name_of_no_job_is_refused_before_aws_is_called(arguments: list[str]) -> None:
    refused = CliRunner().invoke(app, [*arguments, "prizepool"])
    assert (
        str(refused.exception)
        == f"JOB: 'prizepool' is not a job; expected one of {', '.join(job.name for job in JOBS)}"
    )
