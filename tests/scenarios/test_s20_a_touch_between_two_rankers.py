"""S20, S21: a score between two rankers is ranked by one of them, or the run that gave way does not count as done."""

from collections.abc import Callable
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, event

from shared.db import leaderboard as leaderboards
from shared.domain.board import Board
from shared.domain.run import Outcome, Run, RunStatus
from shared.services import leaderboard
from shared.services.leaderboard import LeaderboardRanker
from shared.services.transactions import Transactions
from tests.arcade import Arcade
from tests.fakes import FakeClock, make_run

SLOT, NEXT_SLOT = "2026-01-12T01:00:00Z", "2026-01-12T02:00:00Z"
BOARD = Board.from_key("pong", "daily", date(2026, 1, 11))


@pytest.fixture
def ranker(
    arcade: Arcade, transactions: Transactions, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Run], Outcome]:
    """R1, on a board of three chunks."""
    monkeypatch.setattr(leaderboard, "CHUNK_ROWS", 2)
    for n in range(5):
        arcade.play(f"0x{n}", 10 - n, "2026-01-11T10:00:00Z")
    return LeaderboardRanker(transactions=transactions, zone=ZoneInfo("UTC"), clock=clock)


@pytest.fixture
def other_ranker(engine: Engine, clock: FakeClock) -> Callable[[Run], Outcome]:
    """R2, in a container of its own."""
    transactions = Transactions(engine=engine, sleep=clock.sleep)
    return LeaderboardRanker(transactions=transactions, zone=ZoneInfo("UTC"), clock=clock)


@pytest.fixture
def after_reading(transactions: Transactions) -> Callable[[Callable[[], None]], None]:
    """Calls something once, when R1 has read the board and written nothing yet."""

    def once(call: Callable[[], None]) -> None:
        left = [call]

        def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            if "INSERT INTO pg_temp.new_ranks" in statement and left:
                left.pop()()

        event.listen(transactions.engine, "after_cursor_execute", note)

    return once


def claim(engine: Engine) -> None:
    with engine.begin() as connection:
        leaderboards.claim_touches(connection)


def test_s20_a_score_that_was_claimed_by_another_run_is_ranked(
    arcade: Arcade,
    ranker: Callable[[Run], Outcome],
    after_reading: Callable[[Callable[[], None]], None],
    other_ranker: Callable[[Run], Outcome],
    engine: Engine,
) -> None:
    def score_and_claim() -> None:
        arcade.play("0xbest", 99, "2026-01-11T11:00:00Z")
        claim(engine)  # R2, which is busy elsewhere from here on

    after_reading(score_and_claim)
    assert ranker(make_run(SLOT)).status is RunStatus.INCOMPLETE
    assert arcade.ranks()[-1] == ("0xbest", None)
    assert other_ranker(make_run(SLOT)).result["leaderboards_processed"] == 1
    assert arcade.ranks() == [("0xbest", 1), *((f"0x{n}", n + 2) for n in range(5))]


def test_s20_a_run_that_is_killed_after_its_claim_leaves_the_board_to_the_next(
    arcade: Arcade,
    ranker: Callable[[Run], Outcome],
    after_reading: Callable[[Callable[[], None]], None],
    engine: Engine,
) -> None:
    def score_and_die() -> None:
        arcade.play("0xbest", 99, "2026-01-11T11:00:00Z")
        claim(engine)

    after_reading(score_and_die)
    ranker(make_run(SLOT))
    assert ranker(make_run(NEXT_SLOT)).result["leaderboards_processed"] == 1
    assert arcade.ranks()[0] == ("0xbest", 1)


def test_s21_a_board_that_was_taken_over_and_is_still_pending_makes_the_run_incomplete(
    arcade: Arcade,
    ranker: Callable[[Run], Outcome],
    after_reading: Callable[[Callable[[], None]], None],
    engine: Engine,
) -> None:
    def take_over_and_die() -> None:
        with engine.begin() as connection:
            leaderboards.take_board(connection, BOARD)

    after_reading(take_over_and_die)
    outcome = ranker(make_run(SLOT))
    assert (outcome.status, outcome.result["leaderboards_processed"]) == (RunStatus.INCOMPLETE, 0)
    assert ranker(make_run(SLOT)).status is RunStatus.SUCCEEDED  # the retry
    assert arcade.ranks() == [(f"0x{n}", n + 1) for n in range(5)]


def test_s21_a_board_that_was_taken_over_and_finished_is_a_success(
    arcade: Arcade,
    ranker: Callable[[Run], Outcome],
    after_reading: Callable[[Callable[[], None]], None],
    other_ranker: Callable[[Run], Outcome],
) -> None:
    outcomes: list[Outcome] = []
    after_reading(lambda: outcomes.append(other_ranker(make_run(NEXT_SLOT))))
    outcome = ranker(make_run(SLOT))
    assert (outcome.status, outcome.result["leaderboards_processed"]) == (RunStatus.SUCCEEDED, 0)
    assert [each.result["leaderboards_processed"] for each in outcomes] == [1]
    assert arcade.ranks() == [(f"0x{n}", n + 1) for n in range(5)]
