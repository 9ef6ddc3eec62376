from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.periods import (
    ALLTIME_DATE,
    Calendar,
    Period,
    PeriodType,
    current_period,
    has_ended,
    is_late,
    load_zone,
)
from tests.calendars import DAY, FIRST, HOUR, LAST, ZONES, calendars, dates, instants, moments, zones

INSTANT = timedelta(microseconds=1)

period_types = st.sampled_from(PeriodType)


def offset(at: datetime, zone: ZoneInfo) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta(0)


@cache
def jumps(zone: ZoneInfo) -> tuple[datetime, ...]:
    """Every instant of the eleven years at which the zone's clocks are set forward or back."""
    found = []
    before, last_offset = FIRST, offset(FIRST, zone)
    while before < LAST:
        after = before + DAY
        if (new_offset := offset(after, zone)) != last_offset:
            low, high = before, after
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) // 2
                low, high = (middle, high) if offset(middle, zone) == last_offset else (low, middle)
            found.append(high.replace(microsecond=0))
        before, last_offset = after, new_offset
    return tuple(found)


@cache
def zones_that_differ() -> tuple[ZoneInfo, ...]:
    """One zone of each set that has the same offsets and jumps: most names are links."""
    alike = {(offset(FIRST, zone), offset(LAST, zone), jumps(zone)): zone for zone in map(ZoneInfo, ZONES)}
    return tuple(alike.values())


def days_by_the_wall(around: datetime, zone: ZoneInfo) -> Iterator[tuple[datetime, date]]:
    """Instants a half hour apart around a jump, and the newest date that a clock on the wall has shown until then."""
    newest = date.min
    at = around - timedelta(hours=50)
    while at < around + timedelta(hours=26):
        newest = max(newest, at.astimezone(zone).date())
        yield at, newest
        at += timedelta(minutes=30)


@pytest.mark.no_cover
def test_around_every_jump_of_every_zone_a_day_begins_when_the_wall_first_shows_its_date() -> None:
    for zone in zones_that_differ():
        calendar = Calendar.of(zone)
        for jump in jumps(zone):
            for at, day in days_by_the_wall(jump, zone):
                assert calendar.local_day(at) == day, (zone, at)
                assert calendar.midnight(day) <= at < calendar.midnight(day + DAY), (zone, at)


@pytest.mark.no_cover
def test_around_every_jump_of_every_zone_days_are_as_long_as_the_clocks_say() -> None:
    for zone in zones_that_differ():
        calendar = Calendar.of(zone)
        for jump in jumps(zone):
            day = jump.astimezone(zone).date()
            shift = offset(jump, zone) - offset(jump - INSTANT, zone)
            lengths = [calendar.midnight(near + DAY) - calendar.midnight(near) for near in (day - DAY, day, day + DAY)]
            assert sorted(lengths) == sorted((DAY, DAY, DAY - shift)), (zone, day)


def test_there_are_jumps_to_test() -> None:
    assert len(zones_that_differ()) > 50
    assert sum(len(jumps(zone)) for zone in zones_that_differ()) > 500


@given(moments(), period_types)
def test_every_instant_is_in_exactly_one_period_of_each_type(
    moment: tuple[Calendar, datetime], period_type: PeriodType
) -> None:
    calendar, at = moment
    period = current_period(period_type, at, calendar)
    ends_at = period.ends_at(calendar)
    assert period.starts_at(calendar) <= at
    assert ends_at is None or at < ends_at
    assert current_period(period_type, period.starts_at(calendar), calendar) == period
    assert ends_at is None or current_period(period_type, ends_at - INSTANT, calendar) == period


@given(moments(), st.sampled_from([PeriodType.DAILY, PeriodType.WEEKLY]))
def test_a_period_ends_where_the_next_one_starts(moment: tuple[Calendar, datetime], period_type: PeriodType) -> None:
    calendar, at = moment
    period = current_period(period_type, at, calendar)
    ends_at = period.ends_at(calendar)
    assert ends_at is not None
    following = current_period(period_type, ends_at, calendar)
    assert following != period
    assert following.starts_at(calendar) == ends_at
    assert has_ended(period, ends_at, calendar)
    assert not has_ended(period, ends_at - INSTANT, calendar)


