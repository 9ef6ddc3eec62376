"""The settling of prize pools (docs/design.md, Settling), on PostgreSQL."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy.exc import DBAPIError

from shared.db.errors import describe
from shared.domain.periods import Calendar
from shared.domain.run import Outcome, Run, RunStatus
from shared.metrics import Metric
from shared.services.prize_pool import PrizePoolSettler
from shared.services.transactions import Transactions
from tests.arcade import Arcade
from tests.fakes import FakeClock, make_run
from tests.sql import rows, run

MIDNIGHT = "2026-01-12T00:00:00+00:00"  # of a Monday
Settle = Callable[[Run], Outcome]


@pytest.fixture
def settler(transactions: Transactions, clock: FakeClock) -> PrizePoolSettler:
    return PrizePoolSettler(
        transactions=transactions,
        zone=ZoneInfo("UTC"),
        grace=timedelta(seconds=10),
        game_types={"pong", "snake"},
        clock=clock,
        sleep=clock.sleep,
    )


def test_the_highest_score_of_the_ended_day_wins(arcade: Arcade, settler: Settle) -> None:
    pool_id = arcade.add_pool("2026-01-11", amount="0.952")
    arcade.play("0xa", 5, "2026-01-11T10:00:00Z")
    arcade.play("0xb", 7, "2026-01-11T23:59:59.999999Z")
    arcade.play("0xc", 99, "2026-01-12T00:00:00Z")  # today's leader is not yesterday's
    outcome = settler(make_run(MIDNIGHT))
    assert outcome.status is RunStatus.SUCCEEDED
    assert outcome.result == {
        "pools_processed": 1,
        "pools_finalized": 1,
        "pools_without_winner": 0,
        "finalized_pools": [
            {
                "pool_id": pool_id,
                "game_type": "pong",
                "period_type": "daily",
                "period_date": "2026-01-11",
                "winner_address": "0xb",
                "winner_score": 7,
                "total_amount_usdc": "0.952000",
                "total_games": 100,
                "late": False,
            }
        ],
        "warnings": [],
        "errors": [],
    }
    pool = arcade.pool(pool_id)
    assert (pool.status, pool.winner_address, pool.winner_score) == ("finalized", "0xb", 7)
    assert (pool.settled_by, pool.entries_passed_over) == ("prize-pool:2026-01-12T00:00Z", 0)


def test_a_period_that_has_not_ended_is_left_open(arcade: Arcade, settler: Settle) -> None:
    open_ids = [arcade.add_pool("2026-01-12"), arcade.add_pool("2026-01-12", period="weekly")]
    assert settler(make_run("2026-01-12T23:59:00Z")).result["pools_processed"] == 0
    assert [arcade.pool(pool_id).status for pool_id in open_ids] == ["active", "active"]


def test_a_week_ends_with_its_sunday(arcade: Arcade, settler: Settle) -> None:
    pool_id = arcade.add_pool("2026-01-05", period="weekly")
    arcade.play("0xa", 5, "2026-01-05T00:00:00Z", periods=("weekly",))
    assert settler(make_run("2026-01-11T00:00:00Z")).result["pools_processed"] == 0
    assert settler(make_run(MIDNIGHT)).result["pools_finalized"] == 1
    assert arcade.pool(pool_id).winner_address == "0xa"


def test_of_equal_scores_the_earliest_wins_and_of_equal_times_the_lowest_id(arcade: Arcade, settler: Settle) -> None:
    by_time, by_id = arcade.add_pool("2026-01-11"), arcade.add_pool("2026-01-11", game="snake")
    arcade.play("0xa", 5, "2026-01-11T10:00:01Z")
    arcade.play("0xb", 5, "2026-01-11T10:00:00Z")
    arcade.play("0xz", 5, "2026-01-11T10:00:00Z", game="snake")
    arcade.play("0xa", 5, "2026-01-11T10:00:00Z", game="snake")
    settler(make_run(MIDNIGHT))
    assert arcade.pool(by_time).winner_address == "0xb"
    assert arcade.pool(by_id).winner_address == "0xz"


@pytest.mark.parametrize(
    "backing",
    [
        {"score": 8},
        {"player": "0xother"},
        {"game": "snake"},
        {"completed_at": "2026-01-10T23:59:59.999999Z"},
        {"completed_at": "2026-01-12T00:00:00Z"},
        {"status": "expired"},
        {"status": "active"},
        None,
    ],
)
def test_an_entry_that_its_own_session_does_not_back_is_passed_over(
    arcade: Arcade, settler: Settle, backing: dict[str, Any] | None
) -> None:
    pool_id = arcade.add_pool("2026-01-11")
    arcade.play("0xhonest", 5, "2026-01-11T10:00:00Z")
    session: dict[str, Any] = {"player": "0xforger", "score": 9, "completed_at": "2026-01-11T11:00:00Z"}
    session_id = uuid4() if backing is None else arcade.add_session("2026-01-10T23:00:00Z", **{**session, **backing})
    arcade.add_unchecked_entry(session_id, 9, "2026-01-11T11:00:00Z", player="0xforger")
    outcome = settler(make_run(MIDNIGHT))
    assert arcade.pool(pool_id).winner_address == "0xhonest"
    assert [warning["warning"] for warning in outcome.result["warnings"]] == [
        "entries passed over, not backed by a completed session: 1"
    ]


def test_a_pool_without_a_valid_entry_is_settled_without_a_winner_and_keeps_its_amount(
    arcade: Arcade, settler: Settle
) -> None:
    empty, forged = arcade.add_pool("2026-01-11", amount="1.5"), arcade.add_pool("2026-01-11", game="snake")
    arcade.add_orphan(9, "2026-01-11T11:00:00Z", game="snake")
    outcome = settler(make_run(MIDNIGHT))
    assert outcome.status is RunStatus.SUCCEEDED
    assert outcome.result["pools_without_winner"] == outcome.metrics[Metric.POOLS_WITHOUT_WINNER] == 2
    assert [warning["warning"] for warning in outcome.result["warnings"]] == [
        "no valid entry: settled without a winner, 1.500000 USDC kept",
        "no valid entry: settled without a winner, 0.700000 USDC kept",
        "entries passed over, not backed by a completed session: 1",
    ]
    pool = arcade.pool(empty)
    assert (pool.status, pool.winner_address, pool.total_amount_usdc) == ("finalized", None, Decimal("1.5"))
    assert arcade.pool(forged).winner_score is None


def test_what_was_missed_is_settled_oldest_first_and_marked_late(arcade: Arcade, settler: Settle) -> None:
    for day, period in [
        ("2026-01-11", "daily"),
        ("2026-01-09", "daily"),
        ("2026-01-05", "weekly"),
        ("2026-01-13", "daily"),
    ]:
        arcade.add_pool(day, period=period)
    settled = settler(make_run("2026-01-14T00:00:00Z")).result["finalized_pools"]
    assert [(pool["period_type"], pool["period_date"], pool["late"]) for pool in settled] == [
        ("daily", "2026-01-09", True),
        ("daily", "2026-01-11", True),
        ("weekly", "2026-01-05", True),
        ("daily", "2026-01-13", False),
    ]


def test_a_game_that_is_not_configured_is_settled_and_reported(arcade: Arcade, settler: Settle) -> None:
    pool_id = arcade.add_pool("2026-01-11", game="surround")
    arcade.play("0xa", 5, "2026-01-11T10:00:00Z", game="surround")
    assert settler(make_run(MIDNIGHT)).result["warnings"][0]["warning"] == "the game is not in GAME_TYPES"
    assert arcade.pool(pool_id).winner_address == "0xa"


def test_periods_follow_the_configured_zone(arcade: Arcade, transactions: Transactions, clock: FakeClock) -> None:
    tokyo = PrizePoolSettler(
        transactions=transactions,
        zone=ZoneInfo("Asia/Tokyo"),
        grace=timedelta(0),
        game_types={"pong"},
        clock=clock,
        sleep=clock.sleep,
    )
    in_tokyo = Arcade(arcade.engine, calendar=Calendar.of(ZoneInfo("Asia/Tokyo")))
    in_tokyo.record_calendar()
    pool_id = in_tokyo.add_pool("2026-01-11")
    in_tokyo.play("0xa", 5, "2026-01-11T14:59:59Z")  # 23:59:59 there
    in_tokyo.play("0xb", 9, "2026-01-11T15:00:00Z")  # the next day's
    assert tokyo(make_run("2026-01-11T14:59:00Z")).result["pools_finalized"] == 0
    assert tokyo(make_run("2026-01-11T15:00:00Z")).result["pools_finalized"] == 1
    assert arcade.pool(pool_id).winner_address == "0xa"


def test_a_scheduled_settlement_waits_for_scores_on_their_way(
    arcade: Arcade, settler: Settle, clock: FakeClock
) -> None:
    arcade.add_pool("2026-01-11")
    clock.now = make_run(MIDNIGHT).tick.at + timedelta(seconds=2.5)
    settler(make_run(MIDNIGHT))
    assert sum(clock.slept) == 7.5


def test_no_settlement_begins_before_the_period_is_over_by_the_wall_clock(
    arcade: Arcade, settler: Settle, clock: FakeClock
) -> None:
    arcade.add_pool("2026-01-11")
    clock.now = make_run(MIDNIGHT).tick.at - timedelta(seconds=90)
    settler(make_run(MIDNIGHT, scheduled=False))
    assert clock.now == make_run(MIDNIGHT).tick.at


def test_one_bad_pool_does_not_stop_the_rest(arcade: Arcade, settler: Settle) -> None:
    ids = {game: arcade.add_pool("2026-01-11", game=game) for game in ("pong", "snake", "tetris")}
    arcade.execute(
        "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.game_type = 'snake' THEN RAISE 'the row is poisoned'; END IF; RETURN NEW; END $$;",
        "CREATE TRIGGER poison BEFORE UPDATE ON prize_pools FOR EACH ROW EXECUTE FUNCTION poison()",
    )
    outcome = settler(make_run(MIDNIGHT))
    assert outcome.status is RunStatus.PARTIAL
    assert outcome.result["errors"] == [
        {
            "pool_id": ids["snake"],
            "game_type": "snake",
            "period_type": "daily",
            "period_date": "2026-01-11",
            "error": "the row is poisoned (SQLSTATE P0001)",
        }
    ]
    assert {game: arcade.pool(pool_id).status for game, pool_id in ids.items()} == {
        "pong": "finalized",
        "snake": "active",
        "tetris": "finalized",
    }
    arcade.execute("DROP TRIGGER poison ON prize_pools")
    again = settler(make_run(MIDNIGHT))
    assert again.status is RunStatus.SUCCEEDED
    assert again.result["pools_finalized"] == 3  # all that the run settled, in both attempts
    assert again.items_processed == 1


def test_a_run_out_of_time_settles_nothing_more_and_is_incomplete(arcade: Arcade, settler: Settle) -> None:
    pool_id = arcade.add_pool("2026-01-11")
    assert settler(make_run(MIDNIGHT, seconds_left=14)).status is RunStatus.INCOMPLETE
    assert arcade.pool(pool_id).status == "active"


def test_a_dry_run_shows_what_would_happen_and_changes_nothing(arcade: Arcade, settler: Settle) -> None:
    pool_id = arcade.add_pool("2026-01-11")
    arcade.play("0xa", 5, "2026-01-11T10:00:00Z")
    previewed = settler(make_run(MIDNIGHT, dry_run=True)).result
    assert arcade.pool(pool_id).status == "active"
    assert settler(make_run(MIDNIGHT)).result == previewed


def test_a_second_run_settles_nothing_again(arcade: Arcade, settler: Settle) -> None:
    pool_id = arcade.add_pool("2026-01-11")
    settler(make_run(MIDNIGHT))
    first = arcade.pool(pool_id)
    later = settler(make_run("2026-01-13T00:00:00Z"))
    assert later.result["pools_processed"] == 0
    assert arcade.pool(pool_id) == first


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_missing_column_is_reported_with_what_adds_it(arcade: Arcade, settler: Settle, *, dry_run: bool) -> None:
    arcade.add_pool("2026-01-11")
    run(arcade.engine, "ALTER TABLE prize_pools DROP COLUMN entries_passed_over CASCADE")
    with pytest.raises(DBAPIError) as error:
        settler(make_run(MIDNIGHT, dry_run=dry_run))
    assert describe(error.value).endswith("run arcade-jobs db upgrade")
    assert rows(arcade.engine, "SELECT status FROM prize_pools") == [("active",)]


def test_an_active_pool_that_carries_a_runs_id_is_no_settlement(arcade: Arcade, settler: Settle) -> None:
    """Any role that may write to pools can put it there."""
    arcade.add_pool("2026-01-12")
    tick = make_run(MIDNIGHT)
    arcade.execute("UPDATE prize_pools SET settled_by = :run_id", run_id=tick.id)
    assert settler(tick).result["finalized_pools"] == []
