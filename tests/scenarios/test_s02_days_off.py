"""S02: the scheduler is off for three days, a Monday among them."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event, text

from shared.app import App
from tests.arcade import Arcade
from tests.fakes import FakeClock, scheduled_event
from tests.jobs import invoke

GAMES = ("snake", "tetris", "pong")
LAST_SLOT = "2026-01-10T00:00:00Z"  # Friday's day was settled; the slots of Sunday, Monday and Tuesday never came
BACK_AT = "2026-01-14T00:00:00Z"  # of a Wednesday
MISSED = [
    ("daily", "2026-01-10", True),
    ("daily", "2026-01-11", True),
    ("weekly", "2026-01-05", True),  # it ended with Sunday, in a night without a slot
    ("daily", "2026-01-12", True),
    ("daily", "2026-01-13", False),  # what this slot is for
]


@pytest.fixture
def days_off(arcade: Arcade, app: App, clock: FakeClock) -> Arcade:
    """Plays of every day; nothing has run since Saturday's slot."""
    for game in GAMES:
        for monday in ("2026-01-12", "2026-01-05"):
            arcade.add_pool(monday, game=game, period="weekly")
        for day in (14, 13, 12, 11, 10, 9):
            arcade.add_pool(f"2026-01-{day:02}", game=game)
            for n, player in enumerate(("0xb", "0xa")):
                periods = ("daily", "weekly", "alltime") if day == 10 + n else ("daily",)
                arcade.play(player, 10 * n + day, f"2026-01-{day:02}T1{n}:00:00Z", game=game, periods=periods)
    clock.now = datetime(2026, 1, 10, 0, 0, 30, tzinfo=UTC)
    invoke(app, "prize-pool", scheduled_event(LAST_SLOT))
    clock.now = datetime(2026, 1, 14, 0, 0, 30, tzinfo=UTC)
    return arcade


def test_s02_the_next_run_settles_every_ended_day_and_week_once_oldest_first(days_off: Arcade, app: App) -> None:
    locked: list[int] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "FOR UPDATE" in statement:
            locked.append(parameters[0])

    event.listen(app.engine, "before_cursor_execute", note)
    result = invoke(app, "prize-pool", scheduled_event(BACK_AT))
    assert result["status"] == "succeeded"
    settled = result["result"]["finalized_pools"]
    assert [pool["pool_id"] for pool in settled] == locked
    found = [(pool["period_type"], pool["period_date"], pool["late"]) for pool in settled]
    in_order = [period for period in MISSED for _ in GAMES]
    assert found[:3] + found[9:] == in_order[:3] + in_order[9:]
    assert sorted(found[3:9]) == in_order[3:9]  # Sunday's day and its week end together
    assert {pool["winner_address"] for pool in settled} == {"0xa"}
    with days_off.engine.connect() as connection:
        still_open = (
            "SELECT DISTINCT period_type, period_date::text FROM prize_pools WHERE status = 'active' ORDER BY 1"
        )
        assert connection.execute(text(still_open)).all() == [("daily", "2026-01-14"), ("weekly", "2026-01-12")]
    later = invoke(app, "prize-pool", {})
    assert later["result"]["pools_processed"] == 0


def test_s02_one_ranking_makes_up_for_all_that_were_missed(days_off: Arcade, app: App) -> None:
    reads: list[Any] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "INSERT INTO pg_temp.new_ranks" in statement:
            reads.append(parameters)

    event.listen(app.engine, "before_cursor_execute", note)
    result = invoke(app, "leaderboard", scheduled_event(BACK_AT))["result"]
    boards = len(GAMES) * (6 + 1 + 1)  # six days, one week, all time
    assert len(reads) == result["leaderboards_processed"] == boards
    assert result["entries_updated"] == len(GAMES) * (6 * 2 + 2 + 2)
    with days_off.engine.connect() as connection:
        boards_of = "SELECT rank FROM leaderboard_entries ORDER BY game_type, period_type, period_date, rank"
        assert list(connection.scalars(text(boards_of))) == [1, 2] * boards
    assert invoke(app, "leaderboard", {})["result"]["leaderboards_processed"] == 0
    assert len(reads) == boards
