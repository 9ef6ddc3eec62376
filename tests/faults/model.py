"""The rules of docs/design.md in a page of Python: what the database must hold after plays, runs and crashes.

The calendar is the product's own (`shared.domain.periods`, tested against every zone); the rest is reimplemented.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from shared.domain.periods import Calendar, Period, PeriodType, current_period, has_ended

EXPIRY = timedelta(minutes=30)


class Session(NamedTuple):
    game: str
    player: str
    amount: Decimal
    created_at: datetime
    status: str = "active"
    score: int | None = None
    completed_at: datetime | None = None


class Board(NamedTuple):
    game: str
    period_type: str
    period_date: date


class Entry(NamedTuple):
    board: Board
    player: str
    session_id: UUID
    score: int
    created_at: datetime
    rank: int | None = None


class Pool(NamedTuple):
    board: Board
    amount: Decimal
    games: int
    status: str = "active"
    winner: str | None = None
    winner_score: int | None = None
    payout: str | None = None
    settled_by: str | None = None


@dataclass
class Model:
    """What is in the tables, by id, and what was paid in all.

    Attributes:
        touched: the boards that were written to since they were last ranked.
    """

    calendar: Calendar
    sessions: dict[UUID, Session] = field(default_factory=dict)
    entries: dict[int, Entry] = field(default_factory=dict)
    pools: dict[int, Pool] = field(default_factory=dict)
    touched: set[Board] = field(default_factory=set)
    paid: Decimal = Decimal(0)

    def board(self, game: str, period_type: str, at: datetime) -> Board:
        return Board(game, period_type, current_period(PeriodType(period_type), at, self.calendar).date)

    def is_sealed(self, board: Board) -> bool:
        return any(pool.board == board and pool.status != "active" for pool in self.pools.values())

    def find_entry(self, board: Board, player: str) -> int | None:
        return next((n for n, e in self.entries.items() if (e.board, e.player) == (board, player)), None)

    def is_backed(self, entry: Entry) -> bool:
        """Whether its session is a completed one of the same player, game and score."""
        session = self.sessions.get(entry.session_id)
        return session is not None and (session.status, session.player, session.game, session.score) == (
            "completed",
            entry.player,
            entry.board.game,
            entry.score,
        )

    def settle(self, at: datetime, run_id: str) -> None:
        for number, pool in self.pools.items():
            if pool.status == "active" and has_ended(_period(pool.board), at, self.calendar):
                winner = self._winner(pool.board)
                self.pools[number] = pool._replace(
                    status="finalized",
                    winner=winner and winner.player,
                    winner_score=winner and winner.score,
                    settled_by=run_id,
                )

    def rank(self) -> None:
        for board in self.touched:
            for rank, number in enumerate(self.order(board), start=1):
                self.entries[number] = self.entries[number]._replace(rank=rank)
        self.touched = set()

    def clean(self, at: datetime) -> None:
        before = at - EXPIRY
        orphans = [
            n
            for n, e in self.entries.items()
            if e.session_id not in self.sessions and e.created_at < before and not self.is_sealed(e.board)
        ]
        self.sessions = {n: s for n, s in self.sessions.items() if not (s.status == "active" and s.created_at < before)}
        self.touched |= {self.entries.pop(number).board for number in orphans}

    def order(self, board: Board) -> list[int]:
        """The ids of a board's entries: the highest score, then the earliest, then the lowest id."""
        entries = {n: e for n, e in self.entries.items() if e.board == board}
        return sorted(entries, key=lambda n: (-entries[n].score, entries[n].created_at, n))

    def copy(self) -> "Model":
        return copy.deepcopy(self)

    def _winner(self, board: Board) -> Entry | None:
        """The first entry that its own session backs: completed, of the same player, game and score, in the period."""
        for number in self.order(board):
            entry = self.entries[number]
            completed_at = self.sessions[entry.session_id].completed_at if self.is_backed(entry) else None
            if completed_at is not None and self.board(board.game, board.period_type, completed_at) == board:
                return entry
        return None


def _period(board: Board) -> Period:
    return Period(type=PeriodType(board.period_type), date=board.period_date)


def between(before: Mapping[Any, Any], after: Mapping[Any, Any], found: Mapping[Any, Any]) -> bool:
    """Whether each row is as it was, or as it will be."""
    return all(
        found.get(key) in {before.get(key), after.get(key)} for key in before.keys() | after.keys() | found.keys()
    )