@given(calendars(), dates)
def test_the_day_of_a_midnight_is_its_date_and_the_instant_before_is_the_day_befores(
    calendar: Calendar, day: date
) -> None:
    for near in (day, *calendar.zones):
        assert calendar.local_day(calendar.midnight(near)) == near
        assert calendar.local_day(calendar.midnight(near) - INSTANT) == near - DAY


@given(calendars(), dates, zones)
def test_a_change_moves_the_midnights_from_its_date_on_and_no_earlier_one(
    calendar: Calendar, begins: date, zone: ZoneInfo
) -> None:
    changed = Calendar(zones={day: other for day, other in calendar.zones.items() if day < begins} | {begins: zone})
    for number in range(-3, 4):
        day = begins + number * DAY
        assert changed.midnight(day) == (calendar if day < begins else Calendar.of(zone)).midnight(day)


def test_a_week_in_which_the_zone_changes_ends_where_the_next_one_begins() -> None:
    """From London to Tokyo on a Wednesday: the week has nine hours less."""
    calendar = Calendar(zones={ALLTIME_DATE: ZoneInfo("Europe/London"), date(2026, 1, 14): ZoneInfo("Asia/Tokyo")})
    week = Period(type=PeriodType.WEEKLY, date=date(2026, 1, 12))
    assert week.starts_at(calendar) == datetime(2026, 1, 12, tzinfo=UTC)
    assert week.ends_at(calendar) == datetime(2026, 1, 18, 15, tzinfo=UTC)
    tuesday = Period(type=PeriodType.DAILY, date=date(2026, 1, 13))
    assert tuesday.ends_at(calendar) == datetime(2026, 1, 13, 15, tzinfo=UTC)


def test_the_earliest_zone_is_in_force_before_its_date_too() -> None:
    calendar = Calendar(zones={date(2026, 1, 14): ZoneInfo("Asia/Tokyo"), date(2026, 1, 12): ZoneInfo("Asia/Kolkata")})
    assert [calendar.zone_on(date(2026, 1, day)).key for day in (1, 13, 14)] == ["Asia/Kolkata"] * 2 + ["Asia/Tokyo"]


def test_a_job_may_be_configured_with_the_zone_in_force_or_with_one_that_is_recorded_for_later() -> None:
    london, tokyo, utc = ZoneInfo("Europe/London"), ZoneInfo("Asia/Tokyo"), ZoneInfo("UTC")
    begins = date(2026, 1, 14)
    calendar = Calendar(zones={ALLTIME_DATE: london, begins: tokyo})
    assert [calendar.admits(zone, begins - DAY) for zone in (london, tokyo, utc)] == [True, True, False]
    assert [calendar.admits(zone, begins) for zone in (london, tokyo, utc)] == [False, True, False]


@given(moments())
def test_a_week_is_seven_of_its_zones_days_from_a_monday(moment: tuple[Calendar, datetime]) -> None:
    calendar, at = moment
    week = current_period(PeriodType.WEEKLY, at, calendar)
    assert week.date.weekday() == 0
    assert timedelta(0) <= calendar.local_day(at) - week.date < timedelta(days=7)
    assert week.ends_at(calendar) == Period(type=PeriodType.DAILY, date=week.date + timedelta(days=6)).ends_at(calendar)


@given(zones, instants)
def test_the_local_day_is_the_date_on_the_wall(zone: ZoneInfo, at: datetime) -> None:
    """Except in the stated case: clocks set back across midnight show the old date once more."""
    calendar = Calendar.of(zone)
    shown = at.astimezone(zone).date()
    was_shown_before = (at - 3 * HOUR).astimezone(zone).date() > shown or any(
        (at - minutes * timedelta(minutes=15)).astimezone(zone).date() > shown for minutes in range(12)
    )
    assert calendar.local_day(at) == (shown + DAY if was_shown_before else shown)


