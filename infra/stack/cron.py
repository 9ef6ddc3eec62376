"""Five-field cron, as the original system wrote it, into the six fields of EventBridge.

The two differ where it hurts: EventBridge counts the days of the week from 1, wants `?` in one of the day fields, and
has no "or" between them (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html). So
every field is parsed, and what is not everything (`*`) is written as an explicit list. What EventBridge cannot say, or
what cron implementations read differently, is refused with the reason.
"""

import re
from dataclasses import dataclass
from datetime import datetime

LONGEST_EXPRESSION = 256  # characters; PutRule and CreateSchedule refuse more
LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


class CronError(ValueError):
    """The expression is not taken. The message holds it, and the reason."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of cron: its name, the values it takes, and words for them from the lowest on."""

    name: str
    first: int
    last: int
    words: tuple[str, ...] = ()


MINUTE = Field(name="minute", first=0, last=59)
HOUR = Field(name="hour", first=0, last=23)
DAY_OF_MONTH = Field(name="day of month", first=1, last=31)
MONTH = Field(name="month", first=1, last=12, words=MONTHS)
DAY_OF_WEEK = Field(name="day of week", first=0, last=7, words=WEEKDAYS)  # 0 and 7 are both Sunday
FIELDS = (MINUTE, HOUR, DAY_OF_MONTH, MONTH, DAY_OF_WEEK)


def to_eventbridge(expression: str) -> str:
    """The six fields of EventBridge for five of cron: `0 0 * * *` becomes `cron(0 0 * * ? *)`.

    Both fire at the same minutes of every year, in whatever zone they are read.

    Raises:
        CronError: it is not five fields of numbers, names, lists, ranges and steps; both day fields are restricted; it
            would never fire; or it is too long for EventBridge.
    """
    parts = expression.split()
    if len(parts) != len(FIELDS):
        raise CronError(f"cron {expression!r}: {len(parts)} fields instead of 5 (minute hour day month weekday)")
    try:
        minutes, hours, days, months, weekdays = map(_values, FIELDS, parts)
    except CronError as error:
        raise CronError(f"cron {expression!r}: {error}") from None
    day, weekday = parts[2], parts[4]
    if day != "*" and weekday != "*":
        raise CronError(
            f"cron {expression!r}: both day fields are restricted; cron fires when either matches, EventBridge cannot"
        )
    if min(days) > max(LONGEST_MONTHS[month - 1] for month in months):
        raise CronError(f"cron {expression!r}: day {min(days)} never comes in the given months")
    written = [
        _written(MINUTE, minutes),
        _written(HOUR, hours),
        _written(DAY_OF_MONTH, days) if weekday == "*" else "?",
        _written(MONTH, months),
        "?" if weekday == "*" else _listed({value % 7 + 1 for value in weekdays}),
        "*",
    ]
    result = f"cron({' '.join(written)})"
    if len(result) > LONGEST_EXPRESSION:
        raise CronError(
            f"cron {expression!r}: {len(result)} characters as lists; EventBridge takes {LONGEST_EXPRESSION}"
        )
    return result


def fires_at(expression: str, at: datetime) -> bool:
    """Whether an expression that `to_eventbridge` takes fires in the minute of `at`, read in the zone that `at` has."""
    minutes, hours, days, months, weekdays = map(_values, FIELDS, expression.split())
    return (
        at.minute in minutes
        and at.hour in hours
        and at.day in days
        and at.month in months
        and not weekdays.isdisjoint({at.isoweekday(), at.isoweekday() % 7})  # Sunday is 7 and 0
    )


def _values(field: Field, part: str) -> set[int]:
    """The values that a field stands for."""
    values: set[int] = set()
    for item in part.split(","):
        span, slash, step_text = item.partition("/")
        first, last = _span(field, span, item)
        step = 1
        if slash:
            if span != "*" and "-" not in span:
                raise CronError(f"{field.name} {item!r}: a step needs a range or *")
            step = int(step_text) if re.fullmatch("[0-9]{1,4}", step_text) else 0
            if not 1 <= step <= field.last:
                raise CronError(f"{field.name} {item!r}: a step is a number from 1 to {field.last}")
        values.update(range(first, last + 1, step))
    return values


def _span(field: Field, span: str, item: str) -> tuple[int, int]:
    if span == "*":
        return field.first, field.last
    first_text, dash, last_text = span.partition("-")
    first = _value(field, first_text, item)
    last = _value(field, last_text, item) if dash else first
    if last < first:
        raise CronError(f"{field.name} {item!r}: the range runs backwards; write it as two")
    return first, last


def _value(field: Field, text: str, item: str) -> int:
    if text.upper() in field.words:
        return field.words.index(text.upper()) + field.first
    if not re.fullmatch("[0-9]{1,4}", text) or not field.first <= int(text) <= field.last:
        names = f" or {field.words[0]} to {field.words[-1]}" if field.words else ""
        raise CronError(f"{field.name} {item!r}: expected {field.first} to {field.last}{names}, lists, ranges or steps")
    return int(text)


def _written(field: Field, values: set[int]) -> str:
    return "*" if len(values) == field.last - field.first + 1 else _listed(values)


def _listed(values: set[int]) -> str:
    return ",".join(map(str, sorted(values)))
