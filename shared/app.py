"""The composition root: everything is created here once for each warm container, on first use."""

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
from shared.db.prepared import prepare_statements
from shared.domain.run import Outcome, Run
from shared.domain.tick import Tick
from shared.runs.runner import Runner
from shared.runs.store import RunStore
from shared.service_data import ServiceData
from shared.services.transactions import Transactions

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext
    from mypy_boto3_dynamodb.client import DynamoDBClient

# The job does not wait for its record: docs/decisions.md, Network.
RUNS_TABLE_CLIENT = ClientConfig(
    connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 2, "mode": "standard"}
)
# The certificate authorities of RDS; the asset has them beside this package, a laptop does not.
RDS_AUTHORITIES = Path(__file__).parent.parent / "rds-ca-bundle.pem"

UseCase = Callable[[Run], Outcome]


@dataclass(frozen=True, kw_only=True)
class App:
    """What a handler builds its use case from.

    Attributes:
        engine: its one database connection; dispose of it, or leave that to the end of the process.
        clock: the wall clock, aware.
        sleep: waits for so many seconds.
    """

    config: Config
    engine: Engine
    transactions: Transactions
    runner: Runner
    clock: Callable[[], datetime]
    sleep: Callable[[float], None]


def build_app(
    env: Mapping[str, str],
    *,
    dynamodb: "DynamoDBClient | None" = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    sleep: Callable[[float], None] = time.sleep,
) -> App:
    """Build the app from the environment of a function.

    Args:
        env: the variables of `shared.config`.
        dynamodb: a client for the runs table; None: one with short timeouts.
        clock: the wall clock, aware. It is read here and nowhere else.
        sleep: waits for so many seconds.

    Raises:
        ConfigError: naming every variable that is missing or malformed.
    """
    config = Config.from_env(env)
    session = Session()
    session.register_component("data_loader", ServiceData())
    engine = open_engine(
        config.database_url,
        password=password_source(config, session),
        ca_file=RDS_AUTHORITIES if RDS_AUTHORITIES.exists() else None,
    )
    prepare_statements(engine)
    client = dynamodb or cast("DynamoDBClient", session.create_client("dynamodb", config=RUNS_TABLE_CLIENT))
    return App(
        config=config,
        engine=engine,
        transactions=Transactions(engine=engine, sleep=sleep),
        runner=Runner(
            store=RunStore(client=client, table_name=config.runs_table_name, clock=clock),
            stage=config.stage,
            clock=clock,
            sleep=sleep,
            describe=describe,
        ),
        clock=clock,
        sleep=sleep,
    )


@cache
def get_app() -> App:
    """The app of this container."""
    return build_app(os.environ)


@dataclass(frozen=True, kw_only=True)
class JobHandler:
    """The Lambda handler of one job.

    Attributes:
        job: its name.
        use_case: builds the work of one run from the app.
        app: builds the app, or finds it.
    """

    job: str
    use_case: Callable[[App], UseCase]
    app: Callable[[], App] = get_app

    def __call__(self, event: Any, context: "LambdaContext") -> dict[str, Any]:
        """Run the job for an event; return its result (docs/design.md, Contract).

        Raises:
            BadEventError: the event is malformed; nothing was touched.
            ConfigError: the environment is; nothing was touched.
            RunNotSucceededError: a scheduled run did not succeed.
        """
        app = self.app()
        tick = Tick.from_event(event, now=app.clock(), request_id=context.aws_request_id)

        def time_left() -> timedelta:
            return timedelta(milliseconds=context.get_remaining_time_in_millis())

        return app.runner.run(self.job, tick, self.use_case(app), time_left=time_left).to_json()
