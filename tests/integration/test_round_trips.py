"""How often a warm run waits for PostgreSQL when it finds nothing to do, which is what most runs find."""

import pytest
from sqlalchemy import Engine

from tests.arcade import Arcade
from tests.fakes.database_proxy import proxy_to
from tests.jobs import StartApp, invoke

# BEGIN, each statement, COMMIT, the check of a connection: one each. Raise it with the reason in the commit.
MOST = {"prize-pool": 15, "leaderboard": 8, "cleanup": 17}


@pytest.mark.parametrize("job", MOST)
def test_a_warm_run_with_nothing_to_do_takes_no_more_round_trips_than_it_did(
    engine: Engine, arcade: Arcade, start_app: StartApp, job: str
) -> None:
    arcade.play("0xa", 5, "2026-01-11T10:00:00Z")
    with proxy_to(engine.url) as proxy:
        app = start_app(DATABASE_URL=proxy.url(str(engine.url.database)))
        for _ in range(2):  # the first does what there is to do, and statements are prepared once
            before = proxy.round_trips
            invoke(app, job, {})
        assert proxy.round_trips - before <= MOST[job]
        app.engine.dispose()
