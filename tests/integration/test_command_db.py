from uuid import uuid4

import pytest
from typer.testing import CliRunner

from infra.cli.app import app
from infra.local import postgres


def test_the_schema_is_created_and_checked_by_command(server: postgres.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"commanded_{uuid4().hex[:12]}"
    url = server.create_database(name)
    monkeypatch.setenv("DATABASE_URL", url.render_as_string())
    command = CliRunner()
    assert command.invoke(app, ["db", "check"]).exit_code == 1
    for _ in range(2):
        upgraded = command.invoke(app, ["db", "upgrade"])
        assert upgraded.exit_code == 0, upgraded.output
    checked = command.invoke(app, ["db", "check"])
    assert (checked.exit_code, checked.output) == (0, "the schema is as it should be\n")
    server.drop_database(name)
