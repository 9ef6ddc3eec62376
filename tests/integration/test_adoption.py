"""Adopting the schema that a platform has: what is kept, added, refused, and set aside by the printed statements."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine, text

from infra import schema as migrations
from infra.local import postgres
from infra.schema import Kind, SchemaError
from tests.integration.conftest import PLATFORM
from tests.sql import rows, run

ALL = "SELECT * FROM {} ORDER BY 1"


def picture(engine: Engine) -> list[str]:
    """Everything that an upgrade might change: the catalog outside the system's schemas, and all rows."""
    ours = "(SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_|^information_schema$')"
    tables = f"(SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace IN {ours})"
    catalog = [
        f"SELECT relname, relkind, reloptions FROM pg_class WHERE relnamespace IN {ours} ORDER BY 1",
        f"SELECT attrelid, attname, atttypid, atttypmod, attnotnull FROM pg_attribute WHERE attrelid IN {tables}",
        f"SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace IN {ours} ORDER BY 1, 2",
        "SELECT tgname FROM pg_trigger ORDER BY 1",
        f"SELECT proname FROM pg_proc WHERE pronamespace IN {ours} ORDER BY 1",
    ]
    names = rows(engine, f"SELECT oid::regclass::text FROM pg_class WHERE oid IN {tables}")
    return [repr(rows(engine, query)) for query in (*catalog, *(ALL.format(table) for (table,) in sorted(names)))]


def refused(engine: Engine) -> SchemaError:
    """Upgrade, expect a refusal, and see that nothing changed."""
    before = picture(engine)
    with pytest.raises(SchemaError) as refusal:
        migrations.upgrade(engine)
    assert picture(engine) == before
    return refusal.value


TABLES = ("game_sessions", "leaderboard_entries", "prize_pools")


def counts(engine: Engine) -> dict[str, int]:
    """The rows of each table of the platform's, those that are set aside included."""
    there = dict.fromkeys(TABLES, 0)
    for (table,) in rows(engine, "SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'p')"):
        if table in there:
            there[table] = rows(engine, f"SELECT count(*) FROM {table}")[0][0]
    if rows(engine, "SELECT to_regclass('arcade_jobs_set_aside') IS NOT NULL") == [(True,)]:
        for table in TABLES:
            aside = f"SELECT count(*) FROM arcade_jobs_set_aside WHERE table_name = '{table}'"
            there[table] += rows(engine, aside)[0][0]
    return there


def reasons(engine: Engine) -> dict[str, int]:
    """What was set aside: the number of rows by reason, with the table in front."""
    query = "SELECT table_name || ': ' || reason, count(*) FROM arcade_jobs_set_aside GROUP BY 1"
    return dict(rows(engine, query))


def fix(engine: Engine, refusal: SchemaError) -> None:
    """Run what was printed, in its order: no row is lost."""
    before = counts(engine)
    for difference in refusal.differences:
        run(engine, *difference.statements)
    assert counts(engine) == before


def test_a_platform_is_adopted_with_all_that_it_has(platform: Engine) -> None:
    kept = {table: rows(platform, ALL.format(table)) for table in ("game_sessions", "leaderboard_entries", "payments")}
    pools = "SELECT id, status, total_amount_usdc, total_games, winner_address, sponsor FROM prize_pools ORDER BY id"
    kept_pools = rows(platform, pools)
    migrations.upgrade(platform)
    assert migrations.check(platform) == []
    assert {table: rows(platform, ALL.format(table)) for table in kept} == kept
    assert rows(platform, pools) == kept_pools
    assert rows(platform, "SELECT to_regclass('one_session_per_payment') IS NOT NULL") == [(True,)]


def test_every_board_that_was_there_is_pending(platform: Engine) -> None:
    migrations.upgrade(platform)
    boards = rows(platform, "SELECT game_type, period_type, period_date::text, is_pending FROM leaderboards ORDER BY 2")
    assert boards == [
        ("tetris", "alltime", "1970-01-01", True),
        ("tetris", "daily", "2026-01-05", True),
        ("tetris", "weekly", "2026-01-05", True),
    ]


