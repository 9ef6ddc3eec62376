"""The metrics: what the functions publish, and alarms and dashboard read."""

from collections.abc import Mapping
from enum import StrEnum

NAMESPACE = "ArcadeJobs"
SERVICE = "arcade-jobs"


class Metric(StrEnum):
    """A count of one run, by its name in CloudWatch."""

    RUN_SUCCEEDED = "RunSucceeded"  # 1; neither a dry run nor a duplicate publishes it
    RUN_FAILED = "RunFailed"  # 1: any other end, so the platform retries
    ITEMS_PROCESSED = "ItemsProcessed"  # pools settled, ranks written, rows deleted
    ITEMS_FAILED = "ItemsFailed"
    RUN_NOT_RECORDED = "RunNotRecorded"  # 1: the runs table could not be reached
    # Of prize-pool: 0 when all is well; anything else needs a person.
    POOLS_WITHOUT_WINNER = "PoolsWithoutWinner"  # settled, no entry valid
    ENTRIES_PASSED_OVER = "EntriesPassedOver"  # in the pools that were settled
    POOLS_DUE_AFTER_RUN = "PoolsDueAfterRun"  # due, and no error of the run says why
    PERIODS_WITHOUT_POOL = "PeriodsWithoutPool"  # ended within a week, played


# What only one job publishes, by its name; every job publishes the others.
OWN_METRICS: Mapping[str, tuple[Metric, ...]] = {
    "prize-pool": (
        Metric.POOLS_WITHOUT_WINNER,
        Metric.ENTRIES_PASSED_OVER,
        Metric.POOLS_DUE_AFTER_RUN,
        Metric.PERIODS_WITHOUT_POOL,
    ),
}


def dimensions(*, job: str, stage: str) -> dict[str, str]:
    """The dimensions of every metric. An alarm sees a metric only if it names exactly these."""
    return {"service": SERVICE, "job": job, "stage": stage}
