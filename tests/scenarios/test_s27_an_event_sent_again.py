"""S27: an event that is sent again does what is still undone, and returns all that its run did."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event

from shared.app import App
from shared.domain.run import RunStatus
from shared.domain.tick import BadEventError
from shared.runs.record import RunRecord
from shared.runs.runner import RunNotSucceededError
from shared.runs.store import RunStore, RunStoreError
from tests.arcade import Arcade
from tests.fakes import FakeClock, FakeContext, scheduled_event
from tests.jobs import StartApp, invoke

AT = "2026-01-12T00:00:00Z"
SLOT = scheduled_event(AT)
RUN_ID = "prize-pool:2026-01-12T00:00Z"


def stored(app: App, run_id: str = RUN_ID) -> RunRecord:
    record = app.runner.store.get(run_id)
    assert record is not None
    return record


def pool_ids(result: Any) -> set[int]:
    return {pool["pool_id"] for pool in result["finalized_pools"]}


def once_before_statement(app: App, part: str, act: Callable[[], object]) -> None:
    """Act before an app's first statement that has a part."""
    acted: list[bool] = []

    def before(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if part in statement and not acted:
            acted.append(True)
            act()

    event.listen(app.engine, "before_cursor_execute", before)


def once_before_the_end_is_recorded(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Act when a run has done its work and is about to record it."""
    finish = RunStore.finish
    acted: list[bool] = []

    def act_and_finish(self: RunStore, *arguments: Any, **options: Any) -> Any:
        if not acted:
            acted.append(True)
            act()
        return finish(self, *arguments, **options)

    monkeypatch.setattr(RunStore, "finish", act_and_finish)


@pytest.mark.parametrize("again", [SLOT, {"time": AT, "actor": "ada"}], ids=["the event again", "a trigger"])
def test_s27_a_pool_that_was_opened_after_its_slot_succeeded_is_settled(
    arcade: Arcade, app: App, again: dict[str, Any]
) -> None:
    first_pool = arcade.add_pool("2026-01-11", game="pong")
    first = invoke(app, "prize-pool", SLOT)
    late_pool = arcade.add_pool("2026-01-11", game="snake")
    second = invoke(app, "prize-pool", again)
    assert arcade.pool(late_pool).settled_by == RUN_ID
    assert (second["duplicate"], second["status"], second["attempt"]) == (False, "succeeded", 2)
    assert pool_ids(first["result"]) == {first_pool}
    assert pool_ids(second["result"]) == {first_pool, late_pool}
    assert stored(app).to_json() == second
    assert invoke(app, "prize-pool", SLOT) == second | {"duplicate": True}


def test_s27_a_slot_that_lies_ahead_is_not_swallowed_by_a_trigger(arcade: Arcade, app: App, clock: FakeClock) -> None:
    clock.now = datetime.fromisoformat("2026-01-11T23:56:00Z")
    with pytest.raises(BadEventError, match=rf"^event time: '{AT}' is in the future; it is now 2026-01-11T23:56:00Z$"):
        invoke(app, "leaderboard", {"time": AT})
    arcade.play("0xa", 7, "2026-01-11T23:58:00Z")
    clock.now = datetime.fromisoformat("2026-01-12T00:00:02Z")
    slot = invoke(app, "leaderboard", SLOT)
    assert (slot["attempt"], slot["result"]["leaderboards_processed"]) == (1, 1)


@pytest.mark.parametrize("job", ["prize-pool", "leaderboard", "cleanup"])
def test_s27_a_scheduled_event_is_waited_for_by_every_job(arcade: Arcade, app: App, clock: FakeClock, job: str) -> None:
    """EventBridge's clock may be ahead of ours."""
    clock.now = datetime.fromisoformat("2026-01-11T23:56:00Z")
    pool_id = arcade.add_pool("2026-01-11")
    record = invoke(app, job, SLOT)
    assert (record["status"], record["attempt"]) == ("succeeded", 1)
    assert record["started_at"] == "2026-01-12T00:00:00.000000Z"
    assert (arcade.pool(pool_id).status == "finalized") is (job == "prize-pool")


def test_s27_an_event_is_not_waited_for_beyond_the_invocation(app: App, clock: FakeClock) -> None:
    clock.now = datetime.fromisoformat("2026-01-11T23:56:00Z")
    begun_at = clock.now

    class ShortContext(FakeContext):
        def get_remaining_time_in_millis(self) -> int:
            return self.remaining_ms - (clock.now - begun_at) // timedelta(milliseconds=1)

    with pytest.raises(RunNotSucceededError, match=rf"^run {RUN_ID} not begun: "):
        invoke(app, "prize-pool", SLOT, ShortContext(remaining_ms=60_000))
    assert timedelta(seconds=44) <= clock.now - begun_at <= timedelta(seconds=46)
    assert app.runner.store.list_runs() == []


def test_s27_of_two_deliveries_at_once_the_one_that_ends_last_keeps_what_the_other_stored(
    arcade: Arcade, start_app: StartApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first has read what its run settled; the second settles one pool more, and ends first."""
    first, second = start_app(), start_app()
    pools = {arcade.add_pool("2026-01-11", game="pong")}
    inner: list[dict[str, Any]] = []

    def overtake() -> None:
        pools.add(arcade.add_pool("2026-01-11", game="snake"))
        inner.append(invoke(second, "prize-pool", SLOT))

    once_before_the_end_is_recorded(monkeypatch, overtake)
    outer = invoke(first, "prize-pool", SLOT)
    assert [inner[0]["attempt"], outer["attempt"]] == [2, 1]
    assert pool_ids(outer["result"]) == pool_ids(inner[0]["result"]) == pools
    assert (pool_ids(stored(first).result), stored(first).attempt) == (pools, 2)


def test_s27_of_two_deliveries_at_once_the_one_that_ends_last_adds_what_it_settled(
    arcade: Arcade, start_app: StartApp
) -> None:
    """The second begins and ends while the first has done nothing yet; then a pool is opened."""
    first, second = start_app(), start_app()
    pools = {arcade.add_pool("2026-01-11", game="pong")}

    def be_overtaken() -> None:
        invoke(second, "prize-pool", SLOT)
        pools.add(arcade.add_pool("2026-01-11", game="snake"))

    once_before_statement(first, "prize_pools", be_overtaken)
    invoke(first, "prize-pool", SLOT)
    assert (pool_ids(stored(first).result), stored(first).attempt) == (pools, 2)
    assert stored(first).counts == {
        "pools_processed": 2, "pools_finalized": 2, "pools_without_winner": 2, "warnings": 2, "errors": 0
    }  # fmt: skip


def test_s27_what_an_attempt_could_not_record_is_recorded_by_the_next(
    arcade: Arcade, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools = {arcade.add_pool("2026-01-11", game="pong")}
    invoke(app, "prize-pool", SLOT)
    pools.add(arcade.add_pool("2026-01-11", game="snake"))
    with monkeypatch.context() as unreachable:
        unreachable.setattr(RunStore, "finish", _raise_unreachable)
        invoke(app, "prize-pool", SLOT)
    assert pool_ids(stored(app).result) < pools
    assert pool_ids(invoke(app, "prize-pool", SLOT)["result"]) == pools
    assert pool_ids(stored(app).result) == pools
    assert invoke(app, "prize-pool", SLOT)["duplicate"]


def test_s27_a_slot_that_succeeded_ranks_what_is_pending_and_its_record_has_both(arcade: Arcade, app: App) -> None:
    arcade.play("0xa", 7, "2026-01-11T10:00:00Z", periods=("daily",))
    invoke(app, "leaderboard", SLOT)
    arcade.play("0xb", 9, "2026-01-11T11:00:00Z", periods=("daily",))
    arcade.play("0xb", 9, "2026-01-11T11:00:00Z", game="snake", periods=("daily",))
    again = invoke(app, "leaderboard", SLOT)
    assert arcade.ranks(day="2026-01-11") == [("0xb", 1), ("0xa", 2)]
    assert (again["attempt"], again["duplicate"]) == (2, False)
    result = again["result"]
    assert stored(app, "leaderboard:2026-01-12T00:00Z").result == result
    assert {board["game_type"]: board["entries_updated"] for board in result["leaderboards"]} == {"pong": 3, "snake": 1}
    assert (result["leaderboards_processed"], result["entries_updated"]) == (2, 4)
    assert invoke(app, "leaderboard", SLOT) == again | {"duplicate": True}


def test_s27_a_slot_that_succeeded_cleans_what_is_left_and_its_record_adds_up(arcade: Arcade, app: App) -> None:
    arcade.add_session("2026-01-11T10:00:00Z", amount="0.01")
    invoke(app, "cleanup", SLOT)
    arcade.add_session("2026-01-11T11:00:00Z", amount="0.02")
    again = invoke(app, "cleanup", SLOT)
    assert again["result"]["expired_sessions_deleted"] == 2
    assert again["result"]["expired_amount_usdc"] == "0.030000"
    assert stored(app, "cleanup:2026-01-12T00:00Z").result == again["result"]


def test_s27_a_delivery_that_fails_after_a_success_is_recorded_and_raises(arcade: Arcade, app: App) -> None:
    pool_id = arcade.add_pool("2026-01-11", game="pong")
    invoke(app, "prize-pool", SLOT)
    arcade.add_pool("2026-01-11", game="snake")
    arcade.execute("ALTER TABLE prize_pools ADD CONSTRAINT poison CHECK (game_type <> 'snake') NOT VALID")
    with pytest.raises(RunNotSucceededError, match=f"^run {RUN_ID} partial; "):
        invoke(app, "prize-pool", SLOT)
    record = stored(app)
    assert (record.status, record.attempt, pool_ids(record.result)) == (RunStatus.PARTIAL, 2, {pool_id})
    arcade.execute("ALTER TABLE prize_pools DROP CONSTRAINT poison")
    retried = invoke(app, "prize-pool", SLOT)
    assert (retried["status"], retried["attempt"], retried["result"]["pools_finalized"]) == ("succeeded", 3, 2)


def _raise_unreachable(*_: Any, **__: Any) -> None:
    raise RunStoreError("runs table: gone")
