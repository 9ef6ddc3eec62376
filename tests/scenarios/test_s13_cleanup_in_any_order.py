"""S13: cleanup before, during or after the other two jobs, in any order."""

from itertools import count, groupby, permutations
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import event, text

from shared.app import App
from tests.arcade import Arcade
from tests.fakes import FakeClock
from tests.faults.scenes import keep, restore
from tests.jobs import StartApp, invoke

JOBS = ("prize-pool", "leaderboard", "cleanup")
State = dict[str, list[Any]]


class World:
    """A night's arcade that can be restored: much faster than a new database."""

    def __init__(self, arcade: Arcade, periods: tuple[str, ...]) -> None:
        self.engine = arcade.engine
        self._fill(arcade, periods)
        keep(self.engine)

    def _fill(self, arcade: Arcade, periods: tuple[str, ...]) -> None:
        """All that cleanup may and may not touch, and ahead of the winner too."""
        for period in periods:
            arcade.add_pool("2026-01-11" if period == "daily" else "2026-01-05", period=period)
        arcade.add_pool("2026-01-12")
        arcade.play("0xwinner", 50, "2026-01-11T12:00:00Z", periods=periods)
        arcade.play("0xequal", 50, "2026-01-11T12:00:01Z", periods=periods)
        arcade.play("0xlast", 10, "2026-01-11T23:59:59Z", periods=periods)
        abandoned = arcade.add_session("2026-01-11T11:00:00Z", player="0xabandoned")
        expired = arcade.add_session("2026-01-11T11:00:00Z", player="0xexpired", status="expired")
        arcade.add_session("2026-01-12T02:59:00Z", player="0xplaying")
        for period in periods:
            for session_id, player in ((abandoned, "0xabandoned"), (expired, "0xexpired"), (uuid4(), "0xgone")):
                arcade.add_unchecked_entry(session_id, 90, "2026-01-11T11:30:00Z", player=player, period=period)

    def restore(self) -> None:
        restore(self.engine)

    def state(self) -> State:
        """What must be the same after every order."""
        with self.engine.connect() as connection:

            def rows(query: str) -> list[Any]:
                return list(map(tuple, connection.execute(text(query))))

            return {
                "winners": rows("SELECT id, status, winner_address, winner_score FROM prize_pools ORDER BY id"),
                "valid entries": rows(
                    "SELECT e.id, e.score, e.created_at FROM leaderboard_entries e JOIN game_sessions s"
                    " ON s.id = e.session_id AND s.status = 'completed' ORDER BY e.id"
                ),
                "ranks": rows(
                    "SELECT game_type, period_type, period_date, player_address, rank FROM leaderboard_entries"
                    " ORDER BY game_type, period_type, period_date, rank"
                ),
                "sessions": rows("SELECT id, status FROM game_sessions ORDER BY id"),
            }


@pytest.fixture(params=[("daily", "weekly")])
def world(arcade: Arcade, clock: FakeClock, request: pytest.FixtureRequest) -> World:
    clock.now = clock.now.replace(hour=4)
    return World(arcade, request.param)


def state_after_an_undisturbed_night(world: World, app: App) -> State:
    """The night in its usual order, and the ranking after it."""
    run_all(app, ("prize-pool", "leaderboard", "cleanup", "leaderboard"))
    state = world.state()
    *settled, current = state["winners"]
    assert {row[1:3] for row in settled} == {("finalized", "0xwinner")}
    assert current[1] == "active"
    assert "0xexpired" in str(state["ranks"])
    world.restore()
    return comparable(state)


def boards(rows: list[Any]) -> list[list[int]]:
    """The ranks of each board."""
    return [[row[-1] for row in board] for _, board in groupby(rows, key=lambda row: row[:3])]


def run_all(app: App, jobs: tuple[str, ...]) -> None:
    for job in jobs:
        assert invoke(app, job, {"reason": "in another order"})["status"] == "succeeded"


def comparable(state: State) -> State:
    """The state without orphans, in the order of the ranks: of a board that is settled first they are kept (S28)."""
    return {**state, "ranks": [row[:-1] for row in state["ranks"] if row[3] not in {"0xabandoned", "0xgone"}]}


def test_s13_every_order_ends_the_same(world: World, app: App) -> None:
    undisturbed = state_after_an_undisturbed_night(world, app)
    for order in permutations(JOBS):
        run_all(app, (*order, "leaderboard"))
        state = world.state()
        assert comparable(state) == undisturbed, order
        is_record = order.index("prize-pool") < order.index("cleanup")
        assert ("0xgone" in str(state["ranks"])) == is_record, order
        for ranks in boards(state["ranks"]):
            assert ranks == list(range(1, len(ranks) + 1)), order
        world.restore()


@pytest.mark.parametrize("world", [("daily",)], indirect=True)
def test_s13_a_cleanup_between_any_two_statements_changes_nothing(world: World, start_app: StartApp) -> None:
    """Cleanup runs whole at each statement of the other two in turn, by a connection of its own."""
    working, cleaning = start_app(), start_app()
    undisturbed = state_after_an_undisturbed_night(world, working)
    seen: list[str] = []
    interrupted: list[int] = []

    def interrupt(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)
        if len(seen) in interrupted:
            run_all(cleaning, ("cleanup",))

    event.listen(working.engine, "before_cursor_execute", interrupt)
    for n in count(1):
        seen.clear()
        interrupted[:] = [n]
        run_all(working, ("prize-pool", "leaderboard"))
        if len(seen) < n:
            break
        interrupted.clear()
        where = f"cleanup before statement {n}: {seen[n - 1]}"
        run_all(working, ("leaderboard",))
        assert comparable(world.state()) == undisturbed, where
        world.restore()
    assert n > 15
