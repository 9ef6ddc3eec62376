"""S18: what has ended is ranked first, a large board has all the time there is, and what was written is counted."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection, Engine, event, text

from shared.db import leaderboard as leaderboards
from shared.db.leaderboard import _COMPUTE_NEW_RANKS, _WRITE_NEW_RANKS
from shared.domain.board import Board
from shared.domain.periods import ALLTIME_DATE
from shared.domain.run import RunStatus
from shared.services import leaderboard
from shared.services.leaderboard import LeaderboardRanker
from shared.services.transactions import Transactions
from tests.arcade import Arcade
from tests.fakes import FakeClock, make_run

SLOT = "2026-01-12T01:00:00Z"


@pytest.fixture
def ranker(transactions: Transactions, clock: FakeClock) -> LeaderboardRanker:
    return LeaderboardRanker(transactions=transactions, zone=ZoneInfo("UTC"), clock=clock)


def after_statement(engine: Engine, part: str, action: Callable[[Any], object]) -> None:
    """Act on the cursor each time that a statement which contains a text has been executed."""

    @event.listens_for(engine, "after_cursor_execute")
    def act(_connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if part in statement:
            action(cursor)


def test_s18_boards_of_ended_periods_come_first_and_all_time_last(arcade: Arcade, ranker: LeaderboardRanker) -> None:
    arcade.play("0xa", 5, "2026-01-12T00:30:00Z", periods=("daily", "weekly", "alltime"))  # a Monday
    arcade.play("0xb", 5, "2026-01-11T23:30:00Z", periods=("daily", "weekly", "alltime"))
    arcade.play("0xb", 5, "2026-01-11T23:30:00Z", periods=("alltime",), game="breakout")
    arcade.play("0xc", 5, "2026-01-09T23:30:00Z", game="snake")
    expected = [
        ("snake", "daily", "2026-01-09"),
        ("pong", "daily", "2026-01-11"),
        ("pong", "weekly", "2026-01-05"),
        ("pong", "daily", "2026-01-12"),
        ("pong", "weekly", "2026-01-12"),
        ("breakout", "alltime", "1970-01-01"),
        ("pong", "alltime", "1970-01-01"),
    ]
    previewed = ranker(make_run(SLOT, dry_run=True)).result["leaderboards"]
    ranked = ranker(make_run(SLOT)).result["leaderboards"]
    for boards in (previewed, ranked):
        assert [(each["game_type"], each["period_type"], each["period_date"]) for each in boards] == expected


def test_s18_a_run_out_of_time_counts_what_it_wrote_and_the_next_attempt_goes_on_from_there(
    arcade: Arcade, ranker: LeaderboardRanker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaderboard, "CHUNK_ROWS", 2)
    for n in range(5):
        arcade.play(f"0x{n}", 10 - n, "2026-01-11T10:00:00Z")
    chunks: list[Any] = []
    after_statement(ranker.transactions.engine, "UPDATE leaderboard_entries", chunks.append)
    run = replace(make_run(SLOT), time_left=lambda: timedelta(seconds=300 if len(chunks) < 2 else 14))
    outcome = ranker(run)
    board = {"game_type": "pong", "period_type": "daily", "period_date": "2026-01-11"}
    assert (outcome.status, outcome.items_processed) == (RunStatus.INCOMPLETE, 4)
    assert (outcome.result["leaderboards_processed"], outcome.result["entries_updated"]) == (0, 4)
    assert outcome.result["leaderboards"] == [{**board, "entries_updated": 4, "complete": False}]
    outcome = ranker(make_run(SLOT))
    assert outcome.result["leaderboards"] == [{**board, "entries_updated": 1}]
    assert arcade.ranks() == [(f"0x{n}", n + 1) for n in range(5)]


@pytest.mark.parametrize("statement", ["INSERT INTO pg_temp.new_ranks", "DELETE FROM leaderboard_touches"])
def test_s18_what_grows_with_a_board_may_take_all_the_time_that_is_left(
    arcade: Arcade, ranker: LeaderboardRanker, statement: str
) -> None:
    arcade.play("0xa", 5, "2026-01-11T10:00:00Z")
    limits: list[Any] = []

    def note(cursor: Any) -> None:
        cursor.execute("SHOW statement_timeout")
        limits.extend(cursor.fetchone())

    after_statement(ranker.transactions.engine, statement, note)
    ranker(make_run(SLOT, seconds_left=300))
    assert limits == ["288s"]  # a minute would be too little for some 50M entries, at each attempt


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """A transaction in which no trigger fires, with the table of new ranks."""
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        leaderboards.create_new_ranks(connection)
        yield connection


def fill(connection: Connection, entries: int) -> Board:
    """An all-time board of so many entries; the rest of 30,000 are on another one."""
    connection.execute(
        text(
            "INSERT INTO leaderboard_entries"
            " (session_id, game_type, player_address, score, period_type, period_date)"
            " SELECT gen_random_uuid(), 'pong', n::text, hashint4(n),"
            " CASE WHEN n <= :entries THEN 'alltime' ELSE 'daily' END,"
            " CASE WHEN n <= :entries THEN date '1970-01-01' ELSE date '2026-01-11' END"
            " FROM generate_series(1, 30000) AS n"
        ),
        {"entries": entries},
    )
    return Board.from_key("pong", "alltime", ALLTIME_DATE)


STATISTICS = ("SELECT", "ANALYZE leaderboard_entries")  # none, and fresh ones


@pytest.mark.parametrize("entries", [300, 30_000])
def test_s18_a_board_is_not_read_in_the_order_of_its_index(connection: Connection, entries: int) -> None:
    """Which is random in the table: more pages than a server has memory are read again and again."""
    board = fill(connection, entries)
    leaderboards.read_in_table_order(connection)
    for statistics in STATISTICS:
        connection.execute(text(statistics))
        explain = text(f"EXPLAIN {_COMPUTE_NEW_RANKS.text}")
        plan = "\n".join(connection.scalars(explain, board.key))
        assert "Index Scan using" not in plan
        assert ("Bitmap Heap Scan" in plan) or entries > 300


@pytest.mark.parametrize("most", [5_000, 50_000])
def test_s18_a_chunk_reads_its_own_entries_alone(connection: Connection, most: int) -> None:
    board = fill(connection, 30_000)
    leaderboards.compute_new_ranks(connection, board)
    chunk = leaderboards.find_chunk(connection, after=leaderboards.START, most=most)
    for statistics in STATISTICS:
        connection.execute(text(statistics))
        plan = "\n".join(connection.scalars(text(f"EXPLAIN {_WRITE_NEW_RANKS.text}"), chunk._asdict()))
        assert "leaderboard_entries_pkey" in plan
        assert "Seq Scan on leaderboard_entries" not in plan
        assert "Nested Loop" not in plan  # an index that is entered for each entry
    assert leaderboards.write_new_ranks(connection, chunk) == min(most, 30_000)
