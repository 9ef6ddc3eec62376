"""The results of the jobs in the shapes of docs/design.md, Contract: JSON-ready, their lists complete."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from shared.db.cleanup import FIRST_SESSION, SessionKey
from shared.db.prize_pool import SettledPool
from shared.domain.board import Board
from shared.domain.periods import is_late

Errors = Sequence[dict[str, Any]]  # each names an item, and its `error` in one line


def prize_pool_result(
    settled: Sequence[SettledPool], errors: Errors, *, at: datetime, zone: ZoneInfo, game_types: Collection[str]
) -> dict[str, Any]:
    """What a settlement run did.

    Args:
        settled: the pools that carry the run's id.
        errors: the pools that could not be settled.
        at: the run's scheduled time, against which a pool is late.
        zone: of all periods.
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
                "late": is_late(pool.pool.board.period, at, zone),
            }
            for pool in settled
        ],
        "warnings": [
            {**pool.pool.to_json(), "warning": warning} for pool in settled for warning in _warnings(pool, game_types)
        ],
        "errors": list(errors),
    }


def _warnings(settled: SettledPool, game_types: Collection[str]) -> list[str]:
    """What an operator should look at, though the pool is settled (S07, S09)."""
    warnings = []
    if settled.pool.board.game_type not in game_types:
        warnings.append("the game is not in GAME_TYPES")
    if settled.winner_address is None:
        warnings.append(f"no valid entry: settled without a winner, {settled.total_amount_usdc} USDC kept")
    if settled.entries_passed_over:
        warnings.append(f"entries passed over, not backed by a completed session: {settled.entries_passed_over}")
    return warnings


def leaderboard_result(
    ranked: Sequence[tuple[Board, int]], errors: Errors, *, unchanged: int, duration_ms: int
) -> dict[str, Any]:
    """What a ranking run did.

    Args:
        ranked: boards, and how many of their entries have a new rank.
        errors: the boards that could not be ranked.
        unchanged: boards that nothing was written to since they were last ranked.
        duration_ms: of the work.
    """
    return {
        "leaderboards_processed": len(ranked),
        "leaderboards_unchanged": unchanged,
        "entries_updated": sum(updated for _, updated in ranked),
        "duration_ms": duration_ms,
        "leaderboards": [{**board.to_json(), "entries_updated": updated} for board, updated in ranked],
        "errors": list(errors),
    }


@dataclass(kw_only=True)
class CleanupTally:
    """What a cleanup has done so far; the amount in USDC.

    Attributes:
        sessions_left: expired ones that another transaction holds.
        unseen_after: the sessions after this key were not looked at; None: all were.
        orphans_left: those that another transaction holds, and all of a board whose brake is on.
        are_orphans_known: whether the search for them came to its end.
        is_complete: False when it stopped for lack of time.
    """

    sessions: int = 0
    amount_usdc: Decimal = Decimal(0)
    sessions_left: int = 0
    unseen_after: SessionKey | None = FIRST_SESSION
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
