"""Databases of earlier revisions with rows, and what must be left of them after an upgrade."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from sqlalchemy import Engine

from infra import schema as migrations
from infra.local import postgres
from infra.schema import Kind, guarded, revisions, session
from infra.schema.revisions import NOTHING, steps_after
from tests.sql import new_database, rows, run

# What the first revision accepts and a later one does not, beside rows that fit all of them.
ROWS = """
INSERT INTO game_sessions SELECT gen_random_uuid(), 'tetris', '0x' || n, 'tx' || n, 0.01, n, 'completed',
    '2026-01-05 10:00Z', '2026-01-05 10:10Z', 600000 FROM generate_series(1, 20) AS n;
UPDATE game_sessions SET created_at = '0001-01-01 00:00:00Z' WHERE score = 1;
UPDATE game_sessions SET completed_at = 'infinity' WHERE score = 2;
INSERT INTO leaderboard_entries (session_id, game_type, player_address, score, period_type, period_date, created_at)
    SELECT id, game_type, player_address, score, p.*, '2026-01-05 10:10Z' FROM game_sessions,
    (VALUES ('daily', date '2026-01-05'), ('weekly', '2026-01-05'), ('alltime', '1970-01-01')) AS p;
UPDATE leaderboard_entries SET period_date = 'infinity' WHERE score = 3 AND period_type <> 'alltime';
UPDATE leaderboard_entries SET created_at = '-infinity' WHERE score = 4 AND period_type = 'daily';
INSERT INTO leaderboard_entries (session_id, game_type, player_address, score, period_type, period_date)
    VALUES (gen_random_uuid(), 'tetris', '0xforged', 99, 'daily', '2026-01-05');
INSERT INTO prize_pools (game_type, period_type, period_date, total_amount_usdc, total_games) VALUES
    ('tetris', 'daily', '2026-01-05', 0.14, 20), ('tetris', 'daily', '0044-03-15 BC', 0.07, 1),
    ('tetris', 'weekly', '10000-01-03', 0.07, 1), ('tetris', 'weekly', 'infinity', 0.07, 1);
INSERT INTO prize_pools (game_type, period_type, period_date, status, winner_address, winner_score, finalized_at,
    settled_by) VALUES ('tetris', 'daily', '2026-01-04', 'finalized', '0x7', 7, '2026-01-05Z', 'prize-pool:test');
"""
ASIDE = {"game_sessions": 2, "leaderboard_entries": 3, "prize_pools": 3}


def contents(engine: Engine) -> list[tuple[object, ...]]:
    """All rows of the platform's tables, whole, those that are set aside among them."""
    queries = [f"SELECT '{table}' AS name, to_jsonb({table})::text AS content FROM {table}" for table in ASIDE]
    if rows(engine, "SELECT to_regclass('arcade_jobs_set_aside')") != [(None,)]:
        queries.append("SELECT table_name, content::text FROM arcade_jobs_set_aside")
    return rows(engine, f"{' UNION ALL '.join(queries)} ORDER BY 1, 2")


@contextmanager
def earlier_databases(server: postgres.Server) -> Iterator[dict[str, str]]:
    """By revision, the name of a database of it: the first one with rows, the second made of it."""
    names: dict[str, str] = {}
    with ExitStack() as stack:
        for version in ("0001", "0002"):
            before = names.get("0001")
            engine = stack.enter_context(new_database(server, f"from_{version}", template=before))
            with session.begin(engine, report=lambda _: None, sleep=lambda _: None) as opened:
                if before is None:
                    opened.run_block(guarded.begin_body("public", NOTHING), expected=None)
                for step in steps_after(opened.version() or NOTHING, "public"):
                    if step.revision == version:
                        guarded.run_step(opened, step)
            if before is None:
                run(engine, ROWS)
            assert rows(engine, "SELECT version_num FROM arcade_jobs_version") == [(version,)]
            engine.dispose()  # a database that is connected to cannot be copied
            names[version] = str(engine.url.database)
        yield names


def assert_upgraded(engine: Engine, before: list[tuple[object, ...]]) -> None:
    """It is at the last revision, and no row is lost: each is where it was, or set aside whole."""
    assert rows(engine, "SELECT version_num FROM arcade_jobs_version") == [(revisions.head(),)]
    assert {difference.kind for difference in migrations.check(engine)} == {Kind.WARNING}
    aside = "SELECT table_name, count(*) FROM arcade_jobs_set_aside GROUP BY 1"
    assert dict(rows(engine, aside)) == ASIDE
    assert contents(engine) == before
