"""Five fields of cron into six of EventBridge: the same instants, or a refusal with its reason."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from cronsim import CronSim
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyawscron import AWSCron

from infra.jobs import JOBS
from infra.stack.cron import to_eventbridge

YEAR = (datetime(2027, 6, 1, tzinfo=UTC), datetime(2028, 6, 1, tzinfo=UTC))  # with a 29 February
MOST_INSTANTS = 300  # walked from the start of each month; sparse expressions never reach it
ONE_MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("0 0 * * *", "cron(0 0 * * ? *)"),
        ("0 * * * *", "cron(0 * * * ? *)"),
        ("*/15 3 * * *", "cron(0,15,30,45 3 * * ? *)"),
        ("0 0 * * 1", "cron(0 0 ? * 2 *)"),
        ("0 0 * * 0", "cron(0 0 ? * 1 *)"),
        ("0 0 * * 7", "cron(0 0 ? * 1 *)"),
        ("0 0 * * 5-7", "cron(0 0 ? * 1,6,7 *)"),
        ("0 0 * * mon-FRI", "cron(0 0 ? * 2,3,4,5,6 *)"),
        ("5,10-12 0 1 JAN,7 *", "cron(5,10,11,12 0 1 1,7 ? *)"),
        ("0-59 0 29 2 *", "cron(* 0 29 2 ? *)"),
        ("  0   0 * *  * ", "cron(0 0 * * ? *)"),
    ],
)
def test_fields_become_explicit_lists(cron, expected):
    assert to_eventbridge(cron) == expected


@pytest.mark.parametrize(
    ("cron", "reason"),
    [
        ("", "0 fields instead of 5"),
        ("@daily", "1 fields instead of 5"),
        ("0 0 * *", "4 fields instead of 5"),
        ("0 0 0 * * *", "6 fields instead of 5"),
        ("0 0 1 * 1", "both day fields are restricted"),
        ("0 0 */2 * 1", "both day fields are restricted"),
        ("0 0 1-31 * 0-6", "both day fields are restricted"),
        ("0 0 L * *", "'L' is neither a value, a range, * nor a step"),
        ("0 0 LW * *", "'LW' is neither"),
        ("0 0 15W * *", "'15W' is neither"),
        ("0 0 * * 5L", "'5L' is neither"),
        ("0 0 * * 2#1", "'2#1' is neither"),
        ("0 0 ? * 1", "'?' is neither"),
        ("-1 0 * * *", "'-1' is neither"),
        ("1.5 0 * * *", "'1.5' is neither"),
        ("0, 0 * * *", "'' is neither"),
        ("٣ 0 * * *", "'٣' is neither"),
        ("0 0 * * \u017fun", "is neither"),  # a long s: str.upper makes it S
        ("5/15 0 * * *", "'5/15' is neither"),  # 5 alone to some, 5 to 59 to others
        ("*/ 0 * * *", "'*/' is neither"),
        ("*/2/2 0 * * *", "'*/2/2' is neither"),
        ("0 22-2 * * *", "bad hour: out of range, backwards"),
        ("0 0 * * 6-1", "bad day-of-week: out of range, backwards"),
        ("60 0 * * *", "bad minute"),
        ("0 24 * * *", "bad hour"),
        ("0 0 0 * *", "bad day-of-month"),
        ("0 0 * 13 *", "bad month"),
        ("0 0 * * 8", "bad day-of-week"),
        ("0 0 * MON *", "bad month"),
        ("*/0 0 * * *", "a step is a number from 1 to 59"),
        ("*/60 0 * * *", "a step is a number from 1 to 59"),
        ("0 0 30 2 *", "bad day-of-month: out of range, backwards, or a date that never comes"),
        ("0 0 31 2,4,6,9,11 *", "bad day-of-month"),
        ("0-58 0-22 1-30 1-11 *", "EventBridge takes 256"),
    ],
)
def test_what_eventbridge_cannot_express_is_refused_with_the_reason(cron, reason):
    with pytest.raises(ValueError, match=re.escape(f"cron {cron!r}: ")) as refusal:
        to_eventbridge(cron)
    assert reason in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_the_jobs_own_expressions_are_taken():
    assert [to_eventbridge(job.cron) for job in JOBS]


@dataclass(frozen=True)
class Field:
    """The values that a field takes, and names for them from the lowest on."""

    first: int
    last: int
    names: str = ""


MINUTE, HOUR, DAY = Field(0, 59), Field(0, 23), Field(1, 31)
MONTH = Field(1, 12, "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC")
WEEKDAY = Field(0, 7, "SUN MON TUE WED THU FRI SAT")


def fields(field):
    """A field: `*`, or up to three numbers, names, ranges and steps."""
    value, every = st.integers(field.first, field.last), st.just("*")
    names = st.sampled_from(field.names.split()) if field.names else st.nothing()
    spans = st.tuples(value, value).filter(lambda span: span[0] < span[1]).map("{0[0]}-{0[1]}".format)
    steps = st.tuples(spans | every, st.integers(1, min(field.last, 20))).map("{0[0]}/{0[1]}".format)
    return every | st.lists(value.map(str) | names | spans | steps, min_size=1, max_size=3).map(",".join)


def expressions():
    """Mostly those that restrict one day field at most, since the others are refused."""
    day, weekday, every = fields(DAY), fields(WEEKDAY), st.just("*")
    days = st.tuples(day, every) | st.tuples(every, weekday) | st.tuples(day, weekday)
    parts = st.tuples(fields(MINUTE), fields(HOUR), days, fields(MONTH))
    return parts.map(lambda p: f"{p[0]} {p[1]} {p[2][0]} {p[3]} {p[2][1]}")


RIGHTLY_REFUSED = ("both day fields are restricted", "bad day-of-month", "EventBridge takes 256")


@settings(max_examples=80, deadline=None)
@given(expressions())
@example("0 * 30 * *")
@example("0 0 29,30 2,3 *")
def test_a_year_of_instants_is_the_same(cron):
    converted, reason = converted_or_refused(cron)
    assert converted or any(expected in reason for expected in RIGHTLY_REFUSED)
    if not converted:
        return
    for start, end in zip(month_starts(), month_starts()[1:], strict=False):
        assert instants_of_eventbridge(converted, start, end) == instants_of_cron(cron, start, end)


def converted_or_refused(cron):
    try:
        return to_eventbridge(cron), ""
    except ValueError as error:
        return "", str(error)


def month_starts():
    start, end = YEAR
    starts = [start]
    while starts[-1] < end:
        starts.append((starts[-1] + timedelta(days=32)).replace(day=1))
    return starts


def instants_of_cron(cron, start, end):
    found: list[datetime] = []
    for at in CronSim(cron, start - ONE_MINUTE):
        if at >= end or len(found) == MOST_INSTANTS:
            break
        found.append(at)
    return found


def instants_of_eventbridge(expression, start, end):
    found: list[datetime] = []
    schedule, at = AWSCron(expression.removeprefix("cron(").removesuffix(")")), start - ONE_MINUTE
    while len(found) < MOST_INSTANTS:
        try:
            at = schedule.occurrence(at).next()
        except ValueError:  # the oracle stumbles over 30 February: no day of this month is left
            break
        if at is None or at >= end:
            break
        found.append(at)
    return found
