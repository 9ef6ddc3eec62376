"""Prepared statements on a connection that lives as long as its container."""

from sqlalchemy import Engine

from shared.app import App
from tests.arcade import Arcade
from tests.jobs import invoke
from tests.sql import run


def test_a_column_that_changes_its_type_fails_one_run_of_a_warm_container_and_no_other(
    engine: Engine, arcade: Arcade, app: App
) -> None:
    pool_id = arcade.add_pool("2026-01-11")
    arcade.play("0xa", 5, "2026-01-11T10:00:00Z")
    invoke(app, "prize-pool", {})
    run(engine, "ALTER TABLE prize_pools ALTER winner_address TYPE varchar(200)")
    failed = invoke(app, "prize-pool", {})
    assert failed["result"]["errors"] == [{"error": "cached plan must not change result type (SQLSTATE 0A000)"}]
    assert invoke(app, "prize-pool", {})["status"] == "succeeded"
    assert arcade.pool(pool_id).status == "finalized"
