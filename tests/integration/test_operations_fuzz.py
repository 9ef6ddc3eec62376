"""The operations endpoints under generated requests: each answer is one that the OpenAPI document allows."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from moto import mock_aws
from schemathesis import Case
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from infra.jobs import JOBS
from shared.operations.api import OperationsApi
from tests.fakes import save_run
from tests.fakes.dynamodb import create_runs_table
from tests.fakes.function_url import FunctionUrl
from tests.fakes.stage import NOW, make_stage
from tests.integration.test_status import run

NAMES = [job.name for job in JOBS]
DOCUMENT = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text())
del DOCUMENT["security"]  # AWS checks signatures, before the function runs
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations() if isinstance(found, Ok)}
ALLOWED, FORBIDDEN = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
EXAMPLES = (  # how many requests, such as the document allows or such as it forbids, where it can
    ("GET /api/health", ALLOWED, 3),
    ("GET /api/jobs/status", ALLOWED, 3),
    ("GET /api/jobs/history", ALLOWED, 15),
    ("GET /api/jobs/history", FORBIDDEN, 25),
    ("GET /api/jobs/runs/{run_id}", ALLOWED, 25),
    ("POST /api/jobs/trigger/{job}", ALLOWED, 25),
    ("POST /api/jobs/trigger/{job}", FORBIDDEN, 50),
)


@pytest.fixture(scope="module")
def url() -> Iterator[FunctionUrl]:
    """The endpoints of a healthy stage with some runs; what is triggered does not run."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        dynamodb = boto3.client("dynamodb", region_name="us-east-1")
        create_runs_table(dynamodb, "runs")
        stage = make_stage(dynamodb)
        for job in NAMES:
            save_run(stage.runs, run(f"{job}:2026-01-12T00:00Z"))
        yield FunctionUrl(handler=OperationsApi(stage.deployment, jobs=NAMES, clock=lambda: NOW))


@pytest.mark.parametrize(("label", "mode", "examples"), EXAMPLES)
def test_every_answer_is_one_that_the_document_allows(
    url: FunctionUrl, label: str, mode: GenerationMode, examples: int
) -> None:
    operation = OPERATIONS[label]
    # A time of the right form may lie in the future, and is refused for that.
    excluded: list[Any] = [positive_data_acceptance] if operation.method == "post" else []

    @seed(9)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Case) -> None:
        case.call_and_validate(app=url, excluded_checks=excluded)

    send()


def test_every_operation_is_called() -> None:
    assert {label for label, _, _ in EXAMPLES} == set(OPERATIONS)
