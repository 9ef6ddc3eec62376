"""The three jobs as a table: all in which they differ, as data (DESIGN sections 1 and 5).

The stack builds from it, the command finds functions and queues by it. Memory, concurrency, schedule and state can be
set at synth (`infra/stack/context.py`).
"""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, kw_only=True)
class Job:
    """One scheduled job.

    Attributes:
        name: as in run ids, metrics and commands: `prize-pool`.
        cron: when it fires, in the five fields of cron.
        follows_zone: whether the fields are read in JOB_SCHEDULER_TIMEZONE. Hours begin everywhere at once: the hourly
            job stays with UTC.
        switch: the variable that turns its schedule on or off at deployment.
        timeout: how long one invocation may take; three of them with their waits fit into `delivery_window`.
        memory: in MB.
        delivery_window: how long an event is tried before it goes to the dead-letter queue.
        silent_after: without a success for so long, the silence alarm is raised; whole hours.
        items: what the metric `ItemsProcessed` counts.
        own_metrics: counts that no other job emits.
    """

    name: str
    cron: str
    follows_zone: bool
    switch: str
    timeout: timedelta
    memory: int = 512
    delivery_window: timedelta
    silent_after: timedelta
    items: str
    own_metrics: tuple[str, ...] = ()

    @property
    def stem(self) -> str:
        """The name of its modules, events and tests: `prize_pool`."""
        return self.name.replace("-", "_")

    @property
    def handler(self) -> str:
        """What Lambda calls."""
        return f"functions.{self.stem}.handler"

    @property
    def title(self) -> str:
        """How constructs and stack outputs begin: `PrizePool`."""
        return "".join(word.capitalize() for word in self.name.split("-"))


# S03: a local day can last 25 hours (clocks set back); the hour on top is the time a run may take with its retries.
A_DAY_MISSED = timedelta(hours=26)
THREE_SLOTS_MISSED = timedelta(hours=3)

JOBS = (
    Job(
        name="prize-pool",
        cron="0 0 * * *",
        follows_zone=True,
        switch="ENABLE_PRIZEPOOL_JOB",
        timeout=timedelta(minutes=15),
        delivery_window=timedelta(hours=2),
        silent_after=A_DAY_MISSED,
        items="pools settled",
        own_metrics=("PoolsWithoutWinner",),
    ),
    Job(
        name="leaderboard",
        cron="0 * * * *",
        follows_zone=False,
        switch="ENABLE_LEADERBOARD_JOB",
        timeout=timedelta(minutes=15),
        delivery_window=timedelta(hours=1),
        silent_after=THREE_SLOTS_MISSED,
        items="rows ranked",
    ),
    Job(
        name="cleanup",
        cron="0 3 * * *",
        follows_zone=True,
        switch="ENABLE_CLEANUP_JOB",
        timeout=timedelta(minutes=15),
        delivery_window=timedelta(hours=2),
        silent_after=A_DAY_MISSED,
        items="rows deleted",
    ),
)
