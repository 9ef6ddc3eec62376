"""Remove abandoned sessions and orphaned entries (docs/design.md, Cleaning)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from shared.db import cleanup as db
from shared.db.errors import describe, is_connection_lost
from shared.domain.retention import expiry_cutoff
from shared.domain.run import Outcome, OutOfTimeError, Run
from shared.observability import logger
from shared.services.calendar import read_calendar
from shared.services.results import CleanupTally, cleanup_result, merge_cleanup_results
from shared.services.transactions import Transactions

SESSION_BATCH = 5_000  # sessions deleted in one transaction
ORPHAN_WINDOW = 500_000  # entry ids searched by one statement: one pass over both tables, not a probe for each entry
ORPHAN_BATCH = 2_000  # entries deleted in one transaction


@dataclass(frozen=True, kw_only=True)
class Cleaner:
    """The use case, with what it needs.

    Attributes:
        zone: the configured one, which must be the database's.
        session_expiry: the age at which an unfinished session is abandoned, and an entry without a session an orphan.
        clock: the wall clock, aware.
    """

    transactions: Transactions
    zone: ZoneInfo
    session_expiry: timedelta
    clock: Callable[[], datetime]

    def __call__(self, run: Run) -> Outcome:
        """Delete in two steps, each in small transactions; a step that fails does not stop the other.

        1. Sessions that are still `active` after the expiry time.
        2. Entries as old whose session does not exist, those of step 1 among them.

        Tables that are not adopted yet are left alone.
        """
        started_at = self.clock()
        before = expiry_cutoff(run.tick.at, self.session_expiry)
        tally = CleanupTally()
        is_reachable = True

        def begin(connection: Connection) -> None:
            read_calendar(connection, configured=self.zone, at=run.tick.at)
            db.check_touches(connection)

        self.transactions.run(begin, run=run)
        for step, work in (("expired_sessions", self._delete_sessions), ("orphaned_entries", self._delete_orphans)):
            try:
                work(run, before, tally)
            except OutOfTimeError:  # S19
                tally.is_complete = False
            except Exception as error:
                is_reachable = not is_connection_lost(error)
                if tally.deleted == 0 and (tally.errors or not is_reachable):
                    raise  # the other step would fail too, or has: such a run is failed, not partial
                logger.exception("cleanup step failed", extra={"step": step})
                tally.errors.append({"step": step, "error": describe(error)})
                if not is_reachable:
                    break  # what was deleted is reported: no other attempt counts it
        sessions_left = self._count_sessions_left(run, before, tally) if is_reachable else None
        duration_ms = (self.clock() - started_at) // timedelta(milliseconds=1)
        return Outcome(
            result=cleanup_result(tally, sessions_left=sessions_left, duration_ms=duration_ms),
            items_processed=tally.deleted,
            items_failed=len(tally.errors),
            is_complete=tally.is_complete,
            merge=merge_cleanup_results,
        )

    def _delete_sessions(self, run: Run, before: datetime, tally: CleanupTally) -> None:
        if run.tick.dry_run:
            count = partial(db.count_expired_sessions, before=before)
            tally.sessions, tally.amount_usdc = self.transactions.run(count, run=run)
            return
        last = db.FIRST_SESSION
        while True:
            if run.must_stop:  # S12: what was deleted is committed; the next attempt continues
                tally.is_complete = False
                return
            delete = partial(db.delete_expired_sessions, before=before, after=last, most=SESSION_BATCH)
            deleted = self.transactions.run(delete, run=run)
            if deleted.last is None:
                return
            tally.sessions += deleted.sessions
            tally.amount_usdc += deleted.amount_usdc
            last = deleted.last

    def _delete_orphans(self, run: Run, before: datetime, tally: CleanupTally) -> None:
        last_id = self.transactions.run(db.get_last_entry_id, run=run)
        for after_id in range(0, last_id, ORPHAN_WINDOW):
            if run.must_stop:
                tally.is_complete = False
                return
            up_to_id = after_id + ORPHAN_WINDOW
            if run.tick.dry_run:
                count = partial(db.count_future_orphans, before=before, after_id=after_id, up_to_id=up_to_id)
                tally.orphans += self.transactions.run(count, run=run)
                continue
            search = partial(db.list_orphaned_entries, before=before, after_id=after_id, up_to_id=up_to_id)
            orphans = self.transactions.run(search, run=run)
            for start in range(0, len(orphans), ORPHAN_BATCH):
                if run.must_stop:
                    tally.is_complete = False
                    tally.orphans_left += len(orphans) - start
                    return
                batch = orphans[start : start + ORPHAN_BATCH]
                delete = partial(db.delete_orphaned_entries, ids=batch, before=before)
                deleted, left = self.transactions.run(delete, run=run)
                tally.orphans += deleted
                tally.orphans_left += left

    def _count_sessions_left(self, run: Run, before: datetime, tally: CleanupTally) -> int | None:
        """How many expired sessions are left; None, and an error, if they cannot be counted in time (S12)."""
        if run.tick.dry_run:
            return 0
        try:
            left, _ = self.transactions.run(partial(db.count_expired_sessions, before=before), run=run)
        except OutOfTimeError:  # S19
            tally.is_complete = False
            return None
        except Exception as error:  # noqa: BLE001 - what was deleted is reported anyway
            logger.exception("the remaining sessions could not be counted")
            tally.errors.append({"step": "remaining", "error": describe(error)})
            return None
        return left
