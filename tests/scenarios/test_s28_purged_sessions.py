"""S28: the platform purges old completed sessions; boards are not emptied by it, and settled ones lose nothing."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from shared.app import App
from shared.runs.runner import RunNotSucceededError
from shared.services import cleanup
from tests.arcade import Arcade
from tests.fakes import scheduled_event
from tests.jobs import StartApp, invoke
from tests.sql import rows, run

LONG_AGO = "2026-01-01T10:00:00Z"
PURGE = "DELETE FROM game_sessions WHERE score <= {most}"  # plays of `play_many`: the player's number is the score
UNNOTICED = "SET session_replication_role = replica; "
Clean = Callable[..., dict[str, Any]]


@pytest.fixture
def clean(app: App) -> Clean:
    return lambda **event: invoke(app, "cleanup", event)


def entries(engine: Engine) -> int:
    return int(rows(engine, "SELECT count(*) FROM leaderboard_entries")[0][0])


def candidates(engine: Engine) -> int:
    return int(rows(engine, "SELECT count(*) FROM arcade_jobs_orphans")[0][0])


@pytest.mark.parametrize(
    ("played", "purged", "removed"),
    [
        (100, 100, 100),  # a hundred are never too many
        (101, 101, 0),
        (1010, 101, 101),  # a tenth is not more than a tenth
        (1009, 101, 0),
    ],
)
def test_s28_more_than_a_tenth_of_a_board_and_more_than_a_hundred_are_not_removed(
    engine: Engine, arcade: Arcade, clean: Clean, played: int, purged: int, removed: int
) -> None:
    arcade.play_many(played, LONG_AGO, period="alltime")
    run(engine, PURGE.format(most=purged))
    result = clean()
    assert result["status"] == ("succeeded" if removed else "partial")
    assert result["result"]["orphaned_entries_deleted"] == removed
    assert result["result"]["remaining"] == purged - removed
    assert entries(engine) == played - removed


def test_s28_the_error_says_what_happened_and_how_to_go_on(engine: Engine, arcade: Arcade, app: App) -> None:
    arcade.play_many(1_250, LONG_AGO, period="alltime")
    arcade.play_many(110, LONG_AGO, game="snake")
    arcade.play_many(3, LONG_AGO, game="tetris")
    run(engine, PURGE.format(most=1_100))
    with pytest.raises(RunNotSucceededError, match=r"partial; first of 2 errors: .* were sessions purged"):
        invoke(app, "cleanup", scheduled_event("2026-01-12T00:00:00Z"))
    stored = app.runner.store.get("cleanup:2026-01-12T00:00Z")
    assert stored is not None
    assert stored.result is not None
    go_on = 'were sessions purged? to remove them: {"accept_orphans": true} in a manual event'
    assert stored.result["errors"] == [
        {
            "game_type": "pong",
            "period_type": "alltime",
            "period_date": "1970-01-01",
            "error": f"1,100 of 1,250 entries of alltime pong lost their session: {go_on}",
        },
        {
            "game_type": "snake",
            "period_type": "daily",
            "period_date": "2026-01-01",
            "error": f"110 of 110 entries of daily 2026-01-01 snake lost their session: {go_on}",
        },
    ]
    assert stored.result["orphaned_entries_deleted"] == 3  # of another board
    assert (entries(engine), candidates(engine)) == (1_360, 1_210)


def test_s28_accepted_orphans_are_removed(engine: Engine, arcade: Arcade, clean: Clean) -> None:
    arcade.play_many(150, LONG_AGO, period="alltime")
    run(engine, PURGE.format(most=140))
    assert clean()["status"] == "partial"
    result = clean(accept_orphans=True, dry_run=True)["result"]
    assert (result["orphaned_entries_deleted"], result["remaining"], entries(engine)) == (140, 0, 150)
    result = clean(accept_orphans=True)
    assert (result["status"], result["result"]["orphaned_entries_deleted"]) == ("succeeded", 140)
    assert (entries(engine), candidates(engine)) == (10, 0)


def test_s28_sessions_that_are_restored_lose_no_entry(engine: Engine, arcade: Arcade, clean: Clean) -> None:
    arcade.play_many(150, LONG_AGO, period="alltime")
    run(engine, "CREATE TABLE backup AS TABLE game_sessions", PURGE.format(most=140))
    assert clean()["status"] == "partial"
    run(engine, "INSERT INTO game_sessions SELECT * FROM backup ON CONFLICT DO NOTHING")
    result = clean(accept_orphans=True)
    assert (result["status"], result["result"]["orphaned_entries_deleted"]) == ("succeeded", 0)
    assert (entries(engine), candidates(engine)) == (150, 0)


def test_s28_a_dry_run_previews_the_brake(engine: Engine, arcade: Arcade, clean: Clean) -> None:
    arcade.play_many(150, LONG_AGO, period="alltime")
    arcade.play_many(150, LONG_AGO, game="snake", period="alltime")
    run(engine, PURGE.format(most=120), UNNOTICED + "DELETE FROM game_sessions WHERE game_type = 'snake'")
    previewed = clean(dry_run=True)
    assert candidates(engine) == 0
    result = clean()
    assert [error["error"][:40] for error in result["result"]["errors"]] == [
        "120 of 150 entries of alltime pong lost ",
        "150 of 150 entries of alltime snake lost",
    ]
    assert previewed["result"] == result["result"]


@pytest.mark.parametrize("limit", ["0", "100"])
def test_s28_the_limit_is_a_choice(engine: Engine, arcade: Arcade, start_app: StartApp, limit: str) -> None:
    arcade.play_many(2_000, LONG_AGO, period="alltime")
    run(engine, PURGE.format(most=101) if limit == "0" else PURGE.format(most=2_000))
    result = invoke(start_app(ORPHAN_LIMIT_PERCENT=limit), "cleanup", {})
    assert result["result"]["orphaned_entries_deleted"] == (0 if limit == "0" else 2_000)
    assert [error["error"][:44] for error in result["result"]["errors"]] == (
        ["101 of 2,000 entries of alltime pong lost th"] if limit == "0" else []
    )


def test_s28_a_slow_sweep_does_not_take_a_board_away_little_by_little(
    engine: Engine, arcade: Arcade, clean: Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sessions were truncated, which no notice tells of: a night's part of the sweep is a small part of the board."""
    monkeypatch.setattr(cleanup, "SWEEP_BATCH", 75)
    monkeypatch.setattr(cleanup, "SWEEP_BATCHES", 2)
    arcade.play_many(2_000, LONG_AGO, period="alltime")
    run(engine, UNNOTICED + "TRUNCATE game_sessions")
    for _ in range(3):
        result = clean()
        assert result["status"] == "partial"
        [error] = result["result"]["errors"]
        assert error["error"].startswith("150 of 150 entries read of alltime pong lost their session: ")
        assert entries(engine) == 2_000
    result = clean(accept_orphans=True)
    assert (result["status"], result["result"]["orphaned_entries_deleted"]) == ("succeeded", 2_000)
    assert entries(engine) == 0


