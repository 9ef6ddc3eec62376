"""What the stack is made of: schedules, functions, queues, table, network. Properties, not logical ids."""

import json
import re

import pytest

from infra.jobs import JOBS
from infra.stack.context import read_settings
from shared.config import VARIABLES, Config, ConfigError, Variable, parse_whole
from shared.domain.errors import ArcadeJobsError
from shared.domain.tick import Tick, Trigger
from shared.runs import table
from tests.fakes import FakeClock
from tests.infra.template import EXISTING, EXISTING_WITH_SECRET, JOB_NAMES, NEW, ON_LAPTOP, ROOT

LONDON = EXISTING | {"timezone": "Europe/London"}
SLACK = {"slackWorkspaceId": "T0123ABCD", "slackChannelId": "C0123ABCD"}
# Names that are no identity: of what is referred to, shown, or inside its own role.
REFERENCES = ("FunctionName", "MetricName", "ServiceName", "PolicyName", "DisplayName")
WITHOUT_TAGS = {
    *("AWS::EC2::SecurityGroupEgress", "AWS::EC2::SecurityGroupIngress", "AWS::EC2::SubnetRouteTableAssociation"),
    *("AWS::IAM::Policy", "AWS::Lambda::EventInvokeConfig", "AWS::Lambda::Permission", "AWS::SNS::TopicPolicy"),
    *("AWS::SQS::QueuePolicy", "AWS::Scheduler::Schedule", "AWS::SecretsManager::SecretTargetAttachment"),
}
OF_EACH_JOB = (
    "FunctionName",
    "DeadLetterQueueUrl",
    "LogGroupName",
    "RuleName",
    "Cron",
    "SilentAfterHours",
    "IsEnabled",
    "AlarmNames",
)
OF_THE_STACK = {"Timezone", "RunsTableName", "AlarmNames", "AlarmTopicArns", "DashboardName"}


def test_utc_creates_a_rule_for_each_job(synthesize):
    template = synthesize(EXISTING)
    expressions = {job: template.schedule(job)[1]["ScheduleExpression"] for job in JOB_NAMES}
    assert (expressions["prize-pool"], expressions["cleanup"]) == ("cron(0 0 * * ? *)", "cron(0 3 * * ? *)")
    assert expressions["leaderboard"] == "cron(0 * * * ? *)"
    assert len(template.resources("AWS::Events::Rule")) == len(JOBS)
    assert not template.resources("AWS::Scheduler::Schedule")


def test_another_zone_creates_schedules_in_it_and_keeps_the_hourly_rule(synthesize):
    template = synthesize(LONDON)
    assert [job.name for job in JOBS if not job.follows_zone] == ["leaderboard"]
    for job in JOBS:
        kind, schedule = template.schedule(job.name)
        if job.follows_zone:
            assert kind == "AWS::Scheduler::Schedule"
            assert schedule["ScheduleExpressionTimezone"] == "Europe/London"
            assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}
        else:
            assert kind == "AWS::Events::Rule"


@pytest.mark.parametrize("context", [EXISTING, LONDON], ids=["rules", "schedules"])
def test_the_outputs_name_what_fires_each_job_and_whether_it_is_enabled(synthesize, context):
    template = synthesize(context)
    switched_off = synthesize(context | {"ENABLE_CLEANUP_JOB": "false"})
    for job in JOBS:
        kind = "Schedule" if context is LONDON and job.follows_zone else "Rule"
        named = template.body["Resources"][template.output(f"{job.title}{kind}Name")["Ref"]]
        assert (named["Type"].rpartition(":")[2], named["Properties"]) == (kind, template.schedule(job.name)[1])
        assert template.output(f"{job.title}IsEnabled") == "true"
        assert switched_off.output(f"{job.title}IsEnabled") == str(job.name != "cleanup").lower()


@pytest.mark.parametrize("context", [EXISTING, LONDON], ids=["rules", "schedules"])
def test_what_cannot_be_delivered_goes_to_the_queue_that_takes_failures(synthesize, context):
    template = synthesize(context)
    for job in JOBS:
        type_, schedule = template.schedule(job.name)
        target = schedule["Target"] if "Target" in schedule else schedule["Targets"][0]
        queue = {"Fn::GetAtt": [template.dead_letters_id(job.name), "Arn"]}
        assert target["DeadLetterConfig"] == {"Arn": queue}
        assert target["RetryPolicy"] == {
            "MaximumEventAgeInSeconds": job.delivery_window.total_seconds(),
            "MaximumRetryAttempts": 8,
        }, type_


