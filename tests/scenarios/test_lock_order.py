"""Settling, ranking, cleaning and writers in lock order never deadlock (docs/design.md, Lock order)."""

from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from sqlalchemy import text

from shared.app import App
from tests.arcade import Arcade
from tests.fakes import FakeClock
from tests.jobs import HANDLERS, StartApp, invoke
from tests.locks import TIMEOUT
from tests.plays import Key
from tests.scenarios.load import Load

HOLD = text("UPDATE leaderboard_entries SET session_id = session_id WHERE period_type = :period")


def test_cleaning_waits_for_no_player_and_so_cannot_deadlock_with_one(arcade: Arcade, app: App) -> None:
    """The week's entry is older than the day's, so cleaning meets them in another order than the player locks them."""
    arcade.add_orphan(5, "2026-01-11T12:00:00Z", periods=("weekly", "daily"))
    with arcade.engine.connect() as player, ThreadPoolExecutor(1) as threads:
        player.execute(HOLD, {"period": "daily"})
        cleaning = threads.submit(invoke, app, "cleanup", {})
        wait([cleaning], TIMEOUT)
        result = cleaning.result()["result"]  # the day's stays: its player holds it
        assert (result["orphaned_entries_deleted"], result["remaining"], result["errors"]) == (1, 1, [])
        player.execute(HOLD, {"period": "weekly"})
        player.commit()
    assert invoke(app, "cleanup", {})["result"]["orphaned_entries_deleted"] == 1


def run_load(arcade: Arcade, start_app: StartApp, clock: FakeClock, *, seconds: float) -> Load:
    apps = {job: start_app(session={"lock_timeout": "60000"}) for job in HANDLERS}
    load = Load(engine=arcade.engine, clock=clock, apps=apps, seconds=seconds)
    load.run()
    assert load.failures == []
    with arcade.engine.connect() as connection:
        pools = connection.execute(text("SELECT * FROM prize_pools")).all()
        for pool in pools:
            key = Key(pool.game_type, pool.period_type, pool.period_date)
            won = (pool.winner_score, pool.winner_address)
            assert pool.status == "finalized"
            assert won == load.best.get(key, (None, None)), key
            assert pool.total_amount_usdc == load.paid[key], key
        assert len(pools) == len(load.paid)
        boards = (
            "SELECT array_agg(rank ORDER BY rank) FROM leaderboard_entries GROUP BY game_type, period_type, period_date"
        )
        for ranks in connection.scalars(text(boards)):
            assert ranks == list(range(1, len(ranks) + 1))
    load.counts["pools"] = len(pools)
    return load


def test_fifty_writers_and_all_three_jobs_lose_nothing_and_never_deadlock(
    arcade: Arcade, start_app: StartApp, clock: FakeClock
) -> None:
    counts = run_load(arcade, start_app, clock, seconds=5).counts
    assert counts["scores"] > 100
    assert counts["pools"] > 4
    assert min(counts["leaderboard"], counts["cleanup"], counts["prize-pool"]) > 1


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_for_a_minute_too(arcade: Arcade, start_app: StartApp, clock: FakeClock) -> None:
    counts = run_load(arcade, start_app, clock, seconds=60).counts
    print(f"in 60 s: {dict(counts)}, deadlocks and other failures: 0")  # noqa: T201 - the figure for the docs
    assert counts["refused"] > 10
