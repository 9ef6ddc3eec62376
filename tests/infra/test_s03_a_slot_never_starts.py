"""S03: a slot never starts. An alarm within the grace time, without any of our code; one notification, one recovery.

CloudWatch does not run here, so the template's alarms are evaluated by the rules of its manual, over series of metrics
with missing data; the evaluation is first tested against the manual's own table. Delivery of the notification is AWS's;
an emulator shows that an alarm that is raised twice notifies its topic once.
"""

import json
import re
import time
from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, cast

import pytest
from cronsim import CronSim

from infra.jobs import JOBS, Job
from infra.local import emulator
from infra.stack.monitoring import silent_after
from tests.infra.template import EXISTING, Template

HOUR, DAY = 60, 24 * 60  # minutes
LONDON = {"timezone": "Europe/London"}  # its days have 23, 24 or 25 hours
STEP = 5  # minutes between two evaluations
LOOKED_BACK = 24  # older data points that CloudWatch may use when data are missing; the manual has no number
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html: 3 out of 3, the latest
# data point on the right; X breaches, 0 does not, - is missing. None keeps the state (or has too little data).
MANUAL: dict[str, dict[str, str | None]] = {
    "0 - X - X": {"missing": "OK", "breaching": "OK", "notBreaching": "OK"},
    "- - - - 0": {"missing": "OK", "breaching": "OK", "notBreaching": "OK"},
    "- - - - -": {"missing": None, "breaching": "ALARM", "notBreaching": "OK"},
    "0 X X - X": {"missing": "ALARM", "breaching": "ALARM", "notBreaching": "ALARM"},
    "- - X - -": {"missing": "ALARM", "breaching": "ALARM", "notBreaching": "OK"},
}
COMPARE = {
    "LessThanThreshold": lambda value, threshold: value < threshold,
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
}
PYTHON = Path(__file__).parents[2] / ".emulator" / "venv" / "bin" / "python"


def evaluate(points: Sequence[bool | None], *, needed: int, missing: str, to_alarm: int | None = None) -> str | None:
    """The state of an alarm, as CloudWatch evaluates it.

    Args:
        points: of the whole evaluation range, the latest last; whether each breaches, None where there is none.
        needed: evaluation periods; older points are used only when so many are missing.
        missing: how missing data are treated.
        to_alarm: how many data points have to breach; None: all.
    """
    known = [point for point in points if point is not None][-needed:]
    holes = needed - len(known)
    if holes and missing in {"breaching", "notBreaching"}:
        known += [missing == "breaching"] * holes
    is_raised = all(known) if to_alarm in {None, needed} else sum(known) >= to_alarm
    return None if not known else "ALARM" if is_raised else "OK"


@pytest.mark.parametrize("row", MANUAL)
@pytest.mark.parametrize("missing", ["missing", "breaching", "notBreaching"])
def test_s03_alarms_are_evaluated_by_the_rules_of_the_manual(row: str, missing: str) -> None:
    points = [{"X": True, "0": False, "-": None}[point] for point in row.split()]
    assert evaluate(points, needed=3, missing=missing) == MANUAL[row][missing]


@dataclass
class Metrics:
    """The data points of every metric of a job: minute, value, and the minute from which on it is known."""

    points: dict[str, list[tuple[int, float, int]]] = field(default_factory=dict)

    def put(self, name: str, minute: int, value: float = 1, *, known_at: int | None = None) -> None:
        insort(self.points.setdefault(name, []), (minute, value, minute if known_at is None else known_at))

    def read(self, name: str, since: int, until: int, *, now: int) -> float | None:
        points = self.points.get(name, [])
        between = points[bisect_left(points, (since,)) : bisect_left(points, (until,))]
        values = [value for _, value, known_at in between if known_at <= now]
        if not values:
            return None
        return max(values) if name in {"Duration", "ApproximateNumberOfMessagesVisible"} else sum(values)


