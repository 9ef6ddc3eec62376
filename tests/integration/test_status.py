"""`arcade-jobs status`: schedules, runs, dead letters and alarms together."""

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from rich.console import Console
from rich.live import Live
from typer.testing import Result

from infra.cli import schedules
from infra.cli.options import Target
from infra.cli.status_tables import status_lines, status_table
from infra.cli.terminal import out
from infra.deployed.pools import OpenPools
from infra.jobs import JOBS
from shared.domain.errors import BadInputError, NotReachableError
from shared.domain.run import RunStatus
from shared.domain.tick import Trigger
from shared.operations import status as status_module
from shared.operations.schedule import Schedule, SilenceAlarm, State, pause
from shared.operations.status import Status, job_status, read_status
from shared.runs.record import RunRecord
from tests.arcade import Arcade
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
    return job_status(
        ON,
        function="f",
        pause=None,
        next_fire=None,
        silent_after=timedelta(hours=28),
        runs=runs,
        running=running or [],
        dead_letters=0,
        alarms=[],
        as_of=NOW,
    )


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
        "function": "prize-pool",
        "pause": None,
        "next_fire": "2026-01-13T00:00:00.000000Z",
        "last_success_age_seconds": 32340,
        "silence_seconds": 32400,
        "silent_after_seconds": 100800,
        "is_silent": False,
        "dead_letters": 1,
        "alarms": ["arcade-jobs-dev-prize-pool-dead-letters"],
    }
    assert (leaderboard["schedule"], leaderboard["silence_alarm"]) == ("disabled", "none")
    assert (leaderboard["next_fire"], leaderboard["silent_after_seconds"]) == (None, None)
    assert (cleanup["schedule"], cleanup["zone"], cleanup["last_run"]) == ("on", "Europe/London", None)
    assert (cleanup["next_fire"], cleanup["is_silent"]) == ("2026-01-13T03:00:00.000000Z", True)
    assert status.dashboard == (
        "https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1#dashboards/dashboard/arcade-jobs-dev"
    )
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
    pause(stage.deployment, "cleanup", reason="the database moves", now=NOW)
    result = command("status", *json_option)
    assert result.exit_code == 0, result.output
    if json_option:
        schedules = {job["job"]: job["schedule"] for job in json.loads(result.stdout)["jobs"]}
        assert (schedules[JOB], schedules["leaderboard"], schedules["cleanup"]) == ("on", "disabled", "paused")
        [cleanup] = [job for job in json.loads(result.stdout)["jobs"] if job["job"] == "cleanup"]
        assert cleanup["pause"] == {
            "at": "2026-01-12T09:00:00.000000Z",
            "actor": "arn:aws:iam::123456789012:user/operator",
            "reason": "the database moves",
        }
        assert json.loads(result.stdout)["pools"] == {"unknown": "set DATABASE_URL"}
    else:
        assert "paused" in result.stdout
        assert "by user/operator" in result.stdout
        assert "the database moves" in result.stdout
        assert "silence alarm muted" in result.stdout
        assert "raised for all jobs: dropped-events" in result.stdout
        assert "pools      unknown: set DATABASE_URL" in result.stdout


def test_a_job_without_any_run_has_a_line_in_the_table(stage: FakeStage) -> None:
    status = read_status(stage.deployment, [job.name for job in JOBS], now=NOW)
    assert status_table(status, stack="arcade-jobs-dev").row_count == len(JOBS)


def test_the_silence_is_counted_from_the_slot_as_the_alarm_does() -> None:
    """A run for a slot of long ago does not end it."""
    back_dated = replace(run(ago=timedelta(hours=1)), scheduled_at=NOW - timedelta(days=9))
    status = status_of([back_dated, run("prize-pool:a", ago=timedelta(hours=29))])
    assert (status.silence, status.is_silent) == (timedelta(hours=29), True)
    assert status_of([run(ago=timedelta(hours=28))]).is_silent is False
    assert (status_of([]).silence, status_of([]).is_silent) == (None, True)


def test_the_next_fire_follows_the_clocks_of_the_zone(stage: FakeStage) -> None:
    summer = read_status(stage.deployment, ["cleanup"], now=datetime(2026, 7, 1, 12, tzinfo=UTC)).jobs[0]
    assert summer.next_fire == datetime(2026, 7, 2, 2, tzinfo=UTC)
    assert "Europe/London, in 14 h" in drawn(Status(jobs=[summer], alarms=[], dashboard="d"))


