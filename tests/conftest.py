"""What tests share: one real PostgreSQL for the session, and a fresh, migrated database for each test that asks."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import Engine, create_engine

from infra.local import postgres
from shared.db import migrations

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Server]:
    with postgres.serve(ROOT / ".local" / "postgres-tests") as server:
        yield server


@pytest.fixture(scope="session")
def template(server: postgres.Server) -> Iterator[str]:
    """The name of a migrated database to copy: 0.1 s instead of a migration for each test."""
    name = f"template_{uuid4().hex[:12]}"
    engine = create_engine(server.create_database(name))
    migrations.upgrade(engine)
    engine.dispose()
    yield name
    server.drop_database(name)


@pytest.fixture
def engine(server: postgres.Server, template: str) -> Iterator[Engine]:
    """An engine on a fresh, migrated database."""
    name = f"test_{uuid4().hex[:12]}"
    engine = create_engine(server.create_database(name, template=template))
    yield engine
    engine.dispose()
    server.drop_database(name)
