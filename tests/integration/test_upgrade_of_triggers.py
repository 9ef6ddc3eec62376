"""Revision 0004 replaces the triggers on entries while scores are written: no write is unchecked, none is lost."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from infra import schema
from infra.schema import guarded, session
from infra.schema.revisions import NOTHING, Step, steps_after
from tests.arcade import Arcade
from tests.sql import contents, rows, run

NOON = "2026-01-11T12:00:00Z"
WRITERS = 3


@contextmanager
def upgrading(engine: Engine) -> Iterator[session.Session]:
    """An upgrade of an empty database that has come to revision 0003."""
    with session.begin(engine, report=lambda _: None, sleep=time.sleep) as opened:
        opened.run_block(guarded.begin_body("public", NOTHING), expected=None)
        for step in steps_after(NOTHING, "public"):
            if step.revision <= "0003":
                guarded.run_step(opened, step)
        yield opened


def steps() -> list[Step]:
    return [step for step in steps_after("0003", "public") if step.revision == "0004"]


def assert_guarded(arcade: Arcade, number: int) -> None:
    """Every write of a score is checked (S23), sealed (S08) and noticed (S13); a rank fires nothing."""
    with pytest.raises(DBAPIError, match="AJ002"):
        arcade.add_entry(uuid4(), 5, NOON, player="0xforger")
    with pytest.raises(DBAPIError, match="AJ001"):
        arcade.play(f"0x{number}", 5, "2026-01-10T12:00:00Z")
    run(arcade.engine, "DELETE FROM leaderboard_touches")
    arcade.play(f"0x{number}", 5, NOON)
    arcade.play("0xbest", number, NOON)
    assert len(contents(arcade.engine, "leaderboard_touches")) >= 2
    run(arcade.engine, "DELETE FROM leaderboard_touches", f"UPDATE leaderboard_entries SET rank = {number}")
    assert contents(arcade.engine, "leaderboard_touches") == []


def test_no_statement_of_the_upgrade_leaves_a_gap(empty: Engine) -> None:
    arcade = Arcade(empty)
    with upgrading(empty) as opened:
        pool_id = arcade.add_pool("2026-01-10")
        run(empty, f"UPDATE prize_pools SET status = 'finalized', finalized_at = now() WHERE id = {pool_id}")
        assert_guarded(arcade, 1)
        for number, step in enumerate(steps(), start=2):
            guarded.run_step(opened, step)
            assert_guarded(arcade, number)
    assert schema.check(empty) == []


def test_what_writers_write_during_the_upgrade_is_kept_and_noticed(empty: Engine) -> None:
    with upgrading(empty):
        pass
    ended = Event()

    def write(number: int) -> int:
        arcade, score = Arcade(empty), 0
        while not ended.is_set():
            score += 1
            arcade.play(f"0x{number}", score, NOON, periods=("daily", "weekly", "alltime"))
        return score

    with ThreadPoolExecutor(WRITERS) as pool:
        best = [pool.submit(write, number) for number in range(WRITERS)]
        try:
            schema.upgrade(empty)
        finally:
            ended.set()
        expected = {f"0x{number}": written.result(30) for number, written in enumerate(best)}
    found = rows(empty, "SELECT player_address, min(score), max(score), count(*) FROM leaderboard_entries GROUP BY 1")
    assert sorted(found) == sorted((player, score, score, 3) for player, score in expected.items())
    touched = rows(empty, "SELECT count(*) FROM leaderboard_touches")
    assert touched >= [(3 * sum(expected.values()),)]  # twice while both triggers are there


@pytest.mark.parametrize("lost", ["arcade_jobs_guard_insert", "arcade_jobs_guard_update"])
def test_boards_that_went_unnoticed_without_a_trigger_are_marked(engine: Engine, lost: str) -> None:
    Arcade(engine).play("0xa", 5, NOON)
    run(engine, "DELETE FROM leaderboard_touches", f"DROP TRIGGER {lost} ON leaderboard_entries")
    schema.upgrade(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT game_type, is_pending FROM leaderboards")).all() == [("pong", True)]
