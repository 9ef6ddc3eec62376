"""S07: a pool with money and no valid entry."""

from decimal import Decimal

import pytest

from shared.app import App
from tests.arcade import Arcade
from tests.fakes import FakeClock, scheduled_event
from tests.jobs import invoke


@pytest.mark.parametrize("period", ["daily", "weekly"])
@pytest.mark.parametrize("forged", [0, 1, 30])
def test_s07_it_is_finalized_without_a_winner_its_amount_kept_and_reported(
    arcade: Arcade, app: App, clock: FakeClock, period: str, forged: int
) -> None:
    day = "2026-01-11" if period == "daily" else "2026-01-05"
    pool_id = arcade.add_pool(day, period=period, amount="12.345678", games=7)
    for n in range(forged):
        arcade.add_orphan(9 + n, "2026-01-11T11:00:00Z", player=f"0x{n}", periods=(period,))
    run = invoke(app, "prize-pool", scheduled_event("2026-01-12T00:00:00Z"))
    assert run["status"] == "succeeded"
    assert run["result"]["pools_without_winner"] == 1
    [reported] = run["result"]["finalized_pools"]
    assert (reported["winner_address"], reported["winner_score"]) == (None, None)
    assert (reported["total_amount_usdc"], reported["total_games"]) == ("12.345678", 7)
    warnings = [warning["warning"] for warning in run["result"]["warnings"]]
    assert "no valid entry: settled without a winner, 12.345678 USDC kept" in warnings
    assert any("passed over" in warning for warning in warnings) == bool(forged)
    pool = arcade.pool(pool_id)
    assert (pool.status, pool.winner_address, pool.winner_score) == ("finalized", None, None)
    assert (pool.total_amount_usdc, pool.entries_passed_over) == (Decimal("12.345678"), forged)

    clock.now = clock.now.replace(day=13)
    assert invoke(app, "prize-pool", scheduled_event("2026-01-13T00:00:00Z"))["result"]["pools_processed"] == 0
    arcade.pay_out(pool_id, "0xcarried-over")  # the platform may yet book it by its own rules
