"""The record of a run: its attributes, stated once. The runner fills them, the store holds them, results show them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, get_type_hints

from shared.domain.run import Merge, Result, RunStatus

MAX_RESULT_BYTES = 300_000  # of an item's 400 KB; the rest is for the other attributes
MAX_ATTEMPTS = 20  # that a run remembers: the latest
MAX_ERROR = 500  # characters of an attempt's error


@dataclass(frozen=True, kw_only=True)
class AttemptRecord:
    """One attempt at a run, as the run remembers it when later ones have ended.

    Attributes:
        number: from 1.
        deadline_at: when Lambda stopped it at the latest.
        finished_at: None while it runs, and of one that was killed.
        status: its own; `abandoned` is derived, as that of a run.
        error: the first that it reported.
    """

    number: int
    started_at: datetime
    deadline_at: datetime
    finished_at: datetime | None = None
    status: RunStatus = RunStatus.RUNNING
    error: str | None = None

    @classmethod
    def of(cls, record: "RunRecord") -> "AttemptRecord":
        """The latest attempt of a record."""
        errors = (record.result or {}).get("errors") if record.finished_at else None
        return cls(
            number=record.attempt,
            started_at=record.started_at,
            deadline_at=record.deadline_at,
            finished_at=record.finished_at,
            status=record.status,
            error=str(errors[0].get("error"))[:MAX_ERROR] if errors else None,
        )

    def to_json(self) -> dict[str, Any]:
        """The attempt, JSON-ready; an attribute without a value is absent."""
        values = {field.name: _plain(getattr(self, field.name)) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any], *, number: int) -> "AttemptRecord":
        """The attempt that `to_json` was stored of; its number is the given one if it was not known then."""
        finished_at = attributes.get("finished_at")
        return cls(
            number=attributes["number"] or number,
            started_at=parse_instant(attributes["started_at"]),
            deadline_at=parse_instant(attributes["deadline_at"]),
            finished_at=parse_instant(finished_at) if finished_at else None,
            status=RunStatus(attributes["status"]),
            error=attributes.get("error"),
        )


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run of a job, as of its latest attempt. Instants are in UTC.

    The order of the attributes is that of the indexes' projections: a deployed one cannot be changed.

    Attributes:
        run_id: `<job>:<slot>` or `<job>:<request id>`.
        trigger: scheduled or manual.
        scheduled_at: the tick.
        status: `abandoned` is derived when a running one is past its deadline.
        attempt: from 1; 0 when the runs table could not be reached.
        started_at: of this attempt.
        finished_at: None while it runs.
        counts: the numbers of the result, by name.
        deadline_at: when Lambda stops this attempt at the latest.
        dry_run: whether nothing was changed.
        actor: who triggered it by hand.
        reason: why they did.
        result: the job's own, of all attempts that ended, in full or with its lists cut; None before the first end, and
            in lists of runs.
        attempts: by number, the latest `MAX_ATTEMPTS`; none in lists of runs, and in what was stored before they were.
        duplicate: whether it is the stored result of earlier attempts, which left nothing to do.
    """

    run_id: str
    job: str
    trigger: str
    scheduled_at: datetime
    status: RunStatus
    attempt: int
    started_at: datetime
    finished_at: datetime | None = None
    counts: Mapping[str, int] | None = None
    deadline_at: datetime
    dry_run: bool = False
    actor: str | None = None
    reason: str | None = None
    result: Mapping[str, Any] | None = None
    attempts: tuple[AttemptRecord, ...] = ()
    duplicate: bool = False

    @property
    def duration_ms(self) -> int | None:
        """Of this attempt; None while it runs."""
        return (self.finished_at - self.started_at) // timedelta(milliseconds=1) if self.finished_at else None

    def to_attributes(self) -> dict[str, Any]:
        """What is stored, as text, numbers and maps; an attribute without a value is absent."""
        values = {name: getattr(self, name) for name in STORED_ATTRIBUTES} | {
            "result": json.dumps(cut_to_fit(self.result)) if self.result is not None else None,
            "attempts": [attempt.to_json() for attempt in self.attempts] or None,
        }
        return {name: _plain(value) for name, value in values.items() if value is not None and value is not False}

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> "RunRecord":
        """The record that `to_attributes` stored; attributes of no field are ignored."""
        values = {name: _READERS[name](attributes[name]) for name in _READERS if name in attributes}
        # A start is appended before its number is known: it counts back from the latest.
        stored = attributes.get("attempts", ())
        first = attributes["attempt"] - len(stored) + 1
        attempts = tuple(AttemptRecord.from_attributes(each, number=first + place) for place, each in enumerate(stored))
        return cls(**values, attempts=attempts)

    def to_json(self) -> dict[str, Any]:
        """The result of docs/design.md, Contract; dry_run, actor and reason are there only when they have a value."""
        values = {name: getattr(self, name) for name in _JSON_ATTRIBUTES}
        return {name: _plain(value) for name, value in values.items() if value or name not in _JSON_OPTIONAL}


class RunEnd(NamedTuple):
    """What statistics need of a run; its attributes are those of `RunRecord`."""

    run_id: str
    job: str
    trigger: str
    started_at: datetime
    status: RunStatus
    dry_run: bool
    duration_ms: int | None
    finished_at: datetime | None

    @classmethod
    def of(cls, record: RunRecord) -> "RunEnd":
        """The end of a run that is known in full."""
        return cls(*(getattr(record, name) for name in cls._fields))


