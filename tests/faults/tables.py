"""What the database holds, in the model's terms."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Engine

from tests.faults.model import Board, Entry, Pool, Session
from tests.faults.scenes import TABLES

# With rights that no job has: it bypasses the triggers.
EMPTY = "SET LOCAL session_replication_role = replica;" + "".join(f"DELETE FROM {table};" for table in TABLES)
SESSIONS = """
    SELECT id, game_type, player_address, amount_paid_usdc, created_at, status, score, completed_at FROM game_sessions
"""
ENTRIES = """
    SELECT id, game_type, period_type, period_date, player_address, session_id, score, created_at, rank
    FROM leaderboard_entries
"""
POOLS = """
    SELECT id, game_type, period_type, period_date, total_amount_usdc, total_games, status, winner_address,
           winner_score, payout_tx_hash, settled_by
    FROM prize_pools
"""
TOUCHED = """
    SELECT game_type, period_type, period_date FROM leaderboards WHERE is_pending
    UNION
    SELECT game_type, period_type, period_date FROM leaderboard_touches
"""


@dataclass(frozen=True)
class Contents:
    sessions: dict[UUID, Session]
    entries: dict[int, Entry]
    pools: dict[int, Pool]
    touched: set[Board]


@dataclass(frozen=True)
class Tables:
    engine: Engine

    def empty(self) -> None:
        with self.engine.begin() as connection:
            connection.exec_driver_sql(EMPTY)

    def read(self) -> Contents:
        with self.engine.connect() as connection:
            sessions, entries, pools, touched = (
                connection.exec_driver_sql(query).all() for query in (SESSIONS, ENTRIES, POOLS, TOUCHED)
            )
        return Contents(
            sessions={row[0]: Session(*row[1:]) for row in sessions},
            entries={row[0]: Entry(Board(*row[1:4]), *row[4:]) for row in entries},
            pools={row[0]: Pool(Board(*row[1:4]), *row[4:]) for row in pools},
            touched={Board(*row) for row in touched},
        )
