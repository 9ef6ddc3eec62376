"""The schema of the contract, created or adopted.

It completes the schema as `shared/db/tables.py` has it. A later revision that only adds does the same again; one that
changes what is there finds its work done in a new database.
"""

from alembic import context as environment
from alembic import op

from infra.schema import adoption, creation

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create what is not there."""
    attributes = environment.config.attributes
    if environment.is_offline_mode():
        for statement in creation.schema_statements(attributes["schema"]):
            op.get_context().impl.static_output(statement)
        return
    adoption.add(attributes["session"], attributes["missing"])
    adoption.mark_boards(attributes["session"])
