"""The report's page, from facts to HTML."""

import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner

from infra.cli import options
from infra.cli import report as command
from infra.cli.app import app
from infra.demo.saved_runs import SAVED_RUNS
from infra.deployed.dead_letters import DeadLetter
from infra.deployed.pools import SettledDay
from infra.report import charts
from infra.report.calendar import calendar_of
from infra.report.facts import JobFacts, Report, Unread
from infra.report.formats import age, seconds, usdc, usdc_column
from infra.report.page import render
from shared.domain.errors import BadInputError
from shared.domain.run import RunStatus
from shared.operations.statistics import JobStatistics
from shared.operations.status import Status
from tests import reported
from tests.reported import BEGINS, HOSTILE, NOW, run

LONDON = ZoneInfo("Europe/London")


class Parsed(HTMLParser):
    """The elements of a page, and what a reader sees of it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def facts(job: str = "leaderboard", *runs: Any, zone: str = "UTC", missed: tuple[datetime, ...] = ()) -> JobFacts:
    statistics = JobStatistics(
        job=job,
        runs=len(runs),
        dry_runs=0,
        by_status=Counter(run.status for run in runs),
        success_rate=0.5,
        p50_ms=1,
        p95_ms=2,
        p99_ms=3,
        longest_ms=4,
        last_success_at=None,
        missed=missed,
    )
    return JobFacts(
        job=job, zone=ZoneInfo(zone), timeout=timedelta(minutes=15), statistics=statistics if runs else None, runs=runs
    )


def report(**changes: Any) -> Report:
    stage = Report(
        stage="dev",
        options=" --stage dev",
        where="account 123456789012, eu-west-1, stack arcade-jobs-dev",
        made_at=NOW,
        since=BEGINS,
        jobs=[facts()],
        status=Status(jobs=[], alarms=[], dashboard="d"),
        troubled=[],
        untold=0,
        dead_letters=[],
        pools=Unread("set DATABASE_URL"),
    )
    return replace(stage, **changes)


def test_a_cell_is_the_worst_of_its_hour_in_the_zone_of_the_schedule() -> None:
    summer = datetime(2026, 6, 30, 23, 0, tzinfo=UTC)  # midnight of the first of July in London
    good, bad = run("leaderboard", summer), run("leaderboard", summer + timedelta(minutes=30), RunStatus.FAILED)
    calendar = calendar_of(
        facts("leaderboard", bad, good, zone="Europe/London"), since=summer, now=summer + timedelta(days=2)
    )
    assert [(key, cell.status) for key, cell in calendar.cells.items()] == [((date(2026, 7, 1), 0), RunStatus.FAILED)]
    assert calendar.days == [date(2026, 7, 1), date(2026, 7, 2), date(2026, 7, 3)]


def test_a_slot_without_a_run_is_a_cell_and_a_run_without_a_slot_is_none() -> None:
    slot = datetime(2026, 1, 20, 3, 0, tzinfo=UTC)
    by_hand = run("cleanup", slot + timedelta(hours=5), run_id="cleanup:5f0c", trigger="manual")
    job = facts("cleanup", by_hand, run("cleanup", slot), missed=(slot + timedelta(days=1),))
    calendar = calendar_of(job, since=BEGINS, now=NOW)
    assert [cell.status for cell in calendar.cells.values()] == ["missed", RunStatus.SUCCEEDED]
    assert calendar.hours == [3]


def test_a_calendar_has_five_weeks_at_most() -> None:
    ends = [run("cleanup", NOW - timedelta(days=number)) for number in range(60)]
    calendar = calendar_of(facts("cleanup", *ends), since=NOW - timedelta(days=60), now=NOW)
    assert len(calendar.days) == 35 == len(calendar.cells)


def test_durations_are_the_median_and_the_longest_of_each_day() -> None:
    day = datetime(2026, 1, 20, tzinfo=UTC)
    runs = [
        run("leaderboard", day + timedelta(hours=number), seconds=second) for number, second in enumerate((1, 9, 2))
    ]
    assert charts.durations(facts("leaderboard", *runs, run("leaderboard", day, RunStatus.ABANDONED))) == [
        ("2026-01-20", 3, 2.0, 9.0)
    ]


def test_no_digit_of_an_amount_is_lost() -> None:
    assert usdc(Decimal("123456789012.123456")) == "123,456,789,012.123456"
    assert usdc(Decimal("0.98")) == "0.98"
    assert usdc(Decimal(2)) == "2.00"
    assert usdc_column([Decimal(2), Decimal("0.000001")]) == ["2.000000", "0.000001"]


@pytest.mark.parametrize(
    ("duration", "text"), [(0.0014, "1 ms"), (0.5, "500 ms"), (1, "1.0 s"), (119.9, "119.9 s"), (900, "15.0 min")]
)
def test_durations_are_said_in_their_unit(duration: float, text: str) -> None:
    assert seconds(duration) == text


def test_an_age_is_in_hours_and_then_in_days() -> None:
    assert (age(timedelta(hours=1)), age(timedelta(hours=47)), age(timedelta(days=2))) == (
        "1 hour",
        "47 hours",
        "2 days",
    )


@pytest.fixture(scope="module")
def whole() -> Parsed:
    """A page with everything, hostile names wherever a name can be."""
    letter = DeadLetter(
        id="1",
        job="cleanup",
        event=None,
        body=HOSTILE,
        reason=HOSTILE,
        malformed=None,
        attempts=3,
        stack=(),
        run_id=None,
        received=1,
        sent_at=NOW,
    )
    last = run("leaderboard", NOW, RunStatus.FAILED)
    hostile = run("prize-pool", NOW, RunStatus.FAILED, run_id=f'prize-pool:"><img src=x>{HOSTILE}')
    return Parsed(
        render(
            report(
                stage=HOSTILE,
                where=HOSTILE,
                jobs=[facts("leaderboard", last, missed=(NOW,))],
                troubled=[last, hostile],
                dead_letters=[letter],
                pools=reported.pools(),
            )
        )
    )


def test_names_of_the_database_are_text_and_nothing_else(whole: Parsed) -> None:
    assert not {"script", "img", "iframe", "object"} & {name for name, _ in whole.elements}
    assert not any(name.startswith("on") for _, attributes in whole.elements for name in attributes)
    assert sum(HOSTILE in text for text in whole.text) >= 8
    assert [name for name, _ in whole.elements].count("title") == 1


def test_the_page_needs_nothing_but_itself(whole: Parsed) -> None:
    for _, attributes in whole.elements:
        links = [value or "" for name, value in attributes.items() if name in {"href", "src", "xlink:href", "action"}]
        assert all(link.startswith(("#", "data:,")) for link in links)
    assert not any("url(" in text or "@import" in text for text in whole.text)


def test_every_chart_is_named_and_has_its_numbers(whole: Parsed) -> None:
    drawn = [attributes for name, attributes in whole.elements if name == "svg"]
    assert len(drawn) == 5  # durations once; money and boards for a wide page and for a phone
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in drawn)
    assert [name for name, _ in whole.elements].count("figure") == whole.text.count("The numbers") == 3


def test_what_needs_a_person_comes_first_with_the_command_to_type(whole: Parsed) -> None:
    page = "".join(whole.text)
    for line in (
        "the last run of leaderboard is failed: arcade-jobs show leaderboard:2026-01-26T09:30Z --stage dev",
        "1 slot of leaderboard missed since its last success: arcade-jobs trigger leaderboard --stage dev",
        "1 dead letter: arcade-jobs dead-letters list --stage dev",
        "2 pools due: arcade-jobs trigger prize-pool --stage dev",
    ):
        assert line in page


def test_a_raised_alarm_and_a_pool_that_is_unpaid_for_long_come_first_too() -> None:
    pools = reported.pools()
    for days, told in ((6, False), (9, True)):
        unpaid = replace(pools, open=replace(pools.open, due=0, unpaid=1, oldest_unpaid_at=NOW - timedelta(days=days)))
        raised = Status(jobs=[], alarms=["arcade-jobs-dev-dropped-events"], dashboard="d")
        text = "".join(Parsed(render(report(pools=unpaid, status=raised))).text)
        assert "the alarm arcade-jobs-dev-dropped-events is raised: arcade-jobs status --stage dev" in text
        assert ("a pool is unpaid for 9 days" in text) is told
    replay = replace(pools, open=replace(pools.open, due=0, oldest_unpaid_at=NOW - timedelta(days=9)))
    assert "is unpaid for" not in render(report(stage="demo", pools=replay)), "nobody pays in a replay"


def test_what_could_not_be_read_is_said_beside_the_verdict() -> None:
    text = "".join(Parsed(render(report(status=Unread("denied")))).text)
    assert "Nothing needs attentionNot read: alarms, pools" in text


def test_a_missed_slot_that_a_later_run_made_up_for_needs_nobody() -> None:
    job = facts("leaderboard", run("leaderboard", NOW), missed=(NOW - timedelta(days=9),))
    assert job.statistics is not None
    done = replace(job, runs=(), statistics=replace(job.statistics, last_success_at=NOW))
    assert "Nothing needs attention" in render(report(jobs=[done]))


def test_a_stage_without_anything_is_a_page_that_says_so() -> None:
    text = "".join(Parsed(render(report())).text)
    for line in ("Nothing needs attention", "no runs", "every run succeeded at once", "no dead letters",
                 "Not read: set DATABASE_URL"):  # fmt: skip
        assert line in text


def test_an_attempt_that_failed_is_told_though_a_later_one_succeeded() -> None:
    retried = run("prize-pool", NOW, is_retried=True)
    text = "".join(Parsed(render(report(troubled=[retried], untold=3))).text)
    assert "cannot connect to db.example port 5432: Connection refused" in text
    assert "attempt 2" in text
    assert "and 3 before these, which arcade-jobs history --stage dev lists" in text


def test_games_beyond_the_colors_are_drawn_as_one() -> None:
    days = [
        SettledDay(day=NOW.date(), game_type=f"game{number}", pools=1, amount_usdc=Decimal(number), games=1)
        for number in range(9)
    ]
    largest = charts.largest_games(days, [])
    assert largest == [f"game{number}" for number in range(3, 9)]
    assert "other games" in charts.draw_money(days, largest, label="money")


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the stage `demo` has runs."""
    monkeypatch.setattr(options, "FOLDER", tmp_path)
    monkeypatch.setattr(command, "_read_pools", lambda *_, **__: Unread("not here"))
    reported.save(iter([run("cleanup", NOW - timedelta(days=1))]), tmp_path / "demo" / SAVED_RUNS)
    return tmp_path


