"""A platform as a Node server keeps it: text and floats where the contract has dates and money, and rows of every kind.

Each fault is in some rows of their own, so that what becomes of each can be told from the rest.
"""

# Dates as JavaScript writes them, money as it adds it up, ids from `serial`, and no hash of a payout.
SCHEMA = """
CREATE TABLE game_sessions (
    id varchar(36) PRIMARY KEY, game_type varchar(50) NOT NULL, player_address varchar(64) NOT NULL,
    payment_tx_hash varchar(80), amount_paid_usdc double precision DEFAULT 0.01, score integer DEFAULT 0,
    status varchar(20) NOT NULL DEFAULT 'active', created_at text NOT NULL DEFAULT now()::text, completed_at text,
    user_agent text);
CREATE TABLE leaderboard_entries (
    id serial PRIMARY KEY, session_id varchar(36) NOT NULL REFERENCES game_sessions (id) ON DELETE CASCADE,
    game_type varchar(50) NOT NULL, player_address varchar(64) NOT NULL, score integer NOT NULL,
    period_type varchar(10) NOT NULL, period_date text NOT NULL, rank integer DEFAULT 0, created_at text);
CREATE INDEX entries_by_rank ON leaderboard_entries (game_type, period_type, period_date, rank);
CREATE TABLE prize_pools (
    id serial PRIMARY KEY, game_type varchar(50) NOT NULL, period_type varchar(10) NOT NULL, period_date text NOT NULL,
    total_amount_usdc real DEFAULT 0, total_games integer DEFAULT 0, status varchar(20) DEFAULT 'active',
    winner_address varchar(64), winner_score integer, created_at text DEFAULT now()::text, finalized_at text);
CREATE TABLE refunds (
    id serial PRIMARY KEY, session_id varchar(36) REFERENCES game_sessions (id), pool_id integer REFERENCES prize_pools (id));
"""

# Ten games a day for thirty days from Monday 2026-01-05, each by a player of its own, and the bests of each.
ROWS = """
INSERT INTO game_sessions
SELECT gen_random_uuid(), (ARRAY['snake', 'tetris', 'Space Invaders'])[1 + n % 3], '0x' || n, 'tx' || n, 0.01 + n % 2 * 0.01,
    n, 'completed', to_char(played, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
    to_char(played + interval '5 minutes', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), 'Mozilla'
FROM generate_series(0, 299) AS n, LATERAL (SELECT timestamp '2026-01-05 10:00' + n / 10 * interval '1 day') AS at (played);
INSERT INTO game_sessions (id, game_type, player_address, status, created_at)
SELECT gen_random_uuid(), 'pong', '0xidle' || n, CASE WHEN n < 10 THEN 'abandoned' ELSE 'active' END, '2026-01-05T10:00:00Z'
FROM generate_series(0, 19) AS n;
INSERT INTO leaderboard_entries (session_id, game_type, player_address, score, period_type, period_date, created_at)
SELECT id, game_type, player_address, score, period.type, period.date, completed_at
FROM game_sessions, LATERAL (VALUES
    ('daily', left(completed_at, 10)),
    ('weekly', to_char(date_trunc('week', completed_at::timestamp), 'YYYY-MM-DD')),
    ('alltime', 'all')) AS period (type, date)
WHERE status = 'completed';
INSERT INTO prize_pools (game_type, period_type, period_date, total_amount_usdc, total_games)
SELECT game_type, period_type, period_date, 0.1, count(*) FROM leaderboard_entries
WHERE period_type <> 'alltime' GROUP BY 1, 2, 3;
UPDATE prize_pools SET status = 'finalized', winner_address = '0x1', winner_score = 1, finalized_at = '2026-02-05T00:00:01Z'
WHERE period_date < '2026-01-20' AND period_type = 'daily';
"""

