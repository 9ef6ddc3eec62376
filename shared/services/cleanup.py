"""Remove abandoned sessions and orphaned entries (docs/design.md, Cleaning)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from shared.db import orphaned_entries as db
from shared.db.batches import is_committed
from shared.db.errors import describe, is_connection_lost
from shared.db.expired_sessions import (
    FIRST_SESSION,
    DeletedSessions,
    count_expired_sessions,
    delete_expired_sessions,
)
from shared.domain.board import Board
from shared.domain.periods import PeriodType
from shared.domain.retention import ORPHANS_ALWAYS_REMOVED, expiry_cutoff, is_purge
from shared.domain.run import Outcome, OutOfTimeError, Run
from shared.observability import logger
from shared.services.calendar import read_calendar
from shared.services.results import CleanupTally, cleanup_result, merge_cleanup_results
from shared.services.transactions import Transactions

SESSION_BATCH = 10_000  # sessions deleted in one transaction
NOTICE_BATCH = 5_000  # deleted sessions whose entries are searched in one transaction
SWEEP_BATCH = 5_000  # entries read by one statement
SWEEP_BATCHES = 2  # of one night
ORPHAN_BATCH = 2_000  # entries deleted in one transaction

Deleted = TypeVar("Deleted", bound=DeletedSessions | db.DeletedOrphans | None)
Error = dict[str, Any]  # names a step or a board, and its `error` in one line


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What one night's part of the sweep has read.

    Attributes:
        boards: of each the number of its entries, and the ids of those without a session.
        last_id: of the last entry; None: the sweep is at its end, and begins again.
        candidates: of every board that has any, when the part was read.
        purged: the error of each board of which too many entries lost their session.
    """

    boards: dict[Board, tuple[int, list[int]]]
    last_id: int | None
    candidates: list[db.Candidates]
    purged: dict[Board, Error]