def test_s28_boards_that_share_a_part_of_the_sweep_are_not_taken_away_little_by_little(
    engine: Engine, arcade: Arcade, clean: Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fewer than a hundred entries of a board in each night's part, as all-time boards have beside daily ones."""
    monkeypatch.setattr(cleanup, "SWEEP_BATCH", 150)
    monkeypatch.setattr(cleanup, "SWEEP_BATCHES", 1)
    for game in ("pong", "snake", "tetris"):
        arcade.play_many(400, LONG_AGO, game=game, period="alltime")
    run(
        engine,
        "UPDATE leaderboard_entries SET id = -score * 10 - length(game_type)",  # by turns
        UNNOTICED + "TRUNCATE game_sessions",
    )
    for dry_run in (False, True, False):
        result = clean(dry_run=dry_run)
        assert result["status"] == "partial"
        assert [error["error"].split(" lost")[0] for error in result["result"]["errors"]] == [
            f"150 of 150 entries read of alltime {game}" for game in ("pong", "snake", "tetris")
        ]
    assert entries(engine) == 1_200


def test_s28_a_dry_run_previews_all_that_a_run_which_accepts_orphans_removes(
    engine: Engine, arcade: Arcade, clean: Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "SWEEP_BATCH", 75)
    arcade.play_many(500, LONG_AGO, period="alltime")
    run(engine, UNNOTICED + "TRUNCATE game_sessions")
    previewed = clean(accept_orphans=True, dry_run=True)["result"]
    assert candidates(engine) == 0
    removed = clean(accept_orphans=True)["result"]
    assert (previewed["orphaned_entries_deleted"], removed["orphaned_entries_deleted"]) == (500, 500)


def test_s28_a_settled_board_keeps_its_entries(engine: Engine, arcade: Arcade, app: App, clean: Clean) -> None:
    """Not even counted: the day is settled before the purge, the week while its orphans wait to be accepted."""
    arcade.add_pool("2026-01-01")
    arcade.add_pool("2025-12-29", period="weekly")
    arcade.execute("UPDATE prize_pools SET created_at = '2026-01-01Z'")
    arcade.play_many(150, LONG_AGO)
    assert invoke(app, "prize-pool", {"time": "2026-01-02T00:00:00Z"})["result"]["pools_finalized"] == 1
    arcade.play_many(150, LONG_AGO, period="weekly")
    run(engine, PURGE.format(most=150), UNNOTICED + "DELETE FROM game_sessions")
    result = clean(time="2026-01-04T03:00:00Z")["result"]
    assert [error["period_type"] for error in result["errors"]] == ["weekly"]
    assert result["remaining"] == 150
    assert invoke(app, "prize-pool", {"time": "2026-01-05T00:00:00Z"})["result"]["pools_finalized"] == 1
    result = clean()
    assert (result["status"], result["result"]["remaining"]) == ("succeeded", 0)
    assert (entries(engine), candidates(engine)) == (300, 0)


def test_s28_orphans_of_a_pool_that_is_being_settled_are_left(engine: Engine, arcade: Arcade, clean: Clean) -> None:
    pool_id = arcade.add_pool("2026-01-11")
    arcade.add_orphan(5, "2026-01-11T10:00:00Z")
    with engine.connect() as settler:
        settler.execute(text("SELECT FROM prize_pools FOR UPDATE"))
        result = clean()["result"]
        assert (result["orphaned_entries_deleted"], result["remaining"], result["errors"]) == (0, 1, [])
        settler.execute(
            text("UPDATE prize_pools SET status = 'finalized', finalized_at = now() WHERE id = :id"), {"id": pool_id}
        )
        settler.commit()
    assert clean()["result"]["remaining"] == 0
    assert (entries(engine), candidates(engine)) == (1, 0)


def test_s28_a_settlement_waits_for_orphans_that_are_being_removed(engine: Engine, arcade: Arcade, app: App) -> None:
    """So that the board is not settled with an entry that is gone a moment later."""
    arcade.add_pool("2026-01-11")
    arcade.add_orphan(5, "2026-01-11T10:00:00Z")
    locked: list[int] = []

    def settle(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "DELETE FROM leaderboard_entries" in statement:
            with engine.connect() as settler:
                locked.append(settler.execute(text("SELECT FROM prize_pools FOR UPDATE SKIP LOCKED")).rowcount)

    event.listen(app.engine, "after_cursor_execute", settle)
    invoke(app, "cleanup", {})
    assert locked == [0]
    assert entries(engine) == 0
