"""The seal on settled pools (docs/design.md, Sealing): the database itself refuses, for every role."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from uuid import uuid4

import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from shared.db import prize_pool as pools
from shared.db.errors import describe, sqlstate
from shared.domain.board import Board
from tests.arcade import Arcade
from tests.locks import await_lock, pid_of

DAY = "2026-01-05"  # a Monday: a day and a week begin with it
NOON = f"{DAY}T12:00:00+00:00"
STARTS_AT, ENDS_AT = datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 1, 6, tzinfo=UTC)


def enter(connection: Connection, score: int, *, player: str = "0xa", period: str = "daily", day: str = DAY) -> None:
    """Record a score with its session, as a platform does."""
    arcade = Arcade(connection.engine).within(connection)
    session_id = arcade.add_session(NOON, player=player, score=score, completed_at=NOON)
    arcade.add_entry(session_id, score, NOON, player=player, period=period, day=day)


def rewrite(connection: Connection, *, player: str = "0xa", score: int = 5, at: str = NOON) -> None:
    """Change the entries to another play, as its session has it."""
    arcade = Arcade(connection.engine).within(connection)
    session_id = arcade.add_session(NOON, player=player, score=score, completed_at=at)
    write = (
        "UPDATE leaderboard_entries SET session_id = :id, player_address = :player, score = :score, created_at = :at"
    )
    arcade.execute(write, id=session_id, player=player, score=score, at=datetime.fromisoformat(at))


def pay(connection: Connection, *, period: str = "daily", day: str = DAY) -> None:
    Arcade(connection.engine).within(connection).pay(day, period=period)


def settle(connection: Connection, pool_id: int, *, period: str = "daily") -> pools.Place | None:
    """Lock, read, mark: the three statements of a settlement."""
    pool = pools.Pool(id=pool_id, board=Board.from_key("pong", period, date.fromisoformat(DAY)))
    assert pools.lock_active_pool(connection, pool)
    winner = pools.find_winner(connection, pool, starts_at=STARTS_AT, ends_at=ENDS_AT, most=10)
    pools.mark_settled(connection, pool, winner=winner, passed_over=0, now=ENDS_AT, run_id="prize-pool:test")
    return winner


def message(error: DBAPIError) -> str:
    """PostgreSQL's own, without the SQLSTATE."""
    return describe(error).removesuffix(f" (SQLSTATE {sqlstate(error)})")


@pytest.fixture
def pool_id(arcade: Arcade) -> int:
    """An active pool with one score."""
    pool_id = arcade.add_pool(DAY)
    with arcade.engine.begin() as connection:
        enter(connection, 5, player="0xa")
    return pool_id


@pytest.fixture
def settled_id(engine: Engine, pool_id: int) -> int:
    """A pool that was settled, and won by 0xa with 5."""
    with engine.begin() as connection:
        settle(connection, pool_id)
    return pool_id


@pytest.fixture
def writer(engine: Engine) -> Iterator[str]:
    """A role that may write to the platform's tables, and has no right on the jobs'."""
    role = f"writer_{uuid4().hex[:12]}"
    tables = "game_sessions, leaderboard_entries, prize_pools"
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {role}")
        connection.exec_driver_sql(f"GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON {tables} TO {role}")
    yield role
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP OWNED BY {role}")
        connection.exec_driver_sql(f"DROP ROLE {role}")


def write_as(engine: Engine, role: str | None, write: Callable[[Connection], object] | str) -> None:
    with engine.begin() as connection:
        if role:
            connection.exec_driver_sql(f"SET LOCAL ROLE {role}")
        if isinstance(write, str):
            connection.exec_driver_sql(write)
        else:
            write(connection)


def refusal(engine: Engine, write: Callable[[Connection], object] | str, *, role: str | None = None) -> str:
    """Write, expect a refusal, and see that the tables are as they were; return its message."""

    def state() -> list[object]:
        with engine.connect() as connection:
            return [
                connection.exec_driver_sql(f"SELECT * FROM {table} ORDER BY 1").all()
                for table in ("prize_pools", "leaderboard_entries", "leaderboard_touches")
            ]

    before = state()
    with pytest.raises(DBAPIError) as refused:
        write_as(engine, role, write)
    assert sqlstate(refused.value) == "AJ001"
    assert state() == before
    return message(refused.value)


