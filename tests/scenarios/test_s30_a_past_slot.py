"""S30: a run for a past slot does not end the silence of a later one."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.app import App
from tests.fakes import FakeClock, scheduled_event
from tests.jobs import invoke

NOW = datetime(2026, 1, 20, 9, 30, tzinfo=UTC)


def successes(captured: str) -> list[datetime]:
    """The instants for which CloudWatch counts a success."""
    lines = [json.loads(line) for line in captured.splitlines()]
    return [
        datetime.fromtimestamp(line["_aws"]["Timestamp"] / 1000, tz=UTC) for line in lines if "RunSucceeded" in line
    ]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(now=NOW)


@pytest.mark.parametrize("slot", ["2026-01-20T00:00:00Z", "2026-01-12T00:00:00Z", "2026-01-06T09:30:00Z"])
@pytest.mark.parametrize("event", [scheduled_event, lambda slot: {"time": slot}], ids=["scheduled", "manual"])
def test_s30_a_success_counts_in_the_period_of_its_slot(
    app: App, event: Callable[[str], dict[str, Any]], slot: str, capsys: pytest.CaptureFixture[str]
) -> None:
    invoke(app, "prize-pool", event(slot))
    assert successes(capsys.readouterr().out) == [datetime.fromisoformat(slot)]


@pytest.mark.parametrize("slot", ["2020-01-12T00:00:00Z", "2026-01-06T09:29:59Z"])
def test_s30_a_success_older_than_cloudwatch_takes_is_not_published(
    app: App, slot: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(app, "prize-pool", {"time": slot})["status"] == "succeeded"
    output = capsys.readouterr().out
    assert successes(output) == []
    assert '"ItemsProcessed"' in output


def test_s30_a_success_without_a_slot_counts_now(app: App, capsys: pytest.CaptureFixture[str]) -> None:
    invoke(app, "prize-pool", {})
    assert successes(capsys.readouterr().out) == [NOW]


def test_s30_what_a_run_did_counts_when_it_did_it(app: App, capsys: pytest.CaptureFixture[str]) -> None:
    invoke(app, "prize-pool", {"time": f"{NOW - timedelta(days=3):%Y-%m-%dT%H:%M:%SZ}"})
    published = [line for line in map(json.loads, capsys.readouterr().out.splitlines()) if "ItemsProcessed" in line]
    assert [line["_aws"]["Timestamp"] for line in published] == [int(NOW.timestamp() * 1000)]
