"""`arcade-jobs dead-letters`: listed without loss, sent again with the original event, deleted once a run succeeded."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from typer.testing import Result

from infra.deployed.dead_letters import DeadLetter, read_dead_letter
from tests.fakes import scheduled_event
from tests.fakes.stage import JOB, NOW, SLOT, FakeStage, fail, succeed


def envelope(event: Any, **more: Any) -> dict[str, Any]:
    """What Lambda sends to a failure destination."""
    return {
        "version": "1.0",
        "requestContext": {"condition": "RetriesExhausted", "approximateInvokeCount": 3},
        "requestPayload": event,
        "responseContext": {"statusCode": 200, "functionError": "Unhandled"},
        "responsePayload": {"errorType": "RunNotSucceededError", "errorMessage": "run x\nfailed", "stackTrace": []},
    } | more


def dead_letter(body: Any, **attributes: str) -> DeadLetter:
    return read_dead_letter(
        JOB,
        {
            "MessageId": "m1",
            "Body": body if isinstance(body, str) else json.dumps(body),
            "Attributes": {"ApproximateReceiveCount": "3", "SentTimestamp": "1768176000123"},
            "MessageAttributes": {name: {"StringValue": value} for name, value in attributes.items()},
        },
        now=NOW,
    )


def test_an_event_that_kept_failing_is_read_from_the_envelope_of_lambda() -> None:
    read = dead_letter(envelope(scheduled_event(SLOT)))
    assert (read.time, read.malformed, read.received) == (SLOT, None, 2)
    assert read.reason == "RetriesExhausted: RunNotSucceededError: run x failed"
    assert read.sent_at == datetime(2026, 1, 12, 0, 0, 0, 123000, tzinfo=UTC)


def test_an_event_that_grew_too_old_has_its_condition_for_a_reason() -> None:
    too_old = envelope(scheduled_event(SLOT), requestContext={"condition": "EventAgeExceeded"}, responsePayload=None)
    assert dead_letter(too_old).reason == "EventAgeExceeded"


def test_an_event_that_was_not_delivered_is_the_message_itself() -> None:
    event = scheduled_event(SLOT)
    read = dead_letter(event, ERROR_CODE="NO_PERMISSIONS", ERROR_MESSAGE="not authorized", RULE_ARN="arn:...")
    assert (read.event, read.reason) == (event, "not delivered: NO_PERMISSIONS: not authorized")


@pytest.mark.parametrize(
    ("body", "malformed"),
    [
        ("{", "event: expected a JSON object, got None"),
        ([1], r"event: expected a JSON object, got \[1\]"),
        (scheduled_event("yesterday"), "event time: 'yesterday' is not a time such as .*"),
        (scheduled_event("<aws.scheduler.scheduled-time>"), "event time: '<aws.*' is not a time such as .*"),
        (envelope({"tiem": SLOT}), "event key 'tiem': unknown; expected any of .*"),
        ({"requestContext": None}, "event: expected a JSON object, got None"),
    ],
)
def test_a_malformed_message_reports_what_is_wrong_with_it(body: Any, malformed: str) -> None:
    found = dead_letter(body).malformed
    assert found is not None
    assert re.fullmatch(malformed, found)


def test_listing_shows_all_and_leaves_all(stage: FakeStage) -> None:
    for number in range(23):
        stage.add_dead_letter(envelope({"reason": str(number)}))
    for received in range(2):
        found = stage.dead_letters()
        assert sorted(int(each.event["reason"]) for each in found if each.event) == list(range(23))
        assert {each.received for each in found} == {received}


def test_a_redrive_sends_the_original_event_and_deletes_what_succeeded(stage: FakeStage) -> None:
    event, undelivered = scheduled_event(SLOT), scheduled_event("2026-01-11T00:00:00Z")
    stage.add_dead_letter(envelope(event))
    stage.add_dead_letter(undelivered, reason=("SDK_CLIENT_ERROR", "throttled"))
    lines: list[str] = []
    results = stage.redrive(report=lines.append)
    assert [result.succeeded for result in results] == [True, True]
    assert sorted(stage.functions.received, key=str) == sorted([(JOB, event), (JOB, undelivered)], key=str)
    assert f"prize-pool {SLOT}: sending it again, up to 900 s" in lines
    assert f"prize-pool {SLOT}: deleted: prize-pool:{SLOT} succeeded" in lines
    assert stage.dead_letters() == []


def test_an_event_that_fails_again_stays_with_its_reason(stage: FakeStage) -> None:
    stage.add_dead_letter(envelope(scheduled_event(SLOT)))
    stage.functions.behave = fail
    [kept] = stage.redrive()
    assert not kept.succeeded
    assert kept.outcome == f"prize-pool: RunNotSucceededError: run prize-pool:{SLOT} failed"
    assert [each.id for each in stage.dead_letters()] == [kept.dead_letter.id]
    stage.functions.behave = succeed
    assert [result.succeeded for result in stage.redrive()] == [True]
    assert stage.dead_letters() == []


def test_a_manual_event_is_deleted_after_success_alone(stage: FakeStage) -> None:
    stage.add_dead_letter(envelope({"reason": "by hand"}))
    stage.functions.behave = lambda job, _: {"run_id": f"{job}:r1", "status": "partial"}
    assert [(result.succeeded, result.outcome) for result in stage.redrive()] == [(False, "prize-pool:r1 partial")]
    assert len(stage.dead_letters()) == 1


def test_a_malformed_message_is_kept_and_named_and_the_others_are_sent(stage: FakeStage) -> None:
    bad = stage.add_dead_letter("{")
    stage.add_dead_letter(envelope(scheduled_event(SLOT)))
    assert {result.succeeded: result.outcome for result in stage.redrive()} == {
        True: f"prize-pool:{SLOT} succeeded",
        False: f"message {bad}: event: expected a JSON object, got None",
    }
    assert len(stage.functions.received) == 1
    assert [kept.id for kept in stage.dead_letters()] == [bad]


def test_a_redrive_that_is_interrupted_makes_what_it_had_not_deleted_visible_again(stage: FakeStage) -> None:
    def stop(*_: Any) -> dict[str, Any]:
        raise KeyboardInterrupt

    stage.add_dead_letter(envelope(scheduled_event(SLOT)))
    stage.functions.behave = stop
    with pytest.raises(KeyboardInterrupt):
        stage.redrive()
    assert [kept.time for kept in stage.dead_letters()] == [SLOT]


def test_dead_letters_of_all_jobs_are_listed_and_redriven(stage: FakeStage, command: Callable[..., Result]) -> None:
    assert command("dead-letters", "list").stdout == "no dead letters\n"
    stage.add_dead_letter(envelope(scheduled_event(SLOT)))
    stage.add_dead_letter("{", job="cleanup")
    listed = command("dead-letters", "list")
    assert "RetriesExhausted: RunNotSucceededError: run x failed" in listed.stdout
    assert "malformed, message" in listed.stdout
    assert [found["job"] for found in json.loads(command("dead-letters", "list", "--json").stdout)] == [JOB, "cleanup"]
    assert [found["job"] for found in json.loads(command("dead-letters", "list", "cleanup", "--json").stdout)] == [
        "cleanup"
    ]
    redriven = command("dead-letters", "redrive")
    assert (redriven.stdout, redriven.exit_code) == ("1 succeeded, 1 kept\n", 1)
    assert redriven.stderr.startswith("account 123456789012, us-east-1, stack arcade-jobs-dev\n")
    again = command("dead-letters", "redrive", JOB)
    assert (again.stdout, again.exit_code) == ("no dead letters\n", 0)
