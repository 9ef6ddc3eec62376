"""`db upgrade` and `db check` in a database that no connection reaches: through the Data API of its cluster.

A statement is answered within 45 seconds, or continues in the database when that is requested; a database that sleeps
refuses the first ones while it wakes up
(https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/data-api.html). One call is one statement, and a
transaction of several is of no use: of those AWS writes that each DDL statement commits what came before it
(https://docs.aws.amazon.com/rdsdataservice/latest/APIReference/API_BeginTransaction.html). Hence blocks.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from botocore.exceptions import BotoCoreError, ClientError

from infra.schema import guarded, roles, set_aside, timezones, unbacked
from infra.schema.differences import Difference, UpgradeError, missing
from infra.schema.quoting import literal, quoted
from infra.schema.revisions import NOTHING, VERSION_TABLE, head, steps_after
from infra.schema.session import LOCKED, NO_SCHEMA, SCHEMA_OF_TABLES
from infra.schema.tables import metadata
from infra.schema.upgrade import UTC, behind
from shared.domain.errors import NotReachableError

LONGEST_STATEMENT = 65_536  # characters that the Data API takes
READ_TIMEOUT = 60  # seconds that a client waits for a response: it comes within 45
WAKING_PAUSE, WAKING_ATTEMPTS = 3, 60  # seconds, and how often: three minutes in all; it takes some 15 seconds
TURN_PAUSE, TURN_ATTEMPTS = 2, 300  # seconds, and how often: ten minutes in all for one statement
LOCK_TIMEOUT = 5.0  # seconds; what comes after a waiting ALTER TABLE waits as long as it does
ASLEEP = ("DatabaseResumingException", "DatabaseUnavailableException", "ServiceUnavailableError")
UNANSWERED = "StatementTimeoutException"
IN_A_TRANSACTION = "25001"  # the SQLSTATE of a statement that cannot run inside a transaction block

_TABLES = "{" + ",".join([*metadata.tables, VERSION_TABLE]) + "}"
# One row of text: the schema of the tables, and which of them are there, in their order.
_LOOK = f"""
SELECT CAST({SCHEMA_OF_TABLES} AS text), string_agg(name, ',' ORDER BY place)
FROM unnest(CAST(:tables AS text[])) WITH ORDINALITY AS contract (name, place)
WHERE to_regclass(name) IS NOT NULL
"""  # noqa: S608 - constants
_COLUMNS = """
SELECT contract.name, CAST(attname AS text)
FROM unnest(CAST(:tables AS text[])) AS contract (name)
JOIN pg_attribute ON attrelid = to_regclass(contract.name) AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
ORDER BY 1, attnum
"""

T = TypeVar("T")
# What the database itself answered; all other refusals are AWS's.
_OF_DATABASE = ("BadRequestException", "DatabaseErrorException")


class UnreachableError(UpgradeError, NotReachableError):
    """The Data API does not answer, or refuses the caller."""


class _NotYetError(Exception):
    """The statement has to wait for another one. The message is the reason."""


@dataclass(frozen=True, kw_only=True)
class DataApi:
    """A database behind the Data API.

    Attributes:
        client: of `rds-data`; its read timeout is `READ_TIMEOUT`.
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

    def query(self, sql: str, **parameters: str) -> list[guarded.Row]:
        """The rows of a statement whose columns are all text.

        Raises:
            UpgradeError: it failed.
        """
        try:
            response = self._execute(
                sql=sql,
                parameters=[{"name": name, "value": {"stringValue": value}} for name, value in parameters.items()],
            )
        except _NotYetError as error:
            raise UpgradeError(f"{self.database}: the statement was not answered within 45 s") from error
        return [tuple(field.get("stringValue") for field in record) for record in response["records"]]

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
                if guarded.MOVED in text:
                    raise guarded.MovedError from error
                if reason := _reason_to_wait(code, text):
                    raise _NotYetError(reason) from error
                if code not in ASLEEP:
                    failure = UpgradeError if code in _OF_DATABASE else UnreachableError
                    raise failure(f"{self.database}: {text or code}") from error
                self.report(f"the database is waking up ({attempt * WAKING_PAUSE} s)")
            except BotoCoreError as error:
                raise UnreachableError(f"{self.database}: {_one_line(str(error))}") from error
            self.sleep(WAKING_PAUSE)
        waited = WAKING_ATTEMPTS * WAKING_PAUSE
        raise UnreachableError(f"{self.database}: it has not woken up for {waited} s; check {self.cluster} in RDS")


