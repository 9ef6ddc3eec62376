"""No deadlock between settling, ranking, cleaning and writers that keep to the lock order (DESIGN section 2)."""

from concurrent.futures import ThreadPoolExecutor, wait
from uuid import uuid4

from sqlalchemy import text

from tests.arcade import Arcade
from tests.locks import PATIENCE
from tests.scenarios.conftest import Container

IMPROVE = text("UPDATE leaderboard_entries SET score = score + 1 WHERE period_type = :period")


def test_cleaning_waits_for_no_player_and_so_cannot_deadlock_with_one(arcade: Arcade, container: Container) -> None:
    """The week's entry is older than the day's, so cleaning meets them in another order than the player locks them."""
    for period in ("weekly", "daily"):
        arcade.add_entry(uuid4(), 5, "2026-01-11T12:00:00Z", period=period)
    with arcade.engine.connect() as player, ThreadPoolExecutor(1) as threads:
        player.execute(IMPROVE, {"period": "daily"})
        cleaning = threads.submit(container.invoke, "cleanup", {})
        wait([cleaning], PATIENCE)
        result = cleaning.result()["result"]  # the day's stays: its player holds it
        assert (result["orphaned_entries_deleted"], result["remaining"], result["errors"]) == (1, 1, [])
        player.execute(IMPROVE, {"period": "weekly"})
        player.commit()
    assert container.invoke("cleanup", {})["result"]["orphaned_entries_deleted"] == 1
