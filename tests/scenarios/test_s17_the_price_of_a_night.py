"""S17: finding orphans costs what was deleted and written since, not what is stored."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, event, text

from shared.app import App
from shared.services import cleanup
from tests.arcade import Arcade
from tests.fakes import FakeContext
from tests.jobs import invoke
from tests.locks import TIMEOUT, await_lock
from tests.sql import rows, run
from tests.statements import Plan

LAST_NIGHT = "2026-01-11T10:00:00Z"
TABLES = ("game_sessions", "leaderboard_entries")
# As a busy arcade stores them, without the triggers: they would take a minute.
STORED = """
    SET LOCAL session_replication_role = replica;
    INSERT INTO game_sessions (
        id, game_type, player_address, amount_paid_usdc, score, status, created_at, completed_at)
    SELECT md5(n::text)::uuid, 'snake', '0x' || n % 1000, 0.01, n, 'completed', at, at
    FROM generate_series(1, {plays}) AS n, LATERAL (SELECT timestamptz '2025-01-01Z' + n * interval '1 min' AS at) AS t;
    INSERT INTO leaderboard_entries (
        session_id, game_type, player_address, score, period_type, period_date, created_at)
    SELECT id, game_type, 'p' || score, score, 'alltime', '1970-01-01', completed_at FROM game_sessions ORDER BY score;
