"""Creating the schema, in every way that it can be interrupted."""

import contextlib
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, event, inspect, text

from infra import schema as migrations
from infra.local import postgres
from infra.schema import Kind, guarded, session, tables
from infra.schema.revisions import head
from tests.arcade import Arcade
from tests.sql import new_database, run

Statement = tuple[object, ...]


def await_activity(engine: Engine, condition: str) -> int:
    """Look until a connection of this database meets a condition; return its pid."""
    deadline = time.monotonic() + 30
    query = text(f"SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND {condition}")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while (pid := connection.scalar(query)) is None:
            assert time.monotonic() < deadline, f"no connection with {condition}"
    return int(pid)


def test_an_empty_database_gets_the_contract(empty: Engine) -> None:
    migrations.upgrade(empty)
    assert set(inspect(empty).get_table_names()) == {*tables.metadata.tables, "arcade_jobs_version"}
    assert migrations.check(empty) == []


def test_a_second_upgrade_changes_nothing(engine: Engine) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session.Session, "run", lambda _, statement: pytest.fail(f"it ran {statement}"))
        lines: list[str] = []
        migrations.upgrade(engine, report=lines.append)
    assert lines == ["comparing the schema and its rows with the contract"]


def test_an_upgrade_leaves_no_setting_in_the_pool(server: postgres.Server, template: str) -> None:
    with new_database(server, "pool_of_one", template=template, pool_size=1, max_overflow=0) as engine:
        migrations.upgrade(engine)
        with engine.connect() as connection:
            settings = "current_setting('search_path'), current_setting('lock_timeout'), current_setting('TimeZone')"
            assert connection.exec_driver_sql(f"SELECT {settings}").one() == ('"$user", public', "0", "UTC")
            locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
            assert connection.scalar(text(locks)) == 0


def test_an_empty_database_is_created_in_its_own_schema(empty: Engine) -> None:
    run(empty, 'CREATE SCHEMA "My arcade"')
    run(empty, f'ALTER DATABASE "{empty.url.database}" SET search_path = "My arcade"')
    empty.dispose()
    migrations.upgrade(empty)
    assert inspect(empty).get_table_names("public") == []
    assert migrations.check(empty) == []
    run(empty, *BREAK_ALL)
    migrations.upgrade(empty)
    assert migrations.check(empty) == []


def test_tables_are_completed_where_they_are_and_not_created_twice(platform: Engine) -> None:
    run(
        platform,
        "CREATE SCHEMA arcade",
        *(f"ALTER TABLE {name} SET SCHEMA arcade" for name in ("game_sessions", "leaderboard_entries", "prize_pools")),
        "CREATE SCHEMA postgres",  # a schema of the role's own comes first in the search path
        f'ALTER DATABASE "{platform.url.database}" SET search_path = "$user", arcade, public',
    )
    platform.dispose()
    migrations.upgrade(platform)
    assert inspect(platform).get_table_names("postgres") == []
    assert "leaderboards" in inspect(platform).get_table_names("arcade")
    assert migrations.check(platform) == []
    for table in ("game_sessions", "leaderboard_entries"):
        run(platform, f"UPDATE {table} SET score = score + 1 WHERE score = 20")


def test_no_schema_to_create_in_is_one_clear_line(empty: Engine) -> None:
    run(empty, f'ALTER DATABASE "{empty.url.database}" SET search_path = "nowhere"')
    empty.dispose()
    with pytest.raises(migrations.UpgradeError, match=r"^search_path: names no schema that exists; [^\n]*$"):
        migrations.upgrade(empty)


def test_two_upgrades_at_once_both_end_well(platform: Engine) -> None:
    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(migrations.upgrade, platform) for _ in range(4)]:
            future.result()
    assert migrations.check(platform) == []


def test_an_upgrade_waits_for_another_and_reports_it(empty: Engine) -> None:
    lines: list[str] = []
    with empty.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
        other.execute(text("SELECT pg_advisory_lock(:key)"), {"key": guarded.ADVISORY_LOCK})
        pauses = []

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 3:
                other.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": guarded.ADVISORY_LOCK})

        migrations.upgrade(empty, report=lines.append, sleep=pause)
    assert len(pauses) == 3
    assert lines[0] == "another upgrade of this database is under way; waiting for it"
    assert not any("waiting" in line for line in lines[1:])
    assert migrations.check(empty) == []


