"""Two days of plays through the three handlers, in a process of its own: prints the result of every run.

python replaying.py DATABASE_URL ZONE
"""

import json
import sys
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from infra.demo.platform import Platform
from infra.demo.plays import load_plays
from infra.demo.replay import FIRST_SLOT, VirtualClock, list_slots, replay
from infra.demo.runs_table import MemoryRunsTable
from infra.demo.saved_runs import TABLE_NAME
from shared.app import build_app
from shared.db.connection import open_engine
from shared.domain.periods import Calendar
from tests.arcade import Arcade

LAST_SLOT = FIRST_SLOT + timedelta(days=2)


def main(url: str, zone: str) -> None:
    clock = VirtualClock(FIRST_SLOT)
    engine = open_engine(url)
    environment = {"DATABASE_URL": url, "RUNS_TABLE_NAME": TABLE_NAME, "JOB_SCHEDULER_TIMEZONE": zone}
    app = build_app(environment, dynamodb=MemoryRunsTable().client, clock=clock, sleep=clock.sleep)
    plays = [play for play in load_plays() if play.created_at < LAST_SLOT + timedelta(hours=1)]
    calendar = Calendar.of(ZoneInfo(zone))
    Arcade(engine, calendar=calendar).record_calendar()
    platform = Platform(engine=engine, calendar=calendar)
    for _ in replay(plays, platform=platform, app=app, clock=clock, slots=list_slots(LAST_SLOT)):
        pass
    runs = {run.run_id: app.runner.store.get(run.run_id) for run in app.runner.store.list_runs()}
    app.engine.dispose()
    engine.dispose()
    results = {run_id: [str(run.status), timeless(run.result)] for run_id, run in sorted(runs.items()) if run}
    sys.stderr.write(json.dumps(results))  # the log goes to standard output


def timeless(result: Any) -> Any:
    return {name: value for name, value in result.items() if name != "duration_ms"}


if __name__ == "__main__":
    main(*sys.argv[1:])
