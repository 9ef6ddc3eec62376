"""Every alarm: when it is raised, what it does without data, who is notified; and the dashboard."""

import json
import re
from dataclasses import replace
from datetime import timedelta

import pytest

from infra.jobs import JOBS
from infra.stack.monitoring import silent_after
from shared.metrics import NAMESPACE
from shared.operations.schedule import SILENCE_COUNTS
from tests.infra.template import EXISTING, JOB_NAMES, ON_LAPTOP
from tests.jobs import invoke

LONDON = {"timezone": "Europe/London"}
ON_CALL = "arn:aws:sns:eu-west-1:123456789012:on-call"
OF_EACH_JOB = ("errors", "dead-letters", "silence", "near-timeout")
OF_PRIZE_POOL = {
    "pools-without-winner": "PoolsWithoutWinner",
    "entries-passed-over": "EntriesPassedOver",
    "pools-due-after-run": "PoolsDueAfterRun",
    "periods-without-pool": "PeriodsWithoutPool",
}
OF_JOBS = {f"{job}-{kind}" for job in JOB_NAMES for kind in OF_EACH_JOB} | {
    f"prize-pool-{kind}" for kind in OF_PRIZE_POOL
}
# A failed run is still retried, and a period without a pool may be as it should be.
PAGING = OF_JOBS - {f"{job}-errors" for job in JOB_NAMES} - {"prize-pool-periods-without-pool"}
OF_THE_STACK = {"dropped-events", "failed-destinations"}


def test_each_job_has_four_alarms_prize_pool_four_more_and_the_stack_two(synthesize):
    assert synthesize(EXISTING).alarm_names() == OF_JOBS | OF_THE_STACK


