"""What all commands share: their options, the names of jobs, errors in one line."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from infra.cli import app as command
from infra.cli.options import JOB_HELP, Target, with_target
from infra.jobs import JOBS
from shared.domain.errors import ArcadeJobsError

TARGET_OPTIONS = ["stage", "profile", "region", "local"]


def commands(found: Any) -> Iterator[Any]:
    for each in found.commands.values():
        yield from commands(each) if hasattr(each, "commands") else [each]


def test_a_command_has_all_options_of_a_deployment_or_none() -> None:
    names = [[option.name for option in found.params] for found in commands(typer.main.get_command(command.app))]
    with_a_target = [found for found in names if "profile" in found]
    assert with_a_target
    assert all(found[-4:] == TARGET_OPTIONS for found in with_a_target)


def test_the_options_reach_the_command_as_one_target() -> None:
    app, received = typer.Typer(), []

    @app.command()
    @with_target
    def show(job: str, *, target: Target) -> None:
        received.append((job, target))

    for arguments in (["x"], ["x", "--stage", "prod", "--profile", "p", "--region", "r", "--local"]):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
    assert received == [("x", Target()), ("x", Target(stage="prod", profile="p", region="r", local=True))]


def test_the_help_names_every_job() -> None:
    assert all(job.name in JOB_HELP for job in JOBS)


def test_an_error_for_the_user_is_one_line_and_a_bug_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["arcade-jobs", "trigger", "prizepool"])
    with pytest.raises(SystemExit, match="2"):
        command.main()
    assert capsys.readouterr().err == (
        f"arcade-jobs: JOB: 'prizepool' is not a job; expected one of {', '.join(job.name for job in JOBS)}\n"
    )
    monkeypatch.setattr(sys, "argv", ["arcade-jobs", "trigger", "prize-pool"])

    def fail(_: Target) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(Target, "deployment", fail)
    with pytest.raises(KeyError, match="a bug"):
        command.main()


def test_the_demo_is_no_deployment() -> None:
    with pytest.raises(ArcadeJobsError, match=r"^--stage: 'demo' is the replay's, and is not deployed; its jobs run"):
        Target(stage="demo").deployment()
