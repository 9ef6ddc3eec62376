"""S06: any number of equal scores, inserted in any order."""

import json
import random
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text

from infra.schema.tables import leaderboard_entries
from tests.arcade import Arcade
from tests.fakes import FakeClock, scheduled_event
from tests.scenarios.conftest import Container

BOARDS = 60
MOST_ENTRIES = 60
INSERT_SESSIONS = """
    INSERT INTO game_sessions (
        id, game_type, player_address, amount_paid_usdc, score, status, created_at, completed_at)
    SELECT session_id, game_type, player_address, 0, score, 'completed', at, at
    FROM json_to_recordset(CAST(:entries AS json)) AS entry (
        session_id uuid, game_type text, player_address text, score bigint, at timestamptz)
"""
INSERT_ENTRIES = """
    INSERT INTO leaderboard_entries (
        session_id, game_type, player_address, score, period_type, period_date, created_at)
    SELECT session_id, game_type, player_address, score, 'daily', '2026-01-11', at
    FROM json_to_recordset(CAST(:entries AS json)) AS entry (
        session_id uuid, game_type text, player_address text, score bigint, at timestamptz)
"""
INSERT_POOLS = """
    INSERT INTO prize_pools (game_type, period_type, period_date)
    SELECT DISTINCT game_type, period_type, period_date FROM leaderboard_entries
"""


@pytest.fixture(params=range(2), ids=["with the index", "without the index"])
def boards(arcade: Arcade, clock: FakeClock, request: pytest.FixtureRequest) -> dict[str, str]:
    """The winner of each game by Python's own reckoning; the rows are in random order, and so is everything else."""
    dice = random.Random(request.param)
    noon = clock.now.replace(day=11, hour=12)
    entries: list[dict[str, Any]] = []
    for board in range(BOARDS):
        best = dice.randrange(1, 4)
        entries += [
            {
                "session_id": str(UUID(int=dice.getrandbits(128))),
                "game_type": f"g{board}",
                "player_address": f"0x{dice.getrandbits(160):040x}",
                "score": dice.choice([best, best, best - 1]),
                "at": (noon + timedelta(seconds=dice.randrange(3))).isoformat(),
            }
            for _ in range(dice.randint(2, MOST_ENTRIES))
        ]
    dice.shuffle(entries)
    with arcade.engine.begin() as connection:
        for statement in (INSERT_SESSIONS, INSERT_ENTRIES, INSERT_POOLS):
            parameters = {"entries": json.dumps(entries)} if ":entries" in statement else {}
            connection.execute(text(statement), parameters)
        # Rows that were written again lie elsewhere than their ids say.
        connection.execute(text("UPDATE leaderboard_entries SET session_id = session_id WHERE id % 3 = 0"))
        if request.param:
            connection.execute(text("DROP INDEX leaderboard_entries_ranking_idx"))
        rows = connection.execute(select(leaderboard_entries)).all()
    return {
        f"g{board}": min(
            (row for row in rows if row.game_type == f"g{board}"), key=lambda row: (-row.score, row.created_at, row.id)
        ).player_address
        for board in range(BOARDS)
    }


def test_s06_the_earliest_then_the_lowest_id_wins_and_ranks_first(
    arcade: Arcade, container: Container, boards: dict[str, str]
) -> None:
    container.invoke("leaderboard", {"time": "2026-01-12T00:00:00Z"})
    result = container.invoke("prize-pool", scheduled_event("2026-01-12T00:00:00Z"))["result"]
    assert {pool["game_type"]: pool["winner_address"] for pool in result["finalized_pools"]} == boards
    with arcade.engine.connect() as connection:
        first = connection.execute(text("SELECT game_type, player_address FROM leaderboard_entries WHERE rank = 1"))
        assert {row.game_type: row.player_address for row in first} == boards
        ties = "SELECT count(*) FROM leaderboard_entries GROUP BY game_type, rank HAVING count(*) > 1"
        assert connection.execute(text(ties)).all() == []
