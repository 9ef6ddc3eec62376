"""Statistics of runs: what is counted, percentiles, and the slots that were missed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from shared.domain.run import RunStatus
from shared.operations.slots import last_slot
from shared.operations.statistics import JobStatistics, Timetable, summarize
from shared.runs.record import RunEnd

UTC_ZONE, LONDON = ZoneInfo("UTC"), ZoneInfo("Europe/London")
AT = datetime(2026, 1, 12, tzinfo=UTC)
HOURLY = Timetable(cron="0 * * * *", zone=UTC_ZONE, delivery_window=timedelta(hours=1))


def end(run_id: str, *, began: datetime = AT, trigger: str = "scheduled", duration_ms: int | None = 5) -> RunEnd:
    status = RunStatus.RUNNING if duration_ms is None else RunStatus.SUCCEEDED
    return RunEnd(run_id, "leaderboard", trigger, began, status, False, duration_ms, began)


def hour(number: int, **changes: object) -> RunEnd:
    """The run of an hour's slot."""
    at = AT + timedelta(hours=number)
    return end(f"leaderboard:{at:%Y-%m-%dT%H:%MZ}", began=at)._replace(**changes)  # type: ignore[arg-type]


def statistics(*ends: RunEnd, timetable: Timetable = HOURLY, hours: int = 5, since: int | None = None) -> JobStatistics:
    """As of so many hours after midnight."""
    [of_job] = summarize(
        ends,
        timetables={"leaderboard": timetable},
        now=AT + timedelta(hours=hours),
        since=None if since is None else AT + timedelta(hours=since),
    )
    return of_job


def missed(*ends: RunEnd, timetable: Timetable = HOURLY, hours: int = 5, since: int | None = None) -> list[int]:
    found = statistics(*ends, timetable=timetable, hours=hours, since=since).missed
    assert found is not None
    return [slot.hour for slot in found]


def test_a_slot_is_missed_when_there_is_no_run_of_it_and_its_event_is_not_retried_any_more() -> None:
    assert missed(hour(0), hour(2), hours=5) == [1, 3, 4]
    assert missed(hour(0), hour(1), hour(2), hour(3), hours=5) == [4]
    assert missed(hour(0), hour(1), hour(2), hour(3), hours=4) == []


def test_slots_count_from_the_first_scheduled_run_on() -> None:
    assert missed(hour(0, trigger="manual"), hour(3), hours=6) == [4, 5]
    assert missed(hour(0, trigger="manual"), hours=6) == []


def test_a_run_for_a_slot_by_hand_makes_up_for_it_and_one_of_no_slot_or_a_dry_run_does_not() -> None:
    others = [end("leaderboard:r1", began=AT + timedelta(hours=1), trigger="manual")]
    assert missed(hour(0), *others, hour(2), hour(3), hour(4)) == [1]
    assert missed(hour(0), hour(1, trigger="manual"), hour(2), hour(3), hour(4)) == []


def test_slots_of_a_pause_do_not_count() -> None:
    spans = [(AT + timedelta(hours=1), AT + timedelta(hours=3)), (AT + timedelta(hours=4), AT + timedelta(hours=9))]
    assert missed(hour(0), timetable=replace(HOURLY, paused=spans), hours=9) == [3]


def test_since_leaves_out_what_was_before_but_not_that_the_job_fired_before() -> None:
    assert missed(hour(0), hour(4), since=2) == [2, 3]
    recent = statistics(hour(0), since=2, hours=6)
    assert (recent.runs, len(recent.missed or [])) == (0, 4)


def test_slots_are_those_of_the_zone() -> None:
    midnight = Timetable(cron="0 0 * * *", zone=LONDON, delivery_window=timedelta(hours=2))
    first = datetime(2026, 3, 28, tzinfo=UTC)
    [of_job] = summarize(
        [end("leaderboard:2026-03-28T00:00Z", began=first)],
        timetables={"leaderboard": midnight},
        now=datetime(2026, 3, 31, 12, tzinfo=UTC),
    )
    assert [f"{slot:%d %H}" for slot in of_job.missed or []] == ["29 00", "29 23", "30 23"]


def test_without_a_timetable_it_is_not_known_what_was_missed() -> None:
    [of_job] = summarize([hour(0)])
    assert of_job.missed is None
    assert (of_job.to_json()["missed"], of_job.to_json()["missed_slots"]) == (None, None)


@pytest.mark.parametrize(
    ("durations", "percentiles"),
    [
        (range(1, 101), (50, 95, 99, 100)),
        (range(1, 11), (5, 10, 10, 10)),
        ([7], (7, 7, 7, 7)),
        ([None], (None, None, None, None)),
    ],
)
def test_a_percentile_is_a_duration_that_some_run_had(
    durations: list[int | None], percentiles: tuple[int | None, ...]
) -> None:
    of_job = statistics(
        *(
            end(f"leaderboard:r{n}", trigger="manual", duration_ms=each)
            for n, each in enumerate(reversed(list(durations)))
        )
    )
    assert (of_job.p50_ms, of_job.p95_ms, of_job.p99_ms, of_job.longest_ms) == percentiles


def test_the_last_slot_is_before_an_instant_and_none_that_clocks_skip() -> None:
    assert last_slot("0 0 * * *", UTC_ZONE, now=AT) == AT - timedelta(days=1)
    assert last_slot("0 0 * * *", UTC_ZONE, now=AT + timedelta(seconds=1)) == AT
    skipped = datetime(2026, 3, 29, 12, tzinfo=UTC)  # 01:30 was skipped on this day
    assert last_slot("30 1 * * *", LONDON, now=skipped) == datetime(2026, 3, 28, 1, 30, tzinfo=UTC)
    repeated = datetime(2026, 10, 25, 1, 15, tzinfo=UTC)  # between the two 01:30 of this day
    assert last_slot("30 1 * * *", LONDON, now=repeated) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
