"""S16: what a settlement costs depends neither on how much is stored nor on how many played."""

from collections.abc import Callable
from datetime import timedelta
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, event

from shared.app import App
from shared.services import prize_pool
from shared.services.prize_pool import PrizePoolSettler
from tests.arcade import Arcade
from tests.fakes import make_run
from tests.fakes.database_proxy import proxy_to
from tests.jobs import StartApp, invoke
from tests.plays import ranking_key
from tests.sql import rows, run
from tests.statements import Plan, Statement, explain, recorded

DAY = "2026-01-11"
TABLES = ("game_sessions", "leaderboard_entries")
THREE_STATEMENTS = ["SELECT", "WITH", "UPDATE"]


def add_board(engine: Engine, entries: int, *, game: str = "pong", forged: int = 0, scores: int = 1_000_000) -> None:
    """A board of valid entries, the best of them forged ones: their sessions are another player's."""
    bulk(
        engine,
        f"""
        WITH played AS (
            SELECT gen_random_uuid() AS id, n, '0x' || n AS player, (n % {scores}) AS score,
                timestamptz '{DAY} 00:00Z' + n % 80000 * interval '1 second' AS at
            FROM generate_series(1, {entries}) AS n
        ), sessions AS (
            INSERT INTO game_sessions
                (id, game_type, player_address, amount_paid_usdc, score, status, created_at, completed_at)
            SELECT id, '{game}', player, 0.01, score, 'completed', at, at FROM played
        )
        INSERT INTO leaderboard_entries
            (session_id, game_type, player_address, score, period_type, period_date, created_at)
        SELECT id, '{game}', player, score, 'daily', '{DAY}', at FROM played
        """,
        f"""
        UPDATE leaderboard_entries SET player_address = upper(player_address)
        WHERE game_type = '{game}' AND id IN (
            SELECT id FROM leaderboard_entries WHERE game_type = '{game}'
            ORDER BY score DESC, created_at, id LIMIT {forged})
        """,
    )


def bulk(engine: Engine, *statements: str) -> None:
    """Without triggers: the seal, the notices and the checks of entries."""
    with engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        for statement in statements:
            connection.exec_driver_sql(statement)


def settle(app: App) -> list[Statement]:
    """Settle; return the statements from the first lock to the last commit of a pool."""
    with recorded(app.engine) as statements:
        assert invoke(app, "prize-pool", {})["status"] == "succeeded"
    first = next(n for n, found in enumerate(statements) if "FOR UPDATE" in found.sql)
    last = max(n for n, found in enumerate(statements) if found.verb == "UPDATE")
    return statements[first : last + 2]


def plans(engine: Engine, statements: list[Statement]) -> list[Plan]:
    return [explain(engine, statement) for statement in statements if statement.verb in ("SELECT", "WITH")]


def never_analyzed(_engine: Engine, load: Callable[[], None]) -> None:
    load()


def analyzed_before(engine: Engine, load: Callable[[], None]) -> None:
    """The statistics are those of a small arcade on another day."""
    add_board(engine, 50, game="tetris")
    run(engine, "ANALYZE")
    load()


def analyzed_since(engine: Engine, load: Callable[[], None]) -> None:
    load()
    run(engine, "VACUUM ANALYZE")


@pytest.mark.parametrize("statistics", [never_analyzed, analyzed_before, analyzed_since])
def test_s16_no_statistics_make_a_settlement_read_a_whole_table(
    engine: Engine, arcade: Arcade, app: App, statistics: Callable[..., None]
) -> None:
    run(engine, *(f"ALTER TABLE {table} SET (autovacuum_enabled = false)" for table in TABLES))
    statistics(engine, lambda: add_board(engine, 20_000, forged=3))
    arcade.add_pool(DAY)
    _lock, winner = plans(engine, settle(app)[:2])
    assert winner.indexes == {"leaderboard_entries_ranking_idx", "game_sessions_pkey"}
    assert not {kind for kind in winner.kinds if "Seq" in kind or "Bitmap" in kind or "Sort" in kind or "Hash" in kind}
    assert winner.rows_read <= 10


def test_s16_a_hundred_times_as_many_players_and_sessions_cost_the_same(
    engine: Engine, arcade: Arcade, start_app: StartApp
) -> None:
    read = {}
    for game, players in (("pong", 1_000), ("tetris", 100_000)):
        add_board(engine, players, game=game)
        run(engine, "VACUUM ANALYZE game_sessions, leaderboard_entries")
        arcade.add_pool(DAY, game=game)
        statements = settle(start_app())
        assert [statement.verb for statement in statements] == [*THREE_STATEMENTS, "COMMIT"]
        read[players] = [plan.rows_read for plan in plans(engine, statements)]
        assert plans(engine, statements)[1].buffers <= 12
    assert read[1_000] == read[100_000]
    assert read[1_000][1] == 2  # the best entry, and its session


