"""The operations endpoints, called as a function URL calls them, on a stage that is emulated in this process."""

import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from botocore.exceptions import EndpointConnectionError
from jsonschema_rs import Draft202012Validator

from functions.operations import build_api
from infra.jobs import JOBS
from shared.domain.run import RunStatus
from shared.operations.api import OperationsApi
from shared.operations.schedule import pause
from tests.fakes import save_run, scheduled_event
from tests.fakes.function_url import CALLER, Answer, FunctionUrl
from tests.fakes.stage import JOB, NOW, REQUEST_ID, SLOT, FakeStage
from tests.integration.test_status import run

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENT = json.loads((DOCS / "openapi.json").read_text())
REFUSALS = re.findall(
    r"^\| `([A-Z]+) (\S+)` \| (?:`(.+?)`)? ?\| (\d+) \| `(.*)` \|$",
    (DOCS / "operations-api.md").read_text(),
    re.MULTILINE,
)
NAMES = [job.name for job in JOBS]
A_RUN = "prize-pool:2026-01-12T00:00Z"


@pytest.fixture
def api(stage: FakeStage) -> OperationsApi:
    return OperationsApi(stage.deployment, jobs=NAMES, clock=lambda: NOW)


@pytest.fixture
def url(api: OperationsApi) -> FunctionUrl:
    return FunctionUrl(handler=api)


def succeed_everywhere(stage: FakeStage) -> None:
    for job in NAMES:
        save_run(stage.runs, run(f"{job}:2026-01-12T00:00Z"))


def check(answer: Answer, method: str, path: str) -> None:
    """Hold an answer against the OpenAPI document."""
    responses = DOCUMENT["paths"][path][method.lower()]["responses"]
    found = responses[str(answer.status)]
    if "$ref" in found:
        found = DOCUMENT["components"]["responses"][found["$ref"].rpartition("/")[2]]
    schema = found["content"][answer.content_type]["schema"]
    Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(answer.body)


def test_health_is_200_while_every_job_succeeds(url: FunctionUrl, stage: FakeStage) -> None:
    succeed_everywhere(stage)
    save_run(stage.runs, run("prize-pool:r", RunStatus.FAILED, ago=timedelta(hours=1)))
    answer = url.request("GET", "/api/health")
    check(answer, "GET", "/api/health")
    assert (answer.status, answer.body["status"], answer.body["as_of"]) == (
        200,
        "healthy",
        "2026-01-12T09:00:00.000000Z",
    )
    assert [job["job"] for job in answer.body["jobs"]] == NAMES
    prize_pool = answer.body["jobs"][0]
    assert (prize_pool["success_rate"], prize_pool["metrics"]["runs"]) == (0.5, 2)
    assert (prize_pool["last_success_age_seconds"], prize_pool["silent_after_seconds"]) == (32340, 28 * 3600)
    assert (prize_pool["is_healthy"], prize_pool["problems"]) == (True, [])


def test_health_is_503_when_a_job_is_silent_or_has_dead_letters(url: FunctionUrl, stage: FakeStage) -> None:
    save_run(stage.runs, run("prize-pool:a", ago=timedelta(hours=29)))
    stage.add_dead_letter(scheduled_event(SLOT), job="leaderboard")
    answer = url.request("GET", "/api/health")
    check(answer, "GET", "/api/health")
    assert (answer.status, answer.body["status"]) == (503, "unhealthy")
    assert {job["job"]: job["problems"] for job in answer.body["jobs"]} == {
        "prize-pool": ["silent for 29.0 hours; no more than 28 may pass"],
        "leaderboard": ["dead-lettered events: 1"],  # deployed to be off: its silence is none
        "cleanup": ["has never succeeded"],
    }


def test_a_paused_job_is_not_silent(url: FunctionUrl, stage: FakeStage) -> None:
    for job in (JOB, "cleanup"):
        pause(stage.deployment, job, now=NOW)
    assert url.request("GET", "/api/health").status == 200


