"""The report as somebody sees it: in Chromium, wide and narrow, light and dark, by keyboard."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.cli import options, report
from infra.cli.app import app
from infra.demo.saved_runs import SAVED_RUNS
from tests import reported
from tests.browser import browse, find_browser

NUMBERS = """
Object.fromEntries([...document.querySelectorAll('#runs .card')].map(card => [
    card.querySelector('h3').textContent,
    Object.fromEntries([
        ['rate', card.querySelector('b').textContent],
        ...[...card.querySelectorAll('dt')].map(dt => [dt.textContent, dt.nextSibling.textContent])])]))
"""
CELLS = """
Object.fromEntries([...document.querySelectorAll('.calendar')].map(table => [
    table.querySelector('caption b').textContent,
    [...table.querySelectorAll('td[class]')].reduce(
        (counts, td) => ({...counts, [td.className]: (counts[td.className] ?? 0) + 1}), {})]))
"""
# What is wider than the page, folds open; a region that scrolls by itself may be.
OVERFLOW = """
(document.querySelectorAll('details').forEach(fold => fold.open = true),
 [...document.querySelectorAll('body *')]
    .filter(each => !each.closest('.numbers, .hidden, svg') && each.getBoundingClientRect().right > innerWidth + 1)
    .map(each => each.outerHTML.slice(0, 200)))
"""
FOCUSED = "document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent"
SHOWN = "[...document.querySelectorAll('.chart')].filter(each => each.checkVisibility()).length"


@pytest.mark.skipif(find_browser() is None, reason="no Chromium here: the report's page is not looked at")
def test_the_page_is_whole_in_every_light_and_width_and_by_keyboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "FOLDER", tmp_path)
    monkeypatch.setattr(report, "_read_pools", lambda *_, **__: reported.pools())
    reported.save(reported.runs(), tmp_path / "demo" / SAVED_RUNS)
    page = tmp_path / "report.html"
    command = CliRunner()
    written = command.invoke(app, ["report", "--stage", "demo", "--since", "35d", "--out", str(page)])
    assert written.exit_code == 0, written.output
    statistics = {
        of_job["job"]: of_job
        for of_job in json.loads(command.invoke(app, ["stats", "--stage", "demo", "--since", "35d", "--json"]).stdout)
    }

    with browse(tmp_path / "profile") as tab:
        backgrounds = set()
        for width in (1280, 390):
            tab.open(page, width=width)
            assert tab.evaluate("document.documentElement.scrollWidth") == width
            assert tab.evaluate(OVERFLOW) == []
            assert tab.evaluate("document.documentElement.scrollWidth") == width
            assert tab.evaluate(SHOWN) == 5
            assert (tab.requests, tab.complaints) == ([page.as_uri()], [])
            for scheme in ("light", "dark"):
                tab.prefer(scheme)
                backgrounds.add(tab.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert len(backgrounds) == 2

        numbers = tab.evaluate(NUMBERS)
        assert numbers.keys() == statistics.keys()
        cells = tab.evaluate(CELLS)
        for job, of_job in statistics.items():
            assert numbers[job]["rate"] == f"{of_job['success_rate']:.1%}"
            assert numbers[job]["runs"] == f"{of_job['runs']:,}"
            assert numbers[job]["dry runs"] == str(of_job["dry_runs"])
            assert numbers[job]["missed slots"] == str(of_job["missed"])
            for status in ("failed", "partial", "incomplete", "abandoned", "missed"):
                assert cells[job].get(status, 0) == of_job[status], (job, status)

        tab.open(page, width=1280)
        tab.press("Tab")
        assert tab.evaluate(FOCUSED) == "Skip to the runs"
        for _ in range(10):  # to the first slot that is told more of
            tab.press("Tab")
            if tab.evaluate(FOCUSED) == "2025-12-29 00:00 failed":
                break
        tab.press("Enter")
        assert tab.evaluate("document.querySelector('details[open] [id]').id") == "prize-pool:2025-12-29T00:00Z"
