"""`arcade-jobs logs`: the lines of one run, of every attempt, and of no other."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from typer.testing import Result

from infra.deployed.logs import follow_log, read_log, window
from shared.domain.errors import ArcadeJobsError, BadInputError, NotReachableError
from shared.domain.run import RunStatus
from shared.runs.record import AttemptRecord, RunRecord
from tests.fakes import FakeClock, save_run
from tests.fakes.stage import JOB, NOW, FakeStage

RUN_ID = f"{JOB}:2026-01-12T00:00Z"
SECOND = timedelta(seconds=1)
TRACEBACK = 'Traceback (most recent call last):\n  File "a.py", line 1\nKeyError: 1'


def record(status: RunStatus = RunStatus.SUCCEEDED, **more: Any) -> RunRecord:
    fields: dict[str, Any] = {
        "run_id": RUN_ID,
        "job": JOB,
        "trigger": "scheduled",
        "scheduled_at": NOW,
        "status": status,
        "attempt": 1,
        "started_at": NOW,
        "deadline_at": NOW + timedelta(minutes=15),
        "finished_at": None if status is RunStatus.RUNNING else NOW + 10 * SECOND,
    }
    return RunRecord(**fields | more)


def line(message: str, *, run_id: str = RUN_ID, request: str = "r-1", level: str = "INFO", **more: Any) -> Any:
    """What a function writes."""
    return {"level": level, "message": message, "run_id": run_id, "job": JOB, "function_request_id": request} | more


@pytest.fixture
def logged(stage: FakeStage) -> FakeStage:
    """A stage with the log of a run whose first attempt failed and whose second was killed, and of others."""
    log = stage.logs
    log.add(NOW, {"type": "platform.start", "record": {"requestId": "r-1"}})
    log.add(NOW, line("run started", attempt=1, timestamp="2026-01-12 09:00:00,250+0000"))
    log.add(NOW, line("run started", run_id=f"{JOB}:2026-01-11T00:00Z", request="r-0"))
    log.add(NOW + SECOND, line("run failed", level="ERROR", exception=TRACEBACK))
    log.add(NOW + SECOND, line("", _aws={}))
    log.add(NOW + SECOND, {"type": "platform.report", "record": {"requestId": "r-1", "status": "success"}})
    log.add(NOW + 2 * SECOND, line("run started", attempt=2, request="r-2"))
    log.add(NOW + 3 * SECOND, {"type": "platform.report", "record": {"requestId": "r-2", "status": "timeout"}})
    log.add(NOW + 3 * SECOND, {"type": "platform.report", "record": {"requestId": "r-0", "status": "timeout"}})
    log.add(NOW - timedelta(days=1), line("long ago"))
    log.add(NOW, line("of another job"), group="log-cleanup")
    save_run(stage.runs, record())
    return stage


def test_the_lines_of_all_attempts_are_found_and_no_others(logged: FakeStage) -> None:
    found = read_log(logged.deployment, record(), now=NOW)
    shown = [(each.level, each.message) for each in found if not each.is_for_programs]
    assert shown == [
        ("INFO", "run started"),
        ("ERROR", "run failed"),
        ("INFO", "run started"),
        ("ERROR", "platform.report: timeout"),
    ]
    assert len(found) == len(shown) + 3


def test_readable_lines_have_time_level_message_and_traceback(
    logged: FakeStage, command: Callable[..., Result]
) -> None:
    assert logged.logs.events
    assert command("logs", RUN_ID).stdout.splitlines() == [
        "2026-01-12 09:00:00.250 INFO    run started  attempt=1",
        "2026-01-12 09:00:01.000 ERROR   run failed",
        "    Traceback (most recent call last):",
        '      File "a.py", line 1',
        "    KeyError: 1",
        "2026-01-12 09:00:02.000 INFO    run started  attempt=2",
        "2026-01-12 09:00:03.000 ERROR   platform.report: timeout",
    ]


def test_show_prints_the_log_below_the_run(logged: FakeStage, command: Callable[..., Result]) -> None:
    assert logged.logs.events
    assert "ERROR   run failed" not in command("show", RUN_ID).stdout
    assert "2026-01-12 09:00:01.000 ERROR   run failed" in command("show", RUN_ID, "--log").stdout
    assert isinstance(command("show", RUN_ID, "--log", "--json").exception, BadInputError)


def test_json_prints_the_lines_as_they_are(logged: FakeStage, command: Callable[..., Result]) -> None:
    lines = [json.loads(raw) for raw in command("logs", RUN_ID, "--json").stdout.splitlines()]
    raw = [json.loads(event["message"]) for event in logged.logs.events]
    assert len(lines) == 7
    assert all(each in raw for each in lines)


def test_text_of_an_event_commands_no_terminal(stage: FakeStage, command: Callable[..., Result]) -> None:
    stage.logs.add(NOW, line("a\x1b[2Jb\nc", reason="\x9b"))
    save_run(stage.runs, record())
    assert command("logs", RUN_ID).stdout.splitlines() == [r"2026-01-12 09:00:00.000 INFO    a\x1b[2Jb\nc  reason=\x9b"]


def test_a_run_without_lines_says_so(stage: FakeStage, command: Callable[..., Result]) -> None:
    save_run(stage.runs, record())
    empty = command("logs", RUN_ID)
    assert (empty.stdout, empty.exit_code) == ("", 0)
    assert empty.stderr.startswith(f"{RUN_ID}: no line yet, or none any more")


def test_a_run_is_followed_until_it_has_ended(stage: FakeStage) -> None:
    clock = FakeClock(now=NOW)
    running = record(RunStatus.RUNNING)
    stage.runs.start(running)

    def work(seconds: float) -> None:
        clock.sleep(seconds)
        match len(clock.slept):
            case 1:
                stage.logs.add(clock.now, line("run started"))
            case 2:
                save_run(stage.runs, record(finished_at=clock.now))
            case 3:
                stage.logs.add(clock.now, line("run succeeded"))

    found = list(follow_log(stage.deployment, running, clock=clock, sleep=work))
    assert [each.message for each in found] == ["run started", "run succeeded"]
    assert 4 <= len(clock.slept) <= 6


def test_the_invocations_of_many_attempts_are_asked_for_in_patterns_that_cloudwatch_takes(stage: FakeStage) -> None:
    requests = [f"{number:08}-210f-42f3-8fdb-7198a056bd02" for number in range(12)]
    for request in requests:
        stage.logs.add(NOW, line("run started", request=request))
        stage.logs.add(NOW, {"type": "platform.report", "record": {"requestId": request, "status": "timeout"}})
    found = read_log(stage.deployment, record(), now=NOW)
    assert [each.message for each in found].count("platform.report: timeout") == len(requests)
    assert max(map(len, stage.logs.patterns)) <= 1024


def test_the_window_holds_every_attempt() -> None:
    attempts = tuple(
        AttemptRecord(number=number, started_at=NOW + number * SECOND, deadline_at=NOW) for number in (1, 2)
    )
    minute, now = timedelta(minutes=1), NOW + timedelta(days=1)
    later = NOW + timedelta(hours=2)
    assert window(record(attempt=2, attempts=attempts, started_at=NOW + 2 * SECOND), now) == (
        NOW + SECOND - minute,
        NOW + 10 * SECOND + minute,
    )
    of_before = replace(record(attempt=3), started_at=later, finished_at=later + SECOND)
    assert window(of_before, now) == (NOW - minute, later + SECOND + minute)
    assert window(record(RunStatus.RUNNING), NOW)[1] == NOW + minute


def test_an_unknown_run_and_a_log_that_is_gone_are_one_line(stage: FakeStage, command: Callable[..., Result]) -> None:
    assert isinstance(command("logs", "nix").exception, ArcadeJobsError)
    older = replace(stage.deployment, outputs={"RunsTableName": "runs"})
    with pytest.raises(NotReachableError, match="has no output PrizePoolLogGroupName: deploy this version of it"):
        read_log(older, record(), now=NOW)