@dataclass(frozen=True, kw_only=True)
class Cleaner:
    """The use case, with what it needs.

    Attributes:
        zone: the configured one, which must be the database's.
        session_expiry: the age at which an unfinished session is abandoned, and an entry without a session an orphan.
        orphan_limit_percent: the share of a board's entries from which on orphans are not removed.
        clock: the wall clock, aware.
    """

    transactions: Transactions
    zone: ZoneInfo
    session_expiry: timedelta
    orphan_limit_percent: int
    clock: Callable[[], datetime]

    def __call__(self, run: Run) -> Outcome:
        """Delete in two steps, each in small transactions; a step that fails does not stop the other.

        1. Entries that are as old as the expiry time and whose session does not exist.
        2. Sessions that are still `active` after the expiry time. There may be a million; no entry needs one.

        Tables that are not adopted yet are left alone.
        """
        started_at = self.clock()
        before = expiry_cutoff(run.tick.at, self.session_expiry)
        tally = CleanupTally(unseen_after=FIRST_SESSION)
        has_failed, is_reachable = False, True
        has_notices = self.transactions.run(partial(self._begin, run=run), run=run)
        delete_orphans = partial(self._delete_orphans, has_notices=has_notices)
        for step, work in (("orphaned_entries", delete_orphans), ("expired_sessions", self._delete_sessions)):
            try:
                work(run, before, tally)
            except OutOfTimeError:  # S12: what was deleted is committed; the next attempt continues
                tally.is_complete = False
                break
            except Exception as error:
                is_reachable = not is_connection_lost(error)
                if tally.deleted == 0 and (has_failed or not is_reachable):
                    raise  # the other step would fail too, or has: such a run is failed, not partial
                has_failed = True
                logger.exception("cleanup step failed", extra={"step": step})
                tally.errors.append({"step": step, "error": describe(error)})
                if not is_reachable:
                    break  # what was deleted is reported: no other attempt counts it
        remaining = self._count_remaining(run, before, tally) if is_reachable else None
        duration_ms = (self.clock() - started_at) // timedelta(milliseconds=1)
        return Outcome(
            result=cleanup_result(tally, remaining=remaining, duration_ms=duration_ms),
            items_processed=tally.deleted,
            items_failed=len(tally.errors),
            is_complete=tally.is_complete,
            merge=merge_cleanup_results,
        )

    def _begin(self, connection: Connection, *, run: Run) -> bool:
        read_calendar(connection, configured=self.zone, at=run.tick.at)
        return db.has_notices(connection)

    def _delete_sessions(self, run: Run, before: datetime, tally: CleanupTally) -> None:
        if run.tick.dry_run:
            count = partial(count_expired_sessions, before=before)
            tally.sessions, tally.amount_usdc = self.transactions.run(count, run=run)
            tally.unseen_after = None
        while tally.unseen_after is not None:
            _stop_if_short_of_time(run)
            delete = partial(delete_expired_sessions, before=before, after=tally.unseen_after, most=SESSION_BATCH)
            deleted = self._delete_once(delete, run)
            tally.sessions += deleted.deleted
            tally.amount_usdc += deleted.amount_usdc
            tally.sessions_left += deleted.left
            tally.unseen_after = deleted.last

    def _delete_once(self, delete: Callable[[Connection], Deleted], run: Run) -> Deleted:
        """Delete a batch; one whose commit was not confirmed is counted if it was done all the same (S15)."""
        unconfirmed: list[Deleted] = []

        def attempt(connection: Connection) -> Deleted:
            for earlier in unconfirmed:
                if earlier is not None and earlier.transaction and is_committed(connection, earlier.transaction):
                    return earlier
            unconfirmed.append(deleted := delete(connection))
            return deleted

        return self.transactions.run(attempt, run=run)

    def _delete_orphans(self, run: Run, before: datetime, tally: CleanupTally, *, has_notices: bool) -> None:
        """Remove the entries of deleted sessions, and those that the sweep finds (S17).

        1. Take the notices of deleted sessions: their entries become candidates.
        2. Sweep some more entries: those without a session become candidates too.
        3. Remove the candidates of each board, if they are orphans still and not so many that it is a mistake (S28).
        """
        if run.tick.dry_run:
            self._preview_orphans(run, before, tally)
        else:
            if has_notices:
                self._take_notices(run)
            for sweep in self._sweep(run):  # noqa: B007 - the last one counts; all of them may be too many to keep
                pass
            purged = sweep.purged
            for board, candidates, is_settled in sweep.candidates:
                if is_settled:
                    self.transactions.run(partial(db.drop_candidates, board=board), run=run)
                elif (candidates <= ORPHANS_ALWAYS_REMOVED and board not in purged) or run.tick.accept_orphans:
                    self._clean_board(run, before, tally, board, candidates)
                else:
                    orphans = self._count_orphans(run, before, board)
                    error = self._brake(run, board, orphans) or purged.get(board)
                    if error is None:
                        self._clean_board(run, before, tally, board, orphans)
                    else:
                        tally.errors.append(error)
                        tally.orphans_left += orphans
        tally.are_orphans_known = True

    def _take_notices(self, run: Run) -> None:
        after_id: int | None = db.BEFORE_ALL_IDS
        while after_id is not None:
            _stop_if_short_of_time(run)
            take = partial(db.take_notices, after_id=after_id, most=NOTICE_BATCH)
            after_id = self.transactions.run(take, run=run)

    def _sweep(self, run: Run) -> Iterator[Sweep]:
        """Sweep one night's part, or part after part to the end if orphans are accepted."""
        part: Sweep | None = None
        while part is None or (run.tick.accept_orphans and part.last_id is not None):
            part = self.transactions.run(partial(self._sweep_part, run=run, before=part), run=run)
            yield part

    def _sweep_part(self, connection: Connection, *, run: Run, before: Sweep | None) -> Sweep:
        began_after = last_id = before.last_id if before else db.get_sweep(connection)
        boards: dict[Board, tuple[int, list[int]]] = {}
        for _ in range(SWEEP_BATCHES):
            _stop_if_short_of_time(run)
            batch = db.sweep_entries(connection, after_id=last_id, most=SWEEP_BATCH)
            for board, entries, orphans in batch.boards:
                entries_before, orphans_before = boards.get(board, (0, []))
                boards[board] = (entries_before + entries, orphans_before + orphans)
            last_id = batch.last_id
            if last_id is None:
                break
        if not run.tick.dry_run:
            for board, (_, orphans) in boards.items():
                if orphans:
                    db.add_candidates(connection, board, orphans)
        purged = self._find_purged(connection, run, boards)
        # S28: the next part may have too few of the board to brake, and it would go little by little.
        if last_id != began_after and not run.tick.dry_run and not purged:
            db.set_sweep(connection, last_id)
        return Sweep(boards=boards, last_id=last_id, candidates=db.list_candidates(connection), purged=purged)

    def _find_purged(
        self, connection: Connection, run: Run, boards: dict[Board, tuple[int, list[int]]]
    ) -> dict[Board, Error]:
        purged = {}
        for board, (entries, ids) in boards.items():
            orphans = len(ids)
            # S28: a part that many boards share has few entries of each: more of such a board is read.
            if 0 < orphans <= ORPHANS_ALWAYS_REMOVED and orphans * 100 > entries * self.orphan_limit_percent:
                orphans, entries = db.sample_board(connection, board, most=SWEEP_BATCH)  # noqa: PLW2901
            if self._is_purge(run, orphans, entries=entries):
                purged[board] = _purge_error(board, orphans, f"{entries:,} entries read")
        return purged

    def _is_purge(self, run: Run, orphans: int, *, entries: int) -> bool:
        return not run.tick.accept_orphans and is_purge(
            orphans, entries=entries, limit_percent=self.orphan_limit_percent
        )

    def _clean_board(self, run: Run, before: datetime, tally: CleanupTally, board: Board, most: int) -> None:
        """Remove a board's orphans, at most so many: what another run adds meanwhile was not counted for the brake."""
        after_id: int | None = db.BEFORE_ALL_IDS
        while after_id is not None and most > 0:
            _stop_if_short_of_time(run)
            delete = partial(_delete_batch, board=board, before=before, after_id=after_id, most=min(most, ORPHAN_BATCH))
            deleted = self._delete_once(delete, run)
            if deleted is None:
                tally.orphans_left += most
                return
            tally.orphans += deleted.deleted
            tally.orphans_left += deleted.left
            most -= deleted.deleted + deleted.left
            after_id = deleted.last_id

    def _count_orphans(self, run: Run, before: datetime, board: Board) -> int:
        orphans = 0
        after_id: int | None = db.BEFORE_ALL_IDS
        while after_id is not None:
            _stop_if_short_of_time(run)
            count = partial(db.count_orphans, board=board, before=before, after_id=after_id, most=ORPHAN_BATCH)
            found, after_id = self.transactions.run(count, run=run)
            orphans += found
        return orphans

    def _brake(self, run: Run, board: Board, orphans: int) -> Error | None:
        """The error of a board that has too many orphans to remove any (S28)."""
        limit = self.orphan_limit_percent
        # So many entries that the brake is off need not be counted to the end: the cost is that of the orphans.
        enough = orphans * 100 // limit + 1 if limit else None
        entries = self.transactions.run(partial(db.count_entries, board=board, most=enough), run=run)
        is_on = self._is_purge(run, orphans, entries=entries)
        return _purge_error(board, orphans, f"{entries:,} entries") if is_on else None

    def _preview_orphans(self, run: Run, before: datetime, tally: CleanupTally) -> None:
        parts = list(self._sweep(run))
        purged = parts[-1].purged  # of one part, unless orphans are accepted
        swept = [entry_id for part in parts for _, orphans in part.boards.values() for entry_id in orphans]
        preview = partial(db.preview_orphans, before=before, swept=swept)
        for board, orphans in self.transactions.run(preview, run=run):
            error = self._brake(run, board, orphans) or purged.get(board)
            if error is None:
                tally.orphans += orphans
            else:
                tally.errors.append(error)
                tally.orphans_left += orphans

    def _count_remaining(self, run: Run, before: datetime, tally: CleanupTally) -> int | None:
        """How much is left that should have gone; None if that is not known, with an error if it cannot be counted."""
        if not tally.are_orphans_known:
            return None
        unseen = 0
        if tally.unseen_after is not None:
            count = partial(count_expired_sessions, before=before, after=tally.unseen_after)
            try:
                unseen, _ = self.transactions.run(count, run=run)
            except OutOfTimeError:
                tally.is_complete = False
                return None
            except Exception as error:  # noqa: BLE001 - what was deleted is reported anyway
                logger.exception("the remaining sessions could not be counted")
                tally.errors.append({"step": "remaining", "error": describe(error)})
                return None
            tally.is_complete = tally.is_complete or unseen == 0  # it stopped where nothing was left to do
        return unseen + tally.sessions_left + tally.orphans_left


def _delete_batch(
    connection: Connection, board: Board, *, before: datetime, after_id: int, most: int
) -> db.DeletedOrphans | None:
    """Delete a batch of a board's orphans; None if its pool is settled, or is being settled."""
    if not db.hold_open_board(connection, board):
        return None
    return db.delete_orphans(connection, board, before=before, after_id=after_id, most=most)


def _stop_if_short_of_time(run: Run) -> None:
    if run.must_stop:
        raise OutOfTimeError


def _purge_error(board: Board, orphans: int, entries: str) -> Error:
    period = board.period
    day = "" if period.type is PeriodType.ALLTIME else f" {period.date}"
    return {
        **board.to_json(),
        "error": f"{orphans:,} of {entries} of {period.type}{day} {board.game_type} lost their session:"
        ' were sessions purged? to remove them: {"accept_orphans": true} in a manual event',
    }
