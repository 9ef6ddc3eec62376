"""Days that never were, through the three jobs: other dates, zones and loads, and what is refused."""

import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from rich.console import Console
from typer.testing import CliRunner

from infra.cli.app import app
from infra.cli.demo import print_report
from infra.demo.demo import Report
from infra.demo.platform import Pool
from infra.demo.plays import Settlement
from infra.demo.saved_runs import SAVED_RUNS, open_saved_runs
from infra.demo.simulation import simulate
from infra.local import postgres
from shared.domain.errors import BadInputError
from shared.domain.periods import Period, PeriodType

ROME = ZoneInfo("Europe/Rome")
# A Sunday of 23 hours: its pools and those of the week are settled at its end.
SIMULATION = """
import sys
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo
from infra.cli.demo import show_replay
from infra.demo.simulation import simulate
scenario = simulate(begins=date(2026, 3, 29), days=1, zone=ZoneInfo("Europe/Rome"), load=0.5, seed=7)
sys.exit(show_replay(scenario, "simulation", as_json=True, folder=Path(sys.argv[1])))
"""


def test_a_simulation_settles_every_pool_as_python_counts_it(tmp_path: Path, server: postgres.Server) -> None:
    environment = {**os.environ, "DATABASE_URL": server.admin_url.render_as_string(hide_password=False)}
    program = [sys.executable, "-c", SIMULATION, str(tmp_path)]
    done = subprocess.run(program, check=False, capture_output=True, env=environment)
    server.drop_database("arcade_simulation")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["differences"] == []
    settled = {(pool["period_type"], pool["period_date"]) for pool in report["pools"] if pool["status"] == "finalized"}
    assert settled == {("daily", "2026-03-29"), ("weekly", "2026-03-23")}
    runs = open_saved_runs(tmp_path / "simulation" / SAVED_RUNS).list_runs("prize-pool")
    assert [run.run_id for run in runs] == ["prize-pool:2026-03-29T22:00Z", "prize-pool:2026-03-28T23:00Z"]


def test_a_seed_draws_the_same_plays_and_a_load_as_many_as_it_says() -> None:
    first, second, other = (
        simulate(begins=date(2026, 1, 5), days=3, zone=ROME, load=2.0, seed=seed) for seed in (1, 1, 2)
    )
    assert first == second != other
    assert len(first.plays) == len({play.session_id for play in first.plays}) == round(3 * 2 * 6000 / 21)
    assert first.slots[0] == datetime(2026, 1, 4, 23, tzinfo=UTC)
    assert all(first.slots[0] <= play.created_at for play in first.plays)
    assert len(first.slots) == len(set(first.slots)) == 3 * 24 + 5


def test_a_simulation_ends_after_the_next_midnight_where_clocks_skip_one() -> None:
    scenario = simulate(begins=date(2026, 9, 5), days=1, zone=ZoneInfo("America/Santiago"), load=0.1, seed=1)
    assert scenario.slots[-1] == datetime(2026, 9, 7, 7, tzinfo=UTC)  # the 7th begins at 3 o'clock UTC


def test_no_winner_score_or_amount_is_cut_at_80_columns() -> None:
    settlement = Settlement(
        game_type="space_invaders",
        period=Period(type=PeriodType.WEEKLY, date=date(2026, 3, 30)),
        total_amount_usdc=Decimal("12345.678"),
        total_games=1_234,
        winner_address="0xc95b81f6b25d2ebb1417f91b3f0970c3da10344f",
        winner_score=123_456_789_012,
        entries=1_000,
    )
    nobody_scored = replace(settlement, winner_score=0)
    pools = [Pool(settlement=each, status="finalized", equal_scores=12) for each in (settlement, nobody_scored)]
    report = Report(seconds=1, pools=pools, leaders=[], runs=[], differences=[])
    printed_to = io.StringIO()
    print_report(report, Console(width=80, file=printed_to), left_in=Path("simulation"))
    printed = printed_to.getvalue()
    assert "0xc95b…344f  123456789012  time (12)    1234  12345.678" in printed
    assert "Won with 0 points: 1; nobody scored more, and of equal scores the earliest wins." in printed


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--days", "0"], "--days: 0 is not between 1 and 366"),
        (["--days", "-1"], "--days: -1 is not between 1 and 366"),
        (["--days", "367"], "--days: 367 is not between 1 and 366"),
        (["--load", "0"], "--load: 0 is not above 0"),
        (["--load", "nan"], "--load: nan is not above 0"),
        (["--load", "inf"], "--load: inf is not above 0"),
        (["--load", "1000"], "--load: 1000 for 30 days makes more than 250,000 plays"),
        (["--zone", "Europe/Roma"], "--zone: 'Europe/Roma' is not an IANA time zone such as UTC or Europe/London"),
        (["--from", "soon"], "--from: 'soon' is not a date such as 2026-01-05"),
        (["--from", "1969-12-31"], "--from: 1969-12-31 is not between 2000-01-01 and 2099-12-31"),
    ],
)
def test_what_cannot_be_simulated_is_refused_in_one_line(arguments: list[str], line: str) -> None:
    refused = CliRunner().invoke(app, ["simulate", *arguments])
    assert isinstance(refused.exception, BadInputError)  # exits with 2
    assert str(refused.exception) == line
