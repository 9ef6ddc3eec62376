"""`arcade-jobs dead-letters`: listed without loss, sent again with the original event, deleted once a run succeeded."""

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from rich.console import Console
from typer.testing import Result

from infra.cli.status_tables import dead_letters_table
from infra.cli.terminal import UNFOLDED
from infra.deployed import dead_letters
from infra.deployed.dead_letters import DeadLetter, discard, find_dead_letter, read_dead_letter
from shared.domain.errors import ArcadeJobsError, BadInputError
from tests.fakes import scheduled_event
from tests.fakes.stage import JOB, NOW, SLOT, FakeStage, client, fail, succeed


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
    assert "malformed: event: expected a JSON object, got None" in listed.stdout
    assert [found["job"] for found in json.loads(command("dead-letters", "list", "--json").stdout)] == [JOB, "cleanup"]
    assert [found["job"] for found in json.loads(command("dead-letters", "list", "cleanup", "--json").stdout)] == [
        "cleanup"
    ]
    redriven = command("dead-letters", "redrive")
    assert (redriven.stdout, redriven.exit_code) == ("1 succeeded, 1 kept\n", 1)
    assert redriven.stderr.startswith("account 123456789012, us-east-1, stack arcade-jobs-dev\n")
    again = command("dead-letters", "redrive", JOB)
    assert (again.stdout, again.exit_code) == ("no dead letters\n", 0)


def test_show_has_the_whole_event_its_error_and_what_to_do(stage: FakeStage, command: Callable[..., Result]) -> None:
    response = {"errorType": "E", "errorMessage": "run x failed", "stackTrace": ['  File "a.py", line 1\n    boom()\n']}
    event = scheduled_event(SLOT)
    id_ = stage.add_dead_letter(envelope(event, responsePayload=response))
    shown = command("dead-letters", "show", id_[:8])
    assert shown.exit_code == 0, shown.output
    for line in (
        f"id        {id_}",
        "run       prize-pool:2026-01-12T00:00Z",
        "attempts  3",
        "error     RetriesExhausted: E: run x failed",
        '            File "a.py", line 1',
        f'  "time": "{SLOT}",',
        "  arcade-jobs show prize-pool:2026-01-12T00:00Z --log",
        "  arcade-jobs dead-letters redrive prize-pool",
    ):
        assert line in shown.stdout
    as_json = json.loads(command("dead-letters", "show", id_, "--json").stdout)
    assert (as_json["event"], as_json["attempts"]) == (event, 3)
    assert as_json["stack"] == ['  File "a.py", line 1\n    boom()']


def test_a_manual_event_that_failed_names_the_run_of_its_request() -> None:
    context = {"condition": "RetriesExhausted", "requestId": "r-1", "approximateInvokeCount": 3}
    assert dead_letter(envelope({"reason": "by hand"}, requestContext=context)).run_id == "prize-pool:r-1"
    assert dead_letter({"reason": "not delivered"}).run_id is None
    assert dead_letter({"reason": "not delivered"}, ERROR_CODE="NO_PERMISSIONS").attempts == 0
    assert dead_letter({"reason": "from a stranger"}).attempts is None


def test_discard_deletes_one_and_no_other(stage: FakeStage, command: Callable[..., Result]) -> None:
    stage.add_dead_letter(envelope(scheduled_event(SLOT)))
    bad = stage.add_dead_letter("{")
    discarded = command("dead-letters", "discard", bad, "--yes")
    assert (discarded.exit_code, discarded.stdout.splitlines()[-1]) == (0, f"discarded {bad}")
    assert "refused   event: expected a JSON object, got None\n{" in discarded.stdout, "what it holds instead"
    assert [left.time for left in stage.dead_letters()] == [SLOT]


