"""A database of the first revision, or of the second, with rows, is brought to the last one by both ways."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from threading import Event
from uuid import uuid4

import pytest
from sqlalchemy import Engine, event, text

from infra import schema as migrations
from infra.local import postgres
from infra.schema import Kind, data_api, guarded, revisions, session, unbacked
from infra.schema.data_api import DataApi
from infra.schema.revisions import NOTHING, steps_after
from tests.fakes.data_api import FakeDataApi
from tests.sql import open_database, rows, run

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


@pytest.fixture(scope="session")
def templates(server: postgres.Server) -> Iterator[dict[str, str]]:
    """By revision, the name of a database of it: the first one with rows, the second made of it."""
    names: dict[str, str] = {}
    for version in ("0001", "0002"):
        before = {"template": names["0001"]} if names else {}
        names[version] = f"from_{version}_{uuid4().hex[:12]}"
        engine = open_database(server.create_database(names[version], **before))
        with session.begin(engine, report=lambda _: None, sleep=lambda _: None) as opened:
            if not before:
                opened.run_block(guarded.begin_body("public", NOTHING), expected=None)
            for step in steps_after(opened.version() or NOTHING, "public"):
                if step.revision == version:
                    guarded.run_step(opened, step)
        if not before:
            run(engine, ROWS)
        assert rows(engine, "SELECT version_num FROM arcade_jobs_version") == [(version,)]
        engine.dispose()
    yield names
    for name in names.values():
        server.drop_database(name)


@pytest.fixture
def first(server: postgres.Server, templates: dict[str, str], request: pytest.FixtureRequest) -> Iterator[Engine]:
    """A database of the first revision, or of the one in the test's parameter."""
    name = f"upgraded_{uuid4().hex[:12]}"
    template = templates[getattr(request, "param", "0001")]
    engine = open_database(server.create_database(name, template=template))
    yield engine
    engine.dispose()
    server.drop_database(name)


@pytest.fixture
def fake(first: Engine) -> FakeDataApi:
    """The Data API of that database."""
    return FakeDataApi(first.url)


