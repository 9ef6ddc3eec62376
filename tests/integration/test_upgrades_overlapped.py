"""An upgrade that is killed, or meets others, writers or locks, ends like one that is left alone."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event

import pytest
from sqlalchemy import Engine, event, text

from infra import schema as migrations
from infra.schema import data_api
from infra.schema.data_api import DataApi
from infra.schema.revisions import steps_after
from tests.fakes.data_api import FakeDataApi
from tests.integration.upgraded import assert_upgraded, contents
from tests.sql import rows, run


class KilledError(BaseException):
    """The process is gone."""


def die_after_each_statement() -> Callable[[str], None]:
    """Raises for a statement that was run and does some work, once for each. After one is before the next."""
    survived: set[str] = set()

    def die(statement: str) -> None:
        if statement not in survived and re.match(r"DO \$arcade_jobs\$|CREATE INDEX CONCURRENTLY", statement):
            survived.add(statement)
            raise KilledError

    return die


def assert_finished_by_the_next_ones(first: Engine, upgrade: Callable[[], None]) -> None:
    """Each that was killed has left a step more, and all rows."""
    before = contents(first)
    seen = {"0001"}
    while True:
        try:
            upgrade()
        except KilledError:
            seen |= {version for (version,) in rows(first, "SELECT version_num FROM arcade_jobs_version")}
            assert contents(first) == before
        else:
            break
    assert seen == {"0001", *(step.after for step in steps_after("0001", "public"))}
    assert_upgraded(first, before)


def test_one_that_is_killed_at_every_statement_is_finished_by_the_next_ones(first: Engine) -> None:
    die = die_after_each_statement()
    event.listen(first, "after_cursor_execute", lambda _connection, _cursor, statement, *_: die(statement))
    assert_finished_by_the_next_ones(first, lambda: migrations.upgrade(first))


def test_one_through_the_data_api_that_is_killed_at_every_statement_is_finished(
    first: Engine, fake: FakeDataApi, api: Callable[[], DataApi]
) -> None:
    fake.after = die_after_each_statement()
    assert_finished_by_the_next_ones(first, lambda: data_api.upgrade(api()))


@pytest.mark.parametrize(
    ("first", "connections", "senders"),
    [("0001", 2, 0), ("0001", 4, 0), ("0001", 0, 2), ("0001", 0, 4), ("0001", 2, 2), ("0002", 2, 2)],
    indirect=["first"],
)
def test_several_at_once_all_end_well(
    first: Engine, api: Callable[[], DataApi], connections: int, senders: int
) -> None:
    before = contents(first)
    with ThreadPoolExecutor(connections + senders) as pool:
        started = [pool.submit(migrations.upgrade, first) for _ in range(connections)]
        started += [pool.submit(data_api.upgrade, api()) for _ in range(senders)]
        for future in started:
            future.result(120)
    assert_upgraded(first, before)


@pytest.mark.parametrize(
    ("first", "way"),
    [("0001", "a connection"), ("0001", "the Data API"), ("0002", "a connection"), ("0002", "the Data API")],
    indirect=["first"],
)
def test_scores_are_written_while_it_works(first: Engine, api: Callable[[], DataApi], way: str) -> None:
    write = text("""
        WITH played AS (
            INSERT INTO game_sessions (id, game_type, player_address, amount_paid_usdc, score, status, completed_at)
            VALUES (gen_random_uuid(), 'pong', :player, 0, :score, 'completed', now()) RETURNING *)
        INSERT INTO leaderboard_entries (session_id, game_type, player_address, score, period_type, period_date)
        SELECT id, game_type, player_address, score, 'daily', '2026-01-06' FROM played
        ON CONFLICT (player_address, game_type, period_type, period_date) DO UPDATE
        SET session_id = excluded.session_id, score = excluded.score, created_at = excluded.created_at
    """)
    ended = Event()

    def play(player: str) -> int:
        written = 0
        while not ended.is_set():
            written += 1
            with first.begin() as connection:
                connection.execute(write, {"player": player, "score": written})
        return written

    before = contents(first)
    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(play, f"0x{n}") for n in range(3)]
        try:
            data_api.upgrade(api()) if way == "the Data API" else migrations.upgrade(first)
        finally:
            ended.set()
        written = [writer.result(30) for writer in writers]
    assert min(written) > 0
    assert rows(first, "SELECT score FROM leaderboard_entries WHERE game_type = 'pong' ORDER BY player_address") == [
        (count,) for count in written
    ]
    run(first, *(f"DELETE FROM {table} WHERE game_type = 'pong'" for table in ("leaderboard_entries", "game_sessions")))
    assert_upgraded(first, before)


def test_a_lock_that_others_hold_is_waited_for(
    first: Engine, api: Callable[[], DataApi], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_api, "LOCK_TIMEOUT", 0.02)
    before = contents(first)
    lines: list[str] = []
    pauses: list[float] = []
    with first.connect() as reader:
        reader.exec_driver_sql("SELECT count(*) FROM prize_pools")

        def sleep(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 3:
                reader.rollback()

        data_api.upgrade(replace(api(), report=lines.append, sleep=sleep))
    assert pauses == [data_api.TURN_PAUSE] * 3
    assert lines.count("others hold a lock; waiting for it") == 1
    assert_upgraded(first, before)


def test_an_index_that_a_killed_build_has_left_is_built_again(first: Engine, api: Callable[[], DataApi]) -> None:
    before = contents(first)
    invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
    for upgrade in (migrations.upgrade, migrations.upgrade, lambda _: data_api.upgrade(api())):
        with ThreadPoolExecutor(1) as pool, first.connect() as reader:
            # The build waits for every snapshot that is older.
            reader.execution_options(isolation_level="REPEATABLE READ").exec_driver_sql("SELECT 1 FROM pg_class")
            upgrading = pool.submit(upgrade, first)
            building = "query LIKE 'CREATE INDEX CONCURRENTLY%' AND wait_event_type = 'Lock'"
            pid = await_query(first, building)
            run(first, f"SELECT pg_terminate_backend({pid})")
            with pytest.raises(migrations.UpgradeError):
                upgrading.result(60)
            reader.rollback()
        assert rows(first, invalid) == [(1,)]
    migrations.upgrade(first)
    assert_upgraded(first, before)


def await_query(engine: Engine, condition: str) -> int:
    """The pid of a connection of this database that meets a condition, as soon as there is one."""
    query = f"SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND {condition}"
    while not (found := rows(engine, query)):
        pass
    return int(str(found[0][0]))
