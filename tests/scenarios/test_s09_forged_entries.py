"""S09: entries without a completed session of the same player, game and score, written before they were checked."""

import json
import random
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from shared.app import App
from tests.arcade import Arcade
from tests.fakes import scheduled_event
from tests.jobs import invoke

POOLS = 12
MOST_FORGED = 5
FORGERIES = ["gone", "player", "game", "score above", "score below", "day before", "day after", "expired", "active"]


def add_forged(arcade: Arcade, kind: str, *, player: str, game: str, score: int) -> None:
    """An entry whose session is right in everything but one thing."""
    session: dict[str, Any] = {"player": player, "game": game, "score": score, "completed_at": "2026-01-11T10:00:00Z"}
    wrong: dict[str, dict[str, Any]] = {
        "player": {"player": "0xsomebody"},
        "game": {"game": "pinball"},
        "score above": {"score": score + 1},
        "score below": {"score": score - 1},
        "day before": {"completed_at": "2026-01-10T23:59:59.999999Z"},
        "day after": {"completed_at": "2026-01-12T00:00:00Z"},
        "expired": {"status": "expired"},
        "active": {"status": "active"},
    }
    session_id = uuid4() if kind == "gone" else arcade.add_session("2026-01-10T23:00:00Z", **(session | wrong[kind]))
    arcade.add_unchecked_entry(session_id, score, "2026-01-11T10:00:00Z", player=player, game=game)


@pytest.mark.parametrize("kind", FORGERIES)
def test_s09_each_kind_is_passed_over_and_the_next_valid_entry_wins(
    arcade: Arcade, app: App, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    pool_id = arcade.add_pool("2026-01-11")
    arcade.play("0xhonest", 5, "2026-01-11T10:00:00Z")
    add_forged(arcade, kind, player="0xforger", game="pong", score=9)
    result = invoke(app, "prize-pool", scheduled_event("2026-01-12T00:00:00Z"))["result"]
    assert (arcade.pool(pool_id).winner_address, arcade.pool(pool_id).entries_passed_over) == ("0xhonest", 1)
    assert [warning["warning"] for warning in result["warnings"]] == [
        "entries passed over, not backed by a completed session: 1"
    ]
    [line] = [line for line in map(json.loads, capsys.readouterr().out.splitlines()) if "entries" in line]
    assert [(entry["player_address"], entry["score"]) for entry in line["entries"]] == [("0xforger", 9)]


def test_s09_any_number_of_them_in_any_mixture(arcade: Arcade, app: App) -> None:
    dice = random.Random(9)
    expected: dict[str, tuple[str | None, int]] = {}
    for n in range(POOLS):
        game = f"g{n}"
        arcade.add_pool("2026-01-11", game=game)
        kinds = dice.choices(FORGERIES, k=dice.randint(1, MOST_FORGED))
        for place, kind in enumerate(kinds):
            add_forged(arcade, kind, player=f"0xforger{place}", game=game, score=100 - place)
        has_winner = dice.random() < 0.8
        if has_winner:
            arcade.play("0xhonest", 50, "2026-01-11T10:00:00Z", game=game)
            arcade.play("0xsecond", 40, "2026-01-11T10:00:00Z", game=game)
        expected[game] = ("0xhonest" if has_winner else None, len(kinds))
    invoke(app, "prize-pool", scheduled_event("2026-01-12T00:00:00Z"))
    with arcade.engine.connect() as connection:
        rows = connection.execute(text("SELECT game_type, winner_address, entries_passed_over FROM prize_pools"))
        assert {game: (winner, passed_over) for game, winner, passed_over in rows} == expected
