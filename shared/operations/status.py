"""The status of a deployed stage, job by job: what an operator checks first when an alarm comes."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from shared.domain.run import RunStatus
from shared.operations.deployment import Deployment, aws_errors
from shared.operations.schedule import Schedule, State, read_schedule
from shared.operations.slots import next_slot
from shared.runs.pauses import PauseNote, current_pause, list_pause_notes
from shared.runs.record import RunRecord, format_instant
from shared.runs.store import RunStore

RECENT = 100  # runs to search for a success first; only a job that keeps failing needs more


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """The status of one job. Dry runs are left out, unless one is running.

    Attributes:
        function: its name.
        pause: who paused the job and why; None if it is not paused, or nobody noted it.
        next_fire: when it fires next, in UTC; None if it does not.
        running: what runs now, and what was abandoned since the last success; the latest first.
        last_run: the one that started last; None if there is none.
        last_success: of those that succeeded, the one that finished last.
        last_slot: the latest time that a run succeeded for: the silence is counted from it (docs/design.md, Runs).
        silent_after: how long the silence may last; None: there is no alarm on it.
        dead_letters: the approximate number of messages in the queue, hidden ones included.
        alarms: the names of the job's raised alarms.
        as_of: the wall clock, aware.
    """

    schedule: Schedule
    function: str
    pause: PauseNote | None
    next_fire: datetime | None
    running: Sequence[RunRecord]
    last_run: RunRecord | None
    last_success: RunRecord | None
    last_slot: datetime | None
    silent_after: timedelta | None
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

    @property
    def silence(self) -> timedelta | None:
        """For how long no slot has succeeded; None: none ever did."""
        return self.as_of - self.last_slot if self.last_slot else None

    @property
    def is_silent(self) -> bool:
        """Whether the silence lasts longer than it may."""
        return self.silent_after is not None and (self.silence is None or self.silence > self.silent_after)

    def to_json(self) -> dict[str, Any]:
        """The status, JSON-ready."""
        return {
            "job": self.job,
            **self.schedule.to_json(),
            "function": self.function,
            "pause": self.pause.to_json() if self.pause else None,
            "next_fire": format_instant(self.next_fire) if self.next_fire else None,
            "running": [_run(record) for record in self.running],
            "last_run": _run(self.last_run) if self.last_run else None,
            "last_success": _run(self.last_success) if self.last_success else None,
            "last_success_age_seconds": _seconds(self.last_success_age),
            "silence_seconds": _seconds(self.silence),
            "silent_after_seconds": _seconds(self.silent_after),
            "is_silent": self.is_silent,
            "dead_letters": self.dead_letters,
            "alarms": list(self.alarms),
        }


@dataclass(frozen=True, kw_only=True)
class Status:
    """The status of a stage.

    Attributes:
        alarms: the names of the raised alarms that are for all jobs together.
        dashboard: the address of the CloudWatch dashboard, or its name where the laptop cloud has no console.
    """

    jobs: Sequence[JobStatus]
    alarms: Sequence[str]
    dashboard: str

    def to_json(self) -> dict[str, Any]:
        """The status, JSON-ready."""
        return {
            "jobs": [job.to_json() for job in self.jobs],
            "alarms": list(self.alarms),
            "dashboard": self.dashboard,
        }


def job_status(
    schedule: Schedule,
    *,
    function: str,
    pause: PauseNote | None,
    next_fire: datetime | None,
    silent_after: timedelta | None,
    runs: Iterable[RunRecord],
    running: Iterable[RunRecord],
    dead_letters: int,
    alarms: Sequence[str],
    as_of: datetime,
) -> JobStatus:
    """Put the status of a job together.

    Args:
        schedule: of the job.
        function: its name.
        pause: who paused the job.
        next_fire: when it fires next.
        silent_after: how long it may be silent.
        runs: its runs, the latest start first.
        running: what is running or abandoned, of all jobs.
        dead_letters: how many there are.
        alarms: the names of its raised alarms.
        as_of: the wall clock, aware.
    """
    own = [record for record in runs if not record.dry_run]
    successes = [record for record in own if record.status is RunStatus.SUCCEEDED]
    success = max(successes, key=lambda record: record.finished_at or record.started_at, default=None)
    return JobStatus(
        schedule=schedule,
        function=function,
        pause=pause,
        next_fire=next_fire,
        silent_after=silent_after,
        last_slot=max((record.scheduled_at for record in successes), default=None),
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
    schedules = {job: read_schedule(deployment, job) for job in jobs}
    of_stack = deployment.alarms(None)
    raised = _raised(deployment, [*of_stack, *(name for of_job in names.values() for name in of_job)])
    return Status(
        jobs=[
            job_status(
                schedule,
                function=deployment.function(job),
                pause=current_pause(list_pause_notes(store, job)) if schedule.state is State.PAUSED else None,
                next_fire=_next_fire(deployment, schedule, now),
                silent_after=deployment.silent_after(job),
                runs=_runs(store, job),
                running=running,
                dead_letters=_count_dead_letters(deployment, job),
                alarms=[name for name in names[job] if name in raised],
                as_of=now,
            )
            for job, schedule in schedules.items()
        ],
        alarms=[name for name in of_stack if name in raised],
        dashboard=_dashboard(deployment),
    )


def _next_fire(deployment: Deployment, schedule: Schedule, now: datetime) -> datetime | None:
    if schedule.state is not State.ON:
        return None
    return next_slot(deployment.cron(schedule.job), ZoneInfo(schedule.zone), now=now)


def _dashboard(deployment: Deployment) -> str:
    name, region = deployment.output("DashboardName"), deployment.session.region_name
    if deployment.endpoint:
        return name
    return f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#dashboards/dashboard/{name}"


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


def _seconds(span: timedelta | None) -> int | None:
    return span // timedelta(seconds=1) if span is not None else None


def _run(record: RunRecord) -> dict[str, Any]:
    return {
        "run_id": record.run_id,
        "status": str(record.status),
        "dry_run": record.dry_run,
        "started_at": format_instant(record.started_at),
        "finished_at": format_instant(record.finished_at) if record.finished_at else None,
    }
