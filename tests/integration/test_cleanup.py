"""The removal of abandoned sessions and orphaned entries (docs/design.md, Cleaning), on PostgreSQL."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from pg8000 import InterfaceError
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError

from shared.db.errors import describe
from shared.domain.run import Outcome, Run, RunStatus
from shared.services import cleanup
from shared.services.cleanup import Cleaner
from shared.services.transactions import Transactions
from tests.arcade import Arcade
from tests.fakes import FakeClock, make_run
from tests.sql import run

SLOT = "2026-01-12T03:00:00Z"
Clean = Callable[[Run], Outcome]


@pytest.fixture
def cleaner(transactions: Transactions, clock: FakeClock) -> Cleaner:
    return Cleaner(
        transactions=transactions,
        zone=ZoneInfo("UTC"),
        session_expiry=timedelta(minutes=30),
        orphan_limit_percent=10,
        clock=clock,
    )


def count(arcade: Arcade, table: str) -> int:
    with arcade.engine.connect() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def test_only_unfinished_sessions_older_than_the_expiry_go(arcade: Arcade, cleaner: Clean) -> None:
    arcade.add_session("2026-01-12T02:29:59.999999Z", amount="0.02")
    kept = {
        arcade.add_session("2026-01-12T02:30:00Z"),
        arcade.add_session("2026-01-12T02:00:00Z", status="expired"),
        arcade.add_session("2025-01-12T02:00:00Z", score=1, completed_at="2025-01-12T02:01:00Z"),
    }
    outcome = cleaner(make_run(SLOT, job="cleanup"))
    assert outcome.result == {
        "expired_sessions_deleted": 1,
        "expired_amount_usdc": "0.020000",
        "orphaned_entries_deleted": 0,
        "entries_archived": 0,
        "remaining": 0,
        "duration_ms": 0,
        "errors": [],
    }
    with arcade.engine.connect() as connection:
        assert set(connection.scalars(text("SELECT id FROM game_sessions"))) == kept


def test_only_old_entries_without_a_session_go(arcade: Arcade, cleaner: Clean) -> None:
    arcade.add_orphan(5, "2026-01-12T02:29:59Z", player="0xorphan")
    arcade.add_orphan(5, "2026-01-12T02:30:00Z", player="0xyoung")
    arcade.play("0xbacked", 5, "2026-01-11T02:00:00Z")
    assert cleaner(make_run(SLOT)).result["orphaned_entries_deleted"] == 1
    with arcade.engine.connect() as connection:
        players = set(connection.scalars(text("SELECT player_address FROM leaderboard_entries")))
    assert players == {"0xyoung", "0xbacked"}


def test_a_dry_run_previews_what_the_run_does(arcade: Arcade, cleaner: Clean) -> None:
    arcade.add_session("2026-01-11T02:00:00Z")
    arcade.add_orphan(5, "2026-01-11T02:01:00Z", player="0xnoticed")
    arcade.add_unchecked_entry(uuid4(), 5, "2026-01-11T02:01:00Z", player="0xswept")
    previewed = cleaner(make_run(SLOT, dry_run=True))
    assert (count(arcade, "game_sessions"), count(arcade, "leaderboard_entries")) == (1, 2)
    assert (count(arcade, "arcade_jobs_deleted_sessions"), count(arcade, "arcade_jobs_orphans")) == (1, 0)
    outcome = cleaner(make_run(SLOT))
    assert outcome.result == previewed.result
    assert (outcome.result["orphaned_entries_deleted"], outcome.result["expired_sessions_deleted"]) == (2, 1)


def test_deletes_go_batch_by_batch_to_the_end(arcade: Arcade, cleaner: Clean, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup, "SESSION_BATCH", 7)
    monkeypatch.setattr(cleanup, "NOTICE_BATCH", 4)
    monkeypatch.setattr(cleanup, "SWEEP_BATCH", 11)
    monkeypatch.setattr(cleanup, "SWEEP_BATCHES", 5)
    monkeypatch.setattr(cleanup, "ORPHAN_BATCH", 3)
    arcade.execute(
        "INSERT INTO game_sessions (id, game_type, player_address, amount_paid_usdc, created_at)"
        " SELECT gen_random_uuid(), 'pong', '0xa', 0.01, '2026-01-11' FROM generate_series(1, 50)",
    )
    arcade.play_many(25, "2026-01-11T00:00:00Z", game="snake")
    arcade.execute("DELETE FROM game_sessions WHERE status = 'completed'")
    for number in range(25):
        arcade.add_unchecked_entry(uuid4(), 5, "2026-01-11T02:01:00Z", player=f"0xswept{number}", period="alltime")
    result = cleaner(make_run(SLOT)).result
    assert (result["expired_sessions_deleted"], result["orphaned_entries_deleted"]) == (50, 50)
    assert result["expired_amount_usdc"] == "0.500000"


def test_a_session_that_is_locked_is_left_and_counted_as_remaining(arcade: Arcade, cleaner: Clean) -> None:
    held = arcade.add_session("2026-01-11T02:00:00Z")
    arcade.add_session("2026-01-11T02:00:01Z")
    with arcade.engine.begin() as player:
        arcade.within(player).complete(held, 3, "2026-01-11T02:10:00Z")
        result = cleaner(make_run(SLOT)).result
    assert (result["expired_sessions_deleted"], result["remaining"]) == (1, 1)
    assert count(arcade, "game_sessions") == 1


def test_a_run_out_of_time_keeps_what_it_did_and_reports_what_remains(
    arcade: Arcade, cleaner: Cleaner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "SESSION_BATCH", 1)
    for second in range(3):
        arcade.add_session(f"2026-01-11T02:00:0{second}Z")
    deletes: list[str] = []
    event.listen(
        cleaner.transactions.engine,
        "after_cursor_execute",
        lambda _connection, _cursor, statement, *_: (
            deletes.append(statement) if "DELETE FROM game_sessions" in statement else None
        ),
    )
    run = replace(make_run(SLOT), time_left=lambda: timedelta(seconds=300 if len(deletes) < 2 else 14))
    outcome = cleaner(run)
    assert outcome.status is RunStatus.INCOMPLETE
    assert (outcome.result["expired_sessions_deleted"], outcome.result["remaining"]) == (2, 1)
    assert cleaner(make_run(SLOT)).result["expired_sessions_deleted"] == 1


def test_a_step_that_fails_does_not_stop_the_other(arcade: Arcade, cleaner: Clean) -> None:
    arcade.add_session("2026-01-11T02:00:00Z")
    arcade.add_orphan(5, "2026-01-11T02:01:00Z")
    arcade.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$",
        "CREATE TRIGGER refuse BEFORE DELETE ON game_sessions FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    outcome = cleaner(make_run(SLOT))
    assert outcome.status is RunStatus.PARTIAL
    assert outcome.result["errors"] == [{"step": "expired_sessions", "error": "not this one (SQLSTATE P0001)"}]
    assert (outcome.result["orphaned_entries_deleted"], outcome.result["remaining"]) == (1, 1)


def test_orphans_that_are_gone_are_counted_though_both_steps_fail(
    arcade: Arcade, cleaner: Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "ORPHAN_BATCH", 1)
    arcade.add_session("2026-01-12T01:00:00Z")
    arcade.add_orphan(5, "2026-01-12T02:00:00Z", player="0xfirst")
    arcade.add_orphan(5, "2026-01-12T02:00:00Z", player="0xheld")
    run(arcade.engine, refuse("game_sessions", "true"), refuse("leaderboard_entries", "OLD.player_address = '0xheld'"))
    outcome = cleaner(make_run(SLOT))
    assert (outcome.status, outcome.items_processed) == (RunStatus.PARTIAL, 1)
    assert outcome.result["orphaned_entries_deleted"] == 1
    assert [error["step"] for error in outcome.result["errors"]] == ["orphaned_entries", "expired_sessions"]


def test_what_was_deleted_before_the_connection_was_lost_is_counted(
    arcade: Arcade, cleaner: Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "SESSION_BATCH", 1)
    arcade.add_orphan(5, "2026-01-12T02:00:00Z")
    arcade.add_session("2026-01-12T01:00:00Z", amount="0.02")
    arcade.add_session("2026-01-12T01:01:00Z", player="0xlast")
    run(
        arcade.engine,
        refuse("game_sessions", "OLD.player_address = '0xlast' AND pg_terminate_backend(pg_backend_pid())"),
    )
    outcome = cleaner(make_run(SLOT))
    assert (outcome.status, outcome.items_processed) == (RunStatus.PARTIAL, 2)
    assert (outcome.result["expired_sessions_deleted"], outcome.result["expired_amount_usdc"]) == (1, "0.020000")
    assert [error["step"] for error in outcome.result["errors"]] == ["expired_sessions"]
    assert outcome.result["remaining"] is None


@pytest.mark.parametrize("is_committed", [True, False])
def test_a_batch_whose_commit_is_not_confirmed_is_counted_once(
    arcade: Arcade, cleaner: Clean, transactions: Transactions, monkeypatch: pytest.MonkeyPatch, *, is_committed: bool
) -> None:
    arcade.add_orphan(5, "2026-01-11T02:00:00Z")
    arcade.add_session("2026-01-11T02:00:00Z", amount="0.02")
    engine = transactions.engine
    last = ""
    lost: set[str] = set()

    @event.listens_for(engine, "before_cursor_execute")
    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        nonlocal last
        last = statement

    def lose_the_answer(connection: Any) -> None:
        is_batch = "DELETE FROM game_sessions" in last or "DELETE FROM leaderboard_entries" in last
        if is_committed or not is_batch or last in lost:
            connection.commit()
        if is_batch and last not in lost:
            lost.add(last)
            connection.close()
            raise InterfaceError("network error")

    monkeypatch.setattr(engine.dialect, "do_commit", lose_the_answer)
    outcome = cleaner(make_run(SLOT))
    assert (outcome.status, outcome.items_processed, len(lost)) == (RunStatus.SUCCEEDED, 2, 2)
    assert outcome.result["expired_amount_usdc"] == "0.020000"
    assert count(arcade, "game_sessions") + count(arcade, "leaderboard_entries") == 0


@pytest.mark.parametrize("dry_run", [True, False])
def test_nothing_is_deleted_from_tables_that_are_not_adopted(arcade: Arcade, cleaner: Clean, *, dry_run: bool) -> None:
    arcade.add_session("2026-01-11T02:00:00Z")
    run(arcade.engine, "DROP TABLE leaderboards, leaderboard_touches CASCADE")
    with pytest.raises(DBAPIError) as error:
        cleaner(make_run(SLOT, dry_run=dry_run))
    assert describe(error.value).endswith("run arcade-jobs db upgrade")
    assert count(arcade, "game_sessions") == 1


def refuse(table: str, condition: str) -> str:
    """A trigger of the platform's that refuses some deletes."""
    return f"""
        CREATE FUNCTION refuse_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF {condition} THEN RAISE EXCEPTION 'not this one'; END IF;
            RETURN OLD;
        END $$;
        CREATE TRIGGER refuse BEFORE DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_{table}();
    """
