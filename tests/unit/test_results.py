"""The result of a run with several attempts: nothing is lost, nothing counts twice (S27)."""

from typing import Any

import pytest

from shared.domain.run import Result, take_latest
from shared.runs.record import count_numbers, cut_to_fit
from shared.services.results import merge_cleanup_results, merge_leaderboard_results, merge_prize_pool_results

FAILED = {"errors": [{"error": "the database is gone"}]}  # of an attempt that an exception ended


def pools(*ids: int, errors: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "pools_processed": len(ids) + errors,
        "pools_finalized": len(ids),
        "pools_without_winner": len(ids),
        "finalized_pools": [{"pool_id": number} for number in ids],
        "warnings": [{"pool_id": number, "warning": "no valid entry"} for number in ids],
        "errors": [{"error": str(number)} for number in range(errors)],
        **more,
    }


def boards(updated: dict[str, int], *, unchanged: int = 5, errors: int = 0, ms: int = 7) -> dict[str, Any]:
    return {
        "leaderboards_processed": len(updated),
        "leaderboards_unchanged": unchanged,
        "entries_updated": sum(updated.values()),
        "duration_ms": ms,
        "leaderboards": [
            {"game_type": game, "period_type": "daily", "period_date": "2026-01-11", "entries_updated": count}
            for game, count in updated.items()
        ],
        "errors": [{"error": str(number)} for number in range(errors)],
    }


def cleaned(sessions: int, amount: str, orphans: int = 0, *, left: int | None = 0, errors: int = 0) -> dict[str, Any]:
    return {
        "expired_sessions_deleted": sessions,
        "expired_amount_usdc": amount,
        "orphaned_entries_deleted": orphans,
        "entries_archived": 0,
        "remaining": left,
        "duration_ms": sessions,
        "errors": [{"error": str(number)} for number in range(errors)],
    }


def test_of_two_lists_of_pools_the_longer_one_is_the_truth_and_the_errors_are_the_latest() -> None:
    short, long = pools(1, errors=2), pools(1, 2)
    assert merge_prize_pool_results(short, long) == long
    assert merge_prize_pool_results(long, short) == long | {"pools_processed": 4, "errors": short["errors"]}
    assert merge_prize_pool_results(long, pools(1, 2)) == long


def test_a_list_of_pools_that_was_cut_keeps_its_true_length_and_gives_way_to_a_longer_one() -> None:
    whole = pools(*range(100))
    stored = cut_to_fit(whole, max_bytes=2000)
    assert stored["cut"] == {"finalized_pools": 100, "warnings": 100}
    assert merge_prize_pool_results(stored, whole) == stored
    assert merge_prize_pool_results(stored, pools(1)) == stored
    assert merge_prize_pool_results(pools(1), stored) == stored
    longer = pools(*range(101))
    assert merge_prize_pool_results(stored, longer) == longer


def test_a_cut_list_of_errors_goes_with_the_errors() -> None:
    cut = cut_to_fit(pools(1, errors=100), max_bytes=500)
    assert cut["cut"] == {"errors": 100}
    assert count_numbers(cut)["errors"] == 100
    assert merge_prize_pool_results(pools(1, 2), cut) == pools(1, 2) | {
        "pools_processed": 102, "errors": cut["errors"], "cut": {"errors": 100}
    }  # fmt: skip
    assert merge_prize_pool_results(cut, pools(1)) == pools(1)


def test_boards_add_up_and_the_rest_is_the_latest() -> None:
    merged = merge_leaderboard_results(
        boards({"pong": 3, "snake": 4}, errors=1), boards({"snake": 1, "tetris": 2}, unchanged=9, ms=8)
    )
    assert merged == boards({"pong": 3, "snake": 5, "tetris": 2}, unchanged=9, ms=8)


@pytest.mark.parametrize("errors", [(0, 1), (1, 0), (1, 1)])
def test_errors_of_boards_are_the_latest(errors: tuple[int, int]) -> None:
    earlier, latest = boards({"pong": 1}, errors=errors[0]), boards({}, errors=errors[1])
    assert merge_leaderboard_results(earlier, latest) == boards({"pong": 1}, errors=errors[1])


