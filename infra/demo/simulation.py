"""Days of an arcade that never were: plays drawn at random from the real ones, for other dates, zones and loads."""

import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from infra.demo.count import count_settlements
from infra.demo.plays import Play, load_plays
from infra.demo.replay import Scenario, list_slots
from infra.jobs import JOBS
from shared.domain.errors import BadInputError
from shared.domain.periods import Calendar
from shared.operations.slots import slots as slots_of

REAL_DAYS = 21  # of the plays that are drawn from
FIRST_DAY = date(2026, 1, 5)  # of those
EARLIEST, LATEST = date(2000, 1, 1), date(2099, 12, 31)
MOST_DAYS = 366
MOST_PLAYS = 250_000  # they are held in memory: 200 MB
AFTER_THE_LAST_SETTLEMENT = timedelta(hours=4)  # what was abandoned is deleted too
[PRIZE_POOL] = [job for job in JOBS if job.name == "prize-pool"]


def simulate(*, begins: date, days: int, zone: ZoneInfo, load: float, seed: int) -> Scenario:
    """Draw the plays of some days: each is a real one, at its own time of the day, give or take a minute.

    Args:
        begins: the first local day.
        days: how many.
        zone: of the days.
        load: 1.0 is as many plays a day as in the real ones, 286.
        seed: the same one draws the same plays.

    Raises:
        BadInputError: a value is out of bounds; the line names its option.
    """
    if not EARLIEST <= begins <= LATEST:
        raise BadInputError(f"--from: {begins} is not between {EARLIEST} and {LATEST}")
    if not 1 <= days <= MOST_DAYS:
        raise BadInputError(f"--days: {days} is not between 1 and {MOST_DAYS}")
    if not 0 < load < float("inf"):
        raise BadInputError(f"--load: {load:g} is not above 0")
    real = load_plays()
    a_day = len(real) / REAL_DAYS * load
    if a_day * days > MOST_PLAYS:
        raise BadInputError(f"--load: {load:g} for {days} days makes more than {MOST_PLAYS:,} plays")
    chance, calendar = random.Random(seed), Calendar.of(zone)  # noqa: S311 - a simulation, to be repeated
    plays = [
        _draw(chance, real, midnight=calendar.midnight(begins + timedelta(days=n)))
        for n in range(days)
        for _ in range(round(a_day * (n + 1)) - round(a_day * n))
    ]
    # A midnight that clocks skip settles nothing: the one after it does.
    settled_at = next(slots_of(PRIZE_POOL.cron, zone, begins=calendar.midnight(begins + timedelta(days=days))))
    return Scenario(
        plays=sorted(plays, key=lambda play: play.created_at),
        settlements=count_settlements(plays, zone),
        zone=zone,
        slots=list_slots(settled_at + AFTER_THE_LAST_SETTLEMENT, begins=calendar.midnight(begins), zone=zone),
    )


def _draw(chance: random.Random, real: list[Play], *, midnight: datetime) -> Play:
    """One of the plays, moved to a day that begins at an instant; no two are at the same microsecond but by chance."""
    drawn = chance.choice(real)
    of_day = drawn.created_at - datetime.combine(drawn.created_at.date(), datetime.min.time(), tzinfo=UTC)
    created_at = midnight + of_day + timedelta(microseconds=chance.randrange(60_000_000))
    lasted = drawn.completed_at - drawn.created_at if drawn.completed_at else None
    return replace(
        drawn,
        session_id=UUID(int=chance.getrandbits(128), version=4),
        created_at=created_at,
        completed_at=created_at + lasted if lasted is not None else None,
    )
