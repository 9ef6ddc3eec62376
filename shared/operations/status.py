"""The status of a deployed stage, job by job: what an operator checks first when an alarm comes."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.domain.run import RunStatus
from shared.operations.deployment import Deployment, aws_errors
from shared.operations.schedule import Schedule, read_schedule
from shared.runs.record import RunRecord, format_instant
from shared.runs.store import RunStore

RECENT = 100  # runs to search for a success first; only a job that keeps failing needs more


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """The status of one job. Dry runs are left out, unless one is running.

    Attributes:
        running: what runs now, and what was abandoned since the last success; the latest first.
        last_run: the one that started last; None if there is none.
        last_success: of those that succeeded, the one that finished last.
        dead_letters: the approximate number of messages in the queue, hidden ones included.
        alarms: the names of the job's raised alarms.
        as_of: the wall clock, aware.
    """

    schedule: Schedule
    running: Sequence[RunRecord]
    last_run: RunRecord | None
    last_success: RunRecord | None
    dead_letters: int
    alarms: Sequence[str]
    as_of: datetime

    @property
    def job(self) -> str:
        """The name of the job."""
        return self.schedule.job

    @property
    def last_success_age(self) -> timedelta | None:
        """How long ago a run last succeeded; None if none is known."""
        finished_at = self.last_success.finished_at if self.last_success else None
        return self.as_of - finished_at if finished_at else None

    def to_json(self) -> dict[str, Any]:
        """The status, JSON-ready."""
        age = self.last_success_age
        return {
            "job": self.job,
            **self.schedule.to_json(),
            "running": [_run(record) for record in self.running],
            "last_run": _run(self.last_run) if self.last_run else None,
            "last_success": _run(self.last_success) if self.last_success else None,
            "last_success_age_seconds": age // timedelta(seconds=1) if age is not None else None,
            "dead_letters": self.dead_letters,
            "alarms": list(self.alarms),
        }


@dataclass(frozen=True, kw_only=True)
class Status:
    """The status of a stage: each job, and the raised alarms that are for all of them together."""

    jobs: Sequence[JobStatus]
    alarms: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """The status, JSON-ready."""
        return {"jobs": [job.to_json() for job in self.jobs], "alarms": list(self.alarms)}


def job_status(
    schedule: Schedule,
    *,
    runs: Iterable[RunRecord],
    running: Iterable[RunRecord],
    dead_letters: int,
    alarms: Sequence[str],
    as_of: datetime,
) -> JobStatus:
    """Put the status of a job together.

    Args:
        schedule: of the job.
        runs: its runs, the latest start first.
        running: what is running or abandoned, of all jobs.
        dead_letters: how many there are.
        alarms: the names of its raised alarms.
        as_of: the wall clock, aware.
    """
    own = [record for record in runs if not record.dry_run]
    success = max(
        (record for record in own if record.status is RunStatus.SUCCEEDED),
        key=lambda record: record.finished_at or record.started_at,
        default=None,
    )
    return JobStatus(
        schedule=schedule,
        running=[
            record
            for record in running
            if record.job == schedule.job
            and (record.status is RunStatus.RUNNING or success is None or record.started_at > success.started_at)
        ],
        last_run=own[0] if own else None,
        last_success=success,
        dead_letters=dead_letters,
        alarms=alarms,
        as_of=as_of,
    )


def read_status(deployment: Deployment, jobs: Collection[str], *, now: datetime) -> Status:
    """Read the status of a stage.

    Raises:
        ArcadeJobsError: AWS refused, or the stack is of another version.
        RunStoreError: the runs table cannot be reached.
    """
    store = deployment.run_store()
    running = store.list_running()
    names = {job: deployment.alarms(job) for job in jobs}
    of_stack = deployment.alarms(None)
    raised = _raised(deployment, [*of_stack, *(name for of_job in names.values() for name in of_job)])
    return Status(
        jobs=[
            job_status(
                read_schedule(deployment, job),
                runs=_runs(store, job),
                running=running,
                dead_letters=_count_dead_letters(deployment, job),
                alarms=[name for name in names[job] if name in raised],
                as_of=now,
            )
            for job in jobs
        ],
        alarms=[name for name in of_stack if name in raised],
    )


def _runs(store: RunStore, job: str) -> list[RunRecord]:
    """The recent runs of a job; all, when none of them succeeded."""
    recent = store.list_runs(job, limit=RECENT)
    if len(recent) < RECENT or any(run.status is RunStatus.SUCCEEDED and not run.dry_run for run in recent):
        return recent
    return store.list_runs(job)


def _raised(deployment: Deployment, names: Sequence[str]) -> set[str]:
    """Which alarms are in ALARM. Composites are left out: those below them are more specific."""
    with aws_errors("alarms"):
        found = deployment.client("cloudwatch").describe_alarms(
            AlarmNames=list(names), AlarmTypes=["MetricAlarm"], MaxRecords=100
        )
    return {alarm["AlarmName"] for alarm in found["MetricAlarms"] if alarm["StateValue"] == "ALARM"}


def _count_dead_letters(deployment: Deployment, job: str) -> int:
    counts = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    with aws_errors(f"{job}: dead letters"):
        found = deployment.client("sqs").get_queue_attributes(
            QueueUrl=deployment.dead_letter_queue(job), AttributeNames=list(counts)
        )
    return sum(int(found["Attributes"][name]) for name in counts)


def _run(record: RunRecord) -> dict[str, Any]:
    return {
        "run_id": record.run_id,
        "status": str(record.status),
        "dry_run": record.dry_run,
        "started_at": format_instant(record.started_at),
        "finished_at": format_instant(record.finished_at) if record.finished_at else None,
    }
