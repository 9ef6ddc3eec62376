"""Unit tests start nothing: no PostgreSQL, no emulator, no other server."""

import time
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("shared-machine", deadline=None)  # a slow example is a busy machine's doing, not the code's
settings.load_profile("shared-machine")


@pytest.fixture(scope="session")
def server() -> None:
    """Takes the place of PostgreSQL's fixture, on which all others that need a database depend."""
    pytest.fail("a unit test requested a database: it belongs in tests/integration")


@pytest.fixture
def far_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's own zone is a day ahead of most."""
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()
