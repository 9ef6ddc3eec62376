"""S08: a score or payment was begun before a settlement and commits during or after it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from uuid import uuid4

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from shared.db.errors import sqlstate
from tests.arcade import Arcade
from tests.fakes import scheduled_event
from tests.locks import TIMEOUT, await_lock
from tests.scenarios.conftest import Container

SLOT = scheduled_event("2026-01-12T00:00:00Z")
SESSION = text("""
    INSERT INTO game_sessions (id, game_type, player_address, amount_paid_usdc, score, status, created_at, completed_at)
    VALUES (:id, 'pong', :player, 0.01, :score, 'completed', '2026-01-11T23:59:00Z', '2026-01-11T23:59:59Z')
""")
ENTER = text("""
    INSERT INTO leaderboard_entries AS entry (
        session_id, game_type, player_address, score, period_type, period_date, created_at)
    VALUES (:id, 'pong', :player, :score, 'daily', '2026-01-11', '2026-01-11T23:59:59Z')
    ON CONFLICT (player_address, game_type, period_type, period_date) DO UPDATE
    SET session_id = excluded.session_id, score = excluded.score, created_at = excluded.created_at
    WHERE excluded.score > entry.score
""")
PAY = text("""
    UPDATE prize_pools SET total_amount_usdc = total_amount_usdc + 0.007, total_games = total_games + 1
    WHERE game_type = 'pong' AND period_type = 'daily' AND period_date = '2026-01-11'
""")


def enter(connection: Connection, player: str) -> None:
    score = {"id": uuid4(), "player": player, "score": 9}
    connection.execute(SESSION, score)
    connection.execute(ENTER, score)


WRITES: dict[str, Callable[[Connection], object]] = {
    "a new player's score": lambda connection: enter(connection, "0xlate"),
    "the leader's better score": lambda connection: enter(connection, "0xleader"),
    "a payment": lambda connection: connection.execute(PAY),
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
    arcade: Arcade, container: Container, pool_id: int, write: str, ending: str
) -> None:
    with arcade.engine.connect() as writer, ThreadPoolExecutor(1) as threads:
        WRITES[write](writer)
        settlement = threads.submit(container.invoke, "prize-pool", SLOT)
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
    arcade: Arcade, container: Container, pool_id: int, write: str, level: str
) -> None:
    engine = arcade.engine.execution_options(isolation_level=level)
    with engine.connect() as writer:
        writer.execute(text("SELECT status FROM prize_pools")).all()
        container.invoke("prize-pool", SLOT)
        settled = everything(arcade)
        with pytest.raises(DBAPIError) as refused:
            WRITES[write](writer)
        writer.rollback()
    # Under the stricter levels PostgreSQL itself refuses; the same transaction, tried again, is told why.
    assert sqlstate(refused.value) == ("AJ001" if level == "READ COMMITTED" else "40001")
    named = rf"prize pool {pool_id} \(pong, daily 2026-01-11\)"
    with pytest.raises(DBAPIError, match=named) as again, engine.begin() as writer:
        WRITES[write](writer)
    assert sqlstate(again.value) == "AJ001"
    assert everything(arcade) == settled
    assert outcome(arcade, pool_id) == BEFORE


def test_s08_many_are_waited_for_at_once_and_the_best_of_them_wins(
    arcade: Arcade, container: Container, pool_id: int
) -> None:
    writers = [arcade.engine.connect() for _ in range(5)]
    for n, writer in enumerate(writers):
        score = {"id": uuid4(), "player": f"0xlate{n}", "score": 10 + n % 3}
        writer.execute(SESSION, score)
        writer.execute(ENTER, score)
    with ThreadPoolExecutor(1) as threads:
        settlement = threads.submit(container.invoke, "prize-pool", SLOT)
        for n in (3, 0, 2, 4):
            await_lock(arcade.engine)
            writers[n].commit()
        await_lock(arcade.engine)
        writers[1].commit()
        assert settlement.result(TIMEOUT)["status"] == "succeeded"
    for writer in writers:
        writer.close()
    assert outcome(arcade, pool_id)[:2] == ("0xlate2", 12)
