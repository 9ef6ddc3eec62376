"""The composition root: everything is made here once for each warm container, on first use."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from botocore.config import Config as ClientConfig
from botocore.session import Session
from sqlalchemy import Engine

from shared.config import Config
from shared.credentials import password_source
from shared.db.connection import open_engine
from shared.db.errors import describe
from shared.domain.run import Outcome, Run
from shared.domain.tick import Tick
from shared.runs.runner import Runner
from shared.runs.store import RunStore
from shared.services.cleanup import Cleaner
from shared.services.leaderboard import LeaderboardRanker
from shared.services.prize_pool import PrizePoolSettler
from shared.services.schema import SchemaGuard
from shared.services.transactions import Transactions

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext
    from mypy_boto3_dynamodb.client import DynamoDBClient

# The record of a run is not worth waiting for: the job comes first (DESIGN section 5, Network).
RUNS_TABLE_CLIENT = ClientConfig(
    connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 2, "mode": "standard"}
)
# Who signs the certificates of RDS; the asset has it beside this package, a laptop does not.
RDS_AUTHORITIES = Path(__file__).parent.parent / "rds-ca-bundle.pem"


@dataclass(frozen=True, kw_only=True)
class App:
    """What the handlers call.

    Attributes:
        engine: its one database connection, to be disposed of by whoever does not leave that to the end of the process.
        runner: runs the jobs below.
        clock: the wall clock, aware.
    """

    engine: Engine
    runner: Runner
    clock: Callable[[], datetime]
    settle_prize_pools: Callable[[Run], Outcome]
    rank_leaderboards: Callable[[Run], Outcome]
    clean_up: Callable[[Run], Outcome]


def build_app(
    env: Mapping[str, str],
    *,
    dynamodb: "DynamoDBClient | None" = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    sleep: Callable[[float], None] = time.sleep,
) -> App:
    """Make the app from the environment of a function (DESIGN section 3, Environment).

    Args:
        env: the variables.
        dynamodb: a client for the runs table; None: one that gives up soon.
        clock: the wall clock, aware. It is read here and nowhere else.
        sleep: waits for so many seconds.

    Raises:
        ConfigError: naming every variable that is missing or malformed.
    """
    config = Config.from_env(env)
    session = Session()
    engine = open_engine(
        config.database_url,
        password=password_source(config, session),
        ca_file=RDS_AUTHORITIES if RDS_AUTHORITIES.exists() else None,
    )
    transactions = Transactions(engine=engine, sleep=sleep)
    guard = SchemaGuard(transactions=transactions)
    client = dynamodb or cast("DynamoDBClient", session.create_client("dynamodb", config=RUNS_TABLE_CLIENT))
    return App(
        engine=engine,
        runner=Runner(
            store=RunStore(client=client, table_name=config.runs_table_name, clock=clock),
            clock=clock,
            describe=describe,
        ),
        clock=clock,
        settle_prize_pools=guard.before(
            PrizePoolSettler(
                transactions=transactions,
                zone=config.zone,
                grace=config.settlement_grace,
                game_types=config.game_types,
                clock=clock,
                sleep=sleep,
            )
        ),
        rank_leaderboards=guard.before(LeaderboardRanker(transactions=transactions, clock=clock)),
        clean_up=guard.before(Cleaner(transactions=transactions, session_expiry=config.session_expiry, clock=clock)),
    )


@cache
def get_app() -> App:
    """The app of this container."""
    return build_app(os.environ)


@dataclass(frozen=True, kw_only=True)
class JobHandler:
    """A Lambda handler of one job.

    Attributes:
        job: its name.
        work: the job's use case of the app.
        app: makes the app, or finds it.
    """

    job: str
    work: Callable[[App], Callable[[Run], Outcome]]
    app: Callable[[], App] = get_app

    def __call__(self, event: Any, context: "LambdaContext") -> dict[str, Any]:
        """Run the job for an event; return the result of DESIGN section 3.

        Raises:
            BadEventError: the event is malformed; nothing was touched.
            ConfigError: the environment is; nothing was touched.
            RunNotSucceededError: a scheduled run did not succeed.
        """
        app = self.app()
        tick = Tick.from_event(event, now=app.clock(), request_id=context.aws_request_id)

        def time_left() -> timedelta:
            return timedelta(milliseconds=context.get_remaining_time_in_millis())

        return app.runner.run(self.job, tick, self.work(app), time_left=time_left).to_json()
