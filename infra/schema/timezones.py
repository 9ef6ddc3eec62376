# ruff: noqa: S608 - the statements are put together from quoted names and texts
"""The time zones of the periods: the first one, and changes to another from a date on (docs/design.md, Time)."""

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from infra.schema import guarded
from infra.schema.differences import UpgradeError
from infra.schema.quoting import literal, quoted
from infra.schema.revisions import VERSION_TABLE, head
from shared.domain.errors import BadInputError
from shared.domain.periods import ALLTIME_DATE, ONE_DAY, Calendar, load_zone
from shared.services.calendar import mismatch

TABLE = "arcade_jobs_timezones"
ISO = "'YYYY-MM-DD'"  # whatever the session's DateStyle
# A run that has read the calendar may decide about instants that lie five minutes ahead, and works for so long at most.
LEAD = timedelta(minutes=15)

Zones = Mapping[date, ZoneInfo]


class TimezoneChangeError(BadInputError):
    """The change is refused; nothing was changed."""


def first_statement(schema: str, zone: ZoneInfo) -> str:
    """Record the first zone, of every period that there is; where one is recorded it does nothing."""
    table = f"{quoted(schema)}.{TABLE}"
    return (
        f"INSERT INTO {table} SELECT {literal(str(ALLTIME_DATE))}, {literal(str(zone))}"
        f" WHERE NOT EXISTS (SELECT FROM {table})"
    )


def list_zones(runner: guarded.Runner) -> Zones:
    """The zones by the date from which each is in force, the earliest first.

    Raises:
        UpgradeError: the table is not there, or names a zone that this machine does not know.
    """
    if runner.version() != head():
        raise UpgradeError(f"{VERSION_TABLE} is not {head()}: run arcade-jobs db upgrade")
    query = f"SELECT to_char(valid_from, {ISO}), timezone FROM {quoted(runner.schema)}.{TABLE} ORDER BY valid_from"
    try:
        return {date.fromisoformat(str(begins)): load_zone(str(name)) for begins, name in runner.rows(query)}
    except ValueError as error:
        raise UpgradeError(f"{TABLE}: {error}") from error


def change(runner: guarded.Runner, zone: ZoneInfo, *, begins: date, now: datetime) -> Zones:
    """Record that a zone is in force from a date on, in place of what was recorded for it and later dates.

    Payments wait meanwhile: a check of the pools' dates.

    Args:
        runner: the way to the database.
        zone: the new one; the one in force on the day before withdraws what was recorded.
        begins: a date later than every pool's, and than today in both zones.
        now: the wall clock, aware.

    Returns:
        The zones that are recorded then.

    Raises:
        TimezoneChangeError: a pool is dated so late, the date has begun, or nothing would be left of the day before.
        UpgradeError: the database refused.
    """
    while True:
        before = list_zones(runner)
        after = changed(before, zone, begins=begins, now=now)
        if after == before:
            return before
        latest = _latest_pool(runner)
        if latest is not None and latest >= begins:
            raise TimezoneChangeError(f"--from {begins}: expected a date later than every pool's; one is of {latest}")
        try:
            runner.run_block(change_body(runner.schema, before, after, begins=begins), expected=head())
        except guarded.MovedError:  # a pool was opened, or another zone recorded: look again
            continue
        return after


def changed(before: Zones, zone: ZoneInfo, *, begins: date, now: datetime) -> Zones:
    """The zones with another one from a date on.

    Raises:
        TimezoneChangeError: the date has begun in one of the two zones, or nothing would be left of the day before.
        UpgradeError: no zone is recorded.
    """
    if not before:
        raise UpgradeError("no time zone is recorded: run arcade-jobs db upgrade")
    old = Calendar(zones=before).zone_on(max(begins, ALLTIME_DATE + ONE_DAY) - ONE_DAY)
    after = {day: other for day, other in before.items() if day < begins}
    if old.key != zone.key:
        after[begins] = zone
    if after == before:
        return before
    for calendar in (Calendar(zones=before), Calendar(zones=after)):
        today = calendar.local_day(now + LEAD)
        if today >= begins:
            raise TimezoneChangeError(
                f"--from {begins}: expected a date later than {today}, which has begun in {calendar.zone_on(today)},"
                f" or does within {LEAD // timedelta(minutes=1)} minutes"
            )
    calendar = Calendar(zones=after)
    if calendar.midnight(begins) <= calendar.midnight(begins - ONE_DAY):
        raise TimezoneChangeError(
            f"--from {begins}: nothing would be left of {begins - ONE_DAY}, which begins in {old} no earlier than"
            f" {begins} does in {zone}; change to a zone between them first"
        )
    return after


def _latest_pool(runner: guarded.Runner) -> date | None:
    [(latest,)] = runner.rows(f"SELECT to_char(max(period_date), {ISO}) FROM {quoted(runner.schema)}.prize_pools")
    return None if latest is None else date.fromisoformat(latest)


def change_body(schema: str, before: Zones, after: Zones, *, begins: date) -> str:
    """Delete and insert, if what was read still holds while no pool can be opened."""
    table, pools, day = f"{quoted(schema)}.{TABLE}", f"{quoted(schema)}.prize_pools", literal(str(begins))
    written = f"SELECT string_agg(to_char(valid_from, {ISO}) || ' ' || timezone, ',' ORDER BY valid_from) FROM {table}"
    delete = f"DELETE FROM {table} WHERE valid_from >= {day}"
    insert = f"INSERT INTO {table} VALUES ({day}, {literal(str(after[begins]))})" if begins in after else None
    # S25: a pool that is being opened is waited for and seen, and one that comes later finds the change.
    return f"""  LOCK TABLE {pools} IN SHARE MODE;
  IF EXISTS (SELECT FROM {pools} WHERE period_date >= {day})
    OR ({written}) IS DISTINCT FROM {literal(_written(before))} THEN
    RAISE EXCEPTION USING ERRCODE = '{guarded.LOCK_NOT_AVAILABLE}', MESSAGE = '{guarded.MOVED}';
  END IF;
{guarded.execute(*([delete, insert] if insert else [delete]))}"""


def _written(zones: Zones) -> str:
    return ",".join(f"{begins} {zone}" for begins, zone in sorted(zones.items()))


def notes(zones: Zones, *, configured: ZoneInfo, now: datetime) -> Iterator[str]:
    """Lines for an operator: the zone in force now, and a warning if jobs with the configured one refuse to begin."""
    calendar = Calendar(zones=zones)
    today = calendar.local_day(now)
    yield f"periods begin at midnight in {calendar.zone_on(today)}"
    if not calendar.admits(configured, today):
        yield f"warning: {mismatch(configured, calendar.zone_on(today))}"
