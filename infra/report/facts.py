"""What the page is made of: all that was read of a stage, and what could not be."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from infra.deployed.dead_letters import DeadLetter
from infra.deployed.pools import BoardSize, OpenPools, SettledDay, SettledPool
from shared.operations.statistics import JobStatistics
from shared.operations.status import Status
from shared.runs.record import RunRecord


class Unread(NamedTuple):
    """What could not be read: why, and what would help, in one line."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class JobFacts:
    """The runs of one job.

    Attributes:
        zone: of its schedule.
        timeout: of one attempt.
        statistics: of its runs; None when there are none.
        runs: without dry runs, the latest start first.
    """

    job: str
    zone: ZoneInfo
    timeout: timedelta
    statistics: JobStatistics | None
    runs: Sequence[RunRecord]


@dataclass(frozen=True, kw_only=True)
class PoolFacts:
    """Pools, money and boards."""

    open: OpenPools
    days: Sequence[SettledDay]
    winners: Sequence[SettledPool]
    unpaid: Sequence[SettledPool]
    sizes: Sequence[BoardSize]


@dataclass(frozen=True, kw_only=True)
class Report:
    """A stage at one moment.

    Attributes:
        options: those that lead a command to the stage, such as ` --stage prod`.
        where: account, region and stack, or what there is instead.
        made_at: the wall clock, aware.
        since: when what it is about begins.
        status: what `arcade-jobs status` shows.
        troubled: runs that did not succeed at once, with their results; the latest first.
        untold: how many more of these there are.
    """

    stage: str
    options: str
    where: str
    made_at: datetime
    since: datetime
    jobs: Sequence[JobFacts]
    status: Status | Unread
    troubled: Sequence[RunRecord]
    untold: int
    dead_letters: Sequence[DeadLetter] | Unread
    pools: PoolFacts | Unread
