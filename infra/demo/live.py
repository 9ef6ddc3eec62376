"""The demo's plays, as they arrive now or on a day of one's choice: for a laptop cloud whose rules fire meanwhile."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

from infra.demo.platform import Platform
from infra.demo.plays import Play
from shared.domain.errors import BadInputError
from shared.domain.periods import ALLTIME_DATE, Calendar, PeriodType, current_period

AN_INSTANT = timedelta(microseconds=1)


def arrive(
    plays: Iterable[Play], *, platform: Platform, day: date | None, clock: Callable[[], datetime]
) -> Iterator[Play]:
    """Let plays arrive one by one, each whole and with a new session; yield each when it is stored.

    Args:
        plays: their dates do not matter, but for the time of the day.
        platform: receives them.
        day: on which local day each ends, at its own time of the day; None: it ends now.
        clock: the wall clock.

    Raises:
        BadInputError: the day has not begun, or is before all days that the schema takes.
    """
    calendar = platform.calendar
    today = calendar.local_day(clock())
    if day is not None and not ALLTIME_DATE < day <= today:
        raise BadInputError(f"--day: {day} is not a day after {ALLTIME_DATE} that has begun; today is {today}")
    for play in plays:
        ends_at = clock() if day is None else _on(day, play.completed_at or play.created_at, calendar, clock)
        moved = _moved(play, ends_at=ends_at, calendar=calendar)
        platform.receive(started=[moved], completed=[moved] if moved.completed_at else [])
        yield moved


def _on(day: date, at: datetime, calendar: Calendar, clock: Callable[[], datetime]) -> datetime:
    """An instant's time of the day on another day, which may be shorter, or not be over."""
    at = at.astimezone(UTC)
    of_day = at - at.replace(hour=0, minute=0, second=0, microsecond=0)
    last = min(calendar.midnight(day + timedelta(days=1)) - AN_INSTANT, clock())
    return min(calendar.midnight(day) + of_day, last)


def _moved(play: Play, *, ends_at: datetime, calendar: Calendar) -> Play:
    """The play with other dates. It starts on the day on which it ends: the pool of the day before may be settled."""
    today = current_period(PeriodType.DAILY, ends_at, calendar)
    lasted = timedelta(milliseconds=play.game_duration_ms or 0)
    return replace(
        play,
        session_id=uuid4(),
        created_at=max(ends_at - lasted, today.starts_at(calendar)),
        completed_at=ends_at if play.completed_at else None,
    )
