"""S25: the zone of a deployment changes. The periods keep the zone that is recorded with the data."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from infra import schema as migrations
from infra.jobs import JOBS
from infra.schema import guarded, timezones
from infra.schema.revisions import head
from infra.schema.session import Session, begin
from infra.schema.timezones import TimezoneChangeError
from shared.app import App
from shared.db.connection import open_engine
from shared.domain.periods import ALLTIME_DATE, ONE_DAY, Calendar, Period, PeriodType, current_period
from shared.runs.runner import RunNotSucceededError
from tests.arcade import Arcade
from tests.fakes import FakeClock, scheduled_event
from tests.jobs import StartApp, invoke
from tests.locks import await_lock
from tests.sql import rows, run

LONDON, TOKYO, NEW_YORK, UTC_ZONE = (
    ZoneInfo(name) for name in ("Europe/London", "Asia/Tokyo", "America/New_York", "UTC")
)
INSTANT, HOUR = timedelta(microseconds=1), timedelta(hours=1)
MONDAY, WEDNESDAY = date(2026, 1, 12), date(2026, 1, 14)
MONDAYS_SLOT = scheduled_event("2026-01-12T00:00:00Z")


@contextmanager
def session_of(engine: Engine) -> Iterator[Session]:
    with begin(engine, report=lambda _: None, sleep=lambda _: None) as session:
        yield session


def change(engine: Engine, zone: ZoneInfo, begins: date, *, now: str = "2026-01-12T12:00:00Z") -> dict[date, str]:
    with session_of(engine) as session:
        zones = timezones.change(session, zone, begins=begins, now=datetime.fromisoformat(now))
    return {day: each.key for day, each in zones.items()}


def recorded(engine: Engine) -> list[str]:
    query = "SELECT valid_from || ' ' || timezone FROM arcade_jobs_timezones ORDER BY valid_from"
    return [line for (line,) in rows(engine, query)]


def state(engine: Engine) -> list[tuple[Any, ...]]:
    tables = ("prize_pools", "game_sessions", "leaderboard_entries", "leaderboards", "leaderboard_touches")
    return [row for table in tables for row in rows(engine, f"SELECT CAST(t AS text) FROM {table} AS t ORDER BY 1")]


@pytest.mark.parametrize("job", [job.name for job in JOBS])
def test_s25_a_stage_that_is_deployed_with_another_zone_touches_nothing_and_names_both(
    arcade: Arcade, start_app: StartApp, clock: FakeClock, job: str
) -> None:
    """Midnight in Shanghai comes eight hours early: the players' day is not over."""
    arcade.add_pool("2026-01-11")
    arcade.play("0xearly", 5, "2026-01-11T15:00:00Z")
    arcade.add_session("2026-01-11T01:00:00Z")
    clock.now = datetime(2026, 1, 11, 16, 0, 30, tzinfo=UTC)
    app = start_app(JOB_SCHEDULER_TIMEZONE="Asia/Shanghai", records_zone=False)
    before = state(arcade.engine)
    with pytest.raises(RunNotSucceededError, match=r"failed; .* JOB_SCHEDULER_TIMEZONE is Asia/Shanghai"):
        invoke(app, job, scheduled_event("2026-01-11T16:00:00Z"))
    line = (
        "JOB_SCHEDULER_TIMEZONE is Asia/Shanghai, the database's zone is UTC:"
        " deploy with UTC, or run arcade-jobs db timezone Asia/Shanghai --from DATE"
    )
    for manual in ({}, {"dry_run": True}):
        refused = invoke(app, job, manual)
        assert (refused["status"], refused["result"]) == ("failed", {"errors": [{"error": line}]})
    assert state(arcade.engine) == before


@pytest.mark.parametrize("job", [job.name for job in JOBS])
def test_s25_a_database_without_a_zone_is_not_guessed_at(arcade: Arcade, app: App, job: str) -> None:
    arcade.execute("DELETE FROM arcade_jobs_timezones")
    with pytest.raises(RunNotSucceededError, match=r"no time zone is recorded: run arcade-jobs db upgrade$"):
        invoke(app, job, MONDAYS_SLOT)


