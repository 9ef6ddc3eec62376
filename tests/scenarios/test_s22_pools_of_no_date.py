"""S22: a pool whose date no calendar has stops itself alone (such dates are refused since revision 0002)."""

import pytest

from shared.runs.runner import RunNotSucceededError
from tests.arcade import Arcade
from tests.fakes import scheduled_event
from tests.jobs import StartApp, invoke
from tests.sql import run

SLOT = scheduled_event("2026-01-12T00:00:00Z")


@pytest.mark.parametrize(
    ("day", "zone", "error"),
    [
        ("-infinity", "UTC", "ValueError: no calendar has the date -infinity"),
        ("0044-03-15 BC", "UTC", "ValueError: no calendar has the date 0044-03-15 BC"),
        ("0001-01-01", "Asia/Tokyo", "OverflowError: date value out of range"),  # its first instant is in year 0
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_s22_it_is_an_error_of_its_own_and_the_others_are_settled(
    arcade: Arcade, start_app: StartApp, *, day: str, zone: str, error: str, dry_run: bool
) -> None:
    run(
        arcade.engine,
        "ALTER TABLE prize_pools DROP CONSTRAINT prize_pools_period_date_check",
        f"INSERT INTO prize_pools (game_type, period_type, period_date) VALUES ('pong', 'daily', '{day}')",
    )
    pool_id = arcade.add_pool("2026-01-10")
    arcade.play("0xa", 5, "2026-01-10T10:00:00Z")
    app = start_app(JOB_SCHEDULER_TIMEZONE=zone)
    if dry_run:
        previewed = invoke(app, "prize-pool", {"dry_run": True})
        status, result = previewed["status"], previewed["result"]
    else:
        with pytest.raises(RunNotSucceededError):
            invoke(app, "prize-pool", SLOT)
        record = app.runner.store.get("prize-pool:2026-01-12T00:00Z")
        assert record is not None
        assert record.result is not None
        status, result = record.status, dict(record.result)
        assert arcade.pool(pool_id).winner_address == "0xa"
    assert status == "partial"
    assert [pool["winner_address"] for pool in result["finalized_pools"]] == ["0xa"]
    [found] = result["errors"]
    assert (found["period_date"], found["error"]) == (day, error)
