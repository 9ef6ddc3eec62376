"""The slots of a schedule, as EventBridge fires them."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from shared.operations.slots import is_slot, longest_gap, next_slot, slots

LONDON = ZoneInfo("Europe/London")  # clocks skip 01:00 to 02:00 on 2026-03-29, and repeat it on 2026-10-25


def first(cron: str, zone: ZoneInfo, begins: datetime, count: int) -> list[str]:
    return [f"{slot:%m-%d %H:%M}" for slot in islice(slots(cron, zone, begins=begins), count)]


def test_a_slot_at_the_instant_itself_is_the_first_and_not_the_next() -> None:
    midnight = datetime(2026, 1, 12, tzinfo=UTC)
    assert first("0 0 * * *", ZoneInfo("UTC"), midnight, 2) == ["01-12 00:00", "01-13 00:00"]
    assert next_slot("0 0 * * *", ZoneInfo("UTC"), now=midnight) == datetime(2026, 1, 13, tzinfo=UTC)


def test_a_local_time_that_clocks_skip_does_not_fire() -> None:
    assert first("30 1 * * *", LONDON, datetime(2026, 3, 28, tzinfo=UTC), 3) == [
        "03-28 01:30",
        "03-30 00:30",
        "03-31 00:30",
    ]


def test_a_local_time_that_comes_twice_fires_at_its_first() -> None:
    assert first("30 1 * * *", LONDON, datetime(2026, 10, 24, 12, tzinfo=UTC), 2) == ["10-25 00:30", "10-26 01:30"]


def test_none_is_lost_when_the_start_lies_in_the_repeated_hour() -> None:
    assert first("45 1 * * *", LONDON, datetime(2026, 10, 25, 0, 40, tzinfo=UTC), 1) == ["10-25 00:45"]
    assert first("45 1 * * *", LONDON, datetime(2026, 10, 25, 1, 10, tzinfo=UTC), 1) == ["10-26 01:45"]


def test_is_slot_goes_by_the_minute() -> None:
    assert is_slot("0 * * * *", ZoneInfo("UTC"), datetime(2026, 1, 12, 5, 0, 40, tzinfo=UTC))
    assert not is_slot("0 * * * *", ZoneInfo("UTC"), datetime(2026, 1, 12, 5, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("cron", "zone", "hours"),
    [
        ("0 * * * *", "UTC", 1),
        ("0 0 * * *", "UTC", 24),
        ("0 0 * * *", "Europe/London", 25),
        ("0 0 * * 1", "UTC", 7 * 24),
        ("0 9 1 1 *", "UTC", 365 * 24),
        ("* * * * *", "UTC", 1 / 60),
        ("* * * * *", "Europe/London", 61 / 60),  # the hour that comes twice fires once
        ("*/25 * * * *", "UTC", 25 / 60),
        ("3,50 */2 * * *", "UTC", 73 / 60),
        ("0,59 9 * * *", "UTC", 24 - 59 / 60),
    ],
)
def test_the_longest_gap_is_that_of_a_whole_year(cron: str, zone: str, hours: float) -> None:
    assert longest_gap(cron, ZoneInfo(zone), begins=datetime(2026, 1, 1, tzinfo=UTC)) == timedelta(hours=hours)
