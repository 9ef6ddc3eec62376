"""The metrics: what the functions publish, and alarms and dashboard read."""

from collections.abc import Mapping
from enum import StrEnum

NAMESPACE = "ArcadeJobs"
SERVICE = "arcade-jobs"


class Metric(StrEnum):
    """A count of one run, by its name in CloudWatch."""

    RUN_SUCCEEDED = "RunSucceeded"  # 1, as of its slot; neither a dry run nor a duplicate publishes it
    RUN_FAILED = "RunFailed"  # 1: any other end, so the platform retries
    ITEMS_PROCESSED = "ItemsProcessed"  # pools settled, ranks written, rows deleted
    ITEMS_FAILED = "ItemsFailed"
    RUN_NOT_RECORDED = "RunNotRecorded"  # 1: the runs table could not be reached
    POOLS_WITHOUT_WINNER = "PoolsWithoutWinner"


# What only one job publishes, by its name; every job publishes the others.
OWN_METRICS: Mapping[str, tuple[Metric, ...]] = {"prize-pool": (Metric.POOLS_WITHOUT_WINNER,)}


def dimensions(*, job: str, stage: str) -> dict[str, str]:
    """The dimensions of every metric. An alarm sees a metric only if it names exactly these."""
    return {"service": SERVICE, "job": job, "stage": stage}
