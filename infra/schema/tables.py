"""The tables as the revisions create them: the platform's three, and what the jobs add.

The revisions create the schema; a test holds this description to their result. Instants are `timestamptz`, money is
`numeric(18,6)` in USDC.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Identity,
    Index,
    Integer,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

USDC = Numeric(18, 6)
INSTANT = DateTime(timezone=True)
GAME_TYPE_PATTERN = "^[a-z][a-z0-9_]*$"

# What a calendar holds, and every program that reads it: no infinity, no year before 1970 or after 9999.
A_DAY = "period_date BETWEEN '1970-01-01' AND '9999-12-31'"
AN_INSTANT = "BETWEEN '1970-01-01Z' AND '9999-12-31Z'"

metadata = MetaData()

game_sessions = Table(
    "game_sessions",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("game_type", Text, nullable=False),
    Column("player_address", Text, nullable=False),
    Column("payment_tx_hash", Text),
    Column("amount_paid_usdc", USDC, nullable=False),
    Column("score", BigInteger),
    Column("status", Text, nullable=False, server_default="active"),
    Column("created_at", INSTANT, nullable=False, server_default=func.now()),
    Column("completed_at", INSTANT),
    Column("game_duration_ms", Integer),
    PrimaryKeyConstraint("id", name="game_sessions_pkey"),
    UniqueConstraint("payment_tx_hash", name="game_sessions_payment_tx_hash_key"),
    CheckConstraint(f"game_type ~ '{GAME_TYPE_PATTERN}'", name="game_sessions_game_type_check"),
    CheckConstraint("amount_paid_usdc >= 0 AND amount_paid_usdc <> 'NaN'", name="game_sessions_amount_paid_usdc_check"),
    CheckConstraint("status IN ('active', 'completed', 'expired')", name="game_sessions_status_check"),
    CheckConstraint(
        "status <> 'completed' OR (score IS NOT NULL AND completed_at IS NOT NULL)",
        name="game_sessions_completed_check",
    ),
    CheckConstraint(
        f"created_at {AN_INSTANT} AND completed_at {AN_INSTANT}",
        name="arcade_jobs_instants_check",  # the prefix keeps clear of the names that PostgreSQL gives by itself
    ),
    # Cleanup walks abandoned sessions by key; completed ones, nearly all, are not in it.
    Index("game_sessions_active_idx", "created_at", "id", postgresql_where=text("status = 'active'")),
)

leaderboard_entries = Table(
    "leaderboard_entries",
    metadata,
    Column("id", BigInteger, Identity(), nullable=False),
    Column("session_id", Uuid, nullable=False),
    Column("game_type", Text, nullable=False),
    Column("player_address", Text, nullable=False),
    Column("score", BigInteger, nullable=False),
    Column("period_type", Text, nullable=False),
    Column("period_date", Date, nullable=False),
    Column("rank", Integer),
    Column("created_at", INSTANT, nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("id", name="leaderboard_entries_pkey"),
    UniqueConstraint(
        "player_address", "game_type", "period_type", "period_date", name="leaderboard_entries_player_period_key"
    ),
    # No pattern for the game, which is that of the entry's session (S23): every CHECK is evaluated for each new rank.
    CheckConstraint("period_type IN ('daily', 'weekly', 'alltime')", name="leaderboard_entries_period_type_check"),
    CheckConstraint(
        f"{A_DAY} AND (period_type <> 'weekly' OR extract(isodow FROM period_date) = 1)"
        " AND (period_type = 'alltime') = (period_date = '1970-01-01')",
        name="leaderboard_entries_period_date_check",
    ),
    CheckConstraint("rank > 0", name="leaderboard_entries_rank_check"),
    CheckConstraint(f"created_at {AN_INSTANT}", name="arcade_jobs_instants_check"),
    # One board in ranking order: read to settle (the first few rows) and to rank (all of them).
    Index(
        "leaderboard_entries_ranking_idx",
        *("game_type", "period_type", "period_date"),
        *(text("score DESC"), text("created_at ASC"), text("id ASC")),
    ),
    # Half of each page is left free and `rank` is in no index, so that a new rank stays in its page and touches no
    # index (HOT, https://www.postgresql.org/docs/current/storage-hot.html): 1M ranks in 5 s instead of 20 s.
    postgresql_with={"fillfactor": "50"},
)


prize_pools = Table(
    "prize_pools",
    metadata,
    Column("id", BigInteger, Identity(), nullable=False),
    Column("game_type", Text, nullable=False),
    Column("period_type", Text, nullable=False),
    Column("period_date", Date, nullable=False),
    Column("total_amount_usdc", USDC, nullable=False, server_default="0"),
    Column("total_games", Integer, nullable=False, server_default="0"),
    Column("status", Text, nullable=False, server_default="active"),
    Column("winner_address", Text),
    Column("winner_score", BigInteger),
    Column("payout_tx_hash", Text),
    Column("created_at", INSTANT, nullable=False, server_default=func.now()),
    Column("finalized_at", INSTANT),
    Column("settled_by", Text, comment="the run that settled it"),
    Column("entries_passed_over", Integer, comment="entries before the winner's that no completed session backed"),
    PrimaryKeyConstraint("id", name="prize_pools_pkey"),
    UniqueConstraint("game_type", "period_type", "period_date", name="prize_pools_period_key"),
    CheckConstraint(f"game_type ~ '{GAME_TYPE_PATTERN}'", name="prize_pools_game_type_check"),
    CheckConstraint("period_type IN ('daily', 'weekly')", name="prize_pools_period_type_check"),
    CheckConstraint(
        f"{A_DAY} AND (period_type <> 'weekly' OR extract(isodow FROM period_date) = 1)",
        name="prize_pools_period_date_check",
    ),
    CheckConstraint(
        "total_amount_usdc >= 0 AND total_amount_usdc <> 'NaN' AND total_games >= 0", name="prize_pools_total_check"
    ),
    CheckConstraint("status IN ('active', 'finalized', 'paid')", name="prize_pools_status_check"),
    CheckConstraint("(winner_address IS NULL) = (winner_score IS NULL)", name="prize_pools_winner_check"),
    CheckConstraint(
        "CASE status WHEN 'active' THEN winner_address IS NULL AND finalized_at IS NULL AND payout_tx_hash IS NULL"
        " WHEN 'finalized' THEN finalized_at IS NOT NULL AND payout_tx_hash IS NULL"
        " WHEN 'paid' THEN finalized_at IS NOT NULL AND payout_tx_hash IS NOT NULL END",
        name="prize_pools_settled_check",
    ),
    # What is due, oldest first: pools are settled once, so this stays as small as the current periods.
    Index("prize_pools_active_idx", "period_date", "id", postgresql_where=text("status = 'active'")),
    # What a run settled, in whichever attempt. Active pools, which every payment writes to, are not in it.
    Index("arcade_jobs_settled_by_idx", "settled_by", postgresql_where=text("settled_by IS NOT NULL")),
)

leaderboards = Table(
    "leaderboards",
    metadata,
    Column("game_type", Text, nullable=False),
    Column("period_type", Text, nullable=False),
    Column("period_date", Date, nullable=False),
    Column("generation", BigInteger, nullable=False, server_default="0", comment="raised by each ranker that takes it"),
    Column("is_pending", Boolean, nullable=False, server_default=text("true"), comment="touched, not yet ranked since"),
    Column("ranked_at", INSTANT, comment="wall clock of the last complete ranking"),
    PrimaryKeyConstraint("game_type", "period_type", "period_date", name="leaderboards_pkey"),
    Index("leaderboards_pending_idx", "game_type", "period_type", "period_date", postgresql_where=text("is_pending")),
    comment="the state of each board; written by the leaderboard job only",
)

leaderboard_touches = Table(
    "leaderboard_touches",
    metadata,
    Column("game_type", Text, nullable=False),
    Column("period_type", Text, nullable=False),
    Column("period_date", Date, nullable=False),
    # No key and no index: it is appended to by every score and emptied every hour, so it is vacuumed by the number of
    # dead rows, not by a share of rows that are there.
    postgresql_with={"autovacuum_vacuum_scale_factor": "0", "autovacuum_vacuum_threshold": "1000"},
    comment="one row for each write to a board, put there by a trigger and taken by the leaderboard job",
)

arcade_jobs_set_aside = Table(
    "arcade_jobs_set_aside",
    metadata,
    Column("id", BigInteger, Identity(), nullable=False),
    Column("table_name", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("content", JSONB, nullable=False),
    Column("set_aside_at", INSTANT, nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("id", name="arcade_jobs_set_aside_pkey"),
    comment="rows that did not fit the contract, whole",
)

arcade_jobs_timezones = Table(
    "arcade_jobs_timezones",
    metadata,
    Column("valid_from", Date, nullable=False),
    Column("timezone", Text, nullable=False),
    PrimaryKeyConstraint("valid_from", name="arcade_jobs_timezones_pkey"),
    CheckConstraint(A_DAY.replace("period_date", "valid_from"), name="arcade_jobs_timezones_valid_from_check"),
    comment="the time zone of every period that begins on a date or later",
)

arcade_jobs_deleted_sessions = Table(
    "arcade_jobs_deleted_sessions",
    metadata,
    Column("id", BigInteger, Identity(), nullable=False),
    Column("session_id", Uuid, nullable=False),
    Column("game_type", Text, nullable=False),
    Column("player_address", Text, nullable=False),
    Column("completed_at", INSTANT),
    # Taken in the order of their ids: a walk that began again would pass the dead rows of those taken before.
    PrimaryKeyConstraint("id", name="arcade_jobs_deleted_sessions_pkey"),
    postgresql_with={"autovacuum_vacuum_scale_factor": "0", "autovacuum_vacuum_threshold": "1000"},
    comment="completed sessions that were deleted, put there by a trigger and taken by the cleanup job",
)

arcade_jobs_orphans = Table(
    "arcade_jobs_orphans",
    metadata,
    Column("entry_id", BigInteger, nullable=False),
    Column("game_type", Text, nullable=False),
    Column("period_type", Text, nullable=False),
    Column("period_date", Date, nullable=False),
    # By board: those of one board are counted before any of them is removed.
    PrimaryKeyConstraint("game_type", "period_type", "period_date", "entry_id", name="arcade_jobs_orphans_pkey"),
    comment="entries whose session was not found, until the cleanup job removes them",
)

arcade_jobs_sweep = Table(
    "arcade_jobs_sweep",
    metadata,
    Column("is_only_row", Boolean, nullable=False, server_default=text("true")),
    Column("last_entry_id", BigInteger),
    PrimaryKeyConstraint("is_only_row", name="arcade_jobs_sweep_pkey"),
    CheckConstraint("is_only_row", name="arcade_jobs_sweep_check"),
    comment="how far the cleanup job has come in its sweep of all entries",
)
