"""The record of a run: what is returned, stored and logged (DESIGN section 3, Result)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.domain.run import RunStatus

MAX_RESULT_BYTES = 300_000  # of an item's 400 KB, the indexes' share and the other attributes left out


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run of a job, as of its latest attempt. Instants are in UTC.

    Attributes:
        run_id: `<job>:<slot>` or `<job>:<request id>`.
        job: prize-pool, leaderboard or cleanup.
        trigger: scheduled or manual.
        scheduled_at: the tick.
        status: how it stands; `abandoned` is derived when a running one is past its deadline.
        attempt: from 1; 0 when the runs table could not be asked.
        started_at: of this attempt.
        deadline_at: when the platform kills this attempt at the latest.
        finished_at: None while it runs.
        result: the job's own, in full or with its lists cut; None while it runs, and in lists of runs.
        counts: the numbers of the result, by name.
        duplicate: whether it is the stored result of an earlier attempt.
        dry_run: whether nothing was changed.
        actor: who triggered it by hand.
        reason: why they did.
    """

    run_id: str
    job: str
    trigger: str
    scheduled_at: datetime
    status: RunStatus
    attempt: int
    started_at: datetime
    deadline_at: datetime
    finished_at: datetime | None = None
    result: Mapping[str, Any] | None = None
    counts: Mapping[str, int] | None = None
    duplicate: bool = False
    dry_run: bool = False
    actor: str | None = None
    reason: str | None = None

    @property
    def duration_ms(self) -> int | None:
        """How long the attempt took; None while it runs."""
        return (self.finished_at - self.started_at) // timedelta(milliseconds=1) if self.finished_at else None

    def to_json(self) -> dict[str, Any]:
        """The result of DESIGN section 3; `dry_run`, `actor` and `reason` are there only when they say something."""
        notes = {"dry_run": self.dry_run, "actor": self.actor, "reason": self.reason}
        return {
            "run_id": self.run_id,
            "job": self.job,
            "trigger": self.trigger,
            "scheduled_at": format_instant(self.scheduled_at),
            "status": str(self.status),
            "duplicate": self.duplicate,
            "attempt": self.attempt,
            "started_at": format_instant(self.started_at),
            "finished_at": format_instant(self.finished_at) if self.finished_at else None,
            "duration_ms": self.duration_ms,
            **{name: note for name, note in notes.items() if note},
            "result": self.result,
        }


def count_numbers(result: Mapping[str, Any]) -> dict[str, int]:
    """The whole numbers at the top of a result, by name, and how many errors it lists: what a table of runs shows."""
    numbers = {name: value for name, value in result.items() if type(value) is int}
    return {**numbers, "errors": len(result.get("errors", ()))}


def cut_to_fit(result: Mapping[str, Any], *, max_bytes: int = MAX_RESULT_BYTES) -> dict[str, Any]:
    """A result that fits into an item: its lists are halved until it does, with their true lengths beside them.

    Args:
        result: JSON-ready.
        max_bytes: of its JSON text.

    Returns:
        The result; when it was cut, with a further key `cut` that holds the true length of each list that was.
    """
    longest = max((len(value) for value in result.values() if isinstance(value, list)), default=0)
    lengths: dict[str, int] = {}
    fitting = dict(result)
    while len(json.dumps(fitting)) > max_bytes and longest > 0:
        longest //= 2
        lengths = {name: len(v) for name, v in result.items() if isinstance(v, list) and len(v) > longest}
        fitting = {**result, **{name: result[name][:longest] for name in lengths}, "cut": lengths}
    return fitting


def format_instant(instant: datetime) -> str:
    """RFC 3339 in UTC, always of the same width, so that texts sort as the instants do."""
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def parse_instant(text: str) -> datetime:
    """The instant that `format_instant` wrote."""
    return datetime.fromisoformat(text)