def test_a_rule_sends_its_event_as_it_is(synthesize):
    (target,) = synthesize(EXISTING).schedule("prize-pool")[1]["Targets"]
    assert not {"Input", "InputPath", "InputTransformer"} & set(target)


def test_a_schedule_sends_the_same_event_as_a_rule(synthesize):
    separator, parts = synthesize(LONDON).schedule("prize-pool")[1]["Target"]["Input"]["Fn::Join"]
    text = separator.join(part if isinstance(part, str) else "filled-in" for part in parts)
    event = json.loads(text.replace("<aws.scheduler.scheduled-time>", "2026-01-12T00:00:00Z"))
    of_a_rule = {"version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"}
    assert set(event) == of_a_rule
    tick = Tick.from_event(event, now=FakeClock().now, request_id="r")
    assert tick.trigger is Trigger.SCHEDULED
    assert tick.run_id("prize-pool") == "prize-pool:2026-01-12T00:00Z"


def test_a_rule_may_invoke_its_function(synthesize):
    template = synthesize(EXISTING)
    allowed = {
        permission["FunctionName"]["Fn::GetAtt"][0] for permission in template.properties("AWS::Lambda::Permission")
    }
    assert allowed == {template.function_id(job) for job in JOB_NAMES}
    assert all("SourceArn" in permission for permission in template.properties("AWS::Lambda::Permission"))


@pytest.mark.parametrize("context", [EXISTING, LONDON], ids=["rules", "schedules"])
def test_a_switch_sets_the_state_of_its_schedule_alone(synthesize, context):
    template = synthesize(context | {"ENABLE_PRIZEPOOL_JOB": "false"})
    states = {job: template.schedule(job)[1]["State"] for job in JOB_NAMES}
    assert states == dict.fromkeys(JOB_NAMES, "ENABLED") | {"prize-pool": "DISABLED"}


def test_a_schedule_can_be_set_for_one_job(synthesize):
    template = synthesize(EXISTING | {"schedule.leaderboard": "0 */2 * * *"})
    assert template.schedule("leaderboard")[1]["ScheduleExpression"] == "cron(0 0,2,4,6,8,10,12,14,16,18,20,22 * * ? *)"
    assert template.schedule("cleanup")[1]["ScheduleExpression"] == "cron(0 3 * * ? *)"


def test_each_function_runs_its_handler_as_the_table_says(synthesize):
    template = synthesize(EXISTING)
    for job in JOBS:
        function = template.function(job.name)
        assert (function["Runtime"], function["Architectures"]) == ("python3.13", ["arm64"])
        assert function["Timeout"] == job.timeout.total_seconds()
        assert function["MemorySize"] == job.memory
        assert function["LoggingConfig"]["LogFormat"] == "JSON"
        assert "ReservedConcurrentExecutions" not in function
        assert function["Handler"] == job.handler
        assert callable(job.load_handler())


def test_memory_and_concurrency_are_set_for_all_or_for_one(synthesize):
    template = synthesize(
        EXISTING | {"memory": "256", "memory.leaderboard": "1024", "reservedConcurrency.cleanup": "1"}
    )
    memory = {job: template.function(job)["MemorySize"] for job in JOB_NAMES}
    assert memory == dict.fromkeys(JOB_NAMES, 256) | {"leaderboard": 1024}
    reserved = {job: template.function(job).get("ReservedConcurrentExecutions") for job in JOB_NAMES}
    assert reserved == dict.fromkeys(JOB_NAMES) | {"cleanup": 1}


def test_three_functions_share_one_asset(synthesize):
    template = synthesize(EXISTING)
    assert len({json.dumps(template.function(job)["Code"], sort_keys=True) for job in JOB_NAMES}) == 1


