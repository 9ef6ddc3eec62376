"""The ranking of leaderboards (docs/design.md, Ranking), on PostgreSQL."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DBAPIError

from shared.db import leaderboard as leaderboards
from shared.domain.board import Board
from shared.domain.run import Outcome, Run, RunStatus
from shared.services import leaderboard
from shared.services.leaderboard import LeaderboardRanker
from shared.services.transactions import Transactions
from tests.arcade import Arcade
from tests.fakes import FakeClock, make_run
from tests.locks import await_lock, pid_of
from tests.plays import ranking_key

SLOT = "2026-01-12T01:00:00Z"
Rank = Callable[[Run], Outcome]


@pytest.fixture
def ranker(transactions: Transactions, clock: FakeClock) -> LeaderboardRanker:
    return LeaderboardRanker(transactions=transactions, zone=ZoneInfo("UTC"), clock=clock)


def test_a_touched_board_is_ranked_without_gaps_or_ties(arcade: Arcade, ranker: Rank) -> None:
    for player, score, at in [("0xa", 5, "10:00"), ("0xb", 7, "11:00"), ("0xc", 5, "09:00"), ("0xd", 7, "11:00")]:
        arcade.play(player, score, f"2026-01-11T{at}:00Z")
    outcome = ranker(make_run(SLOT, job="leaderboard"))
    assert arcade.ranks() == [("0xb", 1), ("0xd", 2), ("0xc", 3), ("0xa", 4)]
    assert outcome.status is RunStatus.SUCCEEDED
    assert outcome.result == {
        "leaderboards_processed": 1,
        "leaderboards_unchanged": 0,
        "entries_updated": 4,
        "duration_ms": 0,
        "leaderboards": [
            {"game_type": "pong", "period_type": "daily", "period_date": "2026-01-11", "entries_updated": 4}
        ],
        "errors": [],
    }


def test_ranks_equal_an_independent_sort(arcade: Arcade, ranker: Rank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaderboard, "CHUNK_ROWS", 70)
    dice = random.Random(7)
    rows = [
        {"player": f"0x{n}", "score": dice.randrange(20), "at": datetime(2026, 1, 11, dice.randrange(24), tzinfo=UTC)}
        for n in range(500)
    ]
    with arcade.engine.begin() as connection:
        connection.execute(
            text(
                "WITH played AS (INSERT INTO game_sessions"
                " (id, game_type, player_address, amount_paid_usdc, score, status, completed_at)"
                " VALUES (gen_random_uuid(), 'pong', :player, 0, :score, 'completed', :at) RETURNING *)"
                " INSERT INTO leaderboard_entries"
                " (session_id, game_type, player_address, score, period_type, period_date, created_at)"
                " SELECT id, game_type, player_address, score, 'daily', '2026-01-11', completed_at FROM played"
            ),
            rows,
        )
    assert ranker(make_run(SLOT)).result["entries_updated"] == 500
    with arcade.engine.connect() as connection:
        entries = connection.execute(text("SELECT * FROM leaderboard_entries")).all()
    assert [entry.rank for entry in sorted(entries, key=ranking_key)] == list(range(1, 501))


@pytest.mark.parametrize("entries", [1, 2, 3, 4])
def test_every_chunk_is_written_however_little_is_left_for_the_last(
    arcade: Arcade, ranker: Rank, monkeypatch: pytest.MonkeyPatch, entries: int
) -> None:
    monkeypatch.setattr(leaderboard, "CHUNK_ROWS", 2)
    for n in range(entries):
        arcade.play(f"0x{n}", 10 - n, "2026-01-11T10:00:00Z")
    assert ranker(make_run(SLOT)).result["entries_updated"] == entries
    assert [rank for _, rank in arcade.ranks()] == list(range(1, entries + 1))


def test_s22_entries_of_any_id_are_ranked(arcade: Arcade, ranker: Rank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaderboard, "CHUNK_ROWS", 1)
    for n in range(3):
        arcade.play(f"0x{n}", 10 - n, "2026-01-11T10:00:00Z")
    arcade.execute(
        "UPDATE leaderboard_entries SET id = id - (SELECT max(id) FROM leaderboard_entries)"
    )  # 0 the highest
    assert ranker(make_run(SLOT)).result["entries_updated"] == 3
    assert arcade.ranks() == [("0x0", 1), ("0x1", 2), ("0x2", 3)]


def test_a_board_whose_period_has_ended_gets_its_final_ranks(arcade: Arcade, ranker: Rank) -> None:
    arcade.play("0xa", 5, "2025-12-24T10:00:00Z", periods=("daily", "weekly", "alltime"))
    assert ranker(make_run(SLOT)).result["leaderboards_processed"] == 3
    assert arcade.ranks(day="2025-12-24") == [("0xa", 1)]


def test_an_untouched_board_is_not_read(arcade: Arcade, ranker: LeaderboardRanker) -> None:
    arcade.play("0xa", 5, "2026-01-11T10:00:00Z")
    ranker(make_run(SLOT))
    statements: list[str] = []
    event.listen(
        ranker.transactions.engine, "before_cursor_execute", lambda *args: statements.append(args[2]), named=False
    )
    result = ranker(make_run("2026-01-12T02:00:00Z")).result
    assert (result["leaderboards_processed"], result["leaderboards_unchanged"]) == (0, 1)
    assert not [statement for statement in statements if "leaderboard_entries" in statement]


def test_only_ranks_that_changed_are_written(arcade: Arcade, ranker: Rank) -> None:
    for n in range(5):
        arcade.play(f"0x{n}", 10 - n, "2026-01-11T10:00:00Z")
    ranker(make_run(SLOT))
    arcade.play("0x2", 9, "2026-01-11T10:00:00Z")
    assert ranker(make_run("2026-01-12T02:00:00Z")).result["entries_updated"] == 0  # later at 9 than 0x1, by id
    arcade.play("0x2", 11, "2026-01-11T10:00:00Z")
    assert ranker(make_run("2026-01-12T03:00:00Z")).result["entries_updated"] == 3


def test_a_deleted_entry_leaves_no_gap(arcade: Arcade, ranker: Rank) -> None:
    for n in range(3):
        arcade.play(f"0x{n}", 10 - n, "2026-01-11T10:00:00Z")
    ranker(make_run(SLOT))
    arcade.execute("DELETE FROM leaderboard_entries WHERE player_address = '0x0'")
    ranker(make_run("2026-01-12T02:00:00Z"))
    assert arcade.ranks() == [("0x1", 1), ("0x2", 2)]


def test_a_writer_that_commits_late_is_noticed_by_the_next_run(arcade: Arcade, ranker: Rank) -> None:
    arcade.play("0xa", 5, "2026-01-11T10:00:00Z")
    with arcade.engine.begin() as late:
        arcade.within(late).play("0xlate", 9, "2026-01-11T09:00:00Z")
        ranker(make_run(SLOT))
        assert arcade.ranks() == [("0xa", 1)]
    ranker(make_run("2026-01-12T02:00:00Z"))
    assert arcade.ranks() == [("0xlate", 1), ("0xa", 2)]


def test_a_ranker_that_was_overtaken_writes_nothing_more(
    arcade: Arcade, ranker: LeaderboardRanker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaderboard, "CHUNK_ROWS", 1)
    for n in range(3):
        arcade.play(f"0x{n}", 10 + n, "2026-01-11T10:00:00Z")
    hold = leaderboards.hold_board
    chunks = iter(["first", "frozen before the second"])

    def freeze(connection: Connection, board: Board, *, generation: int) -> bool:
        if next(chunks) != "first":
            with arcade.engine.begin() as newer:
                leaderboards.take_board(newer, board)
        return hold(connection, board, generation=generation)

    monkeypatch.setattr(leaderboards, "hold_board", freeze)
    result = ranker(make_run(SLOT)).result
    assert (result["leaderboards_processed"], result["errors"]) == (0, [])
    assert arcade.ranks() == [("0x0", 3), ("0x1", None), ("0x2", None)]
    monkeypatch.setattr(leaderboards, "hold_board", hold)
    assert ranker(make_run("2026-01-12T02:00:00Z")).result["leaderboards_processed"] == 1  # it was left pending
    assert arcade.ranks() == [("0x2", 1), ("0x1", 2), ("0x0", 3)]


def test_a_newer_ranker_waits_for_the_chunk_that_is_being_written(arcade: Arcade) -> None:
    arcade.play("0xa", 5, "2026-01-11T10:00:00Z")
    board = Board.from_key("pong", "daily", date(2026, 1, 11))
    with arcade.engine.begin() as connection:
        leaderboards.claim_touches(connection)
        generation = leaderboards.take_board(connection, board)
    assert generation == 1
    with arcade.engine.begin() as writing:
        assert leaderboards.hold_board(writing, board, generation=generation)
        with arcade.engine.connect() as newer:
            newer.execute(text("SET LOCAL lock_timeout = '10ms'"))
            with pytest.raises(DBAPIError, match="lock timeout"):
                leaderboards.take_board(newer, board)
    with arcade.engine.begin() as newer:
        assert leaderboards.take_board(newer, board) == 2
    with arcade.engine.begin() as overtaken:
        assert not leaderboards.hold_board(overtaken, board, generation=generation)


def test_an_entry_that_a_writer_holds_is_waited_for_and_ranked(arcade: Arcade, ranker: LeaderboardRanker) -> None:
    """What the writer changes is no place in the order: no later run would rank the board again."""
    for n in range(3):
        arcade.play(f"0x{n}", 10 - n, "2026-01-11T10:00:00Z")
    with ranker.transactions.engine.connect() as connection:
        pid = pid_of(connection)
    with arcade.engine.connect() as writer, ThreadPoolExecutor(1) as pool:
        writer.execute(text("UPDATE leaderboard_entries SET score = score WHERE player_address = '0x1'"))
        ranking = pool.submit(ranker, make_run(SLOT))
        await_lock(arcade.engine, pid)
        writer.commit()
        assert ranking.result(30).result["entries_updated"] == 3
    assert arcade.ranks() == [("0x0", 1), ("0x1", 2), ("0x2", 3)]


def test_one_bad_board_does_not_stop_the_rest(arcade: Arcade, ranker: LeaderboardRanker) -> None:
    arcade.play("0xa", 5, "2026-01-11T10:00:00Z")
    arcade.play("0xa", 5, "2026-01-11T10:00:00Z", game="snake")
    with arcade.engine.begin() as holder:
        holder.execute(text("SELECT 1 FROM leaderboard_entries WHERE game_type = 'pong' FOR UPDATE"))
        with ranker.transactions.engine.connect() as connection, connection.begin():
            connection.execute(text("SET lock_timeout = '50ms'"))
        outcome = ranker(make_run(SLOT))
    assert outcome.status is RunStatus.PARTIAL
    assert [(error["game_type"], error["error"]) for error in outcome.result["errors"]] == [
        ("pong", "canceling statement due to lock timeout (SQLSTATE 55P03)")
    ]
    assert arcade.ranks(game="snake") == [("0xa", 1)]
    assert ranker(make_run(SLOT)).status is RunStatus.SUCCEEDED
    assert arcade.ranks() == [("0xa", 1)]


def test_a_run_out_of_time_leaves_its_board_pending(arcade: Arcade, ranker: LeaderboardRanker) -> None:
    arcade.play("0xa", 5, "2026-01-11T10:00:00Z")
    assert ranker(make_run(SLOT, seconds_left=14)).status is RunStatus.INCOMPLETE
    statements: list[str] = []
    event.listen(ranker.transactions.engine, "after_cursor_execute", lambda *args: statements.append(args[2]))

    def time_left() -> timedelta:
        has_computed = any("INSERT INTO pg_temp.new_ranks" in statement for statement in statements)
        return timedelta(seconds=14 if has_computed else 300)

    assert ranker(replace(make_run(SLOT), time_left=time_left)).status is RunStatus.INCOMPLETE
    assert arcade.ranks() == [("0xa", None)]
    ranker(make_run(SLOT))
    assert arcade.ranks() == [("0xa", 1)]


def test_a_lost_connection_starts_the_board_anew(arcade: Arcade, ranker: LeaderboardRanker, clock: FakeClock) -> None:
    arcade.play("0xa", 5, "2026-01-11T10:00:00Z")
    cut: list[bool] = []

    def cut_once(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "UPDATE leaderboard_entries" in statement and not cut:
            cut.append(True)
            with arcade.engine.begin() as other:
                arcade.within(other).execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'arcade-jobs' AND datname = current_database()"
                )

    event.listen(ranker.transactions.engine, "before_cursor_execute", cut_once)
    assert ranker(make_run(SLOT)).status is RunStatus.SUCCEEDED
    assert cut
    assert clock.slept == [0.1]
    assert arcade.ranks() == [("0xa", 1)]


def test_a_dry_run_shows_what_would_be_ranked_and_changes_nothing(arcade: Arcade, ranker: Rank) -> None:
    arcade.play("0xa", 5, "2026-01-11T10:00:00Z", periods=("daily", "alltime"))
    previewed = ranker(make_run(SLOT, dry_run=True)).result
    assert arcade.ranks() == [("0xa", None)]
    assert ranker(make_run(SLOT)).result["leaderboards"] == previewed["leaderboards"]
