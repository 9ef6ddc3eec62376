"""The schema's migrations: they create the contract's schema, or complete the one that the platform has.

Alembic keeps the version, in a table of our own: the platform may use Alembic too.
"""

import io
import time
from collections.abc import Callable, Iterator
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, text

from infra.schema import adoption
from infra.schema.comparison import differences
from infra.schema.creation import VERSION_TABLE
from infra.schema.differences import Difference, Kind, SchemaError, UpgradeError
from infra.schema.session import begin

__all__ = ["Difference", "Kind", "SchemaError", "UpgradeError", "behind", "check", "offline_sql", "upgrade"]


def _silent(_: str) -> None:
    """Report to nobody."""


def upgrade(
    engine: Engine, *, report: Callable[[str], None] = _silent, pause: Callable[[float], None] = time.sleep
) -> None:
    """Create the schema in an empty database, or complete the one that is there. Two at once are safe.

    Nothing that is there is dropped or changed. What has to be is refused, all of it at once, before anything is done.
    An upgrade that was killed is finished by the next one; one that finds nothing to do does nothing.

    Args:
        engine: on the database, as the role that is to own the tables, or does. Not through a transaction pooler.
        report: takes lines that say what is going on.
        pause: waits for a number of seconds.

    Raises:
        SchemaError: what is there differs from the contract in a way that somebody must decide.
        UpgradeError: a statement failed; what was done before stays.
    """
    with begin(engine, report=report, pause=pause) as session:
        missing = adoption.plan(session)
        if _version(session.connection) == _head():
            adoption.add(session, missing)
            return
        try:
            command.upgrade(_config(session=session, missing=missing), "head")
        except CommandError as error:  # a newer version's revision
            raise _newer(error) from error


def check(engine: Engine) -> list[Difference]:
    """Name everything that is missing or different, all at once. Nothing is changed.

    Args:
        engine: on the database, as a role that may read the tables and make temporary ones.

    Raises:
        UpgradeError: there is no schema to look at.
    """
    autocommit = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    with autocommit as connection, adoption.looking(connection) as schema:
        return [*behind(_version(connection)), *differences(connection, schema, to_alter=False)]


def offline_sql(schema: str = "public", *, since: str | None = None) -> list[str]:
    """The statements that create everything in an empty database, the version included, one per item.

    They take no parameters, name the schema wherever it matters, and may be sent one by one or in one transaction.

    Args:
        schema: a schema that is there.
        since: the revision that the database has, if it is not empty: what came after it is left to do.

    Raises:
        UpgradeError: a newer version's revision.
    """
    if since == _head():
        return []
    output = _Statements()
    try:
        command.upgrade(_config(schema=schema, output=output), f"{since}:head" if since else "head", sql=True)
    except CommandError as error:
        raise _newer(error) from error
    return output.statements


class _Statements(io.StringIO):
    """What Alembic writes in offline mode: it writes each statement at once, and comments, which are left out."""

    def __init__(self) -> None:
        super().__init__()
        self.statements: list[str] = []

    def write(self, written: str) -> int:
        statement = written.strip().removesuffix(";")
        if not statement.startswith("--"):
            self.statements.append(statement)
        return len(written)


def _config(*, output: io.StringIO | None = None, **attributes: Any) -> Config:
    config = Config(output_buffer=output, attributes=attributes)
    config.set_main_option("script_location", "infra:schema")
    return config


def _head() -> str:
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise UpgradeError("no revision is packaged: the installation is broken")
    return head


def _newer(error: CommandError) -> UpgradeError:
    return UpgradeError(f"{VERSION_TABLE}: {error}; is a newer version of arcade-jobs in use?")


def behind(version: str | None) -> Iterator[Difference]:
    """The difference between the revision that a database has and this version's, unless there is none."""
    head = _head()
    if version is None:
        yield Difference(kind=Kind.MISSING, where=VERSION_TABLE, what=f"has no revision; {head} is this version's")
    elif version != head:
        yield Difference(kind=Kind.MISSING, where=VERSION_TABLE, what=f"is {version}; {head} is this version's")


def _version(connection: Connection) -> str | None:
    """The revision that the database has; None before the first."""
    if connection.scalar(text("SELECT to_regclass(:name)"), {"name": VERSION_TABLE}) is None:
        return None
    version = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608 - a constant
    return None if version is None else str(version)
