"""Every command line of the pages is one that its program takes: parsed by the program itself, and none is sent.

What they do is tested where it is done: `make demo` and `arcade-jobs local` by tests/integration/test_demo.py and
tests/e2e/test_cloud.py, `cdk bootstrap`, `deploy` and `destroy` by the latter, `cdk ls` and `synth` by
tests/infra/test_app.py, `db` by tests/integration/test_command_db.py and test_command_data_api.py, the events of
`aws lambda invoke` by tests/e2e/test_cloud.py.
"""

import json
import re
import shlex
from collections.abc import Iterator
from functools import partial
from itertools import pairwise, takewhile
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore import xform_name
from botocore.session import Session
from typer.main import get_command

from infra.cli.app import app
from infra.jobs import JOBS
from infra.stack.context import read_settings
from infra.stack.node import package
from shared.domain.errors import ArcadeJobsError
from tests.infra.template import CDK_CONTEXT, ROOT

PAGES = sorted(page for folder in (ROOT, ROOT / "docs") for page in folder.glob("*.md"))
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
MISTAKES = re.compile(r"^## Mistakes\n.*?(?=^## )", re.MULTILINE | re.DOTALL)  # run by tests/unit/test_exit_codes.py
SHELLS = ("sh", "console", "bash")
PROGRAMS = ("arcade-jobs", "cdk", "make", "aws")
# What a page writes in the place of a value.
PLACEHOLDERS = {
    "RUN_ID": "prize-pool:2026-01-12T00:00Z",
    "JOB": "prize-pool",
    "<job>": "prize-pool",
    "TIME": "2026-01-12T00:00:00Z",
    "SLOT": "2026-01-12T00:00:00Z",
    "DATE": "2026-03-02",
}
# Fenced lines that are none of those, each with its reason.
OTHERS = {
    "psql -v ON_ERROR_STOP=1 -f a.sql": "tests/integration/test_node_platform.py runs the statements of the file",
    ". .venv/bin/activate": "of the environment that `make setup` makes",
    "export DATABASE_URL=postgresql://owner@host:5432/arcade": "the variable is read by the next line",
}
OPTIONS_OF_AWS = {"--cli-binary-format", "--query", "--region", "--profile", "--endpoint-url", "--output"}


def fenced() -> Iterator[tuple[str, str]]:
    """Each command line of a block, with its page. In a block of a console those after a `$`; the rest is output."""
    for page in PAGES:
        for language, block in FENCE.findall(page.read_text()):
            if language in SHELLS:
                for line in block.replace("\\\n", " ").splitlines():
                    text = line.strip()
                    if language == "console":
                        text = text.removeprefix("$ ") if text.startswith("$ ") else ""
                    if text and not text.startswith("#"):
                        yield page.name, text


def mentioned() -> Iterator[tuple[str, str]]:
    """Each command in the text of a page: it may be cut short, and shows what is optional in brackets."""
    for page in PAGES:
        for text in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", MISTAKES.sub("", FENCE.sub("", page.read_text()))):
            program = text.removeprefix(".venv/bin/").partition(" ")
            if program[0] in PROGRAMS and program[2] and not text.endswith(": ..."):
                yield page.name, re.sub(r"[\[\]]|\.\.\.", "", text).split("|")[0]


def by_page(lines: Iterator[tuple[str, str]]) -> list[Any]:
    return [pytest.param(line, id=f"{page}: {line}") for page, line in dict.fromkeys(lines)]


def words_of(line: str) -> list[str]:
    """Program and arguments, without comments, variables before the program, and where its output goes."""
    words = [PLACEHOLDERS.get(word, word) for word in shlex.split(line, comments=True)]
    while re.fullmatch("[A-Z_]+=.*", words[0]):
        words = words[1:]
    arguments = takewhile(lambda word: word not in {"|", ">"}, words[1:])
    return [words[0].removeprefix(".venv/bin/"), *arguments]


def stages_of_the_pages() -> dict[str, Any]:
    """The stages of cdk.json, and those that the pages show in its place."""
    stages: dict[str, Any] = dict(CDK_CONTEXT["stages"])
    for page in PAGES:
        for language, block in FENCE.findall(page.read_text()):
            if language == "json" and '"stages"' in block:
                stages |= json.loads(block)["context"]["stages"]
    return stages


