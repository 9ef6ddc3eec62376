"""What prevents a comparison or an upgrade: the server, and the rights of this role."""

from collections.abc import Iterator, Mapping

from sqlalchemy import Connection, text

from infra.schema.catalog import Table
from infra.schema.differences import Difference, refused
from infra.schema.quoting import quoted

OLDEST = 15  # the PostgreSQL release from which everything here is there


def obstacles(
    connection: Connection, schema: str, tables: Mapping[str, Table], *, to_alter: bool
) -> Iterator[Difference]:
    """Name each, with the statement that removes it."""
    row = connection.execute(
        text("""
            SELECT current_setting('server_version') AS release, current_setting('server_version_num')::int AS number,
                   quote_ident(current_user) AS role, quote_ident(current_database()) AS database,
                   has_schema_privilege(:schema, 'CREATE') AS may_create,
                   has_database_privilege(current_database(), 'TEMPORARY') AS may_compare
        """),
        {"schema": schema},
    ).one()
    if row.number < OLDEST * 10_000:
        yield refused("PostgreSQL", f"is {row.release}; {OLDEST} or newer is needed")
    if to_alter and not row.may_create:
        grant = f"GRANT CREATE ON SCHEMA {quoted(schema)} TO {row.role}"
        yield refused(f"schema {schema}", f"lets {row.role} create nothing", grant)
    if not row.may_compare:
        grant = f"GRANT TEMPORARY ON DATABASE {row.database} TO {row.role}"
        yield refused(f"database {row.database}", f"lets {row.role} create no temporary tables to compare with", grant)
    for name, table in tables.items():
        if not table.may_read:
            yield refused(name, f"cannot be read by {row.role}", f"GRANT SELECT ON {name} TO {row.role}")
        if to_alter and not table.may_alter:
            grant = f"GRANT {quoted(table.owner)} TO {row.role}"
            yield refused(name, f"belongs to {table.owner}; {row.role} may not alter it", grant)
