"""What the database holds, in the model's terms."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, text

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
class Tables:
    engine: Engine

    def empty(self) -> None:
        with self.engine.begin() as connection:
            connection.exec_driver_sql(EMPTY)

    def sessions(self) -> dict[UUID, Session]:
        return {session_id: Session(*rest) for session_id, *rest in self._read(SESSIONS)}

    def entries(self) -> dict[int, Entry]:
        return {number: Entry(Board(*key), *rest) for number, key, rest in self._read_keyed(ENTRIES)}

    def pools(self) -> dict[int, Pool]:
        return {number: Pool(Board(*key), *rest) for number, key, rest in self._read_keyed(POOLS)}

    def touched(self) -> set[Board]:
        return {Board(*row) for row in self._read(TOUCHED)}

    def _read_keyed(self, query: str) -> list[tuple[int, Any, Any]]:
        """Id, key columns of the board, and the rest of each row."""
        return [(row[0], row[1:4], row[4:]) for row in self._read(query)]

    def _read(self, query: str) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(text(query)))