"""


@dataclass
class Counting:
    """What the statements of a run read, by EXPLAIN's own count."""

    statements: list[str] = field(default_factory=list)
    rows: Counter[str] = field(default_factory=Counter)
    nodes: set[tuple[str, str]] = field(default_factory=set)

    def explain(self, cursor: Any, statement: str, parameters: Any) -> None:
        """Explain a statement of a night with nothing to do: that it is executed twice changes nothing."""
        self.statements.append(" ".join(statement.split()))
        if "game_sessions" in statement or "leaderboard_entries" in statement:
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
            [[plan]] = cursor.fetchall()
            self._add((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"])

    def _add(self, node: dict[str, Any]) -> None:
        table = node.get("Relation Name")
        if table in TABLES:
            self.nodes.add((node["Node Type"], table))
            read = (
                node["Actual Rows"] + node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Join Filter", 0)
            )
            self.rows[table] += round(read * node["Actual Loops"])
        for child in node.get("Plans", []):
            self._add(child)


@contextmanager
def counted(app: App) -> Iterator[Counting]:
    counting = Counting()

    def explain(_c: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        counting.explain(cursor, statement, parameters)

    event.listen(app.engine, "before_cursor_execute", explain)
    yield counting
    event.remove(app.engine, "before_cursor_execute", explain)


def clean(app: App, context: FakeContext | None = None, **event: Any) -> dict[str, Any]:
    return invoke(app, "cleanup", event, context)


def entries(engine: Engine) -> list[int]:
    return [entry_id for (entry_id,) in rows(engine, "SELECT id FROM leaderboard_entries ORDER BY id")]


def empty(engine: Engine) -> None:
    """Leave the planner with the statistics of empty tables, as it has them after a rehearsal, for all that follows."""
    for table in TABLES:
        run(
            engine,
            f"ALTER TABLE {table} SET (autovacuum_enabled = false)",
            f"ALTER TABLE {table} DISABLE TRIGGER USER",
            f"DELETE FROM {table}",
            f"ALTER TABLE {table} ENABLE TRIGGER USER",
            f"ANALYZE {table}",
        )


@pytest.mark.parametrize("statistics", ["stale", "of empty tables", "fresh"])
def test_s17_a_night_with_nothing_to_do_reads_as_much_of_a_hundred_times_as_many_plays(
    engine: Engine, app: App, monkeypatch: pytest.MonkeyPatch, statistics: str
) -> None:
    monkeypatch.setattr(cleanup, "SWEEP_BATCH", 100)
    read = []
    for plays in (1_000, 100_000):
        with engine.begin() as connection:
            connection.exec_driver_sql("TRUNCATE game_sessions, leaderboard_entries, arcade_jobs_sweep")
            connection.exec_driver_sql(STORED.format(plays=plays))
        if statistics == "of empty tables":
            empty(engine)
            with engine.begin() as connection:
                connection.exec_driver_sql(STORED.format(plays=plays))
        if statistics == "fresh":
            run(engine, "VACUUM ANALYZE game_sessions, leaderboard_entries")
        with counted(app) as counting:
            result = clean(app)
        assert (result["status"], result["result"]["remaining"]) == ("succeeded", 0)
        assert not {node for node, _ in counting.nodes} & {"Seq Scan", "Bitmap Heap Scan"}, counting.nodes
        read.append(counting)
    few, many = read
    assert few.rows == many.rows == {"game_sessions": 200, "leaderboard_entries": 200}
    assert few.statements == many.statements


def test_s17_the_statements_of_a_night_with_nothing_to_do_are_counted(arcade: Arcade, app: App) -> None:
    """Each `set_config` is one, so that the tables are not read whole."""
    arcade.play("0xa", 5, LAST_NIGHT)
    clean(app)
    statements: list[str] = []
    event.listen(
        app.engine, "before_cursor_execute", lambda _c, _cursor, statement, *_: statements.append(statement.split()[0])
    )
    clean(app)
    assert len(statements) == 8, statements


def test_s17_the_entries_of_a_deleted_session_are_found_by_their_keys(
    engine: Engine, arcade: Arcade, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of each period, and of whatever zone; the sweep, which would find them too, is elsewhere."""
    monkeypatch.setattr(cleanup, "SWEEP_BATCHES", 0)
    arcade.play("0xkept", 5, LAST_NIGHT, periods=("daily", "weekly", "alltime"))
    arcade.play("0xa", 9, LAST_NIGHT, periods=("daily", "weekly", "alltime"))
    session_id = rows(engine, "SELECT session_id FROM leaderboard_entries WHERE player_address = '0xa'")[0][0]
    for day in ("2026-01-10", "2026-01-12"):  # as a zone far from UTC has it
        arcade.add_entry(session_id, 9, LAST_NIGHT, player="0xa", day=day)
    arcade.execute("DELETE FROM game_sessions WHERE player_address = '0xa'")
    assert clean(app)["result"]["orphaned_entries_deleted"] == 5
    assert rows(engine, "SELECT DISTINCT player_address FROM leaderboard_entries") == [("0xkept",)]
    assert rows(engine, "SELECT * FROM arcade_jobs_deleted_sessions") == []
    assert rows(engine, "SELECT * FROM arcade_jobs_orphans") == []


def test_s17_the_orphans_of_a_batch_are_not_compared_with_each_other(arcade: Arcade, app: App) -> None:
    """With hash and merge joins off, a join within the batch would take as many steps as the square of its rows."""
    orphans = 300
    arcade.play_many(orphans, LAST_NIGHT)
    arcade.execute(
        "INSERT INTO arcade_jobs_orphans SELECT id, game_type, period_type, period_date FROM leaderboard_entries",
        "DELETE FROM game_sessions",
    )
    plans: list[Plan] = []

    def explain(_c: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "unlocked" in statement and "arcade_jobs_orphans" in statement:
            cursor.execute("SAVEPOINT before")
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
            [[plan]] = cursor.fetchall()
            cursor.execute("ROLLBACK TO before")
            plans.append(Plan(plan[0]["Plan"]))

    event.listen(app.engine, "before_cursor_execute", explain)
    assert clean(app, accept_orphans=True)["result"]["orphaned_entries_deleted"] == orphans
    [plan] = plans
    assert max(node["Actual Rows"] * node["Actual Loops"] for node in plan.nodes) == orphans
    assert sum(node.get("Rows Removed by Join Filter", 0) for node in plan.nodes) == 0


def test_s17_orphans_are_found_by_key_where_tables_were_emptied(engine: Engine, arcade: Arcade, app: App) -> None:
    """The planner takes an index that is read whole for one that is searched, since it expects no row of either."""
    orphans = 300
    arcade.play_many(orphans, LAST_NIGHT)
    empty(engine)
    arcade.play_many(2 * orphans, LAST_NIGHT)
    arcade.execute("DELETE FROM leaderboard_touches", f"DELETE FROM game_sessions WHERE score <= {orphans}")
    removed: dict[str, int] = {}

    def explain(_c: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "entries" in statement and "deleted_sessions" not in statement and parameters:
            cursor.execute("SAVEPOINT before")
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
            [[plan]] = cursor.fetchall()
            cursor.execute("ROLLBACK TO before")
            found = sum(node.get("Rows Removed by Join Filter", 0) for node in Plan(plan[0]["Plan"]).nodes)
            removed[" ".join(statement.split())] = found

    event.listen(app.engine, "before_cursor_execute", explain)
    assert clean(app, accept_orphans=True)["result"]["orphaned_entries_deleted"] == orphans
    assert len(removed) == 2  # the sweep, and the deletion
    assert {statement: count for statement, count in removed.items() if count} == {}


def test_s17_an_id_far_ahead_of_the_others_or_below_zero_costs_nothing(
    engine: Engine, arcade: Arcade, app: App
) -> None:
    for player in ("0xnegative", "0xzero", "0xfar", "0xkept"):
        arcade.add_unchecked_entry(uuid4(), 5, LAST_NIGHT, player=player)
    run(
        engine,
        "SET session_replication_role = replica;"
        "UPDATE leaderboard_entries SET id = -7 WHERE player_address = '0xnegative';"
        "UPDATE leaderboard_entries SET id = 0 WHERE player_address = '0xzero';"
        "UPDATE leaderboard_entries SET id = 1000000000000 WHERE player_address = '0xfar';",
    )
    context = FakeContext()
    event.listen(  # 40 statements are enough
        app.engine,
        "before_cursor_execute",
        lambda *_: setattr(context, "remaining_ms", context.remaining_ms - 7_000),
    )
    result = clean(app, context)
    assert (result["status"], result["result"]["orphaned_entries_deleted"]) == ("succeeded", 4)
    assert entries(engine) == []


def test_s17_the_sweep_goes_on_each_night_and_begins_again_at_its_end(
    engine: Engine, arcade: Arcade, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no notice told of: sessions that were truncated, or entries that are older than the notices."""
    monkeypatch.setattr(cleanup, "SWEEP_BATCH", 2)
    monkeypatch.setattr(cleanup, "SWEEP_BATCHES", 2)
    arcade.play_many(5, LAST_NIGHT)
    kept = entries(engine)
    arcade.play_many(5, LAST_NIGHT, period="weekly")
    run(
        engine,
        "SET session_replication_role = replica; DELETE FROM game_sessions WHERE id IN"
        " (SELECT session_id FROM leaderboard_entries WHERE period_type = 'weekly')",
    )
    left = []
    for _ in range(3):
        assert clean(app)["status"] == "succeeded"
        left.append(len(entries(engine)) - len(kept))
    assert left == [5, 2, 0]
    run(engine, "SET session_replication_role = replica; TRUNCATE game_sessions")
    clean(app)
    assert entries(engine) == kept[4:]


def test_s17_a_run_that_did_not_come_to_see_everything_does_not_know_what_remains(arcade: Arcade, app: App) -> None:
    arcade.add_session(LAST_NIGHT)
    arcade.add_orphan(5, LAST_NIGHT)
    context = FakeContext()
    event.listen(
        app.engine,
        "after_cursor_execute",
        lambda _c, _cursor, statement, *_: setattr(context, "remaining_ms", 14_000) if "notice" in statement else None,
    )
    result = clean(app, context)
    assert result["status"] == "incomplete"
    assert (result["result"]["orphaned_entries_deleted"], result["result"]["remaining"]) == (0, None)
    result = clean(app)["result"]
    assert (result["orphaned_entries_deleted"], result["expired_sessions_deleted"], result["remaining"]) == (1, 1, 0)


def test_s17_a_run_that_stops_where_nothing_is_left_is_complete(arcade: Arcade, app: App) -> None:
    arcade.add_orphan(5, LAST_NIGHT)
    context = FakeContext()
    event.listen(
        app.engine,
        "after_cursor_execute",
        lambda _c, _cursor, statement, *_: (
            setattr(context, "remaining_ms", 14_000) if "unlocked" in statement else None
        ),
    )
    result = clean(app, context)
    assert (result["status"], result["result"]["remaining"]) == ("succeeded", 0)


def test_s17_an_orphan_that_got_another_session_is_none(engine: Engine, arcade: Arcade, app: App) -> None:
    """Its player improved it after the session was deleted: the notice is of the old session."""
    arcade.add_orphan(5, LAST_NIGHT)
    arcade.play("0xa", 9, LAST_NIGHT)
    assert clean(app)["result"]["orphaned_entries_deleted"] == 0
    assert rows(engine, "SELECT score FROM leaderboard_entries") == [(9,)]


def test_s17_an_orphan_that_is_improved_while_it_is_being_deleted_is_kept(
    engine: Engine, arcade: Arcade, app: App
) -> None:
    """The statement that deletes began while the session was missing, and was held up before it came to the entry."""
    arcade.add_orphan(5, LAST_NIGHT)
    arcade.execute(
        "INSERT INTO arcade_jobs_orphans SELECT id, game_type, period_type, period_date FROM leaderboard_entries"
    )
    with engine.connect() as other, ThreadPoolExecutor(1) as threads:
        other.execute(text("SELECT FROM arcade_jobs_orphans FOR UPDATE"))
        cleaning = threads.submit(clean, app)
        await_lock(engine)
        arcade.play("0xa", 9, LAST_NIGHT)
        other.rollback()
        assert cleaning.result(TIMEOUT)["result"]["orphaned_entries_deleted"] == 0
    assert rows(engine, "SELECT score FROM leaderboard_entries") == [(9,)]
    assert clean(app)["result"]["remaining"] == 0
    assert rows(engine, "SELECT * FROM arcade_jobs_orphans") == []
