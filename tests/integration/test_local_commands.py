"""`arcade-jobs local play`, `psql` and what `local up` refuses before it starts anything."""

import os
import socket
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url
from typer.testing import CliRunner

from infra.cli.app import app
from infra.cli.play import show_play
from infra.demo.live import arrive
from infra.demo.platform import Platform, list_pools
from infra.demo.plays import Play, load_plays
from infra.local import cloud, emulator, psql
from infra.local.cdk import check_context
from shared.database_url import parse_database_url
from shared.domain.errors import ArcadeJobsError, BadInputError, NotReachableError
from shared.domain.periods import Calendar
from tests.arcade import Arcade

SANTIAGO = Calendar.of(ZoneInfo("America/Santiago"))
NOW = datetime(2026, 11, 25, 3, 0, 20, tzinfo=UTC)  # 20 seconds after midnight in Santiago


def arrived(engine: Engine, *, day: date | None, games: int = 50) -> list[Play]:
    platform = Platform(engine=engine, calendar=SANTIAGO)
    return list(arrive(load_plays()[:games], platform=platform, day=day, clock=lambda: NOW))


def test_games_of_now_end_now_and_begin_in_the_pools_of_today(engine: Engine) -> None:
    """Yesterday's may be settled already."""
    plays = arrived(engine, day=None)
    assert {play.completed_at for play in plays} <= {NOW, None}
    assert {play.created_at for play in plays} <= {NOW, NOW - timedelta(seconds=20)} | {
        NOW - timedelta(milliseconds=play.game_duration_ms or 0) for play in plays
    }
    with engine.connect() as connection:
        pools = [pool.settlement for pool in list_pools(connection)]
    assert {str(pool.period.date) for pool in pools} == {"2026-11-25", "2026-11-23"}
    assert sum(pool.total_games for pool in pools) == 2 * 50


def test_games_of_a_day_lie_on_it_at_their_time_of_the_day(engine: Engine) -> None:
    day = date(2026, 9, 6)  # of 23 hours, from 4 o'clock UTC
    plays = arrived(engine, day=day, games=300)
    begins, ends = datetime(2026, 9, 6, 4, tzinfo=UTC), datetime(2026, 9, 7, 3, tzinfo=UTC)
    assert all(begins <= play.created_at <= (play.completed_at or play.created_at) < ends for play in plays)
    assert len({play.session_id for play in plays}) == 300
    assert len({play.created_at.hour for play in plays}) == 23


@pytest.mark.parametrize("day", [date(2026, 11, 26), date.max, date(1970, 1, 1), date.min])
def test_a_day_that_has_not_begun_or_cannot_be_stored_is_refused(engine: Engine, day: date) -> None:
    with pytest.raises(BadInputError, match=f"^--day: {day} is not a day after 1970-01-01 that has begun; today is 20"):
        arrived(engine, day=day)


def test_what_arrived_is_counted_and_a_settled_day_is_refused_in_one_line(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    day = date(2026, 3, 3)
    show_play(engine.url, games=40, interval=0, day=day)
    assert capsys.readouterr().out == ("40 games arrived (breakout 15, pong 2, snake 12, space_invaders 7, tetris 4)\n")
    Arcade(engine).execute(
        "UPDATE prize_pools SET status = 'finalized', finalized_at = now() WHERE period_type = 'daily'"
    )
    with pytest.raises(ArcadeJobsError, match=r"^after 0 games: prize pool .* is finalized: .*AJ001") as refused:
        show_play(engine.url, games=40, interval=0, day=day)
    assert "\n" not in str(refused.value)


def test_ctrl_c_ends_the_games_in_order(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("infra.cli.play.time.sleep", interrupt)
    show_play(engine.url, games=None, interval=1, day=None)
    assert capsys.readouterr().out == "1 game arrived (breakout 1)\n"
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM game_sessions WHERE status = 'completed'")) == 1


def test_a_database_that_does_not_answer_is_one_line() -> None:
    nowhere = parse_database_url("postgresql://me@127.0.0.1:1/arcade")
    line = r"^cannot connect to 127\.0\.0\.1 port 1: .*; start it: arcade-jobs local up$"
    with pytest.raises(NotReachableError, match=line):
        show_play(nowhere, games=1, interval=0, day=None)
    with pytest.raises(NotReachableError, match=line):
        psql.run(nowhere, [])


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "postgresql+pg8000://postgres@/arcade?unix_sock=/tmp/a%20b/.s.PGSQL.5432",
            "postgresql://postgres@/arcade?host=%2Ftmp%2Fa+b&port=5432",
        ),
        ("postgresql://me:secret@db:5433/arcade", "postgresql://me@db:5433/arcade"),
        ("postgresql://me@db/arcade?schema=own", "postgresql://me@db:5432/arcade?options=-csearch_path%3Down"),
    ],
)
def test_psql_gets_a_url_of_its_kind_without_a_password(url: str, expected: str) -> None:
    assert psql.libpq_url(parse_database_url(url)) == expected


