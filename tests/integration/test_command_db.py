from uuid import uuid4

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

from infra.cli.app import app
from infra.cli.terminal import out
from infra.local import postgres
from tests.sql import run


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


def test_s32_an_upgrade_names_the_roles_that_may_not_finalize_and_what_to_type(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = f"jobs_{uuid4().hex[:12]}"
    run(engine, f"CREATE ROLE {role}", f"GRANT SELECT, INSERT, UPDATE ON leaderboards TO {role}")
    monkeypatch.setenv("DATABASE_URL", engine.url.render_as_string(hide_password=False))
    monkeypatch.setattr(out, "width", 200)
    gives = f"arcade-jobs db upgrade --jobs-role {role}, which grants all that the jobs need"
    upgrade = lambda *options: CliRunner().invoke(app, ["db", "upgrade", *options]).output.splitlines()  # noqa: E731
    warned, fix, _ = upgrade()[-3:]
    assert warned == f"warning: role {role} may write ranks, and not finalize pools (AJ001)"
    assert fix == f"    GRANT EXECUTE ON FUNCTION public.arcade_jobs_may_settle() TO {role}; -- or {gives}"
    assert not [line for line in upgrade("--jobs-role", role) if "warning" in line]
    run(engine, f"DROP OWNED BY {role}", f"DROP ROLE {role}")
