"""S10: clocks change at midnight. In every IANA zone, 2025 to 2035, every local day is settled exactly once."""

import importlib.resources
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest

from shared.domain.periods import ONE_DAY, ONE_WEEK, Calendar, Period, PeriodType, current_period
from shared.domain.run import Run
from shared.domain.tick import Tick
from shared.services.prize_pool import PrizePoolSettler
from shared.services.transactions import Transactions
from tests.arcade import Arcade
from tests.fakes import FakeClock, scheduled_event

FIRST, LAST = date(2025, 1, 1), date(2035, 12, 31)
HOUR, MINUTE, INSTANT = timedelta(hours=1), timedelta(minutes=1), timedelta(microseconds=1)
NAMES = sorted(zoneinfo.available_timezones() - {"localtime"})
PARTS = 2  # one for each core


@cache
def zones() -> tuple[ZoneInfo, ...]:
    """One zone of each set of names that are links to the same data."""
    folder = importlib.resources.files("tzdata") / "zoneinfo"
    return tuple({folder.joinpath(*name.split("/")).read_bytes(): ZoneInfo(name) for name in reversed(NAMES)}.values())


def first_instant_on_the_wall(day: date, zone: ZoneInfo) -> datetime:
    """When a wall clock first shows a date, in UTC. It knows nothing of `fold`; it looks, minute by minute."""
    at = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=15)  # no zone is further east
    while at.astimezone(zone).date() < day:
        at += MINUTE
    return at


@cache
def jumps_at_midnight(zone: ZoneInfo) -> tuple[date, ...]:
    """The days that begin where clocks are changed: within an hour of it, forward or back."""

    def offset(at: datetime) -> timedelta | None:
        return at.astimezone(zone).utcoffset()

    found, day = [], FIRST
    noon = datetime(FIRST.year, FIRST.month, FIRST.day, 12, tzinfo=UTC) - ONE_DAY
    before = offset(noon)
    while day <= LAST:
        noon += ONE_DAY
        after = offset(noon)
        if before != after:  # else the clocks did not change between the two noons, nor at a midnight near them
            for near in (day - ONE_DAY, day, day + ONE_DAY):
                midnight = datetime(near.year, near.month, near.day, tzinfo=zone).astimezone(UTC)
                if offset(midnight - HOUR - MINUTE) != offset(midnight + HOUR + MINUTE):
                    found.append(near)
        day, before = day + ONE_DAY, after
    return tuple(found)


class Remembered(Calendar):
    """A calendar that calculates each midnight once; a day is asked for seven times."""

    def midnight(self, day: date) -> datetime:
        found = self.__dict__.setdefault("midnights", {})
        if day not in found:
            found[day] = super().midnight(day)
        midnight: datetime = found[day]
        return midnight


@pytest.mark.parametrize("part", range(PARTS))
def test_s10_in_every_zone_the_settling_decision_takes_every_day_once_and_never_before_its_end(part: int) -> None:
    """At the slot that opens each local day: `list_due_pools` takes the days before `today`, and nothing else does.

    So the days are settled once each, without a gap, exactly when `today` goes up by one day from slot to slot; and not
    before their end, when a slot's `today` is the day that contains it.
    """
    days = (LAST - FIRST).days + 1
    for zone in zones()[part::PARTS]:
        calendar = Remembered.of(zone)
        day, start = FIRST, Period(type=PeriodType.DAILY, date=FIRST).starts_at(calendar)
        for _ in range(days):
            end = Period(type=PeriodType.DAILY, date=day).ends_at(calendar)
            assert end is not None
            assert start < end, f"{zone}: {day} is empty"
            today, last = calendar.local_day(start), calendar.local_day(end - INSTANT)
            assert today == last == day, f"{zone}: {day} is {today} at its start and {last} at its end"
            day, start = day + ONE_DAY, end


def test_s10_every_iana_zone_is_tested_for_eleven_years() -> None:
    assert len(NAMES) > 590
    assert len(zones()) > 300
    assert (LAST - FIRST).days + 1 == 4017
    jumping = {zone.key for zone in zones() if jumps_at_midnight(zone)}
    assert {"Africa/Cairo", "America/Havana", "America/Santiago", "Asia/Beirut", "Atlantic/Azores"} <= jumping


@pytest.mark.parametrize("part", range(PARTS))
def test_s10_days_begin_when_the_wall_first_shows_their_date_wherever_clocks_change_at_midnight(part: int) -> None:
    for zone in zones()[part::PARTS]:
        calendar = Calendar.of(zone)
        for day in jumps_at_midnight(zone):
            starts_at = Period(type=PeriodType.DAILY, date=day).starts_at(calendar)
            assert starts_at == first_instant_on_the_wall(day, zone), f"{zone}: {day}"


