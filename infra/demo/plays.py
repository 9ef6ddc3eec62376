"""Three weeks of plays, from Monday 2026-01-05 UTC, and how their pools must be settled.

Each play is a real game, played to its end in an emulator (Surround for snake); its duration is real, and so is its
score. In Snake and Tetris that is how many whole seconds the player survived: those who played them for us hardly ever
won a point by the games' own count, and three pools in four went to whoever was the first to have none.
"""

import csv
import lzma
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

from shared.domain.periods import Period, PeriodType

FOLDER = Path(__file__).with_name("plays")
SESSIONS = FOLDER / "sessions.csv.xz"
SETTLEMENTS = FOLDER / "settlements.csv"


@dataclass(frozen=True, kw_only=True)
class Play:
    """One paid play. Instants are in UTC.

    Attributes:
        session_id: of the play's session.
        created_at: of the payment and the start.
        completed_at: None if the player abandoned it, and so the score and the duration.
    """

    session_id: UUID
    game_type: str
    player_address: str
    amount_paid_usdc: Decimal
    created_at: datetime
    completed_at: datetime | None
    score: int | None
    game_duration_ms: int | None


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """A pool once it is settled.

    Attributes:
        total_games: payments into it.
        winner_address: None if its board has no entry.
        entries: of its board.
    """

    game_type: str
    period: Period
    total_amount_usdc: Decimal
    total_games: int
    winner_address: str | None
    winner_score: int | None
    entries: int


def load_plays() -> list[Play]:
    """The 6,000 plays, the earliest first."""
    with lzma.open(SESSIONS, "rt", encoding="ascii", newline="") as file:
        return [
            Play(
                session_id=UUID(row["session_id"]),
                game_type=row["game_type"],
                player_address=row["player_address"],
                amount_paid_usdc=Decimal(row["amount_paid_usdc"]),
                created_at=_instant(row["created_at"]),
                completed_at=_instant(row["completed_at"]) if row["completed_at"] else None,
                score=int(row["score"]) if row["score"] else None,
                game_duration_ms=int(row["game_duration_ms"]) if row["game_duration_ms"] else None,
            )
            for row in csv.DictReader(file)
        ]


def load_settlements() -> list[Settlement]:
    """How the 120 pools of these plays must be settled, in UTC."""
    with SETTLEMENTS.open(encoding="ascii", newline="") as file:
        return [
            Settlement(
                game_type=row["game_type"],
                period=Period(type=PeriodType(row["period_type"]), date=date.fromisoformat(row["period_date"])),
                total_amount_usdc=Decimal(row["total_amount_usdc"]),
                total_games=int(row["total_games"]),
                winner_address=row["winner_address"],
                winner_score=int(row["winner_score"]),
                entries=int(row["entries"]),
            )
            for row in csv.DictReader(file)
        ]


def _instant(written: str) -> datetime:
    return datetime.fromisoformat(written).astimezone(UTC)