@pytest.fixture
def api(first: Engine, fake: FakeDataApi) -> Iterator[Callable[[], DataApi]]:
    """Makes clients of it, for an admin who owns the tables."""
    jobs = f"jobs_{uuid4().hex[:12]}"
    run(first, "DO $$ BEGIN CREATE ROLE rds_iam; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$")

    def make() -> DataApi:
        return DataApi(
            client=fake.client,
            cluster=fake.cluster,
            secret=fake.secret,
            database=first.url.database or "",
            jobs_role=jobs,
            report=lambda _: None,
            sleep=lambda _: None,
        )

    yield make
    first.dispose()
    for (role,) in rows(first, f"SELECT rolname::text FROM pg_roles WHERE rolname ~ '^{jobs}'"):
        run(first, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def assert_upgraded(engine: Engine, before: list[tuple[object, ...]]) -> None:
    """It is at the last revision, and no row is lost: each is where it was, or set aside whole."""
    assert rows(engine, "SELECT version_num FROM arcade_jobs_version") == [(revisions.head(),)]
    assert {difference.kind for difference in migrations.check(engine)} == {Kind.WARNING}
    aside = "SELECT table_name, count(*) FROM arcade_jobs_set_aside GROUP BY 1"
    assert dict(rows(engine, aside)) == ASIDE
    assert contents(engine) == before


from_each = pytest.mark.parametrize("first", ["0001", "0002"], indirect=True)


@from_each
def test_an_upgrade_over_a_connection_keeps_every_row(first: Engine) -> None:
    before = contents(first)
    migrations.upgrade(first)
    assert_upgraded(first, before)
    states = "leaderboards, leaderboard_touches"
    for state in states.split(", "):
        assert rows(first, f"SELECT count(*) FROM {state} WHERE period_date = 'infinity'") == [(0,)]


@from_each
def test_an_upgrade_through_the_data_api_keeps_every_row(first: Engine, api: Callable[[], DataApi]) -> None:
    before = contents(first)
    data_api.upgrade(api())
    assert_upgraded(first, before)
    assert {str(d) for d in data_api.check(api())} == {str(d) for d in migrations.check(first)}
    assert [d.fix for d in data_api.check(api())] == [d.fix for d in migrations.check(first)]


def test_check_names_what_is_behind_and_compares_with_what_was_done(first: Engine) -> None:
    behind = f"arcade_jobs_version is 0001; {revisions.head()} is this version's"
    assert [str(difference) for difference in migrations.check(first)] == [behind, *TO_BE_REFUSED["0001"]]
    run(first, "DROP INDEX prize_pools_settled_by_idx")
    assert [str(difference) for difference in migrations.check(first)] == [
        behind,
        "prize_pools.prize_pools_settled_by_idx is missing",
        *TO_BE_REFUSED["0001"],
    ]


REFUSED = (
    "a completed session of the same player, game and score: such an entry is refused (AJ002) from revision 0003 on"
)
CORRECTED = "another created_at than their session's completed_at: it is corrected from revision 0003 on"
# At the second revision the sessions of two players are set aside.
TO_BE_REFUSED = {
    "0001": [
        f"leaderboard_entries has 1 of the last 61 rows without {REFUSED}",
        f"leaderboard_entries has 4 of the last 61 rows with {CORRECTED}",
    ],
    "0002": [f"leaderboard_entries has 7 of the last 58 rows without {REFUSED}"],
}


@from_each
@pytest.mark.parametrize("way", ["a connection", "the Data API"])
def test_s23_what_will_be_refused_is_counted_before_it_is(
    first: Engine, api: Callable[[], DataApi], way: str, request: pytest.FixtureRequest
) -> None:
    lines: list[str] = []
    counted = TO_BE_REFUSED[request.node.callspec.params["first"]]
    for check in (migrations.check(first), data_api.check(api())):
        assert [str(found) for found in check if found.where == "leaderboard_entries"] == counted
        assert {found.kind for found in check if found.where == "leaderboard_entries"} == {Kind.WARNING}
    for _ in range(2):  # once it is added, nothing more is counted
        if way == "the Data API":
            data_api.upgrade(replace(api(), report=lines.append))
        else:
            migrations.upgrade(first, report=lines.append)
    warned = [line for line in lines if "warning: leaderboard_entries" in line]
    assert [line.partition("warning: ")[2] for line in warned] == counted
    place = next(place for place, line in enumerate(lines) if "revision 000" in line and "from statement" in line)
    assert lines.index(warned[-1]) < place
    assert not [found for found in migrations.check(first) if found.where == "leaderboard_entries"]


def test_s23_the_entries_that_were_written_last_are_counted_each_with_its_session_by_key(first: Engine) -> None:
    with first.connect() as connection:
        connection.exec_driver_sql("SET enable_seqscan = off")  # so few rows are read whole otherwise
        plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {unbacked.counts('public')}").scalars())
    assert "Limit" in plan
    assert "Index Scan Backward using leaderboard_entries_pkey" in plan
    assert "Index Scan using game_sessions_pkey" in plan


class KilledError(BaseException):
    """The process is gone."""


WORK = re.compile(r"DO \$arcade_jobs\$|CREATE INDEX CONCURRENTLY")


def test_one_that_is_killed_at_every_statement_is_finished_by_the_next_ones(first: Engine) -> None:
    survived: set[tuple[str, str]] = set()
    before = contents(first)
    seen = set()

    def die(moment: str, statement: str) -> None:
        if (moment, statement) not in survived and WORK.match(statement):
            survived.add((moment, statement))
            raise KilledError

    @event.listens_for(first, "before_cursor_execute")
    def die_before(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        die("before", statement)

    @event.listens_for(first, "after_cursor_execute")
    def die_after(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        die("after", statement)

    while True:
        try:
            migrations.upgrade(first)
        except KilledError:
            seen |= {version for (version,) in rows(first, "SELECT version_num FROM arcade_jobs_version")}
            assert contents(first) == before
        else:
            break
    assert seen == {"0001", *(step.after for step in steps_after("0001", "public"))}
    assert_upgraded(first, before)


def test_one_through_the_data_api_that_is_killed_at_every_statement_is_finished(
    first: Engine, fake: FakeDataApi, api: Callable[[], DataApi]
) -> None:
    survived: set[tuple[str, str]] = set()
    before = contents(first)

    def die(moment: str, statement: str) -> None:
        if (moment, statement) not in survived and WORK.match(statement):
            survived.add((moment, statement))
            raise KilledError

    fake.before, fake.after = partial(die, "before"), partial(die, "after")
    while True:
        try:
            data_api.upgrade(api())
        except KilledError:
            assert contents(first) == before
        else:
            break
    assert len(survived) > 2 * len(steps_after("0001", "public"))
    assert_upgraded(first, before)


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


@pytest.mark.parametrize("way", ["a connection", "the Data API"])
def test_a_settled_pool_without_a_calendar_date_stops_it_in_one_line(
    first: Engine, api: Callable[[], DataApi], way: str
) -> None:
    run(first, "UPDATE prize_pools SET status = 'finalized', finalized_at = now() WHERE period_date = '10000-01-03'")
    before = contents(first)
    named = r"[^\n]*prize pool 3 \(tetris, weekly 10000-01-03\) is finalized: it cannot be deleted[^\n]*"
    for _ in range(2):
        with pytest.raises(migrations.UpgradeError, match=f"^{named}$"):
            data_api.upgrade(api()) if way == "the Data API" else migrations.upgrade(first)
        assert contents(first) == before
    assert rows(first, "SELECT version_num FROM arcade_jobs_version") == [("0001+2",)]
    assert str(migrations.check(first)[0]) == f"arcade_jobs_version is 0001+2; {revisions.head()} is this version's"
    with first.begin() as connection, connection.begin_nested() as payment:  # it can still be paid meanwhile
        pay = "UPDATE prize_pools SET status = 'paid', payout_tx_hash = '0x1' WHERE id = 3"
        assert connection.exec_driver_sql(pay).rowcount == 1
        payment.rollback()
    run(first, "ALTER TABLE prize_pools DISABLE TRIGGER arcade_jobs_seal_delete")
    data_api.upgrade(api()) if way == "the Data API" else migrations.upgrade(first)
    enabled = "SELECT tgenabled::text FROM pg_trigger WHERE tgname = 'arcade_jobs_seal_delete'"
    assert rows(first, enabled) == [("O",)]
    assert_upgraded(first, before)


def test_what_was_lost_since_the_first_is_restored_before_a_later_one_needs_it(first: Engine) -> None:
    before = contents(first)
    run(first, "DROP TABLE leaderboard_touches", "DROP TABLE leaderboards")
    migrations.upgrade(first)
    assert_upgraded(first, before)


@pytest.mark.parametrize("way", ["a connection", "the Data API"])
def test_rows_that_others_would_go_with_stop_it_in_one_line(
    first: Engine, api: Callable[[], DataApi], way: str
) -> None:
    run(
        first,
        "CREATE TABLE refunds (session_id uuid CONSTRAINT of_session REFERENCES game_sessions ON DELETE CASCADE)",
        "INSERT INTO refunds SELECT id FROM game_sessions",
    )
    before = contents(first)
    with pytest.raises(
        migrations.UpgradeError,
        match=r"^[^\n]*2 rows of public.game_sessions [^\n]*: drop refunds.of_session first[^\n]*$",
    ):
        data_api.upgrade(api()) if way == "the Data API" else migrations.upgrade(first)
    assert contents(first) == before
    assert rows(first, "SELECT count(*) FROM refunds") == [(20,)]
    run(first, "ALTER TABLE refunds DROP CONSTRAINT of_session")
    data_api.upgrade(api()) if way == "the Data API" else migrations.upgrade(first)
    assert rows(first, "SELECT count(*) FROM refunds") == [(20,)]
    assert_upgraded(first, before)


def test_a_name_that_is_taken_stops_it_in_one_line(first: Engine) -> None:
    run(first, "CREATE TABLE arcade_jobs_settled_by_idx (x int)")
    with pytest.raises(migrations.UpgradeError, match=r"^public.arcade_jobs_settled_by_idx is there and is no index"):
        migrations.upgrade(first)
    run(first, "ALTER TABLE arcade_jobs_settled_by_idx RENAME TO mine")
    migrations.upgrade(first)
    assert rows(first, "SELECT count(*) FROM mine") == [(0,)]
