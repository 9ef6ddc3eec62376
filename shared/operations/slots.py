"""The slots of a schedule: the instants at which a job fires, or should have fired.

As EventBridge does: a local time that clocks skip does not fire, and one that comes twice fires at its first
(https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html, Daylight saving time).
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from cronsim import CronSim

A_YEAR = timedelta(days=366)


def slots(cron: str, zone: ZoneInfo, *, begins: datetime) -> Iterator[datetime]:
    """The slots at or after an instant, in UTC, without end.

    Args:
        cron: five fields that are known to be good, read in the zone.
        zone: of the schedule.
        begins: an aware instant.
    """
    # The local time before clocks were set back can be later than the one after: start a day earlier.
    local = begins.astimezone(zone).replace(tzinfo=None) - timedelta(days=1)
    for wall in CronSim(cron, local):
        slot = wall.replace(tzinfo=zone).astimezone(UTC)
        is_skipped = slot.astimezone(zone).replace(tzinfo=None) != wall
        if slot >= begins and not is_skipped:
            yield slot


def next_slot(cron: str, zone: ZoneInfo, *, now: datetime) -> datetime:
    """The first slot after an instant, in UTC."""
    return next(slots(cron, zone, begins=now + timedelta(microseconds=1)))


def last_slot(cron: str, zone: ZoneInfo, *, now: datetime) -> datetime:
    """The last slot before an instant, in UTC."""
    local = now.astimezone(zone).replace(tzinfo=None) + timedelta(days=1)
    for wall in CronSim(cron, local, reverse=True):
        slot = wall.replace(tzinfo=zone).astimezone(UTC)
        is_skipped = slot.astimezone(zone).replace(tzinfo=None) != wall
        if slot < now and not is_skipped:
            return slot
    raise ValueError(f"{cron!r} does not fire before {now}")


def is_slot(cron: str, zone: ZoneInfo, at: datetime) -> bool:
    """Whether a schedule fires at an instant, to the minute."""
    minute = at.replace(second=0, microsecond=0)
    return next(slots(cron, zone, begins=minute)) == minute


def longest_gap(cron: str, zone: ZoneInfo, *, begins: datetime) -> timedelta:
    """The longest time between two slots that follow each other, among those of the year after an instant."""
    # The minutes are the same in every hour, so one slot an hour is enough: half a million would take seconds.
    minutes = sorted(CronSim(cron, begins).minutes)
    first_minutes = " ".join([str(minutes[0]), *cron.split()[1:]])
    longest = timedelta()
    for before, after in pairwise(slots(first_minutes, zone, begins=begins)):
        longest = max(longest, after - before)
        if after - begins > A_YEAR:
            break
    between_hours = longest - timedelta(minutes=minutes[-1] - minutes[0])
    within_an_hour = (timedelta(minutes=later - earlier) for earlier, later in pairwise(minutes))
    return max([between_hours, *within_an_hour])
