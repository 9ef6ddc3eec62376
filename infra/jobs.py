"""The jobs: a row is all that the stack, the command, the demo and the tests know of one.

Memory, concurrency, schedule and state can be set at synth (`infra/stack/context.py`).
"""

from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, cast

from shared.operations.outputs import job_title

if TYPE_CHECKING:
    from shared.app import JobHandler


@dataclass(frozen=True, kw_only=True)
class Job:
    """One scheduled job.

    Attributes:
        name: as in run ids, metrics and commands: `prize-pool`.
        cron: when it fires, in the five fields of cron.
        follows_zone: whether cron is read in JOB_SCHEDULER_TIMEZONE. Hours begin everywhere at once: the hourly job
            stays with UTC.
        switch: the variable that turns its schedule on or off at deployment.
        timeout: of one invocation; three of them with their waits fit into `delivery_window`.
        memory: in MB.
        delivery_window: how long an event is retried before it is dead-lettered.
        items: what the metric `ItemsProcessed` counts.
    """

    name: str
    cron: str
    follows_zone: bool
    switch: str
    timeout: timedelta = timedelta(minutes=15)
    memory: int = 512
    delivery_window: timedelta
    items: str

    @property
    def stem(self) -> str:
        """The name of its modules, event and tests: `prize_pool`."""
        return self.name.replace("-", "_")

    @property
    def handler(self) -> str:
        """The handler, as Lambda's setting names it."""
        return f"functions.{self.stem}.handler"

    @property
    def title(self) -> str:
        """The prefix of its constructs and stack outputs: `PrizePool`."""
        return job_title(self.name)

    def load_handler(self) -> "JobHandler":
        """Import the handler as Lambda does."""
        module, attribute = self.handler.rsplit(".", 1)
        return cast("JobHandler", getattr(import_module(module), attribute))


JOBS = (
    Job(
        name="prize-pool",
        cron="0 0 * * *",
        follows_zone=True,
        switch="ENABLE_PRIZEPOOL_JOB",
        delivery_window=timedelta(hours=2),
        items="pools settled",
    ),
    Job(
        name="leaderboard",
        cron="0 * * * *",
        follows_zone=False,
        switch="ENABLE_LEADERBOARD_JOB",
        delivery_window=timedelta(hours=1),
        items="rows ranked",
    ),
    Job(
        name="cleanup",
        cron="0 3 * * *",
        follows_zone=True,
        switch="ENABLE_CLEANUP_JOB",
        delivery_window=timedelta(hours=2),
        items="rows deleted",
    ),
)
