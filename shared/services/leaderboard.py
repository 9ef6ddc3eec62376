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
from shared.domain.run import Outcome, OutOfTimeError, Run
from shared.observability import logger
from shared.services.calendar import read_calendar
from shared.services.results import BoardTally, leaderboard_result, merge_leaderboard_results
from shared.services.transactions import Transactions

# Rows in one transaction. Measured on a board of 1M rows: the longest such transaction takes 29 ms.
CHUNK_ROWS = 5_000


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
        with self.transactions.connect(run=run) as connection:  # one throughout: it has the table of new ranks
            return self._rank_all(run, started_at, connection)

    def _rank_all(self, run: Run, started_at: datetime, connection: Connection) -> Outcome:
        def claim(connection: Connection) -> tuple[list[Board], int]:
            read_calendar(connection, configured=self.zone, at=run.tick.at)
            db.claim_touches(connection)
            return db.list_pending_boards(connection), db.count_boards(connection)

        pending, boards = self.transactions.run(claim, run=run, on=connection)
        tallies: list[BoardTally] = []
        taken_over: set[Board] = set()
        errors: list[dict[str, Any]] = []
        is_complete = True
        for board in pending:
            if run.must_stop:
                is_complete = False
                break
            tallies.append(tally := BoardTally(board=board))
            try:
                if not self.transactions.retry(partial(self._rank, tally, run, connection), run=run):
                    taken_over.add(board)
            except OutOfTimeError:
                is_complete = False
                break
            except Exception as error:
                if is_connection_lost(error):
                    raise  # the others would fail too
                logger.exception("leaderboard not ranked", extra=board.to_json())
                errors.append({**board.to_json(), "error": describe(error)})
        if taken_over and is_complete:
            is_complete = not self._is_any_pending(taken_over, run, connection)
        return self._outcome(
            tallies, errors=errors, unchanged=boards - len(pending), is_complete=is_complete, started_at=started_at
        )

    def _rank(self, tally: BoardTally, run: Run, connection: Connection) -> bool:
        """Rank one board. False: another ranker has, or has taken it."""
        board = tally.board
        with connection.begin():
            generation = db.take_board(connection, board)
        if generation is None:
            return False
        with connection.begin():
            db.create_new_ranks(connection)
            db.empty_new_ranks(connection)
            db.read_in_table_order(connection)
            db.compute_new_ranks(connection, board)
        chunk: db.Chunk | None = None
        while chunk is None or not chunk.is_last:
            if run.must_stop:
                raise OutOfTimeError
            with connection.begin():
                # The guard against a ranker that was frozen and woke after another had finished (S04).
                if not db.hold_board(connection, board, generation=generation):
                    logger.info("leaderboard taken over by a newer run", extra=board.to_json())
                    return False
                chunk = db.find_chunk(connection, after=chunk.last if chunk else db.START, most=CHUNK_ROWS)
                written = db.write_new_ranks(connection, chunk)
                if chunk.is_last:
                    db.finish_board(connection, board, now=self.clock())
                else:
                    db.commit_without_waiting(connection)
            tally.entries_updated += written
        tally.is_ranked = True
        return True

    def _is_any_pending(self, boards: set[Board], run: Run, connection: Connection) -> bool:
        """Whether a board is left to this run's retry: the ranker that took it over may have been killed (S21)."""
        try:
            return not boards.isdisjoint(self.transactions.run(db.list_pending_boards, run=run, on=connection))
        except OutOfTimeError:
            return True

    def _preview(self, run: Run, started_at: datetime) -> Outcome:
        def list_touched(connection: Connection) -> list[Board]:
            read_calendar(connection, configured=self.zone, at=run.tick.at)
            return db.list_touched_boards(connection)

        def count(connection: Connection, *, board: Board) -> int:
            db.read_in_table_order(connection)
            return db.count_new_ranks(connection, board)

        touched = self.transactions.run(list_touched, run=run)
        tallies = [
            BoardTally(
                board=board,
                entries_updated=self.transactions.run(partial(count, board=board), run=run),
                is_ranked=True,
            )
            for board in touched
        ]
        boards = self.transactions.run(db.count_boards, run=run)
        return self._outcome(tallies, errors=[], unchanged=max(boards - len(touched), 0), started_at=started_at)

    def _outcome(
        self,
        tallies: list[BoardTally],
        *,
        errors: list[dict[str, Any]],
        unchanged: int,
        is_complete: bool = True,
        started_at: datetime,
    ) -> Outcome:
        duration_ms = (self.clock() - started_at) // timedelta(milliseconds=1)
        result = leaderboard_result(tallies, errors, unchanged=unchanged, duration_ms=duration_ms)
        return Outcome(
            result=result,
            items_processed=result["entries_updated"],
            items_failed=len(errors),
            is_complete=is_complete,
            merge=merge_leaderboard_results,
        )
