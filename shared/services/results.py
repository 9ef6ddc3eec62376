"""The results of the jobs in the shapes of docs/design.md, Contract: JSON-ready, their lists complete."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from shared.domain.board import Board
from shared.domain.periods import Calendar, is_late
from shared.domain.run import Result, take_latest

if TYPE_CHECKING:
    from shared.db.expired_sessions import SessionKey
    from shared.db.prize_pool import Pool, SettledPool

Errors = Sequence[dict[str, Any]]  # each names an item, and its `error` in one line

# What a settlement run reads from the pools that carry its id.
SETTLED = ("pools_finalized", "pools_without_winner", "finalized_pools", "warnings")


def prize_pool_result(
    settled: "Sequence[SettledPool]",
    errors: Errors,
    *,
    still_due: "Sequence[Pool]",
    without_pool: Sequence[Board],
    at: datetime,
    calendar: Calendar,
    game_types: Collection[str],
) -> dict[str, Any]:
    """What a settlement run did.

    Args:
        settled: the pools that carry the run's id.
        errors: the pools that could not be settled.
        still_due: pools that are due after the run, and not among the errors.
        without_pool: boards that were played, whose period has ended without a pool.
        at: the run's scheduled time, against which a pool is late.
        calendar: of all periods.
        game_types: those that are expected.
    """
    return {
        "pools_processed": len(settled) + len(errors),
        "pools_finalized": len(settled),
        "pools_without_winner": sum(pool.winner_address is None for pool in settled),
        "finalized_pools": [
            {
                **pool.pool.to_json(),
                "winner_address": pool.winner_address,
                "winner_score": pool.winner_score,
                # As text it is exact; most readers take a JSON number for floating point.
                "total_amount_usdc": str(pool.total_amount_usdc),
                "total_games": pool.total_games,
                "late": is_late(pool.pool.board.period, at, calendar),
            }
            for pool in settled
        ],
        "warnings": [
            *(
                {**pool.pool.to_json(), "warning": warning}
                for pool in settled
                for warning in _warnings(pool, game_types)
            ),
            *({**pool.to_json(), "warning": "due after the run: opened meanwhile, or hidden"} for pool in still_due),
            *({**board.to_json(), "warning": "played, and ended without a pool"} for board in without_pool),
        ],
        "errors": list(errors),
    }


def merge_prize_pool_results(earlier: Result, latest: Result) -> Result:
    """The result of a run from two attempts of it.

    The pools that carry a run's id only grow in number, and each attempt lists all of them: the longer list is the
    later reading. The errors are those of the latest attempt.
    """
    fuller = max(earlier, latest, key=lambda result: result.get("pools_finalized", 0))
    merged = take_latest(take_latest(earlier, latest), _pick(fuller, SETTLED))
    errors = merged.get("cut", {}).get("errors", len(merged["errors"]))
    return merged | {"pools_processed": merged.get("pools_finalized", 0) + errors}


def _pick(result: Result, names: Collection[str]) -> dict[str, Any]:
    """A part of a result, with the true lengths of its lists."""
    cut = {name: length for name, length in result.get("cut", {}).items() if name in names}
    return {name: result[name] for name in names if name in result} | ({"cut": cut} if cut else {})


def _warnings(settled: "SettledPool", game_types: Collection[str]) -> list[str]:
    """What an operator should look at, though the pool is settled (S07, S09)."""
    warnings = []
    if settled.pool.board.game_type not in game_types:
        warnings.append("the game is not in GAME_TYPES")
    if settled.winner_address is None:
        warnings.append(f"no valid entry: settled without a winner, {settled.total_amount_usdc} USDC kept")
    if settled.entries_passed_over:
        warnings.append(f"entries passed over, not backed by a completed session: {settled.entries_passed_over}")
    return warnings


@dataclass(kw_only=True)
class BoardTally:
    """What a run has done to a board so far.

    Attributes:
        entries_updated: how many of its entries have a new rank.
        is_ranked: False when the run failed, ran out of time or gave way to another in the middle of it.
    """

    board: Board
    entries_updated: int = 0
    is_ranked: bool = False


def leaderboard_result(
    tallies: Sequence[BoardTally], errors: Errors, *, unchanged: int, duration_ms: int
) -> dict[str, Any]:
    """What a ranking run did; a board that it did not finish is listed if it wrote to it, as `"complete": false`.

    Args:
        tallies: of the boards that it took.
        errors: the boards that could not be ranked.
        unchanged: boards that nothing was written to since they were last ranked.
        duration_ms: of the work.
    """
    return {
        "leaderboards_processed": sum(tally.is_ranked for tally in tallies),
        "leaderboards_unchanged": unchanged,
        "entries_updated": sum(tally.entries_updated for tally in tallies),
        "duration_ms": duration_ms,
        "leaderboards": [
            {
                **tally.board.to_json(),
                "entries_updated": tally.entries_updated,
                **({} if tally.is_ranked else {"complete": False}),
            }
            for tally in tallies
            if tally.is_ranked or tally.entries_updated
        ],
        "errors": list(errors),
    }


def merge_leaderboard_results(earlier: Result, latest: Result) -> Result:
    """The result of a run from two attempts of it: boards add up; the rest is of the latest, unless it did nothing.

    A board that a list no longer names, since it was cut, counts as another one when it is ranked again.
    """
    is_idle = not latest.get("leaderboards_processed") and not latest.get("entries_updated") and not latest["errors"]
    if is_idle and not earlier["errors"]:
        return take_latest(latest, earlier)
    boards: dict[tuple[str, str, str], dict[str, Any]] = {}
    unlisted = unlisted_ranked = 0
    for result in (earlier, latest):
        listed = result.get("leaderboards", [])
        unlisted += result.get("cut", {}).get("leaderboards", len(listed)) - len(listed)
        unlisted_ranked += result.get("leaderboards_processed", 0) - _count_ranked(listed)
        for board in listed:
            known = boards.get(key := (board["game_type"], board["period_type"], board["period_date"]))
            updated = board["entries_updated"] + (known["entries_updated"] if known else 0)
            boards[key] = {**board, "entries_updated": updated}
    added = {
        # A board that one attempt began and another finished is ranked once (S18).
        "leaderboards_processed": _count_ranked(boards.values()) + unlisted_ranked,
        "entries_updated": _add("entries_updated", earlier, latest),
        "leaderboards": list(boards.values()),
    }
    cut = {"cut": {"leaderboards": len(boards) + unlisted}} if unlisted else {}
    return take_latest(take_latest(earlier, latest), added | cut)


def _count_ranked(boards: Collection[Mapping[str, Any]]) -> int:
    return sum(board.get("complete", True) for board in boards)


@dataclass(kw_only=True)
class CleanupTally:
    """What a cleanup has done so far; the amount in USDC.

    Attributes:
        unseen_after: the sessions after this key were not looked at; None: all were.
        sessions_left: expired ones that another transaction holds.
        orphans_left: those that another transaction holds, and all of a board whose brake is on.
        are_orphans_known: whether the search for them came to its end.
        is_complete: False when it stopped for lack of time.
    """

    unseen_after: "SessionKey | None"
    sessions: int = 0
    amount_usdc: Decimal = Decimal(0)
    sessions_left: int = 0
    orphans: int = 0
    orphans_left: int = 0
    are_orphans_known: bool = False
    is_complete: bool = True
    errors: list[dict[str, Any]] = field(default_factory=list)

    @property
    def deleted(self) -> int:
        """Rows of both kinds."""
        return self.sessions + self.orphans


def cleanup_result(tally: CleanupTally, *, remaining: int | None, duration_ms: int) -> dict[str, Any]:
    """What a cleanup run did; `remaining` is None when it did not come to see all that there is."""
    return {
        "expired_sessions_deleted": tally.sessions,
        "expired_amount_usdc": str(tally.amount_usdc.quantize(Decimal("0.000001"))),
        "orphaned_entries_deleted": tally.orphans,
        "entries_archived": 0,  # boards are not archived yet: see the README
        "remaining": remaining,
        "duration_ms": duration_ms,
        "errors": tally.errors,
    }


def merge_cleanup_results(earlier: Result, latest: Result) -> Result:
    """The result of a run from two attempts of it: what was deleted adds up; the rest is of the latest."""
    deleted = ("expired_sessions_deleted", "orphaned_entries_deleted", "entries_archived")
    is_idle = not any(latest.get(name) for name in deleted) and not latest["errors"]
    if is_idle and not earlier["errors"] and earlier.get("remaining") == latest.get("remaining"):
        return take_latest(latest, earlier)
    amounts = (Decimal(result.get("expired_amount_usdc", 0)) for result in (earlier, latest))
    return take_latest(earlier, latest) | {
        **{name: _add(name, earlier, latest) for name in deleted},
        "expired_amount_usdc": str(sum(amounts)),
    }


def _add(name: str, earlier: Result, latest: Result) -> int:
    total: int = earlier.get(name, 0) + latest.get(name, 0)
    return total
