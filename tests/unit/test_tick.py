from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.tick import MANUAL_KEYS, MAX_TEXT, BadEventError, Tick, Trigger

NOW = datetime(2026, 1, 12, 0, 0, 30, tzinfo=UTC)
SCHEDULED = {
    "version": "0",
    "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
    "detail-type": "Scheduled Event",
    "source": "aws.events",
    "account": "123456789012",
    "time": "2026-01-12T00:00:00Z",
    "region": "eu-west-1",
    "resources": ["arn:aws:events:eu-west-1:123456789012:rule/prize-pool"],
    "detail": {},
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
not_text = json_values.filter(lambda value: not isinstance(value, str))
not_boolean = json_values.filter(lambda value: not isinstance(value, bool))


def read(event: Any, *, now: datetime = NOW) -> Tick:
    return Tick.from_event(event, now=now, request_id="r-1")


def refusal(event: Any) -> str:
    """The message of the refusal, one short printable line for any event."""
    with pytest.raises(BadEventError) as refused:
        read(event)
    message = str(refused.value)
    assert message.isprintable()
    assert message.isascii()
    assert len(message) < 250
    return message


def test_a_scheduled_event_represents_its_slot() -> None:
    assert read(SCHEDULED) == Tick(
        at=datetime(2026, 1, 12, tzinfo=UTC),
        trigger=Trigger.SCHEDULED,
        slot=datetime(2026, 1, 12, tzinfo=UTC),
        request_id="r-1",
    )


def test_an_empty_event_means_now_and_represents_no_slot() -> None:
    tick = read({}, now=NOW.astimezone(timezone(timedelta(hours=9))))
    assert (tick.at, tick.at.utcoffset(), tick.slot, tick.is_scheduled) == (NOW, timedelta(0), None, False)
    assert tick.run_id("prize-pool") == "prize-pool:r-1"


def test_a_manual_event_with_a_time_represents_the_slot_of_that_time() -> None:
    event = {
        "time": "2026-01-12T00:00:00Z",
        "trigger": "manual",
        "actor": "ada",
        "reason": "missed",
        "dry_run": False,
    }
    tick = read(event)
    assert (tick.trigger, tick.actor, tick.reason, tick.dry_run) == (Trigger.MANUAL, "ada", "missed", False)
    assert tick.run_id("prize-pool") == read(SCHEDULED).run_id("prize-pool") == "prize-pool:2026-01-12T00:00Z"


def test_a_dry_run_never_represents_a_slot() -> None:
    tick = read({"time": "2026-01-12T00:00:00Z", "dry_run": True})
    assert tick.dry_run
    assert tick.at == datetime(2026, 1, 12, tzinfo=UTC)
    assert tick.run_id("cleanup") == "cleanup:r-1"


def test_a_slot_is_cut_to_the_minute_and_the_business_clock_is_not() -> None:
    tick = read(SCHEDULED | {"time": "2026-01-11T23:59:59.999999Z"})
    assert tick.at == datetime(2026, 1, 11, 23, 59, 59, 999999, tzinfo=UTC)
    assert tick.slot == datetime(2026, 1, 11, 23, 59, tzinfo=UTC)
    assert tick.run_id("leaderboard") == "leaderboard:2026-01-11T23:59Z"


@pytest.mark.usefixtures("far_zone")
def test_the_zone_of_the_machine_decides_nothing() -> None:
    at = datetime(2026, 1, 12, tzinfo=UTC)
    by_hand, now = read({"time": "2026-01-12T00:00:00Z"}), read({})
    assert (by_hand.at, by_hand.at.tzinfo, now.at.tzinfo) == (at, UTC, UTC)
    assert refusal({"time": "2026-02-01T00:00:00Z"}).endswith("; it is now 2026-01-12T00:00:30Z")


@given(st.integers(0, 800_000_000), st.integers(-23 * 60, 23 * 60))
def test_one_instant_has_one_run_id_however_it_is_written(seconds_before: int, offset_minutes: int) -> None:
    at = NOW - timedelta(seconds=seconds_before)
    elsewhere = at.astimezone(timezone(timedelta(minutes=offset_minutes)))
    ticks = [read({"time": written}) for written in (f"{at:%Y-%m-%dT%H:%M:%S}Z", elsewhere.isoformat())]
    assert ticks[0] == ticks[1]
    assert ticks[0].run_id("prize-pool") == f"prize-pool:{at:%Y-%m-%dT%H:%M}Z"


@pytest.mark.parametrize(
    ("time", "at"),
    [
        ("2026-01-12T00:00Z", datetime(2026, 1, 12, tzinfo=UTC)),
        ("2026-01-12 00:00:00Z", datetime(2026, 1, 12, tzinfo=UTC)),
        ("2026-01-12T05:30:00+05:30", datetime(2026, 1, 12, tzinfo=UTC)),
        ("2026-01-11T20:00:00.250-04:00", datetime(2026, 1, 12, 0, 0, 0, 250000, tzinfo=UTC)),
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_as_rfc_3339_has_it(time: str, at: datetime) -> None:
    assert read({"time": time}).at == at


@pytest.mark.parametrize(
    ("time", "reason"),
    [
        ("2026-01-12T00:00:00", "has no zone"),
        ("2026-01-12", "is not a time"),
        ("", "is not a time"),
        ("yesterday", "is not a time"),
        ("2026-13-01T00:00:00Z", "is not a time"),
        ("2026-02-29T00:00:00Z", "is not a time"),
        ("2026-01-12T24:30:00Z", "is not a time"),
        ("2026-01-12T00:00:60Z", "is not a time"),
        ("20260112T000000Z", "is not a time"),
        ("2026-W03-1T00:00Z", "is not a time"),
        ("2026-01-12\n00:00:00Z", "is not a time"),
        ("2026-01-12T00:00:00Z\n", "is not a time"),
        ("2026-01-12T00:00:00 Europe/London", "is not a time"),
        ("2026-01-12T00:00:00+24:00", "is not a time"),
        ("\u0662\u0660\u0662\u0666-01-12T00:00:00Z", "is not a time"),
        ("2026-01-12T00:00:00Z" + "0" * 10_000, "is not a time"),
        ("0001-01-01T00:00:00Z", "is before 1970"),
        ("0001-01-01T00:00:00+14:00", "is before 1970"),
        ("1969-12-31T23:59:59Z", "is before 1970"),
        ("9999-12-31T23:59:59-14:00", "is in the future"),
        ("9999-12-31T23:59:59Z", "is in the future"),
    ],
)
@pytest.mark.parametrize("shape", [{}, SCHEDULED], ids=["manual", "scheduled"])
def test_a_malformed_time_is_refused(shape: dict[str, Any], time: str, reason: str) -> None:
    message = refusal(shape | {"time": time})
    assert message.startswith("event time: ")
    assert ascii(time)[:40] in message
    assert reason in message


@pytest.mark.parametrize("event", [SCHEDULED | {"time": None}, {"detail-type": "Scheduled Event"}])
def test_a_scheduled_event_without_a_time_is_refused(event: dict[str, Any]) -> None:
    assert refusal(event).startswith("event time: missing")


@pytest.mark.parametrize(("seconds_ahead", "is_refused"), [(299, False), (300, False), (301, True)])
def test_a_scheduled_time_more_than_five_minutes_ahead_of_the_wall_clock_is_refused(
    seconds_ahead: int, is_refused: bool
) -> None:
    event = SCHEDULED | {"time": f"{NOW + timedelta(seconds=seconds_ahead):%Y-%m-%dT%H:%M:%SZ}"}
    if is_refused:
        time = event["time"]
        assert refusal(event) == f"event time: '{time}' is in the future; it is now 2026-01-12T00:00:30Z"
    else:
        assert read(event).at == NOW + timedelta(seconds=seconds_ahead)


@pytest.mark.parametrize("dry_run", [False, True])
def test_s27_a_manual_time_ahead_of_the_wall_clock_is_refused(dry_run: bool) -> None:
    assert read({"time": "2026-01-12T00:00:30Z", "dry_run": dry_run}).at == NOW
    assert refusal({"time": "2026-01-12T00:00:31Z", "dry_run": dry_run}) == (
        "event time: '2026-01-12T00:00:31Z' is in the future; it is now 2026-01-12T00:00:30Z"
    )


@pytest.mark.parametrize("event", [None, [], [SCHEDULED], "{}", 7, float("nan"), True, b"{}"])
def test_what_is_no_json_object_is_refused_and_shown(event: Any) -> None:
    assert refusal(event).startswith(f"event: expected a JSON object, got {ascii(event)[:77]}")


@pytest.mark.parametrize(
    "key", [*(key + " " for key in MANUAL_KEYS), "Time", "dryRun", "", "a\nb", "\ud800", "k" * 9000]
)
def test_an_unknown_key_is_refused_by_name(key: str) -> None:
    message = refusal({key: "2026-01-12T00:00:00Z"})
    assert message.startswith(f"event key {ascii(key)[:40]}")
    assert ", ".join(MANUAL_KEYS) in message


def test_a_misspelt_detail_type_does_not_make_a_scheduled_event() -> None:
    assert refusal(SCHEDULED | {"detail-type": "scheduled event"}).startswith("event key 'version': unknown")


@given(not_text)
def test_a_time_of_another_type_is_refused(value: Any) -> None:
    assert refusal({"time": value}).startswith("event time: expected text such as 2026-01-12T00:00:00Z, got ")


@pytest.mark.parametrize("key", ["dry_run", "accept_orphans"])
@given(not_boolean)
def test_a_flag_that_is_no_boolean_is_refused(key: str, value: Any) -> None:
    assert refusal({key: value}).startswith(f"event {key}: expected true or false, got ")


def test_orphans_are_accepted_by_hand_alone() -> None:
    assert [read(event).accept_orphans for event in ({}, {"accept_orphans": False}, {"accept_orphans": True})] == [
        False,
        False,
        True,
    ]


@given(json_values.filter(lambda value: value != "manual"))
def test_another_trigger_than_manual_is_refused(value: Any) -> None:
    assert refusal({"trigger": value}).startswith("event trigger: expected 'manual', got ")


def test_a_refusal_shows_the_value() -> None:
    assert refusal({"trigger": "cron"}) == "event trigger: expected 'manual', got 'cron'"
    assert refusal({"reason": 7}) == "event reason: expected text, got 7"


@pytest.mark.parametrize(("length", "shown"), [(78, "'" + "x" * 78 + "'"), (79, "'" + "x" * 76 + "...")])
def test_a_value_is_shown_in_full_up_to_80_characters(length: int, shown: str) -> None:
    assert refusal({"trigger": "x" * length}) == f"event trigger: expected 'manual', got {shown}"


@pytest.mark.parametrize("key", ["actor", "reason"])
@given(not_text.filter(lambda value: value is not None))
def test_an_actor_or_reason_of_another_type_is_refused(key: str, value: Any) -> None:
    assert refusal({key: value}).startswith(f"event {key}: expected text, got ")


@pytest.mark.parametrize("key", ["actor", "reason"])
def test_an_actor_or_reason_is_as_long_as_it_may_be(key: str) -> None:
    assert getattr(read({key: "x" * MAX_TEXT}), key) == "x" * MAX_TEXT
    assert refusal({key: "x" * (MAX_TEXT + 1)}) == f"event {key}: 501 characters are too many; at most 500"


@pytest.mark.parametrize("key", ["actor", "reason"])
def test_text_that_no_record_can_hold_is_refused(key: str) -> None:
    """JSON can write half of a pair (RFC 8259, section 8.2); neither DynamoDB nor a log can hold it."""
    assert refusal({key: "a\ud800"}) == f"event {key}: 'a\\ud800' is not valid Unicode"


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=MAX_TEXT))
def test_any_other_text_is_kept_as_it_is(text: str) -> None:
    tick = read({"actor": text, "reason": text})
    assert (tick.actor, tick.reason) == (text, text)


@pytest.mark.parametrize("key", ["dry_run", "accept_orphans"])
@pytest.mark.parametrize("value", [True, False, None, "true"])
def test_a_scheduled_event_is_no_dry_run_and_accepts_no_orphans(key: str, value: Any) -> None:
    assert refusal(SCHEDULED | {key: value}) == (f"event {key}: {value!r} does not belong in a scheduled event")


@given(st.dictionaries(st.sampled_from(MANUAL_KEYS) | st.text(max_size=6), json_values, max_size=4))
def test_any_json_object_is_read_or_refused_in_one_line(event: dict[str, Any]) -> None:
    try:
        tick = read(event)
    except BadEventError:
        refusal(event)
    else:
        assert tick.at <= NOW


def test_a_value_too_large_to_show_is_refused_all_the_same() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    assert refusal({"time": nested}).endswith(", got list too large to show")
    assert refusal({"dry_run": 10**5000}).endswith(", got int too large to show")