def test_each_function_logs_to_its_own_group_with_a_retention(synthesize):
    template = synthesize(EXISTING)
    groups = {template.function(job)["LoggingConfig"]["LogGroup"]["Ref"] for job in JOB_NAMES}
    assert len(groups) == len(JOBS)
    assert all(
        template.resources("AWS::Logs::LogGroup")[group]["Properties"]["RetentionInDays"] == 90 for group in groups
    )


def test_a_failed_event_is_retried_twice_and_then_dead_lettered(synthesize):
    template = synthesize(EXISTING)
    assert len({template.dead_letters_id(job) for job in JOB_NAMES}) == len(JOBS)
    for config in template.properties("AWS::Lambda::EventInvokeConfig"):
        assert config["MaximumRetryAttempts"] == 2
        assert config["MaximumEventAgeInSeconds"] in {3600, 7200}
    for queue in template.properties("AWS::SQS::Queue"):
        assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600


def test_three_attempts_fit_into_the_time_an_event_is_kept():
    waits = 3 * 60  # seconds: one minute, then two
    for job in JOBS:
        assert 3 * job.timeout.total_seconds() + waits <= job.delivery_window.total_seconds()


@pytest.mark.parametrize(
    "context", [EXISTING, EXISTING_WITH_SECRET, NEW, ON_LAPTOP], ids=["iam", "secret", "new", "laptop"]
)
def test_the_environment_is_one_that_the_functions_accept(synthesize, context):
    for job in JOB_NAMES:
        given = synthesize(context).function(job)["Environment"]["Variables"]
        assert set(given) <= set(VARIABLES)
        try:
            Config.from_env({name: _resolved(value) for name, value in given.items()})
        except ConfigError as error:
            pytest.fail(str(error))


def test_every_variable_that_the_functions_read_is_set(synthesize):
    given = synthesize(EXISTING_WITH_SECRET).function("prize-pool")["Environment"]["Variables"]
    assert set(given) == set(VARIABLES)
    with_tokens = synthesize(EXISTING).function("prize-pool")["Environment"]["Variables"]
    assert set(VARIABLES) - set(with_tokens) == {"DATABASE_SECRET_ARN"}
    assert given["GAME_TYPES"] == VARIABLES["GAME_TYPES"].default
    assert given["STAGE"] == "dev"


def test_a_variable_with_a_context_key_needs_nothing_in_the_stack(synthesize, monkeypatch):
    retries = Variable(name="TOY_RETRIES", parse=parse_whole(1, least=0, most=9), default="3", context_key="toyRetries")
    monkeypatch.setitem(VARIABLES, retries.name, retries)
    for context, expected in [({}, "3"), ({"toyRetries": "5"}, "5")]:
        # A stage of its own: templates are cached by context.
        template = synthesize(EXISTING | {"stage": "toy"} | context)
        assert {template.function(job)["Environment"]["Variables"]["TOY_RETRIES"] for job in JOB_NAMES} == {expected}
    with pytest.raises(ArcadeJobsError, match=r"^toyRetries: expected a whole number from 0 to 9, got '10'$"):
        read_settings(EXISTING | {"toyRetries": "10"}, {})


def _resolved(value):
    """A value of the template as CloudFormation would fill it in."""
    if isinstance(value, str):
        return value
    if "Fn::Join" in value:
        return "".join(map(_resolved, value["Fn::Join"][1]))
    return "filled-in"


def test_the_runs_table_is_the_one_that_the_store_describes(synthesize):
    runs = synthesize(EXISTING).one("AWS::DynamoDB::Table")
    assert runs["KeySchema"] == [{"AttributeName": table.PARTITION_KEY, "KeyType": "HASH"}]
    assert {index["IndexName"] for index in runs["GlobalSecondaryIndexes"]} == {index.name for index in table.INDEXES}
    for index, expected in zip(runs["GlobalSecondaryIndexes"], table.INDEXES, strict=True):
        assert [key["AttributeName"] for key in index["KeySchema"]] == [expected.partition_key, expected.sort_key]
        assert index["Projection"]["ProjectionType"] == "INCLUDE"
        assert index["Projection"]["NonKeyAttributes"] == expected.projected_attributes
        assert "result" not in expected.projected_attributes