CHANGES = (
    "id = id + 100",
    "game_type = 'tetris'",
    "period_type = 'weekly'",
    "period_date = '2026-01-06'",
    "total_amount_usdc = total_amount_usdc + 0.000001",
    "total_games = total_games + 1",
    "winner_address = '0xb'",
    "winner_score = 6",
    "created_at = created_at - interval '1 s'",
    "finalized_at = now()",
    "settled_by = 'another run'",
    "entries_passed_over = 1",
)


def test_a_settled_pool_cannot_be_changed(engine: Engine, settled_id: int, writer: str) -> None:
    for change in CHANGES:
        error = refusal(engine, f"UPDATE prize_pools SET {change} WHERE id = {settled_id}", role=writer)
        column = change.split(" ")[0]
        assert error == f"prize pool {settled_id} (pong, daily {DAY}) is finalized: {column} cannot change"


STEPS = (
    "status = 'active'",
    "status = 'active', finalized_at = NULL, winner_address = NULL, winner_score = NULL",
    "status = 'paid'",
    "status = 'paid', payout_tx_hash = ''",
    "payout_tx_hash = '0xbeef'",
    "status = 'paid', payout_tx_hash = '0xbeef', winner_address = '0xb'",
)


def test_a_settled_pool_is_paid_with_a_hash_or_stays_as_it_is(engine: Engine, settled_id: int) -> None:
    for step in STEPS:
        error = refusal(engine, f"UPDATE prize_pools SET {step} WHERE id = {settled_id}")
        assert error.startswith(f"prize pool {settled_id} (pong, daily {DAY}) is finalized: "), step


