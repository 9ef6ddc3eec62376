"""Settle every prize pool whose period has ended (docs/design.md, Settling)."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from shared.db import prize_pool as db
from shared.db.errors import describe, is_connection_lost
from shared.db.prize_pool import Place, Pool, SettledPool
from shared.domain.board import Board
from shared.domain.periods import ONE_WEEK, Calendar
from shared.domain.run import Outcome, OutOfTimeError, Run
from shared.metrics import Metric
from shared.observability import logger
from shared.services.calendar import read_calendar
from shared.services.results import merge_prize_pool_results, prize_pool_result
from shared.services.transactions import Transactions

MAX_LOGGED = 20  # entries passed over that the log names, for each pool
POLL_INTERVAL = 1.0  # seconds between two readings of the clock while late scores are waited for
FIRST_SLICE = 10  # entries of a board in which its winner is nearly always
SLICE = 20_000  # entries at a time behind them: seconds at most, with every session read from the disk

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class PrizePoolSettler:
    """The use case, with what it needs.

    Attributes:
        zone: the configured one, which must be the database's.
        grace: how long after a period's end a scheduled settlement waits, by the wall clock.
        game_types: those that are expected; a pool of another is settled anyway, and reported.
        clock: the wall clock, aware.
        sleep: waits for so many seconds.
    """

    transactions: Transactions
    zone: ZoneInfo
    grace: timedelta
    game_types: Collection[str]
    clock: Callable[[], datetime]
    sleep: Callable[[float], None]

    def __call__(self, run: Run) -> Outcome:
        """Settle what is due at the run's scheduled time.

        1. Read the calendar.
        2. Wait for late scores.
        3. List all that is due, oldest first: a missed slot is made up for by the next.
        4. Settle each pool in a transaction of its own; one that fails does not stop the rest.
        5. Read back what carries this run's id, in whichever attempt it was settled, and what should not be: pools that
           are still due, periods that were played and have no pool.
        """
        read = partial(read_calendar, configured=self.zone, at=run.tick.at)
        calendar = self.transactions.run(read, run=run)
        if not run.tick.dry_run:
            self._wait_for_late_scores(calendar.midnight(calendar.local_day(run.tick.at)), run)
        # One connection for all of it: to check it before each pool would take as long as to settle the pool.
        with self.transactions.connect(run=run) as connection:
            return self._settle_all(run, calendar, connection)

    def _wait_for_late_scores(self, ended_at: datetime, run: Run) -> None:
        """Until the last period that is due is over by the wall clock too, and in a scheduled run the grace as well."""
        grace = self.grace if run.tick.is_scheduled else timedelta()
        while (missing := ended_at + grace - self.clock()) > timedelta() and not run.must_stop:
            self.sleep(min(missing.total_seconds(), POLL_INTERVAL))

    def _settle_all(self, run: Run, calendar: Calendar, connection: Connection) -> Outcome:
        today = calendar.local_day(run.tick.at)

        def list_due(connection: Connection) -> list[Pool]:
            return db.list_due_pools(connection, today=today, week_ago=today - ONE_WEEK)

        def read_back(connection: Connection) -> tuple[list[SettledPool], list[Pool], list[Board]]:
            without_pool = db.list_periods_without_pool(
                connection, today=today, week_ago=today - ONE_WEEK, two_weeks_ago=today - 2 * ONE_WEEK
            )
            return db.list_settled_pools(connection, run_id=run.id), list_due(connection), without_pool

        due = self.transactions.run(list_due, run=run, on=connection)
        previews: list[SettledPool] = []
        settled_here: list[int] = []
        if run.tick.dry_run:
            previews, errors, is_complete = self._for_each(due, partial(self._preview, calendar), run, connection)
        else:
            settled_here, errors, is_complete = self._for_each(due, partial(self._settle, calendar), run, connection)
        settled, still_due, without_pool = self.transactions.run(read_back, run=run, on=connection)
        # An error or a lack of time is reported as such, and retried: this is about what would go unnoticed.
        explained = {error["pool_id"] for error in errors}
        is_quiet = is_complete and not run.tick.dry_run
        return self._outcome(
            run,
            calendar,
            settled + previews,
            settled_here=settled_here,
            errors=errors,
            is_complete=is_complete,
            still_due=[pool for pool in still_due if pool.id not in explained] if is_quiet else [],
            without_pool=without_pool,
        )

    def _for_each(
        self, due: Iterable[Pool], work: Callable[[Pool, Run, Connection], T | None], run: Run, connection: Connection
    ) -> tuple[list[T], list[dict[str, Any]], bool]:
        """Do work for each pool; return what it returned, the errors, and whether the time sufficed for all."""
        done: list[T] = []
        errors: list[dict[str, Any]] = []
        for pool in due:
            if run.must_stop:
                return done, errors, False
            try:
                result = self.transactions.run(partial(work, pool, run), run=run, on=connection)
            except OutOfTimeError:  # S19
                return done, errors, False
            except Exception as error:  # S05: the others are settled anyway. S22: whatever is wrong with this one
                if is_connection_lost(error):
                    raise  # the others would fail too
                logger.exception("pool not settled", extra=pool.to_json())
                errors.append({**pool.to_json(), "error": describe(error)})
            else:
                if result is not None:
                    done.append(result)
        return done, errors, True

    def _settle(self, calendar: Calendar, pool: Pool, run: Run, connection: Connection) -> int | None:
        """Settle one pool; return its id, or None if another delivery or run has settled it."""
        # Three statements, READ COMMITTED: each sees what was committed before it began. Looking before the lock was
        # granted, or on one snapshot for all three, misses the score that committed while we waited (S08).
        if not db.lock_active_pool(connection, pool):
            return None  # S01: another delivery got there first
        winner, passed_over = self._find_winner(connection, pool, calendar)
        if passed_over:
            self._log_passed_over(connection, pool, passed_over)
        db.mark_settled(connection, pool, winner=winner, passed_over=passed_over, now=self.clock(), run_id=run.id)
        return pool.id

    def _preview(
        self,
        calendar: Calendar,
        pool: Pool,
        run: Run,  # noqa: ARG002 - in place of _settle
        connection: Connection,
    ) -> SettledPool:
        """The pool as it would be settled now."""
        winner, passed_over = self._find_winner(connection, pool, calendar)
        return db.get_pool(connection, pool)._replace(
            winner_address=winner.player_address if winner else None,
            winner_score=winner.score if winner else None,
            entries_passed_over=passed_over,
        )

    def _find_winner(self, connection: Connection, pool: Pool, calendar: Calendar) -> tuple[Place | None, int]:
        """The winner, and how many entries were passed over for it.

        S16: the first entry wins nearly always. The board is read on, in slices, only while entries are passed over, so
        that no statement takes longer the more of them there are.
        """
        period = pool.board.period
        ends_at = period.ends_at(calendar)
        if ends_at is None:
            raise ValueError(f"pool {pool.id} has period type {period.type}, which has no end")
        starts_at = period.starts_at(calendar)
        find_winner = partial(db.find_winner, connection, pool, starts_at=starts_at, ends_at=ends_at)
        passed_over, after, most = 0, None, FIRST_SLICE
        while (found := find_winner(most=most, after=after)) is not None:
            if found.is_backed:
                return found, passed_over + found.place - 1
            passed_over += found.place
            if found.place < most:
                break
            after, most = found, SLICE
        return None, passed_over  # S07: it is settled too, or it would stay open forever

    def _log_passed_over(self, connection: Connection, pool: Pool, count: int) -> None:
        """Name the entries that no completed session backs: forged, or their session is gone (S09)."""
        entries = db.list_leading_entries(connection, pool, most=min(count, MAX_LOGGED))
        logger.warning(
            "entries passed over",
            extra={**pool.to_json(), "count": count, "entries": [entry._asdict() for entry in entries]},
        )

    def _outcome(
        self,
        run: Run,
        calendar: Calendar,
        settled: list[SettledPool],
        *,
        settled_here: Sequence[int],
        errors: Sequence[dict[str, Any]],
        is_complete: bool,
        still_due: Sequence[Pool],
        without_pool: Sequence[Board],
    ) -> Outcome:
        """The result lists what the run settled; the metrics count what this attempt did, so that they add up (S01)."""
        here = set(settled_here)
        of_this_attempt = [pool for pool in settled if pool.pool.id in here]
        return Outcome(
            result=prize_pool_result(
                settled,
                errors,
                still_due=still_due,
                without_pool=without_pool,
                at=run.tick.at,
                calendar=calendar,
                game_types=self.game_types,
            ),
            items_processed=len(settled_here),
            items_failed=len(errors),
            is_complete=is_complete,
            metrics={  # S29, S35: what a run may do or leave and succeed, and a person must know of
                Metric.POOLS_WITHOUT_WINNER: sum(pool.winner_address is None for pool in of_this_attempt),
                Metric.ENTRIES_PASSED_OVER: sum(pool.entries_passed_over for pool in of_this_attempt),
                Metric.POOLS_DUE_AFTER_RUN: len(still_due),
                Metric.PERIODS_WITHOUT_POOL: len(without_pool),
            },
            merge=merge_prize_pool_results,
        )
