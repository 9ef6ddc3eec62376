"""The calendar that every job reads before it begins (docs/design.md, Time)."""

from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from shared.db.timezones import list_timezones
from shared.domain.errors import ArcadeJobsError
from shared.domain.periods import Calendar, load_zone


class TimezoneError(ArcadeJobsError):
    """The zone that is configured is not that of the data."""


def read_calendar(connection: Connection, *, configured: ZoneInfo, at: datetime) -> Calendar:
    """The zones of the periods, which are the database's, whatever is configured.

    Args:
        connection: in the first transaction of the job.
        configured: JOB_SCHEDULER_TIMEZONE.
        at: the run's scheduled time.

    Raises:
        TimezoneError: no zone is recorded, or another than the one that is configured.
    """
    recorded = list_timezones(connection)
    if not recorded:
        raise TimezoneError("no time zone is recorded: run arcade-jobs db upgrade")
    calendar = Calendar(zones={begins: load_zone(name) for begins, name in recorded.items()})
    today = calendar.local_day(at)
    # S25: a deployment with another zone settles no pool before its players' day is over.
    if not calendar.admits(configured, today):
        raise TimezoneError(mismatch(configured, calendar.zone_on(today)))
    return calendar


def mismatch(configured: ZoneInfo, recorded: ZoneInfo) -> str:
    """One line about two zones that differ, with what to do."""
    return (
        f"JOB_SCHEDULER_TIMEZONE is {configured}, the database's zone is {recorded}:"
        f" deploy with {recorded}, or run arcade-jobs db timezone {configured} --from DATE"
    )
