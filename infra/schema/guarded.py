# ruff: noqa: S608 - the blocks are put together from frozen statements and quoted names
"""One block of SQL that does something and records it, or does neither.

A block runs in a transaction of its own, wherever it is sent from: over a connection or through the Data API. It begins
only while no other upgrade is under way and the version table reads what its sender saw, so that two upgrades at once,
or one that was killed, never run a statement twice.
"""

from collections.abc import Sequence
from typing import Protocol

from infra.schema.quoting import literal, quoted
from infra.schema.revisions import VERSION_TABLE, Step, without_concurrently

ADVISORY_LOCK = 0x61726361_6A6F6273  # "arca", "jobs": held by an upgrade of this database
BUSY = "another upgrade of this database is under way"  # the message of a block that did nothing for that reason
MOVED = "another upgrade of this database has made progress"  # compare again
LOCK_NOT_AVAILABLE = "55P03"

Row = tuple[str | None, ...]


class MovedError(Exception):
    """Another upgrade has made progress since the version was read."""


class Runner(Protocol):
    """A way to a database: a connection, or the Data API."""

    @property
    def schema(self) -> str:
        """Where the tables are, or will be."""

    @property
    def role(self) -> str | None:
        """The role that will own what is created; None: the one that is connected."""

    def version(self) -> str | None:
        """What the version table reads; None before the first revision."""

    def rows(self, query: str) -> Sequence[Row]:
        """The rows of a query whose columns are all text."""

    def run_block(self, body: str, *, expected: str | None) -> None:
        """Run a block; where it has to wait, try again or raise."""

    def build(self, statement: str) -> bool:
        """Run CREATE INDEX CONCURRENTLY outside a transaction; False if the server does not take it there."""


def run_step(runner: Runner, step: Step) -> None:
    """Do one step and record it. If this is interrupted, the same step can be run again."""
    if step.concurrent_index is not None:
        runner.run_block(_clear_body(step, runner.schema), expected=step.before)
        if runner.build(step.statement):
            runner.run_block(_built_body(step, runner.schema), expected=step.before)
            return
    body = execute(without_concurrently(step.statement))
    if step.sets_aside_from is not None:
        body = "\n".join((body, _nothing_else_gone(step.sets_aside_from)))
    body = _as(runner.role, body)
    runner.run_block("\n".join((body, _record(runner.schema, step))), expected=step.before)


def block(schema: str, body: str, *, lock_timeout: float, expected: str | None) -> str:
    """Statements of PL/pgSQL that run alone and are all done or not done.

    Args:
        schema: where the version table is, or will be.
        body: the statements.
        lock_timeout: seconds to wait for each lock: what comes after a waiting ALTER TABLE waits as long as it does.
        expected: what the version table must hold; None if it must not exist.
    """
    table = f"{quoted(schema)}.{VERSION_TABLE}"
    return f"""DO $arcade_jobs$
DECLARE
  version text;
  dependents text;
  moved bigint;
BEGIN
  IF NOT pg_try_advisory_xact_lock({ADVISORY_LOCK}) THEN
    RAISE EXCEPTION USING ERRCODE = '{LOCK_NOT_AVAILABLE}', MESSAGE = '{BUSY}';
  END IF;
  PERFORM set_config('lock_timeout', '{round(lock_timeout * 1000)}ms', true);
  IF to_regclass({literal(table)}) IS NOT NULL THEN
    EXECUTE {literal(f"SELECT version_num FROM {table} FOR UPDATE")} INTO version;
  END IF;
  IF version IS DISTINCT FROM {"NULL" if expected is None else literal(expected)} THEN
    RAISE EXCEPTION USING ERRCODE = '{LOCK_NOT_AVAILABLE}', MESSAGE = '{MOVED}';
  END IF;
{body}
END
$arcade_jobs$"""


def execute(*statements: str) -> str:
    """Statements as the body of a block."""
    return "\n".join(f"  EXECUTE {literal(statement)};" for statement in statements)


def begin_body(schema: str, version: str, *, role: str | None = None) -> str:
    """Make the version table, which is not there yet or has no row, and record a version."""
    table = f"{quoted(schema)}.{VERSION_TABLE}"
    create = (
        f"CREATE TABLE IF NOT EXISTS {table}"
        f" (version_num varchar(32) NOT NULL, CONSTRAINT {VERSION_TABLE}_pkc PRIMARY KEY (version_num))"
    )
    return _as(role, execute(create, f"INSERT INTO {table} VALUES ({literal(version)})"))


def _clear_body(step: Step, schema: str) -> str:
    """Before an index is built concurrently: drop what an interrupted build has left of it.

    The lock is that of a build, so none is under way while it is held.
    """
    index, lock = _index(step, schema)
    return (
        f"{lock}\n"
        f"  IF EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass({literal(index)}) AND NOT indisvalid) THEN\n"
        f"    EXECUTE {literal(f'DROP INDEX {index}')};\n"
        f"  END IF;"
    )


def _built_body(step: Step, schema: str) -> str:
    """After an index was built concurrently: record it, if it is there and whole.

    It is not if another upgrade was building it, so that this one left it alone, and was killed.
    """
    index, lock = _index(step, schema)
    there = f"FROM pg_index WHERE indexrelid = to_regclass({literal(index)})"
    return (
        f"{lock}\n"
        f"  IF NOT EXISTS (SELECT {there} AND indisvalid) THEN\n"
        f"    IF EXISTS (SELECT {there}) OR to_regclass({literal(index)}) IS NULL THEN\n"
        f"      RAISE EXCEPTION USING ERRCODE = '{LOCK_NOT_AVAILABLE}', MESSAGE = '{MOVED}';\n"
        f"    END IF;\n"
        f"    RAISE EXCEPTION USING ERRCODE = '42P07', MESSAGE = {literal(f'{index} is there and is no index')};\n"
        f"  END IF;\n{_record(schema, step)}"
    )


def _index(step: Step, schema: str) -> tuple[str, str]:
    if step.concurrent_index is None:
        raise ValueError(f"{step} builds no index concurrently")
    name, table = step.concurrent_index
    return f"{quoted(schema)}.{name}", execute(f"LOCK TABLE {table} IN SHARE UPDATE EXCLUSIVE MODE")


def _nothing_else_gone(table: str) -> str:
    """After rows were set aside: take it back if a foreign key has deleted or changed others with them."""
    return f"""  GET DIAGNOSTICS moved = ROW_COUNT;
  SELECT string_agg(conrelid::regclass || '.' || conname, ', ') INTO dependents FROM pg_constraint
  WHERE contype = 'f' AND confdeltype IN ('c', 'n', 'd') AND confrelid = to_regclass({literal(table)});
  IF moved > 0 AND dependents IS NOT NULL THEN
    RAISE EXCEPTION USING ERRCODE = '23503', MESSAGE = format(
      '%s rows of %s would be set aside, and rows of others go with them: drop %s first',
      moved, {literal(table)}, dependents);
  END IF;"""


def _record(schema: str, step: Step) -> str:
    return f"  UPDATE {quoted(schema)}.{VERSION_TABLE} SET version_num = {literal(step.after)};"


def _as(role: str | None, body: str) -> str:
    if role is None:
        return body
    return "\n".join((execute(f"SET LOCAL ROLE {quoted(role)}"), body, "  RESET ROLE;"))
