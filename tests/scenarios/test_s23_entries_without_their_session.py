"""S23: an entry that no completed session of the same player, game and score backs hides the player's true best."""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from shared.app import App
from shared.db.errors import sqlstate
from tests.arcade import Arcade
from tests.fakes import scheduled_event
from tests.jobs import invoke
from tests.locks import TIMEOUT, await_lock, pid_of
from tests.sql import rows, run

NOON = "2026-01-11T12:00:00+00:00"
ENTRY = "(session_id, game_type, player_address, score, period_type, period_date, created_at)"
INSERT = f"INSERT INTO leaderboard_entries {ENTRY} VALUES (:session, 'pong', '0xa', 9, 'daily', '2026-01-11', now())"
ON_CONFLICT = "ON CONFLICT (player_address, game_type, period_type, period_date) DO UPDATE"
OF_ANOTHER = "SELECT id, game_type, player_address, score, 'alltime', '1970-01-01'::date, now() FROM game_sessions"
# 0xa has an entry already, with 5; each of these makes it 9.
WRITES = {
    "update": "UPDATE leaderboard_entries SET session_id = :session, score = 9 WHERE player_address = '0xa'",
    "update of the session": "UPDATE leaderboard_entries SET session_id = :session WHERE player_address = '0xa'",
    "upsert": f"{INSERT} {ON_CONFLICT} SET session_id = :session, score = 9, created_at = excluded.created_at",
    "upsert without its time": f"{INSERT} {ON_CONFLICT} SET session_id = excluded.session_id, score = excluded.score",
    "insert": INSERT.replace("daily", "alltime").replace("2026-01-11", "1970-01-01"),
    "one of many": f"INSERT INTO leaderboard_entries {ENTRY} {OF_ANOTHER} WHERE score = 4"
    " UNION ALL VALUES (CAST(:session AS uuid), 'pong', '0xa', 9, 'alltime', date '1970-01-01', now())",
}
# What is wrong with the session; in everything else it is right.
SESSIONS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "another player": {"player": "0xb"},
    "another game": {"game": "snake"},
    "another score": {"score": 8},
    "active": {"status": "active"},
    "expired": {"status": "expired"},
}


@contextmanager
def refused(state: str = "AJ002", match: str | None = None) -> Iterator[None]:
    with pytest.raises(DBAPIError, match=match) as error:
        yield
    assert sqlstate(error.value) == state


def add_session(arcade: Arcade, wrong: dict[str, Any] | None = None) -> UUID:
    """A session that backs 0xa's 9, but for what is wrong."""
    return arcade.add_session(NOON, **{"player": "0xa", "score": 9, "completed_at": NOON} | (wrong or {}))


@pytest.mark.parametrize("is_cleaned", [False, True])
def test_s23_it_is_refused_and_the_players_real_best_wins(arcade: Arcade, app: App, *, is_cleaned: bool) -> None:
    pool_id, gone = arcade.add_pool("2026-01-11"), uuid4()
    arcade.play("0xrival", 500, NOON)
    with refused(match=rf"entry of 0xa \(pong, daily 2026-01-11, score 1000\): session {gone} is no completed session"):
        arcade.add_entry(gone, 1000, NOON)
    arcade.play("0xa", 900, NOON)
    if is_cleaned:
        invoke(app, "cleanup", {"time": "2026-01-12T00:00:00Z"})
    invoke(app, "prize-pool", scheduled_event("2026-01-12T00:00:00Z"))
    pool = arcade.pool(pool_id)
    assert (pool.winner_address, pool.winner_score, pool.entries_passed_over) == ("0xa", 900, 0)


@pytest.mark.parametrize("write", WRITES)
def test_s23_every_write_needs_its_session(arcade: Arcade, write: str) -> None:
    arcade.play("0xa", 5, NOON)
    arcade.play("0xb", 4, NOON)
    before = rows(arcade.engine, "SELECT * FROM leaderboard_entries ORDER BY id")
    for name, wrong in SESSIONS.items():
        session_id = uuid4() if wrong is None else add_session(arcade, wrong)
        with refused(match=str(session_id)):
            arcade.execute(WRITES[write], session=session_id)
        assert rows(arcade.engine, "SELECT * FROM leaderboard_entries ORDER BY id") == before, name
    if write != "update of the session":  # whose score stays 5
        arcade.execute(WRITES[write], session=add_session(arcade))
        assert rows(arcade.engine, "SELECT count(*) FROM leaderboard_entries WHERE score = 9") == [(1,)]


def copy(connection: Connection, session_id: UUID) -> None:
    line = f"{session_id}\tpong\t0xa\t9\tdaily\t2026-01-11\n"
    columns = "session_id, game_type, player_address, score, period_type, period_date"
    cursor = connection.connection.cursor()
    cursor.execute(f"COPY leaderboard_entries ({columns}) FROM STDIN", stream=io.BytesIO(line.encode()))  # type: ignore[call-arg]


