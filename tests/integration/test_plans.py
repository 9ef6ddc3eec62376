"""The plans that ran in three nights of an arcade with a million entries and sessions, and 200,000 pools.

Whatever the planner knows: nothing, what was true of a small arcade, or what is true. Each plan is one that the server
sent of a real run, with what it read by EXPLAIN's own count, and those of statements nested in triggers.
"""

import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator
from uuid import uuid4

import pytest
from sqlalchemy import Engine, TextClause
from sqlalchemy.dialects.postgresql.pg8000 import PGDialect_pg8000

import shared.db
from infra import schema
from infra.local import postgres
from tests.arcade import Arcade
from tests.benchmarks.database import opened, without_indexes
from tests.fakes import make_run
from tests.jobs import HANDLERS
from tests.sql import open_database, rows, run
from tests.statements import Plan, explain_all, recorded, sent_plans

pytestmark = pytest.mark.xdist_group("plans")

STATISTICS = ("of a small arcade", "none", "fresh")  # each in a night of its own
DAYS = dict(zip(STATISTICS, ("2025-12-10", "2025-12-11", "2025-12-12"), strict=True))
# What is kept for ever.
STORED = ("game_sessions", "leaderboard_entries", "prize_pools", "leaderboards")
BOARD = 20_000  # entries of a board that a night settles and ranks
ALL_TIME = 100_000
BOARDS = 200_200  # that were ever played, at most
PURGED = 3_000  # entries of a board of which so many lose their sessions:
ORPHANS = 101
EXPIRED = 10_100  # sessions: a batch of 10,000, and another
# Rows of them that one execution may read; of a statement that is not here, none.
MOST_ROWS = {
    "_COMPUTE_NEW_RANKS": ALL_TIME + 20,  # and what the days before added
    "_COUNT_BOARDS": BOARDS,
    "_COUNT_ENTRIES": 10 * ORPHANS + 1,  # enough to know that the brake is off
    "_COUNT_EXPIRED_SESSIONS": EXPIRED,
    "_COUNT_NEW_RANKS": ALL_TIME + 20,
    "_COUNT_ORPHANS": ORPHANS,  # entries: they have no session
    "_DELETE_EXPIRED_SESSIONS": 3 * 10_000,  # found, locked, deleted
    "_DELETE_ORPHANS": 3 * ORPHANS,
    "_FIND_WINNER": 2 * (10 + 1),  # a slice, and once more for its end; PostgreSQL 15 reads one ahead
    "_FIND_WINNER_AFTER": 4,  # one that is passed over, the winner, its session, and one ahead
    "_FINISH_BOARD": 1,
    "_GET_POOL": 1,
    "_HOLD_BOARD": 1,
    "_HOLD_OPEN_BOARD": 2,
    "_LIST_CANDIDATES": 3,  # a pool of each board that has any
    "_LIST_DUE_POOLS": 2,
    "_LIST_LEADING_ENTRIES": 11 + 1,
    "_LIST_PENDING_BOARDS": 10,
    "_LIST_PERIODS_WITHOUT_POOL": BOARDS + 20,
    "_LIST_SETTLED_POOLS": 2,
    "_LIST_TOUCHED_BOARDS": 10,
    "_LOCK_ACTIVE_POOL": 1,
    "_MARK_SETTLED": 1,
    "_PREVIEW_ORPHANS": 2 * (ORPHANS + 2) + 1,
    "_SAMPLE_BOARD": 8,
    "_SWEEP_ENTRIES": 2 * 5_000 + 3,  # entries, their sessions, the pools of their boards
    "_TAKE_BOARD": 1,
    "_TAKE_NOTICES": ORPHANS,
    "_WRITE_NEW_RANKS": 5_000,
}
# A row for each board ever played: forty years of fifteen games are read in 30 ms.
READ_WHOLE = {("_COUNT_BOARDS", "leaderboards"), ("_LIST_PERIODS_WITHOUT_POOL", "leaderboards")}
MOST_PAGES = 6  # for each row and each search: the levels of an index, and the row's own
NOT_RUN = {"_IS_COMMITTED"}  # after a commit that was not confirmed; it reads no table

