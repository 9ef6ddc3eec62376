"""S19: a statement, a wait for a lock, a connection and a pause end while there is time to record the run."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from shared.app import RUNS_TABLE_CLIENT, App
from shared.db import connection as db_connection
from shared.domain.run import REPORTING_TIME, STOP_BEFORE_LIMIT, OutOfTimeError
from shared.runs.runner import RunNotSucceededError
from shared.services.transactions import Transactions
from tests.arcade import Arcade
from tests.fakes import FakeClock, FakeContext, make_run, scheduled_event
from tests.fakes.database_proxy import DatabaseProxy, proxy_to
from tests.jobs import StartApp, invoke

if TYPE_CHECKING:
    from botocore.config import Config

SECONDS_LEFT = 16  # as in the incident: the server's own limit is 60
STATEMENT_SECONDS = 0.3  # what they leave to a statement here, instead of four
SLOTS = {
    "prize-pool": "2026-01-12T00:00:00Z",
    "leaderboard": "2026-01-12T01:00:00Z",
    "cleanup": "2026-01-12T03:00:00Z",
}


@dataclass
class Invocation(FakeContext):
    """An invocation whose time runs out with its first error, or while it pauses."""

    remaining_ms: int = SECONDS_LEFT * 1000
    clock: FakeClock = field(default_factory=FakeClock)

    def get_remaining_time_in_millis(self) -> int:
        return int(self.remaining_ms - sum(self.clock.slept) * 1000)

    def end_with_an_error(self, engine: Engine) -> None:
        @event.listens_for(engine, "handle_error")
        def end(_context: Any) -> None:
            self.remaining_ms = int(REPORTING_TIME.total_seconds() * 1000)


@pytest.fixture
def _short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db_connection, "REPORTING_TIME", timedelta(seconds=SECONDS_LEFT - STATEMENT_SECONDS))
    monkeypatch.setattr(db_connection, "ANSWER_SLACK", timedelta(seconds=0.2))


@pytest.fixture
def played(arcade: Arcade) -> Arcade:
    """Something to do for each job: a pool that is due, a board that was touched, a session that was abandoned."""
    arcade.add_pool("2026-01-11")
    arcade.play("0xa", 5, "2026-01-11T10:00:00Z")
    arcade.add_session("2026-01-11T11:00:00Z")
    arcade.add_orphan(3, "2026-01-11T11:30:00Z", player="0xorphan")
    return arcade


# What another transaction holds, so that the job's statement waits for it: rows, but for cleanup, which skips those.
BLOCKED = {
    "prize-pool": "SELECT 1 FROM prize_pools FOR UPDATE",
    "leaderboard": "SELECT 1 FROM leaderboard_entries FOR UPDATE",
    "cleanup": "LOCK TABLE game_sessions",
}


def stop_waiting(job: str, app: App, played: Arcade, *, lock: str) -> None:
    """Run a job whose time ends with the error of a statement that waits for a lock of another transaction."""
    context = Invocation()
    context.end_with_an_error(app.engine)
    with played.engine.begin() as holder:
        holder.execute(text(lock))
        with pytest.raises(RunNotSucceededError, match="incomplete"):
            invoke(app, job, scheduled_event(SLOTS[job]), context)


@pytest.mark.usefixtures("_short_limits")
@pytest.mark.parametrize("job", SLOTS)
def test_s19_a_statement_that_is_blocked_is_canceled_in_time_and_the_retry_continues(
    played: Arcade, app: App, clock: FakeClock, job: str
) -> None:
    clock.now = clock.now.replace(hour=3)
    began = time.monotonic()
    stop_waiting(job, app, played, lock=BLOCKED[job])
    assert time.monotonic() - began < db_connection.LOCK_TIMEOUT / 1000
    run_id = f"{job}:{SLOTS[job][:16]}Z"
    record = app.runner.store.get(run_id)
    assert record is not None
    assert (record.status, record.result and record.result["errors"]) == ("incomplete", [])
    assert invoke(app, job, scheduled_event(SLOTS[job]))["status"] == "succeeded"


@pytest.mark.usefixtures("_short_limits")
@pytest.mark.parametrize("job", SLOTS)
def test_s19_the_first_statement_of_a_job_ends_in_time_too(
    played: Arcade, app: App, clock: FakeClock, job: str
) -> None:
    clock.now = clock.now.replace(hour=3)
    stop_waiting(job, app, played, lock="LOCK TABLE prize_pools, leaderboards, leaderboard_touches")


LIMIT = text("SELECT setting || unit, source FROM pg_settings WHERE name = 'statement_timeout'")


def limit_with(seconds_left: float, transactions: Transactions) -> tuple[str, str]:
    """The limit of a statement, and where it comes from: `client` for what the connection was opened with."""
    run = make_run("2026-01-12T00:00:00Z", seconds_left=seconds_left)
    limit, source = transactions.run(lambda connection: connection.execute(LIMIT).one(), run=run)
    return limit, source


@pytest.mark.parametrize(
    ("seconds_left", "limit"),
    [
        (300, ("60000ms", "client")),
        (72, ("60000ms", "client")),
        (71.9, ("59900ms", "session")),
        (16, ("4000ms", "session")),
        (12.5, ("500ms", "session")),
    ],
)
def test_s19_a_statement_may_take_what_is_left_less_the_time_to_report(
    transactions: Transactions, seconds_left: float, limit: tuple[str, str]
) -> None:
    assert limit_with(seconds_left, transactions) == limit


@pytest.mark.parametrize("seconds_left", [12, 3, 0])
def test_s19_without_time_no_statement_waits(transactions: Transactions, seconds_left: float) -> None:
    limit_with(300, transactions)  # which connects
    run = make_run("2026-01-12T00:00:00Z", seconds_left=seconds_left)
    with pytest.raises(OutOfTimeError):
        transactions.run(lambda connection: connection.execute(text("SELECT pg_sleep(600)")), run=run)


def test_s19_the_limit_of_one_run_is_not_that_of_the_next(transactions: Transactions) -> None:
    assert [limit_with(left, transactions)[0] for left in (16, 300)] == ["4000ms", "60000ms"]


def test_s19_a_commit_has_what_is_left_then_not_what_was_left_to_the_last_statement(
    transactions: Transactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A board's ranks were computed for minutes; the server falls silent at the commit."""
    seconds_left = [300]
    run = replace(make_run("2026-01-12T00:00:00Z"), time_left=lambda: timedelta(seconds=seconds_left[0]))
    waits: list[float] = []

    def compute(connection: Connection) -> None:
        connection.execute(text("SELECT 1").execution_options(**{db_connection.NO_LIMIT: True}))
        waits.append(connection.connection.dbapi_connection._usock.gettimeout())  # type: ignore[union-attr]
        seconds_left[0] = 16

    def commit(connection: Any) -> None:
        waits.append(connection._usock.gettimeout())
        connection.commit()

    monkeypatch.setattr(transactions.engine.dialect, "do_commit", commit)
    transactions.run(compute, run=run)
    assert waits == [289, 5]


