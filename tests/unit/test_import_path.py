"""What a cold start and a command load: nothing that they do not use (docs/decisions.md)."""

import subprocess
import sys
import textwrap

import pytest

from infra.stage import DEFAULT_STAGE
from shared.config import VARIABLES

HEAVY = (
    "aws_cdk",
    "aws_lambda_powertools.event_handler",
    "boto3",
    "infra",
    "moto",
    "pydantic",
    "rich",
    "shared.operations",
    "sqlalchemy.orm",
    "typer",
)


@pytest.mark.parametrize("stem", ["cleanup", "leaderboard", "prize_pool"])
def test_a_function_loads_nothing_heavy(stem: str) -> None:
    names = loaded(f"import functions.{stem}")
    assert f"functions.{stem}" in names
    assert not {name for name in names for heavy in HEAVY if name == heavy or name.startswith(f"{heavy}.")}


# Modules, Python's own included: a new one costs each cold start. Raise it with the reason in the commit.
MOST_MODULES = 561  # 560 on Python 3.11


@pytest.mark.parametrize("stem", ["cleanup", "leaderboard", "prize_pool"])
def test_a_function_loads_no_more_modules_than_it_did(stem: str) -> None:
    assert len(loaded(f"import functions.{stem}")) <= MOST_MODULES


@pytest.mark.parametrize(
    ("arguments", "unused"),
    [
        (
            ["--help"],
            {"boto3", "botocore", "moto", "psutil", "sqlalchemy", "infra.schema", "shared.operations.deployment"},
        ),
        (["history", "--help"], {"boto3", "botocore", "moto", "psutil", "sqlalchemy", "infra.schema"}),
        (["history", "--stage", "demo"], {"boto3", "moto", "psutil", "sqlalchemy", "infra.schema"}),
        (["stats", "--stage", "demo"], {"boto3", "moto", "psutil", "sqlalchemy", "infra.schema"}),
    ],
)
def test_a_command_loads_nothing_that_it_does_not_use(arguments: list[str], unused: set[str]) -> None:
    assert not loaded_by_command(arguments) & unused


@pytest.mark.parametrize(
    ("arguments", "most"),
    [
        (["--help"], 25),
        (["history", "--help"], 25),
        (["history", "--stage", "demo"], 36),
        (["stats", "--stage", "demo"], 39),
    ],
)
def test_a_command_loads_no_more_modules_of_ours_than_it_did(arguments: list[str], most: int) -> None:
    """What it loads of others, the test above names; a user waits for each at each call."""
    assert len([name for name in loaded_by_command(arguments) if name.startswith(("infra", "shared"))]) <= most


def loaded_by_command(arguments: list[str]) -> set[str]:
    program = f"""
        import contextlib, io, sys
        from infra.cli.app import main
        sys.argv = ["arcade-jobs", *{arguments!r}]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
            main()
    """
    return loaded(textwrap.dedent(program))


def test_the_command_and_the_functions_have_the_same_default_stage() -> None:
    assert VARIABLES["STAGE"].default == DEFAULT_STAGE


def loaded(program: str) -> set[str]:
    """The modules that a process has loaded after a program."""
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())