def test_a_waiting_upgrade_does_not_keep_the_other_from_building_its_indexes(platform: Engine) -> None:
    """A snapshot held while waiting would be waited for by CREATE INDEX CONCURRENTLY: a deadlock."""
    waits = threading.Event()
    build = threading.Event()

    def hold_on(line: str) -> None:
        if "_idx is missing" in line and not waits.is_set():
            build.wait(30)

    def report(line: str) -> None:
        if "another upgrade" in line:
            waits.set()
            build.set()

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(migrations.upgrade, platform, report=hold_on)
        await_activity(platform, "query LIKE '%VALIDATE%' OR query LIKE '%CREATE%'")
        second = pool.submit(migrations.upgrade, platform, report=report)
        first.result(60)
        second.result(60)
    assert migrations.check(platform) == []


class KilledError(BaseException):
    """The process is gone."""


def test_an_adoption_that_dies_after_each_kind_of_statement_is_finished_by_the_next_ones(platform: Engine) -> None:
    survived: set[str] = set()

    @event.listens_for(platform, "after_cursor_execute")
    def die(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        kind = " ".join(re.findall(r"\b[A-Z]{2,}\b", statement)[:5])
        if kind not in survived and re.match("ALTER|CREATE|INSERT|DO", statement) and "pg_temp" not in statement:
            survived.add(kind)
            raise KilledError

    while True:
        with contextlib.suppress(KilledError):
            migrations.upgrade(platform)
            break
    assert len(survived) > 10
    assert migrations.check(platform) == []
    with platform.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM leaderboards WHERE is_pending")) == 3
        left = "SELECT count(*) FROM pg_constraint WHERE conname LIKE 'arcade_jobs%filled'"
        assert connection.scalar(text(left)) == 0


def test_an_index_left_by_a_killed_build_is_built_again(platform: Engine) -> None:
    with ThreadPoolExecutor(1) as pool, platform.connect() as reader:
        # The build waits for every snapshot that is older.
        reader.execution_options(isolation_level="REPEATABLE READ").exec_driver_sql("SELECT count(*) FROM payments")
        upgrade = pool.submit(migrations.upgrade, platform)
        pid = await_activity(platform, "query LIKE 'CREATE INDEX CONCURRENTLY%' AND wait_event_type = 'Lock'")
        run(platform, f"SELECT pg_terminate_backend({pid})")
        with pytest.raises(migrations.UpgradeError):
            upgrade.result(60)
        reader.rollback()
    with platform.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM pg_index WHERE NOT indisvalid")) == 1
    broken = next(d for d in migrations.check(platform) if d.where == "game_sessions.game_sessions_active_idx")
    assert broken.what == "was left by an interrupted build"
    migrations.upgrade(platform)
    assert migrations.check(platform) == []


def test_a_statement_that_cannot_have_its_lock_lets_others_pass_and_tries_again(
    platform: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "LOCK_TIMEOUT", 0.02)
    lines: list[str] = []
    with platform.connect() as reader:
        reader.exec_driver_sql("SELECT count(*) FROM prize_pools")
        pauses = []

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 3:
                reader.rollback()

        migrations.upgrade(platform, report=lines.append, sleep=pause)
    assert pauses == [0.5, 1.0, 2.0]
    assert "waiting for a lock that others hold (attempt 3 of 8)" in lines
    assert migrations.check(platform) == []


def test_a_lock_that_never_comes_ends_the_upgrade_in_one_line(
    platform: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "LOCK_TIMEOUT", 0.01)
    with platform.connect() as reader:
        reader.exec_driver_sql("SELECT count(*) FROM game_sessions")
        with pytest.raises(migrations.UpgradeError, match=r"^no lock after 8 attempts, for: ALTER TABLE game_sessions"):
            migrations.upgrade(platform, sleep=lambda _: None)


BREAK_ALL = (
    "ALTER TABLE prize_pools DROP COLUMN settled_by, DROP CONSTRAINT prize_pools_total_check",
    "ALTER TABLE leaderboard_entries DISABLE TRIGGER arcade_jobs_touch_delete",
    "ALTER TABLE leaderboard_entries RESET (fillfactor)",
    "DROP TRIGGER arcade_jobs_seal_delete ON prize_pools",
    "DROP INDEX leaderboard_entries_ranking_idx",
    "DROP TABLE leaderboard_touches",
    "DROP FUNCTION arcade_jobs_seal_all_pools() CASCADE",
    "DROP FUNCTION arcade_jobs_guard_entry() CASCADE",
    "DROP FUNCTION arcade_jobs_may_settle()",
    "DROP TRIGGER arcade_jobs_notice_delete ON game_sessions",
    "DROP TRIGGER arcade_jobs_seal_insert ON prize_pools",
    "DROP TABLE arcade_jobs_deleted_sessions, arcade_jobs_timezones, arcade_jobs_orphans, arcade_jobs_sweep",
    "CREATE OR REPLACE FUNCTION arcade_jobs_touch_boards() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
)


def test_check_names_everything_at_once_and_changes_nothing(engine: Engine) -> None:
    run(engine, *BREAK_ALL)
    expected = {
        "prize_pools.settled_by is missing",
        "prize_pools.arcade_jobs_settled_by_idx is missing",
        "prize_pools.prize_pools_total_check is missing",
        "leaderboard_entries.leaderboard_entries_ranking_idx is missing",
        "leaderboard_entries is stored without fillfactor = 50",
        "leaderboard_touches is missing",
        "function arcade_jobs_seal_all_pools() is missing",
        f"function arcade_jobs_touch_boards() differs from revision {head()}",
        "trigger prize_pools.arcade_jobs_seal_delete is missing",
        "trigger prize_pools.arcade_jobs_seal_truncate is missing",
        "trigger leaderboard_entries.arcade_jobs_touch_delete is disabled",
        "function arcade_jobs_guard_entry() is missing",
        "trigger leaderboard_entries.arcade_jobs_guard_insert is missing",
        "trigger leaderboard_entries.arcade_jobs_guard_update is missing",
        "function arcade_jobs_may_settle() is missing",
        "trigger game_sessions.arcade_jobs_notice_delete is missing",
        "trigger prize_pools.arcade_jobs_seal_insert is missing",
        "arcade_jobs_deleted_sessions is missing",
        "arcade_jobs_timezones is missing",
        "arcade_jobs_orphans is missing",
        "arcade_jobs_sweep is missing",
    }
    for _ in range(2):
        found = migrations.check(engine)
        assert {str(difference) for difference in found} == expected
        assert {difference.kind for difference in found} == {Kind.MISSING}


def test_what_was_lost_is_restored_and_boards_that_went_unnoticed_are_marked(engine: Engine) -> None:
    run(engine, *BREAK_ALL)
    Arcade(engine).play("0x1", 5, "2026-01-05T12:00:00Z", periods=("alltime",))
    migrations.upgrade(engine)
    assert migrations.check(engine) == []
    with engine.connect() as connection:
        assert connection.execute(text("SELECT game_type, is_pending FROM leaderboards")).all() == [("pong", True)]


def test_the_statements_that_check_prints_restore_it_too(engine: Engine) -> None:
    run(engine, *BREAK_ALL)
    for difference in migrations.check(engine):
        run(engine, *difference.statements)
    assert migrations.check(engine) == []


def test_a_revision_of_a_newer_version_is_refused_in_one_line(engine: Engine) -> None:
    run(engine, "UPDATE arcade_jobs_version SET version_num = '9999'")
    with pytest.raises(migrations.UpgradeError, match=r"^arcade_jobs_version: [^\n]*9999[^\n]*newer version[^\n]*$"):
        migrations.upgrade(engine)


def test_a_platform_that_uses_alembic_keeps_its_own_version(platform: Engine) -> None:
    run(platform, "CREATE TABLE alembic_version (version_num varchar(32) NOT NULL)")
    run(platform, "INSERT INTO alembic_version VALUES ('abc')")
    migrations.upgrade(platform)
    with platform.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "abc"
