"""Settle every prize pool whose period has ended (DESIGN section 2, Settling)."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from shared.db import prize_pool as pools
from shared.db.errors import describe, is_connection_lost
from shared.db.prize_pool import Pool, SettledPool
from shared.domain.periods import ONE_WEEK, is_late, local_day
from shared.domain.run import Outcome, Run
from shared.metrics import Metric
from shared.observability import logger
from shared.services.transactions import Transactions

MOST_LOGGED = 20  # entries passed over that are named in the log, for each pool


@dataclass(frozen=True, kw_only=True)
class PrizePoolSettler:
    """The use case, with what it needs.

    Attributes:
        transactions: the database.
        zone: the zone of all periods.
        grace: how long after a period's end a scheduled settlement waits, by the wall clock.
        game_types: the games that are expected; a pool of another is settled all the same, and reported.
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

        1. List all that is due, oldest first: a missed slot is made up for by the next.
        2. Wait for the scores that are on their way.
        3. Settle each pool in a transaction of its own; one that fails does not stop the rest.
        4. Read back what carries this run's id, whatever attempt settled it.
        """
        today = local_day(run.tick.at, self.zone)
        due = self.transactions.run(
            lambda connection: pools.list_due_pools(connection, today=today, week_ago=today - ONE_WEEK), run=run
        )
        if run.tick.dry_run:
            return self._report(
                run, [self._foresee(pool, run) for pool in due], ours=set(), errors=[], is_complete=True
            )
        self._wait_for_scores(due, run)
        ours: set[int] = set()
        errors = []
        is_complete = True
        for pool in due:
            if run.must_stop:
                is_complete = False
                break
            try:
                if self._settle(pool, run):
                    ours.add(pool.id)
            except Exception as error:  # S05: the others are settled all the same
                if is_connection_lost(error):
                    raise  # the others would fare no better
                logger.exception("pool not settled", extra=_named(pool))
                errors.append({**_named(pool), "error": describe(error)})
        settled = self.transactions.run(lambda connection: pools.list_settled_pools(connection, run_id=run.id), run=run)
        return self._report(run, settled, ours=ours, errors=errors, is_complete=is_complete)

    def _wait_for_scores(self, due: list[Pool], run: Run) -> None:
        """Until the last of the periods is over by the wall clock too, and for a scheduled run the grace as well."""
        ends = [end for pool in due if (end := pool.period.ends_at(self.zone)) is not None]
        grace = self.grace if run.tick.is_scheduled else timedelta()
        while ends and (missing := max(ends) + grace - self.clock()) > timedelta() and not run.must_stop:
            self.sleep(min(missing.total_seconds(), 1.0))

    def _settle(self, pool: Pool, run: Run) -> bool:
        """Settle one pool. False: another delivery or run has."""
        starts_at, ends_at = self._bounds(pool)

        def settle(connection: Connection) -> bool:
            # Three statements, READ COMMITTED: each sees what was committed before it began. Looking before the lock
            # was granted, or on one snapshot for all three, misses the score that committed while we waited (S08).
            if not pools.lock_active_pool(connection, pool):
                return False  # S01: another delivery got there first
            winner = pools.find_winner(connection, pool, starts_at=starts_at, ends_at=ends_at)
            # S07: without a winner it is settled too, or it would stay open for ever.
            passed_over = winner.place - 1 if winner else pools.count_entries(connection, pool)
            if passed_over:
                self._report_passed_over(connection, pool, passed_over)
            pools.mark_settled(
                connection, pool, winner=winner, passed_over=passed_over, now=self.clock(), run_id=run.id
            )
            return True

        return self.transactions.run(settle, run=run)

    def _foresee(self, pool: Pool, run: Run) -> SettledPool:
        """The pool as it would be settled now."""
        starts_at, ends_at = self._bounds(pool)

        def foresee(connection: Connection) -> SettledPool:
            winner = pools.find_winner(connection, pool, starts_at=starts_at, ends_at=ends_at)
            return pools.get_totals(connection, pool)._replace(
                winner_address=winner.player_address if winner else None,
                winner_score=winner.score if winner else None,
                entries_passed_over=winner.place - 1 if winner else pools.count_entries(connection, pool),
            )

        return self.transactions.run(foresee, run=run)

    def _bounds(self, pool: Pool) -> tuple[datetime, datetime]:
        ends_at = pool.period.ends_at(self.zone)
        if ends_at is None:
            raise ValueError(f"pool {pool.id} has period type {pool.period.type}, which has no end")
        return pool.period.starts_at(self.zone), ends_at

    def _report_passed_over(self, connection: Connection, pool: Pool, count: int) -> None:
        """Name the entries that no completed session backs: forged, or their session is gone (S09)."""
        entries = pools.list_leading_entries(connection, pool, most=min(count, MOST_LOGGED))
        logger.warning(
            "entries passed over",
            extra={**_named(pool), "count": count, "entries": [entry._asdict() for entry in entries]},
        )

    def _report(
        self,
        run: Run,
        settled: list[SettledPool],
        *,
        ours: set[int],
        errors: list[dict[str, Any]],
        is_complete: bool,
    ) -> Outcome:
        """The result lists what the run settled; the metrics count what this attempt did, so that they add up (S01)."""
        without_winner = [settlement.pool.id for settlement in settled if settlement.winner_address is None]
        return Outcome(
            result={
                "pools_processed": len(settled) + len(errors),
                "pools_finalized": len(settled),
                "pools_without_winner": len(without_winner),
                "finalized_pools": [self._shown(pool, run) for pool in settled],
                "warnings": [warning for pool in settled for warning in self._warnings(pool)],
                "errors": errors,
            },
            items_processed=len(ours),
            items_failed=len(errors),
            is_complete=is_complete,
            metrics={Metric.POOLS_WITHOUT_WINNER: len(ours.intersection(without_winner))},
        )

    def _shown(self, settled: SettledPool, run: Run) -> dict[str, Any]:
        return {
            **_named(settled.pool),
            "winner_address": settled.winner_address,
            "winner_score": settled.winner_score,
            "total_amount_usdc": str(
                settled.total_amount_usdc
            ),  # exact: JSON numbers are floating point to most readers
            "total_games": settled.total_games,
            "late": is_late(settled.pool.period, run.tick.at, self.zone),
        }

    def _warnings(self, settled: SettledPool) -> list[dict[str, Any]]:
        """What an operator should look at, though the pool is settled (S07, S09)."""
        texts = []
        if settled.pool.game_type not in self.game_types:
            texts.append("the game is not in GAME_TYPES")
        if settled.winner_address is None:
            texts.append(f"no valid entry: settled without a winner, {settled.total_amount_usdc} USDC kept")
        if settled.entries_passed_over:
            texts.append(f"entries passed over, not backed by a completed session: {settled.entries_passed_over}")
        return [{**_named(settled.pool), "warning": text} for text in texts]


def _named(pool: Pool) -> dict[str, Any]:
    return {
        "pool_id": pool.id,
        "game_type": pool.game_type,
        "period_type": str(pool.period.type),
        "period_date": pool.period.date.isoformat(),
    }
