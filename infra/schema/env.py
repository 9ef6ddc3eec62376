"""Alembic's way in: run by `alembic.command`, online on the session that `upgrade` opened, offline into a list."""

from alembic import context

from infra.schema.creation import VERSION_TABLE

attributes = context.config.attributes

if context.is_offline_mode():
    context.configure(
        dialect_name="postgresql",
        dialect_opts={"paramstyle": "named"},
        literal_binds=True,
        transactional_ddl=False,
        version_table=VERSION_TABLE,
        version_table_schema=attributes["schema"],
    )
else:
    session = attributes["session"]
    context.configure(
        connection=session.connection,
        transactional_ddl=False,  # what was done before a failure stays: the next upgrade goes on from there
        version_table=VERSION_TABLE,
        version_table_schema=session.schema,
    )
with context.begin_transaction():
    context.run_migrations()
