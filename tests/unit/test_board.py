from datetime import date

import pytest

from shared.domain.board import Board
from shared.domain.periods import Period, PeriodType

BOARD = Board(game_type="pong", period_type="weekly", period_date=date(2026, 1, 5))


def test_a_board_is_read_from_its_key_columns_and_written_to_them() -> None:
    assert Board.from_key("pong", "weekly", date(2026, 1, 5)) == BOARD
    assert BOARD.key == {"game_type": "pong", "period_type": "weekly", "period_date": date(2026, 1, 5)}
    assert Board.from_key(**BOARD.key) == BOARD
    assert BOARD.period == Period(type=PeriodType.WEEKLY, date=date(2026, 1, 5))


def test_a_board_in_json_has_its_date_as_text() -> None:
    assert BOARD.to_json() == {"game_type": "pong", "period_type": "weekly", "period_date": "2026-01-05"}


@pytest.mark.parametrize(
    ("period_type", "period_date", "message"),
    [
        ("monthly", date(2026, 1, 1), "'monthly' is not a valid PeriodType"),
        ("daily", "-infinity", "no calendar has the date -infinity"),
        ("daily", "0044-03-15 BC", "no calendar has the date 0044-03-15 BC"),
    ],
)
def test_s22_a_board_of_a_period_that_does_not_exist_can_be_named_and_has_none(
    period_type: str, period_date: date | str, message: str
) -> None:
    board = Board.from_key("pong", period_type, period_date)
    assert board.to_json()["period_date"] == str(period_date)
    with pytest.raises(ValueError, match=message):
        _ = board.period
