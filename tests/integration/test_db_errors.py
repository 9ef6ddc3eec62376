import pytest
from sqlalchemy.exc import DBAPIError

from infra.local import postgres
from shared.db.connection import open_engine
from shared.db.errors import describe, is_connection_lost, is_transient, sqlstate


def test_a_refused_connection_carries_the_servers_reason_and_is_not_retried(server: postgres.Server) -> None:
    """The server gives its reason and hangs up; whether the driver then fails to close is a race: 50 attempts."""
    engine = open_engine(server.admin_url.set(database="absent").render_as_string())
    for _ in range(50):
        with pytest.raises((DBAPIError, OSError)) as refused:
            engine.connect()
        assert sqlstate(refused.value) == "3D000"
        assert describe(refused.value) == 'database "absent" does not exist (SQLSTATE 3D000)'
        assert not is_transient(refused.value)
        assert not is_connection_lost(refused.value)
    engine.dispose()


def test_an_error_met_while_another_was_handled_is_described_by_itself() -> None:
    error = KeyError("snake")
    error.__context__ = DBAPIError("", (), ValueError({"C": "23505", "M": "duplicate key"}))
    assert describe(error) == "KeyError: 'snake'"