@pytest.mark.parametrize(("kind", "metric"), OF_PRIZE_POOL.items())
def test_s35_any_count_of_what_needs_a_person_raises_an_alarm(synthesize, kind, metric):
    for context in (EXISTING, ON_LAPTOP):
        alarm = synthesize(context).alarm(f"prize-pool-{kind}")
        assert (alarm["MetricName"], alarm["Statistic"], alarm["Threshold"]) == (metric, "Sum", 1)
        assert alarm["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"
        assert "\n" not in alarm["AlarmDescription"]


def test_an_alarm_names_a_command_and_fits_into_a_message(synthesize):
    for alarm in synthesize(EXISTING).properties("AWS::CloudWatch::Alarm"):
        assert "arcade-jobs " in alarm["AlarmDescription"], alarm["AlarmName"]
        assert len(alarm["AlarmDescription"]) <= 1024  # the most that CloudWatch takes


def test_only_silence_breaches_without_data(synthesize):
    treated = {
        alarm["AlarmName"]: alarm["TreatMissingData"]
        for alarm in synthesize(EXISTING).properties("AWS::CloudWatch::Alarm")
    }
    assert {name for name, treatment in treated.items() if treatment == "breaching"} == {
        f"arcade-jobs-dev-{job}-silence" for job in JOB_NAMES
    }
    assert set(treated.values()) == {"breaching", "notBreaching"}


@pytest.mark.parametrize(("job", "hours"), [("prize-pool", 27), ("leaderboard", 3), ("cleanup", 27)])
def test_silence_is_no_success_in_any_hour_of_the_window(synthesize, job, hours):
    alarm = synthesize(EXISTING).alarm(f"{job}-silence")
    assert (alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"]) == (hours, hours)
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("LessThanThreshold", 1)
    filled, counted = alarm["Metrics"]
    assert (filled["Expression"], filled["ReturnData"]) == (f"FILL({counted['Id']}, 0)", True)
    assert counted["ReturnData"] is False
    assert (counted["MetricStat"]["Stat"], counted["MetricStat"]["Period"]) == ("Sum", 3600)
    assert counted["MetricStat"]["Metric"]["MetricName"] == "RunSucceeded"


@pytest.mark.parametrize(
    ("cron", "timezone", "hours"),
    [
        ("0 0 * * *", "UTC", 27),
        ("0 0 * * *", "Europe/London", 28),  # a day of 25 hours
        ("0 */6 * * *", "UTC", 9),
        ("0 0 * * 1-5", "UTC", 3 * 24 + 3),  # from Friday to Monday
        ("0 0 * * 1", "UTC", 7 * 24 + 3),  # longer than CloudWatch looks back
    ],
)
def test_the_window_of_silence_follows_from_the_schedule(cron, timezone, hours):
    assert silent_after(replace(JOBS[0], cron=cron), timezone) == timedelta(hours=hours)


def test_hours_begin_everywhere_at_once():
    assert [silent_after(job, "Europe/London") for job in JOBS if job.name == "leaderboard"] == [timedelta(hours=3)]


def test_an_output_says_how_long_a_job_may_be_silent(synthesize):
    template = synthesize(EXISTING | LONDON)
    hours = {job.name: template.body["Outputs"].get(f"{job.title}SilentAfterHours") for job in JOBS}
    assert hours == {"prize-pool": {"Value": "28"}, "leaderboard": {"Value": "3"}, "cleanup": {"Value": "28"}}
    for name, output in hours.items():
        assert template.alarm(f"{name}-silence")["EvaluationPeriods"] == int(output["Value"])


def test_a_schedule_too_rare_to_be_watched_is_told_and_has_no_silence_alarm(synthesize):
    template = synthesize(EXISTING | {"schedule.cleanup": "0 3 * * 0"})
    [_, warning] = template.warnings  # the other: nobody is told of alarms
    assert warning == (
        "schedule.cleanup: '0 3 * * 0' has no silence alarm:"
        " CloudWatch looks back 7 days at most, and 8 would be needed"
    )
    assert "cleanup-silence" not in template.alarm_names()
    assert "CleanupSilentAfterHours" not in template.body["Outputs"]
    assert not SILENCE_COUNTS.search(template.composite_rule("cleanup"))


def test_a_disabled_job_may_be_silent(synthesize):
    template = synthesize(EXISTING | {"ENABLE_PRIZEPOOL_JOB": "false"})
    assert {name for name in template.alarm_names() if name.endswith("silence")} == {
        f"{job}-silence" for job in JOB_NAMES if job != "prize-pool"
    }
    assert "prize-pool-errors" in template.alarm_names()


def test_errors_of_the_function_raise_an_alarm(synthesize):
    template = synthesize(EXISTING)
    for job in JOB_NAMES:
        alarm = template.alarm(f"{job}-errors")
        assert (alarm["Namespace"], alarm["MetricName"], alarm["Threshold"]) == ("AWS/Lambda", "Errors", 1)
        assert alarm["Dimensions"] == [{"Name": "FunctionName", "Value": {"Ref": template.function_id(job)}}]


def test_a_dead_letter_raises_an_alarm(synthesize):
    template = synthesize(EXISTING)
    for job in JOB_NAMES:
        alarm = template.alarm(f"{job}-dead-letters")
        assert (alarm["MetricName"], alarm["Threshold"]) == ("ApproximateNumberOfMessagesVisible", 1)
        queue = {"Fn::GetAtt": [template.dead_letters_id(job), "QueueName"]}
        assert alarm["Dimensions"] == [{"Name": "QueueName", "Value": queue}]


def test_four_fifths_of_the_timeout_raise_an_alarm(synthesize):
    for job in JOBS:
        alarm = synthesize(EXISTING).alarm(f"{job.name}-near-timeout")
        assert (alarm["MetricName"], alarm["Statistic"]) == ("Duration", "Maximum")
        assert alarm["Threshold"] == 0.8 * job.timeout.total_seconds() * 1000


@pytest.mark.parametrize(
    ("name", "metric"),
    [("dropped-events", "AsyncEventsDropped"), ("failed-destinations", "DestinationDeliveryFailures")],
)
def test_what_is_lost_is_summed_over_all_functions(synthesize, name, metric):
    template = synthesize(EXISTING)
    total, *parts = template.alarm(name)["Metrics"]
    assert total["Expression"] == f"SUM([{', '.join(part['Id'] for part in parts)}])"
    assert {part["MetricStat"]["Metric"]["MetricName"] for part in parts} == {metric}
    functions = {part["MetricStat"]["Metric"]["Dimensions"][0]["Value"]["Ref"] for part in parts}
    assert functions == {template.function_id(job) for job in JOB_NAMES}


def test_one_composite_a_job_notifies_of_trouble_and_of_its_end(synthesize):
    template = synthesize(EXISTING)
    topic = {"Ref": next(iter(template.resources("AWS::SNS::Topic")))}
    composites = {found["AlarmName"]: found for found in template.properties("AWS::CloudWatch::CompositeAlarm")}
    assert set(composites) == {f"arcade-jobs-dev-{job}" for job in JOB_NAMES}
    ids = {found["Properties"]["AlarmName"]: id_ for id_, found in template.resources("AWS::CloudWatch::Alarm").items()}
    for name, composite in composites.items():
        assert composite["AlarmActions"] == composite["OKActions"] == [topic]
        rule = json.dumps(composite["AlarmRule"])
        expected = {f"arcade-jobs-dev-{alarm}" for alarm in PAGING if f"arcade-jobs-dev-{alarm}".startswith(f"{name}-")}
        assert {alarm for alarm, id_ in ids.items() if f'"{id_}"' in rule} == expected
        assert rule.count("OR") == len(expected) - 1


def test_a_message_says_which_job_what_can_have_happened_and_the_first_command(synthesize):
    """SNS sends the composite's description, and as the reason the name of the alarm that was raised."""
    template = synthesize(EXISTING | {"stage": "prod"})
    for composite in template.properties("AWS::CloudWatch::CompositeAlarm"):
        name, text = composite["AlarmName"], composite["AlarmDescription"]
        job = name.removeprefix("arcade-jobs-prod-")
        assert text.startswith(f"Job {job}: ALARM needs a person")
        assert "\nFirst: arcade-jobs status --stage prod\n" in text
        explained = set(re.findall(r"^- ([a-z-]+): ", text, re.MULTILINE))
        assert explained == {alarm.removeprefix(f"{job}-") for alarm in PAGING if alarm.startswith(f"{job}-")}
        assert len(text) <= 1024


def test_every_command_of_an_alarm_names_the_stage(synthesize):
    template = synthesize(EXISTING | {"stage": "prod"})
    alarms = [*template.properties("AWS::CloudWatch::Alarm"), *template.properties("AWS::CloudWatch::CompositeAlarm")]
    for alarm in alarms:
        for command in re.findall(r"arcade-jobs [a-z][^.;,\n]*", alarm["AlarmDescription"]):
            assert "--stage prod" in command, (alarm["AlarmName"], command)


@pytest.mark.parametrize("kind", ["near-timeout", "pools-without-winner", "entries-passed-over", "pools-due-after-run"])
def test_what_a_run_leaves_stays_raised_until_the_next_is_over(synthesize, kind):
    alarm = synthesize(EXISTING).alarm(f"prize-pool-{kind}")
    assert (alarm["Period"], alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"]) == (3600, 27, 1)


def test_the_composite_has_a_switch_for_silence_that_pause_finds(synthesize):
    for job in JOB_NAMES:
        rule = synthesize(EXISTING).composite_rule(job)
        assert SILENCE_COUNTS.findall(rule) == ["TRUE"]
        assert f'arcade-jobs-dev-{job}-silence") AND TRUE)' in rule
        assert rule.count("TRUE") == 1


def test_a_disabled_job_has_no_such_switch(synthesize):
    rule = synthesize(EXISTING | {"ENABLE_PRIZEPOOL_JOB": "false"}).composite_rule("prize-pool")
    assert not SILENCE_COUNTS.search(rule)


def test_the_outputs_name_every_alarm(synthesize):
    template = synthesize(EXISTING)
    of_jobs = [name for job in JOBS for name in template.output(f"{job.title}AlarmNames").split(",")]
    composites = {alarm["AlarmName"] for alarm in template.properties("AWS::CloudWatch::CompositeAlarm")}
    named = {*of_jobs, *template.output("AlarmNames").split(",")}
    assert named == {f"arcade-jobs-dev-{name}" for name in template.alarm_names()} | composites
    for job in JOBS:
        assert f"arcade-jobs-dev-{job.name}-silence" in template.output(f"{job.title}AlarmNames")


def test_nothing_notifies_twice(synthesize):
    """An event that Lambda gives up is dead-lettered: one message of the job, and none of the count of such events."""
    template = synthesize(EXISTING)
    notifying = {
        alarm["AlarmName"].removeprefix("arcade-jobs-dev-")
        for alarm in template.properties("AWS::CloudWatch::Alarm")
        if alarm.get("AlarmActions")
    }
    assert notifying == {"failed-destinations"}


def test_alarms_of_this_account_may_publish(synthesize):
    template = synthesize(EXISTING)
    (allowed,) = [
        statement
        for statement in template.one("AWS::SNS::TopicPolicy")["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]
    assert allowed["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert allowed["Action"] == "sns:Publish"
    assert allowed["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}


def test_an_e_mail_address_subscribes(synthesize):
    template = synthesize(EXISTING | {"alarmEmail": "operator@example.com"})
    subscription = template.one("AWS::SNS::Subscription")
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "operator@example.com")
    assert not synthesize(EXISTING).resources("AWS::SNS::Subscription")


def test_alarms_go_to_a_topic_that_exists_instead_of_one_of_the_stack(synthesize):
    template = synthesize(EXISTING | {"alarmTopicArn": ON_CALL})
    assert not template.resources("AWS::SNS::Topic")
    assert template.output("AlarmTopicArns") == ON_CALL
    for composite in template.properties("AWS::CloudWatch::CompositeAlarm"):
        assert composite["AlarmActions"] == composite["OKActions"] == [ON_CALL]
    assert not template.warnings


def test_alarms_go_to_everyone_who_is_named(synthesize):
    template = synthesize(EXISTING | {"alarmTopicArn": ON_CALL, "alarmEmail": "operator@example.com"})
    own = {"Ref": next(iter(template.resources("AWS::SNS::Topic")))}
    for alarm in template.properties("AWS::CloudWatch::CompositeAlarm"):
        assert alarm["AlarmActions"] == alarm["OKActions"] == [own, ON_CALL]


def test_a_stage_that_tells_nobody_of_alarms_is_told_so_and_one_on_a_laptop_is_not(synthesize):
    [warning] = synthesize(EXISTING | {"stage": "prod"}).warnings
    assert warning == (
        "alarms: nobody is told; set alarmEmail, slackWorkspaceId and slackChannelId, or alarmTopicArn under"
        " stages.prod in cdk.json"
    )
    assert synthesize(EXISTING | {"alarmEmail": "operator@example.com"}).warnings == []
    assert synthesize(ON_LAPTOP).warnings == []


def test_a_slack_channel_is_notified_and_may_only_read(synthesize):
    template = synthesize(EXISTING | {"slackWorkspaceId": "T0123ABCD", "slackChannelId": "C0123ABCD"})
    slack = template.one("AWS::Chatbot::SlackChannelConfiguration")
    assert (slack["SlackWorkspaceId"], slack["SlackChannelId"]) == ("T0123ABCD", "C0123ABCD")
    assert slack["SnsTopicArns"] == [{"Ref": next(iter(template.resources("AWS::SNS::Topic")))}]
    assert "CloudWatchReadOnlyAccess" in json.dumps(slack["GuardrailPolicies"])


def test_the_dashboard_has_its_rows_in_order(synthesize):
    widgets = synthesize(EXISTING).dashboard()
    titles = [widget["properties"]["title"] for widget in sorted(widgets, key=lambda w: (w["y"], w["x"]))]
    assert titles == [
        "Is anything wrong now",
        *(f"Did it run: {job}" for job in JOB_NAMES),
        *(f"What did it do: {job.items}" for job in JOBS),
        *(f"How long: {job}" for job in JOB_NAMES),
        "How much is waiting: dead letters, and the age of the oldest event under way",
    ]


def test_the_dashboard_shows_every_alarm(synthesize):
    template = synthesize(EXISTING)
    assert set(template.dashboard()[0]["properties"]["alarms"]) == set(template.resources("AWS::CloudWatch::Alarm"))


def test_a_success_of_one_stage_does_not_hide_the_silence_of_another(synthesize):
    metrics = synthesize(EXISTING | {"stage": "prod"}).own_metrics()
    assert {dict(dimensions)["stage"] for _, dimensions in metrics} == {"prod"}


def test_metrics_are_those_that_runs_emit(synthesize, engine, start_app, unreachable_dynamodb, capsys):
    """Every job succeeds once, and once fails without its database and its runs table."""
    succeeded = [invoke(start_app(), job, {"reason": "test"}) for job in JOB_NAMES]
    gone = engine.url.set(database="gone").render_as_string(hide_password=False)
    broken = start_app(DATABASE_URL=gone, dynamodb=unreachable_dynamodb)
    failed = [invoke(broken, job, {"reason": "test"}) for job in JOB_NAMES]
    assert {result["status"] for result in succeeded} == {"succeeded"}
    assert {result["status"] for result in failed} == {"failed"}
    assert synthesize(EXISTING).own_metrics() == set(emitted(capsys.readouterr().out))


def emitted(output):
    """The metrics of the lines in CloudWatch's embedded format: name, and dimensions with their values."""
    for line in output.splitlines():
        if line.startswith("{") and "_aws" in (log := json.loads(line)):
            (directive,) = log["_aws"]["CloudWatchMetrics"]
            assert directive["Namespace"] == NAMESPACE
            for metric in directive["Metrics"]:
                assert metric["Unit"] == "Count"
                for dimensions in directive["Dimensions"]:
                    yield metric["Name"], frozenset((name, log[name]) for name in dimensions)
