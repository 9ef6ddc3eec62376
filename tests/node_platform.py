"""A platform as a Node server keeps it: text and floats where the contract has dates and money, and rows of every kind.

Each fault is in rows of its own, so that what becomes of each can be told from the rest.
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
CREATE TABLE refunds (id serial PRIMARY KEY, session_id varchar(36) REFERENCES game_sessions (id));
"""

# Ten games a day for thirty days from Monday 2026-01-05, each by a player of its own, and the entries of each.
ROWS = """
INSERT INTO game_sessions
SELECT gen_random_uuid(), (ARRAY['snake', 'tetris', 'Space Invaders'])[1 + n % 3], '0x' || n, 'tx' || n,
    0.01 + n % 2 * 0.01, n, 'completed', to_char(played, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
    to_char(played + interval '5 minutes', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), 'Mozilla'
FROM generate_series(0, 299) AS n,
    LATERAL (SELECT timestamp '2026-01-05 10:00' + n / 10 * interval '1 day') AS at (played);
INSERT INTO game_sessions (id, game_type, player_address, status, created_at)
SELECT gen_random_uuid(), 'pong', '0xidle' || n, CASE WHEN n < 10 THEN 'abandoned' ELSE 'active' END,
    '2026-01-05T10:00:00Z'
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
UPDATE prize_pools
SET status = 'finalized', winner_address = '0x1', winner_score = 1, finalized_at = '2026-02-05T00:00:01Z'
WHERE period_date < '2026-01-20' AND period_type = 'daily';
"""

# What else makes a session that cannot stay, by the column that is set, and the players whose it is.
_WRONG_SESSIONS = {
    "status = 'disputed'": (50, 51),
    "completed_at = NULL": (60, 61),
    "completed_at = 'Invalid Date'": (70, 71),
    "created_at = '12026-01-05T10:00:00Z'": (75, 76),
    "payment_tx_hash = 'tx80'": (81,),
    "amount_paid_usdc = NULL": (90,),
    "amount_paid_usdc = 'NaN'": (95,),
}
_KEY = "ALTER TABLE leaderboard_entries {} CONSTRAINT leaderboard_entries_session_id_fkey"
_CHANGE_IDS = (
    f"{_KEY.format('DROP')}; UPDATE leaderboard_entries SET session_id = {{0}} WHERE {{1}};"
    f" UPDATE game_sessions SET id = {{2}} WHERE {{1}};"
    f" {_KEY.format('ADD')} FOREIGN KEY (session_id) REFERENCES game_sessions (id) ON DELETE CASCADE"
)
_COLUMNS = "session_id, game_type, player_address, score, period_type, period_date"