@pytest.mark.parametrize(
    ("trigger", "needs_you"),
    [(Trigger.MANUAL, "a run by hand partial"), (Trigger.SCHEDULED, "nothing")],
)
def test_a_run_that_nothing_retries_needs_a_person(trigger: Trigger, needs_you: str) -> None:
    partial = replace(run(status=RunStatus.PARTIAL, ago=timedelta(hours=1)), trigger=str(trigger))
    shown = drawn(
        Status(jobs=[status_of([partial, run("prize-pool:a", ago=timedelta(hours=2))])], alarms=[], dashboard="d")
    )
    assert needs_you in shown


def text_of(shown: Any, *, width: int = 80) -> str:
    console = Console(width=width, record=True, file=StringIO())
    console.print(shown)
    return console.export_text()


def drawn(status: Status, pools: OpenPools | str = "no way", *, width: int = 80) -> str:
    console = Console(width=width, record=True, file=StringIO())
    console.print(status_table(status, stack="arcade-jobs-dev"))
    for line in status_lines(status, pools, stack="arcade-jobs-dev"):
        console.print(line, soft_wrap=True)
    return console.export_text()


@pytest.mark.parametrize("width", [80, 120])
def test_the_worst_night_is_whole_at_any_width(stage: FakeStage, width: int) -> None:
    stage.alarms.raised = {
        f"arcade-jobs-dev-{job.name}-{alarm}" for job in JOBS for alarm in ("errors", "dead-letters", "silence")
    }
    pause(stage.deployment, "cleanup", reason="why " * 100, now=NOW - timedelta(days=40))
    for number in range(3):
        stage.runs.start(run(f"prize-pool:{number}", RunStatus.RUNNING, ago=timedelta(minutes=number)))
    for job in JOBS:
        stage.add_dead_letter(scheduled_event(SLOT), job=job.name)
    pools = OpenPools(due=1_000, unpaid=2_000, unpaid_usdc=Decimal("123456789012.123456"), oldest_unpaid_at=NOW)
    shown = drawn(read_status(stage.deployment, [job.name for job in JOBS], now=NOW), pools, width=width)
    table = shown.partition("\npools")[0]
    assert max(map(len, table.splitlines())) <= width
    assert "…" not in shown
    for words in ("paused 40 d ago", "by user/operator", "alarm dead-letters", "1 dead letter", "abandoned 2 min ago"):
        assert words in table
    assert "pools      1,000 due, 2,000 unpaid (123,456,789,012.123456 USDC, the oldest settled" in shown


def test_pools_that_nobody_can_count_do_not_hide_the_rest(
    command: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://jobs@127.0.0.1:1/arcade?connect_timeout=1")
    status = command("status")
    assert status.exit_code == 0, status.output
    assert re.search("^pools      unknown: the platform's database: .*$", status.stdout, re.MULTILINE)


def test_pools_are_counted_where_the_database_can_be_read(
    command: Callable[..., Result], arcade: Arcade, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", arcade.engine.url.render_as_string(hide_password=False))
    arcade.add_pool("2026-01-11", amount="0.7")
    assert "pools      1 due, none unpaid" in command("status").stdout
    assert json.loads(command("status", "--json").stdout)["pools"]["due"] == 1


def test_a_status_is_watched_until_it_is_interrupted(
    command: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []
    seen: list[str] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            raise KeyboardInterrupt

    def read_or_not(_: Target) -> Status:
        if len(looks) == 1:
            raise NotReachableError("no way")
        return Status(jobs=[status_of([run()])], alarms=[], dashboard="d")

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(Live, "update", lambda _, shown, **_kw: seen.append(text_of(shown)))
    monkeypatch.setattr(schedules, "_read_status", read_or_not)
    monkeypatch.setattr(out, "_force_terminal", True)
    watched = command("status", "--watch", "--every", "2")
    assert (watched.exit_code, looks) == (0, [2, 2, 2])
    assert ["no way" in look for look in seen] == [False, True, False]
    assert all("succeeded 9 h ago" in look for look in seen), "what was seen last stays"


@pytest.mark.parametrize("more", [["--json"], []])
def test_what_is_no_terminal_is_not_watched(command: Callable[..., Result], more: list[str]) -> None:
    refused = command("status", "--watch", *more)
    assert isinstance(refused.exception, BadInputError)
    assert str(refused.exception) == "--watch: for a terminal; leave it out with --json and in a pipe"