@dataclass(frozen=True, kw_only=True)
class Found:
    """What an inspection found.

    Attributes:
        schema: where the tables are, or will be.
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

    def version(self) -> str | None:
        return inspect(self.api).version

    def rows(self, query: str) -> list[guarded.Row]:
        return self.api.query(query)

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


def upgrade(api: DataApi, *, timezone: ZoneInfo = UTC) -> None:
    """Create the roles and the schema in an empty database, or bring one that has a revision up to date.

    Two at once are safe. One that was killed is finished by the next one.

    Args:
        api: the database.
        timezone: of all periods; where one is recorded it does nothing.

    Raises:
        UpgradeError: it could not continue; what was done stays, and the next upgrade continues there.
    """
    _in_turn(api, lambda: _attempt(api, timezone))


def list_zones(api: DataApi) -> timezones.Zones:
    """The zones by the date from which each is in force, the earliest first.

    Raises:
        UpgradeError: they could not be read.
    """
    return timezones.list_zones(_runner(api))


def change_timezone(api: DataApi, zone: ZoneInfo, *, begins: date, now: datetime) -> timezones.Zones:
    """As `timezones.change`.

    Raises:
        TimezoneChangeError: the change is refused.
        UpgradeError: the database refused, or others held a lock for too long.
    """
    return _in_turn(api, lambda: timezones.change(_runner(api), zone, begins=begins, now=now))


def check(api: DataApi) -> list[Difference]:
    """Name the tables, columns and roles that are missing, the revision unless it is the last, and what is set aside.

    Raises:
        UpgradeError: it could not be looked up.
    """
    found = inspect(api)
    there = [(str(table), str(column)) for table, column in api.query(_COLUMNS, tables=_TABLES)]
    tables = {table for table, _ in there}
    listed = list(behind(found.version))
    for table in metadata.tables.values():
        names = [f"{table.name}.{column.name}" for column in table.columns if (table.name, column.name) not in there]
        listed += [missing(name) for name in (names if table.name in tables else [table.name])]
    if not api.query("SELECT CAST(rolname AS text) FROM pg_roles WHERE rolname = :role", role=api.jobs_role):
        listed.append(missing(f"role {api.jobs_role}"))
    listed += _unbacked(api, found)
    if set_aside.TABLE in tables:
        counts = [
            (str(table), str(reason), int(str(count)))
            for table, reason, count in api.query(set_aside.counts(found.schema))
        ]
        columns = {table: [name for of, name in there if of == table] for table in tables}
        listed += set_aside.warnings(counts, columns)
    return listed


def inspect(api: DataApi) -> Found:
    """What is in the database.

    Raises:
        UpgradeError: it could not be read, or there is no schema.
    """
    [(schema, names)] = api.query(_LOOK, tables=_TABLES)
    if schema is None:
        raise UpgradeError(NO_SCHEMA)
    tables = tuple(names.split(",")) if names else ()
    if VERSION_TABLE in tables:
        table = f"{quoted(schema)}.{VERSION_TABLE}"
        for version, owner in api.query(
            f"SELECT CAST(version_num AS text), CAST(pg_get_userbyid(relowner) AS text) FROM {table}, pg_class"  # noqa: S608 - quoted
            f" WHERE pg_class.oid = to_regclass({literal(table)})"
        ):
            return Found(schema=schema, tables=tables, version=version, owner=owner)
    return Found(schema=schema, tables=tables)


def _in_turn(api: DataApi, attempt: Callable[[], T]) -> T:
    """Try until no other statement is in the way."""
    reason = ""
    for _ in range(TURN_ATTEMPTS):
        try:
            return attempt()
        except guarded.MovedError:
            continue
        except _NotYetError as error:
            if reason != str(error):
                reason = str(error)
                api.report(f"{reason}; waiting for it")
            api.sleep(TURN_PAUSE)
    raise UpgradeError(f"{api.database}: {reason}, for {TURN_ATTEMPTS * TURN_PAUSE} s now; try again later")


def _runner(api: DataApi) -> _Runner:
    found = inspect(api)
    return _Runner(api=api, schema=found.schema, role=found.owner)


def _attempt(api: DataApi, timezone: ZoneInfo) -> None:
    """Roles first, then what is left of the revisions, then rights and the time zone: each a block."""
    found = inspect(api)
    if found.version is None and found.tables:
        raise UpgradeError(
            f"{', '.join(found.tables)}: there already, without a revision in {VERSION_TABLE}; nothing was changed."
            " Connect with DATABASE_URL to adopt the existing tables"
        )
    steps = steps_after(found.version or NOTHING, found.schema)
    owner = found.owner or roles.owner_of(api.jobs_role)
    runner = _Runner(api=api, schema=found.schema, role=owner)
    body = guarded.execute(*roles.creation_statements(api.jobs_role, schema=found.schema))
    if found.version is None:
        body = "\n".join((body, guarded.begin_body(found.schema, NOTHING, role=owner)))
    runner.run_block(body, expected=found.version)
    for difference in _unbacked(api, found):
        api.report(f"{api.database}: warning: {difference}")
    for place, step in enumerate(steps):
        if place == 0 or step.number == 1:
            api.report(f"{api.database}: {step}")
        guarded.run_step(runner, step)
    last = (
        *roles.grant_statements(api.jobs_role, schema=found.schema),
        timezones.first_statement(found.schema, timezone),
    )
    runner.run_block(guarded.execute(*last), expected=head())


def _unbacked(api: DataApi, found: Found) -> Iterator[Difference]:
    if unbacked.is_due(found.version, found.schema):
        [counted] = api.query(unbacked.counts(found.schema))
        yield from unbacked.warnings(*(int(str(count)) for count in counted))


def _reason_to_wait(code: str, text: str) -> str | None:
    if code == UNANSWERED:
        return "the statement continues in the database"
    if guarded.BUSY in text:
        return guarded.BUSY
    if any(f"SQLState: {state}" in text for state in LOCKED):
        return "others hold a lock"
    return None


def _one_line(text: str) -> str:
    return " ".join(text.split())