def test_s25_a_stage_may_be_deployed_with_the_new_zone_as_soon_as_the_change_is_recorded(
    arcade: Arcade, start_app: StartApp, clock: FakeClock
) -> None:
    """The old one is refused when it is no longer in force; an event of an old day is not."""
    clock.now = datetime(2026, 1, 20, tzinfo=UTC)
    change(arcade.engine, TOKYO, WEDNESDAY)
    old, new = start_app(), start_app(JOB_SCHEDULER_TIMEZONE="Asia/Tokyo", records_zone=False)
    last, first = "2026-01-13T14:59:00Z", "2026-01-13T15:00:00Z"
    for app, time in ((old, last), (new, last), (new, first)):
        assert invoke(app, "prize-pool", {"time": time, "dry_run": True})["status"] == "succeeded"
    refused = invoke(old, "prize-pool", {"time": first, "dry_run": True})
    assert refused["result"]["errors"][0]["error"].startswith(
        "JOB_SCHEDULER_TIMEZONE is UTC, the database's zone is Asia/"
    )


@pytest.mark.parametrize(
    ("old", "new", "tuesday_ends", "week_ends"),
    [
        (LONDON, TOKYO, "2026-01-13T15:00:00+00:00", "2026-01-18T15:00:00+00:00"),
        (LONDON, NEW_YORK, "2026-01-14T05:00:00+00:00", "2026-01-19T05:00:00+00:00"),
        (NEW_YORK, TOKYO, "2026-01-13T15:00:00+00:00", "2026-01-18T15:00:00+00:00"),
        (TOKYO, NEW_YORK, "2026-01-14T05:00:00+00:00", "2026-01-19T05:00:00+00:00"),
    ],
)
def test_s25_after_a_change_old_days_end_in_the_old_zone_and_every_instant_is_counted_once(
    arcade: Arcade,
    start_app: StartApp,
    clock: FakeClock,
    old: ZoneInfo,
    new: ZoneInfo,
    tuesday_ends: str,
    week_ends: str,
) -> None:
    """Plays around every midnight of nine days, each better than the last; from Wednesday on the zone is another.

    So the winner of every period is the last play that was completed in it, and its pool has a cent for each.
    """
    start = datetime(2026, 1, 11, tzinfo=UTC)
    replace(arcade, calendar=Calendar.of(old)).record_calendar()
    change(arcade.engine, new, WEDNESDAY, now="2026-01-12T12:00:00Z")
    arcade = replace(arcade, calendar=Calendar(zones={ALLTIME_DATE: old, WEDNESDAY: new}))
    # The hours at which days begin in one of the two zones, and those before them.
    begin = [datetime(2026, 1, 12, tzinfo=zone).astimezone(UTC).hour for zone in (old, new)]
    at_midnight = {hour % 24 for begins in begin for hour in (begins - 1, begins)}
    hours = [start + number * HOUR for number in range(24 * 9) if number % 24 in at_midnight]
    winner: dict[Period, str] = {}
    games: Counter[Period] = Counter()
    with arcade.engine.begin() as connection:
        players = arcade.within(connection)
        for score, at in enumerate(at for hour in hours for at in (hour, hour + HOUR - INSTANT)):
            player = f"0x{score:x}"
            session_id = players.add_session(at.isoformat(), player=player, score=score, completed_at=at.isoformat())
            for period_type in (PeriodType.DAILY, PeriodType.WEEKLY):
                period = current_period(period_type, at, arcade.calendar)
                players.pay(period.date.isoformat(), period=period_type, amount="0.01")
                players.add_entry(session_id, score, at.isoformat(), player=player, period=period_type)
                winner[period] = player
                games[period] += 1
    before, after = (start_app(JOB_SCHEDULER_TIMEZONE=zone.key, records_zone=False) for zone in (old, new))
    settled_at: dict[Period, datetime] = {}
    for slot in hours:
        clock.now = slot + timedelta(seconds=30)
        app = before if slot < datetime(2026, 1, 13, 12, tzinfo=UTC) else after
        for pool in invoke(app, "prize-pool", scheduled_event(slot.isoformat()))["result"]["finalized_pools"]:
            period = Period(type=PeriodType(pool["period_type"]), date=date.fromisoformat(pool["period_date"]))
            assert (pool["winner_address"], pool["total_games"]) == (winner[period], games[period])
            assert pool["total_amount_usdc"] == f"{games[period] / 100:.6f}"
            assert not pool["late"]
            assert period not in settled_at
            settled_at[period] = slot
    assert settled_at == {period: end for period in winner if (end := period.ends_at(arcade.calendar)) in hours}
    tuesday = Period(type=PeriodType.DAILY, date=WEDNESDAY - ONE_DAY)
    week = Period(type=PeriodType.WEEKLY, date=MONDAY)
    assert [settled_at[tuesday].isoformat(), settled_at[week].isoformat()] == [tuesday_ends, week_ends]


