from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.retention import expiry_cutoff, is_purge

AT = datetime(2026, 1, 5, 3, tzinfo=UTC)


@pytest.mark.parametrize(("age_minutes", "is_removed"), [(29, False), (30, False), (31, True)])
def test_what_is_older_than_the_expiry_time_goes_and_what_is_just_as_old_stays(
    age_minutes: int, is_removed: bool
) -> None:
    created_at = AT - timedelta(minutes=age_minutes)
    assert (created_at < expiry_cutoff(AT, timedelta(minutes=30))) is is_removed


@given(st.timedeltas(timedelta(0), timedelta(days=3650)))
def test_the_cutoff_is_never_ahead_of_the_run(session_expiry: timedelta) -> None:
    assert expiry_cutoff(AT, session_expiry) == AT - session_expiry <= AT


@pytest.mark.parametrize(
    ("orphans", "entries", "limit_percent", "expected"),
    [
        (100, 100, 10, False),  # a hundred are never too many
        (101, 101, 10, True),
        (101, 1_010, 10, False),  # a tenth is not more than a tenth
        (101, 1_009, 10, True),
        (101, 10**9, 0, True),
        (10**9, 10**9, 100, False),
    ],
)
def test_more_than_the_limit_and_more_than_a_hundred_are_a_purge(
    orphans: int, entries: int, limit_percent: int, *, expected: bool
) -> None:
    assert is_purge(orphans, entries=entries, limit_percent=limit_percent) is expected
