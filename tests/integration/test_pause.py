"""`arcade-jobs pause` and `resume`: two switches, each other's inverse."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from typer.testing import CliRunner, Result

from infra.cli.app import app
from infra.jobs import JOBS
from shared.domain.errors import ArcadeJobsError, BadInputError
from shared.domain.run import RunStatus
from shared.operations.deployment import Deployment
from shared.operations.schedule import SilenceAlarm, State, pause, read_schedule, resume
from shared.runs.pauses import PauseNote, Switched, current_pause, list_pause_notes, paused_spans
from shared.runs.record import RunRecord
from tests.fakes import save_run
from tests.fakes.stage import JOB, NOW, FakeStage, client

AN_HOUR = timedelta(hours=1)


@pytest.mark.parametrize("job", ["prize-pool", "cleanup"])
def test_resume_reverses_pause_exactly(stage: FakeStage, job: str) -> None:
    def everything() -> Any:
        return stage.rule(), stage.schedule(), {n: dict(a) for n, a in stage.alarms.composites.items()}

    before = everything()
    assert pause(stage.deployment, job, now=NOW).before.state is State.ON
    paused = read_schedule(stage.deployment, job)
    assert (paused.state, paused.silence_alarm) == (State.PAUSED, SilenceAlarm.MUTED)
    assert everything() != before
    assert resume(stage.deployment, job, now=NOW).before.state is State.PAUSED
    assert everything() == before


def test_a_paused_schedule_keeps_everything_but_its_state(stage: FakeStage) -> None:
    before = stage.schedule()
    pause(stage.deployment, "cleanup", now=NOW)
    assert stage.schedule() == before | {"State": "DISABLED"}


def test_a_pause_mutes_the_silence_alarm_and_nothing_else(stage: FakeStage) -> None:
    before = dict(stage.alarms.composites["arcade-jobs-dev-prize-pool"])
    pause(stage.deployment, JOB, now=NOW)
    after = stage.alarms.composites["arcade-jobs-dev-prize-pool"]
    assert after == before | {"AlarmRule": before["AlarmRule"].replace("AND TRUE", "AND FALSE")}
    assert stage.alarms.puts == 1


def test_pausing_and_resuming_twice_is_as_once(stage: FakeStage) -> None:
    for switch, done in ((pause, (State.PAUSED, SilenceAlarm.MUTED)), (resume, (State.ON, SilenceAlarm.ACTIVE))):
        switch(stage.deployment, JOB, now=NOW)
        puts = stage.alarms.puts
        again = switch(stage.deployment, JOB, now=NOW).before
        assert (again.state, again.silence_alarm) == done
        assert stage.alarms.puts == puts


def test_a_half_done_pause_is_finished_by_the_next(stage: FakeStage) -> None:
    client("events").disable_rule(Name=f"rule-{JOB}")
    assert pause(stage.deployment, JOB, now=NOW).before.silence_alarm is SilenceAlarm.ACTIVE
    assert read_schedule(stage.deployment, JOB).silence_alarm is SilenceAlarm.MUTED


def test_a_job_deployed_to_be_off_can_be_resumed_and_has_no_silence_alarm_to_mute(stage: FakeStage) -> None:
    assert pause(stage.deployment, "leaderboard", now=NOW).before.state is State.DISABLED
    resume(stage.deployment, "leaderboard", now=NOW)
    resumed = read_schedule(stage.deployment, "leaderboard")
    assert (resumed.state, resumed.silence_alarm, stage.alarms.puts) == (State.ON, SilenceAlarm.NONE, 0)


def test_a_refusal_of_aws_is_one_line(stage: FakeStage) -> None:
    client("events").delete_rule(Name=f"rule-{JOB}")
    with pytest.raises(ArcadeJobsError, match=r"^prize-pool: schedule: An error occurred .*ResourceNotFound[^\n]*$"):
        pause(stage.deployment, JOB, now=NOW)


def test_a_stack_of_an_older_version_is_named(stage: FakeStage) -> None:
    older = {name: value for name, value in stage.deployment.outputs.items() if name != "CleanupScheduleName"}
    deployment = Deployment(**{**vars(stage.deployment), "outputs": older})
    with pytest.raises(ArcadeJobsError, match="has no output CleanupScheduleName: deploy this version of it first"):
        read_schedule(deployment, "cleanup")


def test_the_commands_name_account_and_stack_before_they_show_what_they_did(command: Callable[..., Result]) -> None:
    paused = command("pause", JOB)
    assert paused.stderr.splitlines() == [
        "account 123456789012, us-east-1, stack arcade-jobs-dev",
        "no --reason: whoever is on call next will not know why; pause again with one",
    ]
    by = "noted: by arn:aws:iam::123456789012:user/operator"
    assert paused.stdout == f"prize-pool: was paused; its silence alarm is muted; {by}\n"
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


def test_who_paused_and_why_is_noted_and_kept_while_it_is_paused_again(stage: FakeStage) -> None:
    first = pause(stage.deployment, JOB, reason=" the database moves ", now=NOW).note
    assert first == PauseNote(
        job=JOB, switched=Switched.PAUSED, at=NOW, actor=stage.deployment.caller, reason="the database moves"
    )
    assert pause(stage.deployment, JOB, now=NOW + AN_HOUR).note is None
    assert current_pause(list_pause_notes(stage.runs, JOB)) == first
    pause(stage.deployment, JOB, reason="it takes longer", now=NOW + 2 * AN_HOUR)
    assert current_pause(list_pause_notes(stage.runs, JOB)) == replace(first, reason="it takes longer")
    assert resume(stage.deployment, JOB, now=NOW + 3 * AN_HOUR).note is not None
    assert current_pause(list_pause_notes(stage.runs, JOB)) is None


def test_the_notes_are_in_no_list_of_runs(stage: FakeStage) -> None:
    note = pause(stage.deployment, JOB, now=NOW).note
    assert note is not None
    store = stage.runs
    assert (store.list_runs(), store.list_runs(JOB), list(store.list_ends()), store.list_running()) == ([], [], [], [])
    assert store.get(note.to_attributes()["run_id"]) is None
    assert list(list_pause_notes(store, "cleanup")) == []


def test_paused_time_is_cut_to_what_is_asked_for(stage: FakeStage) -> None:
    for hours, switch in enumerate((pause, pause, resume, pause, resume, resume, pause)):
        switch(stage.deployment, JOB, reason=f"{hours}", now=NOW + hours * AN_HOUR)

    def hours_paused(since: float, now: float) -> list[tuple[float, float]]:
        found = paused_spans(stage.runs, JOB, NOW + since * AN_HOUR, NOW + now * AN_HOUR)
        return [((begin - NOW) / AN_HOUR, (end - NOW) / AN_HOUR) for begin, end in found]

    assert hours_paused(-1, 9) == [(0, 2), (3, 4), (6, 9)]
    assert hours_paused(1, 3.5) == [(1, 2), (3, 3.5)]
    assert hours_paused(4, 6) == []
    assert paused_spans(stage.runs, "cleanup", NOW, NOW + AN_HOUR) == []


def test_slots_of_paused_time_are_not_missed(stage: FakeStage, command: Callable[..., Result]) -> None:
    now = datetime.now(UTC)
    slot = (now - timedelta(days=5)).replace(hour=0, minute=0, second=0, microsecond=0)
    first = RunRecord(
        run_id=f"prize-pool:{slot:%Y-%m-%dT%H:%MZ}",
        job=JOB,
        trigger="scheduled",
        scheduled_at=slot,
        status=RunStatus.SUCCEEDED,
        attempt=1,
        started_at=slot,
        finished_at=slot,
        deadline_at=slot,
    )
    save_run(stage.runs, first)

    def missed() -> int:
        [statistics] = json.loads(command("stats", JOB, "--json").stdout)
        return len(statistics["missed"]) if isinstance(statistics["missed"], list) else statistics["missed"]

    before = missed()
    pause(stage.deployment, JOB, now=slot + timedelta(hours=1))
    resume(stage.deployment, JOB, now=slot + timedelta(days=2, hours=1))
    assert (before - missed(), before) in {(2, 4), (2, 5)}


def test_notes_that_fill_more_than_a_page_are_all_read(stage: FakeStage) -> None:
    for number in range(5):
        pause(stage.deployment, JOB, reason=f"{number}", now=NOW + number * AN_HOUR)
    client = PagedClient(stage.runs.client)
    notes = list(list_pause_notes(replace(stage.runs, client=cast("Any", client)), JOB))
    assert [note.reason for note in notes] == [str(number) for number in reversed(range(5))]


class PagedClient:
    """A client whose pages are short."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def query(self, **request: Any) -> Any:
        return self._client.query(**request, Limit=2)


