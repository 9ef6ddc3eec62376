"""Adopting the schema that a platform has: what is kept, and what is added."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from sqlalchemy import Engine

from infra import schema as migrations
from infra.schema import Kind, SchemaError
from tests.sql import contents, rows, run


def test_a_platform_is_adopted_with_all_that_it_has(platform: Engine) -> None:
    kept = {table: contents(platform, table) for table in ("game_sessions", "leaderboard_entries", "payments")}
    pools = "SELECT id, status, total_amount_usdc, total_games, winner_address, sponsor FROM prize_pools ORDER BY id"
    kept_pools = rows(platform, pools)
    migrations.upgrade(platform)
    assert migrations.check(platform) == []
    assert {table: contents(platform, table) for table in kept} == kept
    assert rows(platform, pools) == kept_pools
    assert rows(platform, "SELECT to_regclass('one_session_per_payment') IS NOT NULL") == [(True,)]


def test_every_board_that_was_there_is_pending(platform: Engine) -> None:
    migrations.upgrade(platform)
    boards = rows(platform, "SELECT game_type, period_type, period_date::text, is_pending FROM leaderboards ORDER BY 2")
    assert boards == [
        ("tetris", "alltime", "1970-01-01", True),
        ("tetris", "daily", "2026-01-05", True),
        ("tetris", "weekly", "2026-01-05", True),
    ]


def test_a_unique_index_of_the_platforms_is_as_good_as_a_constraint(platform: Engine) -> None:
    run(platform, "CREATE UNIQUE INDEX mine ON prize_pools (period_date, period_type, game_type)")
    migrations.upgrade(platform)
    assert rows(platform, "SELECT to_regclass('prize_pools_period_key')") == [(None,)]


def test_a_partial_unique_index_is_not(platform: Engine) -> None:
    run(platform, "CREATE UNIQUE INDEX mine ON prize_pools (game_type, period_type, period_date) WHERE total_games > 9")
    migrations.upgrade(platform)
    assert rows(platform, "SELECT contype::text FROM pg_constraint WHERE conname = 'prize_pools_period_key'") == [
        ("u",)
    ]


@pytest.fixture
def role(platform: Engine) -> Iterator[str]:
    """A role with no rights, as which this database is opened from now on."""
    name = f"role_{uuid4().hex[:12]}"
    run(platform, f"CREATE ROLE {name}", f'ALTER DATABASE "{platform.url.database}" SET role = {name}')
    yield name
    run(platform, f"SET ROLE NONE; DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


def test_a_role_that_owns_the_tables_needs_no_superuser(platform: Engine, role: str) -> None:
    owned = ("game_sessions", "leaderboard_entries", "prize_pools")
    run(
        platform,
        f"GRANT CREATE ON SCHEMA public TO {role}",
        *(f"ALTER TABLE {table} OWNER TO {role}" for table in owned),
    )
    platform.dispose()
    migrations.upgrade(platform)
    assert migrations.check(platform) == []
    assert rows(platform, "SELECT current_user, tableowner FROM pg_tables WHERE tablename = 'leaderboards'") == [
        (role, role)
    ]


def test_a_role_without_rights_learns_which_it_needs(platform: Engine, role: str) -> None:
    platform.dispose()
    with pytest.raises(SchemaError) as refusal:
        migrations.upgrade(platform)
    assert [str(difference) for difference in refusal.value.differences] == [
        f"schema public lets {role} create nothing",
        *(
            line
            for table in ("game_sessions", "leaderboard_entries", "prize_pools")
            for line in (f"{table} cannot be read by {role}", f"{table} belongs to postgres; {role} may not alter it")
        ),
    ]
    assert f"GRANT CREATE ON SCHEMA public TO {role};" in str(refusal.value)
    assert f"GRANT postgres TO {role};" in str(refusal.value)


def test_an_index_that_contains_rank_is_a_warning_and_no_more(platform: Engine) -> None:
    run(
        platform,
        "CREATE INDEX by_rank ON leaderboard_entries (game_type, rank)",
        "CREATE INDEX ranked ON leaderboard_entries (score) WHERE rank IS NOT NULL",
    )
    lines: list[str] = []
    migrations.upgrade(platform, report=lines.append)
    warned = [difference for difference in migrations.check(platform) if difference.kind is Kind.WARNING]
    assert [d.where for d in warned] == ["leaderboard_entries.by_rank", "leaderboard_entries.ranked"]
    assert warned[0].fix == "DROP INDEX CONCURRENTLY by_rank;"
    assert sum(line.startswith("warning: leaderboard_entries.") for line in lines) == 2


def test_a_foreign_key_that_would_stop_the_cleanup_is_a_warning(platform: Engine) -> None:
    run(platform, "ALTER TABLE payments ADD session_id uuid CONSTRAINT of_session REFERENCES game_sessions")
    migrations.upgrade(platform)
    assert [str(difference) for difference in migrations.check(platform)] == [
        "payments.of_session refers to game_sessions: cleanup cannot delete a row that it points to, or deletes both"
    ]


def test_missing_columns_are_added_where_nothing_need_be_invented(platform: Engine) -> None:
    run(
        platform,
        "ALTER TABLE game_sessions DROP COLUMN game_duration_ms",
        "ALTER TABLE prize_pools DROP COLUMN winner_score, DROP COLUMN winner_address",
        "TRUNCATE leaderboard_entries",
        "ALTER TABLE leaderboard_entries DROP COLUMN session_id, DROP COLUMN id, DROP COLUMN created_at",
    )
    migrations.upgrade(platform)
    assert migrations.check(platform) == []
