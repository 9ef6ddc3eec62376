"""S26: what is due is listed when the wait for late scores is over."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from shared.services.prize_pool import PrizePoolSettler
from shared.services.transactions import Transactions
from tests.arcade import Arcade
from tests.fakes import FakeClock, make_run

MIDNIGHT = make_run("2026-01-12T00:00:00Z").tick.at
GRACE = timedelta(seconds=10)


@pytest.mark.parametrize("others", [0, 1])
def test_s26_a_pool_that_is_opened_in_the_grace_is_settled_by_this_run(
    arcade: Arcade, transactions: Transactions, clock: FakeClock, others: int
) -> None:
    for n in range(others):
        arcade.add_pool("2026-01-11", game=f"g{n}")
    opened: list[int] = []

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if not opened:
            opened.append(arcade.add_pool("2026-01-11"))
            arcade.play("0xa", 5, "2026-01-11T23:59:59Z")

    settle = PrizePoolSettler(
        transactions=transactions, zone=ZoneInfo("UTC"), grace=GRACE, game_types={"pong"}, clock=clock, sleep=sleep
    )
    clock.now = MIDNIGHT
    outcome = settle(make_run(MIDNIGHT.isoformat()))
    assert clock.now == MIDNIGHT + GRACE
    assert outcome.result["pools_finalized"] == 1 + others
    assert arcade.pool(opened[0]).winner_address == "0xa"


@pytest.mark.parametrize(
    ("at", "scheduled", "ends_at"),
    [
        ("2026-01-12T00:00:00Z", True, "2026-01-12T00:00:10Z"),
        ("2026-01-12T00:07:00Z", True, "2026-01-12T00:07:00Z"),  # the period ended long before
        ("2026-01-12T00:00:00Z", False, "2026-01-12T00:00:00Z"),
    ],
)
def test_s26_it_waits_from_the_end_of_the_period_and_only_if_it_is_scheduled(
    transactions: Transactions, clock: FakeClock, *, at: str, scheduled: bool, ends_at: str
) -> None:
    settle = PrizePoolSettler(
        transactions=transactions, zone=ZoneInfo("UTC"), grace=GRACE, game_types=(), clock=clock, sleep=clock.sleep
    )
    run = make_run(at, scheduled=scheduled)
    clock.now = run.tick.at
    settle(run)
    assert clock.now == make_run(ends_at).tick.at


def test_s26_a_dry_run_does_not_wait(transactions: Transactions, clock: FakeClock) -> None:
    settle = PrizePoolSettler(
        transactions=transactions, zone=ZoneInfo("UTC"), grace=GRACE, game_types=(), clock=clock, sleep=clock.sleep
    )
    clock.now = MIDNIGHT
    settle(make_run(MIDNIGHT.isoformat(), dry_run=True))
    assert clock.slept == []