@dataclass(frozen=True)
class Alarms:
    """A job's alarms and its composite, from the template."""

    template: Template
    job: Job

    def named(self) -> dict[str, Mapping[str, Any]]:
        ids = self.template.resources("AWS::CloudWatch::Alarm")
        rule = json.dumps(self.composite()["AlarmRule"])
        return {id_: found["Properties"] for id_, found in ids.items() if f'"{id_}"' in rule}

    def composite(self) -> Mapping[str, Any]:
        (found,) = [
            each
            for each in self.template.properties("AWS::CloudWatch::CompositeAlarm")
            if each["AlarmName"].endswith(f"-{self.job.name}")
        ]
        return found

    def state(self, alarm: Mapping[str, Any], metrics: Metrics, minute: int) -> str | None:
        """The state of one alarm: the last whole periods before the minute, each with or without a data point."""
        metric = alarm if "MetricName" in alarm else alarm["Metrics"][1]["MetricStat"]
        period = metric["Period"] // 60
        name = metric["MetricName"] if "MetricName" in metric else metric["Metric"]["MetricName"]
        needed = alarm["EvaluationPeriods"]
        to_alarm = alarm["DatapointsToAlarm"]

        def read(periods: range) -> list[float | None]:
            ends = [minute - period * back for back in reversed(periods)]
            return [metrics.read(name, end - period, end, now=minute) for end in ends]

        values = read(range(needed))
        if (
            None in values and name in metrics.points and to_alarm == needed
        ):  # else older ones change nothing, or little
            values = read(range(needed, needed + LOOKED_BACK)) + values
        if any(re.fullmatch(r"FILL\(\w+, 0\)", query.get("Expression", "")) for query in alarm.get("Metrics", [])):
            # A metric without any data in the range has nothing to fill.
            values = [value or 0 for value in values] if any(value is not None for value in values) else values
        breaches = COMPARE[alarm["ComparisonOperator"]]
        points = [None if value is None else breaches(value, alarm["Threshold"]) for value in values]
        return evaluate(points, needed=needed, missing=alarm["TreatMissingData"], to_alarm=to_alarm)

    def watch(self, metrics: Metrics, *, since: int, until: int) -> Iterator[tuple[int, str, set[str]]]:
        """Each minute at which the composite changed and so notified: its state, and the alarms that are raised."""
        composite = self.composite()
        assert composite["AlarmActions"] == composite["OKActions"]
        assert len(composite["AlarmActions"]) == 1
        alarms = self.named()
        states = dict.fromkeys(alarms, "OK")
        last = "OK"
        for minute in range(since, until, STEP):
            for id_, alarm in alarms.items():
                states[id_] = self.state(alarm, metrics, minute) or states[id_]
            raised = {
                alarms[id_]["AlarmName"].split(f"{self.job.name}-")[1]
                for id_, state in states.items()
                if state == "ALARM"
            }
            if (now := "ALARM" if raised else "OK") != last:
                yield minute, now, raised
            last = now


