"""S24: an entry carries a time that is not its session's: back-dated, or when a queue came to write it."""

from datetime import datetime

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from shared.app import App
from shared.db.errors import sqlstate
from tests.arcade import Arcade
from tests.fakes import scheduled_event
from tests.jobs import invoke
from tests.sql import rows

ENTRY = "session_id, game_type, player_address, score, period_type, period_date"
SELECT = "SELECT id, game_type, player_address, score, 'daily', '2026-01-11'::date"
FROM = "FROM game_sessions WHERE score = :score"
ON_CONFLICT = "ON CONFLICT (player_address, game_type, period_type, period_date) DO UPDATE SET"
WRITES = {
    "by default": f"INSERT INTO leaderboard_entries ({ENTRY}) {SELECT} {FROM}",
    "an insert": f"INSERT INTO leaderboard_entries ({ENTRY}, created_at) {SELECT}, '2020-01-01' {FROM}",
    "an upsert": f"INSERT INTO leaderboard_entries ({ENTRY}, created_at) {SELECT}, '2020-01-01' {FROM} {ON_CONFLICT}"
    " session_id = excluded.session_id, score = excluded.score, created_at = excluded.created_at",
    "an upsert without it": f"INSERT INTO leaderboard_entries ({ENTRY}) {SELECT} {FROM} {ON_CONFLICT}"
    " session_id = excluded.session_id, score = excluded.score",
    "an update": "UPDATE leaderboard_entries AS entry SET (session_id, score, created_at) = (session.id, 9, now())"
    " FROM game_sessions AS session WHERE session.player_address = entry.player_address AND session.score = :score",
}


def winner_of(arcade: Arcade, app: App, pool_id: int) -> str:
    invoke(app, "prize-pool", scheduled_event("2026-01-12T00:00:00Z"))
    return str(arcade.pool(pool_id).winner_address)


def test_s24_a_back_dated_entry_does_not_beat_equal_scores_that_were_reached_earlier(arcade: Arcade, app: App) -> None:
    pool_id = arcade.add_pool("2026-01-11")
    arcade.play("0xearly", 9, "2026-01-11T10:00:00Z")
    session_id = arcade.add_session("2026-01-11T10:50Z", player="0xlate", score=9, completed_at="2026-01-11T11:00Z")
    arcade.add_entry(session_id, 9, "2020-01-01T00:00:00Z", player="0xlate", day="2026-01-11")
    assert winner_of(arcade, app, pool_id) == "0xearly"


def test_s24_one_that_a_queue_wrote_half_an_hour_late_has_its_sessions_time_and_wins(arcade: Arcade, app: App) -> None:
    pool_id = arcade.add_pool("2026-01-11")
    session_id = arcade.add_session("2026-01-11T09:50Z", player="0xearly", score=9, completed_at="2026-01-11T10:00Z")
    arcade.play("0xlate", 9, "2026-01-11T10:15:00Z")
    arcade.add_entry(session_id, 9, "2026-01-11T10:30:00Z", player="0xearly")
    assert winner_of(arcade, app, pool_id) == "0xearly"


@pytest.mark.parametrize("write", WRITES)
def test_s24_every_write_gets_the_time_of_its_session_row_by_row(arcade: Arcade, write: str) -> None:
    if write.startswith(("an up",)):
        for player in ("0xa", "0xb", "0xc"):
            arcade.play(player, 5, "2026-01-11T09:00:00Z")
    for minute, player in enumerate(("0xa", "0xb", "0xc")):
        arcade.add_session("2026-01-11T09:50Z", player=player, score=9, completed_at=f"2026-01-11T10:0{minute}Z")
    with arcade.engine.begin() as connection:
        written = connection.execute(text(f"{WRITES[write]} RETURNING period_date"), {"score": 9})
        assert len(written.all()) == 3
    entries = "SELECT score, player_address, created_at FROM leaderboard_entries ORDER BY player_address"
    assert rows(arcade.engine, entries) == [
        (9, player, datetime.fromisoformat(f"2026-01-11T10:0{minute}:00+00:00"))
        for minute, player in enumerate(("0xa", "0xb", "0xc"))
    ]


@pytest.mark.parametrize("keeps", ["NEW.created_at = OLD.created_at; RETURN NEW", "RETURN NULL"])
def test_s24_an_entry_whose_time_a_trigger_of_the_platform_keeps_is_refused(arcade: Arcade, keeps: str) -> None:
    """Such a trigger gave each better score the time of the player's first one, which wins against equal ones."""
    arcade.execute(
        f"CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {keeps}; END $$",
        """CREATE TRIGGER keep BEFORE UPDATE ON leaderboard_entries
        FOR EACH ROW WHEN (OLD.created_at <> NEW.created_at) EXECUTE FUNCTION keep()""",
    )
    session_id = arcade.add_session("2026-01-11T09:50Z", score=9, completed_at="2026-01-11T10:00Z")
    named = rf"session {session_id} was completed at 2026-01-11 10:00:00\+00, and a trigger keeps another created_at"
    with pytest.raises(DBAPIError, match=named) as refused:
        arcade.add_entry(session_id, 9, "2026-01-11T10:30:00Z")
    assert sqlstate(refused.value) == "AJ002"


def test_s24_a_correction_touches_the_board_once_more_and_no_other(arcade: Arcade) -> None:
    session_id = arcade.add_session("2026-01-11T09:50Z", score=9, completed_at="2026-01-11T10:00Z")
    arcade.add_entry(session_id, 9, "2026-01-11T10:30:00Z")
    touches = "SELECT game_type, period_type, period_date::text FROM leaderboard_touches"
    assert rows(arcade.engine, touches) == [("pong", "daily", "2026-01-11")] * 2


def test_s24_an_entry_from_before_keeps_its_time_until_it_is_written(arcade: Arcade) -> None:
    session_id = arcade.add_session("2026-01-11T09:50Z", score=9, completed_at="2026-01-11T10:00Z")
    arcade.add_unchecked_entry(session_id, 9, "2026-01-11T10:30:00Z")
    arcade.execute("UPDATE leaderboard_entries SET rank = 1")
    time = "SELECT created_at::timestamptz::text FROM leaderboard_entries"
    assert "10:30" in rows(arcade.engine, time)[0][0]
    arcade.execute("UPDATE leaderboard_entries SET created_at = '2020-01-01'")
    assert "10:00" in rows(arcade.engine, time)[0][0]


def test_s24_a_column_of_the_platforms_own_is_not_in_the_way(arcade: Arcade) -> None:
    """Whatever its name is."""
    for name in ("reached_at", "kept_at", "pool", "is_new", "is_moved", "is_placed"):
        for table in ("game_sessions", "leaderboard_entries", "prize_pools"):
            arcade.execute(f"ALTER TABLE {table} ADD COLUMN {name} text")
    arcade.add_pool("2026-01-11")
    session_id = arcade.add_session("2026-01-11T09:50Z", score=9, completed_at="2026-01-11T10:00Z")
    arcade.add_entry(session_id, 9, "2026-01-11T10:30:00Z")
    assert rows(arcade.engine, "SELECT created_at::text FROM leaderboard_entries") == [("2026-01-11 10:00:00+00",)]
