"""S25: the zone of a deployment changes. The periods keep the zone that is recorded with the data."""

from datetime import UTC, datetime

import pytest

from infra.jobs import JOBS
from shared.runs.runner import RunNotSucceededError
from tests.arcade import Arcade
from tests.fakes import FakeClock, scheduled_event
from tests.jobs import StartApp, invoke


def test_s25_a_stage_that_is_deployed_with_another_zone_settles_nothing_and_names_both(
    arcade: Arcade, start_app: StartApp, clock: FakeClock
) -> None:
    """Midnight in Shanghai comes eight hours early: the players' day is not over."""
    pool_id = arcade.add_pool("2026-01-11")
    arcade.play("0xearly", 5, "2026-01-11T15:00:00Z")
    clock.now = datetime(2026, 1, 11, 16, 0, 30, tzinfo=UTC)
    app = start_app(JOB_SCHEDULER_TIMEZONE="Asia/Shanghai")
    for job in JOBS:
        with pytest.raises(RunNotSucceededError, match="failed"):
            invoke(app, job.name, scheduled_event("2026-01-11T16:00:00Z"))
    assert arcade.pool(pool_id).status == "active"
