"""Every mistake is one line on standard error and the same exit code, whichever command and option it is in.

0 done, 1 a run or a check did not succeed, 2 bad usage, 3 not reachable (docs/command.md, Exit codes).
"""

import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import typer

from infra.cli import app as command
from infra.cli.app import describe_usage
from tests.fakes.stage import make_stage

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

RUN = "prize-pool:2026-01-12T00:00Z"
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def answered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """The whole command, without credentials, profiles and a laptop cloud: its exit code, both its outputs."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr("infra.local.cloud.endpoint.__kwdefaults__", {"folder": tmp_path})
    monkeypatch.setattr("infra.cli.options.FOLDER", tmp_path)
    monkeypatch.setattr(time, "sleep", lambda _: None)  # botocore's, between attempts

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["arcade-jobs", *arguments])
        with pytest.raises(SystemExit) as ended:
            command.main()
        code = ended.value.code
        said = capsys.readouterr()
        return code if isinstance(code, int) else 0, said.err, said.out

    return run


@pytest.fixture
def arcade_jobs(answered: Callable[..., tuple[int, str, str]]) -> Run:
    """What the command exits with and says on standard error."""
    return lambda *arguments: answered(*arguments)[:2]


def leaves(found: Any, *before: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, each in found.commands.items():
        yield from leaves(each, *before, name) if hasattr(each, "commands") else [((*before, name), each)]


COMMANDS = dict(leaves(typer.main.get_command(command.app)))
OF_A_STAGE = [names for names, found in COMMANDS.items() if any(option.name == "profile" for option in found.params)]
OF_A_JOB = [names for names, found in COMMANDS.items() if any(option.name == "job" for option in found.params)]
GIVEN = {"job": "prize-pool", "run_id": RUN, "id": "1"}


def valid(names: tuple[str, ...]) -> list[str]:
    """The command with the arguments that it requires."""
    required = [found for found in COMMANDS[names].params if found.required]
    return [*names, *(GIVEN.get(found.name, "x") for found in required if not found.opts[0].startswith("-"))]


def is_one_line(said: str) -> bool:
    """Whether the last line says it alone; notes may come before."""
    *before, last = said.splitlines()
    return last.startswith("arcade-jobs: ") and not any(
        line.startswith(("arcade-jobs:", "Traceback")) for line in before
    )


@pytest.mark.parametrize("names", COMMANDS, ids=" ".join)
def test_an_unknown_option_is_bad_usage_in_every_command(arcade_jobs: Run, names: tuple[str, ...]) -> None:
    code, said = arcade_jobs(*names, "--xyz")
    assert (code, is_one_line(said)) == (2, True)
    assert said.startswith("arcade-jobs: --xyz: no such option")


@pytest.mark.parametrize("names", OF_A_STAGE, ids=" ".join)
def test_a_laptop_cloud_that_is_down_is_3_in_every_command(arcade_jobs: Run, names: tuple[str, ...]) -> None:
    code, said = arcade_jobs(*valid(names), "--local")
    assert (code, is_one_line(said)) == (3, True), said
    assert "the laptop cloud does not run; start it: arcade-jobs local up" in said


@pytest.mark.parametrize("names", [("history",), ("trigger",), ("status",), ("db", "check")], ids=" ".join)
@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--region", "eu-central-1"], "Unable to locate credentials"),
        (["--profile", "nobody"], "The config profile (nobody) could not be found"),
    ],
    ids=["no credentials", "wrong profile"],
)
def test_no_credentials_and_a_wrong_profile_are_3(
    arcade_jobs: Run, names: tuple[str, ...], options: list[str], what: str
) -> None:
    code, said = arcade_jobs(*valid(names), *options)
    assert (code, is_one_line(said)) == (3, True), said
    assert what in said


@pytest.mark.parametrize("names", OF_A_JOB, ids=" ".join)
def test_an_unknown_job_is_bad_usage_in_every_command(arcade_jobs: Run, names: tuple[str, ...]) -> None:
    said = "arcade-jobs: JOB: 'prizepool' is not a job; expected one of prize-pool, leaderboard, cleanup\n"
    assert arcade_jobs(*names, "prizepool") == (2, said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trigger"], "JOB: missing; --help shows the usage"),
        (["show"], "RUN_ID: missing; --help shows the usage"),
        (["nope"], "'nope': no such command"),
        (["history", "prize-pool", "more"], "'more': one argument too many"),
        (["history", "--jsn"], "--jsn: no such option; perhaps --json"),
        (["history", "--limit"], "--limit: requires an argument"),
        (["history", "--limit", "0"], "--limit: '0' should be greater than or equal to 1"),
        (["history", "--limit", "-1"], "--limit: '-1' should be greater than or equal to 1"),
        (["history", "--limit=1001"], "--limit: '1001' should be less than or equal to 1000"),
        (["history", "--limit", "ten"], "--limit: 'ten' should be a valid integer"),
        (["history", "--status", "late"], "--status: 'late' is not one of 'running', 'succeeded', 'partial',"),
        (["history", "--since", "soon"], "--since: 'soon' is no date such as 2026-01-12"),
        (["stats", "--since", "7 days"], "--since: '7 days' is no date such as 2026-01-12"),
        (["stats", "--since", "0001-01-01T00:00:00+14:00"], "--since: '0001-01-01T00:00:00+14:00' is no date such as"),
        (["show", "x" * 201], "RUN_ID: 201 characters are too many; at most 200"),
        (["show", ""], "RUN_ID: '' is empty; arcade-jobs history lists what there is"),
        (["trigger", "prize-pool", "--at", "noon"], "--at: 'noon' is not a time such as 2026-01-12T00:00:00Z"),
        (["trigger", "prize-pool", "--at", "2026-01-12"], "--at: '2026-01-12' is not a time such as"),
        (["trigger", "prize-pool", "--at", "2026-01-12T00:00:00"], "--at: '2026-01-12T00:00:00' has no zone"),
        (["trigger", "prize-pool", "--at", "9999-01-12T00:00:00Z"], "--at: '9999-01-12T00:00:00Z' is in the future"),
        (["trigger", "prize-pool", "--reason", "x" * 501], "--reason: 501 characters are too many; at most 500"),
        (["trigger", "prize-pool", "--stage", "demo"], "--stage: 'demo' is the replay's, and is not deployed"),
        (["history", "--region", ""], "--region: '' is empty"),
        (["history", "--profile", ""], "--profile: '' is empty"),
        (
            ["trigger", "prize-pool", "--stage", " "],
            "--stage: expected a small letter, then up to",
        ),
        (["trigger", "prize-pool", "--reason", ""], "--reason: empty; say why, or leave it out"),
        (["trigger", "prize-pool", "--reason", "a\nb"], "--reason: 'a\\nb' has characters that do not print"),
        (["trigger", "prize-pool", "--accept-orphans"], "--accept-orphans: of cleanup alone, not of prize-pool"),
        (["local", "up", "--port", "0"], "--port: '0' should be greater than or equal to 1"),
    ],
)
def test_bad_usage_is_2_and_names_the_option_and_its_value(arcade_jobs: Run, arguments: list[str], said: str) -> None:
    code, line = arcade_jobs(*arguments)
    assert (code, is_one_line(line)) == (2, True), line
    assert line.startswith(f"arcade-jobs: {said}")


def test_a_stack_that_is_not_there_and_a_region_that_is_not_are_not_reachable(
    arcade_jobs: Run, dynamodb: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch
) -> None:
    del dynamodb  # AWS is emulated
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    code, said = arcade_jobs("history", "--stage", "prod", "--region", "eu-central-1")
    assert (code, is_one_line(said)) == (3, True)
    assert "stage 'prod': there is no stack arcade-jobs-prod in account 123456789012, eu-central-1" in said
    code, said = arcade_jobs("history", "--region", "the moon")
    assert (code, is_one_line(said)) == (3, True)
    assert "the moon" in said
    code, said = arcade_jobs("history")
    assert (code, said) == (3, "arcade-jobs: stage 'dev': You must specify a region.\n")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "")
    code, said = arcade_jobs("history")
    assert (code, is_one_line(said)) == (3, True)
    assert "the region is empty; set AWS_DEFAULT_REGION, or give --region" in said


def test_a_run_that_is_not_there_is_1_and_runs_that_no_demo_left_are_3(arcade_jobs: Run, tmp_path: Path) -> None:
    code, said = arcade_jobs("history", "--stage", "demo")
    assert (code, is_one_line(said)) == (3, True)
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "runs.json").write_text('{"at": "2026-01-27T03:00:00.000000Z", "items": {}}')
    said = "arcade-jobs: RUN_ID: there is no run 'prize-pool:x'; arcade-jobs history lists what there is\n"
    assert arcade_jobs("show", "prize-pool:x", "--stage", "demo") == (1, said)


def test_help_and_version_are_0_and_a_command_that_is_missing_shows_the_help_and_is_2(
    arcade_jobs: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert arcade_jobs("--help")[0] == arcade_jobs("--version")[0] == arcade_jobs("history", "--help")[0] == 0
    assert [arcade_jobs()[0], arcade_jobs("db")[0]] == [2, 2]
    capsys.readouterr()


def test_the_help_names_the_exit_codes() -> None:
    epilog = typer.main.get_command(command.app).epilog or ""
    assert all(code in epilog for code in ("0 done", "1 a run or a check", "2 bad usage", "3 not reachable"))


def test_ctrl_c_is_130(arcade_jobs: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("infra.cli.options.Target.deployment", interrupt)
    assert arcade_jobs("history")[0] == 130


def test_ctrl_c_in_a_trigger_says_that_the_run_goes_on(arcade_jobs: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("infra.cli.options.Target.deployment", lambda _: SimpleNamespace(caller="x"))
    monkeypatch.setattr("shared.operations.trigger.trigger", interrupt)
    said = "a run that has begun goes on; to watch it: arcade-jobs history prize-pool --limit 1 --stage prod\n"
    assert arcade_jobs("trigger", "prize-pool", "--stage", "prod") == (130, said)


def test_what_typer_says_in_other_words_is_passed_on_in_one_line() -> None:
    assert describe_usage("Something\nelse.", []) == "Something else"
    assert cast("object", describe_usage("Option '--x' takes 2 values.", [])) == "--x: takes 2 values"


# Of docs/command.md, Mistakes: where it is typed, the command, its exit code, its last line.
MISTAKES = [
    (where.strip(), typed, int(code), line)
    for where, typed, code, line in re.findall(
        r"^\| ([^|`]*)\| `arcade-jobs ([^`]*)` \| (\d) \| `([^`]*)` \|$",
        (Path(__file__).parents[2] / "docs" / "command.md").read_text(),
        re.MULTILINE,
    )
]


@pytest.mark.parametrize(("where", "typed", "code", "line"), MISTAKES, ids=str)
def test_a_mistake_is_answered_as_the_page_says(
    answered: Callable[..., tuple[int, str, str]],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    typed: str,
    code: int,
    line: str,
) -> None:
    if where == "AWS answers":
        request.getfixturevalue("dynamodb")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
    elif where == "a stage without runs":
        stage = make_stage(request.getfixturevalue("dynamodb"))
        monkeypatch.setattr("infra.cli.options.Target.deployment", lambda _: stage.deployment)
        monkeypatch.setattr("shared.operations.deployment.Deployment.run_store", lambda _: stage.runs)
    else:
        assert where in {"", "no credentials", "the laptop cloud is down"}
    exit_code, errors, results = answered(*shlex.split(typed))
    assert (exit_code, (errors + results).splitlines()[-1]) == (code, line)
    assert code == 0 or (results == "" and is_one_line(errors))
