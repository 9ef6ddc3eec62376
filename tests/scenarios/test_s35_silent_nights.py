"""S29 and S35: runs that succeed and leave what a person must know of. Each shows in a metric that has an alarm."""

import json
from typing import Any

import pytest
from sqlalchemy import event

from shared.app import App
from shared.runs.runner import RunNotSucceededError
from tests.arcade import Arcade
from tests.fakes import scheduled_event
from tests.jobs import invoke
from tests.sql import run

SLOT = scheduled_event("2026-01-12T00:00:00Z")
ALARMING = ("PoolsWithoutWinner", "EntriesPassedOver", "PoolsDueAfterRun", "PeriodsWithoutPool")


def published(output: str) -> list[dict[str, float]]:
    """The metrics of each run that alarms watch."""
    logs = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return [{name: sum(log[name]) for name in ALARMING} for log in logs if ALARMING[0] in log]


def warnings(result: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    return [
        (found["game_type"], found["period_type"], found["period_date"], found["warning"])
        for found in result["result"]["warnings"]
    ]


def add_misspelled_entry(arcade: Arcade, player: str, *, game: str) -> None:
    """An entry under another spelling of the player's address than its session has."""
    at = "2026-01-11T10:00:00Z"
    session_id = arcade.add_session(at, player=player.lower(), game=game, score=5, completed_at=at)
    arcade.add_unchecked_entry(session_id, 5, at, player=player, game=game)


def test_s35_a_night_on_which_all_is_well_publishes_zeros(
    app: App, arcade: Arcade, capsys: pytest.CaptureFixture[str]
) -> None:
    arcade.add_pool("2026-01-11")
    arcade.play("0xa", 5, "2026-01-11T10:00:00Z")
    invoke(app, "prize-pool", SLOT)
    assert published(capsys.readouterr().out) == [dict.fromkeys(ALARMING, 0)]


def test_s29_a_night_of_addresses_in_another_case_is_no_silent_success(
    app: App, arcade: Arcade, capsys: pytest.CaptureFixture[str]
) -> None:
    for game in ("pong", "snake"):
        arcade.add_pool("2026-01-11", game=game)
        for player in ("0xABC", "0xDEF"):
            add_misspelled_entry(arcade, player, game=game)
    assert invoke(app, "prize-pool", SLOT)["status"] == "succeeded"
    assert published(capsys.readouterr().out) == [
        {"PoolsWithoutWinner": 2, "EntriesPassedOver": 4, "PoolsDueAfterRun": 0, "PeriodsWithoutPool": 0}
    ]


def test_s35_entries_are_counted_as_passed_over_although_a_valid_one_wins_and_by_one_run_alone(
    app: App, arcade: Arcade, capsys: pytest.CaptureFixture[str]
) -> None:
    arcade.add_pool("2026-01-11")
    add_misspelled_entry(arcade, "0xABC", game="pong")
    arcade.play("0xa", 4, "2026-01-11T10:00:00Z")
    invoke(app, "prize-pool", SLOT)
    invoke(app, "prize-pool", {})
    assert [found["EntriesPassedOver"] for found in published(capsys.readouterr().out)] == [1, 0]


def test_s35_a_pool_that_is_due_after_the_run_is_counted_and_named(
    app: App, arcade: Arcade, capsys: pytest.CaptureFixture[str]
) -> None:
    arcade.add_pool("2026-01-11")

    def open_another(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "FOR UPDATE" in statement:
            arcade.add_pool("2026-01-11", game="snake")

    event.listen(app.engine, "before_cursor_execute", open_another)
    result = invoke(app, "prize-pool", SLOT)
    assert result["status"] == "succeeded"
    assert ("snake", "daily", "2026-01-11", "due after the run: opened meanwhile, or hidden") in warnings(result)
    assert [found["PoolsDueAfterRun"] for found in published(capsys.readouterr().out)] == [1]


def test_s35_a_pool_whose_failure_is_reported_and_retried_is_not_counted_as_unnoticed(
    app: App, arcade: Arcade, capsys: pytest.CaptureFixture[str]
) -> None:
    arcade.add_pool("2026-01-11")
    run(arcade.engine, "ALTER TABLE prize_pools ADD CONSTRAINT poison CHECK (status = 'active') NOT VALID")
    with pytest.raises(RunNotSucceededError):
        invoke(app, "prize-pool", SLOT)
    assert [found["PoolsDueAfterRun"] for found in published(capsys.readouterr().out)] == [0]


def test_s35_a_settlement_that_the_database_suppresses_is_an_error(app: App, arcade: Arcade) -> None:
    pool_id = arcade.add_pool("2026-01-11")
    run(
        arcade.engine,
        "CREATE FUNCTION suppress() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER suppress BEFORE UPDATE ON prize_pools FOR EACH ROW EXECUTE FUNCTION suppress()",
    )
    with pytest.raises(RunNotSucceededError, match=f"prize pool {pool_id} could not be marked"):
        invoke(app, "prize-pool", SLOT)


def test_s35_a_period_that_was_played_and_has_no_pool_is_counted_and_named(
    app: App, arcade: Arcade, capsys: pytest.CaptureFixture[str]
) -> None:
    arcade.add_pool("2025-12-01", period="weekly", game="snake")
    for day in ("2026-01-04", "2026-01-05", "2026-01-10", "2026-01-11", "2026-01-12"):  # of the first, eight days ago
        arcade.play("0xa", 5, f"{day}T00:00:00Z", periods=("daily", "weekly", "alltime"))
        arcade.play("0xa", 5, f"{day}T00:00:00Z", game="snake", periods=("daily", "weekly", "alltime"))
    run(arcade.engine, "DELETE FROM leaderboard_touches WHERE period_date = '2026-01-11'")
    invoke(app, "leaderboard", {})
    run(arcade.engine, "INSERT INTO leaderboard_touches VALUES ('pong', 'daily', '2026-01-11')")  # not ranked yet
    arcade.add_pool("2026-01-10")
    capsys.readouterr()
    result = invoke(app, "prize-pool", SLOT)
    lacking = [found[:3] for found in warnings(result) if found[3] == "played, and ended without a pool"]
    assert lacking == [
        ("pong", "daily", "2026-01-05"),
        ("snake", "weekly", "2026-01-05"),  # snake has had weekly pools, pong has not
        ("pong", "daily", "2026-01-11"),
    ]
    assert [found["PeriodsWithoutPool"] for found in published(capsys.readouterr().out)] == [3]


def test_s35_a_dry_run_publishes_none(app: App, arcade: Arcade, capsys: pytest.CaptureFixture[str]) -> None:
    arcade.add_pool("2026-01-11")
    invoke(app, "prize-pool", {"dry_run": True})
    assert published(capsys.readouterr().out) == []
