"""What is read of the platform's database for a person: through a connection and through the Data API alike."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import product
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Engine, make_url

from infra.cli.database import database
from infra.cli.options import Target
from infra.deployed import pools
from infra.stage import stack_name
from shared.db.prize_pool import list_due_pools
from shared.domain.errors import NotReachableError
from shared.domain.periods import ONE_WEEK
from shared.operations.deployment import Deployment
from tests.arcade import Arcade
from tests.fakes.data_api import FakeDataApi

if TYPE_CHECKING:
    from infra.deployed.pools import Query

NOW = datetime(2026, 1, 12, 0, 0, tzinfo=UTC)
NOBODY = Target()


def settle(arcade: Arcade, pool_id: int, *, winner: str | None, at: str) -> None:
    """As the jobs mark a pool."""
    arcade.execute(
        "UPDATE prize_pools SET status = 'finalized', winner_address = :winner, winner_score = :score,"
        " finalized_at = :at, settled_by = 'prize-pool:test' WHERE id = :id",
        winner=winner,
        score=7 if winner else None,
        at=datetime.fromisoformat(at),
        id=pool_id,
    )


@pytest.fixture
def played(arcade: Arcade) -> Arcade:
    """Six pools that ended, of which four are settled and one is paid; two that have not; a board of 50 entries."""
    arcade.play_many(50, "2026-01-10T12:00:00Z", game="snake")
    arcade.execute(
        "UPDATE leaderboard_entries SET rank = 51 - score",
        "INSERT INTO leaderboards (game_type, period_type, period_date) VALUES ('snake', 'daily', '2026-01-10'),"
        " ('tetris', 'daily', '2026-01-10'), ('snake', 'daily', '2026-01-01')",
    )
    paid = arcade.add_pool("2026-01-09", amount="0.1")
    unpaid = arcade.add_pool("2026-01-10", amount="12345678.123456", games=3)
    kept = arcade.add_pool("2026-01-10", game="tetris", amount="0.000001", games=1)
    arcade.add_pool("2026-01-11")
    arcade.add_pool("2026-01-12")
    arcade.add_pool("2026-01-05", period="weekly", amount="2")
    arcade.add_pool("2026-01-12", period="weekly")
    week = arcade.add_pool("2026-01-05", game="snake", period="weekly", amount="2")
    settle(arcade, week, winner=None, at="2026-01-09T00:00:10Z")
    settle(arcade, paid, winner="0xa", at="2026-01-10T00:00:10Z")
    settle(arcade, unpaid, winner="0x<script>", at="2026-01-11T00:00:10Z")
    settle(arcade, kept, winner=None, at="2026-01-11T00:00:11Z")
    arcade.pay_out(paid, "0xhash")
    return arcade


@pytest.fixture(params=["connection", "data api"])
def query(request: pytest.FixtureRequest, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> "Iterator[Query]":
    url = engine.url.render_as_string(hide_password=False)
    if request.param == "connection":
        monkeypatch.setenv("DATABASE_URL", url)
    else:
        monkeypatch.delenv("DATABASE_URL", raising=False)
        monkeypatch.setattr(Target, "deployment", lambda _: deployment_of(FakeDataApi(url=engine.url)))
    with database(NOBODY) as found:
        assert found is not None
        yield found


def deployment_of(fake: FakeDataApi) -> Deployment:
    return Deployment(
        stage="dev",
        stack=stack_name("dev"),
        account="123456789012",
        caller="arn:aws:iam::123456789012:user/operator",
        session=fake.session,
        endpoint=None,
        outputs={
            "DatabaseClusterArn": fake.cluster,
            "DatabaseAdminSecretArn": fake.secret,
            "DatabaseName": str(fake.url.database),
            "DatabaseUser": "jobs",
        },
    )


@pytest.mark.usefixtures("played")
def test_pools_money_and_boards_are_read_exactly(query: "Query") -> None:
    counted = pools.count_open(query, calendar=pools.read_calendar(query), now=NOW)
    assert counted.to_json() == {
        "due": 2,
        "unpaid": 1,
        "unpaid_usdc": "12345678.123456",
        "oldest_unpaid_at": "2026-01-11T00:00:10.000000Z",
    }
    latest, first = pools.list_latest_winners(query)
    assert (latest.winner_address, latest.amount_usdc) == ("0x<script>", Decimal("12345678.123456"))
    assert [latest.status, first.status] == ["finalized", "paid"]
    assert pools.list_latest_winners(query, most=1) == pools.list_unpaid_pools(query) == [latest]
    days = pools.list_settled_days(query, since=date(2026, 1, 10))
    assert [(day.day.day, day.game_type, day.pools, day.amount_usdc, day.games) for day in days] == [
        (10, "pong", 1, Decimal("12345678.123456"), 3),
        (10, "tetris", 1, Decimal("0.000001"), 1),
        (11, "snake", 1, Decimal(2), 100),  # a week counts on its Sunday
    ]
    [size] = pools.list_board_sizes(query, since=date(2026, 1, 5))
    assert (size.board.game_type, size.board.period_date, size.entries) == ("snake", date(2026, 1, 10), 50)
    with pytest.raises(NotReachableError, match=r"^the platform's database: [^\n]*$"):
        query("WITH gone AS (DELETE FROM prize_pools RETURNING 1) SELECT * FROM gone", {})


def test_due_is_what_prize_pool_would_settle(engine: Engine, arcade: Arcade, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in range(1, 20):
        arcade.add_pool(f"2026-01-{day:02}")
    for monday in ("2025-12-29", "2026-01-05", "2026-01-12", "2026-01-19"):
        arcade.add_pool(monday, period="weekly")
    monkeypatch.setenv("DATABASE_URL", engine.url.render_as_string(hide_password=False))
    for zone, hours in product(("UTC", "Asia/Tokyo", "America/Los_Angeles"), (-30, -1, 0, 1, 30)):
        arcade.execute("UPDATE arcade_jobs_timezones SET timezone = :zone", zone=zone)
        now = NOW + timedelta(hours=hours)
        with database(NOBODY) as query:
            assert query is not None
            calendar = pools.read_calendar(query)
            due = pools.count_open(query, calendar=calendar, now=now).due
        today = calendar.local_day(now)
        with engine.connect() as connection:
            settled = list_due_pools(connection, today=today, week_ago=today - ONE_WEEK)
        assert due == len(settled) > 0, (zone, hours)


def test_a_database_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/arcade")
    cannot_connect = r"^the platform's database: cannot connect to 127.0.0.1 port 1: [^\n]*$"
    with pytest.raises(NotReachableError, match=cannot_connect), database(NOBODY):
        pass


def test_a_stage_whose_database_nobody_named_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    deployment = deployment_of(FakeDataApi(url=make_url("postgresql://nowhere/arcade")))
    monkeypatch.setattr(
        Target, "deployment", lambda _: Deployment(**{**vars(deployment), "outputs": {"RunsTableName": "runs"}})
    )
    with database(NOBODY) as query:
        assert query is None
