import json
import sys
from collections.abc import Callable
from uuid import uuid4

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

from infra.cli import terminal
from infra.cli.app import app, main
from infra.cli.options import Target
from infra.local import postgres
from infra.schema.revisions import head
from tests.sql import rows, run, split


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


@pytest.fixture
def arcade_jobs(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """The command with the DATABASE_URL of a migrated database: exit code, standard output, standard error."""
    monkeypatch.setenv("DATABASE_URL", engine.url.render_as_string(hide_password=False))

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["arcade-jobs", *arguments])
        with pytest.raises(SystemExit) as exited:
            main()
        printed = capsys.readouterr()
        return int(exited.value.code or 0), printed.out, printed.err

    return call


def test_a_change_of_the_time_zone_is_shown_recorded_and_withdrawn_by_command(
    engine: Engine, arcade_jobs: Callable[..., tuple[int, str, str]]
) -> None:
    assert arcade_jobs("db", "timezone") == (0, "from 1970-01-01  UTC\n", "")
    for _ in range(2):
        code, out, err = arcade_jobs("db", "timezone", "Asia/Tokyo", "--from", "9000-01-05")
        assert (code, out) == (0, "from 1970-01-01  UTC\nfrom 9000-01-05  Asia/Tokyo\n")
        assert err == f"database {engine.url.database}, schema public\n"
    assert json.loads(arcade_jobs("db", "timezone", "--json")[1]) == [
        {"from": "1970-01-01", "timezone": "UTC"},
        {"from": "9000-01-05", "timezone": "Asia/Tokyo"},
    ]
    assert arcade_jobs("db", "timezone", "UTC", "--from", "9000-01-05")[:2] == (0, "from 1970-01-01  UTC\n")


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["Mars/Olympus", "--from", "9000-01-05"], 2, "NAME: 'Mars/Olympus' is not an IANA time zone such as UTC or"),
        (["Asia/Tokyo"], 2, "db timezone: NAME and --from DATE belong together; one is missing"),
        (["--from", "9000-01-05"], 2, "db timezone: NAME and --from DATE belong together; one is missing"),
        (["Asia/Tokyo", "--from", "2026-01-05"], 2, "--from 2026-01-05: expected a date later than 20"),
        (["Asia/Tokyo", "--from", "0001-01-01"], 2, "--from 0001-01-01: expected a date later than 20"),
        (["Asia/Tokyo", "--from", "tomorrow"], 2, "arcade-jobs: --from: 'tomorrow' does not match the formats"),
    ],
)
def test_a_change_that_is_refused_is_one_line(
    engine: Engine, arcade_jobs: Callable[..., tuple[int, str, str]], arguments: list[str], code: int, line: str
) -> None:
    found, out, err = arcade_jobs("db", "timezone", *arguments)
    assert (found, out) == (code, "")
    assert line in " ".join(err.split())
    assert rows(engine, "SELECT count(*) FROM arcade_jobs_timezones") == [(1,)]


def test_a_schema_that_is_behind_is_to_be_upgraded_first(
    engine: Engine, arcade_jobs: Callable[..., tuple[int, str, str]]
) -> None:
    run(engine, "UPDATE arcade_jobs_version SET version_num = '0001+3'")
    for arguments in ([], ["Asia/Tokyo", "--from", "9000-01-05"]):
        code, _, err = arcade_jobs("db", "timezone", *arguments)
        assert (code, err.splitlines()[-1]) == (
            1,
            f"arcade-jobs: arcade_jobs_version is not {head()}: run arcade-jobs db upgrade",
        )


