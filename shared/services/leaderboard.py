"""Rank every leaderboard that was touched since it was last ranked (DESIGN section 2, Ranking)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from shared.db import leaderboard as leaderboards
from shared.db.errors import describe, is_connection_lost
from shared.db.leaderboard import Board
from shared.domain.run import Outcome, Run
from shared.observability import logger
from shared.services.transactions import Transactions

# Rows in one transaction. Measured on a board of 1M rows: the longest such transaction takes 29 ms.
CHUNK_ROWS = 5_000


@dataclass(frozen=True, kw_only=True)
class LeaderboardRanker:
    """The use case, with what it needs.

    Attributes:
        transactions: the database.
        clock: the wall clock, aware.
    """

    transactions: Transactions
    clock: Callable[[], datetime]

    def __call__(self, run: Run) -> Outcome:
        """Rank what was touched, board by board; one that fails stays pending, and does not stop the rest.

        1. Turn touches into pending boards.
        2. Take each pending board: a ranker that had it before can write no more.
        3. Compute its new ranks, and write those that differ in short transactions.
        4. Clear it, unless a newer ranker has taken it.
        """
        started_at = self.clock()
        if run.tick.dry_run:
            return self._foresee(run, started_at)
        self.transactions.run(leaderboards.claim_touches, run=run)
        pending = self.transactions.run(leaderboards.list_pending_boards, run=run)
        ranked: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        is_complete = True
        for board in pending:
            if run.must_stop:
                is_complete = False
                break
            try:
                updated = self.transactions.retry(partial(self._rank, board, run), run=run)
            except OutOfTimeError:
                is_complete = False
                break
            except Exception as error:
                if is_connection_lost(error):
                    raise  # the others would fare no better
                logger.exception("leaderboard not ranked", extra=_named(board))
                errors.append({**_named(board), "error": describe(error)})
            else:
                if updated is not None:
                    ranked.append({**_named(board), "entries_updated": updated})
        known = self.transactions.run(leaderboards.count_boards, run=run)
        return self._report(
            ranked, unchanged=known - len(pending), errors=errors, is_complete=is_complete, started_at=started_at
        )

    def _rank(self, board: Board, run: Run) -> int | None:
        """Rank one board; return how many entries have a new rank, or None if another ranker did or will do it."""
        with self.transactions.connect() as connection:  # one throughout: the new ranks are in a table of its own
            with connection.begin():
                generation = leaderboards.take_board(connection, board)
            if generation is None:
                return None
            with connection.begin():
                leaderboards.create_new_ranks(connection)
                leaderboards.empty_new_ranks(connection)
                leaderboards.compute_new_ranks(connection, board)
            written, after_id = 0, 0
            while True:
                if run.must_stop:
                    raise OutOfTimeError
                with connection.begin():
                    # The guard against a ranker that was frozen and woke after another had finished (S04).
                    if not leaderboards.hold_board(connection, board, generation=generation):
                        logger.info("leaderboard taken over by a newer run", extra=_named(board))
                        return None
                    chunk = leaderboards.write_new_ranks(connection, after_id=after_id, most=CHUNK_ROWS)
                    written, after_id = written + chunk.written, chunk.last_id
                    if chunk.rows < CHUNK_ROWS:
                        leaderboards.finish_board(connection, board, now=self.clock())
                        return written

    def _foresee(self, run: Run, started_at: datetime) -> Outcome:
        touched = self.transactions.run(leaderboards.list_touched_boards, run=run)
        ranked = []
        for board in touched:
            count = self.transactions.run(partial(leaderboards.count_new_ranks, board=board), run=run)
            ranked.append({**_named(board), "entries_updated": count})
        known = self.transactions.run(leaderboards.count_boards, run=run)
        return self._report(
            ranked, unchanged=max(known - len(touched), 0), errors=[], is_complete=True, started_at=started_at
        )

    def _report(
        self,
        ranked: list[dict[str, Any]],
        *,
        unchanged: int,
        errors: list[dict[str, Any]],
        is_complete: bool,
        started_at: datetime,
    ) -> Outcome:
        updated = sum(board["entries_updated"] for board in ranked)
        return Outcome(
            result={
                "leaderboards_processed": len(ranked),
                "leaderboards_unchanged": unchanged,
                "entries_updated": updated,
                "duration_ms": (self.clock() - started_at) // timedelta(milliseconds=1),
                "leaderboards": ranked,
                "errors": errors,
            },
            items_processed=updated,
            items_failed=len(errors),
            is_complete=is_complete,
        )


class OutOfTimeError(Exception):
    """The run has to stop in the middle of a board; it stays pending, and the next attempt ranks it anew."""


def _named(board: Board) -> dict[str, Any]:
    return {
        "game_type": board.game_type,
        "period_type": board.period_type,
        "period_date": board.period_date.isoformat(),
    }
