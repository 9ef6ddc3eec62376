"""Transactions for the services, retried when the error is a transient one (docs/design.md, Runs)."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from sqlalchemy import Connection, Engine

from shared.db.connection import within
from shared.db.errors import describe, is_canceled, is_transient
from shared.domain.run import OutOfTimeError, Run
from shared.observability import logger

FIRST_DELAY = 0.1  # seconds
LONGEST_DELAY = 5.0  # seconds
RETRY_BUDGET = (
    45.0  # seconds of pauses in all: an Aurora that scaled to zero resumes in about 15, a failover takes some 30
)

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Transactions:
    """How a service reaches the database.

    Attributes:
        engine: of one connection; transactions of one container follow each other.
        sleep: waits for so many seconds.
        chance: a number from 0 to 1: the jitter that spreads those who collided.
    """

    engine: Engine
    sleep: Callable[[float], None]
    chance: Callable[[], float] = random.random

    @contextmanager
    def connect(self, *, run: Run) -> Iterator[Connection]:
        """The connection, held for many transactions. If it is lost, the next transaction opens it again."""
        with within(run.time_left), self.retry(self.engine.connect, run=run) as connection:
            yield connection

    def run(self, work: Callable[[Connection], T], *, run: Run, on: Connection | None = None) -> T:
        """Do work in a transaction of its own, and again if it is retried: it must be safe to repeat.

        Args:
            work: what is done.
            run: for how long.
            on: a connection that is held, for one that is not checked again before each transaction, which takes as
                many round trips as a statement. None: one is taken, and checked.
        """

        def attempt() -> T:
            if on is not None:
                with on.begin():
                    return work(on)
            with within(run.time_left), self.engine.connect() as connection, connection.begin():
                return work(connection)

        return self.retry(attempt, run=run)

    def retry(self, attempt: Callable[[], T], *, run: Run) -> T:
        """Call until it succeeds, with back-off and jitter, while the error is a transient one and there is time.

        Serialization failures, deadlocks and lost connections are transient (`shared.db.errors`); nothing else is.

        Raises:
            OutOfTimeError: a statement was canceled because the invocation is about to end.
        """
        waited, delay = 0.0, FIRST_DELAY
        while True:
            try:
                return attempt()
            except Exception as error:
                if is_canceled(error) and run.must_stop:  # S19: by the limit that the time left has set
                    raise OutOfTimeError from error
                pause = delay * (1 + self.chance()) / 2  # half of it certain: the budget is counted in what was waited
                # S15: bounded in all, and by the invocation.
                has_time = waited < RETRY_BUDGET and not run.must_stop_after(timedelta(seconds=pause))
                if not is_transient(error) or not has_time:
                    raise
                logger.warning("retrying", extra={"error": describe(error), "pause_ms": round(pause * 1000)})
                self.sleep(pause)
                waited += pause
                delay = min(delay * 2, LONGEST_DELAY)
