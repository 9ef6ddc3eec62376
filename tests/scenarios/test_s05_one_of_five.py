"""S05: one pool of five raises: a poisoned row, a lock held by someone else, a statement timeout."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import event, text

from shared.app import App
from shared.runs.runner import RunNotSucceededError
from tests.arcade import Arcade
from tests.fakes import scheduled_event
from tests.jobs import StartApp, invoke

GAMES = ("snake", "tetris", "pong", "breakout", "space_invaders")
BAD = "pong"
SLOT = scheduled_event("2026-01-12T00:00:00Z")
Fault = Callable[[Arcade], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def a_poisoned_row(arcade: Arcade) -> Iterator[None]:
    arcade.execute(f"ALTER TABLE prize_pools ADD CONSTRAINT poison CHECK (game_type <> '{BAD}') NOT VALID")
    yield
    arcade.execute("ALTER TABLE prize_pools DROP CONSTRAINT poison")


@contextlib.contextmanager
def a_lock_held_by_someone_else(arcade: Arcade) -> Iterator[None]:
    with arcade.engine.begin() as someone:
        someone.execute(text(f"SELECT FROM prize_pools WHERE game_type = '{BAD}' FOR UPDATE"))
        yield


@contextlib.contextmanager
def a_statement_that_takes_too_long(arcade: Arcade) -> Iterator[None]:
    arcade.execute(
        "CREATE FUNCTION delay() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(600); RETURN NEW; END $$",
        "CREATE TRIGGER delay BEFORE UPDATE ON prize_pools"
        f" FOR EACH ROW WHEN (OLD.game_type = '{BAD}') EXECUTE FUNCTION delay()",
    )
    yield
    arcade.execute("DROP TRIGGER delay ON prize_pools")


FAULTS = [
    (a_poisoned_row, {}, 'new row for relation "prize_pools" violates check constraint "poison" (SQLSTATE 23514)'),
    (
        a_lock_held_by_someone_else,
        {"lock_timeout": "300"},
        "canceling statement due to lock timeout (SQLSTATE 55P03)",
    ),
    (
        a_lock_held_by_someone_else,
        {"lock_timeout": "0", "statement_timeout": "1500"},
        "canceling statement due to statement timeout (SQLSTATE 57014)",
    ),
    (
        a_statement_that_takes_too_long,
        {"statement_timeout": "1500"},
        "canceling statement due to statement timeout (SQLSTATE 57014)",
    ),
]


@pytest.mark.parametrize(
    ("fault", "session", "error"),
    FAULTS,
    ids=["a poisoned row", "a lock held for long", "a lock held for longer", "a slow statement"],
)
def test_s05_four_settle_the_error_names_the_fifth_and_the_retry_touches_only_that_one(
    arcade: Arcade, start_app: StartApp, fault: Fault, session: dict[str, str], error: str
) -> None:
    ids = {game: arcade.add_pool("2026-01-11", game=game) for game in GAMES}
    for game in GAMES:
        arcade.play("0xa", 5, "2026-01-11T10:00:00Z", game=game)
    app = start_app(session=session)
    with fault(arcade), pytest.raises(RunNotSucceededError) as raised:
        invoke(app, "prize-pool", SLOT)
    assert str(raised.value) == f"run prize-pool:2026-01-12T00:00Z partial; first of 1 errors: {error}"
    record = app.runner.store.get("prize-pool:2026-01-12T00:00Z")
    assert record is not None
    assert record.result is not None
    assert (record.status, record.result["pools_finalized"]) == ("partial", 4)
    assert record.result["errors"] == [
        {
            "pool_id": ids[BAD],
            "game_type": BAD,
            "period_type": "daily",
            "period_date": "2026-01-11",
            "error": error,
        }
    ]
    assert {game for game in GAMES if arcade.pool(ids[game]).status == "active"} == {BAD}

    before, locked = row_versions(arcade), []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "FOR UPDATE" in statement:
            locked.append(parameters)

    event.listen(app.engine, "before_cursor_execute", note)
    retried = invoke(app, "prize-pool", SLOT)
    assert (retried["status"], retried["attempt"], retried["result"]["pools_finalized"]) == ("succeeded", 2, 5)
    assert len(locked) == 1
    after = row_versions(arcade)
    assert {pool_id for pool_id in after if after[pool_id] != before[pool_id]} == {ids[BAD]}
    assert arcade.pool(ids[BAD]).winner_address == "0xa"


def test_s05_no_statement_waits_or_works_forever(app: App) -> None:
    with app.engine.connect() as connection:
        limits = [connection.scalar(text(f"SHOW {name}")) for name in ("lock_timeout", "statement_timeout")]
    assert limits == ["5s", "1min"]


def row_versions(arcade: Arcade) -> dict[int, tuple[str, str]]:
    """Where each pool's row is and what wrote it: another after any write, even of the same values."""
    with arcade.engine.connect() as connection:
        rows = connection.execute(text("SELECT id, xmin::text, ctid::text FROM prize_pools"))
        return {row.id: (row.xmin, row.ctid) for row in rows}
