"""Whether a stage needs a person: what a health endpoint answers, and a monitor outside of AWS can watch."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.operations.deployment import Deployment
from shared.operations.schedule import State
from shared.operations.statistics import JobStatistics, summarize
from shared.operations.status import JobStatus, read_status
from shared.runs.record import format_instant

HOUR = timedelta(hours=1)
FROM_STATUS = (
    *("schedule", "last_success_age_seconds", "silence_seconds", "silent_after_seconds"),
    *("dead_letters", "alarms"),
)
RECENT = 100  # runs of each job, of which the success rate and the metrics are


@dataclass(frozen=True, kw_only=True)
class JobHealth:
    """The health of one job.

    A failed or abandoned run is no problem yet: the platform tries its event again. What stays undone ends as silence
    or in the dead-letter queue, and those are problems.

    Attributes:
        status: of the job.
        statistics: of its recent runs; None: it has none.
    """

    status: JobStatus
    statistics: JobStatistics | None

    @property
    def problems(self) -> list[str]:
        """One line each; none while the job is healthy."""
        status, problems = self.status, []
        if status.schedule.state is State.ON and status.is_silent:
            problems.append(_silence(status.silence, status.silent_after))
        if status.dead_letters:
            problems.append(f"dead-lettered events: {status.dead_letters}")
        return problems

    def to_json(self) -> dict[str, Any]:
        """The health of the job, JSON-ready."""
        status = self.status.to_json()
        statistics = self.statistics.to_json() if self.statistics else {}
        return {
            "job": self.status.job,
            "is_healthy": not self.problems,
            "problems": self.problems,
            **{name: status[name] for name in FROM_STATUS},
            "success_rate": statistics.get("success_rate"),
            "metrics": statistics,
        }


@dataclass(frozen=True, kw_only=True)
class Health:
    """The health of a stage.

    Attributes:
        jobs: of each job.
        as_of: the wall clock, aware.
    """

    jobs: Sequence[JobHealth]
    as_of: datetime

    @property
    def is_healthy(self) -> bool:
        """Whether no job has a problem."""
        return not any(job.problems for job in self.jobs)

    def to_json(self) -> dict[str, Any]:
        """The health, JSON-ready."""
        return {
            "status": "healthy" if self.is_healthy else "unhealthy",
            "as_of": format_instant(self.as_of),
            "jobs": [job.to_json() for job in self.jobs],
        }


def read_health(deployment: Deployment, jobs: Sequence[str], *, now: datetime) -> Health:
    """Read the health of a stage.

    Raises:
        ArcadeJobsError: AWS refused, or the stack is of another version.
        RunStoreError: the runs table cannot be reached.
    """
    store = deployment.run_store()
    status = read_status(deployment, jobs, now=now)
    return Health(
        jobs=[
            JobHealth(
                status=of_job,
                statistics=next(iter(summarize(store.list_runs(of_job.job, limit=RECENT))), None),
            )
            for of_job in status.jobs
        ],
        as_of=now,
    )


def _silence(silence: timedelta | None, limit: timedelta | None) -> str:
    if silence is None or limit is None:
        return "has never succeeded"
    return f"silent for {silence / HOUR:.1f} hours; no more than {limit / HOUR:.0f} may pass"
