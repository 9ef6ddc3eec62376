"""Rows that are set aside, whole, and put back, exactly."""

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from infra import schema as migrations
from infra.schema import Kind, SchemaError, set_aside
from shared.db.errors import sqlstate
from tests.arcade import Arcade
from tests.integration.conftest import PLATFORM
from tests.sql import rows, run

# Columns of the platform's own, of types that look different in JSON.
ODD = """
ALTER TABLE prize_pools ADD "Sponsor's name" text DEFAULT 'none', ADD tags text[], ADD logo bytea, ADD weight float8,
    ADD day tstzrange, ADD extra jsonb, ADD doubled numeric GENERATED ALWAYS AS (total_games * 2) STORED;
UPDATE prize_pools SET "Sponsor's name" = E'O\\'Neill "& Sons"\\n', tags = ARRAY['a,b', '{"c"}', NULL],
    logo = '\\xdeadbeef', weight = float8 '0.1' + float8 '0.2', day = '[2026-01-05, infinity)',
    extra = '{"a": [1, null, 1.10]}',
    created_at = '2026-01-05 10:00:00.123456+05:30', total_amount_usdc = 123456789012.123456;
"""
PICTURE = "SELECT to_jsonb(p)::text, p::text FROM prize_pools AS p ORDER BY id"


@pytest.fixture
def odd(empty: Engine) -> Engine:
    """A database that has been adopted, with an active pool that has odd columns."""
    run(empty, PLATFORM, "DELETE FROM prize_pools WHERE id > 1", ODD)
    migrations.upgrade(empty)
    return empty


def put_back(engine: Engine) -> list[str]:
    """What `db check` prints for what is set aside."""
    return [statement for difference in migrations.check(engine) for statement in difference.statements]


def test_what_was_set_aside_is_put_back_exactly_as_check_prints_it(odd: Engine) -> None:
    before = rows(odd, PICTURE)
    run(odd, set_aside.rows_where("prize_pools", "true", "it's a mistake"))
    assert rows(odd, PICTURE) == []
    [difference] = migrations.check(odd)
    assert difference.kind is Kind.WARNING
    assert str(difference) == "arcade_jobs_set_aside has 1 row of prize_pools: it's a mistake"
    run(odd, "SET TimeZone = 'Asia/Kolkata'; SET DateStyle = 'German'; " + difference.fix)
    odd.dispose()
    assert rows(odd, PICTURE) == before
    assert migrations.check(odd) == []


def test_all_of_them_are_put_back_or_none(odd: Engine) -> None:
    run(
        odd,
        "INSERT INTO prize_pools (game_type, period_type, period_date)"
        " SELECT 'pong', 'daily', date '2026-01-01' + n FROM generate_series(1, 3) AS n",
        set_aside.rows_where("prize_pools", "game_type = 'pong'", "a mistake"),
        "UPDATE arcade_jobs_set_aside SET content = jsonb_set(content, '{status}', '\"closed\"') WHERE id = 2",
    )
    statements = put_back(odd)
    with pytest.raises(DBAPIError) as refused:
        run(odd, *statements)
    assert sqlstate(refused.value) == "23514"
    assert rows(odd, "SELECT count(*) FROM arcade_jobs_set_aside") == [(3,)]
    run(odd, "UPDATE arcade_jobs_set_aside SET content = jsonb_set(content, '{status}', '\"active\"')", *statements)
    assert rows(odd, "SELECT count(*) FROM prize_pools") == [(4,)]
    assert put_back(odd) == []


def test_a_row_that_was_adopted_badly_is_corrected_and_put_back(platform: Engine) -> None:
    before = rows(platform, "SELECT id, sponsor, total_amount_usdc FROM prize_pools WHERE id = 2")
    run(
        platform,
        "ALTER TABLE prize_pools DROP CONSTRAINT prize_pools_status_check",
        "UPDATE prize_pools SET status = 'open' WHERE id = 2",
    )
    with pytest.raises(SchemaError) as refusal:
        migrations.upgrade(platform)
    for difference in refusal.value.differences:
        run(platform, *difference.statements)
    migrations.upgrade(platform)
    statements = put_back(platform)
    run(
        platform, "UPDATE arcade_jobs_set_aside SET content = jsonb_set(content, '{status}', '\"active\"')", *statements
    )
    assert rows(platform, "SELECT id, sponsor, total_amount_usdc FROM prize_pools WHERE id = 2") == before
    assert migrations.check(platform) == []


def test_times_without_a_zone_are_put_back_in_utc_as_they_are_converted(platform: Engine) -> None:
    run(
        platform,
        "ALTER TABLE game_sessions ALTER COLUMN id TYPE text,"
        " ALTER COLUMN created_at DROP DEFAULT, ALTER COLUMN created_at TYPE timestamp"
        " USING created_at AT TIME ZONE 'UTC'",
        "UPDATE game_sessions SET id = 'guest-7' WHERE score = 7",
        f"ALTER DATABASE \"{platform.url.database}\" SET TimeZone = 'Asia/Kolkata'",
    )
    platform.dispose()
    with pytest.raises(SchemaError) as refusal:
        migrations.upgrade(platform)
    for difference in refusal.value.differences:
        run(platform, *difference.statements)
    migrations.upgrade(platform)
    correction = "jsonb_set(content, '{id}', to_jsonb(gen_random_uuid()))"
    run(platform, f"UPDATE arcade_jobs_set_aside SET content = {correction}", *put_back(platform))
    assert rows(platform, "SELECT DISTINCT created_at = '2026-01-05 10:00Z' FROM game_sessions") == [(True,)]
    assert migrations.check(platform) == []


def test_an_entry_of_a_settled_board_is_not_put_back(engine: Engine) -> None:
    Arcade(engine).play("0x1", 5, "2026-01-05T12:00:00Z")
    run(
        engine,
        set_aside.rows_where("leaderboard_entries", "true", "a mistake"),
        "INSERT INTO prize_pools (game_type, period_type, period_date, status, finalized_at)"
        " VALUES ('pong', 'daily', '2026-01-05', 'finalized', now())",
    )
    with pytest.raises(DBAPIError) as refused:
        run(engine, *put_back(engine))
    assert sqlstate(refused.value) == "AJ001"
    assert rows(engine, "SELECT count(*) FROM arcade_jobs_set_aside") == [(1,)]


def test_rows_of_a_table_that_is_gone_are_named(engine: Engine) -> None:
    run(engine, "INSERT INTO arcade_jobs_set_aside (table_name, reason, content) VALUES ('old', 'none', '{}')")
    assert [(str(d), d.fix) for d in migrations.check(engine)] == [("arcade_jobs_set_aside has 1 row of old: none", "")]