def test_a_job_whose_silence_no_alarm_watches_is_healthy(stage: FakeStage) -> None:
    outputs = {name: value for name, value in stage.deployment.outputs.items() if "SilentAfter" not in name}
    api = OperationsApi(replace(stage.deployment, outputs=outputs), jobs=NAMES, clock=lambda: NOW)
    answer = FunctionUrl(handler=api).request("GET", "/api/health")
    assert (answer.status, answer.body["jobs"][0]["silent_after_seconds"]) == (200, None)


def test_the_status_is_that_of_the_command(url: FunctionUrl, stage: FakeStage) -> None:
    stage.runs.start(run("prize-pool:r1", RunStatus.RUNNING, ago=timedelta(minutes=2)))
    succeed_everywhere(stage)
    answer = url.request("GET", "/api/jobs/status")
    check(answer, "GET", "/api/jobs/status")
    assert answer.status == 200
    assert [job["job"] for job in answer.body["jobs"]] == NAMES
    assert [found["run_id"] for found in answer.body["jobs"][0]["running"]] == ["prize-pool:r1"]


def test_the_history_has_the_last_runs_of_one_job_or_of_all(url: FunctionUrl, stage: FakeStage) -> None:
    for hour in range(1, 25):
        save_run(stage.runs, run(f"{('cleanup', 'prize-pool')[hour % 2]}:{hour}", ago=timedelta(hours=hour)))
    answer = url.request("GET", "/api/jobs/history")
    check(answer, "GET", "/api/jobs/history")
    assert [found["run_id"].partition(":")[2] for found in answer.body["runs"]] == [str(hour) for hour in range(1, 21)]
    answer = url.request("GET", "/api/jobs/history?limit=2&job=cleanup")
    assert [found["run_id"] for found in answer.body["runs"]] == ["cleanup:2", "cleanup:4"]
    assert len(url.request("GET", "/api/jobs/history?limit=100").body["runs"]) == 24


@pytest.mark.parametrize("id_", [A_RUN, "prize-pool%3A2026-01-12T00%3A00Z"])
def test_a_run_is_found_by_its_id_encoded_or_not(url: FunctionUrl, stage: FakeStage, id_: str) -> None:
    save_run(stage.runs, run(A_RUN))
    answer = url.request("GET", f"/api/jobs/runs/{id_}")
    check(answer, "GET", "/api/jobs/runs/{run_id}")
    assert (answer.status, answer.body["run_id"], answer.body["status"]) == (200, A_RUN, "succeeded")


def test_a_trigger_queues_one_event_and_names_the_run_that_will_appear(url: FunctionUrl, stage: FakeStage) -> None:
    body = '{"time": "2026-01-12T00:00:30Z", "reason": "missed"}'
    answer = url.request("POST", f"/api/jobs/trigger/{JOB}", body)
    check(answer, "POST", "/api/jobs/trigger/{job}")
    assert answer.status == 202
    assert answer.body == {"job": JOB, "status": "queued", "request_id": REQUEST_ID, "run_id": A_RUN}
    assert answer.headers["Location"] == "/api/jobs/runs/prize-pool%3A2026-01-12T00%3A00Z"
    event = {"trigger": "manual", "actor": CALLER, "time": "2026-01-12T00:00:30Z", "reason": "missed"}
    assert stage.functions.received == [(JOB, event)]


@pytest.mark.parametrize("body", [None, "", "{}", b"{}", '{"dry_run": true, "time": "2026-01-12T00:00:00Z"}'])
def test_a_run_for_no_slot_has_the_id_of_its_request(
    url: FunctionUrl, stage: FakeStage, body: str | bytes | None
) -> None:
    answer = url.request("POST", "/api/jobs/trigger/cleanup", body)
    assert (answer.status, answer.body["run_id"]) == (202, f"cleanup:{REQUEST_ID}")
    [(function, event)] = stage.functions.received
    assert (function, event["actor"]) == ("cleanup", CALLER)


def test_each_refusal_is_a_problem_as_the_page_lists_it(url: FunctionUrl, stage: FakeStage) -> None:
    assert len(REFUSALS) == 24
    for method, path, body, status, detail in REFUSALS:
        answer = url.request(method, path, body or None)
        assert (path, body, answer.status, answer.body["detail"]) == (path, body, int(status), detail)
        assert answer.content_type == "application/problem+json"
        assert answer.body["status"] == answer.status
    assert stage.functions.received == []