def test_the_totals_of_boards_stay_true_when_the_list_was_cut() -> None:
    stored = cut_to_fit(boards({f"game{n}": 2 for n in range(100)}), max_bytes=3000)
    kept = len(stored["leaderboards"])
    assert (stored["cut"], kept < 100) == ({"leaderboards": 100}, True)
    merged = merge_leaderboard_results(stored, boards({"game0": 1, "pong": 1}))
    assert (merged["leaderboards_processed"], merged["entries_updated"]) == (101, 202)
    assert (merged["cut"], len(merged["leaderboards"])) == ({"leaderboards": 101}, kept + 1)
    assert cut_to_fit(merged, max_bytes=2000)["cut"] == {"leaderboards": 101}


def unfinished(updated: int) -> dict[str, Any]:
    """Of an attempt that stopped in the middle of the board of pong."""
    result = boards({"pong": updated})
    return result | {"leaderboards_processed": 0, "leaderboards": [result["leaderboards"][0] | {"complete": False}]}


def test_a_board_that_one_attempt_began_and_another_finished_is_one_board() -> None:
    assert merge_leaderboard_results(unfinished(5000), boards({"pong": 7})) == boards({"pong": 5007})
    assert merge_leaderboard_results(unfinished(5000), boards({"pong": 0})) == boards({"pong": 5000})
    both = merge_leaderboard_results(unfinished(5000), boards({"pong": 7, "snake": 1}))
    assert both == boards({"pong": 5007, "snake": 1})


def test_what_several_attempts_wrote_to_a_board_that_none_finished_adds_up() -> None:
    assert merge_leaderboard_results(unfinished(5000), unfinished(3000)) == unfinished(8000)


def test_a_list_of_boards_that_was_cut_counts_neither_more_nor_fewer_than_there_are() -> None:
    stored = cut_to_fit(boards({f"game{n}": 2 for n in range(100)}), max_bytes=3000)
    merged = merge_leaderboard_results(stored, unfinished(3))
    assert (merged["leaderboards_processed"], merged["cut"]) == (100, {"leaderboards": 101})
    merged = merge_leaderboard_results(merged, boards({"pong": 1}))
    assert (merged["leaderboards_processed"], merged["cut"]) == (101, {"leaderboards": 101})


@pytest.mark.parametrize(
    ("merge", "idle"),
    [(merge_leaderboard_results, boards({})), (merge_cleanup_results, cleaned(0, "0.000000", left=None))],
)
def test_after_an_attempt_that_had_no_time_at_all_a_result_has_its_shape(merge: Any, idle: dict[str, Any]) -> None:
    assert merge({"errors": []}, idle) == idle


def test_what_was_cleaned_adds_up_and_the_rest_is_the_latest() -> None:
    merged = merge_cleanup_results(cleaned(2, "0.020000", 1, left=9, errors=1), cleaned(3, "0.013333", 4, left=None))
    assert merged == cleaned(5, "0.033333", 5, left=None) | {"duration_ms": 3}


@pytest.mark.parametrize(
    ("merge", "earlier", "idle"),
    [
        (merge_prize_pool_results, pools(1), pools(1)),
        (merge_leaderboard_results, boards({"pong": 3}), boards({}, unchanged=6, ms=1)),
        (merge_cleanup_results, cleaned(2, "0.020000", left=3), cleaned(0, "0.000000", left=3)),
        (take_latest, {"boards": 3, "errors": []}, {"boards": 3, "errors": []}),
    ],
)
def test_an_attempt_that_did_nothing_changes_nothing(merge: Any, earlier: Result, idle: Result) -> None:
    assert merge(earlier, idle) == earlier


def test_fewer_rows_that_remain_are_news() -> None:
    merged = merge_cleanup_results(cleaned(2, "0.020000", left=3), cleaned(0, "0.000000", left=0))
    assert (merged["remaining"], merged["expired_sessions_deleted"]) == (0, 2)


@pytest.mark.parametrize(
    ("merge", "done"),
    [
        (merge_prize_pool_results, pools(1)),
        (merge_leaderboard_results, boards({"pong": 3})),
        (merge_cleanup_results, cleaned(2, "0.020000")),
    ],
)
def test_an_attempt_that_an_exception_ended_takes_nothing_away(merge: Any, done: dict[str, Any]) -> None:
    assert take_latest(done, FAILED) == done | FAILED
    after_the_failure = merge(FAILED, done)
    assert {name: after_the_failure[name] for name in done} == done
    before_it = merge(done, FAILED)
    assert before_it["errors"] == FAILED["errors"]
    assert {name: before_it[name] for name in done if name not in {"errors", "pools_processed"}} == {
        name: done[name] for name in done if name not in {"errors", "pools_processed"}
    }