def test_s16_each_pool_takes_three_statements_and_five_round_trips(
    engine: Engine, arcade: Arcade, start_app: StartApp
) -> None:
    def round_trips(pools: int) -> int:
        for n in range(pools):
            arcade.add_pool(DAY, game=f"g{pools}_{n}")
            arcade.play("0xa", 5, f"{DAY}T10:00:00Z", game=f"g{pools}_{n}")
        before = proxy.round_trips
        with recorded(app.engine) as statements:
            invoke(app, "prize-pool", {})
        commits = [n for n, found in enumerate(statements) if found.verb == "COMMIT"]
        of_pools = statements[commits[1] + 1 : commits[-2] + 1]  # after the calendar and the list
        assert [found.verb for found in of_pools] == [*THREE_STATEMENTS, "COMMIT"] * pools
        return proxy.round_trips - before

    with proxy_to(engine.url) as proxy:
        app = start_app(DATABASE_URL=proxy.url(str(engine.url.database)))
        round_trips(1)  # the statements are prepared once
        assert round_trips(12) - round_trips(2) == 10 * 5  # BEGIN, three statements, COMMIT


@pytest.mark.parametrize("scores", [1, 7, 1_000_000])
def test_s16_entries_are_passed_over_in_slices_and_none_is_skipped_or_counted_twice(
    engine: Engine, arcade: Arcade, settler: PrizePoolSettler, monkeypatch: pytest.MonkeyPatch, scores: int
) -> None:
    monkeypatch.setattr(prize_pool, "FIRST_SLICE", 3)
    monkeypatch.setattr(prize_pool, "SLICE", 4)
    for forged in range(17):
        game = f"g{forged}"
        add_board(engine, 16, game=game, forged=forged, scores=scores)
        bulk(
            engine,
            f"UPDATE leaderboard_entries SET created_at = '{DAY} 00:00Z' WHERE game_type = '{game}' AND id % 2 = 0",
        )
        arcade.add_pool(DAY, game=game)
    settler(make_run("2026-01-12T00:00:00Z"))
    expected = []
    with engine.connect() as connection:
        entries = connection.exec_driver_sql("SELECT * FROM leaderboard_entries ORDER BY game_type").all()
    for game, board in groupby(entries, key=lambda entry: entry.game_type):
        players = [entry.player_address for entry in sorted(board, key=ranking_key)]
        valid = [place for place, player in enumerate(players) if player.startswith("0x")]
        expected.append((game, valid[0], players[valid[0]]) if valid else (game, len(players), None))
    found = rows(engine, "SELECT game_type, entries_passed_over, winner_address FROM prize_pools ORDER BY game_type")
    assert found == expected
    assert {winner is None for _, _, winner in found} == {True, False}


def test_s16_no_statement_reads_more_than_a_slice_however_many_are_passed_over(
    engine: Engine, arcade: Arcade, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prize_pool, "SLICE", 500)
    add_board(engine, 5_000, forged=4_000)
    run(engine, "VACUUM ANALYZE")
    pool_id = arcade.add_pool(DAY)
    statements = settle(app)
    pool = arcade.pool(pool_id)
    assert (pool.entries_passed_over, pool.winner_address) == (4_000, "0x1000")
    # The entries, their sessions, the end of the slice before; and the entries again, for the end of this one.
    assert max(plan.rows_read for plan in plans(engine, statements)) <= 3 * 500 + 2


def test_s16_an_entry_that_is_deleted_meanwhile_makes_no_slice_skip_another(
    engine: Engine, arcade: Arcade, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two forged entries fill the first slice; one is deleted as soon as the slice was read. The third is the best."""
    monkeypatch.setattr(prize_pool, "FIRST_SLICE", 2)
    add_board(engine, 5, forged=2)
    pool_id = arcade.add_pool(DAY)

    def delete_a_forged_one(_connection: Any, _cursor: Any, sql: str, *_: Any) -> None:
        if "game_sessions AS session" in sql:
            run(engine, "DELETE FROM leaderboard_entries WHERE score = 5")

    event.listen(app.engine, "after_cursor_execute", delete_a_forged_one)
    invoke(app, "prize-pool", {})
    assert arcade.pool(pool_id).winner_address == "0x3"


@pytest.fixture
def settler(transactions: Any, clock: Any) -> PrizePoolSettler:
    return PrizePoolSettler(
        transactions=transactions,
        zone=ZoneInfo("UTC"),
        grace=timedelta(0),
        game_types=(),
        clock=clock,
        sleep=clock.sleep,
    )