@given(st.dates(date(2025, 1, 1), date(2035, 12, 31)))
def test_in_utc_a_day_is_the_date(day: date) -> None:
    assert Calendar.of(ZoneInfo("UTC")).midnight(day) == datetime.combine(day, time(), tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "day", "begins"),
    [
        ("Africa/Cairo", date(2026, 4, 24), "2026-04-23T22:00"),
        ("America/Santiago", date(2026, 9, 6), "2026-09-06T04:00"),
        ("Asia/Beirut", date(2026, 3, 29), "2026-03-28T22:00"),
        ("America/Havana", date(2026, 3, 8), "2026-03-08T05:00"),
        ("Atlantic/Azores", date(2026, 3, 29), "2026-03-29T01:00"),
    ],
)
def test_a_midnight_that_does_not_exist_is_the_instant_of_the_jump(name: str, day: date, begins: str) -> None:
    zone = ZoneInfo(name)
    calendar = Calendar.of(zone)
    begins_at = datetime.fromisoformat(begins).replace(tzinfo=UTC)
    assert begins_at in jumps(zone)
    assert begins_at.astimezone(zone).time() == time(1)  # the wall goes from 23:59:59 to 01:00
    assert calendar.midnight(day) == begins_at
    assert calendar.midnight(day + DAY) - begins_at == 23 * HOUR
    assert calendar.local_day(begins_at - INSTANT) == day - DAY
    assert calendar.local_day(begins_at) == day


@pytest.mark.parametrize(
    ("name", "day", "first", "second"),
    [
        ("America/Havana", date(2026, 11, 1), "2026-11-01T04:00", "2026-11-01T05:00"),
        ("Atlantic/Azores", date(2026, 10, 25), "2026-10-25T00:00", "2026-10-25T01:00"),
    ],
)
def test_of_a_midnight_that_comes_twice_the_first_begins_the_day(name: str, day: date, first: str, second: str) -> None:
    zone = ZoneInfo(name)
    calendar = Calendar.of(zone)
    first_at, second_at = (datetime.fromisoformat(at).replace(tzinfo=UTC) for at in (first, second))
    assert first_at.astimezone(zone).time() == second_at.astimezone(zone).time() == time(0)
    assert calendar.midnight(day) == first_at
    assert calendar.midnight(day + DAY) - first_at == 25 * HOUR


def test_clocks_set_back_from_midnight_do_not_reopen_the_day_before() -> None:
    """In Beirut midnight of 25 October 2026 is set back to 23:00: the wall shows the 24th for one more hour."""
    zone = ZoneInfo("Asia/Beirut")
    calendar = Calendar.of(zone)
    jump = next(at for at in jumps(zone) if at.date() == date(2026, 10, 24))
    assert (jump.astimezone(zone).date(), jump.astimezone(zone).hour) == (date(2026, 10, 24), 23)
    assert calendar.midnight(date(2026, 10, 25)) == jump + HOUR
    assert calendar.local_day(jump + HOUR - INSTANT) == date(2026, 10, 24)
    assert calendar.local_day(jump + HOUR) == date(2026, 10, 25)


def test_a_day_that_has_begun_continues_though_the_old_date_is_shown_again() -> None:
    """Until 2011 clocks in St. John's were set back from 00:01 to 23:01; nothing does so now, and anybody may again."""
    zone = ZoneInfo("America/St_Johns")
    calendar = Calendar.of(zone)
    midnight = calendar.midnight(date(2010, 11, 7))
    again = midnight + timedelta(minutes=31)
    assert again.astimezone(zone).date() == date(2010, 11, 6)
    assert calendar.local_day(midnight - INSTANT) == date(2010, 11, 6)
    assert calendar.local_day(midnight) == calendar.local_day(again) == date(2010, 11, 7)


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 6, 1), 24)])
def test_a_day_of_london_has_its_23_24_or_25_hours(day: date, hours: int) -> None:
    zone = ZoneInfo("Europe/London")
    calendar = Calendar.of(zone)
    assert calendar.midnight(day + DAY) - calendar.midnight(day) == hours * HOUR


