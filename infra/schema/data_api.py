"""`db upgrade` and `db check` in a database that no connection reaches: through the Data API of its cluster.

A statement is answered within 45 seconds, or goes on in the database when it is asked to; a database that sleeps
refuses the first ones while it wakes up
(https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/data-api.html). One call is one statement, and a
transaction of several is of no use: of those AWS writes that each DDL statement commits what came before it
(https://docs.aws.amazon.com/rdsdataservice/latest/APIReference/API_BeginTransaction.html). Hence blocks.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from infra.schema import guarded, roles, set_aside
from infra.schema.differences import Difference, UpgradeError, missing, rows_text, warning
from infra.schema.quoting import literal, quoted
from infra.schema.revisions import (
    NOTHING,
    SET_ASIDE_TABLE,
    VERSION_TABLE,
    Step,
    created,
    head,
    statements_until,
    steps_after,
)
from infra.schema.session import LOCKED, NO_SCHEMA, SCHEMA_OF_TABLES
from infra.schema.tables import metadata
from infra.schema.upgrade import behind

LONGEST_STATEMENT = 65_536  # characters that the Data API takes
READ_TIMEOUT = 60  # seconds that a client is to wait for an answer: it comes within 45
WAKING_PAUSE, WAKING_ATTEMPTS = 3, 60  # seconds, and how often: three minutes in all; it takes some 15 seconds
TURN_PAUSE, TURN_ATTEMPTS = 2, 300  # seconds, and how often: ten minutes in all for one statement
LOCK_TIMEOUT = 5.0  # seconds; what comes after a waiting ALTER TABLE waits as long as it does
ASLEEP = ("DatabaseResumingException", "DatabaseUnavailableException", "ServiceUnavailableError")
UNANSWERED = "StatementTimeoutException"
IN_A_TRANSACTION = "25001"  # the SQLSTATE of a statement that cannot run inside a transaction block

Row = tuple[str | None, ...]


class _NotYetError(Exception):
    """The statement has to wait for another one. The message is the reason."""


@dataclass(frozen=True, kw_only=True)
class DataApi:
    """A database behind the Data API.

    Attributes:
        client: of `rds-data`; it is to wait `READ_TIMEOUT` for an answer.
        cluster: its ARN.
        secret: the ARN of the admin's password.
        database: its name.
        jobs_role: the role that runs the jobs.
        report: takes lines of progress.
        sleep: waits for a number of seconds.
    """

    client: Any
    cluster: str
    secret: str
    database: str
    jobs_role: str
    report: Callable[[str], None]
    sleep: Callable[[float], None] = time.sleep

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
                f"{self.database}: a statement has {len(sql):,} characters, and the Data API takes"
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
                if reason := _reason_to_wait(code, text):
                    raise _NotYetError(reason) from error
                if code not in ASLEEP:
                    raise UpgradeError(f"{self.database}: {text or code}") from error
                self.report(f"the database is waking up ({attempt * WAKING_PAUSE} s)")
            except BotoCoreError as error:
                raise UpgradeError(f"{self.database}: {_one_line(str(error))}") from error
            self.sleep(WAKING_PAUSE)
        waited = WAKING_ATTEMPTS * WAKING_PAUSE
        raise UpgradeError(f"{self.database}: it has not woken up for {waited} s; look at {self.cluster} in RDS")


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a look found.

    Attributes:
        schema: where the tables are, or are to be.
        tables: those of the contract that are there, the table of the version included.
        version: what it reads; None before the first revision.
        owner: of that table; None if there is none.
    """

    schema: str
    tables: Sequence[str] = ()
    version: str | None = None
    owner: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Runner:
    """Steps of an upgrade through the Data API."""

    api: DataApi
    schema: str
    role: str | None

    def run_block(self, body: str, *, expected: str | None) -> None:
        self.api.run(guarded.block(self.schema, body, lock_timeout=LOCK_TIMEOUT, expected=expected))

    def build(self, statement: str) -> bool:
        try:
            self.api.run(statement)
        except UpgradeError as error:
            if f"SQLState: {IN_A_TRANSACTION}" not in str(error):
                raise
            self.api.report("the Data API runs everything in a transaction: the index is built while writers wait")
            return False
        return True


def upgrade(api: DataApi) -> None:
    """Create the roles and the schema in an empty database, or bring one that has a revision up to date.

    Two at once are safe. One that was killed is finished by the next one.

    Raises:
        UpgradeError: it could not go on; what was done stays, and the next one goes on there.
    """
    _retry(api, lambda: _begin(api, look(api)))
    while step := _next_step(found := look(api)):
        _retry(api, lambda: _advance(api))
    _retry(api, lambda: _grant(api, look(api)))


def check(api: DataApi) -> list[Difference]:
    """Name the tables, columns and roles that are missing, what is set aside, and the revision unless it is the last.

    Raises:
        UpgradeError: it could not be looked up.
    """
    found = look(api)
    listed = [*behind(found.version), *(missing(name) for name in _missing(api))]
    if not api.query("SELECT CAST(rolname AS text) FROM pg_roles WHERE rolname = :role", role=api.jobs_role):
        listed.append(missing(f"role {api.jobs_role}"))
    return listed
