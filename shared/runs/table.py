"""The runs table as data: what the stack builds, emulators create and the store queries.

One item per run. Four queries, none of them a scan: a run by its id; the last N of a job; the last N of all jobs; what
is running. The last two indexes have one partition each: a job writes some thirty items a day, a partition takes a
thousand a second (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html).
"""

from dataclasses import dataclass

from shared.runs.record import LISTED_ATTRIBUTES

PARTITION_KEY = "run_id"
TIME_TO_LIVE = "expires_at"  # seconds since 1970, UTC
ANY_JOB = "any"  # the only value of the attributes `history` and `running`


@dataclass(frozen=True, kw_only=True)
class RunsIndex:
    """A global secondary index: string keys, every attribute but the bulky `result`."""

    name: str
    partition_key: str
    sort_key: str

    @property
    def projected_attributes(self) -> list[str]:
        """What it holds besides the keys."""
        keys = {PARTITION_KEY, self.partition_key, self.sort_key}
        return [name for name in (*LISTED_ATTRIBUTES, TIME_TO_LIVE) if name not in keys]


BY_JOB = RunsIndex(name="by_job", partition_key="job", sort_key="started_at")
BY_START = RunsIndex(name="by_start", partition_key="history", sort_key="started_at")
# Sparse: the attribute `running` is there only while the run is.
RUNNING = RunsIndex(name="running", partition_key="running", sort_key="started_at")
INDEXES = (BY_JOB, BY_START, RUNNING)
