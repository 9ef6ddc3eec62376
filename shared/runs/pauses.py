"""Who paused a job or resumed it, when and why: notes in the runs table, which are no runs.

A note has the key `pause:<job>:<instant>`, and `pause:<job>` where a run has the name of its job: the index by job
gives the notes of a job, the latest first, and no list of runs has them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from shared.runs.attributes import read_attribute, write_attribute
from shared.runs.queries import runs_query
from shared.runs.record import format_instant, parse_instant
from shared.runs.store import KEPT_FOR, RunStore, RunStoreError
from shared.runs.table import BY_JOB, PARTITION_KEY, TIME_TO_LIVE


class Switched(StrEnum):
    """What was done to a job."""

    PAUSED = "paused"
    RESUMED = "resumed"


@dataclass(frozen=True, kw_only=True)
class PauseNote:
    """A job was paused, or resumed.

    Attributes:
        at: when, in UTC.
        actor: the ARN of the caller.
        reason: None if none was given.
    """

    job: str
    switched: Switched
    at: datetime
    actor: str
    reason: str | None = None

    def to_attributes(self) -> dict[str, Any]:
        """What is stored, under names that a run has too: the index holds no others."""
        values = {
            PARTITION_KEY: f"{_notes_of(self.job)}:{format_instant(self.at)}",
            TIME_TO_LIVE: int((self.at + KEPT_FOR).timestamp()),
            "job": _notes_of(self.job),
            "status": str(self.switched),
            "started_at": format_instant(self.at),
            "actor": self.actor,
            "reason": self.reason,
        }
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> "PauseNote":
        """The note that `to_attributes` stored."""
        return cls(
            job=attributes["job"].removeprefix(_notes_of("")),
            switched=Switched(attributes["status"]),
            at=parse_instant(attributes["started_at"]),
            actor=attributes["actor"],
            reason=attributes.get("reason"),
        )

    def to_json(self) -> dict[str, Any]:
        """The note, JSON-ready."""
        return {"at": format_instant(self.at), "actor": self.actor, "reason": self.reason}


def write_pause_note(store: RunStore, note: PauseNote) -> None:
    """Remember that a job was paused or resumed.

    Raises:
        RunStoreError: the table cannot be written.
    """
    item = {name: write_attribute(value) for name, value in note.to_attributes().items()}
    try:
        store.client.put_item(TableName=store.table_name, Item=item)
    except (BotoCoreError, ClientError) as error:
        raise RunStoreError(f"runs table: {error}") from error


def list_pause_notes(store: RunStore, job: str) -> Iterator[PauseNote]:
    """How a job was paused and resumed, the latest first.

    Raises:
        RunStoreError: the table cannot be reached.
    """
    request = {"TableName": store.table_name, **runs_query(BY_JOB, _notes_of(job), now=store.clock())}
    while True:
        try:
            response = store.client.query(**request)
        except (BotoCoreError, ClientError) as error:
            raise RunStoreError(f"runs table: {error}") from error
        for item in response["Items"]:
            yield PauseNote.from_attributes({name: read_attribute(value) for name, value in item.items()})
        if "LastEvaluatedKey" not in response:
            return
        request["ExclusiveStartKey"] = response["LastEvaluatedKey"]


def current_pause(latest_first: Iterable[PauseNote]) -> PauseNote | None:
    """The note that says why a job is paused: of the pauses since it was last resumed, the latest with a reason.

    Returns:
        That note, with the time of the first of them; None if the job was resumed last, or was never paused.
    """
    first = reason = None
    for note in latest_first:
        if note.switched is Switched.RESUMED:
            break
        first, reason = note, reason or (note if note.reason else None)
    if first is None or reason is None:
        return first
    return PauseNote(job=first.job, switched=first.switched, at=first.at, actor=reason.actor, reason=reason.reason)


def paused_spans(store: RunStore, job: str, since: datetime, now: datetime) -> list[tuple[datetime, datetime]]:
    """When a job was paused, the earliest first; cut to an interval.

    Args:
        store: of the notes.
        job: its name.
        since: where the interval begins; a pause that began earlier counts from here.
        now: where it ends; a pause that goes on counts until here.

    Raises:
        RunStoreError: the table cannot be reached.
    """
    return _spans(reversed(list(list_pause_notes(store, job))), since, now)


def _spans(earliest_first: Iterable[PauseNote], since: datetime, now: datetime) -> list[tuple[datetime, datetime]]:
    """The spans between each pause and what resumed it, cut to an interval; empty ones are left out."""
    found: list[tuple[datetime, datetime]] = []
    begun: datetime | None = None
    for note in earliest_first:
        if note.switched is Switched.PAUSED:
            begun = begun or note.at
        elif begun is not None:
            found.append((begun, note.at))
            begun = None
    if begun is not None:
        found.append((begun, now))
    cut = [(max(begin, since), min(end, now)) for begin, end in found]
    return [(begin, end) for begin, end in cut if begin < end]


def _notes_of(job: str) -> str:
    """What the notes of a job have where a run has the name of its job."""
    return f"pause:{job}"
