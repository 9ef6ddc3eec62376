"""S11: the machine's zone and locale, or the database's settings, differ. The results do not."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from infra.local import postgres
from infra.stack.context import read_settings
from shared.config import Config, ConfigError
from shared.db.connection import open_engine
from shared.domain.errors import ArcadeJobsError
from shared.services.prize_pool import PrizePoolSettler
from shared.services.transactions import Transactions
from tests.arcade import Arcade
from tests.fakes import FakeClock, make_run
from tests.infra.template import EXISTING
from tests.locks import await_lock
from tests.sql import open_database

ROOT = Path(__file__).parents[2]
ZONE = "America/St_Johns"  # three and a half hours behind UTC: neither days nor hours fall together
HERE = {"TZ": "UTC", "LC_ALL": "C.UTF-8"}
# A zone a day ahead; a locale with other letters, digits and months; the text of a Turkish i.
ELSEWHERE = {"TZ": "Pacific/Kiritimati", "LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", "LANGUAGE": "tr"}
STRANGE = {
    "timezone": "Asia/Kathmandu",
    "datestyle": "SQL, DMY",
    "intervalstyle": "sql_standard",
    "default_transaction_isolation": "serializable",
    "lock_timeout": "1",
    "statement_timeout": "2",
}
TABLES = {
    "game_sessions": "id",
    "leaderboard_entries": "game_type, period_type, period_date, player_address",
    "prize_pools": "game_type, period_type, period_date",
    "leaderboards": "game_type, period_type, period_date",
}
LEFT_OUT = {"id", "created_at", "finalized_at", "ranked_at", "generation"}  # of pools and boards: when, and how often


@dataclass(frozen=True)
class Replayed:
    """What two days came to: each run's result, and every row of every table."""

    results: dict[str, Any]
    rows: dict[str, list[dict[str, Any]]]


def settings_of(server: postgres.Server, name: str, settings: dict[str, str]) -> None:
    """Set what every session of a database begins with."""
    admin = open_database(server.admin_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        for setting, value in settings.items():
            connection.execute(text(f"ALTER DATABASE \"{name}\" SET {setting} = '{value}'"))
    admin.dispose()


def replay(server: postgres.Server, template: str, *, machine: dict[str, str], database: dict[str, str]) -> Replayed:
    name = f"s11_{uuid4().hex[:12]}"
    url = server.create_database(name, template=template)
    settings_of(server, name, database)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tests.scenarios.replaying", url.render_as_string(hide_password=False), ZONE],
            cwd=ROOT,
            env={"PATH": os.defpath, "HOME": os.environ.get("HOME", "/"), **machine},
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return Replayed(json.loads(done.stderr), dump(url))
    finally:
        server.drop_database(name)


def dump(url: Any) -> dict[str, list[dict[str, Any]]]:
    """Every row, as JSON that a session of the tests' own writes."""
    engine = open_engine(url.render_as_string(hide_password=False))
    found = {}
    with engine.connect() as connection:
        for table, order in TABLES.items():
            query = text(f"SELECT to_jsonb(t) FROM {table} t ORDER BY {order}")
            rows = [dict(row) for row in connection.scalars(query)]
            left_out = LEFT_OUT if table in {"prize_pools", "leaderboards"} else {"id"} if "entries" in table else set()
            found[table] = [{name: value for name, value in row.items() if name not in left_out} for row in rows]
    engine.dispose()
    return found


@pytest.fixture(scope="module")
def here(server: postgres.Server, template: str) -> Replayed:
    return replay(server, template, machine=HERE, database={})


@pytest.mark.xdist_group("s11")
def test_s11_two_days_settle_rank_and_clean_something(here: Replayed) -> None:
    settled = [pool for _, result in here.results.values() for pool in result.get("finalized_pools", [])]
    assert len(settled) >= 5
    assert {status for status, _ in here.results.values()} == {"succeeded"}
    assert sum(row["rank"] is not None for row in here.rows["leaderboard_entries"]) > 200
    assert sum(result.get("expired_sessions_deleted", 0) for _, result in here.results.values()) > 5


@pytest.mark.xdist_group("s11")
def test_s11_results_and_rows_are_identical_elsewhere(server: postgres.Server, template: str, here: Replayed) -> None:
    there = replay(server, template, machine=ELSEWHERE, database=STRANGE)
    assert there.results == here.results
    assert there.rows == here.rows


def test_s11_a_session_sets_what_it_depends_on_in_a_database_of_any_settings(
    server: postgres.Server, arcade: Arcade
) -> None:
    settings_of(server, str(arcade.engine.url.database), STRANGE)
    engine = open_engine(arcade.engine.url.render_as_string(hide_password=False))
    with engine.connect() as connection:
        found = {name: connection.scalar(text(f"SHOW {name}")) for name in STRANGE if name != "intervalstyle"}
    engine.dispose()
    assert found == {
        "timezone": "UTC",
        "datestyle": "ISO, MDY",
        "default_transaction_isolation": "read committed",
        "lock_timeout": "5s",
        "statement_timeout": "1min",
    }


def test_s11_a_late_score_counts_although_the_database_prefers_serializable(
    server: postgres.Server, arcade: Arcade, clock: FakeClock
) -> None:
    """Under its isolation the settler would decide on a snapshot from before it had the lock (see S08)."""
    settings_of(server, str(arcade.engine.url.database), {"default_transaction_isolation": "repeatable read"})
    jobs = open_engine(arcade.engine.url.render_as_string(hide_password=False))
    pool_id = arcade.add_pool("2026-01-11")
    arcade.play("0xearly", 5, "2026-01-11T10:00:00Z")
    late = arcade.add_session("2026-01-11T23:50:00Z", player="0xlate", score=9, completed_at="2026-01-11T23:59:59Z")
    settle = PrizePoolSettler(
        transactions=Transactions(engine=jobs, sleep=clock.sleep),
        zone=ZoneInfo("UTC"),
        grace=timedelta(0),
        game_types=["pong"],
        clock=clock,
        sleep=clock.sleep,
    )
    with arcade.engine.connect() as writer:
        arcade.within(writer).add_entry(late, 9, "2026-01-11T23:59:59Z", player="0xlate")
        settling = threading.Thread(target=settle, args=[make_run("2026-01-12T00:00:00Z")])
        settling.start()
        await_lock(arcade.engine)
        writer.commit()
        settling.join()
    jobs.dispose()
    assert arcade.pool(pool_id).winner_address == "0xlate"


@pytest.mark.parametrize("name", ["Mars/Olympus", "utc+1", "localtime", "", "Europe/London\n"])
def test_s11_an_unknown_zone_is_refused_when_configuration_is_read(name: str) -> None:
    env = {"DATABASE_URL": "postgresql://u@h/d", "RUNS_TABLE_NAME": "runs", "JOB_SCHEDULER_TIMEZONE": name}
    if not name:  # an empty variable is an unset one
        assert Config.from_env(env).zone.key == "UTC"
        return
    with pytest.raises(ConfigError, match=r"^JOB_SCHEDULER_TIMEZONE: .* is not an IANA time zone") as refused:
        Config.from_env(env)
    assert "\n" not in str(refused.value)


def test_s11_an_unknown_zone_is_refused_at_synth_too() -> None:
    with pytest.raises(ArcadeJobsError, match="'Mars/Olympus' is not an IANA time zone"):
        read_settings(EXISTING | {"timezone": "Mars/Olympus"}, {})
