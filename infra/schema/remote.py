"""An upgrade as SQL for somebody who has no connection: he looks, then sends one statement that does everything.

One statement and not a transaction of many: of those, AWS says that each DDL statement commits what came before it
(https://docs.aws.amazon.com/rdsdataservice/latest/APIReference/API_BeginTransaction.html). One is done or not done,
whenever its sender dies.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from infra import schema as migrations
from infra.schema.creation import VERSION_TABLE, quoted
from infra.schema.differences import UpgradeError
from infra.schema.roles import creation_statements, grant_statements, literal, owner_of
from infra.schema.session import ADVISORY_LOCK, HOME, HOMELESS
from shared.db import tables

LOCK_TIMEOUT = "5s"  # whoever comes after a waiting ALTER TABLE waits as long as it does
TAKEN = "another upgrade of this database is under way"  # what the statement fails with if it is not its turn

_NAMES = "{" + ",".join([*tables.metadata.tables, VERSION_TABLE]) + "}"

# One row of text: the schema of the tables, and which of them are there, in their order.
LOOK = f"""
SELECT CAST({HOME} AS text), string_agg(name, ',' ORDER BY place)
FROM unnest(CAST('{_NAMES}' AS text[])) WITH ORDINALITY AS wanted (name, place)
WHERE to_regclass(name) IS NOT NULL
"""  # noqa: S608 - constants


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a look found.

    Attributes:
        schema: where the tables are, or are to be.
        tables: those of the contract that are there, the table of the version included.
        version: the revision; None before the first.
        owner: of the table of the version; None if there is none.
    """

    schema: str
    tables: Sequence[str] = ()
    version: str | None = None
    owner: str | None = None


def found_from(schema: str | None, names: str | None) -> Found:
    """What the row of `LOOK` says; the version is not looked up yet.

    Raises:
        UpgradeError: there is no schema to look at.
    """
    if schema is None:
        raise UpgradeError(HOMELESS)
    return Found(schema=schema, tables=tuple(names.split(",")) if names else ())


def version_query(schema: str) -> str:
    """A row of text with the revision and the owner of its table, which is there; no row before the first revision."""
    table = f"{quoted(schema)}.{VERSION_TABLE}"
    return (
        f"SELECT CAST(version_num AS text), CAST(pg_get_userbyid(relowner) AS text) FROM {table}, pg_class"  # noqa: S608 - quoted
        f" WHERE pg_class.oid = to_regclass({literal(table)})"
    )


def upgrade_statement(found: Found, *, jobs_role: str) -> str:
    """Everything that is left to do, as one statement without parameters, the roles and their rights included.

    It fails with `TAKEN`, and does nothing, while another upgrade is under way or if one has been since the look.

    Args:
        found: what a look found just now.
        jobs_role: the role that runs the jobs by IAM.

    Raises:
        UpgradeError: the tables are there and were not made by this project, or a newer version of it made them.
    """
    if found.version is None and found.tables:
        raise UpgradeError(
            f"{', '.join(found.tables)}: there already, without a revision in {VERSION_TABLE}; nothing was changed."
            " Connect with DATABASE_URL to adopt what is there"
        )
    owner = found.owner or owner_of(jobs_role)
    statements = [
        *creation_statements(jobs_role, schema=found.schema),
        f"SET LOCAL ROLE {quoted(owner)}",
        *migrations.offline_sql(found.schema, since=found.version),
        "RESET ROLE",
        *grant_statements(jobs_role, schema=found.schema),
    ]
    return _block(found, statements)


def _block(found: Found, statements: Sequence[str]) -> str:
    table = literal(f"{quoted(found.schema)}.{VERSION_TABLE}")
    expected = "NULL" if found.version is None else literal(found.version)
    execute = "\n".join(f"  EXECUTE {literal(statement)};" for statement in statements)
    return f"""DO $arcade_jobs$
DECLARE
  version text;
BEGIN
  IF NOT pg_try_advisory_xact_lock({ADVISORY_LOCK}) THEN
    RAISE EXCEPTION USING ERRCODE = '55P03', MESSAGE = {literal(TAKEN)};
  END IF;
  IF to_regclass({table}) IS NOT NULL THEN
    EXECUTE 'SELECT version_num FROM ' || {table} INTO version;
  END IF;
  IF version IS DISTINCT FROM {expected} THEN
    RAISE EXCEPTION USING ERRCODE = '55P03', MESSAGE = {literal(TAKEN)};
  END IF;
  PERFORM set_config('lock_timeout', {literal(LOCK_TIMEOUT)}, true);
{execute}
END
$arcade_jobs$"""  # noqa: S608 - literals
