"""An arcade in a test's hand: plays and pools, put into the database as a platform would."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

from sqlalchemy import Engine, Row, insert, select

from infra.schema.tables import game_sessions, leaderboard_entries, prize_pools
from shared.domain.periods import PeriodType, current_period, load_zone


@dataclass(frozen=True)
class Arcade:
    engine: Engine
    zone: str = "UTC"

    def add_pool(
        self,
        day: str,
        *,
        game: str = "pong",
        period: str = "daily",
        amount: str = "0.7",
        games: int = 100,
    ) -> int:
        with self.engine.begin() as connection:
            return connection.execute(
                insert(prize_pools).returning(prize_pools.c.id),
                {
                    "game_type": game,
                    "period_type": period,
                    "period_date": date.fromisoformat(day),
                    "total_amount_usdc": Decimal(amount),
                    "total_games": games,
                },
            ).scalar_one()

    def add_session(
        self,
        created_at: str,
        *,
        player: str = "0xa",
        game: str = "pong",
        score: int | None = None,
        completed_at: str | None = None,
        status: str | None = None,
        amount: str = "0.01",
    ) -> UUID:
        session_id = uuid4()
        with self.engine.begin() as connection:
            connection.execute(
                insert(game_sessions),
                {
                    "id": session_id,
                    "game_type": game,
                    "player_address": player,
                    "amount_paid_usdc": Decimal(amount),
                    "score": score,
                    "status": status or ("active" if completed_at is None else "completed"),
                    "created_at": datetime.fromisoformat(created_at),
                    "completed_at": datetime.fromisoformat(completed_at) if completed_at else None,
                },
            )
        return session_id

    def add_entry(
        self,
        session_id: UUID,
        score: int,
        reached_at: str,
        *,
        player: str = "0xa",
        game: str = "pong",
        period: str = "daily",
    ) -> int:
        """An entry in the board of the period in which the score was reached."""
        at = datetime.fromisoformat(reached_at)
        with self.engine.begin() as connection:
            return connection.execute(
                insert(leaderboard_entries).returning(leaderboard_entries.c.id),
                {
                    "session_id": session_id,
                    "game_type": game,
                    "player_address": player,
                    "score": score,
                    "period_type": period,
                    "period_date": current_period(PeriodType(period), at, load_zone(self.zone)).date,
                    "created_at": at,
                },
            ).scalar_one()

    def play(
        self, player: str, score: int, completed_at: str, *, game: str = "pong", periods: tuple[str, ...] = ("daily",)
    ) -> UUID:
        """A game played to its end, and its entries."""
        started_at = datetime.fromisoformat(completed_at) - timedelta(seconds=40)
        session_id = self.add_session(
            started_at.isoformat(), player=player, game=game, score=score, completed_at=completed_at
        )
        for period in periods:
            self.add_entry(session_id, score, completed_at, player=player, game=game, period=period)
        return session_id

    def pool(self, pool_id: int) -> Row:
        with self.engine.connect() as connection:
            return connection.execute(select(prize_pools).where(prize_pools.c.id == pool_id)).one()

    def ranks(
        self, *, period: str = "daily", day: str | None = None, game: str = "pong"
    ) -> list[tuple[str, int | None]]:
        """Player and rank of a board, in the order of ranks."""
        e = leaderboard_entries.c
        query = (
            select(e.player_address, e.rank).where(e.game_type == game, e.period_type == period).order_by(e.rank, e.id)
        )
        if day:
            query = query.where(e.period_date == date.fromisoformat(day))
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(query)]
