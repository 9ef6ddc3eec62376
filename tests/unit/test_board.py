from datetime import date

import pytest

from shared.domain.board import Board
from shared.domain.periods import Period, PeriodType

BOARD = Board(game_type="pong", period=Period(type=PeriodType.WEEKLY, date=date(2026, 1, 5)))


def test_a_board_is_read_from_its_key_columns_and_written_to_them() -> None:
    assert Board.from_key("pong", "weekly", date(2026, 1, 5)) == BOARD
    assert BOARD.key == {"game_type": "pong", "period_type": "weekly", "period_date": date(2026, 1, 5)}
    assert Board.from_key(**BOARD.key) == BOARD


def test_a_board_in_json_has_its_date_as_text() -> None:
    assert BOARD.to_json() == {"game_type": "pong", "period_type": "weekly", "period_date": "2026-01-05"}


def test_a_period_type_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="'monthly' is not a valid PeriodType"):
        Board.from_key("pong", "monthly", date(2026, 1, 1))