# By name: what makes the fault, in rows of its own.
FAULTS = {
    "a check of the statuses that the platform knows": (
        "ALTER TABLE prize_pools ADD CONSTRAINT prize_pools_status_check CHECK (status IN ('active', 'closed', 'finalized', 'paid'))"
    ),
    "a check of a date that is text": (
        "ALTER TABLE leaderboard_entries ADD CONSTRAINT \"a date?\" CHECK (period_type = 'alltime' OR period_date ~ '^20')"
    ),
    "a pool that is closed, with a winner": (
        "UPDATE prize_pools SET status = 'closed', winner_address = '0x1', winner_score = 1"
        " WHERE id IN (SELECT id FROM prize_pools WHERE period_date = '2026-01-21')"
    ),
    "a pool that is paid, with no hash to show": (
        "UPDATE prize_pools SET status = 'paid' WHERE period_date = '2026-01-06'"
    ),
    "a pool twice": (
        "INSERT INTO prize_pools (game_type, period_type, period_date, total_amount_usdc, total_games)"
        " SELECT game_type, period_type, period_date, 0.05, 5 FROM prize_pools WHERE period_date = '2026-01-22'"
    ),
    "a pool without an amount": "UPDATE prize_pools SET total_amount_usdc = NULL WHERE period_date = '2026-01-23'",
    "a pool of a day that is none": "UPDATE prize_pools SET period_date = 'today' || id WHERE period_date = '2026-01-24'",
    "a winner that is an empty text": (
        "UPDATE prize_pools SET winner_address = '', winner_score = 0 WHERE status = 'active'"
    ),
    "a session with a status of its own": (
        "UPDATE game_sessions SET status = 'disputed' WHERE player_address IN ('0x50', '0x51')"
    ),
    "a session without a time of completion": (
        "UPDATE game_sessions SET completed_at = NULL WHERE player_address IN ('0x60', '0x61')"
    ),
    "a session completed at a time that is none": (
        "UPDATE game_sessions SET completed_at = 'Invalid Date' WHERE player_address IN ('0x70', '0x71')"
    ),
    "a session begun in a year that is none": (
        "UPDATE game_sessions SET created_at = '12026-01-05T10:00:00Z' WHERE player_address IN ('0x75', '0x76')"
    ),
    "a payment used for two sessions": "UPDATE game_sessions SET payment_tx_hash = 'tx80' WHERE player_address = '0x81'",
    "a payment without a hash": "UPDATE game_sessions SET payment_tx_hash = '' WHERE player_address IN ('0x85', '0x86')",
    "a payment of no amount": "UPDATE game_sessions SET amount_paid_usdc = NULL WHERE player_address = '0x90'",
    "a payment that is not a number": "UPDATE game_sessions SET amount_paid_usdc = 'NaN' WHERE player_address = '0x95'",
    "a session whose id is no uuid": (
        "ALTER TABLE leaderboard_entries DROP CONSTRAINT leaderboard_entries_session_id_fkey;"
        " UPDATE leaderboard_entries SET session_id = 'guest-100' WHERE player_address = '0x100';"
        " UPDATE game_sessions SET id = 'guest-100' WHERE player_address = '0x100';"
        " ALTER TABLE leaderboard_entries ADD CONSTRAINT leaderboard_entries_session_id_fkey"
        " FOREIGN KEY (session_id) REFERENCES game_sessions (id) ON DELETE CASCADE"
    ),
    "a session whose id is written in capitals": (
        "ALTER TABLE leaderboard_entries DROP CONSTRAINT leaderboard_entries_session_id_fkey;"
        " UPDATE leaderboard_entries SET session_id = upper(session_id) WHERE player_address IN ('0x50', '0x105');"
        " UPDATE game_sessions SET id = upper(id) WHERE player_address IN ('0x50', '0x105');"
        " ALTER TABLE leaderboard_entries ADD CONSTRAINT leaderboard_entries_session_id_fkey"
        " FOREIGN KEY (session_id) REFERENCES game_sessions (id) ON DELETE CASCADE"
    ),
    "an entry twice": (
        "INSERT INTO leaderboard_entries (session_id, game_type, player_address, score, period_type, period_date)"
        " SELECT session_id, game_type, player_address, score, period_type, period_date FROM leaderboard_entries"
        " WHERE player_address IN ('0x110', '0x111')"
    ),
    "an entry without a time": "UPDATE leaderboard_entries SET created_at = NULL WHERE player_address = '0x120'",
    "an entry of a month": (
        "INSERT INTO leaderboard_entries (session_id, game_type, player_address, score, period_type, period_date, created_at)"
        " SELECT session_id, game_type, player_address, score, 'monthly', '2026-01', created_at FROM leaderboard_entries"
        " WHERE player_address = '0x130' AND period_type = 'daily'"
    ),
    "an entry of a week that begins on a Sunday": (
        "UPDATE leaderboard_entries SET period_date = '2026-01-11' WHERE player_address = '0x140' AND period_type = 'weekly'"
    ),
    "names that need care": (
        "ALTER TABLE leaderboard_entries RENAME CONSTRAINT leaderboard_entries_session_id_fkey TO \"it's «theirs» \"\"!\";"
        " ALTER INDEX entries_by_rank RENAME TO \"by rank; --\";"
        " ALTER TABLE game_sessions ADD \"agent's «name»\" text DEFAULT 'O''Neill; -- \"x\"'"
    ),
}
