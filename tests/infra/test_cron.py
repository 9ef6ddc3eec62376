"""Five fields of cron into six of EventBridge: the same instants, or a refusal with its reason."""

from datetime import UTC, datetime, timedelta

import pytest
from cronsim import CronSim
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyawscron import AWSCron

from infra.jobs import JOBS
from infra.stack.cron import FIELDS, CronError, to_eventbridge

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
        ("0 0 L * *", "day of month 'L'"),
        ("0 0 15W * *", "day of month '15W'"),
        ("0 0 * * 5L", "day of week '5L'"),
        ("0 0 * * 2#1", "day of week '2#1'"),
        ("0 0 ? * 1", "day of month '?'"),
        ("0 22-2 * * *", "hour '22-2': the range runs backwards"),
        ("0 0 * * 6-1", "day of week '6-1': the range runs backwards"),
        ("60 0 * * *", "minute '60': expected 0 to 59"),
        ("0 24 * * *", "hour '24': expected 0 to 23"),
        ("0 0 0 * *", "day of month '0': expected 1 to 31"),
        ("0 0 * 13 *", "month '13': expected 1 to 12 or JAN to DEC"),
        ("0 0 * * 8", "day of week '8': expected 0 to 7 or SUN to SAT"),
        ("0 0 * MON *", "month 'MON'"),
        ("-1 0 * * *", "minute '-1'"),
        ("1.5 0 * * *", "minute '1.5'"),
        ("0, 0 * * *", "minute ''"),
        ("٣ 0 * * *", "minute '٣'"),
        ("5/15 0 * * *", "a step needs a range or *"),
        ("*/0 0 * * *", "a step is a number from 1 to 59"),
        ("*/60 0 * * *", "a step is a number from 1 to 59"),
        ("*/ 0 * * *", "a step is a number from 1 to 59"),
        ("*/2/2 0 * * *", "a step is a number from 1 to 59"),
        ("0 0 30 2 *", "day 30 never comes in the given months"),
        ("0 0 31 2,4,6,9,11 *", "day 31 never comes in the given months"),
        ("0-58 0-22 1-30 1-11 *", "EventBridge takes 256"),
    ],
)
def test_what_eventbridge_cannot_say_is_refused_with_the_reason(cron, reason):
    with pytest.raises(CronError) as refusal:
        to_eventbridge(cron)
    assert reason in str(refusal.value)
    assert repr(cron) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_the_jobs_own_expressions_are_taken():
    assert [to_eventbridge(job.cron) for job in JOBS]


def values(field):
    return st.integers(field.first, field.last)


def items(field):
    """A number, a name, a range or a step of one field."""
    names = st.integers(0, len(field.words) - 1).map(lambda i: field.words[i]) if field.words else st.nothing()
    spans = st.tuples(values(field), values(field)).filter(lambda span: span[0] < span[1]).map("{0[0]}-{0[1]}".format)
    steps = st.tuples(spans | st.just("*"), st.integers(1, min(field.last, 20))).map("{0[0]}/{0[1]}".format)
    return values(field).map(str) | names | spans | steps


def parts(field):
    return st.just("*") | st.lists(items(field), min_size=1, max_size=3).map(",".join)


def expressions():
    """Mostly those that restrict one day field at most, since the others are refused."""
    minute, hour, day, month, weekday = map(parts, FIELDS)
    every = st.just("*")
    days = st.tuples(day, every) | st.tuples(every, weekday) | st.tuples(day, weekday)
    return st.tuples(minute, hour, days, month).map(lambda p: f"{p[0]} {p[1]} {p[2][0]} {p[3]} {p[2][1]}")


RIGHTLY_REFUSED = ("both day fields are restricted", "never comes", "EventBridge takes 256")


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
    except CronError as error:
        return "", str(error)


def month_starts():
    start, end = YEAR
    starts = [start]
    while starts[-1] < end:
        starts.append((starts[-1] + timedelta(days=32)).replace(day=1))
    return starts


def instants_of_cron(cron, start, end):
    found = []
    for at in CronSim(cron, start - ONE_MINUTE):
        if at >= end or len(found) == MOST_INSTANTS:
            break
        found.append(at)
    return found


def instants_of_eventbridge(expression, start, end):
    found = []
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
