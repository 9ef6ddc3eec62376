"""JSON logs and EMF metrics (Powertools), under one service name.

https://docs.aws.amazon.com/powertools/python/latest/core/logger/
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
import sys
from collections.abc import Mapping
from datetime import datetime
from io import TextIOBase
from typing import IO, cast

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from shared.metrics import NAMESPACE, SERVICE, Metric, dimensions


class StandardOutput(TextIOBase):
    """The current `sys.stdout`, so that log lines are redirected together with the metrics, which are printed."""

    def write(self, text: str) -> int:
        """Write a part of a log line; return its length in characters."""
        return sys.stdout.write(text)


def _to_line(record: object) -> str:
    """ASCII only: text from an event can neither end a line (U+2028, U+0085) nor command a terminal (U+009B)."""
    return json.dumps(record, default=str, separators=(",", ":"))


# A traceback is logged once, as text.
logger = Logger(
    service=SERVICE,
    stream=cast("IO[str]", StandardOutput()),
    serialize_stacktrace=False,
    json_serializer=_to_line,
)


def publish_metrics(counts: Mapping[Metric, int], *, at: datetime, job: str, stage: str, run_id: str) -> None:
    """Write the counts of one run to standard output, where Lambda turns them into CloudWatch metrics.

    A fresh set for each run: Powertools clears or shares the dimensions of a set that is used again.

    Args:
        counts: nothing is written for none.
        at: the instant that they count for.
        job: a dimension, as is the stage.
        stage: of the deployment.
        run_id: metadata, to find the run from the log line; as a dimension each run would create new metrics.
    """
    if not counts:
        return
    metrics = EphemeralMetrics(namespace=NAMESPACE, service=SERVICE)
    for name, value in dimensions(job=job, stage=stage).items():
        metrics.add_dimension(name=name, value=value)
    # Not `set_timestamp`, which warns by the machine's own clock: what is too old is the caller's to decide.
    metrics.timestamp = round(at.timestamp() * 1000)
    metrics.add_metadata(key="run_id", value=run_id)
    for metric, count in counts.items():
        metrics.add_metric(name=metric, unit=MetricUnit.Count, value=count)
    metrics.flush_metrics()
