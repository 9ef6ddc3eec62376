"""S08: a score or payment was begun before a settlement and commits during or after it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from shared.app import App
from shared.db.errors import sqlstate
from tests.arcade import Arcade
from tests.fakes import scheduled_event
from tests.jobs import invoke
from tests.locks import TIMEOUT, await_lock

SLOT = scheduled_event("2026-01-12T00:00:00Z")
LAST_SECOND = "2026-01-11T23:59:59+00:00"


WRITES: dict[str, Callable[[Arcade], object]] = {
    "a new player's score": lambda arcade: arcade.play("0xlate", 9, LAST_SECOND),
    "the leader's better score": lambda arcade: arcade.play("0xleader", 9, LAST_SECOND),
    "a payment": lambda arcade: arcade.pay("2026-01-11"),
}
Outcome = tuple[str | None, int | None, Decimal, int]
BEFORE: Outcome = ("0xleader", 5, Decimal("0.700000"), 100)
AFTER: dict[str, Outcome] = {
    "a new player's score": ("0xlate", 9, Decimal("0.700000"), 100),
    "the leader's better score": ("0xleader", 9, Decimal("0.700000"), 100),
    "a payment": ("0xleader", 5, Decimal("0.707000"), 101),
}


@pytest.fixture
def pool_id(arcade: Arcade) -> int:
    pool_id = arcade.add_pool("2026-01-11")
    arcade.play("0xleader", 5, "2026-01-11T12:00:00Z")
    return pool_id


def outcome(arcade: Arcade, pool_id: int) -> Outcome:
    pool = arcade.pool(pool_id)
    assert pool.status == "finalized"
    return (pool.winner_address, pool.winner_score, pool.total_amount_usdc, pool.total_games)


def everything(arcade: Arcade) -> list[object]:
    tables = ("game_sessions", "leaderboard_entries", "prize_pools", "leaderboard_touches")
    with arcade.engine.connect() as connection:
        return [connection.execute(text(f"SELECT * FROM {table} ORDER BY 1")).all() for table in tables]


@pytest.mark.parametrize("ending", ["commit", "rollback"])
@pytest.mark.parametrize("write", WRITES)
def test_s08_what_was_written_before_is_waited_for_and_counts_if_it_commits(
    arcade: Arcade, app: App, pool_id: int, write: str, ending: str
) -> None:
    with arcade.engine.connect() as writer, ThreadPoolExecutor(1) as threads:
        WRITES[write](arcade.within(writer))
        settlement = threads.submit(invoke, app, "prize-pool", SLOT)
        await_lock(arcade.engine)
        getattr(writer, ending)()
        result = settlement.result(TIMEOUT)
    assert result["status"] == "succeeded"
    expected = AFTER[write] if ending == "commit" else BEFORE
    assert outcome(arcade, pool_id) == expected
    [reported] = result["result"]["finalized_pools"]
    winner, score, amount, games = expected
    assert (reported["winner_address"], reported["winner_score"]) == (winner, score)
    assert (reported["total_amount_usdc"], reported["total_games"]) == (str(amount), games)


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize("write", WRITES)
def test_s08_what_was_begun_before_and_writes_after_is_refused_whole(
    arcade: Arcade, app: App, pool_id: int, write: str, level: str
) -> None:
    engine = arcade.engine.execution_options(isolation_level=level)
    with engine.connect() as writer:
        writer.execute(text("SELECT status FROM prize_pools")).all()
        invoke(app, "prize-pool", SLOT)
        settled = everything(arcade)
        with pytest.raises(DBAPIError) as refused:
            WRITES[write](arcade.within(writer))
        writer.rollback()
    # Under the stricter levels PostgreSQL itself refuses; the same transaction, retried, gets the reason.
    assert sqlstate(refused.value) == ("AJ001" if level == "READ COMMITTED" else "40001")
    named = rf"prize pool {pool_id} \(pong, daily 2026-01-11\)"
    with pytest.raises(DBAPIError, match=named) as again, engine.begin() as writer:
        WRITES[write](arcade.within(writer))
    assert sqlstate(again.value) == "AJ001"
    assert everything(arcade) == settled
    assert outcome(arcade, pool_id) == BEFORE


def test_s08_many_are_waited_for_at_once_and_the_best_of_them_wins(arcade: Arcade, app: App, pool_id: int) -> None:
    writers = [arcade.engine.connect() for _ in range(5)]
    for n, writer in enumerate(writers):
        arcade.within(writer).play(f"0xlate{n}", 10 + n % 3, LAST_SECOND)
    with ThreadPoolExecutor(1) as threads:
        settlement = threads.submit(invoke, app, "prize-pool", SLOT)
        for n in (3, 0, 2, 4):
            await_lock(arcade.engine)
            writers[n].commit()
        await_lock(arcade.engine)
        writers[1].commit()
        assert settlement.result(TIMEOUT)["status"] == "succeeded"
    for writer in writers:
        writer.close()
    assert outcome(arcade, pool_id)[:2] == ("0xlate2", 12)
