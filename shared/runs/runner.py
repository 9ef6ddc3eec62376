"""The one way in which every job runs: record the start, work, record the end, report (docs/design.md, Runs)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.domain.errors import ArcadeJobsError
from shared.domain.run import Merge, Outcome, OutOfTimeError, Result, Run, RunStatus, take_latest
from shared.domain.tick import Tick
from shared.metrics import Metric
from shared.observability import logger, publish_metrics
from shared.runs.record import RunRecord, count_numbers, merge_attempt
from shared.runs.store import Attempt, RunStore, RunStoreError

WAIT_STEP = 1.0  # seconds between two readings of the clock while the scheduled time lies ahead
# CloudWatch takes nothing older:
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
OLDEST_METRIC = timedelta(days=14)


class RunNotSucceededError(ArcadeJobsError):
    """A scheduled run did not succeed: raised so that Lambda retries the event, and dead-letters it at last."""


OUT_OF_TIME = Outcome(result={"errors": []}, items_processed=0, items_failed=0, is_complete=False)


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Runs jobs.

    Attributes:
        store: where runs are remembered.
        stage: a dimension of the metrics.
        clock: the wall clock, aware.
        sleep: waits for so many seconds.
        describe: an exception in one line, without secrets.
    """

    store: RunStore
    stage: str
    clock: Callable[[], datetime]
    sleep: Callable[[float], None]
    describe: Callable[[BaseException], str]

    def run(
        self, job: str, tick: Tick, work: Callable[[Run], Outcome], *, time_left: Callable[[], timedelta]
    ) -> RunRecord:
        """Run a job once for a tick.

        1. Wait for the scheduled time, should it lie ahead.
        2. Record the start.
        3. Work. An exception fails the run; items that failed make it partial; a lack of time makes it incomplete.
        4. Record the end, publish the counts, log the whole result. Of a run that had succeeded, and in which nothing
           was left to do, the stored record is returned instead.
        5. Raise, if the run is scheduled and did not succeed.

        A runs table that cannot be reached stops neither the work nor its report: metric `RunNotRecorded`.

        Args:
            job: its name, such as `prize-pool`.
            tick: the request for it.
            work: the use case.
            time_left: what is left of the invocation.

        Raises:
            RunNotSucceededError: a scheduled run ended as anything but succeeded.
        """
        run = Run(id=tick.run_id(job), tick=tick, time_left=time_left)
        logger.thread_safe_append_keys(run_id=run.id, job=job, function_request_id=tick.request_id)
        try:
            self._wait_for_slot(run)
            attempt, is_recorded = self._start(run, job)
            # Of a run that is killed there is no other line, and none by which Lambda's own could be found.
            logger.info("run started", extra={"attempt": attempt.record.attempt})
            end = self._work(attempt.record, run, work)
            if attempt.success is not None and end.adds_nothing_to(attempt.success):
                logger.info("run has succeeded before; nothing left to do", extra={"attempt": attempt.success.attempt})
                return replace(attempt.success, duplicate=True)
            record, is_closed = self._finish(attempt, end)
            counts = end.counts if is_recorded and is_closed else {**end.counts, Metric.RUN_NOT_RECORDED: 1}
            if not record.dry_run:
                self._publish(counts, run, job)
            logger.info(f"run {record.status}", extra={"run": record.to_json()})
        finally:
            logger.thread_safe_clear_keys()
        # S05: Lambda retries it, and dead-letters the event after the last attempt.
        if tick.is_scheduled and record.status is not RunStatus.SUCCEEDED:
            raise RunNotSucceededError(_summary(record))
        return record

    def _wait_for_slot(self, run: Run) -> None:
        """Until the scheduled time, by our clock too: no run begins before it (S27)."""
        while (ahead := run.tick.at - self.clock()) > timedelta():
            if run.must_stop:
                raise RunNotSucceededError(f"run {run.id} not begun: its time is {ahead} ahead, and no time is left")
            self.sleep(min(ahead.total_seconds(), WAIT_STEP))

    def _start(self, run: Run, job: str) -> tuple[Attempt, bool]:
        now = self.clock()
        record = RunRecord(
            run_id=run.id,
            job=job,
            trigger=str(run.tick.trigger),
            scheduled_at=run.tick.at,
            status=RunStatus.RUNNING,
            attempt=0,
            started_at=now,
            deadline_at=now + run.time_left(),
            dry_run=run.tick.dry_run,
            actor=run.tick.actor,
            reason=run.tick.reason,
        )
        try:
            return self.store.start(record), True
        except RunStoreError as error:
            logger.error("run not recorded at its start; the job works anyway", extra={"error": str(error)})
            return Attempt(record=record), False

    def _work(self, record: RunRecord, run: Run, work: Callable[[Run], Outcome]) -> "_End":
        try:
            outcome = OUT_OF_TIME if run.must_stop else work(run)
        except OutOfTimeError:  # S19: in a statement on which all depends
            outcome = OUT_OF_TIME
        except Exception as error:  # noqa: BLE001 - it is recorded, and raised if the run is scheduled
            logger.exception("run failed")
            result = {"errors": [{"error": self.describe(error)}]}
            failed = self._ended(record, RunStatus.FAILED, result)
            return _End(record=failed, counts={Metric.RUN_FAILED: 1}, merge=take_latest)
        verdict = Metric.RUN_SUCCEEDED if outcome.status is RunStatus.SUCCEEDED else Metric.RUN_FAILED
        counts = {
            verdict: 1,
            Metric.ITEMS_PROCESSED: outcome.items_processed,
            Metric.ITEMS_FAILED: outcome.items_failed,
            **outcome.metrics,
        }
        return _End(record=self._ended(record, outcome.status, outcome.result), counts=counts, merge=outcome.merge)

    def _ended(self, record: RunRecord, status: RunStatus, result: Result) -> RunRecord:
        return replace(record, status=status, finished_at=self.clock(), result=result, counts=count_numbers(result))

    def _finish(self, attempt: Attempt, end: "_End") -> tuple[RunRecord, bool]:
        try:
            return self.store.finish(attempt, end.record, end.merge), True
        except RunStoreError as error:
            logger.error("run not recorded at its end", extra={"error": str(error)})
            run = attempt.stored.record
            return merge_attempt(run, end.record, end.merge).returned if run is not None else end.record, False

    def _publish(self, counts: Mapping[Metric, int], run: Run, job: str) -> None:
        """Publish what a run counted as of now, but its success as of its slot.

        S30: so a success in the past does not end a silence that began later.
        """
        now = self.clock()
        of_now = dict(counts)
        of_slot = {Metric.RUN_SUCCEEDED: succeeded} if (succeeded := of_now.pop(Metric.RUN_SUCCEEDED, 0)) else {}
        if now - run.tick.at <= OLDEST_METRIC:
            publish_metrics(of_slot, at=run.tick.at, job=job, stage=self.stage, run_id=run.id)
        publish_metrics(of_now, at=now, job=job, stage=self.stage, run_id=run.id)


@dataclass(frozen=True, kw_only=True)
class _End:
    """The end of an attempt, before it is recorded.

    Attributes:
        record: of the attempt alone.
        counts: what it publishes.
        merge: its result into that of the run.
    """

    record: RunRecord
    counts: Mapping[Metric, int]
    merge: Merge

    def adds_nothing_to(self, success: RunRecord) -> bool:
        """Whether it found nothing left to do in a run that had succeeded, and nothing that its record lacks (S27)."""
        is_idle = self.record.status is RunStatus.SUCCEEDED and not self.counts[Metric.ITEMS_PROCESSED]
        earlier, latest = success.result or {}, self.record.result or {}
        return is_idle and self.merge(earlier, latest) == earlier


def _summary(record: RunRecord) -> str:
    """One line that names the run, how it ended and its first error."""
    errors = (record.result or {}).get("errors") or []
    first = f"; first of {len(errors)} errors: {errors[0]['error']}" if errors else ""
    return f"run {record.run_id} {record.status}{first}"