# By name, the statements that make it.
FAULTS = {
    **{
        f"sessions with {wrong}": f"UPDATE game_sessions SET {wrong} WHERE player_address IN ({players})"
        for wrong, players in (
            (wrong, ", ".join(f"'0x{player}'" for player in players)) for wrong, players in _WRONG_SESSIONS.items()
        )
    },
    "a session whose id is no uuid": _CHANGE_IDS.format("'guest'", "player_address = '0x100'", "'guest'"),
    "sessions whose ids are in capitals": _CHANGE_IDS.format(
        "upper(session_id)", "player_address IN ('0x50', '0x105')", "upper(id)"
    ),
    "payments without a hash": "UPDATE game_sessions SET payment_tx_hash = '' WHERE player_address IN ('0x85', '0x86')",
    "a refund": "INSERT INTO refunds (session_id) SELECT id FROM game_sessions WHERE player_address = '0x50'",
    "entries twice": (
        f"INSERT INTO leaderboard_entries ({_COLUMNS}, created_at)"
        f" SELECT {_COLUMNS}, created_at FROM leaderboard_entries"
        " WHERE player_address IN ('0x110', '0x111')"
    ),
    "an entry with the score of a session that cannot stay": (
        f"INSERT INTO leaderboard_entries ({_COLUMNS}, created_at)"
        " SELECT disputed.session_id, entry.game_type, entry.player_address, 9999, entry.period_type,"
        " entry.period_date, entry.created_at FROM leaderboard_entries AS entry JOIN leaderboard_entries AS disputed"
        " ON disputed.player_address = '0x51' AND disputed.period_type = entry.period_type"
        " WHERE entry.player_address = '0x115'"
    ),
    "entries without a time": "UPDATE leaderboard_entries SET created_at = NULL WHERE player_address = '0x120'",
    "an entry of a month": (
        f"INSERT INTO leaderboard_entries ({_COLUMNS}, created_at)"
        " SELECT session_id, game_type, player_address, score, 'monthly', '2026-01', created_at"
        " FROM leaderboard_entries WHERE player_address = '0x130' AND period_type = 'daily'"
    ),
    "a week that begins on a Sunday": (
        "UPDATE leaderboard_entries SET period_date = '2026-01-11'"
        " WHERE player_address = '0x140' AND period_type = 'weekly'"
    ),
    "pools that are closed, with a winner": (
        "UPDATE prize_pools SET status = 'closed', winner_address = '0x1', winner_score = 1, finalized_at = created_at"
        " WHERE period_date = '2026-01-21'"
    ),
    "pools that are closed, and opened again": (
        "UPDATE prize_pools SET status = 'closed' WHERE period_date = '2026-01-20';"
        " INSERT INTO prize_pools (game_type, period_type, period_date, total_amount_usdc, total_games)"
        " SELECT game_type, period_type, period_date, 0.02, 1 FROM prize_pools WHERE period_date = '2026-01-20'"
    ),
    "pools that are paid, with no hash to show": (
        "UPDATE prize_pools SET status = 'paid' WHERE period_date = '2026-01-06'"
    ),
    "pools twice": (
        "INSERT INTO prize_pools (game_type, period_type, period_date, total_amount_usdc, total_games)"
        " SELECT game_type, period_type, period_date, 0.05, 5 FROM prize_pools WHERE period_date = '2026-01-22'"
    ),
    "pools without an amount": "UPDATE prize_pools SET total_amount_usdc = NULL WHERE period_date = '2026-01-23'",
    "pools of a day that is none": (
        "UPDATE prize_pools SET period_date = 'day ' || id WHERE period_date = '2026-01-24' AND period_type = 'daily'"
    ),
    "a settled pool of all time": (
        "UPDATE prize_pools SET period_date = 'infinity' WHERE period_date = '2026-01-07' AND game_type = 'snake'"
    ),
    "winners that are empty texts": (
        "UPDATE prize_pools SET winner_address = '', winner_score = 0 WHERE status = 'active'"
    ),
    "a check of the statuses that the platform knows": (
        "ALTER TABLE prize_pools ADD CONSTRAINT prize_pools_status_check"
        " CHECK (status IN ('active', 'closed', 'paid')) NOT VALID"
    ),
    "a check of a date that is text": (
        'ALTER TABLE leaderboard_entries ADD CONSTRAINT "a date?"'
        " CHECK (period_type <> 'daily' OR period_date ~ '^20')"
    ),
    "names that need care": (
        "ALTER TABLE leaderboard_entries RENAME CONSTRAINT leaderboard_entries_session_id_fkey"
        ' TO "it\'s «theirs» ""!\n;";'
        ' ALTER INDEX entries_by_rank RENAME TO "by rank; --";'
        " ALTER TABLE game_sessions ADD \"agent's «name»\" text DEFAULT 'O''Neill; -- \"x\"';"
        " ALTER TABLE game_sessions ADD place text, ADD number text, ADD content text, ADD period_type text,"
        " ADD period_date text, ADD rank text, ADD session_id text, ADD total_games text;"
        " ALTER TABLE leaderboard_entries ADD place text, ADD number text, ADD content text, ADD status text,"
        " ADD completed_at text, ADD payment_tx_hash text, ADD winner_address text, ADD total_games text;"
        " ALTER TABLE prize_pools ADD place text, ADD number text, ADD content text, ADD score text, ADD rank text,"
        " ADD session_id text, ADD player_address text, ADD completed_at text"
    ),
}
