"""The one way in which every job runs: record the start, work, record the end, report (docs/design.md, Runs)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from shared.domain.errors import ArcadeJobsError
from shared.domain.run import Outcome, OutOfTimeError, Run, RunStatus
from shared.domain.tick import Tick
from shared.metrics import Metric
from shared.observability import logger, publish_metrics
from shared.runs.record import RunRecord, count_numbers
from shared.runs.store import RunStore, RunStoreError


class RunNotSucceededError(ArcadeJobsError):
    """A scheduled run did not succeed: raised so that Lambda retries the event, and dead-letters it at last."""


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Runs jobs.

    Attributes:
        store: where runs are remembered.
        stage: a dimension of the metrics.
        clock: the wall clock, aware.
        describe: an exception in one line, without secrets.
    """

    store: RunStore
    stage: str
    clock: Callable[[], datetime]
    describe: Callable[[BaseException], str]

    def run(
        self, job: str, tick: Tick, work: Callable[[Run], Outcome], *, time_left: Callable[[], timedelta]
    ) -> RunRecord:
        """Run a job once for a tick.

        1. Record the start. A run that succeeded before is returned as it was, and nothing is done.
        2. Work. An exception fails the run; items that failed make it partial; a lack of time makes it incomplete.
        3. Record the end, publish the counts, log the whole result.
        4. Raise, if the run is scheduled and did not succeed.

        A runs table that cannot be reached stops neither the work nor its report: metric `RunNotRecorded`.

        Args:
            job: its name, such as `prize-pool`.
            tick: the request for it.
            work: the use case.
            time_left: what is left of the invocation.

        Raises:
            RunNotSucceededError: a scheduled run ended as anything but succeeded.
        """
        run_id = tick.run_id(job)
        logger.thread_safe_append_keys(run_id=run_id, job=job)
        try:
            record, is_recorded = self._start(run_id, job, tick, time_left())
            if record.duplicate:
                logger.info("run has succeeded before; nothing done", extra={"attempt": record.attempt})
                return record
            record, counts = self._work(record, Run(id=run_id, tick=tick, time_left=time_left), work)
            is_recorded = self._finish(record) and is_recorded
            if not is_recorded:
                counts[Metric.RUN_NOT_RECORDED] = 1
            if not record.dry_run:
                publish_metrics(counts, job=job, stage=self.stage, run_id=run_id)
            logger.info(f"run {record.status}", extra={"run": record.to_json()})
        finally:
            logger.thread_safe_clear_keys()
        # S05: Lambda retries it, and dead-letters the event after the last attempt.
        if tick.is_scheduled and record.status is not RunStatus.SUCCEEDED:
            raise RunNotSucceededError(_summary(record))
        return record

    def _start(self, run_id: str, job: str, tick: Tick, time_left: timedelta) -> tuple[RunRecord, bool]:
        now = self.clock()
        record = RunRecord(
            run_id=run_id,
            job=job,
            trigger=str(tick.trigger),
            scheduled_at=tick.at,
            status=RunStatus.RUNNING,
            attempt=0,
            started_at=now,
            deadline_at=now + time_left,
            dry_run=tick.dry_run,
            actor=tick.actor,
            reason=tick.reason,
        )
        try:
            return self.store.start(record), True
        except RunStoreError as error:
            logger.error("run not recorded at its start; the job works anyway", extra={"error": str(error)})
            return record, False

    def _work(self, record: RunRecord, run: Run, work: Callable[[Run], Outcome]) -> tuple[RunRecord, dict[Metric, int]]:
        """The record with its end, and the counts to publish."""
        try:
            outcome = work(run)
        except OutOfTimeError:  # S19: in a statement on which all depends
            outcome = Outcome(result={"errors": []}, items_processed=0, items_failed=0, is_complete=False)
        except Exception as error:  # noqa: BLE001 - it is recorded, and raised if the run is scheduled
            logger.exception("run failed")
            result = {"errors": [{"error": self.describe(error)}]}
            return self._ended(record, RunStatus.FAILED, result), {Metric.RUN_FAILED: 1}
        verdict = Metric.RUN_SUCCEEDED if outcome.status is RunStatus.SUCCEEDED else Metric.RUN_FAILED
        counts = {
            verdict: 1,
            Metric.ITEMS_PROCESSED: outcome.items_processed,
            Metric.ITEMS_FAILED: outcome.items_failed,
            **outcome.metrics,
        }
        return self._ended(record, outcome.status, outcome.result), counts

    def _ended(self, record: RunRecord, status: RunStatus, result: dict[str, Any]) -> RunRecord:
        return replace(record, status=status, finished_at=self.clock(), result=result, counts=count_numbers(result))

    def _finish(self, record: RunRecord) -> bool:
        try:
            self.store.finish(record)
        except RunStoreError as error:
            logger.error("run not recorded at its end", extra={"error": str(error)})
            return False
        return True


def _summary(record: RunRecord) -> str:
    """One line that names the run, how it ended and its first error."""
    errors = (record.result or {}).get("errors") or []
    first = f"; first of {len(errors)} errors: {errors[0]['error']}" if errors else ""
    return f"run {record.run_id} {record.status}{first}"
