"""`arcade-jobs dead-letters`: listed without loss, sent again with the original event, deleted once settled."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from typer.testing import Result

from infra.deployed.dead_letters import DeadLetter, read_letter
from tests.fakes import scheduled_event
from tests.operator.operated import JOB, NOW, SLOT, Operated, fail, succeed


def envelope(event: Any, **more: Any) -> dict[str, Any]:
    """What Lambda sends to a failure destination."""
    return {
        "version": "1.0",
        "requestContext": {"condition": "RetriesExhausted", "approximateInvokeCount": 3},
        "requestPayload": event,
        "responseContext": {"statusCode": 200, "functionError": "Unhandled"},
        "responsePayload": {"errorType": "RunNotSucceededError", "errorMessage": "run x\nfailed", "stackTrace": []},
    } | more


def letter(body: Any, **attributes: str) -> DeadLetter:
    return read_letter(
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
    read = letter(envelope(scheduled_event(SLOT)))
    assert (read.time, read.malformed, read.received) == (SLOT, None, 2)
    assert read.reason == "RetriesExhausted: RunNotSucceededError: run x failed"
    assert read.sent_at == datetime(2026, 1, 12, 0, 0, 0, 123000, tzinfo=UTC)


def test_an_event_that_grew_too_old_has_its_condition_for_a_reason() -> None:
    too_old = envelope(scheduled_event(SLOT), requestContext={"condition": "EventAgeExceeded"}, responsePayload=None)
    assert letter(too_old).reason == "EventAgeExceeded"


def test_an_event_that_was_not_delivered_is_the_message_itself() -> None:
    event = scheduled_event(SLOT)
    read = letter(event, ERROR_CODE="NO_PERMISSIONS", ERROR_MESSAGE="not authorized", RULE_ARN="arn:...")
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
def test_a_malformed_message_says_what_is_wrong_with_it(body: Any, malformed: str) -> None:
    told = letter(body).malformed
    assert told is not None
    assert re.fullmatch(malformed, told)


def test_listing_shows_all_and_leaves_all(operated: Operated) -> None:
    for number in range(23):
        operated.bury(envelope({"reason": str(number)}))
    for received in range(2):
        letters = operated.letters()
        assert sorted(int(letter.event["reason"]) for letter in letters if letter.event) == list(range(23))
        assert {letter.received for letter in letters} == {received}


def test_a_redrive_sends_the_original_event_and_deletes_what_it_settled(operated: Operated) -> None:
    event, undelivered = scheduled_event(SLOT), scheduled_event("2026-01-11T00:00:00Z")
    operated.bury(envelope(event))
    operated.bury(undelivered, reason=("SDK_CLIENT_ERROR", "throttled"))
    told: list[str] = []
    redriven = operated.redrive(report=told.append)
    assert [done.is_settled for done in redriven] == [True, True]
    assert sorted(operated.functions.given, key=str) == sorted([(JOB, event), (JOB, undelivered)], key=str)
    assert f"prize-pool {SLOT}: sending it again, up to 900 s" in told
    assert f"prize-pool {SLOT}: settled: prize-pool:{SLOT} succeeded" in told
    assert operated.letters() == []


def test_an_event_that_fails_again_stays_with_its_reason(operated: Operated) -> None:
    operated.bury(envelope(scheduled_event(SLOT)))
    operated.functions.behave = fail
    [left] = operated.redrive()
    assert not left.is_settled
    assert left.outcome == f"prize-pool: RunNotSucceededError: run prize-pool:{SLOT} failed"
    assert [kept.id for kept in operated.letters()] == [left.letter.id]
    operated.functions.behave = succeed
    assert [done.is_settled for done in operated.redrive()] == [True]
    assert operated.letters() == []


def test_a_manual_event_is_settled_by_success_alone(operated: Operated) -> None:
    operated.bury(envelope({"reason": "by hand"}))
    operated.functions.behave = lambda job, _: {"run_id": f"{job}:r1", "status": "partial"}
    assert [(done.is_settled, done.outcome) for done in operated.redrive()] == [(False, "prize-pool:r1 partial")]
    assert len(operated.letters()) == 1


def test_a_malformed_message_is_left_and_named_and_the_others_are_sent(operated: Operated) -> None:
    bad = operated.bury("{")
    operated.bury(envelope(scheduled_event(SLOT)))
    redriven = {done.is_settled: done.outcome for done in operated.redrive()}
    assert redriven == {
        True: f"prize-pool:{SLOT} succeeded",
        False: f"message {bad}: event: expected a JSON object, got None",
    }
    assert len(operated.functions.given) == 1
    assert [kept.id for kept in operated.letters()] == [bad]


def test_a_redrive_that_is_stopped_leaves_what_it_had_not_settled_in_sight(operated: Operated) -> None:
    def stop(*_: Any) -> dict[str, Any]:
        raise KeyboardInterrupt

    operated.bury(envelope(scheduled_event(SLOT)))
    operated.functions.behave = stop
    with pytest.raises(KeyboardInterrupt):
        operated.redrive()
    assert [kept.time for kept in operated.letters()] == [SLOT]


def test_dead_letters_of_all_jobs_are_listed_and_redriven(operated: Operated, command: Callable[..., Result]) -> None:
    assert command("dead-letters", "list").stdout == "no dead letters\n"
    operated.bury(envelope(scheduled_event(SLOT)))
    operated.bury("{", job="cleanup")
    listed = command("dead-letters", "list")
    assert "RetriesExhausted: RunNotSucceededError: run x failed" in listed.stdout
    assert "malformed, message" in listed.stdout
    assert [found["job"] for found in json.loads(command("dead-letters", "list", "--json").stdout)] == [JOB, "cleanup"]
    assert [found["job"] for found in json.loads(command("dead-letters", "list", "cleanup", "--json").stdout)] == [
        "cleanup"
    ]
    redriven = command("dead-letters", "redrive")
    assert (redriven.stdout, redriven.exit_code) == ("1 settled, 1 left\n", 1)
    assert redriven.stderr.startswith("account 123456789012, us-east-1, stack arcade-jobs-dev\n")
    settled = command("dead-letters", "redrive", JOB)
    assert (settled.stdout, settled.exit_code) == ("no dead letters\n", 0)