def test_discard_asks_where_it_can_and_otherwise_needs_yes(
    stage: FakeStage, command: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = stage.add_dead_letter("{")
    refused = command("dead-letters", "discard", bad)
    assert str(refused.exception).startswith(f"--yes: required to discard {bad}")
    assert isinstance(refused.exception, BadInputError)
    monkeypatch.setattr("infra.cli.dead_letters._somebody_is_there", lambda: True)
    for answer, exit_code, left in (("n", 1, 1), ("", 1, 1), ("y", 0, 0)):
        monkeypatch.setattr("builtins.input", lambda answer=answer: answer)
        assert command("dead-letters", "discard", bad).exit_code == exit_code
        assert len(stage.dead_letters()) == left


@pytest.mark.parametrize("name", ["show", "discard"])
@pytest.mark.parametrize(
    ("id_", "kind", "message"),
    [
        ("", BadInputError, "ID: '' is empty; arcade-jobs dead-letters list shows the ids"),
        ("zzz", ArcadeJobsError, "dead letter 'zzz': not found; arcade-jobs dead-letters list shows what there is"),
    ],
)
def test_an_id_of_no_dead_letter_is_one_line(
    command: Callable[..., Result], name: str, id_: str, kind: type[Exception], message: str
) -> None:
    refused = command("dead-letters", name, id_)
    assert (type(refused.exception), str(refused.exception)) == (kind, message)


def test_a_beginning_of_several_ids_names_them() -> None:
    letters = [replace(dead_letter("{"), id=id_) for id_ in ("ab1", "ab2", "c")]
    with pytest.raises(BadInputError, match=r"^ID: 'ab' is the beginning of ab1, ab2$"):
        find_dead_letter(letters, "ab")
    assert find_dead_letter(letters, "C").id == "c"


def test_what_another_command_took_meanwhile_is_not_discarded(stage: FakeStage) -> None:
    stage.add_dead_letter("{")
    [found] = stage.dead_letters()
    client("sqs").purge_queue(QueueUrl=stage.queue())
    with pytest.raises(ArcadeJobsError, match="gone, or another command has it for up to 60 s; nothing was deleted"):
        discard(stage.deployment, found)


def test_an_empty_queue_is_not_waited_for(stage: FakeStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "LONG_POLL", 20)
    begun = time.monotonic()
    assert stage.dead_letters() == []
    assert time.monotonic() - begun < 1


def test_a_message_stays_hidden_for_as_long_as_its_run_takes(stage: FakeStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "SENDING", 1)
    seen: list[int] = []

    def look_later(job: str, event: dict[str, Any]) -> dict[str, Any]:
        time.sleep(1.3)
        seen.append(len(client("sqs").receive_message(QueueUrl=stage.queue()).get("Messages", [])))
        return succeed(job, event)

    stage.add_dead_letter(envelope(scheduled_event(SLOT)))
    stage.functions.behave = look_later
    assert [result.succeeded for result in stage.redrive()] == [True]
    assert seen == [0]


def test_what_another_command_holds_is_not_taken_for_nothing(stage: FakeStage, command: Callable[..., Result]) -> None:
    stage.add_dead_letter(envelope(scheduled_event(SLOT)))
    client("sqs").receive_message(QueueUrl=stage.queue(), VisibilityTimeout=60)
    said = "no dead letters in sight; another command holds 1, for up to 60 s\n"
    assert command("dead-letters", "list").stdout == command("dead-letters", "redrive", JOB).stdout == said


def test_a_piped_list_has_a_line_for_each(stage: FakeStage) -> None:
    stage.add_dead_letter(envelope(scheduled_event(SLOT)))
    stage.add_dead_letter("{")
    found = stage.dead_letters()
    console = Console(width=UNFOLDED, record=True, file=StringIO())
    console.print(dead_letters_table(found, between=" "))
    _, _, *lines = (line for line in console.export_text().splitlines() if line.strip())
    assert [line.split()[0] for line in lines] == [each.id[:8] for each in found]


def test_the_table_is_whole_at_80_columns(stage: FakeStage) -> None:
    stage.add_dead_letter(envelope(scheduled_event(SLOT)))
    stage.add_dead_letter(scheduled_event("x" * 500), reason=("NO_PERMISSIONS", "not authorized " * 20))
    stage.add_dead_letter("{", job="leaderboard")
    found = [*stage.dead_letters(), *stage.dead_letters("leaderboard")]
    console = Console(width=80, record=True, file=StringIO())
    console.print(dead_letters_table(found))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
    assert all(each.id[:8] in "".join(lines) for each in found)
