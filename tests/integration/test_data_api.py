"""`db upgrade` and `db check` through the Data API, whose fake executes on real PostgreSQL."""

import contextlib
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, text

from infra import schema as migrations
from infra.cli import app as command
from infra.cli.options import Target
from infra.deployed.deployment import Deployment
from infra.local import postgres
from infra.schema import data_api, guarded, roles, tables
from infra.schema.data_api import DataApi
from infra.schema.revisions import head
from infra.schema.timezones import TimezoneChangeError
from tests.fakes.data_api import FakeDataApi
from tests.integration.conftest import PLATFORM
from tests.sql import open_database


@dataclass
class Cluster:
    """A database as RDS creates it: an admin that is no superuser owns it, and the role rds_iam exists."""

    engine: Engine
    fake: FakeDataApi
    jobs_role: str
    timezone: str = "UTC"
    lines: list[str] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    def deployment(self, **outputs: str) -> Deployment:
        return Deployment(
            stage="dev",
            account="123456789012",
            caller="arn:aws:iam::123456789012:user/operator",
            session=self.fake.session,
            endpoint=None,
            outputs=outputs
            or {
                "DatabaseClusterArn": self.fake.cluster,
                "DatabaseAdminSecretArn": self.fake.secret,
                "DatabaseName": str(self.fake.url.database),
                "DatabaseUser": self.jobs_role,
                "Timezone": self.timezone,
            },
        )

    def api(self) -> DataApi:
        return DataApi(
            client=self.fake.client,
            cluster=self.fake.cluster,
            secret=self.fake.secret,
            database=str(self.fake.url.database),
            jobs_role=self.jobs_role,
            report=self.lines.append,
            sleep=self.pauses.append,
        )

    def upgrade(self) -> None:
        data_api.upgrade(self.api())

    def scalar(self, query: str) -> Any:
        with self.engine.connect() as connection:
            return connection.scalar(text(query))

    def run(self, *statements: str) -> None:
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def tables(self) -> int:
        return self.scalar("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace")

    def has_role(self) -> bool:
        return self.scalar(f"SELECT count(*) FROM pg_roles WHERE rolname LIKE '{self.jobs_role}%'") > 0


@pytest.fixture
def cluster(server: postgres.Server) -> Iterator[Cluster]:
    name = uuid4().hex[:12]
    database, admin, jobs = f"made_{name}", f"admin_{name}", f"jobs_{name}"
    engine = open_database(server.create_database(database))
    cluster = Cluster(engine, FakeDataApi(engine.url.set(username=admin, password="a password")), jobs_role=jobs)
    cluster.run(
        "DO $$ BEGIN CREATE ROLE rds_iam; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
        f"CREATE ROLE {admin} LOGIN CREATEROLE CREATEDB PASSWORD 'a password'",
        f"GRANT rds_iam TO {admin} WITH ADMIN OPTION",
        f"ALTER DATABASE {database} OWNER TO {admin}",
    )
    yield cluster
    wait(cluster.fake.going_on)
    engine.dispose()
    server.drop_database(database)
    maintenance = open_database(server.admin_url, isolation_level="AUTOCOMMIT")
    with maintenance.connect() as connection:
        connection.exec_driver_sql(f"DROP ROLE IF EXISTS {jobs}")
        connection.exec_driver_sql(f"DROP ROLE IF EXISTS {roles.owner_of(jobs)}")
        connection.exec_driver_sql(f"DROP ROLE {admin}")
    maintenance.dispose()


def test_an_empty_database_gets_its_roles_and_the_contract(cluster: Cluster) -> None:
    cluster.upgrade()
    assert migrations.check(cluster.engine) == []
    assert data_api.check(cluster.api()) == []
    owner = roles.owner_of(cluster.jobs_role)
    owners = "SELECT string_agg(DISTINCT tableowner, ',') FROM pg_tables WHERE schemaname = 'public'"
    assert cluster.scalar(owners) == owner
    assert cluster.scalar("SELECT string_agg(DISTINCT proowner::regrole::text, ',') FROM pg_proc"
                          " WHERE pronamespace = 'public'::regnamespace") == owner  # fmt: skip
    logins = f"SELECT string_agg(rolname, ',') FROM pg_roles WHERE rolname ~ '^{cluster.jobs_role}' AND rolcanlogin"
    assert cluster.scalar(logins) == cluster.jobs_role
    assert cluster.scalar(f"SELECT pg_has_role('{cluster.jobs_role}', 'rds_iam', 'USAGE')")
    database = cluster.engine.url.database
    assert cluster.lines == [
        f"{database}: revision 0001, from statement 1 of 35",
        f"{database}: revision 0002, from statement 1 of 18",
        f"{database}: revision 0003, from statement 1 of 22",
        f"{database}: revision 0004, from statement 1 of 6",
    ]


