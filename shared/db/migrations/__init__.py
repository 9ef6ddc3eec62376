"""The schema's migrations."""

from sqlalchemy import Engine

from shared.db.tables import metadata


def upgrade(engine: Engine) -> None:
    """Create the tables."""
    metadata.create_all(engine)
