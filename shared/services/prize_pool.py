"""Settle every prize pool whose period has ended (docs/design.md, Settling)."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from shared.db import prize_pool as db
from shared.db.errors import describe, is_connection_lost
from shared.db.prize_pool import Pool, SettledPool, Winner
from shared.domain.periods import ONE_WEEK, Calendar
from shared.domain.run import Outcome, Run
from shared.metrics import Metric
from shared.observability import logger
from shared.services.calendar import read_calendar
from shared.services.results import prize_pool_result
from shared.services.transactions import Transactions

MAX_LOGGED = 20  # entries passed over that the log names, for each pool
POLL_INTERVAL = 1.0  # seconds between two readings of the clock while late scores are waited for


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

        1. List all that is due by the database's calendar, oldest first: a missed slot is made up for by the next.
        2. Wait for late scores.
        3. Settle each pool in a transaction of its own; one that fails does not stop the rest.
        4. Read back what carries this run's id, in whichever attempt it was settled.
        """

        def list_due(connection: Connection) -> tuple[Calendar, list[Pool]]:
            calendar = read_calendar(connection, configured=self.zone, at=run.tick.at)
            today = calendar.local_day(run.tick.at)
            return calendar, db.list_due_pools(connection, today=today, week_ago=today - ONE_WEEK)

        calendar, due = self.transactions.run(list_due, run=run)
        if run.tick.dry_run:
            return self._outcome(run, calendar, [self._preview(pool, run, calendar) for pool in due])
        self._wait_for_late_scores(due, run, calendar)
        settled_here: set[int] = set()
        errors: list[dict[str, Any]] = []
        is_complete = True
        for pool in due:
            if run.must_stop:
                is_complete = False
                break
            try:
                if self._settle(pool, run, calendar):
                    settled_here.add(pool.id)
            except Exception as error:  # S05: the others are settled anyway
                if is_connection_lost(error):
                    raise  # the others would fail too
                logger.exception("pool not settled", extra=pool.to_json())
                errors.append({**pool.to_json(), "error": describe(error)})
        settled = self.transactions.run(partial(db.list_settled_pools, run_id=run.id), run=run)
        return self._outcome(run, calendar, settled, settled_here=settled_here, errors=errors, is_complete=is_complete)

    def _wait_for_late_scores(self, due: list[Pool], run: Run, calendar: Calendar) -> None:
        """Until the last period is over by the wall clock too, and for a scheduled run the grace as well."""
        ends = [end for pool in due if (end := pool.board.period.ends_at(calendar)) is not None]
        grace = self.grace if run.tick.is_scheduled else timedelta()
        while ends and (missing := max(ends) + grace - self.clock()) > timedelta() and not run.must_stop:
            self.sleep(min(missing.total_seconds(), POLL_INTERVAL))

    def _settle(self, pool: Pool, run: Run, calendar: Calendar) -> bool:
        """Settle one pool. False: another delivery or run has."""

        def settle(connection: Connection) -> bool:
            # Three statements, READ COMMITTED: each sees what was committed before it began. Looking before the lock
            # was granted, or on one snapshot for all three, misses the score that committed while we waited (S08).
            if not db.lock_active_pool(connection, pool):
                return False  # S01: another delivery got there first
            winner, passed_over = self._find_winner(connection, pool, calendar)
            if passed_over:
                self._log_passed_over(connection, pool, passed_over)
            db.mark_settled(connection, pool, winner=winner, passed_over=passed_over, now=self.clock(), run_id=run.id)
            return True

        return self.transactions.run(settle, run=run)

    def _preview(self, pool: Pool, run: Run, calendar: Calendar) -> SettledPool:
        """The pool as it would be settled now."""

        def preview(connection: Connection) -> SettledPool:
            winner, passed_over = self._find_winner(connection, pool, calendar)
            return db.get_pool(connection, pool)._replace(
                winner_address=winner.player_address if winner else None,
                winner_score=winner.score if winner else None,
                entries_passed_over=passed_over,
            )

        return self.transactions.run(preview, run=run)

    def _find_winner(self, connection: Connection, pool: Pool, calendar: Calendar) -> tuple[Winner | None, int]:
        """The winner, and how many entries were passed over for it."""
        period = pool.board.period
        ends_at = period.ends_at(calendar)
        if ends_at is None:
            raise ValueError(f"pool {pool.id} has period type {period.type}, which has no end")
        winner = db.find_winner(connection, pool, starts_at=period.starts_at(calendar), ends_at=ends_at)
        # S07: without a winner it is settled too, or it would stay open forever.
        return winner, winner.place - 1 if winner else db.count_entries(connection, pool)

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
        settled_here: Collection[int] = (),
        errors: Collection[dict[str, Any]] = (),
        is_complete: bool = True,
    ) -> Outcome:
        """The result lists what the run settled; the metrics count what this attempt did, so that they add up (S01)."""
        return Outcome(
            result=prize_pool_result(
                settled, list(errors), at=run.tick.at, calendar=calendar, game_types=self.game_types
            ),
            items_processed=len(settled_here),
            items_failed=len(errors),
            is_complete=is_complete,
            metrics={
                Metric.POOLS_WITHOUT_WINNER: sum(
                    pool.winner_address is None and pool.pool.id in settled_here for pool in settled
                )
            },
        )
