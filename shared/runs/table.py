"""The runs table as data: what the stack builds, emulators create and the store reads (DESIGN section 3, Runs table).

One item per run. Four questions are served, none by a scan: a run by its id; the last N of a job; the last N of all
jobs; what is running. The last two indexes have one partition each: a job writes some thirty items a day, a partition
takes a thousand a second
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html).
"""

from dataclasses import dataclass

PARTITION_KEY = "run_id"
TIME_TO_LIVE = "expires_at"  # seconds since 1970, UTC
ANY_JOB = "any"  # the only value of the attributes `history` and `running`


@dataclass(frozen=True, kw_only=True)
class RunsIndex:
    """A global secondary index: string keys, every attribute but the bulky `result`."""

    name: str
    partition_key: str
    sort_key: str


BY_JOB = RunsIndex(name="by_job", partition_key="job", sort_key="started_at")
BY_START = RunsIndex(name="by_start", partition_key="history", sort_key="started_at")
# Sparse: the attribute `running` is there only while the run is.
RUNNING = RunsIndex(name="running", partition_key="running", sort_key="started_at")
INDEXES = (BY_JOB, BY_START, RUNNING)

# What an index holds beside the keys; all that a list of runs shows.
PROJECTED_ATTRIBUTES = (
    *("job", "trigger", "scheduled_at", "status", "attempt", "started_at", "finished_at", "duration_ms"),
    *("counts", "deadline_at", "dry_run", "actor", "reason", "expires_at"),
)