@pytest.mark.parametrize(
    "body",
    [
        "null", "1" * 5000, "[" * 100_000, '"\\ud800"', b"\xff", " ", "\x00", '{"time": NaN}', '{"reason": "\\ud800"}',
        '{"time": ' + "9" * 5000 + "}", '{"reason": "' + "x" * 501 + '"}',
        '{"detail-type": "Scheduled Event", "time": "2026-01-12T00:00:00Z"}',
    ],
    ids=lambda body: repr(body[:20]),
)  # fmt: skip
def test_no_body_gets_past_the_checks(url: FunctionUrl, stage: FakeStage, body: str | bytes) -> None:
    answer = url.request("POST", "/api/jobs/trigger/cleanup", body)
    check(answer, "POST", "/api/jobs/trigger/{job}")
    assert answer.status == 400, answer.text
    assert stage.functions.received == []


IDS = ("x" * 2049, "%F0%9F%98%80" * 600, "%00", "%FF", "..", "a%2Fb", "%25", "%0A", "\u00e9")


@pytest.mark.parametrize("id_", IDS, ids=[f"{id_[:12]!a}" for id_ in IDS])
def test_no_id_of_a_run_is_an_error_of_the_table(url: FunctionUrl, id_: str) -> None:
    answer = url.request("GET", f"/api/jobs/runs/{id_}")
    assert answer.status == 404
    assert len(answer.body["detail"]) < 250


@pytest.mark.parametrize(
    ("error", "status"), [(EndpointConnectionError(endpoint_url="https://dynamodb"), 503), (ValueError("secret"), 500)]
)
@pytest.mark.parametrize("path", ["/api/health", "/api/jobs/status", "/api/jobs/history", "/api/jobs/runs/{run_id}"])
def test_an_unreachable_table_is_503_and_a_fault_is_500_without_its_trace(
    stage: FakeStage, path: str, error: Exception, status: int
) -> None:
    def fail(**_: object) -> None:
        raise error

    table = SimpleNamespace(get_item=fail, query=fail)
    deployment = replace(stage.deployment, create_client=lambda *_, **__: table)
    answer = FunctionUrl(handler=OperationsApi(deployment, jobs=NAMES, clock=lambda: NOW)).request("GET", path)
    check(answer, "GET", path)
    assert (answer.status, answer.content_type) == (status, "application/problem+json")
    assert not re.search("secret|Traceback", answer.text)


def test_the_document_and_the_routes_are_the_same(api: OperationsApi) -> None:
    documented = {
        (path.replace("{", "<").replace("}", ">"), method.upper())
        for path, methods in DOCUMENT["paths"].items()
        for method in methods
    }
    assert documented == {(path, str(method)) for path, methods in api.routes.items() for method in methods}
    assert DOCUMENT["components"]["schemas"]["Job"]["enum"] == NAMES
    assert DOCUMENT["components"]["schemas"]["RunStatus"]["enum"] == list(RunStatus)


def test_the_function_knows_its_stage_by_its_environment(stage: FakeStage) -> None:
    save_run(stage.runs, run(A_RUN))
    deployment = {
        "stage": "dev", "stack": "arcade-jobs-dev", "account": "123456789012", "caller": "arn:...",
        "outputs": {"RunsTableName": "runs"},
    }  # fmt: skip
    env = {"DEPLOYMENT": json.dumps(deployment), "JOBS": ",".join(NAMES), "AWS_REGION": "us-east-1"}
    answer = FunctionUrl(handler=build_api(env)).request("GET", f"/api/jobs/runs/{A_RUN}")
    assert (answer.status, answer.body["run_id"]) == (200, A_RUN)
    answer = FunctionUrl(handler=build_api(env)).request("GET", "/api/jobs/status")
    assert (
        answer.body["detail"]
        == "stack arcade-jobs-dev has no output PrizePoolAlarmNames: deploy this version of it first"
    )