def check_arcade_jobs(words: list[str], *, is_whole: bool = True) -> None:
    command: Any = get_command(app)
    while words and hasattr(command, "commands"):
        assert words[0] in command.commands, f"there is no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    options = {name for parameter in command.params for name in parameter.opts if name.startswith("-")} | {"--help"}
    own = takewhile(lambda word: word != "--", words)  # what follows is for another program
    unknown = {word.partition("=")[0] for word in own if word.startswith("-")} - options
    assert not unknown, f"there is no option {unknown}"
    if is_whole:
        command.make_context("arcade-jobs", words)


def check_cdk(words: list[str]) -> None:
    registry = json.loads((package("aws-cdk") / "lib" / "cli" / "cli-type-registry.json").read_text())
    verb, context = words[0], {**CDK_CONTEXT, "stages": stages_of_the_pages()}
    [command] = [found for name, found in registry["commands"].items() if verb in {name, *found.get("aliases", [])}]
    for word, value in pairwise([*words[1:], ""]):
        if word in {"-c", "--context"}:
            name, sign, text = value.partition("=")
            assert sign, f"{value} is not NAME=VALUE"
            context[name] = text
        elif word.startswith("-"):
            assert word[2:] in {*registry["globalOptions"], *command["options"]}, f"cdk {verb} has no option {word}"
    read_settings(context, {})


def check_make(words: list[str]) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {word for word in words if "=" not in word} <= targets


def check_aws(words: list[str]) -> None:
    service, operation, *rest = words
    model = Session().get_service_model(service)
    [name] = [name for name in model.operation_names if xform_name(name, "-") == operation]
    shape = model.operation_model(name).input_shape
    members = shape.members if shape else {}
    taken = {f"--{xform_name(member, '-')}" for member in members} | OPTIONS_OF_AWS
    assert {word for word in rest if word.startswith("--")} <= taken


def check_curl(words: list[str]) -> None:
    """A request to the operations endpoints."""
    document = json.loads((ROOT / "docs" / "openapi.json").read_text())
    *options, url = words
    assert {word for word in options if word.startswith("-")} <= {"--aws-sigv4", "--user", "-H"}
    assert urlsplit(url.replace("${URL}", "https://endpoints/")).path in document["paths"]


CHECKS = {
    "arcade-jobs": check_arcade_jobs, "cdk": check_cdk, "make": check_make, "aws": check_aws, "curl": check_curl,
}  # fmt: skip
PARTS = CHECKS | {"arcade-jobs": partial(check_arcade_jobs, is_whole=False)}


@pytest.mark.parametrize("line", by_page(fenced()))
def test_a_command_line_is_one_that_its_program_takes(line: str) -> None:
    if line.partition(" #")[0].strip() not in OTHERS:
        program, *words = words_of(line)
        CHECKS[program](words)


@pytest.mark.parametrize("line", by_page(mentioned()))
def test_a_command_in_the_text_has_the_options_that_are_named(line: str) -> None:
    program, *words = words_of(line)
    PARTS[program](words)


@pytest.mark.parametrize("stage", stages_of_the_pages())
def test_each_stage_that_is_shown_can_be_deployed_as_it_is(stage: str) -> None:
    settings = read_settings({**CDK_CONTEXT, "stages": stages_of_the_pages(), "stage": stage}, {})
    assert settings.stage == stage
    assert len(settings.jobs) == len(JOBS)


@pytest.mark.parametrize(
    "line",
    [
        "arcade-jobs statsu",
        "arcade-jobs history --limt 5",
        "cdk deploy -c timezon=UTC",
        "cdk deploy --forced",
        "cdk publish",
        "make tets",
        "aws lambda invoke --funktion-name x",
        "kubectl apply",
        "curl http://127.0.0.1:4566/api/job/status",
    ],
)
def test_a_mistyped_line_is_noticed(line: str) -> None:
    program, *words = words_of(line)
    with pytest.raises((AssertionError, ArcadeJobsError, KeyError, ValueError)):
        CHECKS[program](words)
