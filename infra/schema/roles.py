"""The two roles: one owns the schema and cannot log in, one runs the jobs with the rights that their statements need.

Each statement can be repeated. The triggers need no rights: their functions run with those of the owner.
"""

import time
from collections.abc import Callable, Iterator, Mapping

from sqlalchemy import Connection, Engine, text

from infra.schema.differences import Difference, warning
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


def exists(engine: Engine, role: str) -> bool:
    """Whether there is a role."""
    with engine.connect() as connection:
        return bool(
            connection.scalar(text("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = :role)"), {"role": role})
        )


def check(engine: Engine) -> list[Difference]:
    """Name the roles that may not run the jobs since revision 0003, though they did before, and who else may settle.

    Raises:
        UpgradeError: there is no schema.
    """
    with begin(engine, report=lambda _: None, sleep=time.sleep) as session:
        return list(warnings(session.connection, session.schema))


def warnings(connection: Connection, schema: str) -> Iterator[Difference]:
    """Roles that ran the jobs before revision 0003 and lack a right since, and all that may settle if it is not one.

    Args:
        connection: on the database.
        schema: where the tables are.
    """
    home = quoted(schema)
    right = f"{home}.arcade_jobs_may_settle()"
    names = {"boards": f"{home}.leaderboards", "zones": f"{home}.arcade_jobs_timezones", "right": right}
    for (role,) in connection.execute(_LACK_RIGHTS, names):
        yield warning(
            f"role {role}",
            "may write ranks, and lacks what the jobs need since revision 0003",
            *grant_statements(role, schema=schema),
            note=f"or arcade-jobs db upgrade --jobs-role {role}, which does the same",
        )
    may_settle = list(connection.scalars(_MAY_SETTLE, {"right": right}))
    if len(may_settle) > 1:  # S32: by GRANT ON ALL FUNCTIONS, or by default privileges
        yield warning(
            f"roles {', '.join(may_settle)}",
            "may all finalize pools, with any winner; take the right from those that do not run the jobs",
            *(f"REVOKE ALL ON FUNCTION {right} FROM {quoted(role)}" for role in may_settle),
        )


# By the rights that they were granted.
_LACK_RIGHTS = text("""
    SELECT rolname FROM pg_class, aclexplode(relacl) JOIN pg_roles ON pg_roles.oid = grantee
    WHERE pg_class.oid = to_regclass(:boards) AND privilege_type = 'UPDATE' AND grantee <> relowner
      AND NOT (has_function_privilege(grantee, to_regprocedure(:right), 'EXECUTE')
        AND has_table_privilege(grantee, to_regclass(:zones), 'SELECT'))
    ORDER BY 1
""")
_MAY_SETTLE = text("""
    SELECT rolname FROM pg_proc, aclexplode(proacl) JOIN pg_roles ON pg_roles.oid = grantee
    WHERE pg_proc.oid = to_regprocedure(:right) AND grantee <> proowner
    ORDER BY 1
""")


def _creation(role: str, attribute: str) -> str:
    """CREATE ROLE, unless there is one: roles are the server's, and another database may have created it."""
    return (
        f"DO $$ BEGIN CREATE ROLE {quoted(role)} {attribute};"
        " EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
    )
