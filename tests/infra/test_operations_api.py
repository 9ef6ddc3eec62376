"""The operations endpoints as they are deployed: off by default, and a function that reads, and invokes the jobs."""

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest

from shared.operations.api import OperationsApi
from tests.fakes import save_run
from tests.fakes.function_url import FunctionUrl
from tests.fakes.stage import NOW, make_stage
from tests.infra.template import EXISTING, JOB_NAMES, NEW, ON_LAPTOP, joined
from tests.integration.test_status import run

ON = {"operationsApi": "true"}
# Two schedules beside a rule, every kind of output, and the longest names.
LARGEST = NEW | ON | {"timezone": "Europe/London", "stage": "a234567890123456"}
LONGEST = {  # characters that CloudFormation, or an ARN of AWS's longest region, makes of a reference
    "AWS::Lambda::Function": 64, "AWS::SQS::Queue": len("https://sqs.ap-northeast-1.amazonaws.com/123456789012/") + 80,
    "AWS::Events::Rule": 64, "AWS::Scheduler::Schedule": 64, "AWS::DynamoDB::Table": 64, "AWS::IAM::Role": 100,
    "AWS::SNS::Topic": len("arn:aws:sns:ap-northeast-1:123456789012:") + 80, "AWS::CloudWatch::Dashboard": 30,
}  # fmt: skip
MOST = 4096  # bytes of a function's variables, names and values: AWS refuses more


def function_of(template):
    [(id_, found)] = [
        (id_, found["Properties"])
        for id_, found in template.resources("AWS::Lambda::Function").items()
        if found["Properties"]["Handler"] == "functions.operations.handler"
    ]
    return id_, found


def allowed(template):
    role = function_of(template)[1]["Role"]["Fn::GetAtt"][0]
    return {
        action: statement["Resource"]
        for policy in template.properties("AWS::IAM::Policy")
        if {"Ref": role} in policy["Roles"]
        for statement in policy["PolicyDocument"]["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }


@pytest.mark.parametrize("context", [EXISTING, ON_LAPTOP], ids=["aws", "local"])
def test_the_option_adds_to_the_template_and_changes_nothing_in_it(synthesize, context):
    without, with_it = synthesize(context).body, synthesize(context | ON).body
    assert set(with_it["Outputs"]) - set(without["Outputs"]) == {"OperationsApiUrl"}
    added = {id_: found for id_, found in with_it["Resources"].items() if id_ not in without["Resources"]}
    assert sorted(found["Type"] for found in added.values()) == [
        "AWS::IAM::Policy", "AWS::IAM::Role", "AWS::Lambda::Function", "AWS::Lambda::Url", "AWS::Logs::LogGroup",
    ]  # fmt: skip
    for part in ("Resources", "Outputs", "Parameters"):
        assert {name: with_it[part][name] for name in without[part]} == without[part]
    assert "OperationsApi" not in json.dumps(without)


def test_the_url_takes_signed_requests_alone(synthesize):
    template = synthesize(EXISTING | ON)
    id_, _ = function_of(template)
    assert template.one("AWS::Lambda::Url") == {
        "AuthType": "AWS_IAM",
        "TargetFunctionArn": {"Fn::GetAtt": [id_, "Arn"]},
    }
    permissions = template.properties("AWS::Lambda::Permission")
    assert not [found for found in permissions if found["FunctionName"] == {"Fn::GetAtt": [id_, "Arn"]}]


def test_it_may_read_what_is_deployed_and_invoke_the_jobs_and_nothing_else(synthesize):
    found = allowed(synthesize(LARGEST))
    assert set(found) == {
        "cloudwatch:DescribeAlarms", "dynamodb:GetItem", "dynamodb:Query", "events:DescribeRule",
        "lambda:InvokeFunction", "logs:CreateLogStream", "logs:PutLogEvents", "scheduler:GetSchedule",
        "sqs:GetQueueAttributes",
    }  # fmt: skip
    assert [action for action in found if "*" in json.dumps(found[action])] == ["cloudwatch:DescribeAlarms"]
    functions = {synthesize(LARGEST).function_id(job) for job in JOB_NAMES}
    assert {arn["Fn::GetAtt"][0] for arn in found["lambda:InvokeFunction"]} == functions
    assert "scheduler:GetSchedule" not in allowed(synthesize(EXISTING | ON))


def test_it_is_in_no_network_and_logs_to_its_own_group(synthesize):
    template = synthesize(EXISTING | ON)
    _, function = function_of(template)
    log = function["LoggingConfig"]["LogGroup"]["Ref"]
    assert "VpcConfig" not in function
    assert log not in {template.function(job)["LoggingConfig"]["LogGroup"]["Ref"] for job in JOB_NAMES}
    assert allowed(template)["logs:PutLogEvents"] == {"Fn::GetAtt": [log, "Arn"]}
    assert function["Code"] == template.function("cleanup")["Code"]


def test_its_variables_name_every_output_that_status_and_health_need_and_fit(synthesize):
    template = synthesize(LARGEST)
    variables = function_of(template)[1]["Environment"]["Variables"]
    assert variables["JOBS"] == ",".join(JOB_NAMES)
    deployment = json.loads(joined(variables["DEPLOYMENT"]))
    assert (deployment["stage"], deployment["stack"]) == ("a234567890123456", "arcade-jobs-a234567890123456")
    needed = {name for name in template.body["Outputs"] if not name.startswith("Database")} - {"OperationsApiUrl"}
    assert set(deployment["outputs"]) == needed
    assert len(f"DEPLOYMENT{longest(template, variables['DEPLOYMENT'])}JOBS{variables['JOBS']}") < MOST - 100


def test_its_requests_call_exactly_the_actions_that_its_role_allows(synthesize, dynamodb):
    called: set[str] = set()
    stage = make_stage(dynamodb)
    create_client = stage.deployment.create_client
    deployment = replace(
        stage.deployment, create_client=lambda service, **_: Recording(service, create_client(service), called)
    )
    url = FunctionUrl(handler=OperationsApi(deployment, jobs=JOB_NAMES, clock=lambda: NOW))
    save_run(stage.runs, run("cleanup:a"))
    for path in ("health", "jobs/status", "jobs/history", "jobs/history?job=cleanup", "jobs/runs/cleanup:a"):
        assert url.request("GET", f"/api/{path}").content_type == "application/json", path
    assert url.request("POST", "/api/jobs/trigger/cleanup").status == 202
    assert called == {action for action in allowed(synthesize(LARGEST)) if not action.startswith("logs:")}


@dataclass
class Recording:
    """A client that notes the actions that its calls need."""

    service: str
    client: Any
    called: set[str]

    def __getattr__(self, call):
        action = {"invoke": "InvokeFunction"}.get(call, "".join(word.capitalize() for word in call.split("_")))
        self.called.add(f"{self.service}:{action}")
        return getattr(self.client, call)


def longest(template, joined):
    """A text of the template, its references replaced by text as long as what they can refer to."""

    def resolve(part):
        if isinstance(part, str):
            return part
        id_ = part["Ref"] if "Ref" in part else part["Fn::GetAtt"][0]
        resource = template.body["Resources"].get(id_, {"Type": "AWS::AccountId"})
        names = [value for name, value in resource.get("Properties", {}).items() if name.endswith("AlarmName")]
        return str(names[0]) if names else "x" * LONGEST.get(resource["Type"], 14)

    return "".join(map(resolve, joined["Fn::Join"][1]))
