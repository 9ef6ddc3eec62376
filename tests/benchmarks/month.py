"""What a month of all jobs takes of Lambda, in GB-seconds, requests and dollars: from what is measured here.

An hour apart, each run is a cold start. Lambda gives a function processors in proportion to its memory, so that seconds
of a whole one are stretched: https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html.
"""

import re
import resource
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cronsim import CronSim

from infra.jobs import JOBS, Job
from infra.local import postgres
from infra.stack import bundle
from infra.stack.target import LOCAL
from shared.config import VARIABLES
from tests.benchmarks import cold_start
from tests.benchmarks.demo import TWO_DAYS, replay
from tests.benchmarks.rows import Row

COST = Path(__file__).parents[2] / "docs" / "cost.md"  # the prices, with their source
PRICES = r"([0-9.]+) per GB-second, ([0-9.]+) per million requests"
WHOLE_PROCESSOR = 1769  # MB
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
MONTH = timedelta(days=30)
COLD_STARTS = 3  # of each; the least counts


def measure(*, quick: bool) -> list[Row]:  # noqa: ARG001 - the same
    """Cold starts with nothing to do, and the median runs of the demo's arcade."""
    [(per_gb_second, per_million)] = re.findall(PRICES, COST.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        report = replay(Path(folder), TWO_DAYS)
        postgres.stop_unused(Path(folder) / "postgres")
    run_seconds = {of_job["job"]: of_job["median_ms"] / 1000 for of_job in report["statistics"]}
    grace = {"prize-pool": float(VARIABLES["SETTLEMENT_GRACE_SECONDS"].default or 0)}  # it waits, and is billed
    requests, gb_seconds, parts = 0, 0.0, []
    with cold_start.function_environment() as environment:
        for job in JOBS:
            cold = min(_cold_seconds(job, environment) for _ in range(COLD_STARTS))
            billed = (cold + run_seconds[job.name]) * WHOLE_PROCESSOR / job.memory + grace.get(job.name, 0.0)
            runs = _runs_of_a_month(job)
            requests += runs
            gb_seconds += runs * billed * job.memory / 1024
            parts.append(f"{job.name} {runs} of {billed:.1f} s")
    dollars = gb_seconds * float(per_gb_second) + requests * float(per_million) / 1e6
    return [
        Row(
            measure="a month of all jobs on Lambda",
            against=f"{', '.join(parts)}; prices of docs/cost.md",
            target="",
            figures=f"{gb_seconds:,.0f} GB-seconds, {requests} requests: {dollars:.4f} USD",
        )
    ]


def _cold_seconds(job: Job, environment: dict[str, str]) -> float:
    """Of a processor, from the interpreter to the end of the first invocation."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    cold_start.invoke_first(f"functions.{job.stem}", bundle.build(LOCAL.platform), environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _runs_of_a_month(job: Job) -> int:
    slots = CronSim(job.cron, FIRST - timedelta(minutes=1))
    return sum(1 for _ in iter(lambda: next(slots) < FIRST + MONTH, False))