ALL_TIME_DAY = "2025-07-01"  # when the all-time boards were played; the daily ones are later
FILL = (
    f"""
    CREATE TABLE board (game text, day date, entries int);
    INSERT INTO board
        SELECT 'tiny' || night, date '2025-11-30', 4 FROM generate_series(0, 2) AS night UNION ALL
        SELECT 'purged' || night, date '2025-11-30', {PURGED} FROM generate_series(0, 2) AS night UNION ALL
        SELECT game, date '2025-12-10' + night, {BOARD}
            FROM generate_series(0, 2) AS night, unnest(ARRAY['pong', 'tetris']) AS game UNION ALL
        SELECT unnest(ARRAY['pong', 'tetris']), date '{ALL_TIME_DAY}', {ALL_TIME} UNION ALL
        SELECT 'pong', date '2025-08-01' + day, 8000 FROM generate_series(1, 84) AS day
    """,
    """
    INSERT INTO game_sessions (id, game_type, player_address, amount_paid_usdc, score, status, created_at, completed_at)
    SELECT md5(game || day || n)::uuid, game, '0x' || n, 0.01, hashint8(n) & 16777215, 'completed', at, at
    FROM board, generate_series(1, entries) AS n, LATERAL (SELECT day + n % 80000 * interval '1 second' AS at) AS time
    """,
    f"""
    INSERT INTO leaderboard_entries
        (session_id, game_type, player_address, score, period_type, period_date, created_at)
    SELECT id, game_type, player_address, score,
        CASE WHEN created_at::date = '{ALL_TIME_DAY}' THEN 'alltime' ELSE 'daily' END,
        CASE WHEN created_at::date = '{ALL_TIME_DAY}' THEN '1970-01-01' ELSE created_at::date END, created_at
    FROM game_sessions
    """,
    # Being played in the first days of 2026: no night deletes them.
    """
    INSERT INTO game_sessions (id, game_type, player_address, amount_paid_usdc, created_at)
    SELECT md5(n::text)::uuid, 'pong', '0x' || n, 0.01, date '2026-01-01' + n * interval '1 second'
    FROM generate_series(1, 100000) AS n
    """,
    # A pool a day of each of fifteen games, for 36 years.
    """
    INSERT INTO prize_pools
        (game_type, period_type, period_date, status, winner_address, winner_score, finalized_at, settled_by)
    SELECT CASE n % 15 WHEN 0 THEN 'pong' WHEN 1 THEN 'tetris' ELSE 'game' || n % 15 END, 'daily',
        date '1988-01-01' + n / 15, 'finalized', '0x1', 1, now(), 'prize-pool:' || n / 15
    FROM generate_series(1, 200000) AS n
    """,
    """
    INSERT INTO leaderboards (game_type, period_type, period_date, is_pending)
    SELECT game_type, period_type, period_date, false FROM prize_pools UNION
    SELECT game, 'daily', day, false FROM board
    """,
)
_IS_OURS = "relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i')"
FORGET = (
    "DELETE FROM pg_statistic USING pg_class WHERE starelid = pg_class.oid AND relnamespace = 'public'::regnamespace"
)


def bulk(engine: Engine, *statements: str) -> None:
    """Without triggers, as no platform should."""
    with engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        for statement in statements:
            connection.exec_driver_sql(statement)


def fill(engine: Engine) -> None:
    """Leave the statistics of a small arcade, between two nights: all its pools are open, and none of its games."""
    tables = rows(engine, f"SELECT relname FROM pg_class WHERE {_IS_OURS} AND relkind = 'r'")
    run(engine, *(f"ALTER TABLE {table} SET (autovacuum_enabled = false)" for (table,) in tables))
    arcade = Arcade(engine)
    for period in ("daily", "weekly", "alltime"):
        arcade.play_many(20, "2025-06-02T10:00:00Z", period=period)
    for day in ("2025-06-02", "2025-06-03"):
        arcade.pay(day)
    run(
        engine,
        "ANALYZE",
        f"CREATE TABLE small AS SELECT relname, relpages, reltuples FROM pg_class WHERE {_IS_OURS}",
        "DELETE FROM prize_pools",
        "TRUNCATE game_sessions, leaderboard_entries, leaderboard_touches",
    )
    with without_indexes(engine):
        bulk(engine, *FILL)


