"""Least privilege, action by action and resource by resource."""

import json

import pytest

from tests.infra.template import EXISTING, EXISTING_WITH_SECRET, JOB_NAMES, NEW
from tests.jobs import invoke

LONDON = EXISTING | {"timezone": "Europe/London"}
IN_A_NETWORK = {
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
}
DEAD_LETTERING = {"sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:SendMessage"}
RECORDING = {"dynamodb:UpdateItem"}
LOGGING = {"logs:CreateLogStream", "logs:PutLogEvents"}
ALWAYS = IN_A_NETWORK | DEAD_LETTERING | RECORDING | LOGGING


@pytest.mark.parametrize("job", JOB_NAMES)
@pytest.mark.parametrize(
    ("context", "connecting"),
    [
        (EXISTING, "rds-db:connect"),
        (NEW, "rds-db:connect"),
        (EXISTING_WITH_SECRET, "secretsmanager:GetSecretValue"),
    ],
    ids=["iam", "new", "secret"],
)
def test_a_function_may_do_exactly_this(synthesize, context, connecting, job):
    assert set(synthesize(context).allowed(job)) == ALWAYS | {connecting}


@pytest.mark.parametrize("context", [EXISTING, EXISTING_WITH_SECRET, NEW, LONDON])
def test_nothing_but_network_interfaces_is_allowed_on_everything(synthesize, context):
    template = synthesize(context)
    for job in JOB_NAMES:
        for action, resource in template.allowed(job).items():
            assert ("*" in json.dumps(resource)) == (action in IN_A_NETWORK), action
    for role in template.properties("AWS::IAM::Role"):
        assert "*" not in json.dumps(role.get("Policies", []))
        assert not role.get("ManagedPolicyArns")


def test_a_token_is_for_one_user_of_one_cluster(synthesize):
    resource = synthesize(EXISTING).allowed("prize-pool")["rds-db:connect"]
    text = "".join(part if isinstance(part, str) else part["Ref"] for part in resource["Fn::Join"][1])
    partition, region, account = "AWS::Partition", "AWS::Region", "AWS::AccountId"
    assert text == f"arn:{partition}:rds-db:{region}:{account}:dbuser:cluster-ABCDEFGHIJKL01234/jobs"


def test_one_secret_can_be_read(synthesize):
    allowed = synthesize(EXISTING_WITH_SECRET).allowed("cleanup")
    assert allowed["secretsmanager:GetSecretValue"] == EXISTING_WITH_SECRET["databaseSecretArn"]


def test_a_function_writes_to_its_own_log_and_its_own_queue(synthesize):
    template = synthesize(EXISTING)
    for job in JOB_NAMES:
        allowed = template.allowed(job)
        log = template.function(job)["LoggingConfig"]["LogGroup"]["Ref"]
        assert allowed["logs:PutLogEvents"] == {"Fn::GetAtt": [log, "Arn"]}
        assert allowed["sqs:SendMessage"] == {"Fn::GetAtt": [template.dead_letters_id(job), "Arn"]}


def test_a_schedule_may_invoke_its_function_and_fill_its_queue(synthesize):
    template = synthesize(LONDON)
    for job in ("prize-pool", "cleanup"):
        role_id = template.schedule(job)[1]["Target"]["RoleArn"]["Fn::GetAtt"][0]
        role = template.resources("AWS::IAM::Role")[role_id]["Properties"]
        statements = role["Policies"][0]["PolicyDocument"]["Statement"]
        assert {statement["Action"]: statement["Resource"] for statement in statements} == {
            "lambda:InvokeFunction": {"Fn::GetAtt": [template.function_id(job), "Arn"]},
            "sqs:SendMessage": {"Fn::GetAtt": [template.dead_letters_id(job), "Arn"]},
        }
        (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Principal"] == {"Service": "scheduler.amazonaws.com"}
        assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


def test_queues_and_topic_refuse_plain_http(synthesize):
    template = synthesize(EXISTING)
    policies = [*template.properties("AWS::SQS::QueuePolicy"), *template.properties("AWS::SNS::TopicPolicy")]
    assert len(policies) == len(JOB_NAMES) + 1
    for policy in policies:
        refused = [s for s in policy["PolicyDocument"]["Statement"] if s["Effect"] == "Deny"]
        assert [statement["Condition"] for statement in refused] == [{"Bool": {"aws:SecureTransport": "false"}}]


def test_a_run_calls_exactly_the_actions_on_the_runs_table_that_its_role_allows(synthesize, dynamodb, start_app):
    called = set()
    dynamodb.meta.events.register("before-call.dynamodb", lambda model, **_: called.add(f"dynamodb:{model.name}"))
    app = start_app(dynamodb=dynamodb)
    for _ in range(2):  # the second is a duplicate, to which a refused write returns the first
        invoke(app, "cleanup", {"time": "2026-01-12T00:00:00Z"})
    assert called == RECORDING
    assert called == {action for action in synthesize(EXISTING).allowed("cleanup") if action.startswith("dynamodb:")}