def test_s25_a_change_is_recorded_once_replaced_and_withdrawn(engine: Engine) -> None:
    tokyo = {ALLTIME_DATE: "UTC", WEDNESDAY: "Asia/Tokyo"}
    for _ in range(2):
        assert change(engine, TOKYO, WEDNESDAY) == tokyo
        assert recorded(engine) == ["1970-01-01 UTC", "2026-01-14 Asia/Tokyo"]
    assert change(engine, TOKYO, WEDNESDAY, now="2026-02-01T00:00:00Z") == tokyo  # it is in force: nothing changes
    assert change(engine, LONDON, WEDNESDAY) == {ALLTIME_DATE: "UTC", WEDNESDAY: "Europe/London"}
    change(engine, NEW_YORK, WEDNESDAY + ONE_DAY)
    assert recorded(engine) == ["1970-01-01 UTC", "2026-01-14 Europe/London", "2026-01-15 America/New_York"]
    assert change(engine, UTC_ZONE, WEDNESDAY) == {ALLTIME_DATE: "UTC"}
    assert recorded(engine) == ["1970-01-01 UTC"]


@pytest.mark.parametrize(
    ("zone", "begins", "now", "message"),
    [
        (TOKYO, MONDAY, "2026-01-12T12:00:00Z", "expected a date later than 2026-01-12, which has begun in UTC"),
        (
            TOKYO,
            date(1970, 1, 1),
            "2026-01-12T12:00:00Z",
            "expected a date later than 2026-01-12, which has begun in UTC",
        ),
        # Tomorrow has begun there, or does so while a run that has read the old calendar may still be at work.
        (TOKYO, MONDAY + ONE_DAY, "2026-01-12T15:00:00Z", "later than 2026-01-13, which has begun in Asia/Tokyo"),
        (TOKYO, MONDAY + ONE_DAY, "2026-01-12T14:45:00Z", "in Asia/Tokyo, or does within 15 minutes"),
        (NEW_YORK, MONDAY + ONE_DAY, "2026-01-12T23:45:00Z", "later than 2026-01-13, which has begun in UTC"),
    ],
)
def test_s25_a_date_that_has_begun_in_either_zone_is_refused(
    engine: Engine, zone: ZoneInfo, begins: date, now: str, message: str
) -> None:
    with pytest.raises(TimezoneChangeError, match=f"^--from {begins}: .*{message}"):
        change(engine, zone, begins, now=now)
    assert recorded(engine) == ["1970-01-01 UTC"]


def test_s25_the_last_moment_for_a_change_is_a_quarter_of_an_hour_before_its_date_begins(engine: Engine) -> None:
    change(engine, TOKYO, MONDAY + ONE_DAY, now="2026-01-12T14:44:59Z")
    assert recorded(engine) == ["1970-01-01 UTC", "2026-01-13 Asia/Tokyo"]