def test_a_unique_index_of_the_platforms_is_as_good_as_a_constraint(platform: Engine) -> None:
    run(platform, "CREATE UNIQUE INDEX mine ON prize_pools (period_date, period_type, game_type)")
    migrations.upgrade(platform)
    assert rows(platform, "SELECT to_regclass('prize_pools_period_key')") == [(None,)]


def test_a_partial_unique_index_is_not(platform: Engine) -> None:
    run(platform, "CREATE UNIQUE INDEX mine ON prize_pools (game_type, period_type, period_date) WHERE total_games > 9")
    migrations.upgrade(platform)
    assert rows(platform, "SELECT contype::text FROM pg_constraint WHERE conname = 'prize_pools_period_key'") == [
        ("u",)
    ]


@pytest.fixture
def role(platform: Engine) -> Iterator[str]:
    """A role with no rights, as which this database is opened from now on."""
    name = f"role_{uuid4().hex[:12]}"
    run(platform, f"CREATE ROLE {name}", f'ALTER DATABASE "{platform.url.database}" SET role = {name}')
    yield name
    run(platform, f"SET ROLE NONE; DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


def test_a_role_that_owns_the_tables_needs_no_superuser(platform: Engine, role: str) -> None:
    owned = ("game_sessions", "leaderboard_entries", "prize_pools")
    run(
        platform,
        f"GRANT CREATE ON SCHEMA public TO {role}",
        *(f"ALTER TABLE {table} OWNER TO {role}" for table in owned),
    )
    platform.dispose()
    migrations.upgrade(platform)
    assert migrations.check(platform) == []
    assert rows(platform, "SELECT current_user, tableowner FROM pg_tables WHERE tablename = 'leaderboards'") == [
        (role, role)
    ]


def test_a_role_without_rights_learns_which_it_needs(platform: Engine, role: str) -> None:
    platform.dispose()
    with pytest.raises(SchemaError) as refusal:
        migrations.upgrade(platform)
    assert [str(difference) for difference in refusal.value.differences] == [
        f"schema public lets {role} create nothing",
        *(
            line
            for table in ("game_sessions", "leaderboard_entries", "prize_pools")
            for line in (f"{table} cannot be read by {role}", f"{table} belongs to postgres; {role} may not alter it")
        ),
    ]
    assert f"GRANT CREATE ON SCHEMA public TO {role};" in str(refusal.value)
    assert f"GRANT postgres TO {role};" in str(refusal.value)


# Everything that can be wrong, in one database: a line of DDL or DML, and what must be reported of it.
WRONG = {
    "ALTER TABLE prize_pools ALTER COLUMN total_amount_usdc TYPE double precision": (
        "prize_pools.total_amount_usdc is double precision; expected numeric(18,6)"
    ),
    "ALTER TABLE prize_pools ALTER COLUMN status DROP DEFAULT, ALTER COLUMN status TYPE varchar(20)": (
        "prize_pools.status is character varying(20); expected text"
    ),
    "ALTER TABLE prize_pools RENAME CONSTRAINT prize_pools_status_check TO other": "",
    "ALTER TABLE game_sessions ALTER COLUMN amount_paid_usdc TYPE real": (
        "game_sessions.amount_paid_usdc is real; expected numeric(18,6)"
    ),
    "ALTER TABLE game_sessions ALTER COLUMN created_at TYPE timestamp": (
        "game_sessions.created_at is timestamp without time zone; expected timestamptz"
    ),
    "ALTER TABLE game_sessions ALTER COLUMN completed_at TYPE text USING left(completed_at::text, 19)": (
        "game_sessions.completed_at is text; expected timestamptz"
    ),
    "ALTER TABLE game_sessions ALTER COLUMN score TYPE integer": ("game_sessions.score is integer; expected bigint"),
    "ALTER TABLE leaderboard_entries ALTER COLUMN period_date TYPE text": (
        "leaderboard_entries.period_date is text; expected date"
    ),
    "ALTER TABLE leaderboard_entries ALTER COLUMN session_id TYPE text": (
        "leaderboard_entries.session_id is text; expected uuid"
    ),
    "ALTER TABLE leaderboard_entries ALTER COLUMN rank SET DEFAULT 0": (
        "leaderboard_entries.rank is never null, by default 0; expected NULL at first"
    ),
    "UPDATE leaderboard_entries SET rank = 0 WHERE score > 15": ("leaderboard_entries.rank is not positive in 18 rows"),
    "UPDATE leaderboard_entries SET created_at = NULL WHERE score = 3": (
        "leaderboard_entries.created_at is NULL in 3 rows; the contract promises a value"
    ),
    "INSERT INTO leaderboard_entries (session_id, game_type, player_address, score, period_type, period_date) SELECT"
    " session_id, game_type, player_address, 1, period_type, period_date FROM leaderboard_entries WHERE score = 9": (
        "leaderboard_entries.leaderboard_entries_player_period_key is violated: 3 keys have several rows:"
        " UNIQUE (player_address, game_type, period_type, period_date)"
    ),
    "ALTER TABLE prize_pools ALTER created_at DROP NOT NULL; UPDATE prize_pools SET created_at = NULL WHERE id = 2": (
        "prize_pools.created_at is NULL in 1 row; the contract promises a value"
    ),
    "UPDATE prize_pools SET total_games = -1 WHERE id = 3": (
        "prize_pools.prize_pools_total_check is violated by 1 row: CHECK (((total_amount_usdc >= (0)::numeric)"
        " AND (total_amount_usdc <> 'NaN'::numeric) AND (total_games >= 0)))"
    ),
}


TAKES = "arcade_jobs_set_aside takes the rows that do not fit, whole; they can be put back"


def test_everything_wrong_is_reported_at_once_and_what_is_printed_fixes_it(platform: Engine) -> None:
    run(platform, *WRONG)
    refusal = refused(platform)
    assert sorted(map(str, refusal.differences)) == sorted([TAKES, *filter(None, WRONG.values())])
    assert str(refusal.differences[0]) == TAKES
    for difference in refusal.differences:
        assert difference.statements
        assert f"- {difference}\n    {difference.statements[0].splitlines()[0]}" in str(refusal)
    assert {str(d) for d in migrations.check(platform) if d.kind is Kind.REFUSED} == {TAKES, *WRONG.values()} - {""}
    fix(platform, refusal)
    migrations.upgrade(platform)
    assert {difference.kind for difference in migrations.check(platform)} == {Kind.WARNING}
    assert reasons(platform) == {
        "leaderboard_entries: created_at is NULL": 3,
        "leaderboard_entries: violates leaderboard_entries_player_period_key": 3,
        "prize_pools: created_at is NULL": 1,
        "prize_pools: violates prize_pools_total_check": 1,
    }
    assert rows(platform, "SELECT DISTINCT created_at AT TIME ZONE 'UTC' || '' FROM game_sessions") == [
        ("2026-01-05 10:00:00",)
    ]
    assert rows(platform, "SELECT DISTINCT completed_at AT TIME ZONE 'UTC' || '' FROM game_sessions") == [
        ("2026-01-05 10:10:00",)
    ]
    assert rows(platform, "SELECT count(*), max(score) FILTER (WHERE player_address = '0x9') FROM leaderboard_entries"
                          " WHERE period_type = 'daily'") == [(19, 9)]  # fmt: skip


def test_the_printed_text_fixes_it_without_edits(platform: Engine) -> None:
    run(platform, *WRONG)
    before = counts(platform)
    printed = str(refused(platform))
    run(platform, "\n".join(line[4:] for line in printed.splitlines() if line.startswith("    ")))
    assert counts(platform) == before
    migrations.upgrade(platform)
    assert counts(platform) == before
    assert {difference.kind for difference in migrations.check(platform)} == {Kind.WARNING}


@given(chosen=st.sets(st.sampled_from(list(WRONG)), min_size=2))
@settings(max_examples=8, deadline=None, derandomize=True)
def test_no_row_is_lost_in_any_combination(server: postgres.Server, chosen: set[str]) -> None:
    lines = [line for line in WRONG if line in chosen]
    name = f"wrong_{uuid4().hex[:12]}"
    engine = create_engine(server.create_database(name))
    try:
        run(engine, PLATFORM, *lines)
        before = counts(engine)
        try:
            migrations.upgrade(engine)
        except SchemaError as refusal:
            fix(engine, refusal)
            migrations.upgrade(engine)
        assert counts(engine) == before
        assert {difference.kind for difference in migrations.check(engine)} <= {Kind.WARNING}
    finally:
        engine.dispose()
        server.drop_database(name)


@pytest.mark.parametrize(
    ("break_it", "reported", "holds", "aside"),
    [
        pytest.param(
            "ALTER TABLE prize_pools ALTER COLUMN created_at TYPE timestamp",
            "ALTER TABLE prize_pools ALTER COLUMN created_at DROP DEFAULT,"
            " ALTER COLUMN created_at TYPE timestamptz USING created_at AT TIME ZONE 'UTC',"
            " ALTER COLUMN created_at SET DEFAULT now(); -- if they were written in UTC",
            "SELECT bool_and(created_at BETWEEN now() - interval '1 hour' AND now()) FROM prize_pools",
            {},
            id="zoneless timestamps",
        ),
        pytest.param(
            "ALTER TABLE prize_pools ALTER COLUMN total_amount_usdc DROP DEFAULT,"
            " ALTER COLUMN total_amount_usdc TYPE real",
            "ALTER TABLE prize_pools ALTER COLUMN total_amount_usdc TYPE numeric(18,6)"
            " USING round(total_amount_usdc::numeric, 6); -- floats may have lost what was paid: compare the sums",
            "SELECT sum(total_amount_usdc) = 0.28 FROM prize_pools",
            {},
            id="float money",
        ),
        pytest.param(
            "ALTER TABLE prize_pools ALTER COLUMN total_amount_usdc TYPE numeric",
            "TYPE numeric(18,6) USING round(total_amount_usdc::numeric, 6)",
            "SELECT sum(total_amount_usdc) = 0.28 FROM prize_pools",
            {},
            id="money of another precision",
        ),
        pytest.param(
            "ALTER TABLE game_sessions ALTER COLUMN created_at DROP DEFAULT,"
            " ALTER COLUMN created_at TYPE bigint USING extract(epoch FROM created_at) * 1000",
            "USING to_timestamp(created_at / 1000.0); -- if they are milliseconds since 1970",
            "SELECT bool_and(created_at = '2026-01-05 10:00Z') FROM game_sessions",
            {},
            id="milliseconds",
        ),
        pytest.param(
            "ALTER TABLE game_sessions ALTER COLUMN completed_at TYPE text USING"
            " CASE WHEN score < 5 THEN '' WHEN score < 10 THEN '2026-01-05T15:40:00.000+05:30'"
            " WHEN score < 15 THEN '2026-01-05T10:10:00Z' ELSE '2026-01-05 10:10' END;"
            " UPDATE game_sessions SET status = 'expired' WHERE score < 5",
            "if they were written in UTC",
            "SELECT count(completed_at) = 16 AND bool_and(completed_at = '2026-01-05 10:10Z') FROM game_sessions",
            {},
            id="instants as text, with zones and without",
        ),
        pytest.param(
            "ALTER TABLE prize_pools ALTER COLUMN finalized_at TYPE text USING to_char(finalized_at, 'MM/DD/YYYY')",
            "-- SET DateStyle to MDY or DMY first, to state how '01/05/2026' is meant",
            "SELECT max(finalized_at) = '2026-01-05Z' FROM prize_pools",
            {},
            id="text dates of an unknown order",
        ),
        pytest.param(
            "CREATE TYPE pool_status AS ENUM ('active', 'finalized', 'paid');"
            " ALTER TABLE prize_pools DROP CONSTRAINT prize_pools_status_check, ALTER COLUMN status DROP DEFAULT,"
            " ALTER COLUMN status TYPE pool_status USING status::pool_status;"
            " ALTER TABLE prize_pools ALTER COLUMN status SET DEFAULT 'active'",
            "prize_pools.status is pool_status; expected text",
            "SELECT count(*) FILTER (WHERE status = 'active') = 2 FROM prize_pools",
            {},
            id="an enum",
        ),
        pytest.param(
            "ALTER TABLE prize_pools ALTER COLUMN winner_address SET DEFAULT '',"
            " ALTER COLUMN winner_score SET DEFAULT 0;"
            " UPDATE prize_pools SET winner_address = '', winner_score = 0 WHERE status = 'active';"
            " ALTER TABLE prize_pools ALTER COLUMN winner_address SET NOT NULL",
            "prize_pools.winner_address is never null, by default ''::text; expected NULL at first",
            "SELECT count(winner_score) = 1 AND count(*) FILTER (WHERE status = 'active') = 2 FROM prize_pools",
            {},
            id="empty winners instead of none",
        ),
        pytest.param(
            "UPDATE prize_pools SET winner_address = '0x1', winner_score = 1, payout_tx_hash = '0xa' WHERE id = 1;"
            " UPDATE prize_pools SET status = 'paid' WHERE id = 3",
            "prize_pools.prize_pools_settled_check is violated by 2 rows",
            "SELECT array_agg(id ORDER BY id) = '{2}' FROM prize_pools",
            {"prize_pools: violates prize_pools_settled_check": 2},
            id="pools that are half settled",
        ),
        pytest.param(
            "ALTER TABLE prize_pools DROP CONSTRAINT prize_pools_status_check;"
            " UPDATE prize_pools SET status = 'closed', winner_address = '0x1' WHERE id = 1;"
            " UPDATE prize_pools SET status = 'open' WHERE id = 2",
            "prize_pools.prize_pools_status_check is violated by 2 rows",
            "SELECT array_agg(status ORDER BY id) = '{finalized}' FROM prize_pools",
            {"prize_pools: violates prize_pools_status_check": 2},
            id="other words for the status",
        ),
        pytest.param(
            "INSERT INTO prize_pools (game_type, period_type, period_date, total_amount_usdc, total_games)"
            " VALUES ('tetris', 'daily', '2026-01-05', 0.01, 2), ('tetris', 'daily', '2026-01-04', 0.02, 3)",
            "prize_pools.prize_pools_period_key is violated: 2 keys have several rows",
            "SELECT array_agg(status || total_amount_usdc || '/' || total_games ORDER BY id)"
            " = '{active0.140000/20,active0.140000/20,finalized0.000000/0}' FROM prize_pools",
            {"prize_pools: violates prize_pools_period_key": 2},
            id="several pools for a period",
        ),
        pytest.param(
            "UPDATE prize_pools SET period_date = '2026-01-07' WHERE period_type = 'weekly'",
            "prize_pools.prize_pools_period_date_check is violated by 1 row",
            "SELECT count(*) = 2 FROM prize_pools",
            {"prize_pools: violates prize_pools_period_date_check": 1},
            id="weeks that begin on another day",
        ),
        pytest.param(
            "UPDATE game_sessions SET game_type = 'Space Invaders' WHERE score < 5;"
            " UPDATE game_sessions SET game_type = '1942' WHERE score = 5",
            "game_sessions.game_type is written in another way in 4 rows",
            "SELECT array_agg(DISTINCT game_type) = '{space_invaders,tetris}' FROM game_sessions",
            {"game_sessions: violates game_sessions_game_type_check": 1},
            id="names of games",
        ),
        pytest.param(
            "UPDATE game_sessions SET status = 'abandoned' WHERE score < 5;"
            " UPDATE game_sessions SET completed_at = NULL WHERE score = 6;"
            " UPDATE game_sessions SET amount_paid_usdc = 'NaN' WHERE score = 7;",
            "game_sessions.game_sessions_status_check is violated by 4 rows",
            "SELECT sum(amount_paid_usdc) = 0.14 FROM game_sessions",
            {
                "game_sessions: violates game_sessions_status_check": 4,
                "game_sessions: violates game_sessions_completed_check": 1,
                "game_sessions: violates game_sessions_amount_paid_usdc_check": 1,
            },
            id="sessions",
        ),
        pytest.param(
            "DROP INDEX one_session_per_payment; UPDATE game_sessions SET payment_tx_hash = 'tx1' WHERE score = 2;"
            " ALTER TABLE game_sessions ALTER COLUMN payment_tx_hash DROP NOT NULL",
            "game_sessions.game_sessions_payment_tx_hash_key is violated: 1 key has several rows",
            "SELECT count(*) = 19 FROM game_sessions",
            {"game_sessions: violates game_sessions_payment_tx_hash_key": 1},
            id="a payment used twice",
        ),
        pytest.param(
            "ALTER TABLE leaderboard_entries DROP CONSTRAINT leaderboard_entries_pkey;"
            " UPDATE leaderboard_entries SET id = 1 WHERE id < 6",
            "leaderboard_entries.leaderboard_entries_pkey is violated: 1 key has several rows",
            "SELECT count(*) = 56 AND max(score) FILTER (WHERE id = 1) = 2 FROM leaderboard_entries",
            {"leaderboard_entries: violates leaderboard_entries_pkey": 4},
            id="an id used twice",
        ),
        pytest.param(
            "ALTER TABLE prize_pools ALTER COLUMN id DROP DEFAULT",
            "prize_pools.id does not number new rows by itself",
            "INSERT INTO prize_pools (game_type, period_type, period_date) VALUES ('pong', 'daily', '2026-01-06')"
            " RETURNING id = 4",
            {},
            id="ids without a sequence",
        ),
        pytest.param(
            "ALTER TABLE prize_pools DROP COLUMN id",
            "prize_pools.id is missing, and adding it rewrites the table",
            "SELECT count(DISTINCT id) = 3 FROM prize_pools",
            {},
            id="no ids",
        ),
        pytest.param(
            "ALTER TABLE prize_pools DROP CONSTRAINT prize_pools_pkey, ADD PRIMARY KEY (period_type, period_date)",
            "is on other columns: PRIMARY KEY (period_type, period_date); expected PRIMARY KEY (id)",
            "SELECT count(*) = 3 FROM prize_pools",
            {},
            id="another primary key",
        ),
        pytest.param(
            "ALTER TABLE prize_pools DROP CONSTRAINT prize_pools_status_check;"
            " ALTER TABLE prize_pools ADD CONSTRAINT prize_pools_status_check CHECK (length(status) > 3)",
            "RENAME CONSTRAINT prize_pools_status_check TO prize_pools_status_check_platform",
            "SELECT count(*) = 2 FROM pg_constraint WHERE conname LIKE 'prize_pools_status_check%'",
            {},
            id="a constraint of the same name",
        ),
        pytest.param(
            "CREATE INDEX prize_pools_period_key ON payments (tx_hash); CREATE TABLE prize_pools_active_idx (x int)",
            "ALTER INDEX prize_pools_period_key RENAME TO prize_pools_period_key_platform",
            "SELECT count(*) = 2 FROM pg_class WHERE relname LIKE 'prize_pools%platform'",
            {},
            id="names that are taken",
        ),
        pytest.param(
            "ALTER TABLE prize_pools RENAME TO pools; CREATE VIEW prize_pools AS SELECT * FROM pools",
            "prize_pools is a view; the jobs need an ordinary table",
            "SELECT count(*) = 0 FROM prize_pools",
            {},
            id="a view",
        ),
        pytest.param(
            "CREATE TABLE pools (LIKE prize_pools INCLUDING DEFAULTS) PARTITION BY LIST (period_type);"
            " CREATE TABLE pools_of_all PARTITION OF pools DEFAULT; INSERT INTO pools SELECT * FROM prize_pools;"
            " ALTER SEQUENCE prize_pools_id_seq OWNED BY NONE; DROP TABLE prize_pools;"
            " ALTER TABLE pools RENAME TO prize_pools",
            "prize_pools is a partitioned table; the jobs need an ordinary table",
            "SELECT count(*) = 3 FROM prize_pools",
            {},
            id="a partitioned table",
        ),
        pytest.param(
            "CREATE TABLE entries (id bigint GENERATED ALWAYS AS IDENTITY, session_id uuid NOT NULL,"
            " game_type text NOT NULL, player_address text NOT NULL, score bigint NOT NULL, period_type text NOT NULL,"
            " period_date date NOT NULL, rank integer, created_at timestamptz DEFAULT now(),"
            ' "Points" bigint GENERATED ALWAYS AS (score * 10) STORED) PARTITION BY LIST (period_type);'
            " CREATE TABLE entries_of_all PARTITION OF entries DEFAULT;"
            " INSERT INTO entries OVERRIDING SYSTEM VALUE SELECT * FROM leaderboard_entries;"
            " DROP TABLE leaderboard_entries; ALTER TABLE entries RENAME TO leaderboard_entries",
            "leaderboard_entries is a partitioned table; the jobs need an ordinary table",
            'SELECT count(*) = 60 AND sum("Points") = sum(score) * 10 AND max(id) ='
            " nextval(pg_get_serial_sequence('leaderboard_entries', 'id')) - 1 FROM leaderboard_entries",
            {},
            id="a partitioned table that generates columns",
        ),
        pytest.param(
            "ALTER TABLE leaderboard_entries DROP COLUMN player_address, DROP COLUMN score",
            "leaderboard_entries.player_address is missing, and its values in the rows that are there are not known",
            "SELECT count(*) = 0 FROM leaderboard_entries",
            {"leaderboard_entries: has no player_address": 60},
            id="columns that are not there",
        ),
        pytest.param(
            "ALTER TABLE leaderboard_entries ALTER COLUMN session_id TYPE text;"
            " UPDATE leaderboard_entries SET session_id = 'guest-7' WHERE score = 7;"
            " UPDATE leaderboard_entries SET session_id = '' WHERE score = 8;"
            " UPDATE leaderboard_entries SET period_type = 'monthly' WHERE score = 9",
            "leaderboard_entries.session_id is text; expected uuid, and 6 rows cannot be converted",
            "SELECT count(*) = 51 FROM leaderboard_entries",
            {
                "leaderboard_entries: session_id cannot be converted to uuid": 6,
                "leaderboard_entries: violates leaderboard_entries_period_type_check": 3,
            },
            id="values that cannot be converted",
        ),
        pytest.param(
            "ALTER TABLE game_sessions ALTER COLUMN id TYPE text;"
            " UPDATE game_sessions SET id = 'guest-7' WHERE score = 7;"
            " UPDATE game_sessions SET id = '' WHERE score = 8",
            "game_sessions.id is text; expected uuid, and 2 rows cannot be converted",
            "SELECT count(*) = 18 FROM game_sessions",
            {"game_sessions: id cannot be converted to uuid": 2},
            id="keys that cannot be converted",
        ),
        pytest.param(
            "ALTER TABLE leaderboard_entries ALTER COLUMN period_date TYPE text;"
            " UPDATE leaderboard_entries SET period_date = 'all' WHERE period_type = 'alltime';"
            " UPDATE leaderboard_entries SET period_date = 'soon' WHERE period_type = 'weekly' AND score = 1",
            "leaderboard_entries.period_date is text; expected date, and 1 row cannot be converted",
            "SELECT count(*) = 20 FROM leaderboard_entries WHERE period_date = '1970-01-01'",
            {"leaderboard_entries: period_date cannot be converted to date": 1},
            id="all-time entries dated in words",
        ),
        pytest.param(
            "ALTER TABLE prize_pools DROP COLUMN created_at, ALTER COLUMN total_games TYPE text",
            "prize_pools.created_at is missing, and its values in the rows that are there are not known",
            "SELECT count(*) = 0 FROM prize_pools",
            {"prize_pools: has no created_at": 3},
            id="a column with a default that would be invented",
        ),
        pytest.param(
            "UPDATE leaderboard_entries SET period_date = '2026-01-05' WHERE period_type = 'alltime'",
            "leaderboard_entries.period_date of all-time entries is not 1970-01-01 in 20 rows",
            "SELECT count(*) = 20 FROM leaderboard_entries WHERE period_date = '1970-01-01'",
            {},
            id="all-time entries dated otherwise",
        ),
        pytest.param(
            "DROP INDEX one_session_per_payment; UPDATE game_sessions SET payment_tx_hash = '' WHERE score < 4",
            "game_sessions.payment_tx_hash is empty instead of NULL in 3 rows",
            "SELECT count(payment_tx_hash) = 17 FROM game_sessions",
            {},
            id="empty hashes",
        ),
        pytest.param(
            "ALTER TABLE game_sessions ALTER COLUMN amount_paid_usdc TYPE double precision;"
            " UPDATE game_sessions SET amount_paid_usdc = 1e15 WHERE score = 4;"
            " UPDATE game_sessions SET amount_paid_usdc = -1 WHERE score = 5;"
            " UPDATE game_sessions SET amount_paid_usdc = 'NaN' WHERE score = 6",
            "game_sessions.amount_paid_usdc is double precision; expected numeric(18,6), and 1 row cannot",
            "SELECT count(*) = 17 FROM game_sessions",
            {
                "game_sessions: amount_paid_usdc cannot be converted to numeric(18,6)": 1,
                "game_sessions: violates game_sessions_amount_paid_usdc_check": 2,
            },
            id="money that is none",
        ),
        pytest.param(
            "ALTER TABLE leaderboard_entries ADD CONSTRAINT of_session FOREIGN KEY (session_id)"
            " REFERENCES game_sessions ON DELETE CASCADE;"
            " CREATE TABLE refunds (session_id uuid REFERENCES game_sessions ON DELETE CASCADE);"
            " INSERT INTO refunds SELECT id FROM game_sessions;"
            " UPDATE game_sessions SET score = NULL WHERE score = 5",
            "ALTER TABLE leaderboard_entries DROP CONSTRAINT of_session;",
            "SELECT (SELECT count(*) FROM leaderboard_entries) = 60 AND (SELECT count(*) FROM refunds) = 20",
            {"game_sessions: violates game_sessions_completed_check": 1},
            id="foreign keys that would delete with a session",
        ),
    ],
)
def test_what_is_wrong_is_refused_and_what_is_printed_fixes_it_in_one_round(
    platform: Engine, break_it: str, reported: str, holds: str, aside: dict[str, int]
) -> None:
    run(platform, *break_it.split(";"))
    refusal = refused(platform)
    assert reported in str(refusal)
    run(platform, f"ALTER DATABASE \"{platform.url.database}\" SET TimeZone = 'Asia/Kolkata'")
    platform.dispose()
    fix(platform, refusal)
    migrations.upgrade(platform)
    assert [difference for difference in migrations.check(platform) if difference.kind is not Kind.WARNING] == []
    assert reasons(platform) == aside
    with platform.begin() as connection:
        assert connection.scalar(text(holds)) is True


def test_an_index_that_contains_rank_is_a_warning_and_no_more(platform: Engine) -> None:
    run(
        platform,
        "CREATE INDEX by_rank ON leaderboard_entries (game_type, rank)",
        "CREATE INDEX ranked ON leaderboard_entries (score) WHERE rank IS NOT NULL",
    )
    lines: list[str] = []
    migrations.upgrade(platform, report=lines.append)
    warned = [difference for difference in migrations.check(platform) if difference.kind is Kind.WARNING]
    assert [d.where for d in warned] == ["leaderboard_entries.by_rank", "leaderboard_entries.ranked"]
    assert warned[0].fix == "DROP INDEX CONCURRENTLY by_rank;"
    assert sum(line.startswith("warning: leaderboard_entries.") for line in lines) == 2


def test_a_foreign_key_that_would_stop_the_cleanup_is_a_warning(platform: Engine) -> None:
    run(platform, "ALTER TABLE payments ADD session_id uuid CONSTRAINT of_session REFERENCES game_sessions")
    migrations.upgrade(platform)
    assert [str(difference) for difference in migrations.check(platform)] == [
        "payments.of_session refers to game_sessions: cleanup cannot delete a row that it points to, or deletes both"
    ]


def test_missing_columns_are_added_where_nothing_need_be_invented(platform: Engine) -> None:
    run(
        platform,
        "ALTER TABLE game_sessions DROP COLUMN game_duration_ms",
        "ALTER TABLE prize_pools DROP COLUMN winner_score, DROP COLUMN winner_address",
        "TRUNCATE leaderboard_entries",
        "ALTER TABLE leaderboard_entries DROP COLUMN session_id, DROP COLUMN id, DROP COLUMN created_at",
    )
    migrations.upgrade(platform)
    assert migrations.check(platform) == []