def test_the_admin_does_not_come_to_need_a_token(cluster: Cluster) -> None:
    """PostgreSQL lets a role administer those that it makes; the jobs' role itself must not be granted to the admin."""
    cluster.upgrade()
    given = (
        "SELECT string_agg(roleid::regrole::text, ',') FROM pg_auth_members"
        f" WHERE member = '{cluster.fake.url.username}'::regrole AND NOT admin_option"
    )
    assert cluster.scalar(given) == roles.owner_of(cluster.jobs_role)


def test_a_second_upgrade_renews_the_rights_and_nothing_else(cluster: Cluster) -> None:
    cluster.upgrade()
    before = cluster.scalar("SELECT string_agg(oid::text || relname, ',' ORDER BY oid) FROM pg_class")
    cluster.run(f"REVOKE ALL ON prize_pools FROM {cluster.jobs_role}")
    cluster.upgrade()
    assert cluster.scalar(f"SELECT has_table_privilege('{cluster.jobs_role}', 'prize_pools', 'SELECT')")
    assert cluster.scalar("SELECT string_agg(oid::text || relname, ',' ORDER BY oid) FROM pg_class") == before
    assert cluster.pauses == []


def test_upgrades_at_once_all_end_well(cluster: Cluster) -> None:
    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(cluster.upgrade) for _ in range(4)]:
            future.result()
    assert migrations.check(cluster.engine) == []


def test_an_upgrade_waits_for_one_over_a_connection_and_reports_it_once(cluster: Cluster) -> None:
    with cluster.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
        other.execute(text("SELECT pg_advisory_lock(:key)"), {"key": guarded.ADVISORY_LOCK})

        def pause(seconds: float) -> None:
            cluster.pauses.append(seconds)
            if len(cluster.pauses) == 3:
                other.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": guarded.ADVISORY_LOCK})

        data_api.upgrade(replace(cluster.api(), sleep=pause))
    assert cluster.pauses == [data_api.TURN_PAUSE] * 3
    assert cluster.lines[0] == "another upgrade of this database is under way; waiting for it"
    assert not any("waiting" in line for line in cluster.lines[1:])
    assert migrations.check(cluster.engine) == []


def test_an_upgrade_that_never_has_its_turn_ends_in_one_line(cluster: Cluster) -> None:
    with cluster.engine.connect() as other, pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_api, "TURN_ATTEMPTS", 2)
        other.execute(text("SELECT pg_advisory_lock(:key)"), {"key": guarded.ADVISORY_LOCK})
        with pytest.raises(migrations.UpgradeError, match=r"^made_\w+: another upgrade .*, for 4 s now; try again"):
            cluster.upgrade()


class KilledError(BaseException):
    """The process is gone."""


def test_an_upgrade_that_dies_before_or_after_each_statement_is_finished_by_the_next_ones(cluster: Cluster) -> None:
    survived: set[tuple[str, str]] = set()

    def die(moment: str, sql: str) -> None:
        if (moment, sql) not in survived and sql.startswith(("DO $arcade_jobs$", "CREATE INDEX CONCURRENTLY")):
            survived.add((moment, sql))
            raise KilledError

    cluster.fake.before = lambda sql: die("before", sql)
    cluster.fake.after = lambda sql: die("after", sql)
    while True:
        with contextlib.suppress(KilledError):
            cluster.upgrade()
            break
    assert len(survived) > 100
    assert migrations.check(cluster.engine) == []
    assert data_api.check(cluster.api()) == []