JOB = {job.name: job for job in JOBS}
FIRST_SLOTS = {job.name: islice(CronSim(job.cron, datetime(2026, 1, 1, tzinfo=UTC)), 2) for job in JOBS}
INTERVAL = {name: (last - first) // timedelta(minutes=1) for name, (first, last) in FIRST_SLOTS.items()}
STARTED = 30 * DAY  # the first minute that is evaluated; the job has succeeded for a month


def succeeded_until(job: Job, last: int) -> Metrics:
    metrics = Metrics()
    for minute in range(0, last + 1, INTERVAL[job.name]):
        metrics.put("RunSucceeded", minute + 1)
    return metrics


@pytest.mark.parametrize("name", JOB)
def test_s03_a_slot_that_never_starts_raises_silence_within_the_grace_time_and_notifies_once(synthesize, name):
    job = JOB[name]
    alarms = Alarms(synthesize(EXISTING), job)
    metrics = succeeded_until(job, STARTED)
    grace = int(silent_after(job, "UTC").total_seconds()) // 60
    [(minute, state, raised)] = alarms.watch(metrics, since=STARTED + STEP, until=STARTED + 10 * DAY)
    assert (state, raised) == ("ALARM", {"silence"})
    assert STARTED + INTERVAL[name] < minute <= STARTED + grace + HOUR + STEP  # a slot was due, and the grace is over
    # Which is no later than the platform may still deliver and retry that slot, on a day of 25 hours.
    late = job.delivery_window.total_seconds() / 60 + job.timeout.total_seconds() / 60
    assert grace - INTERVAL[name] < late + 2 * HOUR


@pytest.mark.parametrize("name", JOB)
def test_s03_ten_more_failures_add_no_notification_and_recovery_sends_one(synthesize, name):
    """Silence, then ten slots that start and fail three times each, then a redrive that succeeds."""
    job = JOB[name]
    alarms = Alarms(synthesize(EXISTING), job)
    metrics = succeeded_until(job, STARTED)
    [(silent_at, *_)] = alarms.watch(metrics, since=STARTED + STEP, until=STARTED + 3 * DAY)
    slots = [silent_at // DAY * DAY + DAY + number * INTERVAL[name] for number in range(10)]
    recovered_at = slots[-1] + 2 * HOUR
    for slot in slots:
        for attempt_at in (slot, slot + 1, slot + 3):
            metrics.put("Errors", attempt_at)
            metrics.put("RunFailed", attempt_at)
    for minute in range(slots[0] + 5, recovered_at, 1):
        waiting = sum(slot + 5 <= minute for slot in slots)
        metrics.put("ApproximateNumberOfMessagesVisible", minute, waiting)
    metrics.put("ApproximateNumberOfMessagesVisible", recovered_at, 0)
    for minute in range(recovered_at, recovered_at + 2 * DAY, INTERVAL[name]):
        metrics.put("RunSucceeded", minute)
    notified = list(alarms.watch(metrics, since=STARTED + STEP, until=recovered_at + 2 * DAY))
    assert [state for _, state, _ in notified] == ["ALARM", "OK"]
    assert recovered_at < notified[1][0] <= recovered_at + HOUR + STEP


@pytest.mark.parametrize("name", JOB)
def test_s03_a_failure_notifies_once_when_it_is_dead_lettered_and_once_when_that_is_gone(synthesize, name):
    """While the platform still retries nobody is notified."""
    job = JOB[name]
    metrics = succeeded_until(job, STARTED + 10 * DAY)
    for attempt_at in (0, 1, 3):
        metrics.put("Errors", STARTED + 7 + attempt_at)
    for minute in range(STARTED + 11, STARTED + 5 * HOUR):
        metrics.put("ApproximateNumberOfMessagesVisible", minute)
    watched = Alarms(synthesize(EXISTING), job).watch(metrics, since=STARTED, until=STARTED + DAY)
    [(raised_at, *raised), (_, *over)] = watched
    assert (raised, over) == (["ALARM", {"dead-letters"}], ["OK", set()])
    assert raised_at >= STARTED + 11


@pytest.mark.parametrize("name", JOB)
def test_a_failure_that_a_retry_mends_notifies_nobody(synthesize, name):
    metrics = succeeded_until(JOB[name], STARTED + 2 * DAY)
    for attempt_at in (0, 1):
        metrics.put("Errors", STARTED + 7 + attempt_at)
        metrics.put("RunFailed", STARTED + 7 + attempt_at)
    assert list(Alarms(synthesize(EXISTING), JOB[name]).watch(metrics, since=STARTED, until=STARTED + DAY)) == []


@pytest.mark.parametrize("metric", ["PoolsWithoutWinner", "EntriesPassedOver", "PoolsDueAfterRun", "Duration"])
def test_the_same_on_three_days_is_one_message_and_one_when_a_run_is_well(synthesize, metric):
    job = JOB["prize-pool"]
    bad = 0.9 * job.timeout.total_seconds() * 1000 if metric == "Duration" else 1
    metrics = succeeded_until(job, STARTED + 10 * DAY)
    for day in range(10):
        metrics.put(metric, STARTED + day * DAY + 1, bad if day in {2, 3, 4} else 0)
    watched = list(Alarms(synthesize(EXISTING), job).watch(metrics, since=STARTED, until=STARTED + 9 * DAY))
    assert [state for _, state, _ in watched] == ["ALARM", "OK"]
    assert STARTED + 2 * DAY < watched[0][0] <= STARTED + 2 * DAY + STEP
    assert (
        STARTED + 5 * DAY < watched[1][0] <= STARTED + 5 * DAY + 4 * HOUR
    )  # the first run that is well, and its window


@pytest.mark.parametrize("name", JOB)
def test_s03_a_stack_whose_job_never_ran_is_in_alarm(synthesize, name):
    watched = Alarms(synthesize(EXISTING), JOB[name]).watch(Metrics(), since=STARTED, until=STARTED + DAY)
    assert [(minute, state, raised) for minute, state, raised in watched] == [(STARTED, "ALARM", {"silence"})]


@pytest.mark.parametrize("name", ["prize-pool", "cleanup"])
@pytest.mark.parametrize("day", [23 * HOUR, 24 * HOUR, 25 * HOUR])
def test_s03_a_job_that_runs_each_local_day_is_never_silent(synthesize, name, day):
    """Even when each day is as long as days get, and each run takes the whole of its time twice over."""
    job = JOB[name]
    metrics = Metrics()
    for number in range(60):
        metrics.put("RunSucceeded", number * day + (number % 2) * 2 * int(job.timeout.total_seconds()) // 60)
    alarms = Alarms(synthesize(EXISTING | LONDON), job)
    assert list(alarms.watch(metrics, since=STARTED, until=STARTED + 10 * DAY)) == []


@pytest.mark.parametrize("name", JOB)
@pytest.mark.parametrize("day", [23 * HOUR, 24 * HOUR, 25 * HOUR])
def test_s30_a_slot_that_is_delivered_late_is_not_silent(synthesize, name, day):
    """Its success counts in its slot, and is known after the last retry: now in time, now as late as it may be."""
    job = JOB[name]
    interval = day if job.follows_zone else HOUR
    late = int((job.delivery_window + job.timeout).total_seconds()) // 60
    metrics = Metrics()
    for number in range(STARTED // interval + 20):
        slot = number * interval
        metrics.put("RunSucceeded", slot, known_at=slot + (number % 2) * late)
    until = STARTED + 10 * interval
    alarms = Alarms(synthesize(EXISTING | LONDON), job)
    assert list(alarms.watch(metrics, since=STARTED, until=until)) == []


@pytest.mark.parametrize("name", JOB)
@pytest.mark.parametrize("past", [DAY, 10 * DAY])
def test_s30_a_run_for_a_past_slot_does_not_end_the_silence(synthesize, name, past):
    """A trigger of the slot that was missed does, and so does one without a time."""
    job = JOB[name]
    alarms = Alarms(synthesize(EXISTING), job)
    metrics = succeeded_until(job, STARTED)
    triggered_at = STARTED + 3 * DAY
    metrics.put("RunSucceeded", triggered_at - past - 2 * DAY, known_at=triggered_at)
    [(_, state, _)] = alarms.watch(metrics, since=STARTED + STEP, until=triggered_at + DAY)
    assert state == "ALARM"
    metrics.put("RunSucceeded", triggered_at)
    notified = [state for _, state, _ in alarms.watch(metrics, since=STARTED + STEP, until=triggered_at + STEP * 3)]
    assert notified == ["ALARM", "OK"]


def test_s03_without_fill_an_old_success_would_hide_the_silence(synthesize):
    """Why the alarm is an expression: on the metric itself it finds a success outside its window."""
    alarms = Alarms(synthesize(EXISTING), JOB["prize-pool"])
    silence = alarms.template.alarm("prize-pool-silence")
    bare = {**silence, "Metrics": [{**silence["Metrics"][0], "Expression": "succeeded"}, silence["Metrics"][1]]}
    metrics = Metrics()
    for minute in range(0, STARTED, HOUR):
        metrics.put("RunSucceeded", minute)
    silent_for_29_hours = STARTED + 29 * HOUR
    assert alarms.state(silence, metrics, silent_for_29_hours) == "ALARM"
    assert alarms.state(bare, metrics, silent_for_29_hours) == "OK"


def test_s03_an_alarm_that_is_raised_again_notifies_once(tmp_path: Path) -> None:
    """On an emulator: alarm, topic, queue. The test sets the states: the emulator evaluates no expression."""
    running = emulator.start(tmp_path / "emulator", python=PYTHON, port=0)

    def client(service: str) -> Any:
        return cast("Any", emulator.session()).client(service, endpoint_url=running.endpoint)

    try:
        sns, sqs, cloudwatch = client("sns"), client("sqs"), client("cloudwatch")
        topic = sns.create_topic(Name="alarms")["TopicArn"]
        queue = sqs.create_queue(QueueName="operator")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        cloudwatch.put_metric_alarm(
            AlarmName="prize-pool", Namespace="ArcadeJobs", MetricName="RunSucceeded", Statistic="Sum", Period=3600,
            EvaluationPeriods=26, Threshold=1, ComparisonOperator="LessThanThreshold", TreatMissingData="breaching",
            AlarmActions=[topic], OKActions=[topic],
        )  # fmt: skip
        for state in ("OK", "ALARM", *["ALARM"] * 10, "OK"):
            cloudwatch.set_alarm_state(AlarmName="prize-pool", StateValue=state, StateReason="test")
        assert received(sqs, queue, 3) == ["ALARM", "OK", "OK"]  # of 13 states that were set
    finally:
        emulator.stop(tmp_path / "emulator")


def received(sqs: Any, queue: str, count: int) -> list[str]:
    """The states that a queue received, sorted: as soon as there are `count`, or after two seconds."""
    found: list[str] = []
    deadline = time.monotonic() + 2
    while len(found) < count and time.monotonic() < deadline:
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
            body = json.loads(message["Body"])
            found.append(json.loads(body["Message"])["NewStateValue"])
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return sorted(found)