def arcade_jobs(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["report", "--stage", "demo", *arguments])


def test_the_file_is_replaced_whole(saved: Path) -> None:
    out = saved / "report.html"
    out.write_text("old")
    done = arcade_jobs("--out", str(out))
    assert done.exit_code == 0, done.output
    assert out.read_text().startswith("<!doctype html>")
    assert [path.name for path in saved.iterdir() if path.is_file()] == ["report.html"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "{folder}"], "--out: '{folder}': is a folder"),
        (["--out", "{folder}/none/report.html"], "--out: '{folder}/none/report.html': its folder is not there"),
        (["--out", "/dev/null"], "--out: '/dev/null': is no file"),
        (["--out", "{folder}/report.html", "--since", "soon"], "--since: 'soon' is no date .*"),
        (["--out", "{folder}/report.html", "--since", "2027-01-01"], "--since: '2027-01-01' lies ahead"),
    ],
)
def test_a_wrong_choice_is_refused_in_one_line_and_nothing_is_written(
    saved: Path, arguments: list[str], message: str
) -> None:
    refused = arcade_jobs(*(argument.format(folder=saved) for argument in arguments))
    assert isinstance(refused.exception, BadInputError)
    with pytest.raises(BadInputError, match=f"^{message.format(folder=saved)}"):
        raise refused.exception
    assert not list(saved.glob("*.html*"))


def test_without_the_charting_library_one_line_says_what_installs_it(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    refused = arcade_jobs("--out", str(saved / "report.html"))
    assert str(refused.exception) == "the charts need vl-convert-python, which is not installed: make setup"
    assert not (saved / "report.html").exists()


def test_a_disk_that_is_full_leaves_the_old_page(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = saved / "report.html"
    out.write_text("old")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    refused = arcade_jobs("--out", str(out))
    assert str(refused.exception) == f"--out: '{out}': No space left on device"
    assert out.read_text() == "old"
    assert [path.name for path in saved.iterdir() if path.is_file()] == ["report.html"]
