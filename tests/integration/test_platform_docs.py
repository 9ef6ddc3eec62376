"""The example of docs/platform.md, run as it is on the page."""

import re
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from sqlalchemy import Engine, text

from shared.domain.periods import Calendar, PeriodType, current_period
from tests.arcade import Arcade
from tests.calendars import moments

PAGE = Path(__file__).parents[2] / "docs" / "platform.md"
UTC = {date(1970, 1, 1): ZoneInfo("UTC")}
LATE = datetime.fromisoformat("2026-01-05T23:59:59+00:00")  # a Monday, whose pool is settled by now
NOW = LATE + timedelta(minutes=1)


@pytest.fixture(scope="module")
def example() -> SimpleNamespace:
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert code
    names: dict[str, object] = {}
    exec(compile(code[1], str(PAGE), "exec"), names)
    return SimpleNamespace(**names)


@pytest.fixture
def settled_day(arcade: Arcade) -> int:
    pool_id = arcade.add_pool("2026-01-05", amount="0.7", games=100)
    arcade.add_pool("2026-01-05", period="weekly", amount="0.7", games=100)
    with arcade.engine.begin() as connection:
        settle = "UPDATE prize_pools SET status = 'finalized', finalized_at = now() WHERE period_type = 'daily'"
        connection.execute(text(settle))
    return pool_id


def boards(engine: Engine) -> list[tuple[str, int]]:
    query = "SELECT period_type, score FROM leaderboard_entries ORDER BY period_type"
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def test_a_late_score_keeps_its_session_and_the_boards_that_are_open(
    example: SimpleNamespace, arcade: Arcade, settled_day: int
) -> None:
    assert settled_day
    session_id = arcade.add_session("2026-01-05T23:50:00Z")
    with arcade.engine.begin() as connection:
        assert example.record_score(connection, session_id, 7, LATE, UTC) == ["daily"]
    assert boards(arcade.engine) == [("alltime", 7), ("weekly", 7)]
    with arcade.engine.connect() as connection:
        assert connection.execute(text("SELECT status, score FROM game_sessions")).one() == ("completed", 7)


def test_a_score_in_time_is_on_every_board_and_only_a_better_one_replaces_it(
    example: SimpleNamespace, arcade: Arcade
) -> None:
    for score, shown in ((7, 7), (5, 7), (9, 9)):
        session_id = arcade.add_session("2026-01-05T23:50:00Z")
        with arcade.engine.begin() as connection:
            assert example.record_score(connection, session_id, score, LATE, UTC) == []
        assert boards(arcade.engine) == [("alltime", shown), ("daily", shown), ("weekly", shown)]


def test_a_late_payment_goes_into_the_current_pool(example: SimpleNamespace, arcade: Arcade, settled_day: int) -> None:
    with arcade.engine.begin() as connection:
        assert example.book_payment(connection, "pong", Decimal("0.007"), LATE, NOW, UTC) == ["daily"]
    assert arcade.pool(settled_day).total_games == 100
    query = (
        "SELECT period_type, period_date::text, total_amount_usdc, total_games FROM prize_pools WHERE status = 'active'"
    )
    with arcade.engine.connect() as connection:
        assert sorted(connection.execute(text(query))) == [
            ("daily", "2026-01-06", Decimal("0.007000"), 1),
            ("weekly", "2026-01-05", Decimal("0.707000"), 101),
        ]


@pytest.mark.parametrize("behind", [timedelta(0), timedelta(seconds=1), timedelta(days=1)])
def test_a_late_payment_goes_into_the_next_pool_while_the_clock_still_shows_the_settled_period(
    example: SimpleNamespace, arcade: Arcade, settled_day: int, behind: timedelta
) -> None:
    """S34: the settling job's clock is ahead of the platform's."""
    with arcade.engine.begin() as connection:
        assert example.book_payment(connection, "pong", Decimal("0.007"), LATE, LATE - behind, UTC) == ["daily"]
    assert arcade.pool(settled_day).total_games == 100
    query = "SELECT total_games FROM prize_pools WHERE period_type = 'daily' AND period_date = '2026-01-06'"
    with arcade.engine.connect() as connection:
        assert connection.execute(text(query)).scalars().all() == [1]


@given(moments())
def test_its_calendar_is_that_of_the_jobs(example: SimpleNamespace, moment: tuple[Calendar, datetime]) -> None:
    calendar, at = moment
    assert example.period_dates(at, calendar.zones) == {
        str(period_type): current_period(period_type, at, calendar).date
        for period_type in (PeriodType.DAILY, PeriodType.WEEKLY)
    }


def test_it_reads_the_calendar_that_is_recorded(example: SimpleNamespace, arcade: Arcade) -> None:
    calendar = Calendar(zones=UTC | {date(2026, 3, 2): ZoneInfo("Europe/London")})
    replace(arcade, calendar=calendar).record_calendar()
    with arcade.engine.connect() as connection:
        assert example.read_zones(connection) == calendar.zones