def know(engine: Engine, statistics: str) -> None:
    """What the planner knows. The nights come in this order."""
    if statistics == "of a small arcade":  # building indexes counted rows
        run(
            engine,
            "UPDATE pg_class SET relpages = small.relpages, reltuples = small.reltuples"
            f" FROM small WHERE small.relname = pg_class.relname AND {_IS_OURS}",
        )
    elif statistics == "none":
        run(engine, FORGET, f"UPDATE pg_class SET relpages = 0, reltuples = -1 WHERE {_IS_OURS}")
    else:
        run(engine, "VACUUM (ANALYZE)")


def play(engine: Engine, night: int, day: str) -> None:
    """A day of which each statement of the jobs finds something to do."""
    arcade = Arcade(engine)
    for game in ("pong", "tetris"):
        arcade.pay(day, game=game)
        arcade.play("0xa", 5 + night, f"{day}T23:50:00Z", game=game, periods=("daily", "weekly", "alltime"))
    on_board = f"game_type = 'pong' AND period_type = 'daily' AND period_date = '{day}'"
    bulk(  # no notice tells of these
        engine,
        "DELETE FROM game_sessions WHERE id IN (SELECT session_id FROM leaderboard_entries"
        f" WHERE {on_board} ORDER BY score DESC, created_at, id LIMIT 11)",
        "DELETE FROM game_sessions WHERE id IN"
        f" (SELECT session_id FROM leaderboard_entries WHERE game_type = 'tiny{night}' LIMIT 1)",
    )
    run(
        engine,
        "DELETE FROM game_sessions WHERE id IN"
        f" (SELECT session_id FROM leaderboard_entries WHERE game_type = 'purged{night}' LIMIT {ORPHANS})",
        "INSERT INTO game_sessions (id, game_type, player_address, amount_paid_usdc, created_at)"
        f" SELECT gen_random_uuid(), 'pong', '0x' || n, 0.01, timestamptz '{day} 20:00Z'"
        f" FROM generate_series(1, {EXPIRED}) AS n",
        "DELETE FROM arcade_jobs_sweep",
        # A candidate whose pool will be settled before it is cleaned.
        "INSERT INTO arcade_jobs_orphans"
        f" SELECT id, game_type, period_type, period_date FROM leaderboard_entries WHERE {on_board} LIMIT 1",
    )


def find_statements() -> dict[str, str]:
    """The names of the statements of `shared.db`, by what the driver gets."""
    dialect = PGDialect_pg8000()
    modules = [importlib.import_module(each.name) for each in pkgutil.walk_packages(shared.db.__path__, "shared.db.")]
    return {
        str(value.compile(dialect=dialect)): name
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, TextClause)
    }


class Nights:
    """What ran in the nights.

    Attributes:
        names: of the statements of the jobs, by their texts.
        sent: the texts that ran.
        plans: by statistics, with the name of the statement in which they ran.
        items_processed: by statistics, as the runs report it.
        of_players: by statistics, the plans of the platform's writes and what they fire, with their texts.
    """

    def __init__(self) -> None:
        self.names = find_statements()
        self.sent: list[str] = []
        self.plans: dict[str, list[tuple[str, Plan]]] = {}
        self.items_processed: dict[str, int] = {}
        self.of_players: dict[str, list[tuple[str, Plan]]] = {}

    def run(self, engine: Engine, statistics: str) -> None:
        night, day = STATISTICS.index(statistics), DAYS[statistics]
        know(engine, statistics)
        play(engine, night, day)
        explain_all(engine)
        processed = 0
        next_day = f"2025-12-{11 + night}"
        with opened(engine, GAME_TYPES="pong,tetris") as app, sent_plans(app.engine) as sent:
            with recorded(app.engine) as statements:
                for job, hour in (("prize-pool", "00:00"), ("leaderboard", "01:00"), ("cleanup", "03:00")):
                    for dry_run in (True, False):
                        tonight = make_run(f"{next_day}T{hour}:00Z", job=job, dry_run=dry_run)
                        outcome = HANDLERS[job].use_case(app)(tonight)
                        assert (outcome.status, outcome.result["errors"]) == ("succeeded", [])
                        processed += 0 if dry_run else outcome.items_processed
            app.engine.dispose()
        with sent_plans(players := open_database(engine.url)) as of_players:
            arcade = Arcade(players)
            for n in range(7):  # a session's sixth execution may have a plan for any values
                arcade.pay(next_day)
                arcade.play(f"0xb{n}", 5, f"{next_day}T10:00:00Z", periods=("daily", "weekly", "alltime"))
            players.dispose()
        run(engine, f"ALTER DATABASE {engine.url.database} RESET ALL")
        self.sent += [statement.sql for statement in statements]
        self.plans[statistics] = list(self._named(sent))
        self.items_processed[statistics] = processed
        self.of_players[statistics] = of_players

    def _named(self, sent: list[tuple[str, Plan]]) -> Iterator[tuple[str, Plan]]:
        nested: list[Plan] = []
        for sql, plan in sent:
            nested.append(plan)
            if name := self.names.get(re.sub(r"\$\d+", "%s", sql)):
                yield from ((name, each) for each in nested)
                nested.clear()