_FIELDS = tuple(field.name for field in fields(RunRecord))
_AFTER_FINISHED = _FIELDS.index("finished_at") + 1
STORED_ATTRIBUTES = tuple(
    name for name in (*_FIELDS[:_AFTER_FINISHED], "duration_ms", *_FIELDS[_AFTER_FINISHED:]) if name != "duplicate"
)
# What an index of runs holds; the projections of a deployed one cannot change.
LISTED_ATTRIBUTES = tuple(name for name in STORED_ATTRIBUTES if name not in {"result", "attempts"})
_JSON_OPTIONAL = ("dry_run", "actor", "reason")
_JSON_ATTRIBUTES = (
    *("run_id", "job", "trigger", "scheduled_at", "status", "duplicate", "attempt", "started_at", "finished_at"),
    *("duration_ms", *_JSON_OPTIONAL, "result"),
)


def count_numbers(result: Mapping[str, Any]) -> dict[str, int]:
    """The whole numbers at the top of a result, by name, and how many errors and warnings it lists, if any warnings.

    It is what a table of runs shows.
    """
    numbers = {name: value for name, value in result.items() if type(value) is int}
    cut = result.get("cut", {})
    errors, warnings = (cut.get(name, len(result.get(name, ()))) for name in ("errors", "warnings"))
    return {**numbers, **({"warnings": warnings} if warnings else {}), "errors": errors}


def cut_to_fit(result: Mapping[str, Any], *, max_bytes: int = MAX_RESULT_BYTES) -> dict[str, Any]:
    """A result that fits into an item: its lists are halved until it does.

    Args:
        result: JSON-ready.
        max_bytes: of its JSON text.

    Returns:
        The result; when it was cut, now or before it was merged, with a further key `cut` that holds the true length of
        each list that was.
    """
    longest = max((len(value) for value in result.values() if isinstance(value, list)), default=0)
    fitting = dict(result)
    while len(json.dumps(fitting)) > max_bytes and longest > 0:
        longest //= 2
        cut = {name for name, value in result.items() if isinstance(value, list) and len(value) > longest}
        lengths = {name: len(result[name]) for name in cut} | result.get("cut", {})
        fitting = {**result, **{name: result[name][:longest] for name in cut}, "cut": lengths}
    return fitting


@dataclass(frozen=True, kw_only=True)
class MergedAttempt:
    """What becomes of a run when an attempt ends.

    Attributes:
        stored: the record of the run.
        returned: that of the attempt: its own end, with the result of all attempts.
    """

    stored: RunRecord
    returned: RunRecord


def merge_attempt(run: RunRecord | None, ended: RunRecord, merge: Merge) -> MergedAttempt:
    """Merge the end of an attempt into its run (docs/design.md, Runs).

    Args:
        run: as it is stored; None if it is not.
        ended: the attempt; its number is 0 if it was not counted when it began.
        merge: the results of two attempts into one.
    """
    if run is None:
        ended = replace(ended, attempt=max(ended.attempt, 1))
        ended = replace(ended, attempts=(AttemptRecord.of(ended),))
        return MergedAttempt(stored=ended, returned=ended)
    ended = replace(ended, attempt=ended.attempt or run.attempt + 1)
    attempts = {attempt.number: attempt for attempt in (*run.attempts, AttemptRecord.of(ended))}
    remembered = tuple(attempts[number] for number in sorted(attempts)[-MAX_ATTEMPTS:])
    run, ended = replace(run, attempts=remembered), replace(ended, attempts=remembered)
    returned = _with_result(ended, run.result, ended.result, merge)
    stored = _with_result(run, ended.result, run.result, merge) if _stands(run, ended) else returned
    # S27: the number never goes backwards.
    return MergedAttempt(stored=replace(stored, attempt=max(run.attempt, ended.attempt)), returned=returned)


def _stands(run: RunRecord, ended: RunRecord) -> bool:
    """Whether the run keeps the end that it has, and takes over no more than the result of an attempt."""
    if run.status is ended.status is RunStatus.SUCCEEDED:
        return run.attempt > ended.attempt
    if ended.status is RunStatus.SUCCEEDED:
        return False
    if run.status is RunStatus.SUCCEEDED:
        # What began before that success may have failed at what the success then did. Scheduled, it is tried again.
        return run.finished_at is not None and run.finished_at > ended.started_at
    return run.attempt > ended.attempt  # a newer attempt is at work, or has ended


def _with_result(record: RunRecord, earlier: Result | None, latest: Result | None, merge: Merge) -> RunRecord:
    result = merge(earlier, latest) if earlier and latest else earlier or latest
    return replace(record, result=result, counts=count_numbers(result) if result is not None else None)


def format_instant(instant: datetime) -> str:
    """RFC 3339 in UTC, always of the same width, so that texts sort as the instants do."""
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def parse_instant(text: str) -> datetime:
    """The instant that `format_instant` wrote."""
    return datetime.fromisoformat(text)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return format_instant(value)
    return str(value) if isinstance(value, RunStatus) else value


def _reader(hint: Any) -> Any:
    if hint in (datetime, datetime | None):
        return parse_instant
    return RunStatus if hint is RunStatus else lambda value: value


_READERS = {
    name: _reader(hint) for name, hint in get_type_hints(RunRecord).items() if name not in {"duplicate", "attempts"}
} | {"result": json.loads}