@pytest.fixture
def proxy(engine: Engine) -> Iterator[DatabaseProxy]:
    with proxy_to(engine.url) as proxy:
        yield proxy


@pytest.mark.usefixtures("_short_limits")
def test_s19_a_server_that_falls_silent_does_not_hold_the_run(
    played: Arcade, proxy: DatabaseProxy, start_app: StartApp, clock: FakeClock
) -> None:
    app = start_app(DATABASE_URL=proxy.url(str(played.engine.url.database)))
    began = time.monotonic()

    @event.listens_for(app.engine, "before_cursor_execute")
    def stall(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "FOR UPDATE" in statement:
            proxy.flowing.clear()

    with pytest.raises(RunNotSucceededError, match="failed"):
        invoke(app, "prize-pool", scheduled_event(SLOTS["prize-pool"]), Invocation(clock=clock))
    assert sum(clock.slept) <= SECONDS_LEFT - STOP_BEFORE_LIMIT.total_seconds()
    assert time.monotonic() - began < db_connection.CONNECT_TIMEOUT


def test_s19_what_is_kept_for_the_record_is_what_its_client_may_take() -> None:
    client: Config = RUNS_TABLE_CLIENT
    retries: dict[str, Any] = client.retries  # type: ignore[attr-defined]
    longest = (client.connect_timeout + client.read_timeout) * retries["total_max_attempts"]  # type: ignore[attr-defined]
    assert longest + 1 < REPORTING_TIME.total_seconds() < STOP_BEFORE_LIMIT.total_seconds()