@pytest.fixture(scope="module")
def nights(server: postgres.Server) -> Nights:
    engine = open_database(server.create_database(f"plans_{uuid4().hex[:12]}"))
    try:
        schema.upgrade(engine)
        fill(engine)
        nights = Nights()
        for statistics in STATISTICS:
            nights.run(engine, statistics)
    finally:
        engine.dispose()
        server.drop_database(str(engine.url.database))
    return nights


def test_every_statement_of_the_jobs_runs_in_these_nights(nights: Nights) -> None:
    """So that its plans are seen. One that is not run yet needs something to do in `play`."""
    run = {nights.names.get(sql, sql) for sql in nights.sent}
    assert run - {"COMMIT"} == set(nights.names.values()) - NOT_RUN
    assert set(MOST_ROWS) <= set(nights.names.values())


@pytest.mark.parametrize("statistics", STATISTICS)
def test_no_stored_table_is_read_from_end_to_end(nights: Nights, statistics: str) -> None:
    expect_none(
        f"{name}: {scan}"
        for name, plan in nights.plans[statistics]
        for scan in plan.scans
        if scan.table in STORED and scan.kind == "Seq Scan" and (name, scan.table) not in READ_WHOLE
    )


@pytest.mark.parametrize("statistics", STATISTICS)
def test_no_statement_reads_more_rows_than_its_work(nights: Nights, statistics: str) -> None:
    """A statement that is new and reads a stored table needs its line in `MOST_ROWS`."""
    expect_none(
        f"{name}: {read} rows: {'; '.join(map(str, plan.scans))}"
        for name, plan in nights.plans[statistics]
        if (read := sum(scan.rows_read for scan in plan.scans if scan.table in STORED)) > MOST_ROWS.get(name, 0)
    )


@pytest.mark.parametrize("statistics", STATISTICS)
def test_no_index_is_walked_for_a_few_rows(nights: Nights, statistics: str) -> None:
    """Entries of an index that its condition does not meet are not counted as rows, but their pages are."""
    expect_none(
        f"{name}: {scan}"
        for name, plan in nights.plans[statistics]
        for scan in plan.scans
        if scan.table in STORED
        and scan.buffers > MOST_PAGES * (scan.rows_read + scan.loops)
        and (name, scan.table) not in READ_WHOLE
    )


@pytest.mark.parametrize("statistics", STATISTICS)
def test_each_row_that_a_run_reports_is_written_once_and_no_other(nights: Nights, statistics: str) -> None:
    """Pools, ranks, orphans and sessions; the state of the boards is the jobs' own."""
    tables = {*STORED} - {"leaderboards"}
    written = sum(plan.rows_written(tables) for _, plan in nights.plans[statistics])
    assert written == nights.items_processed[statistics]


@pytest.mark.parametrize("statistics", STATISTICS)
def test_what_a_score_or_a_payment_fires_reads_a_row_by_its_key(nights: Nights, statistics: str) -> None:
    assert any("FOR KEY SHARE" in sql for sql, _ in nights.of_players[statistics])
    expect_none(
        f"{sql}: {scan}"
        for sql, plan in nights.of_players[statistics]
        for scan in plan.scans
        if scan.table in STORED and (scan.kind == "Seq Scan" or scan.rows_read > 1 or scan.buffers > 2 * MOST_PAGES)
    )


def expect_none(found: Iterable[str]) -> None:
    """Fail with a line for each; of those that differ in figures alone, one."""
    lines = {re.sub(r"\d+", "", each): each for each in found}
    if lines:
        pytest.fail("\n".join(lines.values()), pytrace=False)
