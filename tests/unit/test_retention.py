from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.retention import expiry_cutoff

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
