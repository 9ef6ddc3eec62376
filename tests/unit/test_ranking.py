from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.ranking import RANKING_ORDER
from tests.plays import ranking_key


@dataclass(frozen=True)
class Entry:
    id: int
    score: int
    created_at: datetime
    player_address: str = "0x0"


NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
times = st.integers(0, 2).map(lambda minutes: NOON + timedelta(minutes=minutes))
boards = st.lists(
    st.builds(Entry, st.integers(1), st.integers(0, 3), times, st.text(max_size=3)), unique_by=lambda entry: entry.id
)


def test_the_highest_score_leads_then_the_earliest_then_the_lowest_id() -> None:
    earlier = NOON - timedelta(seconds=1)
    ranked = [Entry(9, 20, NOON), Entry(8, 10, earlier), Entry(2, 10, NOON), Entry(3, 10, NOON), Entry(1, 9, earlier)]
    ranked_backwards = ranked[::-1]
    assert sorted(ranked_backwards, key=ranking_key) == ranked


@given(boards, st.randoms(use_true_random=False))
def test_the_order_of_insertion_decides_nothing(board: list[Entry], random: Random) -> None:
    shuffled = random.sample(board, len(board))
    assert sorted(shuffled, key=ranking_key) == sorted(board, key=ranking_key)


@given(boards)
def test_no_two_entries_share_a_place(board: list[Entry]) -> None:
    assert len({ranking_key(entry) for entry in board}) == len(board)


@given(boards, st.text(max_size=3))
def test_a_players_address_decides_nothing(board: list[Entry], address: str) -> None:
    renamed = [Entry(entry.id, entry.score, entry.created_at, address) for entry in board]
    assert [e.id for e in sorted(renamed, key=ranking_key)] == [e.id for e in sorted(board, key=ranking_key)]


@given(boards)
def test_the_key_sorts_as_the_columns_do(board: list[Entry]) -> None:
    """The statements order by the columns, the rule by the key; stable sorts from the last column on agree."""
    ranked = board
    for name, descending in reversed(RANKING_ORDER):
        ranked = sorted(ranked, key=attrgetter(name), reverse=descending)
    assert ranked == sorted(board, key=ranking_key)
