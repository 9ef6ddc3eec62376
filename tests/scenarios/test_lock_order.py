"""No deadlock between settling, ranking, cleaning and writers that keep to the lock order (DESIGN section 2)."""

from concurrent.futures import ThreadPoolExecutor, wait
from uuid import uuid4

import pytest
from sqlalchemy import select, text

from infra.schema.tables import prize_pools
from tests.arcade import Arcade
from tests.fakes import FakeClock
from tests.locks import TIMEOUT
from tests.plays import Key
from tests.scenarios.conftest import Container, StartContainer
from tests.scenarios.storm import Storm

IMPROVE = text("UPDATE leaderboard_entries SET score = score + 1 WHERE period_type = :period")


def test_cleaning_waits_for_no_player_and_so_cannot_deadlock_with_one(arcade: Arcade, container: Container) -> None:
    """The week's entry is older than the day's, so cleaning meets them in another order than the player locks them."""
    for period in ("weekly", "daily"):
        arcade.add_entry(uuid4(), 5, "2026-01-11T12:00:00Z", period=period)
    with arcade.engine.connect() as player, ThreadPoolExecutor(1) as threads:
        player.execute(IMPROVE, {"period": "daily"})
        cleaning = threads.submit(container.invoke, "cleanup", {})
        wait([cleaning], TIMEOUT)
        result = cleaning.result()["result"]  # the day's stays: its player holds it
        assert (result["orphaned_entries_deleted"], result["remaining"], result["errors"]) == (1, 1, [])
        player.execute(IMPROVE, {"period": "weekly"})
        player.commit()
    assert container.invoke("cleanup", {})["result"]["orphaned_entries_deleted"] == 1


def weather(arcade: Arcade, start_container: StartContainer, clock: FakeClock, *, seconds: float) -> Storm:
    jobs = {job: start_container(session={"lock_timeout": "60000"}) for job in ("prize-pool", "leaderboard", "cleanup")}
    storm = Storm(engine=arcade.engine, clock=clock, jobs=jobs, seconds=seconds)
    storm.blow()
    assert storm.failures == []
    with arcade.engine.connect() as connection:
        pools = connection.execute(select(prize_pools)).all()
        for pool in pools:
            key = Key(pool.game_type, pool.period_type, pool.period_date)
            won = (pool.winner_score, pool.winner_address)
            assert pool.status == "finalized"
            assert won == storm.best.get(key, (None, None)), key
            assert pool.total_amount_usdc == storm.paid[key], key
        assert len(pools) == len(storm.paid)
        boards = (
            "SELECT array_agg(rank ORDER BY rank) FROM leaderboard_entries GROUP BY game_type, period_type, period_date"
        )
        for ranks in connection.scalars(text(boards)):
            assert ranks == list(range(1, len(ranks) + 1))
    storm.counts["pools"] = len(pools)
    return storm


def test_fifty_writers_and_all_three_jobs_lose_nothing_and_never_deadlock(
    arcade: Arcade, start_container: StartContainer, clock: FakeClock
) -> None:
    counts = weather(arcade, start_container, clock, seconds=5).counts
    assert counts["scores"] > 100
    assert counts["pools"] > 4
    assert min(counts["leaderboard"], counts["cleanup"], counts["prize-pool"]) > 1


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_for_a_minute_too(arcade: Arcade, start_container: StartContainer, clock: FakeClock) -> None:
    counts = weather(arcade, start_container, clock, seconds=60).counts
    print(f"in 60 s: {dict(counts)}, deadlocks and other failures: 0")  # noqa: T201 - the figure for the docs
    assert counts["refused"] > 10
