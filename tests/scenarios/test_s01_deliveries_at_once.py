"""S01: twenty deliveries of one slot at once, scheduled and manual mixed."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import event, text

from shared.app import App
from tests.arcade import Arcade
from tests.fakes import scheduled_event
from tests.jobs import StartApp, invoke
from tests.locks import TIMEOUT

DELIVERIES = 20
GAMES = ("snake", "tetris", "pong", "breakout", "space_invaders")
SLOT = "2026-01-12T00:00:{:02}Z"  # of a Monday: days and weeks end


def meet_before_settling(app: App, barrier: threading.Barrier) -> None:
    """No delivery locks a pool before all have listed what is due."""
    met: list[bool] = []

    def meet(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "FOR UPDATE" in statement and not met:
            met.append(True)
            barrier.wait(TIMEOUT)

    event.listen(app.engine, "before_cursor_execute", meet)


def deliver_all(apps: list[App], events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    barrier = threading.Barrier(len(apps))
    for app in apps:
        meet_before_settling(app, barrier)
    with ThreadPoolExecutor(len(apps)) as threads:
        deliveries = [threads.submit(invoke, app, "prize-pool", event) for app, event in zip(apps, events, strict=True)]
        return [delivery.result(TIMEOUT) for delivery in deliveries]


@pytest.fixture
def pool_ids(arcade: Arcade) -> list[int]:
    """Ten pools, all of which end with one slot, one of them without a valid entry."""
    ids = []
    for n, game in enumerate(GAMES):
        ids += [arcade.add_pool("2026-01-11", game=game), arcade.add_pool("2026-01-05", game=game, period="weekly")]
        for player in ("0xa", "0xb")[: 2 * (game != "pong")]:
            arcade.play(player, 5 + n, "2026-01-11T10:00:00Z", game=game, periods=("daily", "weekly"))
    return ids


def log_settlements(arcade: Arcade) -> None:
    """Let the database count how often each pool is finalized, independently of the jobs."""
    arcade.execute(
        "CREATE TABLE settlements (pool_id bigint)",
        "CREATE FUNCTION log_settlement() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO settlements VALUES (NEW.id); RETURN NULL; END $$",
        "CREATE TRIGGER log_settlement AFTER UPDATE ON prize_pools"
        " FOR EACH ROW WHEN (NEW.status = 'finalized') EXECUTE FUNCTION log_settlement()",
    )


def settlements(arcade: Arcade) -> list[int]:
    with arcade.engine.connect() as connection:
        return list(connection.scalars(text("SELECT pool_id FROM settlements ORDER BY pool_id")))


def published(captured: str, metric: str) -> int:
    return sum(line[metric][0] for line in map(json.loads, captured.splitlines()) if metric in line)


def test_s01_twenty_deliveries_of_one_slot_settle_each_pool_once_and_return_the_same(
    arcade: Arcade, start_app: StartApp, pool_ids: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    log_settlements(arcade)
    events: list[dict[str, Any]] = [
        scheduled_event(SLOT.format(n)) if n % 2 else {"time": SLOT.format(n), "actor": f"operator {n}"}
        for n in range(DELIVERIES)
    ]
    results = deliver_all([start_app() for _ in events], events)
    assert settlements(arcade) == sorted(pool_ids)
    assert {result["run_id"] for result in results} == {"prize-pool:2026-01-12T00:00Z"}
    assert {result["status"] for result in results} == {"succeeded"}
    assert sorted(result["attempt"] for result in results) == list(range(1, DELIVERIES + 1))
    first = results[0]["result"]
    assert sorted(pool["pool_id"] for pool in first["finalized_pools"]) == sorted(pool_ids)
    assert (first["pools_finalized"], first["pools_without_winner"], first["errors"]) == (10, 2, [])
    assert all(result["result"] == first for result in results)
    output = capsys.readouterr().out
    assert published(output, "ItemsProcessed") == 10
    assert published(output, "PoolsWithoutWinner") == 2

    app = start_app()
    for late in (events[0], events[1]):
        again = invoke(app, "prize-pool", late)
        assert (again["duplicate"], again["result"]) == (True, first)
    assert settlements(arcade) == sorted(pool_ids)
    assert len(app.runner.store.list_runs()) == 1


def test_s01_runs_of_their_own_share_the_pools_and_each_lists_what_it_settled(
    arcade: Arcade, start_app: StartApp, pool_ids: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Manual events without a time represent no slot: what one of them settles, another does not list."""
    log_settlements(arcade)
    events: list[dict[str, Any]] = [{} if n % 2 else scheduled_event(SLOT.format(0)) for n in range(8)]
    results = deliver_all([start_app() for _ in events], events)
    assert settlements(arcade) == sorted(pool_ids)
    assert {result["status"] for result in results} == {"succeeded"}
    listed = {result["run_id"]: result["result"]["finalized_pools"] for result in results}
    assert len(listed) == 5
    assert sorted(pool["pool_id"] for pools in listed.values() for pool in pools) == sorted(pool_ids)
    for pool_id in pool_ids:
        settled_by = arcade.pool(pool_id).settled_by
        assert pool_id in [pool["pool_id"] for pool in listed[settled_by]]
    assert published(capsys.readouterr().out, "ItemsProcessed") == 10
