"""Random steps (plays, payments, forgeries, runs, crashes): the database always equals the model of the rules."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import Engine

from infra.demo.runs_table import MemoryRunsTable
from shared.domain.run import RunStatus
from shared.runs.store import RunStore
from tests.fakes import scheduled_event
from tests.faults.model import Model, between
from tests.faults.platform import PlatformSteps, choose, pick
from tests.faults.process import Fault, Killed, Kind, Moment, Process
from tests.faults.scenes import SMALL_BATCHES, await_quiet
from tests.faults.tables import Contents, Tables
from tests.jobs import HANDLERS

jobs = st.sampled_from(list(HANDLERS))
later = st.sampled_from([0, 5, 24, 170])  # hours
faults = st.builds(
    Fault,
    kind=st.sampled_from([Kind.KILLED, Kind.CUT]),
    moment=st.sampled_from(Moment),
    request=st.integers(1, 40),
)


@dataclass(frozen=True)
class Requested:
    """A run that was requested."""

    job: str
    at: datetime
    has_succeeded: bool

    @property
    def id(self) -> str:
        return f"{self.job}:{self.at:%Y-%m-%dT%H:%MZ}"


class ArcadeMachine(PlatformSteps):
    """The platform's steps and the jobs' runs; each happens in the arcade and in the model, which are then compared."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.dynamodb = MemoryRunsTable().client
        self.tables = Tables(engine)
        self.tables.empty()
        self.store = RunStore(client=self.dynamodb, table_name="runs", clock=self.clock)
        self.requested: dict[str, Requested] = {}
        self.process: Process | None = None

    # The jobs

    @rule(job=jobs, hours=later)
    def tick(self, job: str, hours: int) -> None:
        self._invoke(self._next_slot(job, hours), None)

    @rule(job=jobs, hours=later, fault=faults)
    def tick_with_a_fault(self, job: str, hours: int, fault: Fault) -> None:
        self._invoke(self._next_slot(job, hours), fault)

    @precondition(lambda self: self.requested)
    @rule(which=pick)
    def deliver_again(self, which: int) -> None:
        self._invoke(choose(list(self.requested.values()), which), None)

    def _env(self) -> dict[str, str]:
        return {
            "DATABASE_URL": self.engine.url.render_as_string(hide_password=False),
            "RUNS_TABLE_NAME": "runs",
            "JOB_SCHEDULER_TIMEZONE": self.zone,
        }

    def _next_slot(self, job: str, hours: int) -> Requested:
        self.clock.now += timedelta(hours=hours, minutes=1)
        return Requested(job, self.clock.now.replace(second=0, microsecond=0), has_succeeded=False)

    def _invoke(self, run: Requested, fault: Fault | None) -> None:
        before, after = self.model, self.model.copy()
        match run.job:
            case "prize-pool":
                after.settle(run.at, run.id)
            case "leaderboard":
                after.rank()
            case "cleanup":
                after.clean(run.at)
        if fault is not None or self.process is None:  # else the container is warm
            self.teardown_process()
            self.process = Process(env=self._env(), dynamodb=self.dynamodb, clock=self.clock, fault=fault)
        was_hit_before = self.process.was_hit
        try:
            record = self.process.invoke(run.job, scheduled_event(f"{run.at:%Y-%m-%dT%H:%M:%SZ}"))
        except Killed:
            self.teardown_process()
            await_quiet(self.engine)
            self.clock.now += timedelta(minutes=6)
            self._adopt(before, after)
            left = self.store.get(run.id)
            assert left is None or left.status in {RunStatus.ABANDONED, RunStatus.SUCCEEDED}
            has_succeeded = left is not None and left.status is RunStatus.SUCCEEDED
            assert has_succeeded or not run.has_succeeded  # S27: looked at again, it stays succeeded
            self.requested[run.id] = replace(run, has_succeeded=has_succeeded)
            return
        assert record["run_id"] == run.id
        assert record["status"] == "succeeded", record
        self.clock.now += timedelta(minutes=6)
        self.model = after
        self._compare_result(run, record["result"])
        stored = self.store.get(run.id)
        if record["duplicate"]:
            assert run.has_succeeded
            assert stored is not None
            assert record["result"] == stored.result
        # Cut off at its start or its end, it may be unknown to its record; the next delivery records it.
        has_succeeded = stored is not None and stored.status is RunStatus.SUCCEEDED
        self.requested[run.id] = replace(run, has_succeeded=has_succeeded)
        if stored is not None and self.process.was_hit is was_hit_before:
            self._compare_result(run, stored.result)

    def _compare_result(self, run: Requested, result: Any) -> None:
        """Runs and database agree on who won what."""
        if run.job == "prize-pool":
            reported = {
                pool["pool_id"]: (pool["winner_address"], pool["winner_score"], Decimal(pool["total_amount_usdc"]))
                for pool in result["finalized_pools"]
            }
            assert reported == {
                pool_id: (pool.winner, pool.winner_score, pool.amount)
                for pool_id, pool in self.tables.read().pools.items()
                if pool.settled_by == run.id
            }

    def _adopt(self, before: Model, after: Model) -> None:
        """A killed run has done each thing or not; nothing halfway and nothing else."""
        found = self.tables.read()
        assert between(before.sessions, after.sessions, found.sessions)
        assert between(before.entries, after.entries, found.entries)
        assert between(before.pools, after.pools, found.pools)
        assert before.touched & after.touched <= found.touched <= before.touched | after.touched
        self.model = replace(
            after, sessions=found.sessions, entries=found.entries, pools=found.pools, touched=found.touched
        )

    # What must hold

    @invariant()
    def the_database_equals_the_model_which_loses_no_micro_dollar_and_ranks_without_gaps(self) -> None:
        found = self.tables.read()
        model = self.model
        assert found == Contents(model.sessions, model.entries, model.pools, model.touched)
        assert sum(pool.amount for pool in found.pools.values()) == model.paid
        for board in {entry.board for entry in found.entries.values()} - found.touched:
            ranked = {number: entry.rank for number, entry in found.entries.items() if entry.board == board}
            assert sorted(ranked, key=lambda number: ranked[number] or 0) == model.order(board)
            assert sorted(rank or 0 for rank in ranked.values()) == list(range(1, len(ranked) + 1))

    def teardown(self) -> None:
        """Finally one more tick settles what is due, and each settled pool is in the record of a run."""
        if not hasattr(self, "model"):
            return
        self.tick("prize-pool", 24)
        self.the_database_equals_the_model_which_loses_no_micro_dollar_and_ranks_without_gaps()
        recorded = {run.run_id for run in self.store.list_runs()}
        settled_by = {pool.settled_by for pool in self.tables.read().pools.values() if pool.settled_by}
        assert settled_by <= recorded | set(self.requested)
        self.teardown_process()

    def teardown_process(self) -> None:
        if self.process is not None:
            self.process.close()
            self.process = None


@pytest.mark.parametrize(
    ("examples", "steps"),
    [
        pytest.param(18, 50, marks=pytest.mark.timeout(900)),
        pytest.param(2_000, 60, marks=[pytest.mark.soak, pytest.mark.timeout(0)]),
    ],
)
def test_the_database_equals_the_model_after_any_steps(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, examples: int, steps: int
) -> None:
    for module, name, size in SMALL_BATCHES:
        monkeypatch.setattr(module, name, size)
    run_state_machine_as_test(
        cast("type[ArcadeMachine]", lambda: ArcadeMachine(engine)),  # any factory will do
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