def test_a_settled_pool_is_paid_once(engine: Engine, settled_id: int, writer: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(f"SET LOCAL ROLE {writer}")
        connection.exec_driver_sql("UPDATE prize_pools SET status = 'paid', payout_tx_hash = '0xbeef'")
    for change in ("payout_tx_hash = '0xdead'", "status = 'finalized', payout_tx_hash = NULL", "status = 'active'"):
        error = refusal(engine, f"UPDATE prize_pools SET {change}", role=writer)
        assert error == (
            f"prize pool {settled_id} (pong, daily {DAY}) is paid:"
            " status and payout_tx_hash change once, from finalized to paid with the hash of the payout"
        )


def test_an_active_pool_is_not_paid_before_it_is_finalized(engine: Engine, pool_id: int) -> None:
    paid = "UPDATE prize_pools SET status = 'paid', payout_tx_hash = '0xbeef', finalized_at = now()"
    assert refusal(engine, paid) == (
        f"prize pool {pool_id} (pong, daily {DAY}) is active: it is finalized first, then paid"
    )


def test_an_update_that_changes_nothing_and_columns_of_the_platforms_own_pass(engine: Engine, settled_id: int) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE prize_pools ADD COLUMN sponsor text")
        connection.exec_driver_sql("UPDATE prize_pools SET status = status, total_games = total_games, sponsor = 'x'")
        assert connection.exec_driver_sql("SELECT id, sponsor FROM prize_pools").all() == [(settled_id, "x")]


def test_a_settled_pool_cannot_be_deleted_or_truncated(engine: Engine, settled_id: int, writer: str) -> None:
    what = f"prize pool {settled_id} (pong, daily {DAY}) is finalized"
    assert refusal(engine, "DELETE FROM prize_pools", role=writer) == f"{what}: it cannot be deleted"
    for truncate in ("TRUNCATE prize_pools", "TRUNCATE game_sessions, prize_pools RESTART IDENTITY CASCADE"):
        assert refusal(engine, truncate) == f"{what}: prize_pools cannot be truncated"
    with engine.begin() as connection:
        connection.exec_driver_sql(f"GRANT TRUNCATE ON prize_pools TO {writer}")
    assert refusal(engine, "TRUNCATE prize_pools", role=writer) == f"{what}: prize_pools cannot be truncated"


def test_active_pools_can_be_deleted_and_truncated(engine: Engine, pool_id: int) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DELETE FROM prize_pools WHERE id = {pool_id}")
        connection.rollback()
        connection.exec_driver_sql("TRUNCATE prize_pools")
        connection.rollback()


def test_a_transaction_with_an_old_view_cannot_truncate_what_was_settled_since(engine: Engine, pool_id: int) -> None:
    def truncate(connection: Connection) -> None:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.exec_driver_sql("SELECT status FROM prize_pools")
        with engine.begin() as settler:
            settle(settler, pool_id)
        connection.exec_driver_sql("TRUNCATE prize_pools")

    with pytest.raises(DBAPIError) as refused, engine.begin() as connection:
        truncate(connection)
    assert sqlstate(refused.value) == "AJ001"
    assert "READ COMMITTED only" in message(refused.value)


def test_a_payment_that_comes_too_late_is_refused_even_as_an_upsert(
    engine: Engine, settled_id: int, writer: str
) -> None:
    assert refusal(engine, pay, role=writer) == (
        f"prize pool {settled_id} (pong, daily {DAY}) is finalized: total_amount_usdc, total_games cannot change"
    )


WRITES: dict[str, Callable[[Connection], object]] = {
    "a new player's score": lambda c: enter(c, 3, player="0xb"),
    "a better score, as an upsert": lambda c: enter(c, 9, player="0xa"),
    "a better score, as an update": lambda c: rewrite(c, score=9),
    "a worse score": lambda c: rewrite(c, score=1),
    "an earlier time": lambda c: rewrite(c, at=f"{DAY}T00:00:00+00:00"),
    "another id": lambda c: c.exec_driver_sql("UPDATE leaderboard_entries SET id = id + 1000"),
    "another player": lambda c: rewrite(c, player="0xb"),
    "out of the period": lambda c: c.exec_driver_sql("UPDATE leaderboard_entries SET period_date = '2026-01-06'"),
    "out into all time": lambda c: c.exec_driver_sql(
        "UPDATE leaderboard_entries SET period_type = 'alltime', period_date = '1970-01-01'"
    ),
}


def test_no_score_of_a_settled_period_can_be_written(engine: Engine, settled_id: int, writer: str) -> None:
    for name, write in WRITES.items():
        error = refusal(engine, write, role=writer)
        assert error.startswith(f"prize pool {settled_id} (pong, daily {DAY}) is finalized: no score "), name


def test_no_score_can_be_moved_into_a_settled_period(engine: Engine, settled_id: int) -> None:
    with engine.begin() as connection:
        enter(connection, 3, player="0xb", day="2026-01-06")
    error = refusal(engine, f"UPDATE leaderboard_entries SET period_date = '{DAY}' WHERE player_address = '0xb'")
    assert error.startswith(f"prize pool {settled_id} ")


def test_a_copy_is_refused_like_any_other_insert(engine: Engine, settled_id: int) -> None:
    assert f"prize pool {settled_id} " in refusal(engine, lambda c: Arcade(engine).within(c).play_many(3, NOON))


def test_everything_else_of_a_settled_period_can_be_written(engine: Engine, settled_id: int, writer: str) -> None:
    assert settled_id
    with engine.begin() as connection:
        connection.exec_driver_sql(f"SET LOCAL ROLE {writer}")
        connection.exec_driver_sql("UPDATE leaderboard_entries SET rank = 1")
        rewrite(connection)  # another session, and nothing else
        connection.exec_driver_sql("UPDATE leaderboard_entries SET score = score, rank = 2")
        enter(connection, 4, player="0xa")  # not better: an upsert that changes nothing
        enter(connection, 9, player="0xa", period="alltime", day="1970-01-01")
        enter(connection, 9, player="0xa", period="weekly")
        enter(connection, 9, player="0xa", day="2026-01-06")
        pay(connection, day="2026-01-06")
        connection.exec_driver_sql("DELETE FROM leaderboard_entries")


def test_weeks_are_sealed_like_days(engine: Engine, arcade: Arcade) -> None:
    pool_id = arcade.add_pool(DAY, period="weekly")
    with engine.begin() as connection:
        enter(connection, 5, period="weekly")
        settle(connection, pool_id, period="weekly")
    error = refusal(engine, lambda connection: enter(connection, 9, period="weekly"))
    assert error == (
        f"prize pool {pool_id} (pong, weekly {DAY}) is finalized: no score of its period can be added or changed"
    )


def test_a_table_of_the_writers_own_does_not_get_under_the_seal(engine: Engine, settled_id: int, writer: str) -> None:
    def write(connection: Connection) -> None:
        connection.exec_driver_sql("CREATE TEMPORARY TABLE prize_pools (LIKE public.prize_pools)")
        connection.exec_driver_sql("SET LOCAL search_path = pg_temp, public")
        enter(connection, 9, player="0xb")

    assert f"prize pool {settled_id} " in refusal(engine, write, role=writer)


def test_a_writer_cannot_disable_the_seal_or_attach_its_functions(engine: Engine, settled_id: int, writer: str) -> None:
    assert settled_id
    for statement in (
        "ALTER TABLE prize_pools DISABLE TRIGGER ALL",
        "DROP TRIGGER arcade_jobs_seal_update ON prize_pools",
        "SET session_replication_role = replica",
        "CREATE TEMPORARY TABLE t (); CREATE TRIGGER t AFTER INSERT ON t EXECUTE FUNCTION arcade_jobs_guard_entry()",
    ):
        with pytest.raises(DBAPIError) as refused:
            write_as(engine, writer, statement)
        assert sqlstate(refused.value) == "42501"


def test_s08_a_score_begun_before_settling_is_waited_for_and_counted(engine: Engine, pool_id: int) -> None:
    with engine.connect() as player, engine.connect() as settler, ThreadPoolExecutor(1) as pool:
        enter(player, 9, player="0xb")
        pid = pid_of(settler)
        settlement = pool.submit(settle, settler, pool_id)
        await_lock(engine, pid)
        player.commit()
        winner = settlement.result(30)
        settler.commit()
    assert winner is not None
    assert (winner.player_address, winner.score) == ("0xb", 9)


def test_s08_a_score_that_is_rolled_back_while_settling_waits_does_not_count(engine: Engine, pool_id: int) -> None:
    with engine.connect() as player, engine.connect() as settler, ThreadPoolExecutor(1) as pool:
        enter(player, 9, player="0xb")
        pid = pid_of(settler)
        settlement = pool.submit(settle, settler, pool_id)
        await_lock(engine, pid)
        player.rollback()
        winner = settlement.result(30)
        settler.commit()
    assert winner is not None
    assert (winner.player_address, winner.score) == ("0xa", 5)


@pytest.mark.parametrize("write", [enter, pay], ids=["a score", "a payment"])
def test_s08_what_comes_while_a_pool_is_being_settled_waits_and_is_refused(
    engine: Engine, pool_id: int, write: Callable[..., None]
) -> None:
    arguments = (9,) if write is enter else ()
    with engine.connect() as player, engine.connect() as settler, ThreadPoolExecutor(1) as pool:
        settle(settler, pool_id)
        pid = pid_of(player)
        writing = pool.submit(write, player, *arguments)
        await_lock(engine, pid)
        settler.commit()
        with pytest.raises(DBAPIError) as refused:
            writing.result(30)
        player.rollback()
    assert sqlstate(refused.value) == "AJ001"


def test_s08_what_comes_while_a_settlement_fails_is_counted_by_the_next(engine: Engine, pool_id: int) -> None:
    with engine.connect() as player, engine.connect() as settler, ThreadPoolExecutor(1) as pool:
        settle(settler, pool_id)
        pid = pid_of(player)
        writing = pool.submit(enter, player, 9)
        await_lock(engine, pid)
        settler.rollback()
        writing.result(30)
        player.commit()
        winner = settle(settler, pool_id)
        settler.commit()
    assert winner is not None
    assert winner.score == 9


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_s08_a_writer_with_an_old_view_is_refused_too(engine: Engine, pool_id: int, level: str) -> None:
    with engine.connect().execution_options(isolation_level=level) as player, engine.connect() as settler:
        player.exec_driver_sql("SELECT count(*) FROM prize_pools")
        settle(settler, pool_id)
        settler.commit()
        with pytest.raises(DBAPIError) as refused:
            enter(player, 9)
        player.rollback()
    assert sqlstate(refused.value) == "40001"


def test_a_payment_in_flight_is_waited_for_and_settled(engine: Engine, pool_id: int) -> None:
    with engine.connect() as payer, engine.connect() as settler, ThreadPoolExecutor(1) as pool:
        pay(payer)
        pid = pid_of(settler)
        settlement = pool.submit(settle, settler, pool_id)
        await_lock(engine, pid)
        payer.commit()
        settlement.result(30)
        settler.commit()
        settled = settler.exec_driver_sql("SELECT status, total_games FROM prize_pools").one()
    assert settled == ("finalized", 101)


def test_scores_do_not_wait_for_payments_or_for_each_other(engine: Engine, pool_id: int) -> None:
    assert pool_id
    with engine.connect() as payer, engine.connect() as player, engine.connect() as other:
        for connection in (payer, player, other):
            connection.exec_driver_sql("SET LOCAL lock_timeout = '5s'")
        pay(payer)
        enter(player, 7, player="0xb")
        enter(other, 8, player="0xc")
        for connection in (payer, player, other):
            connection.commit()
