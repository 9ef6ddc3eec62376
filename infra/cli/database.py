"""The platform's database, to be read by a command: through a connection, or through the Data API."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from infra.cli.options import Target
from infra.cli.terminal import print_note
from infra.local import FOLDER
from infra.stage import REPLAY_STAGES, replay_database
from shared.domain.errors import ArcadeJobsError, NotReachableError

if TYPE_CHECKING:
    from infra.deployed.pools import Query
    from shared.operations.deployment import Deployment

STATEMENT_TIMEOUT = 20_000  # ms


@contextmanager
def database(target: Target) -> Iterator["Query | None"]:
    """Read the database of a deployment; None when nothing says how to reach it.

    1. `--local`: the laptop cloud's; `--stage demo` or `simulation`: the one that the replay left, whose server is
       started for it. Both are on the server that DATABASE_URL names, if it is set, as when they were written.
    2. The one that DATABASE_URL names.
    3. The one that was created with the stack, through the Data API, which wakes it up if it sleeps.

    Raises:
        NotReachableError: it does not answer; of a query, it refuses the statement too.
    """
    with ExitStack() as stack:
        url = os.environ.get("DATABASE_URL")
        if target.stage in REPLAY_STAGES or target.local:
            url = _laptop_url(target, stack)
        if url:
            yield _connect(url, stack)
        elif target.stage in REPLAY_STAGES:
            yield None
        else:
            deployment = target.deployment()
            yield _data_api(deployment) if "DatabaseClusterArn" in deployment.outputs else None


def _laptop_url(target: Target, stack: ExitStack) -> str | None:
    from infra.local import cloud, postgres

    data, is_replay = FOLDER / "postgres", target.stage in REPLAY_STAGES
    if not os.environ.get("DATABASE_URL"):
        if is_replay and not data.exists():
            return None
        if not is_replay and not postgres.is_running(data):
            raise NotReachableError("the laptop's PostgreSQL does not run; start it: arcade-jobs local up")
    try:
        server = stack.enter_context(postgres.serve(data))
    except ArcadeJobsError as error:
        raise NotReachableError(str(error)) from error
    return server.url(replay_database(target.stage) if is_replay else cloud.DATABASE).render_as_string(
        hide_password=False
    )


def _connect(url: str, stack: ExitStack) -> "Query":
    """Queries in one read-only transaction, all of the same moment."""
    from sqlalchemy import text

    from shared.db.connection import open_engine

    engine = open_engine(url)
    stack.callback(engine.dispose)
    options: dict[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with _one_line():
        connection = stack.enter_context(engine.connect().execution_options(**options))
        connection.execute(text(f"SET LOCAL statement_timeout = {STATEMENT_TIMEOUT}"))

    def query(sql: str, parameters: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        with _one_line():
            return [_row(row[0]) for row in connection.execute(text(_as_json(sql)), dict(parameters))]

    return query


@contextmanager
def _one_line() -> Iterator[None]:
    from sqlalchemy.exc import SQLAlchemyError

    from shared.db.errors import describe

    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        raise NotReachableError(f"the platform's database: {describe(error)}") from error


def _data_api(deployment: "Deployment") -> "Query":
    """Queries that are each a transaction. The Data API ends them after 45 seconds; as subqueries they cannot write."""
    from botocore.config import Config

    from infra.schema import data_api
    from infra.schema.differences import UpgradeError
    from shared.operations.deployment import CLIENT_CONFIG

    api = data_api.DataApi(
        client=deployment.client("rds-data", CLIENT_CONFIG.merge(Config(read_timeout=data_api.READ_TIMEOUT))),
        cluster=deployment.output("DatabaseClusterArn"),
        secret=deployment.output("DatabaseAdminSecretArn"),
        database=deployment.output("DatabaseName"),
        jobs_role=deployment.output("DatabaseUser"),
        report=print_note,
    )

    def query(sql: str, parameters: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        try:
            rows = api.query(_as_json(sql), **{name: str(value) for name, value in parameters.items()})
        except UpgradeError as error:
            raise NotReachableError(f"the platform's database: {error}") from error
        return [_row(str(row[0])) for row in rows]

    return query


def _as_json(sql: str) -> str:
    """The statement with each row as one text: what the Data API and a driver answer alike, decimals exact."""
    return f"SELECT CAST(to_json(answer) AS text) FROM ({sql}) AS answer"  # noqa: S608 - a constant of ours


def _row(text: str) -> Mapping[str, Any]:
    row: Mapping[str, Any] = json.loads(text, parse_float=Decimal)
    return row
