"""Three weeks of real plays through the three handlers, on the path of `make demo`."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from sqlalchemy import Engine, text

from infra.demo.platform import Platform, list_entries, list_pools
from infra.demo.plays import load_plays, load_settlements
from infra.demo.replay import FIRST_SLOT, LAST_SLOT, VirtualClock, compare, list_slots, replay
from infra.demo.runs_table import MemoryRunsTable
from infra.demo.saved_runs import TABLE_NAME
from infra.jobs import JOBS
from infra.local import postgres
from shared.app import build_app
from shared.db.connection import open_engine
from shared.domain.periods import Calendar
from shared.domain.run import RunStatus
from shared.operations.statistics import summarize
from shared.runs.record import RunRecord
from shared.runs.store import RunStore
from tests.plays import Key, expected_boards

pytestmark = [pytest.mark.xdist_group("replay"), pytest.mark.timeout(900)]  # one replay for all of them
UTC_ZONE = ZoneInfo("UTC")


@dataclass(frozen=True)
class Replayed:
    engine: Engine
    runs: RunStore
    records: list[RunRecord]


@pytest.fixture(scope="module")
def replayed(server: postgres.Server, template: str) -> Iterator[Replayed]:
    name = f"replayed_{uuid4().hex[:12]}"
    url = server.create_database(name, template=template).render_as_string()
    engine = open_engine(url)
    clock = VirtualClock(FIRST_SLOT)
    environment = {"DATABASE_URL": url, "RUNS_TABLE_NAME": TABLE_NAME, "JOB_SCHEDULER_TIMEZONE": "UTC"}
    app = build_app(environment, dynamodb=MemoryRunsTable().client, clock=clock, sleep=clock.sleep)
    platform = Platform(engine=engine, calendar=Calendar.of(UTC_ZONE))
    slots = list_slots(LAST_SLOT)
    assert list(replay(load_plays(), platform=platform, app=app, clock=clock, slots=slots)) == slots
    app.engine.dispose()
    runs = app.runner.store
    yield Replayed(engine, runs, runs.list_runs())
    engine.dispose()
    server.drop_database(name)


def slots_by_cronsim() -> Iterator[str]:
    """The id of each run that there must be."""
    for job in JOBS:
        for slot in CronSim(job.cron, FIRST_SLOT - timedelta(minutes=1)):
            if slot > LAST_SLOT:
                break
            yield f"{job.name}:{slot:%Y-%m-%dT%H:%MZ}"


def test_every_pool_is_settled_as_it_must_be(replayed: Replayed) -> None:
    with replayed.engine.connect() as connection:
        pools = list_pools(connection)
    assert compare(pools, load_settlements(), at=LAST_SLOT, calendar=Calendar.of(UTC_ZONE)) == []
    assert [pool.status for pool in pools] == ["finalized"] * 120
    assert sum(pool.equal_scores > 1 for pool in pools) == 29


def test_every_board_is_ranked_as_python_sorts_it(replayed: Replayed) -> None:
    """Those of periods that ended too: their last hour is ranked after they are over."""
    with replayed.engine.connect() as connection:
        entries = list_entries(connection)
    boards = {
        Key(game_type, str(period.type), period.date): list(board)
        for (game_type, period), board in groupby(entries, key=lambda entry: (entry.game_type, entry.period))
    }
    expected = expected_boards(load_plays(), UTC_ZONE)
    assert boards.keys() == expected.keys()
    assert len(boards) == 125
    for key, board in boards.items():
        assert {entry.player_address: (entry.score, entry.created_at) for entry in board} == {
            player: (best.score, best.created_at) for player, best in expected[key].items()
        }
        in_order = sorted(board, key=lambda entry: (-entry.score, entry.created_at, entry.id))
        assert [(entry.id, entry.rank) for entry in board] == [(e.id, n) for n, e in enumerate(in_order, start=1)]


def test_a_slot_is_a_run_and_every_run_succeeded(replayed: Replayed) -> None:
    fired = set(slots_by_cronsim())
    assert {record.run_id for record in replayed.records} == fired
    assert {record.status for record in replayed.records} == {RunStatus.SUCCEEDED}
    assert {(record.trigger, record.attempt) for record in replayed.records} == {("scheduled", 1)}


def test_the_statistics_count_every_run(replayed: Replayed) -> None:
    statistics = {of_job.job: of_job for of_job in summarize(replayed.records)}
    expected = Counter(run_id.partition(":")[0] for run_id in slots_by_cronsim())
    assert {job: of_job.runs for job, of_job in statistics.items()} == expected
    assert (expected["prize-pool"], expected["leaderboard"], expected["cleanup"]) == (22, 531, 23)
    assert {of_job.success_rate for of_job in statistics.values()} == {1.0}


def test_the_results_of_the_runs_add_up(replayed: Replayed) -> None:
    plays = load_plays()
    results = [
        (record.job, record.result or {})
        for run in replayed.records
        if (record := replayed.runs.get(run.run_id)) is not None
    ]
    settled = [pool for job, result in results if job == "prize-pool" for pool in result["finalized_pools"]]
    assert len({pool["pool_id"] for pool in settled}) == len(settled) == 120
    assert not any(pool["late"] for pool in settled)
    abandoned = sum(result["expired_sessions_deleted"] for job, result in results if job == "cleanup")
    assert abandoned == sum(play.completed_at is None for play in plays) == 244
    assert not any(result["errors"] for _, result in results)


def test_what_was_played_to_its_end_is_all_that_is_left(replayed: Replayed) -> None:
    with replayed.engine.connect() as connection:
        left = set(connection.execute(text("SELECT id FROM game_sessions")).scalars())
    assert left == {play.session_id for play in load_plays() if play.completed_at}


def test_an_hour_without_a_play_changes_no_rank(replayed: Replayed) -> None:
    record = replayed.runs.get("leaderboard:2026-01-27T03:00Z")
    assert record is not None
    assert record.result is not None
    assert (record.result["leaderboards_processed"], record.result["entries_updated"]) == (0, 0)
