"""Random calendars and instants, for Hypothesis: zones that give way to others, and moments around those dates."""

import zoneinfo
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from shared.domain.periods import Calendar

FIRST, LAST = datetime(2025, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ZONES = sorted(zoneinfo.available_timezones() - {"localtime"})

zones = st.sampled_from(ZONES).map(ZoneInfo)
instants = st.timedeltas(timedelta(0), LAST - FIRST).map(lambda since: FIRST + since)
dates = st.dates(date(2025, 1, 2), date(2035, 12, 30))


def tiles(calendar: Calendar) -> bool:
    """Whether no day is empty where one zone gives way to another."""
    return all(calendar.midnight(day - DAY) < calendar.midnight(day) for day in calendar.zones)


@st.composite
def calendars(draw: st.DrawFn) -> Calendar:
    """One zone, which gives way to others on up to four dates."""
    changes = draw(st.dictionaries(dates, zones, max_size=4))
    first = draw(zones)
    calendar = Calendar.of(first)
    for begins, zone in changes.items():
        changed = Calendar(zones={**calendar.zones, begins: zone})
        calendar = changed if tiles(changed) else calendar
    return calendar


@st.composite
def moments(draw: st.DrawFn) -> tuple[Calendar, datetime]:
    """A calendar and an instant, often one around which a zone gives way to another."""
    calendar = draw(calendars())
    at = draw(instants)
    if changes := sorted(calendar.zones)[1:]:
        near = calendar.midnight(draw(st.sampled_from(changes))) + draw(st.timedeltas(-50 * HOUR, 50 * HOUR))
        at = draw(st.sampled_from([near, at]))
    return calendar, at
