"""The two roles: one owns the schema and cannot log in, one runs the jobs with the rights that their statements need.

Each statement can be repeated. The triggers need no rights: their functions run with those of the owner.
"""

import time
from collections.abc import Callable, Mapping

from sqlalchemy import Engine

from infra.schema.quoting import literal, quoted
from infra.schema.session import begin

# What `shared/db` does to each table, and no more. Locking rows (FOR UPDATE) requires the right to update some column:
# of a session it is one that decides nothing.
RIGHTS: Mapping[str, str] = {
    "game_sessions": "SELECT, DELETE, UPDATE (game_duration_ms)",
    "leaderboard_entries": "SELECT, DELETE, UPDATE (rank)",
    "prize_pools": (
        "SELECT, UPDATE (status, winner_address, winner_score, finalized_at, settled_by, entries_passed_over)"
    ),
    "leaderboards": "SELECT, INSERT, UPDATE",
    "leaderboard_touches": "SELECT, DELETE",
    "arcade_jobs_timezones": "SELECT",
    "arcade_jobs_deleted_sessions": "SELECT, DELETE, UPDATE",
    "arcade_jobs_orphans": "SELECT, INSERT, DELETE, UPDATE",
    "arcade_jobs_sweep": "SELECT, INSERT, UPDATE",
}


def owner_of(jobs_role: str) -> str:
    """The name of the role that owns what is created for a jobs' role."""
    return f"{jobs_role}_owner"


def grant_statements(role: str, *, schema: str = "public") -> list[str]:
    """Give a role what the jobs need: to connect, to create a temporary table, and its rights on each table.

    Args:
        role: one that exists.
        schema: where the tables are.
    """
    to, home = quoted(role), quoted(schema)
    # GRANT takes no expression for the database's name.
    connect = (
        "DO $$ BEGIN EXECUTE format("
        f"'GRANT CONNECT, TEMPORARY ON DATABASE %I TO %I', current_database(), {literal(role)}); END $$"
    )
    tables = (f"GRANT {rights} ON {home}.{table} TO {to}" for table, rights in RIGHTS.items())
    may_settle = f"GRANT EXECUTE ON FUNCTION {home}.arcade_jobs_may_settle() TO {to}"
    return [connect, f"GRANT USAGE ON SCHEMA {home} TO {to}", *tables, may_settle]


def creation_statements(jobs_role: str, *, schema: str) -> list[str]:
    """Make both roles in a database of RDS: as its admin, which becomes a member of the owner.

    The admin must not become a member of the jobs' role: RDS would then ask for a token instead of the password
    (https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/UsingWithRDS.IAMDBAuth.DBAccounts.html).
    """
    owner = owner_of(jobs_role)
    return [
        _creation(owner, "NOLOGIN"),
        f"GRANT {quoted(owner)} TO CURRENT_USER",
        f"GRANT USAGE, CREATE ON SCHEMA {quoted(schema)} TO {quoted(owner)}",
        _creation(jobs_role, "LOGIN"),
        f"GRANT rds_iam TO {quoted(jobs_role)}",
    ]


def grant(
    engine: Engine,
    role: str,
    *,
    report: Callable[[str], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Give a role what the jobs need, over a connection.

    Args:
        engine: on the database, as the owner of the tables.
        role: one that exists.
        report: takes lines of progress.
        sleep: waits for a number of seconds.

    Raises:
        UpgradeError: there is no such role, or this one may not grant.
    """
    with begin(engine, report=report, sleep=sleep) as session:
        for statement in grant_statements(role, schema=session.schema):
            session.run(statement)


def _creation(role: str, attribute: str) -> str:
    """CREATE ROLE, unless there is one: roles are the server's, and another database may have created it."""
    return (
        f"DO $$ BEGIN CREATE ROLE {quoted(role)} {attribute};"
        " EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
    )
