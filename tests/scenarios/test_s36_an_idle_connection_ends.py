"""S36: an idle connection of a frozen function ends, so that the database can pause; the next run opens another."""

import time

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from infra import schema
from shared.app import App
from shared.db.connection import IDLE_TIMEOUT, SESSION, open_engine
from shared.db.errors import describe, is_connection_lost
from shared.services.transactions import LONGEST_DELAY
from tests.arcade import Arcade
from tests.fakes import scheduled_event
from tests.jobs import invoke
from tests.locks import TIMEOUT, pid_of


def await_end(engine: Engine, pid: int) -> None:
    """Poll until the server has ended a session."""
    deadline = time.monotonic() + TIMEOUT
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while connection.scalar(text("SELECT 1 FROM pg_stat_activity WHERE pid = :pid"), {"pid": pid}):
            assert time.monotonic() < deadline, "the idle session did not end"


def hurry(connection: Connection) -> int:
    """Let the idle time of a session be over at once; its pid."""
    connection.exec_driver_sql("SET idle_session_timeout = '10ms'")
    pid = pid_of(connection)
    connection.commit()
    return pid


def test_s36_every_session_ends_when_it_is_idle_and_not_within_a_pause_of_a_run(app: App) -> None:
    with app.engine.connect() as connection:
        assert connection.scalar(text("SHOW idle_session_timeout")) == "1min"
    assert IDLE_TIMEOUT > 2 * 1000 * LONGEST_DELAY


def test_s36_a_run_on_a_connection_that_ended_while_idle_opens_another(app: App, arcade: Arcade) -> None:
    pool_id = arcade.add_pool("2026-01-11")
    with app.engine.connect() as connection:
        pid = hurry(connection)
    await_end(arcade.engine, pid)
    assert invoke(app, "prize-pool", scheduled_event("2026-01-12T00:00:00Z"))["attempt"] == 1
    assert arcade.pool(pool_id).status == "finalized"


def test_s36_a_held_connection_that_ended_is_a_lost_one(app: App, arcade: Arcade) -> None:
    with app.engine.connect() as connection:
        await_end(arcade.engine, hurry(connection))
        with pytest.raises((DBAPIError, ConnectionResetError)) as ended:  # or the socket is reset before it is read
            connection.execute(text("SELECT 1"))
        assert is_connection_lost(ended.value)


def test_s36_the_servers_own_word_for_it_is_a_lost_connection() -> None:
    fields = {"S": "FATAL", "C": "57P05", "M": "terminating connection due to idle-session timeout"}
    error = DBAPIError("SELECT 1", (), ValueError(fields))
    assert is_connection_lost(error)
    assert describe(error) == "terminating connection due to idle-session timeout (SQLSTATE 57P05)"


def test_s36_an_upgrade_that_waits_longer_keeps_its_session(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It sleeps up to half a minute between two attempts at a lock, and must not lose its own."""
    monkeypatch.setitem(SESSION, "idle_session_timeout", "10")
    upgrading = open_engine(engine.url, connections=2)
    with engine.begin() as connection:
        connection.execute(text("DROP INDEX prize_pools_active_idx"))
        connection.execute(text("ALTER TABLE prize_pools DROP CONSTRAINT prize_pools_status_check"))
    holder = engine.connect()
    holder.execute(text("LOCK TABLE prize_pools IN SHARE MODE"))
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        time.sleep(0.05)  # idle for longer than the session's own limit
        holder.rollback()

    schema.upgrade(upgrading, sleep=sleep)
    assert waited
    upgrading.dispose()
    holder.close()