def test_a_statement_that_another_upgrade_has_run_is_not_run_again(cluster: Cluster) -> None:
    blocks: list[str] = []
    cluster.fake.after = lambda sql: blocks.append(sql) if sql.startswith("DO $arcade_jobs$") else None
    cluster.upgrade()
    cluster.fake.after = lambda _: None
    for block in blocks[:-1]:  # the last one grants, which may be repeated
        with pytest.raises(guarded.MovedError):
            cluster.api().run(block)


def test_an_index_is_built_in_a_transaction_where_there_is_no_other_way(cluster: Cluster) -> None:
    cluster.fake.in_transaction = True
    cluster.upgrade()
    assert "the Data API runs everything in a transaction: the index is built while writers wait" in cluster.lines
    assert migrations.check(cluster.engine) == []


def test_an_upgrade_whose_last_statement_fails_is_finished_by_the_next(cluster: Cluster) -> None:
    broken = dict(roles.RIGHTS) | {"leaderboard_touches": "SELECT, DELETE, UPDATE (nothing)"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(roles, "RIGHTS", broken)
        with pytest.raises(migrations.UpgradeError, match=r'^made_\w+: ERROR: column "nothing" .*; SQLState: 42703$'):
            cluster.upgrade()
    assert not cluster.scalar(f"SELECT has_table_privilege('{cluster.jobs_role}', 'leaderboards', 'INSERT')")
    cluster.upgrade()
    assert cluster.scalar(f"SELECT has_table_privilege('{cluster.jobs_role}', 'leaderboards', 'INSERT')")
    assert migrations.check(cluster.engine) == []


def test_a_statement_that_is_not_answered_in_time_continues_and_is_waited_for(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_api, "LOCK_TIMEOUT", 60.0)
    with cluster.engine.connect() as other:
        other.exec_driver_sql("CREATE TABLE game_sessions ()")  # its name is waited for

        def pause(_: float) -> None:
            other.rollback()
            wait(cluster.fake.going_on)

        cluster.fake.limit = 0.3
        data_api.upgrade(replace(cluster.api(), sleep=pause))
    assert "the statement continues in the database; waiting for it" in cluster.lines
    assert len(cluster.fake.going_on) == 1
    assert migrations.check(cluster.engine) == []


def test_an_inspection_that_takes_too_long_is_one_line(cluster: Cluster) -> None:
    cluster.fake.limit = 0.05
    with pytest.raises(migrations.UpgradeError, match=r"^made_\w+: the statement was not answered within 45 s$"):
        cluster.api().query("SELECT CAST(pg_sleep(10) AS text)")
    assert cluster.scalar("SELECT count(*) FROM pg_stat_activity WHERE query ~ '^SELECT CAST\\(pg_sleep'") == 0


def test_a_database_that_sleeps_is_waited_for_and_reports_how_long(cluster: Cluster) -> None:
    cluster.fake.asleep = 3
    cluster.upgrade()
    assert cluster.lines[:3] == [f"the database is waking up ({seconds} s)" for seconds in (0, 3, 6)]
    assert cluster.pauses == [3, 3, 3]
    assert migrations.check(cluster.engine) == []


def test_a_database_that_never_wakes_up_is_one_line(cluster: Cluster) -> None:
    cluster.fake.asleep = 1000
    with pytest.raises(migrations.UpgradeError, match=r"^made_\w+: it has not woken up for 180 s; check arn:aws:rds"):
        cluster.upgrade()


@pytest.mark.parametrize(
    ("refusal", "line"),
    [
        (("AccessDeniedException", "User: x is not\n authorized"), "User: x is not authorized"),
        (("SecretsErrorException", "The secret is not there"), "The secret is not there"),
        (("HttpEndpointNotEnabledException", ""), "HttpEndpointNotEnabledException"),
    ],
)
def test_what_aws_refuses_is_one_line(cluster: Cluster, refusal: tuple[str, str], line: str) -> None:
    cluster.fake.refusal = refusal
    with pytest.raises(migrations.UpgradeError) as raised:
        cluster.upgrade()
    assert str(raised.value) == f"{cluster.engine.url.database}: {line}"


def test_tables_that_the_platform_created_are_left_alone(cluster: Cluster) -> None:
    cluster.run(*PLATFORM.strip().split(";\n"))
    before = cluster.tables()
    with pytest.raises(migrations.UpgradeError) as raised:
        cluster.upgrade()
    assert str(raised.value) == (
        "game_sessions, leaderboard_entries, prize_pools: there already, without a revision in arcade_jobs_version;"
        " nothing was changed. Connect with DATABASE_URL to adopt the existing tables"
    )
    assert (cluster.tables(), cluster.has_role()) == (before, False)


def test_tables_that_were_adopted_over_a_connection_get_roles_and_rights(cluster: Cluster) -> None:
    admin = open_database(cluster.fake.url)
    migrations.upgrade(admin)
    admin.dispose()
    cluster.upgrade()
    assert data_api.check(cluster.api()) == []
    assert cluster.scalar(f"SELECT has_table_privilege('{cluster.jobs_role}', 'leaderboards', 'INSERT')")


def test_a_revision_of_a_newer_version_is_refused_in_one_line(cluster: Cluster) -> None:
    cluster.upgrade()
    cluster.run("UPDATE arcade_jobs_version SET version_num = '9999'")
    with pytest.raises(migrations.UpgradeError, match=r"^arcade_jobs_version: [^\n]*9999[^\n]*newer version[^\n]*$"):
        cluster.upgrade()


def test_each_statement_is_short_enough_for_the_data_api(cluster: Cluster) -> None:
    cluster.upgrade()
    assert max(map(len, cluster.fake.statements)) < data_api.LONGEST_STATEMENT / 10
    with pytest.raises(migrations.UpgradeError, match=r"^made_\w+: a statement has 65,537 characters"):
        cluster.api().run(" " * 65_537)


def test_check_names_everything_that_is_missing_and_changes_nothing(cluster: Cluster) -> None:
    names = [*tables.metadata.tables, f"role {cluster.jobs_role}"]
    expected = [
        f"arcade_jobs_version has no revision; {head()} is this version's",
        *(f"{name} is missing" for name in names),
    ]
    assert [str(difference) for difference in data_api.check(cluster.api())] == expected
    assert cluster.tables() == 0
    cluster.upgrade()
    cluster.run(
        "ALTER TABLE prize_pools DROP COLUMN settled_by", "UPDATE arcade_jobs_version SET version_num = '0001+3'"
    )
    assert [str(difference) for difference in data_api.check(cluster.api())] == [
        f"arcade_jobs_version is 0001+3; {head()} is this version's",
        "prize_pools.settled_by is missing",
    ]


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
    assert code == 1
    assert err.splitlines()[-1] == (
        "arcade-jobs: DATABASE_URL: missing, and stack arcade-jobs-dev created no database of its own;"
        " expected a URL such as postgresql://user@host:5432/arcade"
    )
    code, _, err = arcade_jobs("db", "upgrade", "--jobs-role", "x")
    assert (code, err.splitlines()) == (
        1,
        ["arcade-jobs: --jobs-role: with DATABASE_URL only; a database of the stack's has its role already"],
    )


def test_the_command_connects_when_database_url_is_set_and_grants_to_a_role(
    cluster: Cluster, arcade_jobs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", cluster.engine.url.render_as_string(hide_password=False))
    code, _, err = arcade_jobs("db", "upgrade", "--jobs-role", cluster.jobs_role)
    assert (code, err.count("\n")) == (1, 1)
    assert f'role "{cluster.jobs_role}" does not exist' in err
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
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == (
        "arcade-jobs: --from 9000-01-05: expected a date later than every pool's; one is of 9000-01-05"
    )


def test_a_pool_that_is_opened_in_between_is_noticed_through_the_data_api(cluster: Cluster) -> None:
    cluster.upgrade()
    opened = (
        "INSERT INTO prize_pools (game_type, period_type, period_date, total_amount_usdc, total_games)"
        " VALUES ('pong', 'daily', '9000-01-05', 1, 1)"
    )
    cluster.fake.before = lambda sql: cluster.run(opened + " ON CONFLICT DO NOTHING") if "LOCK TABLE" in sql else None
    with pytest.raises(TimezoneChangeError, match="later than every pool's"):
        data_api.change_timezone(
            cluster.api(), ZoneInfo("Asia/Tokyo"), begins=date(9000, 1, 5), now=datetime(2026, 1, 12, tzinfo=UTC)
        )
    assert cluster.scalar("SELECT count(*) FROM arcade_jobs_timezones") == 1
