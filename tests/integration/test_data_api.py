"""`db upgrade` and `db check` through the Data API, whose fake executes on real PostgreSQL."""

import contextlib
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from infra import schema as migrations
from infra.schema import data_api, guarded, roles, tables
from infra.schema.revisions import head
from infra.schema.timezones import TimezoneChangeError
from shared.domain.errors import NotReachableError
from tests.integration.cluster import Cluster
from tests.integration.conftest import PLATFORM
from tests.sql import open_database


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


def test_an_upgrade_that_dies_after_each_statement_is_finished_by_the_next_ones(cluster: Cluster) -> None:
    """After one is before the next: to the database it is the same."""
    survived: set[str] = set()

    def die(sql: str) -> None:
        if sql not in survived and sql.startswith(("DO $arcade_jobs$", "CREATE INDEX CONCURRENTLY")):
            survived.add(sql)
            raise KilledError

    cluster.fake.after = die
    while True:
        with contextlib.suppress(KilledError):
            cluster.upgrade()
            break
    assert len(survived) > 50
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
    assert isinstance(raised.value, NotReachableError)


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
