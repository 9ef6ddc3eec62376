"""Transactions for the services, retried when the error is a transient one (docs/design.md, Runs)."""

import random
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection, Engine

from shared.db.errors import describe, is_transient
from shared.domain.run import Run
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

    def connect(self) -> AbstractContextManager[Connection]:
        """The connection, for work that needs the same one in several transactions."""
        return self.engine.connect()

    def run(self, work: Callable[[Connection], T], *, run: Run, on: Connection | None = None) -> T:
        """Do work in a transaction of its own, and again if it is retried: it must be safe to repeat.

        Args:
            work: what is done.
            run: for how long.
            on: a connection that is held: it is not checked again before each transaction, which takes as many round
                trips as a statement. None: one is taken, and checked. One that was lost is replaced by itself.
        """

        def attempt() -> T:
            with nullcontext(on) if on is not None else self.connect() as connection, connection.begin():
                return work(connection)

        return self.retry(attempt, run=run)

    def retry(self, attempt: Callable[[], T], *, run: Run) -> T:
        """Call until it succeeds, with back-off and jitter, while the error is a transient one and there is time.

        Serialization failures, deadlocks and lost connections are transient (`shared.db.errors`); nothing else is.
        """
        waited, delay = 0.0, FIRST_DELAY
        while True:
            try:
                return attempt()
            except Exception as error:
                # S15: bounded in all, and by the invocation.
                if not is_transient(error) or waited >= RETRY_BUDGET or run.must_stop:
                    raise
                pause = delay * (1 + self.chance()) / 2  # half of it certain: the budget is counted in what was waited
                logger.warning("retrying", extra={"error": describe(error), "pause_ms": round(pause * 1000)})
                self.sleep(pause)
                waited += pause
                delay = min(delay * 2, LONGEST_DELAY)