@pytest.mark.parametrize("part", range(PARTS))
def test_s10_a_payment_and_a_score_have_one_day_and_one_week_around_every_jump(part: int) -> None:
    """The periods in which they count, and so are settled: a quarter of an hour apart, for six hours on both sides."""
    for zone in zones()[part::PARTS]:
        calendar = Calendar.of(zone)
        for day in jumps_at_midnight(zone):
            midnight = Period(type=PeriodType.DAILY, date=day).starts_at(calendar)
            for quarter in range(-24, 25):
                for at in (midnight + quarter * HOUR / 4, midnight + quarter * HOUR / 4 - INSTANT):
                    for period_type, length in ((PeriodType.DAILY, ONE_DAY), (PeriodType.WEEKLY, ONE_WEEK)):
                        mine = current_period(period_type, at, calendar)
                        near = [Period(type=period_type, date=mine.date + n * length) for n in (-1, 0, 1)]
                        ends = [period.ends_at(calendar) for period in near]
                        holding = [
                            p for p, end in zip(near, ends, strict=True) if end and p.starts_at(calendar) <= at < end
                        ]
                        assert holding == [mine], f"{zone}: {at}"


def cases() -> Iterator[tuple[str, date]]:
    """Each zone whose clocks change at midnight, on the first days on which they go forward and back."""
    for zone in zones():
        seen, calendar = set(), Calendar.of(zone)
        for day in jumps_at_midnight(zone):
            midnight = Period(type=PeriodType.DAILY, date=day).starts_at(calendar)
            before, after = ((midnight + side * 2 * HOUR).astimezone(zone).utcoffset() for side in (-1, 1))
            assert before is not None
            assert after is not None
            if (after > before) not in seen:
                seen.add(after > before)
                yield zone.key, day


def slots(day: date, zone: ZoneInfo) -> list[datetime]:
    """When the job fires: at each 00:00 of a week around a day, and manually an instant before and an hour after.

    A midnight that does not exist is skipped (EventBridge Scheduler does so); one that comes twice may fire twice.
    """
    found = []
    for number in range(-3, 5):
        that_day = day + number * ONE_DAY
        for fold in (0, 1):
            wall = datetime(that_day.year, that_day.month, that_day.day, tzinfo=zone, fold=fold)
            at = wall.astimezone(UTC)
            if at.astimezone(zone).replace(tzinfo=None) == wall.replace(tzinfo=None):
                found += [at - INSTANT, at, at + HOUR]
    return sorted(set(found))


def test_s10_pools_are_settled_once_each_at_the_first_slot_after_their_end_around_every_kind_of_jump(
    arcade: Arcade, transactions: Transactions, clock: FakeClock
) -> None:
    """On PostgreSQL: `list_due_pools`, lock, decide, mark, with a winner who finished in the day's last second."""
    tried = list(cases())
    assert len(tried) >= 20
    for number, (name, day) in enumerate(tried):
        zone, game = ZoneInfo(name), f"game_{number}"
        calendar = Calendar.of(zone)
        settle = PrizePoolSettler(
            transactions=transactions,
            zone=zone,
            grace=timedelta(0),
            game_types=[game],
            clock=clock,
            sleep=clock.sleep,
        )
        local = Arcade(arcade.engine, calendar=calendar)
        local.record_calendar()
        monday = day - timedelta(days=day.weekday())
        periods = [Period(type=PeriodType.DAILY, date=day + n * ONE_DAY) for n in (-2, -1, 0, 1)]
        periods += [Period(type=PeriodType.WEEKLY, date=monday + n * ONE_WEEK) for n in (-1, 0)]
        pools = {local.add_pool(each.date.isoformat(), game=game, period=str(each.type)): each for each in periods}
        for each in periods[:4]:
            ends_at = each.ends_at(calendar)
            assert ends_at is not None
            local.play(f"0x{each.date}", 7, (ends_at - INSTANT).isoformat(), game=game)
            local.play(f"0x{each.date}-too-late", 9, ends_at.isoformat(), game=game)
        for slot in slots(day, zone):
            clock.now = slot
            fired = Tick.from_event(scheduled_event(slot.isoformat()), now=slot, request_id=str(slot))
            run = Run(id=f"{name}:{slot.isoformat()}", tick=fired, time_left=lambda: timedelta(minutes=5))
            settled = settle(run).result["finalized_pools"]
            due = {pool_id for pool_id, each in pools.items() if (end := each.ends_at(calendar)) and end <= slot}
            assert {pool["pool_id"] for pool in settled} == due, f"{name} {day}: at {slot}"
            for pool in settled:
                if pool["period_type"] == "daily":
                    ended = date.fromisoformat(pool["period_date"])
                    best = f"0x{ended}" if ended == periods[0].date else f"0x{ended - ONE_DAY}-too-late"
                    assert pool["winner_address"] == best, f"{name} {day}: {ended}"
            pools = {pool_id: each for pool_id, each in pools.items() if pool_id not in due}
        assert {each.type for each in pools.values()} <= {PeriodType.WEEKLY}, f"{name} {day}"