def test_s23_a_copy_needs_it_too(arcade: Arcade) -> None:
    with pytest.raises(Exception, match="AJ002"), arcade.engine.begin() as connection:
        copy(connection, uuid4())
    session_id = add_session(arcade)
    with arcade.engine.begin() as connection:
        copy(connection, session_id)
    assert rows(arcade.engine, "SELECT session_id FROM leaderboard_entries") == [(session_id,)]


def test_s23_a_session_that_is_completed_by_the_same_statement_is_there(arcade: Arcade) -> None:
    arcade.play_many(3, NOON)
    assert rows(arcade.engine, "SELECT count(*) FROM leaderboard_entries") == [(3,)]


def test_s23_what_is_checked_is_what_a_trigger_of_the_platforms_makes_of_it(arcade: Arcade) -> None:
    run(
        arcade.engine,
        "CREATE FUNCTION lower_case() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN NEW.player_address = lower(NEW.player_address); RETURN NEW; END'",
        "CREATE TRIGGER zz_last BEFORE INSERT OR UPDATE ON leaderboard_entries"
        " FOR EACH ROW EXECUTE FUNCTION lower_case()",
    )
    arcade.add_entry(add_session(arcade), 9, NOON, player="0xA")
    with refused(match="entry of 0xb "):
        arcade.add_entry(add_session(arcade, {"player": "0xB"}), 9, NOON, player="0xB")


def test_s23_ranks_and_columns_of_the_platforms_are_written_without_it(arcade: Arcade, app: App) -> None:
    """Of entries from before revision 0003 too."""
    arcade.add_unchecked_entry(uuid4(), 9, NOON)
    arcade.execute("ALTER TABLE leaderboard_entries ADD COLUMN nickname text")
    arcade.execute("UPDATE leaderboard_entries SET nickname = 'a', rank = 7")
    invoke(app, "leaderboard", {"time": "2026-01-12T00:00:00Z"})
    assert arcade.ranks() == [("0xa", 1)]
    arcade.execute("UPDATE leaderboard_entries SET score = score, session_id = session_id, created_at = created_at")


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ"])
@pytest.mark.parametrize("is_deleted", [True, False])
def test_s23_a_deletion_that_came_first_is_waited_for(arcade: Arcade, level: str, *, is_deleted: bool) -> None:
    session_id = add_session(arcade)
    engine = arcade.engine.execution_options(isolation_level=level)
    with engine.connect() as writer, arcade.engine.connect() as deleter, ThreadPoolExecutor(1) as threads:
        pid = pid_of(writer)
        arcade.within(deleter).execute("DELETE FROM game_sessions")
        writing = threads.submit(arcade.within(writer).add_entry, session_id, 9, NOON)
        await_lock(arcade.engine, pid)
        deleter.commit() if is_deleted else deleter.rollback()
        if is_deleted:
            with refused("AJ002" if level == "READ COMMITTED" else "40001"):  # retried, it is AJ002
                writing.result(TIMEOUT)
        else:
            assert writing.result(TIMEOUT)
        writer.rollback()
    assert rows(arcade.engine, "SELECT session_id FROM arcade_jobs_deleted_sessions") == [(session_id,)] * is_deleted
    if is_deleted:
        with refused():
            arcade.add_entry(session_id, 9, NOON)


def test_s23_a_deletion_that_comes_later_waits_and_is_noticed_after_the_entry(arcade: Arcade) -> None:
    session_id = add_session(arcade)

    def delete(connection: Connection) -> None:
        connection.execute(text("DELETE FROM game_sessions"))
        connection.commit()

    with arcade.engine.connect() as writer, arcade.engine.connect() as deleter, ThreadPoolExecutor(1) as threads:
        arcade.within(writer).add_entry(session_id, 9, NOON)
        pid = pid_of(deleter)
        deleting = threads.submit(delete, deleter)
        await_lock(arcade.engine, pid)
        assert rows(arcade.engine, "SELECT session_id FROM arcade_jobs_deleted_sessions") == []
        writer.commit()
        deleting.result(TIMEOUT)
    noticed = "SELECT session_id, game_type, player_address FROM arcade_jobs_deleted_sessions"
    assert rows(arcade.engine, noticed) == [(session_id, "pong", "0xa")]


def test_s23_scores_of_one_session_do_not_wait_for_each_other(engine: Engine) -> None:
    """Each board's entry locks the session against deletion alone."""
    arcade = Arcade(engine)
    session_id = add_session(arcade)
    with engine.connect() as daily, engine.connect() as weekly:
        for connection, period in ((daily, "daily"), (weekly, "weekly")):
            connection.exec_driver_sql("SET LOCAL lock_timeout = '5s'")
            arcade.within(connection).add_entry(session_id, 9, NOON, period=period)
        weekly.exec_driver_sql("UPDATE game_sessions SET game_duration_ms = 1")
        daily.commit()
        weekly.commit()
