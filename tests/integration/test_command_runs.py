"""`arcade-jobs trigger`, `history`, `show` and `stats`, on a deployed stage of fakes."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from infra.cli.options import Target, complete_run
from shared.domain.run import RunStatus
from shared.runs.pauses import PauseNote, Switched, write_pause_note
from shared.runs.record import RunRecord
from shared.runs.store import Attempt, RunStore
from tests.fakes import save_run
from tests.fakes.stage import JOB, NOW, REQUEST_ID, SLOT, FakeStage

Command = Callable[..., Result]


@pytest.fixture(autouse=True)
def _at_nine(stage: FakeStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.operations.deployment.Deployment.run_store", lambda _: stage.runs)


def a_run(run_id: str, status: RunStatus = RunStatus.SUCCEEDED, *, ago: timedelta = timedelta(hours=9)) -> RunRecord:
    started_at = NOW - ago
    return RunRecord(
        run_id=run_id,
        job=run_id.partition(":")[0],
        trigger="scheduled" if run_id.endswith("Z") else "manual",
        scheduled_at=started_at,
        status=status,
        attempt=1,
        started_at=started_at,
        finished_at=started_at + timedelta(seconds=2),
        deadline_at=started_at + timedelta(minutes=15),
        counts={"errors": 0},
        result={"errors": []},
    )


def save_hours(store: RunStore, *hours_ago: int) -> None:
    """Runs of the hourly job in its slots."""
    for ago in hours_ago:
        at = NOW - timedelta(hours=ago)
        save_run(store, a_run(f"leaderboard:{at:%Y-%m-%dT%H:%MZ}", ago=timedelta(hours=ago)))


def test_history_and_stats_without_a_run_say_so_and_what_to_type(command: Command) -> None:
    sentence = "no runs yet; arcade-jobs trigger prize-pool runs one\n"
    assert [command(name).output for name in ("history", "stats")] == [sentence] * 2
    assert command("history", "cleanup", "--stage", "prod", "--local").output == (
        "no runs of cleanup yet; arcade-jobs trigger cleanup --stage prod --local runs one\n"
    )
    assert "no such runs" in command("history", "--since", "7d").output
    assert json.loads(command("history", "--json").output) == json.loads(command("stats", "--json").output) == []


def test_history_is_of_a_status_and_since_a_date_an_instant_or_an_age(command: Command, stage: FakeStage) -> None:
    for n, status in enumerate([RunStatus.FAILED, RunStatus.SUCCEEDED, RunStatus.FAILED]):
        save_run(stage.runs, a_run(f"prize-pool:{n}", status, ago=timedelta(days=n, hours=1)))

    def listed(*arguments: str) -> list[str]:
        return [run["run_id"] for run in json.loads(command("history", "--json", *arguments).output)]

    assert listed() == ["prize-pool:0", "prize-pool:1", "prize-pool:2"]
    assert listed("--status", "failed") == ["prize-pool:0", "prize-pool:2"]
    assert listed("--since", "36h") == listed("--since", "2026-01-11") == ["prize-pool:0", "prize-pool:1"]
    assert listed("--since", "2026-01-12T09:00:00+01:00") == listed("--since", "60m") == ["prize-pool:0"]
    assert listed("--status", "failed", "--since", "7d", "--limit", "1") == ["prize-pool:0"]


def test_a_run_is_shown_by_the_beginning_of_its_id(command: Command, stage: FakeStage) -> None:
    save_run(stage.runs, a_run(f"prize-pool:{REQUEST_ID}"))
    save_run(stage.runs, a_run("cleanup:0f9"))
    for given in (f"prize-pool:{REQUEST_ID}", "prize-pool:0f1e2d3c", "0f1e", "prize"):
        assert f"prize-pool:{REQUEST_ID}: succeeded" in command("show", given).output
    assert "prize-pool:0f1e2d3c" in command("history").output
    ambiguous = command("show", "0f")
    assert str(ambiguous.exception).startswith("RUN_ID: '0f' begins 2 runs: ")
    assert f"prize-pool:{REQUEST_ID}" in str(ambiguous.exception)
    assert "cleanup:0f9" in str(ambiguous.exception)


def test_show_tells_of_an_attempt_that_failed_before_one_succeeded(command: Command, stage: FakeStage) -> None:
    record = a_run("prize-pool:2026-01-12T00:00Z")
    failed = replace(record, attempt=0, status=RunStatus.FAILED, result={"errors": [{"error": "\x1b[2Jno route"}]})
    first = stage.runs.start(replace(record, attempt=0, status=RunStatus.RUNNING, finished_at=None, result=None))
    stage.runs.finish(first, replace(failed, attempt=first.record.attempt))
    later = replace(record, attempt=0, started_at=record.started_at + timedelta(minutes=1))
    stage.runs.finish(Attempt(record=later), later)
    shown = command("show", record.run_id).output
    assert "succeeded, attempt 2" in shown
    assert "\\x1b[2Jno route" in shown  # it commands no terminal
    attempts = json.loads(command("show", record.run_id, "--json").output)["attempts"]
    assert [(each["number"], each["status"]) for each in attempts] == [(1, "failed"), (2, "succeeded")]


def test_stats_count_missed_slots_apart_from_runs_that_did_not_succeed(command: Command, stage: FakeStage) -> None:
    save_hours(stage.runs, 20, 19, 17, 16, 15, 14, 13, 12, 11, 9, 8, 7, 6, 5, 4, 3, 2)
    save_run(stage.runs, a_run("leaderboard:r1", RunStatus.PARTIAL, ago=timedelta(hours=1)))
    stage.deployment.outputs["LeaderboardIsEnabled"] = "true"  # type: ignore[index]
    [statistics] = json.loads(command("stats", "--json").output)
    assert (statistics["runs"], statistics["succeeded"], statistics["partial"]) == (18, 17, 1)
    missed = ["2026-01-11T15:00:00.000000Z", "2026-01-11T23:00:00.000000Z", "2026-01-12T08:00:00.000000Z"]
    assert (statistics["missed"], statistics["missed_slots"]) == (3, missed)
    assert (statistics["p50_ms"], statistics["p99_ms"]) == (2000, 2000)
    lines = command("stats").output
    assert "leaderboard missed 2026-01-12T08:00Z, 2026-01-11T23:00Z, 2026-01-11T15:00Z" in lines
    [recent] = json.loads(command("stats", "leaderboard", "--since", "12h", "--json").output)
    assert (recent["runs"], recent["missed"]) == (11, 2)


def test_slots_of_a_pause_are_not_missed(command: Command, stage: FakeStage) -> None:
    stage.deployment.outputs["LeaderboardIsEnabled"] = "true"  # type: ignore[index]
    save_hours(stage.runs, 5)
    for switched, ago in ((Switched.PAUSED, 4), (Switched.RESUMED, 2)):
        note = PauseNote(job="leaderboard", switched=switched, at=NOW - timedelta(hours=ago), actor="ada", reason=None)
        write_pause_note(stage.runs, note)
    [statistics] = json.loads(command("stats", "--json").output)
    assert statistics["missed_slots"] == ["2026-01-12T07:00:00.000000Z", "2026-01-12T08:00:00.000000Z"]


def test_show_has_the_log_on_request(command: Command, stage: FakeStage) -> None:
    record = a_run("prize-pool:2026-01-12T00:00Z")
    save_run(stage.runs, record)
    line = {"level": "INFO", "message": "pool settled", "run_id": record.run_id}
    stage.logs.add(record.started_at, line)
    assert "pool settled" in command("show", record.run_id, "--log").stdout
    assert "pool settled" not in command("show", record.run_id).stdout
    assert "--log: not with --json" in str(command("show", record.run_id, "--log", "--json").exception)


def test_a_job_that_was_deployed_to_be_off_misses_nothing(command: Command, stage: FakeStage) -> None:
    save_hours(stage.runs, 20)
    [statistics] = json.loads(command("stats", "--json").output)
    assert (statistics["missed"], statistics["missed_slots"]) == (None, None)


def test_an_asynchronous_trigger_prints_the_id_of_the_run_and_how_to_watch_it(command: Command) -> None:
    now = command("trigger", JOB, "--async", "--stage", "prod")
    assert now.stdout.splitlines() == [
        f"prize-pool:{REQUEST_ID}: queued",
        f"to watch it: arcade-jobs show prize-pool:{REQUEST_ID} --stage prod",
    ]
    assert "prize-pool:2026-01-12T00:00Z: queued" in command("trigger", JOB, "--async", "--at", SLOT).stdout
    dry = json.loads(command("trigger", JOB, "--async", "--at", SLOT, "--dry-run", "--json").stdout)
    assert dry["run_id"] == f"prize-pool:{REQUEST_ID}"  # a dry run represents no slot


def test_the_laptop_cloud_knows_the_id_of_a_queued_run_only_if_it_is_of_a_slot(
    command: Command, stage: FakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = replace(stage.deployment, endpoint="http://127.0.0.1:4566")
    monkeypatch.setattr(Target, "deployment", lambda _: local)
    assert command("trigger", JOB, "--async", "--local").stdout.splitlines() == [
        "prize-pool: queued",
        "to watch it: arcade-jobs history prize-pool --limit 1 --local",
    ]
    assert "prize-pool:2026-01-12T00:00Z: queued" in command("trigger", JOB, "--async", "--at", SLOT, "--local").stdout


@pytest.mark.parametrize(
    ("job", "at", "shown", "nearest"),
    [
        ("prize-pool", "2026-01-12T00:00:30Z", None, None),
        ("leaderboard", "2026-01-12T07:00:00Z", None, None),
        (
            "prize-pool",
            "2025-07-12T00:00:00Z",  # an hour after midnight in London
            "2025-07-12T00:00:00Z (0 0 * * *, Europe/London)",
            "2025-07-11T23:00:00Z and 2025-07-12T23:00:00Z",
        ),
        (
            "leaderboard",
            "2026-01-12T07:30:00+00:00",
            "2026-01-12T07:30:00Z (0 * * * *, UTC)",
            "2026-01-12T07:00:00Z and 2026-01-12T08:00:00Z",
        ),
    ],
)
def test_a_trigger_for_a_time_at_which_there_is_no_slot_is_warned_of_and_sent(
    command: Command, stage: FakeStage, job: str, at: str, shown: str | None, nearest: str | None
) -> None:
    sent = command("trigger", job, "--at", at, "--async")
    assert sent.exit_code == 0
    assert [line for line in sent.stderr.splitlines() if "warning" in line] == (
        [f"warning: --at: {job} has no slot at {shown}; the nearest are {nearest}"] if shown else []
    )
    assert stage.functions.received[0][1]["time"] == at


def test_a_trigger_prints_tables_and_exits_with_1_unless_it_succeeded(command: Command, stage: FakeStage) -> None:
    def behave(job: str, _: dict[str, Any]) -> dict[str, Any]:
        error = {"pool_id": 7, "game_type": "snake", "period_type": "daily", "period_date": "2026-01-11", "error": "no"}
        result = {"pools_finalized": 0, "errors": [error]}
        return a_run(f"{job}:{REQUEST_ID}", RunStatus.PARTIAL).to_json() | {"result": result}

    stage.functions.behave = behave
    triggered = command("trigger", JOB)
    assert triggered.exit_code == 1
    assert "pool 7" in triggered.stdout
    assert (
        "What to do: mend what the errors name, then run it again: arcade-jobs trigger prize-pool" in triggered.stdout
    )
    assert "{" not in triggered.stdout
    assert command("trigger", JOB, "--json").exit_code == 1


def test_the_ids_of_runs_complete_and_an_unreachable_stage_completes_nothing(
    command: Command, stage: FakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_hours(stage.runs, 2, 3)
    context: Any = type("Context", (), {"params": {"stage": "dev", "local": False, "run_id": None}})
    assert complete_run(context, "leaderboard:2026-01-12T07") == ["leaderboard:2026-01-12T07:00Z"]
    assert command("--show-completion").exit_code in {0, 1}  # 1 where the shell is unknown
    monkeypatch.undo()
    monkeypatch.setattr("infra.cli.options.FOLDER", Path("nowhere"))
    context.params["stage"] = "demo"
    assert complete_run(context, "") == []
    assert str(Target(stage="prod", region="eu-west-1", local=True)) == " --stage prod --region eu-west-1 --local"
