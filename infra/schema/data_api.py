"""`db upgrade` and `db check` in a database that no connection reaches: through the Data API of the cluster.

A statement is answered within 45 seconds, or goes on in the database when it is told to; a database that sleeps
refuses the first ones while it wakes up
(https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/data-api.html).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from infra.deployed.deployment import CLIENT_CONFIG, Deployment
from infra.schema import Difference, Kind, UpgradeError, behind, remote
from infra.schema.creation import VERSION_TABLE
from shared.db import tables
from shared.db.schema_check import COLUMNS, missing_among

LONGEST_STATEMENT = 65_536  # characters that the Data API takes
READ_TIMEOUT = 60  # seconds; it answers within 45
WAKING_PAUSE, WAKING_ATTEMPTS = 3, 60  # seconds, and how often: three minutes in all; it takes some 15 seconds
TURN_PAUSE, TURN_ATTEMPTS = 2, 300  # seconds, and how often: ten minutes in all
ASLEEP = ("DatabaseResumingException", "DatabaseUnavailableException", "ServiceUnavailableError")
UNANSWERED = "StatementTimeoutException"

Row = tuple[str | None, ...]


class _NotYetError(Exception):
    """The statement has to wait for another one. The message says for which."""


@dataclass(frozen=True, kw_only=True)
class DataApi:
    """The database of a stage.

    Attributes:
        client: of `rds-data`.
        cluster: its ARN.
        secret: the ARN of the admin's password.
        database: its name.
        jobs_role: the role that runs the jobs.
        report: takes lines that say what is going on.
        pause: waits for a number of seconds.
    """

    client: Any
    cluster: str
    secret: str
    database: str
    jobs_role: str
    report: Callable[[str], None]
    pause: Callable[[float], None] = time.sleep

    def query(self, sql: str, **parameters: str) -> list[Row]:
        """The rows of a statement whose columns are all text.

        Raises:
            UpgradeError: it failed.
        """
        try:
            answer = self._execute(
                sql=sql,
                parameters=[{"name": name, "value": {"stringValue": value}} for name, value in parameters.items()],
            )
        except _NotYetError as error:
            raise UpgradeError(f"{self.database}: the statement was not answered within 45 s") from error
        return [tuple(field.get("stringValue") for field in record) for record in answer["records"]]

    def run(self, sql: str) -> None:
        """Run a statement to its end, however long it takes.

        Raises:
            UpgradeError: it failed.
        """
        if len(sql) > LONGEST_STATEMENT:
            raise UpgradeError(
                f"{self.database}: the upgrade has {len(sql):,} characters, and the Data API takes"
                f" {LONGEST_STATEMENT:,}; connect with DATABASE_URL instead"
            )
        self._execute(sql=sql, continueAfterTimeout=True)

    def _execute(self, **request: Any) -> Any:
        for attempt in range(WAKING_ATTEMPTS):
            try:
                return self.client.execute_statement(
                    resourceArn=self.cluster, secretArn=self.secret, database=self.database, **request
                )
            except ClientError as error:
                code, text = error.response["Error"]["Code"], _one_line(error.response["Error"]["Message"])
                if code == UNANSWERED:
                    raise _NotYetError("the statement goes on in the database") from error
                if remote.TAKEN in text:
                    raise _NotYetError(remote.TAKEN) from error
                if code not in ASLEEP:
                    raise UpgradeError(f"{self.database}: {text or code}") from error
                self.report(f"the database is waking up ({attempt * WAKING_PAUSE} s)")
            except BotoCoreError as error:
                raise UpgradeError(f"{self.database}: {_one_line(str(error))}") from error
            self.pause(WAKING_PAUSE)
        waited = WAKING_ATTEMPTS * WAKING_PAUSE
        raise UpgradeError(f"{self.database}: it has not woken up for {waited} s; look at {self.cluster} in RDS")


def open_data_api(
    deployment: Deployment, *, report: Callable[[str], None], pause: Callable[[float], None] = time.sleep
) -> DataApi:
    """The database that was made with a stage's stack.

    Raises:
        DeploymentError: the stack made none.
    """
    return DataApi(
        client=deployment.client("rds-data", CLIENT_CONFIG.merge(Config(read_timeout=READ_TIMEOUT))),
        cluster=deployment.output("DatabaseClusterArn"),
        secret=deployment.output("DatabaseAdminSecretArn"),
        database=deployment.output("DatabaseName"),
        jobs_role=deployment.output("DatabaseUser"),
        report=report,
        pause=pause,
    )


def upgrade(api: DataApi) -> None:
    """Create the roles and the schema in an empty database, or bring one that was made so up to date.

    Two at once are safe. One that was killed has done everything or nothing; the next one finishes.

    Raises:
        UpgradeError: it could not go on; nothing was changed.
    """
    said = ""
    for _ in range(TURN_ATTEMPTS):
        found = look(api)
        statement = remote.upgrade_statement(found, jobs_role=api.jobs_role)
        if not said:
            api.report(f"{api.database}: {'completing' if found.version else 'creating'} roles, schema and rights")
        try:
            api.run(statement)
        except _NotYetError as error:
            if said != str(error):
                said = str(error)
                api.report(f"{said}; waiting for it")
        else:
            return
        api.pause(TURN_PAUSE)
    raise UpgradeError(f"{api.database}: {said}, for {TURN_ATTEMPTS * TURN_PAUSE} s now; try again later")


def check(api: DataApi) -> list[Difference]:
    """Name the tables, columns and roles that are missing, and the revision unless it is this version's.

    Raises:
        UpgradeError: it could not be looked up.
    """
    found = look(api)
    names = "{" + ",".join(tables.metadata.tables) + "}"
    columns = ((str(table), str(column)) for table, column in api.query(COLUMNS, tables=names))
    missing = [(name, "is missing") for name in missing_among(columns)]
    if not api.query("SELECT CAST(rolname AS text) FROM pg_roles WHERE rolname = :role", role=api.jobs_role):
        missing.append((f"role {api.jobs_role}", "is missing"))
    return [
        *behind(found.version),
        *(Difference(kind=Kind.MISSING, where=where, what=what) for where, what in missing),
    ]


def look(api: DataApi) -> remote.Found:
    """What is in the database.

    Raises:
        UpgradeError: it could not be looked up.
    """
    [(schema, names)] = api.query(remote.LOOK)
    found = remote.found_from(schema, names)
    if VERSION_TABLE not in found.tables:
        return found
    rows = api.query(remote.version_query(found.schema))
    return replace(found, version=rows[0][0], owner=rows[0][1]) if rows else found


def _one_line(text: str) -> str:
    return " ".join(text.split())
