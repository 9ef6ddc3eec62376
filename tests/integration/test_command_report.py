"""`arcade-jobs report` on a deployed stage of fakes."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from shared.domain.errors import NotReachableError
from tests.fakes import save_run, scheduled_event
from tests.fakes.stage import NOW, SLOT, FakeStage
from tests.reported import run


def test_a_report_of_a_stage_tells_of_its_runs_and_dead_letters_and_of_a_database_that_does_not_answer(
    stage: FakeStage, command: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.operations.deployment.Deployment.run_store", lambda _: stage.runs)
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/arcade")
    save_run(stage.runs, run("prize-pool", NOW))
    stage.add_dead_letter(scheduled_event(SLOT))
    stage.alarms.raised.add("arcade-jobs-dev-prize-pool-dead-letters")
    out = tmp_path / "report.html"
    written = command("report", "--out", str(out), "--stage", "prod")
    assert written.exit_code == 0, written.output
    page = out.read_text()
    for text in (
        "account 123456789012, us-east-1, stack arcade-jobs-dev",
        "<b>100.0%</b>",
        "the alarm arcade-jobs-dev-prize-pool-dead-letters is raised: <code>arcade-jobs status --stage prod</code>",
        "cleanup is without any success: <code>arcade-jobs trigger cleanup --stage prod</code>",
        "1 dead letter: <code>arcade-jobs dead-letters list --stage prod</code>",
        "Not read: the platform&#x27;s database: cannot connect to 127.0.0.1 port 1: Connection refused",
    ):
        assert text in page


def test_a_report_of_no_stage_is_one_line_and_no_file(
    command: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise NotReachableError("stage 'dev': there is no stack arcade-jobs-dev")

    monkeypatch.setattr("infra.cli.options.Target.deployment", refuse)
    out = tmp_path / "report.html"
    assert isinstance(command("report", "--out", str(out)).exception, NotReachableError)
    assert not out.exists()
