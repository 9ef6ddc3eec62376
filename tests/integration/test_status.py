"""`arcade-jobs status`: schedules, runs, dead letters and alarms together."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from typer.testing import Result

from infra.cli.status_tables import status_table
from infra.jobs import JOBS
from shared.domain.run import RunStatus
from shared.operations import status as status_module
from shared.operations.schedule import Schedule, SilenceAlarm, State, pause
from shared.operations.status import job_status, read_status
from shared.runs.record import RunRecord
from tests.fakes import save_run, scheduled_event
from tests.fakes.stage import JOB, NOW, SLOT, FakeStage


def run(
    run_id: str = "prize-pool:2026-01-12T00:00Z",
    status: RunStatus = RunStatus.SUCCEEDED,
    *,
    ago: timedelta = timedelta(hours=9),
    dry_run: bool = False,
) -> RunRecord:
    """A run that started so long before NOW; it took a minute, or is in its quarter of an hour."""
    started_at = NOW - ago
    is_open = status in {RunStatus.RUNNING, RunStatus.ABANDONED}
    return RunRecord(
        run_id=run_id,
        job=run_id.partition(":")[0],
        trigger="scheduled",
        scheduled_at=started_at,
        status=status,
        attempt=1,
        started_at=started_at,
        deadline_at=started_at + timedelta(minutes=15),
        finished_at=None if is_open else started_at + timedelta(minutes=1),
        dry_run=dry_run,
    )


ON = Schedule(job=JOB, state=State.ON, silence_alarm=SilenceAlarm.ACTIVE, expression="cron(0 0 * * ? *)", zone="UTC")


def status_of(runs: list[RunRecord], running: list[RunRecord] | None = None) -> Any:
    return job_status(ON, runs=runs, running=running or [], dead_letters=0, alarms=[], as_of=NOW)


def test_the_last_success_is_found_behind_failures_and_its_age_counts_from_its_end() -> None:
    failed, succeeded = run("prize-pool:b", RunStatus.FAILED, ago=timedelta(hours=1)), run("prize-pool:a")
    status = status_of([failed, succeeded])
    assert (status.last_run, status.last_success) == (failed, succeeded)
    assert status.last_success_age == timedelta(hours=8, minutes=59)


def test_a_dry_run_is_no_success_and_no_last_run() -> None:
    status = status_of([run(dry_run=True)])
    assert (status.last_run, status.last_success, status.last_success_age) == (None, None, None)


def test_what_was_abandoned_before_the_last_success_is_left_out() -> None:
    early = run("prize-pool:a", RunStatus.ABANDONED, ago=timedelta(hours=20))
    late = run("prize-pool:c", RunStatus.ABANDONED, ago=timedelta(hours=1))
    other = run("cleanup:a", RunStatus.RUNNING, ago=timedelta(minutes=1))
    assert status_of([late, run(), early], [late, other, early]).running == [late]


def test_the_status_of_a_stage_has_every_job(stage: FakeStage) -> None:
    stage.runs.start(run("prize-pool:r1", RunStatus.RUNNING, ago=timedelta(minutes=2)))
    save_run(stage.runs, run())
    stage.add_dead_letter(scheduled_event(SLOT))
    stage.alarms.raised = {"arcade-jobs-dev-prize-pool-dead-letters", "arcade-jobs-dev-dropped-events"}
    status = read_status(stage.deployment, [job.name for job in JOBS], now=NOW)
    jobs = {job.job: job.to_json() for job in status.jobs}
    assert list(jobs) == [job.name for job in JOBS]
    prize_pool, leaderboard, cleanup = (jobs[name] for name in (JOB, "leaderboard", "cleanup"))
    assert [found["run_id"] for found in prize_pool.pop("running")] == ["prize-pool:r1"]
    assert prize_pool.pop("last_run")["run_id"] == "prize-pool:r1"
    assert prize_pool.pop("last_success")["run_id"] == "prize-pool:2026-01-12T00:00Z"
    assert prize_pool == {
        "job": "prize-pool",
        "schedule": "on",
        "silence_alarm": "active",
        "expression": "cron(0 0 * * ? *)",
        "zone": "UTC",
        "last_success_age_seconds": 32340,
        "dead_letters": 1,
        "alarms": ["arcade-jobs-dev-prize-pool-dead-letters"],
    }
    assert (leaderboard["schedule"], leaderboard["silence_alarm"]) == ("disabled", "none")
    assert (cleanup["schedule"], cleanup["zone"], cleanup["last_run"]) == ("on", "Europe/London", None)
    assert status.alarms == ["arcade-jobs-dev-dropped-events"]


def test_a_success_is_found_however_many_runs_failed_after_it(
    stage: FakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_module, "RECENT", 3)
    save_run(stage.runs, run("leaderboard:first", ago=timedelta(days=10)))
    for hour in range(5):
        save_run(stage.runs, run(f"leaderboard:{hour}", RunStatus.FAILED, ago=timedelta(hours=hour)))
    status = read_status(stage.deployment, ["leaderboard"], now=NOW).jobs[0]
    assert status.last_success is not None
    assert status.last_success.run_id == "leaderboard:first"


@pytest.mark.parametrize("json_option", [[], ["--json"]])
def test_status_is_printed_and_exits_with_0_even_if_alarms_are_raised(
    stage: FakeStage, command: Callable[..., Result], json_option: list[str]
) -> None:
    stage.add_dead_letter("no event")
    stage.alarms.raised = {"arcade-jobs-dev-prize-pool-dead-letters", "arcade-jobs-dev-dropped-events"}
    pause(stage.deployment, "cleanup", now=NOW)
    result = command("status", *json_option)
    assert result.exit_code == 0, result.output
    if json_option:
        schedules = {job["job"]: job["schedule"] for job in json.loads(result.stdout)["jobs"]}
        assert (schedules[JOB], schedules["leaderboard"], schedules["cleanup"]) == ("on", "disabled", "paused")
    else:
        assert "paused" in result.stdout
        assert "silence alarm muted" in result.stdout
        assert "Europe/London" in result.stdout
        assert "Raised for all jobs: dropped-events" in result.stdout


def test_a_job_without_any_run_has_a_line_in_the_table(stage: FakeStage) -> None:
    status = read_status(stage.deployment, [job.name for job in JOBS], now=NOW)
    assert status_table(status, stack="arcade-jobs-dev").row_count == len(JOBS)
