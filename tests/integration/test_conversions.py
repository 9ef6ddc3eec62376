"""Each thing that can be wrong with a schema: what is reported, what is converted, and what is set aside."""

import pytest
from sqlalchemy import Engine, text

from infra import schema as migrations
from infra.schema import Kind
from tests.refusal import fix, reasons, refused
from tests.sql import run


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
            {
                "game_sessions: violates game_sessions_game_type_check": 1,
                "leaderboard_entries: its session is set aside": 3,
            },
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
                "leaderboard_entries: its session is set aside": 18,
            },
            id="sessions",
        ),
        pytest.param(
            "DROP INDEX one_session_per_payment; UPDATE game_sessions SET payment_tx_hash = 'tx1' WHERE score = 2;"
            " ALTER TABLE game_sessions ALTER COLUMN payment_tx_hash DROP NOT NULL",
            "game_sessions.game_sessions_payment_tx_hash_key is violated: 1 key has several rows",
            "SELECT count(*) = 19 FROM game_sessions",
            {
                "game_sessions: violates game_sessions_payment_tx_hash_key": 1,
                "leaderboard_entries: its session is set aside": 3,
            },
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
            "AS IDENTITY NOT NULL; -- invents: id of each row, in no particular order; in a quiet hour",
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
            "ALTER TABLE prize_pools DROP CONSTRAINT prize_pools_status_check; ALTER TABLE prize_pools"
            " ADD CONSTRAINT prize_pools_status_check CHECK (status IN ('active', 'closed', 'paid')) NOT VALID",
            "ALTER TABLE prize_pools DROP CONSTRAINT prize_pools_status_check; -- or write it anew",
            "SELECT count(*) = 1 FROM pg_constraint WHERE conname LIKE 'prize_pools_status_check%'",
            {},
            id="a check that knows no finalized pool",
        ),
        pytest.param(
            "ALTER TABLE prize_pools ADD CONSTRAINT settled CHECK ((status <> 'active') = (finalized_at IS NOT NULL))"
            " NOT VALID; ALTER TABLE prize_pools DROP COLUMN payout_tx_hash; UPDATE prize_pools SET status = 'paid',"
            " winner_address = '0x1', winner_score = 1, finalized_at = now() WHERE id = 1",
            "ALTER TABLE public.prize_pools ADD COLUMN payout_tx_hash text;",
            "SELECT count(*) = 1 FROM pg_constraint WHERE conname = 'settled'",
            {"prize_pools: violates prize_pools_settled_check": 1},
            id="a column that the statements read",
        ),
        pytest.param(
            "INSERT INTO prize_pools (game_type, period_type, period_date, total_amount_usdc, total_games)"
            " VALUES ('tetris', 'daily', '2026-01-05', 0.01, 2); ALTER TABLE prize_pools"
            " DROP CONSTRAINT prize_pools_status_check; UPDATE prize_pools SET status = 'closed' WHERE id = 4",
            "prize_pools.prize_pools_period_key is violated: 1 key has several rows",
            "SELECT count(*) = 0 FROM prize_pools WHERE period_type = 'daily' AND period_date = '2026-01-05'",
            {"prize_pools: violates prize_pools_period_key": 1, "prize_pools: violates prize_pools_status_check": 1},
            id="a pool that is open beside one that may be settled",
        ),
        pytest.param(
            "UPDATE game_sessions SET created_at = 'infinity' WHERE score = 5;"
            " UPDATE prize_pools SET period_date = 'infinity' WHERE status = 'finalized'",
            "game_sessions.arcade_jobs_instants_check is violated by 1 row",
            "SELECT count(*) = 57 FROM leaderboard_entries",
            {
                "game_sessions: violates arcade_jobs_instants_check": 1,
                "leaderboard_entries: its session is set aside": 3,
                "prize_pools: violates prize_pools_period_date_check": 1,
            },
            id="what a later revision refuses",
        ),
        pytest.param(
            "ALTER TABLE leaderboard_entries DROP COLUMN period_type, ALTER COLUMN period_date TYPE text",
            "leaderboard_entries.period_type is missing, and its values in the rows that are there are not known",
            "SELECT count(*) = 0 FROM leaderboard_entries",
            {"leaderboard_entries: has no period_type": 60},
            id="a missing column that a conversion reads",
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
            "ALTER TABLE game_sessions ALTER COLUMN score TYPE double precision USING score + 0.4",
            "TYPE bigint USING round(score::numeric)::bigint; -- invents: fractions, if there are any, are rounded",
            "SELECT sum(score) = 210 FROM game_sessions",
            {},
            id="scores with fractions",
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
                "leaderboard_entries: its session is set aside": 9,
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
            "SELECT (SELECT count(*) FROM leaderboard_entries) = 57 AND (SELECT count(*) FROM refunds) = 20",
            {
                "game_sessions: violates game_sessions_completed_check": 1,
                "leaderboard_entries: its session is set aside": 3,
            },
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