@pytest.mark.parametrize("east", ["Pacific/Tongatapu", "Pacific/Kiritimati"])  # 24 and 25 hours ahead
def test_s25_a_change_that_would_leave_nothing_of_the_day_before_is_refused(arcade: Arcade, east: str) -> None:
    replace(arcade, calendar=Calendar.of(ZoneInfo("Pacific/Pago_Pago"))).record_calendar()
    with pytest.raises(TimezoneChangeError, match=r"^--from 2026-01-20: nothing would be left of 2026-01-19"):
        change(arcade.engine, ZoneInfo(east), date(2026, 1, 20))
    change(arcade.engine, UTC_ZONE, date(2026, 1, 20))
    change(arcade.engine, ZoneInfo(east), date(2026, 1, 21))
    assert len(recorded(arcade.engine)) == 3


@pytest.mark.parametrize("period", ["daily", "weekly"])
def test_s25_a_date_that_a_pool_has_is_refused(arcade: Arcade, period: str) -> None:
    arcade.add_pool("2026-01-19", period=period)
    for begins in (date(2026, 1, 15), date(2026, 1, 19)):
        with pytest.raises(
            TimezoneChangeError,
            match=f"^--from {begins}: expected a date later than every pool's; one is of 2026-01-19$",
        ):
            change(arcade.engine, TOKYO, begins)
    change(arcade.engine, TOKYO, date(2026, 1, 20))
    arcade.add_pool("2026-01-21")
    with pytest.raises(TimezoneChangeError, match="later than every pool's"):
        change(arcade.engine, UTC_ZONE, date(2026, 1, 20))  # it cannot be withdrawn any more
    assert recorded(arcade.engine) == ["1970-01-01 UTC", "2026-01-20 Asia/Tokyo"]


@pytest.mark.parametrize("committed", [True, False])
def test_s25_a_change_waits_for_a_pool_that_is_being_opened(arcade: Arcade, *, committed: bool) -> None:
    """Its writer has read the old calendar: if the pool is there in the end, the change is refused."""
    other = open_engine(arcade.engine.url.render_as_string(hide_password=False), connections=2)
    with ThreadPoolExecutor(1) as pool, arcade.engine.connect() as writer:
        arcade.within(writer).pay(WEDNESDAY.isoformat())
        changing = pool.submit(change, other, TOKYO, WEDNESDAY)
        await_lock(arcade.engine)
        if committed:
            writer.commit()
            with pytest.raises(TimezoneChangeError, match=r"one is of 2026-01-14$"):
                changing.result()
        else:
            writer.rollback()
            changing.result()
    other.dispose()
    assert len(recorded(arcade.engine)) == (1 if committed else 2)


def test_s25_a_change_that_another_one_has_overtaken_begins_again(engine: Engine) -> None:
    """Both have read that UTC is recorded alone; the second must not leave a day without its midnight."""

    def overtaken(session: Session) -> None:
        body = timezones.change_body(
            session.schema, {ALLTIME_DATE: LONDON}, {ALLTIME_DATE: LONDON, WEDNESDAY: TOKYO}, begins=WEDNESDAY
        )
        session.run_block(body, expected=head())

    with session_of(engine) as session, pytest.raises(guarded.MovedError):
        overtaken(session)
    assert recorded(engine) == ["1970-01-01 UTC"]


def test_s25_an_upgrade_records_the_zone_once(engine: Engine) -> None:
    migrations.upgrade(engine, timezone=TOKYO)
    assert recorded(engine) == ["1970-01-01 UTC"]
    run(engine, "DELETE FROM arcade_jobs_timezones")
    migrations.upgrade(engine, timezone=TOKYO)
    assert recorded(engine) == ["1970-01-01 Asia/Tokyo"]