def test_an_upgrade_records_the_zone_of_the_environment_once_and_warns_of_another(
    engine: Engine, arcade_jobs: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(engine, "DELETE FROM arcade_jobs_timezones")
    monkeypatch.setenv("JOB_SCHEDULER_TIMEZONE", "Mars/Olympus")
    code, _, err = arcade_jobs("db", "upgrade")
    assert (code, err.startswith("arcade-jobs: JOB_SCHEDULER_TIMEZONE: 'Mars/Olympus' is not an IANA")) == (2, True)
    monkeypatch.setenv("JOB_SCHEDULER_TIMEZONE", "Europe/London")
    code, out, err = arcade_jobs("db", "upgrade")
    assert (code, out.splitlines()[-1]) == (0, "the schema is up to date")
    assert err == "periods begin at midnight in Europe/London\n"
    monkeypatch.setenv("JOB_SCHEDULER_TIMEZONE", "")
    code, out, err = arcade_jobs("db", "upgrade")
    assert code == 0
    assert err == (
        "periods begin at midnight in Europe/London\n"
        "warning: JOB_SCHEDULER_TIMEZONE is UTC, the database's zone is Europe/London:"
        " deploy with Europe/London, or run arcade-jobs db timezone UTC --from DATE\n"
    )
    assert rows(engine, "SELECT timezone FROM arcade_jobs_timezones") == [("Europe/London",)]


def test_s32_an_upgrade_names_the_roles_that_may_not_finalize_and_what_to_type(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = f"jobs_{uuid4().hex[:12]}"
    run(engine, f"CREATE ROLE {role}", f"GRANT SELECT, INSERT, UPDATE ON leaderboards TO {role}")
    monkeypatch.setenv("DATABASE_URL", engine.url.render_as_string(hide_password=False))
    monkeypatch.setattr(terminal.out, "width", 200)
    upgrade = lambda *options: CliRunner().invoke(app, ["db", "upgrade", *options]).output.splitlines()  # noqa: E731
    warned, *grants = (line for line in upgrade() if role in line)
    assert warned == f"warning: role {role} may write ranks, and lacks what the jobs need since revision 0003"
    assert f"    GRANT SELECT ON public.arcade_jobs_timezones TO {role};" in grants
    assert grants[-1] == (
        f"    GRANT EXECUTE ON FUNCTION public.arcade_jobs_may_settle() TO {role};"
        f" -- or arcade-jobs db upgrade --jobs-role {role}, which does the same"
    )
    assert not [line for line in upgrade("--jobs-role", role) if "warning" in line]
    run(engine, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


@pytest.mark.parametrize(
    ("url", "arguments", "code", "line"),
    [
        ("postgres//arcade", ["check"], 2, "DATABASE_URL: expected a URL such as postgresql://user@host:5432/arcade"),
        ("{url}", ["check", "--sql", "--json"], 2, "--sql, --json: expected one of them"),
        ("", ["check", "--sql"], 2, "--sql: with DATABASE_URL or --local only; a database of the stack's is never"),
        ("postgresql://a@127.0.0.1:1/a", ["check"], 3, "DATABASE_URL: cannot connect to 127.0.0.1 port 1: Connection"),
        ("{absent}", ["upgrade"], 3, 'DATABASE_URL: database "absent" does not exist (SQLSTATE 3D000)'),
    ],
)
def test_the_same_mistake_has_the_same_exit_code_and_one_line(
    engine: Engine,
    arcade_jobs: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    url: str,
    arguments: list[str],
    code: int,
    line: str,
) -> None:
    monkeypatch.setenv("DATABASE_URL", url.format(url=engine.url, absent=engine.url.set(database="absent")))
    exited, printed, err = arcade_jobs("db", *arguments)
    last = err.splitlines()[-1]
    assert (exited, printed, last.startswith(f"arcade-jobs: {line}")) == (code, "", True), last


def test_a_role_without_rights_learns_who_has_them(
    engine: Engine, arcade_jobs: Callable[..., tuple[int, str, str]]
) -> None:
    role = f"role_{uuid4().hex[:12]}"
    run(engine, f"CREATE ROLE {role}", f'ALTER DATABASE "{engine.url.database}" SET role = {role}')
    engine.dispose()
    for command in ("check", "upgrade"):
        code, _, err = arcade_jobs("db", command)
        wanted = f"arcade-jobs: arcade_jobs_version: role {role} may not read it; connect as the owner of the tables\n"
        assert (code, err) == (1, wanted)
    run(engine, f"SET ROLE NONE; DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


def test_functions_and_triggers_are_named_and_their_sql_is_one_option_away(
    engine: Engine, arcade_jobs: Callable[..., tuple[int, str, str]]
) -> None:
    run(
        engine,
        "CREATE OR REPLACE FUNCTION arcade_jobs_seal_pool() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
        "DROP TRIGGER arcade_jobs_seal_delete ON prize_pools",
    )
    code, printed, notes = arcade_jobs("db", "check")
    assert (code, printed.splitlines()) == (
        1,
        [
            f"missing: function arcade_jobs_seal_pool() differs from revision {head()}",
            "missing: trigger prize_pools.arcade_jobs_seal_delete is missing",
        ],
    )
    assert notes == "functions and triggers in full: arcade-jobs db check --sql\n"
    run(engine, *split(arcade_jobs("db", "check", "--sql")[1]))
    assert arcade_jobs("db", "check")[:2] == (0, "the schema is as it should be\n")


def test_an_upgrade_prints_what_it_did_for_programs(
    engine: Engine, arcade_jobs: Callable[..., tuple[int, str, str]]
) -> None:
    run(engine, "CREATE INDEX by_rank ON leaderboard_entries (rank)")
    code, printed, notes = arcade_jobs("db", "upgrade", "--json")
    assert code == 0
    assert json.loads(printed) == {
        "revision": head(),
        "timezones": [{"from": "1970-01-01", "timezone": "UTC"}],
        "warnings": [],
    }
    assert notes.splitlines()[-1] == "periods begin at midnight in UTC"


def test_local_is_the_database_that_the_functions_of_the_laptop_cloud_have(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, arcade_jobs: Callable[..., tuple[int, str, str]]
) -> None:
    class Deployed:
        """What `Target.deployment` finds of the laptop cloud."""

        def function(self, job: str) -> str:
            return f"dev-{job}"

        def client(self, _service: str) -> "Deployed":
            return self

        def get_function_configuration(self, **_: str) -> dict[str, object]:
            return {"Environment": {"Variables": {"DATABASE_URL": engine.url.render_as_string(hide_password=False)}}}

        def output(self, _name: str) -> str:
            return "UTC"

        def __str__(self) -> str:
            return "laptop cloud, stack arcade-jobs-dev"

    monkeypatch.setenv("DATABASE_URL", "postgresql://a@127.0.0.1:1/a")  # the laptop cloud's it is, whatever is set here
    monkeypatch.setattr(Target, "deployment", lambda _: Deployed())
    named = f"laptop cloud, stack arcade-jobs-dev, database {engine.url.database}\n"
    assert arcade_jobs("db", "check", "--local") == (0, "the schema is as it should be\n", named)
    assert arcade_jobs("db", "upgrade", "--local")[0] == 0
    assert json.loads(arcade_jobs("db", "check", "--local", "--json")[1]) == []
