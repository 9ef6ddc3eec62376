from datetime import UTC, datetime, timedelta

import pytest

from shared.domain.run import STOP_BEFORE_LIMIT, Outcome, Run, RunStatus
from shared.domain.tick import Tick
from shared.metrics import Metric


@pytest.mark.parametrize(
    ("items_failed", "is_complete", "status"),
    [
        (0, True, RunStatus.SUCCEEDED),
        (1, True, RunStatus.PARTIAL),
        (0, False, RunStatus.INCOMPLETE),
        (1, False, RunStatus.INCOMPLETE),
    ],
)
def test_a_run_out_of_time_is_incomplete_regardless_of_what_failed(
    items_failed: int, is_complete: bool, status: RunStatus
) -> None:
    outcome = Outcome(result={}, items_processed=3, items_failed=items_failed, is_complete=is_complete)
    assert outcome.status is status


def test_outcomes_do_not_share_their_metrics() -> None:
    first = Outcome(result={}, items_processed=0, items_failed=0)
    first.metrics[Metric.POOLS_WITHOUT_WINNER] = 1
    assert Outcome(result={}, items_processed=0, items_failed=0).metrics == {}


@pytest.mark.parametrize(("short_of_limit", "must_stop"), [(-1, False), (0, False), (1, True)])
def test_a_run_stops_when_less_than_the_reserve_is_left(short_of_limit: int, must_stop: bool) -> None:
    tick = Tick.from_event({}, now=datetime(2026, 1, 5, tzinfo=UTC), request_id="r-1")
    left = STOP_BEFORE_LIMIT - timedelta(microseconds=short_of_limit)
    assert Run(id="cleanup:r-1", tick=tick, time_left=lambda: left).must_stop is must_stop


def test_time_left_is_read_anew_each_time() -> None:
    tick = Tick.from_event({}, now=datetime(2026, 1, 5, tzinfo=UTC), request_id="r-1")
    left = [timedelta(minutes=1)]
    run = Run(id="cleanup:r-1", tick=tick, time_left=lambda: left[0])
    assert not run.must_stop
    left[0] = timedelta(seconds=1)
    assert run.must_stop