def test_psql_answers_from_the_database(engine: Engine, capfd: pytest.CaptureFixture[str]) -> None:
    child = os.fork()
    if child == 0:  # it becomes psql
        psql.run(engine.url, ["-At", "-c", "SELECT 6 * 7"])
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert capfd.readouterr().out == "42\n"


def test_a_missing_psql_is_one_line_with_what_to_install_and_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psql, "find", lambda: None)
    with pytest.raises(NotReachableError) as refused:
        psql.run(make_url("postgresql://me:secret@db:5432/arcade"), [])
    assert str(refused.value) == (
        "psql is not installed: apt-get install postgresql-client, or brew install libpq;"
        " it takes 'postgresql://me@db:5432/arcade'"
    )


@pytest.fixture
def no_cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which nothing runs, in the place of this machine's."""
    endpoint, check = cloud.endpoint, cloud.check
    monkeypatch.setattr(cloud, "endpoint", lambda: endpoint(folder=tmp_path))
    monkeypatch.setattr(cloud, "check", lambda **choices: check(folder=tmp_path, **choices))
    monkeypatch.setattr(cloud, "emulator_python", lambda: Path(sys.executable))
    yield tmp_path
    assert list(tmp_path.iterdir()) == []  # nothing was started, nothing was left


@pytest.mark.usefixtures("no_cloud")
@pytest.mark.parametrize(
    "command", [["psql"], ["play"], ["play", "--day", "2026-03-03"], ["psql", "--", "-c", "SELECT 1"]]
)
def test_without_the_laptop_cloud_a_command_says_how_to_start_it(command: list[str]) -> None:
    refused = CliRunner().invoke(app, ["local", *command])
    assert isinstance(refused.exception, NotReachableError)  # exits with 3
    assert str(refused.exception) == "the laptop cloud does not run; start it: arcade-jobs local up"


@pytest.mark.usefixtures("no_cloud")
def test_a_port_that_is_taken_is_refused_before_anything_starts() -> None:
    with socket.create_server((emulator.HOST, 0)) as taken:
        refused = CliRunner().invoke(app, ["local", "up", "--port", str(taken.getsockname()[1])])
    assert isinstance(refused.exception, BadInputError)  # exits with 2
    assert "is in use by" in str(refused.exception)


@pytest.mark.usefixtures("no_cloud")
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["up", "-c", "timezone"], "--context: 'timezone' is not NAME=VALUE"),
        (["up", "-c", "target=aws"], "--context: 'target' is not chosen here: --stage is, the target is local"),
        (["up", "-c", "stage=prod"], "--context: 'stage' is not chosen here: --stage is, the target is local"),
        (["up", "-c", "=x"], "--context: '=x' is not NAME=VALUE"),
        (
            ["up", "--stage", ""],
            "--stage: expected a small letter, then up to 15 small letters, digits and dashes, got ''",
        ),
        (["play", "--day", ""], "--day: '' is not a date such as 2026-01-12"),
        (["play", "--day", "soon"], "--day: 'soon' is not a date such as 2026-01-12"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(arguments: list[str], line: str) -> None:
    refused = CliRunner().invoke(app, ["local", *arguments])
    assert isinstance(refused.exception, BadInputError)
    assert str(refused.exception) == line


@pytest.mark.parametrize(
    "arguments",
    [["play", "--games", "0"], ["play", "--games", "ten"], ["play", "--interval", "-1"], ["play", "--interval", "nan"]],
)
def test_a_number_out_of_bounds_is_wrong_usage(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, ["local", *arguments]).exit_code == 2


def test_every_mistake_in_the_choices_is_named_at_once() -> None:
    context = {"databaseUrl": cloud.ANY_URL, "stage": "demo", "timezone": "Mars/Base", "memry": "1"}
    with pytest.raises(BadInputError) as refused:
        check_context(context | {"schedule.cleanup": "now"})
    lines = str(refused.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["timezone", "stage", "schedule.cleanup", "memry"]


def test_the_zone_of_the_choices_is_that_of_the_periods() -> None:
    context = {"databaseUrl": cloud.ANY_URL, "stage": "dev", "timezone": "Europe/Rome"}
    assert check_context(context) == ZoneInfo("Europe/Rome")