def test_weeks_in_which_clocks_change_have_an_hour_less_or_more() -> None:
    zone = ZoneInfo("Europe/London")
    calendar = Calendar.of(zone)
    lengths = [
        (week.ends_at(calendar) or FIRST) - week.starts_at(calendar)
        for week in (Period(type=PeriodType.WEEKLY, date=monday) for monday in (date(2026, 3, 23), date(2026, 10, 19)))
    ]
    assert lengths == [167 * HOUR, 169 * HOUR]


@given(moments())
def test_alltime_is_one_period_without_an_end(moment: tuple[Calendar, datetime]) -> None:
    calendar, at = moment
    period = current_period(PeriodType.ALLTIME, at, calendar)
    assert period == Period(type=PeriodType.ALLTIME, date=ALLTIME_DATE)
    assert period.ends_at(calendar) is None
    assert not has_ended(period, LAST, calendar)
    assert not is_late(period, LAST, calendar)


def test_what_the_first_slot_of_the_day_settles_is_not_late() -> None:
    zone = ZoneInfo("Europe/London")
    calendar = Calendar.of(zone)
    sunday = Period(type=PeriodType.DAILY, date=date(2026, 1, 11))
    saturday = Period(type=PeriodType.DAILY, date=date(2026, 1, 10))
    week = Period(type=PeriodType.WEEKLY, date=date(2026, 1, 5))
    monday_slot = datetime(2026, 1, 12, tzinfo=UTC)
    assert [is_late(period, monday_slot, calendar) for period in (sunday, week, saturday)] == [False, False, True]
    assert [is_late(period, monday_slot + 23 * HOUR, calendar) for period in (sunday, week)] == [False, False]
    assert [is_late(period, monday_slot + DAY, calendar) for period in (sunday, week)] == [True, True]


def test_what_the_scheduler_fires_at_one_because_midnight_does_not_exist_is_not_late() -> None:
    zone = ZoneInfo("Africa/Cairo")
    calendar = Calendar.of(zone)
    thursday = Period(type=PeriodType.DAILY, date=date(2026, 4, 23))
    assert not is_late(thursday, calendar.midnight(date(2026, 4, 24)), calendar)
    assert is_late(thursday, calendar.midnight(date(2026, 4, 25)), calendar)


@pytest.mark.usefixtures("far_zone")
def test_the_zone_of_the_machine_decides_nothing() -> None:
    midnight = Calendar.of(ZoneInfo("America/New_York")).midnight(date(2026, 1, 12))
    assert (midnight, midnight.tzinfo) == (datetime(2026, 1, 12, 5, tzinfo=UTC), UTC)


def test_what_is_late_is_so_in_its_own_zone() -> None:
    zone = ZoneInfo("America/New_York")
    calendar = Calendar.of(zone)
    sunday = Period(type=PeriodType.DAILY, date=date(2026, 1, 11))
    assert not is_late(sunday, datetime(2026, 1, 12, 5, tzinfo=UTC), calendar)
    assert is_late(sunday, datetime(2026, 1, 13, 5, tzinfo=UTC), calendar)


def test_a_name_is_shown_up_to_80_characters() -> None:
    with pytest.raises(ValueError, match=f"^'{'x' * 80}' is not an IANA time zone"):
        load_zone("x" * 81)


@pytest.mark.parametrize("name", ["UTC", "Europe/London", "America/Argentina/Buenos_Aires", "Etc/GMT+5"])
def test_a_zone_is_loaded_by_its_name(name: str) -> None:
    assert load_zone(name).key == name


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            " ",
            "Mars/Olympus",
            "Europe/London ",
            "../UTC",
            "/etc/localtime",
            "Europe",
            "zone.tab",
            "a\0b",
            "\ud800",
        ),
        *("Europe\nLondon", "+01:00", "x" * 5000),
        # On some machines only, and what they mean depends on the machine: its own zone, or clocks with leap seconds.
        *("localtime", "posixrules", "right/UTC", "posix/Europe/London"),
    ],
)
def test_a_name_that_is_no_zone_is_refused_in_one_line_that_shows_it(name: str) -> None:
    with pytest.raises(ValueError, match="IANA") as refused:
        load_zone(name)
    assert str(refused.value).isprintable()
    assert repr(name)[:40] in str(refused.value)
    assert len(str(refused.value)) < 200