def test_a_table_that_cannot_be_reached_stops_neither_pause_nor_resume(stage: FakeStage) -> None:
    gone = replace(stage.deployment, outputs={**stage.deployment.outputs, "RunsTableName": "gone"})
    assert "ResourceNotFoundException" in (pause(gone, JOB, now=NOW).not_noted or "")
    assert read_schedule(gone, JOB).state is State.PAUSED
    assert resume(gone, JOB, now=NOW).before.state is State.PAUSED
    assert read_schedule(gone, JOB).state is State.ON
    pause(stage.deployment, JOB, now=NOW)
    resume(gone, JOB, now=NOW)
    later = resume(stage.deployment, JOB, now=NOW + AN_HOUR)
    assert later.note is not None, "the next resume notes what the last could not"


@pytest.mark.parametrize("name", ["pause", "resume"])
@pytest.mark.parametrize(
    ("reason", "message"),
    [
        (" ", "--reason: empty; say why, or leave it out"),
        ("x" * 501, "--reason: 501 characters are too many; at most 500"),
        ("a\nb", r"--reason: 'a\nb' has characters that do not print"),
    ],
)
def test_a_reason_that_cannot_be_shown_is_refused_and_nothing_is_changed(
    stage: FakeStage, command: Callable[..., Result], name: str, reason: str, message: str
) -> None:
    refused = command(name, JOB, "--reason", reason)
    assert (type(refused.exception), str(refused.exception)) == (BadInputError, message)
    assert read_schedule(stage.deployment, JOB).state is State.ON


def test_the_reason_is_shown_and_printed_as_json(command: Callable[..., Result]) -> None:
    paused = command("pause", JOB, "--reason", "moving")
    assert paused.stdout.endswith("; noted: by arn:aws:iam::123456789012:user/operator: moving\n")
    note = json.loads(command("resume", JOB, "--reason", "moved", "--json").stdout)["note"]
    assert (note["actor"], note["reason"]) == ("arn:aws:iam::123456789012:user/operator", "moved")
