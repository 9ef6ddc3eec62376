"""Rank every leaderboard that was touched since it was last ranked (docs/design.md, Ranking)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from shared.db import leaderboard as db
from shared.db.errors import describe, is_connection_lost
from shared.domain.board import Board
from shared.domain.run import Outcome, Run
from shared.observability import logger
from shared.services.calendar import read_calendar
from shared.services.results import leaderboard_result
from shared.services.transactions import Transactions

# Rows in one transaction. Measured on a board of 1M rows: the longest such transaction takes 29 ms.
CHUNK_ROWS = 5_000


class OutOfTimeError(Exception):
    """The run has to stop in the middle of a board; it stays pending, and the next attempt ranks it again."""


@dataclass(frozen=True, kw_only=True)
class LeaderboardRanker:
    """The use case, with what it needs.

    Attributes:
        zone: the configured one, which must be the database's.
        clock: the wall clock, aware.
    """

    transactions: Transactions
    zone: ZoneInfo
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
            return self._preview(run, started_at)

        def claim(connection: Connection) -> None:
            read_calendar(connection, configured=self.zone, at=run.tick.at)
            db.claim_touches(connection)

        self.transactions.run(claim, run=run)
        pending = self.transactions.run(db.list_pending_boards, run=run)
        ranked: list[tuple[Board, int]] = []
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
                    raise  # the others would fail too
                logger.exception("leaderboard not ranked", extra=board.to_json())
                errors.append({**board.to_json(), "error": describe(error)})
            else:
                if updated is not None:
                    ranked.append((board, updated))
        boards = self.transactions.run(db.count_boards, run=run)
        return self._outcome(
            ranked, errors=errors, unchanged=boards - len(pending), is_complete=is_complete, started_at=started_at
        )

    def _rank(self, board: Board, run: Run) -> int | None:
        """Rank one board; return how many entries have a new rank, or None if another ranker did or will do it."""
        with self.transactions.connect() as connection:  # one throughout: the new ranks are in a table of its own
            with connection.begin():
                generation = db.take_board(connection, board)
            if generation is None:
                return None
            with connection.begin():
                db.create_new_ranks(connection)
                db.empty_new_ranks(connection)
                db.compute_new_ranks(connection, board)
            written, after_id = 0, 0
            while True:
                if run.must_stop:
                    raise OutOfTimeError
                with connection.begin():
                    # The guard against a ranker that was frozen and woke after another had finished (S04).
                    if not db.hold_board(connection, board, generation=generation):
                        logger.info("leaderboard taken over by a newer run", extra=board.to_json())
                        return None
                    chunk = db.write_new_ranks(connection, after_id=after_id, most=CHUNK_ROWS)
                    written, after_id = written + chunk.written, chunk.last_id
                    if chunk.rows < CHUNK_ROWS:
                        db.finish_board(connection, board, now=self.clock())
                        return written

    def _preview(self, run: Run, started_at: datetime) -> Outcome:
        def list_touched(connection: Connection) -> list[Board]:
            read_calendar(connection, configured=self.zone, at=run.tick.at)
            return db.list_touched_boards(connection)

        touched = self.transactions.run(list_touched, run=run)
        ranked = [
            (board, self.transactions.run(partial(db.count_new_ranks, board=board), run=run)) for board in touched
        ]
        boards = self.transactions.run(db.count_boards, run=run)
        return self._outcome(ranked, errors=[], unchanged=max(boards - len(touched), 0), started_at=started_at)

    def _outcome(
        self,
        ranked: list[tuple[Board, int]],
        *,
        errors: list[dict[str, Any]],
        unchanged: int,
        is_complete: bool = True,
        started_at: datetime,
    ) -> Outcome:
        duration_ms = (self.clock() - started_at) // timedelta(milliseconds=1)
        return Outcome(
            result=leaderboard_result(ranked, errors, unchanged=unchanged, duration_ms=duration_ms),
            items_processed=sum(updated for _, updated in ranked),
            items_failed=len(errors),
            is_complete=is_complete,
        )
