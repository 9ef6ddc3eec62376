"""Touched boards are noticed exactly, for every writer and however late one commits (docs/design.md, Ranking)."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, Engine, text

from tests.arcade import Arcade

Board = tuple[str, str, str]
TODAY = ("pong", "daily", "2026-01-06")
YESTERDAY = ("pong", "daily", "2026-01-05")
NOON = "2026-01-06T12:00:00Z"


def enter(connection: Connection, score: int, *, player: str = "0xa", day: str = "2026-01-06") -> None:
    Arcade(connection.engine).within(connection).play(player, score, f"{day}T12:00:00Z")


def take(connection: Connection) -> list[Board]:
    """Take the touches, as the leaderboard job does."""
    taken = "DELETE FROM leaderboard_touches RETURNING game_type, period_type, period_date::text"
    return sorted((game, period, day) for game, period, day in connection.execute(text(taken)))


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """A transaction with three entries of today and one of yesterday, whose touches are taken."""
    with engine.begin() as connection:
        for score in (5, 6, 7):
            enter(connection, score, player=f"0x{score}")
        enter(connection, 5, player="0x5", day="2026-01-05")
        take(connection)
        yield connection


def test_a_new_entry_touches_its_board(connection: Connection) -> None:
    enter(connection, 1)
    assert take(connection) == [TODAY]


def test_a_better_score_touches_its_board(connection: Connection) -> None:
    enter(connection, 9, player="0x5")
    assert take(connection) == [TODAY]


UNMOVED = (
    "UPDATE leaderboard_entries SET rank = 1",
    """UPDATE leaderboard_entries AS entry SET session_id = twin.id FROM game_sessions AS twin
    WHERE (twin.player_address, completed_at) = (entry.player_address, entry.created_at) AND twin.id <> session_id""",
    "UPDATE leaderboard_entries SET score = score, created_at = created_at, player_address = player_address",
    "DELETE FROM leaderboard_entries WHERE score > 100",
    "UPDATE leaderboard_entries SET score = 1 WHERE score > 100",
)
MOVED: dict[str, dict[str, Any]] = {
    "another score": {"score": 1},
    "another time": {"completed_at": "2026-01-06T11:59:59Z"},
    "another player": {"player": "0xb"},
}


def test_what_moves_no_entry_touches_nothing(connection: Connection) -> None:
    for player, score, day in (("0x5", 5, "06"), ("0x6", 6, "06"), ("0x7", 7, "06"), ("0x5", 5, "05")):
        at = f"2026-01-{day}T12:00:00Z"
        Arcade(connection.engine).within(connection).add_session(at, player=player, score=score, completed_at=at)
    for statement in UNMOVED:
        connection.exec_driver_sql(statement)
        assert take(connection) == [], statement


def test_what_moves_an_entry_touches_its_board(connection: Connection) -> None:
    entry_id = connection.scalar(text("SELECT id FROM leaderboard_entries WHERE score = 6"))
    write = "UPDATE leaderboard_entries SET session_id = :session, score = :score, player_address = :player"
    for name, change in MOVED.items():
        backing = {"player": "0x6", "score": 6, "completed_at": NOON} | change
        session_id = Arcade(connection.engine).within(connection).add_session(NOON, **backing)
        connection.execute(text(f"{write} WHERE id = {entry_id}"), backing | {"session": session_id})
        assert set(take(connection)) == {TODAY}, name


def test_an_upsert_that_changes_nothing_touches_nothing(connection: Connection) -> None:
    enter(connection, 4, player="0x5")
    assert take(connection) == []


def test_an_entry_that_changes_its_board_touches_both(connection: Connection) -> None:
    connection.exec_driver_sql("UPDATE leaderboard_entries SET period_date = '2026-01-05' WHERE score = 6")
    assert take(connection) == [YESTERDAY, TODAY]


def test_a_score_that_a_trigger_of_the_platforms_changes_is_noticed(connection: Connection) -> None:
    connection.exec_driver_sql(
        "CREATE FUNCTION double() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN NEW.score = NEW.score * 2; NEW.session_id = gen_random_uuid();"
        " INSERT INTO game_sessions (id, game_type, player_address, amount_paid_usdc, score, status, completed_at)"
        " VALUES (NEW.session_id, NEW.game_type, NEW.player_address, 0, NEW.score, ''completed'', NEW.created_at);"
        " RETURN NEW; END'"
    )
    connection.exec_driver_sql(
        "CREATE TRIGGER double BEFORE UPDATE ON leaderboard_entries FOR EACH ROW EXECUTE FUNCTION double()"
    )
    connection.exec_driver_sql("UPDATE leaderboard_entries SET rank = 1 WHERE score = 6")
    assert take(connection) == [TODAY]


def test_a_deletion_touches_each_board_once(connection: Connection) -> None:
    connection.exec_driver_sql("DELETE FROM leaderboard_entries")
    assert take(connection) == [YESTERDAY, TODAY]


def test_a_copy_touches_its_board(connection: Connection) -> None:
    Arcade(connection.engine).within(connection).play_many(3, NOON, period="alltime")
    assert set(take(connection)) == {("pong", "alltime", "1970-01-01")}


def test_a_writer_that_commits_late_is_noticed_by_the_next_run(engine: Engine) -> None:
    with engine.connect() as late, engine.connect() as early, engine.connect() as ranker:
        enter(late, 1, player="0xlate")
        enter(early, 2, player="0xearly")
        early.commit()
        assert take(ranker) == [TODAY]
        ranker.commit()
        late.commit()
        assert take(ranker) == [TODAY]
        ranker.commit()
        assert take(ranker) == []


def test_a_write_that_is_rolled_back_is_not_noticed(engine: Engine) -> None:
    with engine.connect() as writer:
        enter(writer, 1)
        writer.rollback()
        assert take(writer) == []


def test_a_writer_needs_no_right_on_the_touches(engine: Engine) -> None:
    role = f"writer_{uuid4().hex[:12]}"
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {role}")
        tables = "game_sessions, leaderboard_entries"
        connection.exec_driver_sql(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {role}")
        connection.exec_driver_sql(f"SET LOCAL ROLE {role}")
        enter(connection, 1)
        enter(connection, 2)
        connection.exec_driver_sql("DELETE FROM leaderboard_entries")
        connection.exec_driver_sql("RESET ROLE")
        assert take(connection) == [TODAY] * 3
        connection.rollback()


def test_new_ranks_stay_in_their_page(engine: Engine) -> None:
    """HOT: the point of the fill factor, of `rank` in no index, and of triggers that a rank does not fire."""
    with engine.begin() as connection:
        Arcade(engine).within(connection).play_many(2000, NOON, period="alltime")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE leaderboard_entries SET rank = score")
    query = (
        "SELECT pg_stat_force_next_flush(), n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables"
        " WHERE relname = 'leaderboard_entries'"
    )
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
    with engine.connect() as connection:
        _, updates, hot = connection.exec_driver_sql(query).one()
    assert (updates, hot) == (2000, 2000)
