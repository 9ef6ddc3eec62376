from datetime import UTC, datetime, timedelta

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from infra.jobs import JOBS
from infra.stack.cron import fires_at

START = datetime(2026, 1, 4, 23, 59, tzinfo=UTC)  # a Sunday
EXPRESSIONS = [
    *(job.cron for job in JOBS),
    *("*/7 * * * *", "5,35 8-18/2 * * *", "0 0 29 2 *", "0 12 1,15 * *", "30 6 * * 1-5", "0 0 * * 0", "0 0 * * 7"),
    *("0 9 * JAN,jun SUN", "0 0 31 * *"),
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
@given(minutes=st.integers(0, 4 * 366 * 24 * 60))
def test_it_fires_when_cron_does(expression: str, minutes: int) -> None:
    at = START + timedelta(minutes=minutes)
    following = next(CronSim(expression, at - timedelta(minutes=1)))
    assert fires_at(expression, following)
    assert fires_at(expression, at) == (following == at)