def test_the_runs_table_expires_its_items_and_can_be_restored(synthesize):
    (resource,) = synthesize(EXISTING).resources("AWS::DynamoDB::Table").values()
    runs = resource["Properties"]
    assert runs["BillingMode"] == "PAY_PER_REQUEST"
    assert runs["TimeToLiveSpecification"] == {"AttributeName": table.TIME_TO_LIVE, "Enabled": True}
    assert runs["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
    assert runs["DeletionProtectionEnabled"] is True
    assert resource["DeletionPolicy"] == "Retain"


def test_the_outputs_are_those_that_the_command_looks_up(synthesize):
    outputs = set(synthesize(EXISTING).body["Outputs"])
    assert outputs == {f"{job.title}{name}" for job in JOBS for name in OF_EACH_JOB} | OF_THE_STACK
    of_a_new_database = set(synthesize(NEW).body["Outputs"]) - outputs
    section = (ROOT / "docs" / "design.md").read_text().partition("### Deployment")[2]
    rows = re.findall(r"^\| .* \| (`.*) \|$", section, re.MULTILINE)
    documented = {name for row in rows for name in re.findall("`(.*?)`", row)}
    assert documented == {*OF_EACH_JOB, "ScheduleName", *OF_THE_STACK, "OperationsApiUrl", *of_a_new_database}
    assert of_a_new_database == {
        "DatabaseClusterArn",
        "DatabaseAdminSecretArn",
        "DatabaseName",
        "DatabaseUser",
        "DatabaseHost",
        "DatabasePort",
        "DatabaseVpcId",
        "DatabaseSubnetIds",
        "DatabaseSecurityGroupId",
    }


@pytest.mark.parametrize("context", [EXISTING, LONDON, NEW, ON_LAPTOP], ids=["rules", "schedules", "new", "laptop"])
def test_nothing_needs_a_custom_resource(synthesize, context):
    types = {resource["Type"] for resource in synthesize(context).body["Resources"].values()}
    assert not {type_ for type_ in types if type_.startswith(("Custom::", "AWS::CloudFormation::CustomResource"))}
    assert len(synthesize(context).resources("AWS::Lambda::Function")) == len(JOBS)


def test_everything_that_takes_tags_is_tagged_with_product_and_stage(synthesize):
    untagged = {
        type_
        for context in (EXISTING, NEW, LONDON)
        for type_, tags in tags_by_type(synthesize(context | {"stage": "prod"}))
        if not {"product": "arcade-jobs", "stage": "prod"}.items() <= tags.items()
    }
    assert untagged == WITHOUT_TAGS


def tags_by_type(template):
    for resource in template.body["Resources"].values():
        tags = resource.get("Properties", {}).get("Tags", [])
        yield resource["Type"], {tag["Key"]: tag["Value"] for tag in tags}


def test_two_stages_share_an_account_and_a_region_and_one_stage_two_regions(synthesize):
    def names(stage):
        template = synthesize(EXISTING | SLACK | {"stage": stage})
        return {
            (resource["Type"], name, json.dumps(value))
            for resource in template.body["Resources"].values()
            for name, value in resource.get("Properties", {}).items()
            if name in {"Name", "ConfigurationName"} or (name.endswith("Name") and name not in REFERENCES)
        }

    assert not names("dev") & names("prod")
    named = {(type_, name) for type_, name, _ in names("dev")}
    assert named == {
        ("AWS::CloudWatch::Alarm", "AlarmName"),
        ("AWS::CloudWatch::CompositeAlarm", "AlarmName"),
        ("AWS::CloudWatch::Dashboard", "DashboardName"),
        ("AWS::Chatbot::SlackChannelConfiguration", "ConfigurationName"),
    }
    # These two names are of the whole account, not of one region.
    for type_, name, value in names("dev"):
        if type_ in {"AWS::CloudWatch::Dashboard", "AWS::Chatbot::SlackChannelConfiguration"}:
            assert "AWS::Region" in value, (type_, name)


def test_each_role_gets_the_permissions_boundary_of_the_account(synthesize):
    boundary = {"@aws-cdk/core:permissionsBoundary": {"name": "developers"}}
    roles = [role for context in (LONDON, NEW) for role in synthesize(context, boundary).properties("AWS::IAM::Role")]
    assert len(roles) > len(JOBS)
    for role in roles:
        assert role["PermissionsBoundary"]["Fn::Join"][1][-1] == ":policy/developers"
