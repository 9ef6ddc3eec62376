"""The platform's writers, which know the database and no more: what they are refused, they book as DESIGN says."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from shared.db.errors import sqlstate
from tests.faults.model import Board, Entry, Pool, Session
from tests.faults.scenes import TABLES

EMPTY = "SET LOCAL session_replication_role = replica;" + "".join(f"DELETE FROM {table};" for table in TABLES)
BEGIN = text("""
    INSERT INTO game_sessions (id, game_type, player_address, amount_paid_usdc, created_at)
    VALUES (:id, :game, :player, :amount, :created_at)
""")
COMPLETE = text("UPDATE game_sessions SET status = 'completed', score = :score, completed_at = :at WHERE id = :id")
PAY_IN = text("""
    INSERT INTO prize_pools AS p (game_type, period_type, period_date, total_amount_usdc, total_games)
    VALUES (:game, :period_type, :period_date, :amount, 1)
    ON CONFLICT (game_type, period_type, period_date) DO UPDATE
    SET total_amount_usdc = p.total_amount_usdc + excluded.total_amount_usdc, total_games = p.total_games + 1
    RETURNING id
""")
SUBMIT = text("""
    INSERT INTO leaderboard_entries AS e
        (session_id, game_type, player_address, score, period_type, period_date, created_at)
    VALUES (:session_id, :game, :player, :score, :period_type, :period_date, :at)
    ON CONFLICT (player_address, game_type, period_type, period_date) DO UPDATE
    SET score = excluded.score, session_id = excluded.session_id, created_at = excluded.created_at
    WHERE excluded.score > e.score
    RETURNING id
""")
PAY_OUT = text("UPDATE prize_pools SET status = 'paid', payout_tx_hash = :hash WHERE id = :id")


class Refused(Exception):  # noqa: N818 - as the database puts it
    """The period is settled: SQLSTATE AJ001."""


@dataclass(frozen=True)
class Platform:
    engine: Engine

    def empty(self) -> None:
        with self.engine.begin() as connection:
            connection.exec_driver_sql(EMPTY)

    def begin(self, session_id: UUID, session: Session) -> None:
        self._write(
            BEGIN,
            id=session_id,
            game=session.game,
            player=session.player,
            amount=session.amount,
            created_at=session.created_at,
        )

    def complete(self, session_id: UUID, score: int, at: datetime) -> None:
        self._write(COMPLETE, id=session_id, score=score, at=at)

    def pay_in(self, board: Board, amount: Decimal) -> int:
        return self._write(PAY_IN, **board._asdict(), amount=amount)

    def submit(self, entry: Entry) -> int | None:
        """The id of the entry; None when the player's best stands."""
        return self._write(
            SUBMIT,
            **entry.board._asdict(),
            player=entry.player,
            session_id=entry.session_id,
            score=entry.score,
            at=entry.created_at,
        )

    def pay_out(self, pool_id: int, payout: str) -> None:
        self._write(PAY_OUT, id=pool_id, hash=payout)

    def sessions(self) -> dict[UUID, Session]:
        rows = self._read(
            "SELECT id, game_type, player_address, amount_paid_usdc, created_at, status, score, completed_at"
            " FROM game_sessions"
        )
        return {row[0]: Session(*row[1:]) for row in rows}

    def entries(self) -> dict[int, Entry]:
        rows = self._read(
            "SELECT id, game_type, period_type, period_date, player_address, session_id, score, created_at, rank"
            " FROM leaderboard_entries"
        )
        return {row[0]: Entry(Board(*row[1:4]), *row[4:]) for row in rows}

    def pools(self) -> dict[int, Pool]:
        rows = self._read(
            "SELECT id, game_type, period_type, period_date, total_amount_usdc, total_games, status, winner_address,"
            " winner_score, payout_tx_hash, settled_by FROM prize_pools"
        )
        return {row[0]: Pool(Board(*row[1:4]), *row[4:]) for row in rows}

    def touched(self) -> set[Board]:
        return {
            Board(*row)
            for row in self._read(
                "SELECT game_type, period_type, period_date FROM leaderboards WHERE is_pending"
                " UNION SELECT game_type, period_type, period_date FROM leaderboard_touches"
            )
        }

    def _write(self, statement: Any, **parameters: Any) -> Any:
        try:
            with self.engine.begin() as connection:
                result = connection.execute(statement, parameters)
                return result.scalar() if result.returns_rows else None
        except DBAPIError as error:
            if sqlstate(error) == "AJ001":
                raise Refused from None
            raise

    def _read(self, query: str) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(text(query)))
