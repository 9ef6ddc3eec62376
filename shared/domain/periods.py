"""Periods: the half-open intervals in which players compete (docs/design.md, Time).

A period lies between two local midnights of a calendar. All instants here are aware datetimes in UTC, all dates are
local dates.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

ALLTIME_DATE = date(1970, 1, 1)
ONE_DAY = timedelta(days=1)
ONE_WEEK = timedelta(days=7)
# S11: names that are not IANA's, and mean something else on each machine: its own zone, clocks that count leap seconds.
MACHINE_ZONES = ("localtime", "posix", "right/")


class PeriodType(StrEnum):
    """How long a competition lasts. The values are those of the `period_type` columns."""

    DAILY = "daily"
    WEEKLY = "weekly"
    ALLTIME = "alltime"


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """When local days begin: at their midnight in the zone in force on their date; each ends where the next begins.

    Attributes:
        zones: by the first date on which each is in force; the earliest is in force before it too.
    """

    zones: Mapping[date, ZoneInfo]

    @classmethod
    def of(cls, zone: ZoneInfo) -> "Calendar":
        """The calendar of one zone."""
        return cls(zones={ALLTIME_DATE: zone})

    def zone_on(self, day: date) -> ZoneInfo:
        """The zone in force on a local date."""
        return self.zones[max((begins for begins in self.zones if begins <= day), default=min(self.zones))]

    def midnight(self, day: date) -> datetime:
        """The instant at which a local date begins, in UTC.

        Where clocks jump at midnight and 00:00 does not exist, that is the instant of the jump; where 00:00 comes
        twice, it is the first. Both are what `fold=0` means (PEP 495): a wall time in a gap is read with the offset
        before the jump.
        """
        return datetime.combine(day, time(), tzinfo=self.zone_on(day)).astimezone(UTC)

    def local_day(self, at: datetime) -> date:
        """The local date whose day contains the instant: `midnight(d) <= at < midnight(d + 1)`.

        It is the wall clock's date but where days begin by more than the wall: clocks set back across midnight show the
        old date once more, and the new day, which has begun, continues; and so it is where a zone gives way to another.
        """
        day = at.astimezone(UTC).date() + ONE_DAY  # the latest that it is anywhere
        while self.midnight(day) > at:  # S10: no local day is settled before its end.
            day -= ONE_DAY
        return day

    def admits(self, zone: ZoneInfo, day: date) -> bool:
        """Whether a job that works on a local day may be configured with a zone.

        With the one in force, or one that is recorded for later: a stage is deployed with it before it begins.
        """
        return zone.key in {self.zone_on(each).key for each in (day, *self.zones) if each >= day}


@dataclass(frozen=True, kw_only=True)
class Period:
    """One competition period: its type, and the local date that keys it.

    Attributes:
        type: daily, weekly or alltime.
        date: the day itself, the Monday of the week, or 1970-01-01 for alltime.
    """

    type: PeriodType
    date: date

    def starts_at(self, calendar: Calendar) -> datetime:
        """The first instant of the period, in UTC. That of alltime is before every play there is."""
        return calendar.midnight(self.date)

    def ends_at(self, calendar: Calendar) -> datetime | None:
        """The first instant after the period, in UTC; None for alltime, which has no end."""
        match self.type:
            case PeriodType.DAILY:
                return calendar.midnight(self.date + ONE_DAY)
            case PeriodType.WEEKLY:
                return calendar.midnight(self.date + ONE_WEEK)
            case PeriodType.ALLTIME:
                return None


def load_zone(name: str) -> ZoneInfo:
    """The zone of an IANA name such as `Europe/London`.

    Raises:
        ValueError: no such zone. The message is one line and holds the name.
    """
    try:
        if not name.startswith(MACHINE_ZONES):
            return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not found, not a relative path, a directory of zones
        pass
    raise ValueError(f"{name[:80]!r} is not an IANA time zone such as UTC or Europe/London")


def current_period(period_type: PeriodType, at: datetime, calendar: Calendar) -> Period:
    """The period of this type that contains the instant."""
    match period_type:
        case PeriodType.DAILY:
            return Period(type=period_type, date=calendar.local_day(at))
        case PeriodType.WEEKLY:
            day = calendar.local_day(at)
            return Period(type=period_type, date=day - timedelta(days=day.weekday()))
        case PeriodType.ALLTIME:
            return Period(type=period_type, date=ALLTIME_DATE)


def has_ended(period: Period, at: datetime, calendar: Calendar) -> bool:
    """Whether the period's last instant lies before `at`: the end belongs to the next period."""
    ends_at = period.ends_at(calendar)
    return ends_at is not None and ends_at <= at


def is_late(period: Period, at: datetime, calendar: Calendar) -> bool:
    """Whether a settlement at this time comes after a slot that should have settled it (S02).

    The daily slot that opens a local day settles what ended with the day before; what ended earlier was missed.
    """
    ends_at = period.ends_at(calendar)
    return ends_at is not None and ends_at < calendar.midnight(calendar.local_day(at))
