"""`arcade-jobs pause` and `resume`: two switches, each other's inverse."""

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from typer.testing import CliRunner, Result

from infra.cli.app import app
from infra.deployed.deployment import Deployment, DeploymentError
from infra.deployed.schedule import Silence, State, pause, read_schedule, resume
from tests.operator.operated import JOB, REGION, Operated


@pytest.mark.parametrize("job", ["prize-pool", "cleanup"])
def test_resume_undoes_pause_to_the_letter(operated: Operated, job: str) -> None:
    def everything() -> Any:
        return operated.rule(), operated.schedule(), {n: dict(a) for n, a in operated.alarms.composites.items()}

    before = everything()
    assert pause(operated.deployment, job).state is State.ON
    paused = read_schedule(operated.deployment, job)
    assert (paused.state, paused.silence) == (State.PAUSED, Silence.MUTED)
    assert everything() != before
    assert resume(operated.deployment, job).state is State.PAUSED
    assert everything() == before


def test_a_paused_schedule_keeps_everything_but_its_state(operated: Operated) -> None:
    before = operated.schedule()
    pause(operated.deployment, "cleanup")
    assert operated.schedule() == before | {"State": "DISABLED"}


def test_a_pause_mutes_silence_and_nothing_else(operated: Operated) -> None:
    before = dict(operated.alarms.composites["arcade-jobs-dev-prize-pool"])
    pause(operated.deployment, JOB)
    after = operated.alarms.composites["arcade-jobs-dev-prize-pool"]
    assert after == before | {"AlarmRule": before["AlarmRule"].replace("AND TRUE", "AND FALSE")}
    assert operated.alarms.puts == 1


def test_pausing_and_resuming_twice_is_as_once(operated: Operated) -> None:
    for switch, done in ((pause, (State.PAUSED, Silence.MUTED)), (resume, (State.ON, Silence.WATCHED))):
        switch(operated.deployment, JOB)
        puts = operated.alarms.puts
        again = switch(operated.deployment, JOB)
        assert (again.state, again.silence) == done
        assert operated.alarms.puts == puts


def test_a_half_done_pause_is_finished_by_the_next(operated: Operated) -> None:
    boto3.client("events", region_name=REGION).disable_rule(Name=f"rule-{JOB}")
    assert pause(operated.deployment, JOB).silence is Silence.WATCHED
    assert read_schedule(operated.deployment, JOB).silence is Silence.MUTED


def test_a_job_deployed_to_be_off_can_be_resumed_and_has_no_silence_to_mute(operated: Operated) -> None:
    assert pause(operated.deployment, "leaderboard").state is State.DISABLED
    resume(operated.deployment, "leaderboard")
    resumed = read_schedule(operated.deployment, "leaderboard")
    assert (resumed.state, resumed.silence, operated.alarms.puts) == (State.ON, Silence.UNWATCHED, 0)


def test_a_refusal_of_aws_is_one_line(operated: Operated) -> None:
    boto3.client("events", region_name=REGION).delete_rule(Name=f"rule-{JOB}")
    with pytest.raises(DeploymentError, match=r"^prize-pool: schedule: An error occurred .*ResourceNotFound[^\n]*$"):
        pause(operated.deployment, JOB)


def test_a_stack_of_an_older_version_is_named(operated: Operated) -> None:
    older = {name: value for name, value in operated.deployment.outputs.items() if name != "CleanupScheduleName"}
    deployment = Deployment(**{**vars(operated.deployment), "outputs": older})
    with pytest.raises(DeploymentError, match="has no output CleanupScheduleName: deploy this version of it first"):
        read_schedule(deployment, "cleanup")


def test_the_commands_name_account_and_stack_before_they_tell_what_they_did(command: Callable[..., Result]) -> None:
    paused = command("pause", JOB)
    assert paused.stderr == "account 123456789012, us-east-1, stack arcade-jobs-dev\n"
    assert paused.stdout == "prize-pool: was paused; its silence alarm is muted\n"
    assert command("pause", JOB).stdout == "prize-pool: is paused; its silence alarm is muted, as before\n"
    resumed = command("resume", JOB, "--json")
    assert json.loads(resumed.stdout)["before"] == {"schedule": "paused", "silence": "muted"}
    assert json.loads(resumed.stdout)["schedule"] == "on"
    assert command("resume", JOB).stdout == "prize-pool: is on; its silence alarm is heard, as before\n"


@pytest.mark.parametrize("words", [["pause"], ["resume"], ["dead-letters", "list"], ["dead-letters", "redrive"]])
def test_a_job_that_is_none_is_refused_before_anything_is_asked(words: list[str]) -> None:
    refused = CliRunner().invoke(app, [*words, "prizepool"])
    assert str(refused.exception) == "JOB: 'prizepool' is not a job; expected one of prize-pool, leaderboard, cleanup"
