"""Five-field cron into the six fields of EventBridge.

EventBridge counts the days of the week from 1, wants `?` in one of the day fields, and has no "or" between them
(https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html). So cronsim parses each field,
and all but `*` is written as a list of values. What EventBridge cannot express, or cron implementations read
differently, is refused.
"""

import re
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

MAX_EXPRESSION_LENGTH = 256  # characters; PutRule and CreateSchedule refuse more
ANY_DATE = datetime(2026, 1, 1, tzinfo=UTC)  # cronsim needs a start; only the fields are read
LAST_VALUES = (59, 23, 31, 12, 7)  # of the five fields
_VALUE = "(?:[0-9]{1,4}|[A-Za-z]{3})"
# cronsim also takes L, LW, #, a step of one value, and seconds.
_ITEM = re.compile(rf"{_VALUE}|(?:\*|{_VALUE}-{_VALUE})(?:/(?P<step>[0-9]{{1,4}}))?")


def to_eventbridge(expression: str) -> str:
    """The six fields of EventBridge for five of cron: `0 0 * * *` becomes `cron(0 0 * * ? *)`.

    Both fire at the same minutes of every year, in every zone.

    Raises:
        ValueError: it is not five fields of numbers, names, lists, ranges and steps; both day fields are restricted; it
            would never fire; or it is too long for EventBridge.
    """
    fields = expression.split()
    if len(fields) != len(LAST_VALUES):
        raise _error(expression, f"{len(fields)} fields instead of 5 (minute hour day month weekday)")
    for field, last in zip(fields, LAST_VALUES, strict=True):
        for item in field.split(","):
            match = _ITEM.fullmatch(item)
            if not match:
                raise _error(expression, f"{item!r} is neither a value, a range, * nor a step of these")
            if not 1 <= int(match["step"] or 1) <= last:
                raise _error(expression, f"{item!r}: a step is a number from 1 to {last}")
    _, _, day, _, weekday = fields
    if day != "*" and weekday != "*":
        raise _error(expression, "both day fields are restricted; cron fires when either matches, EventBridge cannot")
    try:
        cron = CronSim(expression, ANY_DATE)
    except CronSimError as error:  # such as "Bad day-of-month"; also for a date that no month has
        raise _error(expression, f"{str(error).lower()}: out of range, backwards, or a date that never comes") from None
    weekdays = [value for value in cron.weekdays if isinstance(value, int)]  # a tuple is # or L, refused above
    written = [
        _field(cron.minutes, 60),
        _field(cron.hours, 24),
        _field(cron.days, 31) if weekday == "*" else "?",
        _field(cron.months, 12),
        "?" if weekday == "*" else _field({value % 7 + 1 for value in weekdays}, 7),
        "*",
    ]
    result = f"cron({' '.join(written)})"
    if len(result) > MAX_EXPRESSION_LENGTH:
        raise _error(expression, f"{len(result)} characters as lists; EventBridge takes {MAX_EXPRESSION_LENGTH}")
    return result


def _error(expression: str, reason: str) -> ValueError:
    return ValueError(f"cron {expression!r}: {reason}")


def _field(values: set[int], size: int) -> str:
    return "*" if len(values) == size else ",".join(map(str, sorted(values)))
