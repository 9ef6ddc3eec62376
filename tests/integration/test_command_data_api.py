"""The command on a database that the stack created, through the Data API, and on one of your own beside it."""

import sys
from typing import Any

import pytest

from infra.cli import app as command
from infra.cli.options import Target
from tests.integration.cluster import Cluster


@pytest.fixture
def arcade_jobs(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """The command, for the stage of the cluster: exit code, standard output, standard error."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setattr(Target, "deployment", lambda _: cluster.deployment())

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["arcade-jobs", *arguments])
        with pytest.raises(SystemExit) as exited:
            command.main()
        printed = capsys.readouterr()
        return int(exited.value.code or 0), printed.out, printed.err

    return call


def test_the_command_names_account_and_stack_first(cluster: Cluster, arcade_jobs: Any) -> None:
    code, out, err = arcade_jobs("db", "upgrade", "--stage", "dev")
    assert (code, out) == (0, "the schema is up to date\n")
    assert err.splitlines()[0] == "account 123456789012, eu-west-1, stack arcade-jobs-dev"
    assert arcade_jobs("db", "check")[:2] == (0, "the schema is as it should be\n")
    cluster.run("DROP TABLE leaderboard_touches")
    assert arcade_jobs("db", "check")[:2] == (1, "missing: leaderboard_touches is missing\n")


def test_the_command_explains_how_to_name_a_database_of_your_own(
    cluster: Cluster, arcade_jobs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Target, "deployment", lambda _: cluster.deployment(RunsTableName="runs"))
    code, _, err = arcade_jobs("db", "upgrade")
    assert code == 3
    assert err.splitlines()[-1] == (
        "arcade-jobs: DATABASE_URL: missing, and stack arcade-jobs-dev created no database of its own;"
        " expected a URL such as postgresql://user@host:5432/arcade"
    )
    code, _, err = arcade_jobs("db", "upgrade", "--jobs-role", "x")
    assert (code, err.splitlines()) == (
        2,
        ["arcade-jobs: --jobs-role: with DATABASE_URL only; a database of the stack's has its role already"],
    )


def test_the_command_connects_when_database_url_is_set_and_grants_to_a_role(
    cluster: Cluster, arcade_jobs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", cluster.engine.url.render_as_string(hide_password=False))
    code, _, err = arcade_jobs("db", "upgrade", "--jobs-role", cluster.jobs_role)
    assert (code, err) == (2, f"arcade-jobs: --jobs-role: there is no role '{cluster.jobs_role}'; create it first\n")
    cluster.run(f"CREATE ROLE {cluster.jobs_role} LOGIN")
    assert arcade_jobs("db", "upgrade", "--jobs-role", cluster.jobs_role)[0] == 0
    assert cluster.scalar(f"SELECT has_table_privilege('{cluster.jobs_role}', 'leaderboards', 'INSERT')")
    assert cluster.fake.statements == []


def test_the_zone_of_the_deployment_is_recorded_once_and_changed_through_the_data_api(
    cluster: Cluster, arcade_jobs: Any
) -> None:
    cluster.timezone = "Europe/London"
    code, out, err = arcade_jobs("db", "upgrade")
    assert (code, out) == (0, "the schema is up to date\n")
    assert err.splitlines()[-1] == "periods begin at midnight in Europe/London"
    cluster.timezone = "Asia/Tokyo"
    assert "warning: JOB_SCHEDULER_TIMEZONE is Asia/Tokyo, the database's" in arcade_jobs("db", "upgrade")[2]
    account = "account 123456789012, eu-west-1, stack arcade-jobs-dev\n"
    assert arcade_jobs("db", "timezone") == (0, "from 1970-01-01  Europe/London\n", account)
    for _ in range(2):
        changed = arcade_jobs("db", "timezone", "Asia/Tokyo", "--from", "9000-01-05")
        assert changed == (0, "from 1970-01-01  Europe/London\nfrom 9000-01-05  Asia/Tokyo\n", account)
    withdrawn = arcade_jobs("db", "timezone", "Europe/London", "--from", "9000-01-05")
    assert withdrawn == (0, "from 1970-01-01  Europe/London\n", account)
    cluster.run("INSERT INTO prize_pools (game_type, period_type, period_date, total_amount_usdc, total_games)"
                " VALUES ('pong', 'daily', '9000-01-05', 1, 1)")  # fmt: skip
    code, out, err = arcade_jobs("db", "timezone", "Asia/Tokyo", "--from", "9000-01-05")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == (
        "arcade-jobs: --from 9000-01-05: expected a date later than every pool's; one is of 9000-01-05"
    )
