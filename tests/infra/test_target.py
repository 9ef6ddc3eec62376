"""The laptop's template is that of AWS, except for the list in `infra/stack/target.py`: both are compared whole."""

import copy
import json

import pytest

from infra.stack.target import AWS, LOCAL
from tests.infra.template import EXISTING, LOCAL_URL, ON_LAPTOP

DATABASE_VARIABLES = ("DATABASE_URL", "DATABASE_AUTH")
NETWORK = (
    *("AWS::EC2::SecurityGroup", "AWS::EC2::SecurityGroupIngress", "AWS::EC2::SecurityGroupEgress"),
    "AWS::EC2::VPCEndpoint",
)


def test_the_two_templates_differ_as_listed(synthesize):
    on_aws, on_laptop = synthesize(EXISTING).body, synthesize(ON_LAPTOP).body
    assert without_database(without_alarms(retained(on_laptop))) == without_database(without_alarms(on_aws))


def test_each_listed_point_is_a_difference(synthesize):
    on_aws, on_laptop = synthesize(EXISTING).body, synthesize(ON_LAPTOP).body
    assert {kind_of_alarm(found) for found in on_aws["Resources"].values()} == {
        "composite",
        "expression",
        "plain",
        None,
    }
    assert {kind_of_alarm(found) for found in on_laptop["Resources"].values()} == {"plain", None}
    assert retained(on_laptop) != on_laptop
    assert retained(on_aws) == on_aws
    assert AWS.platform != LOCAL.platform


@pytest.mark.parametrize("kind", ["AWS::EC2::VPC", "AWS::EC2::Subnet", "AWS::RDS::DBCluster", *NETWORK])
def test_the_laptop_has_no_network_and_no_aurora(synthesize, kind):
    assert not synthesize(ON_LAPTOP).resources(kind)


def test_nothing_of_the_laptop_is_retained_on_destroy(synthesize):
    resources = synthesize(ON_LAPTOP).body["Resources"].values()
    assert {resource.get("DeletionPolicy", "Delete") for resource in resources} == {"Delete"}
    assert not synthesize(ON_LAPTOP).one("AWS::DynamoDB::Table").get("DeletionProtectionEnabled")


def test_the_laptops_functions_get_the_whole_url(synthesize):
    variables = synthesize(ON_LAPTOP).function("prize-pool")["Environment"]["Variables"]
    assert (variables["DATABASE_URL"], variables["DATABASE_AUTH"]) == (LOCAL_URL, "url")


def retained(body):
    """The template with the runs table and the logs retained, as on AWS."""
    body = copy.deepcopy(body)
    for resource in body["Resources"].values():
        if resource["Type"] in {"AWS::DynamoDB::Table", "AWS::Logs::LogGroup"}:
            resource |= {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"}
        if resource["Type"] == "AWS::DynamoDB::Table":
            resource["Properties"]["DeletionProtectionEnabled"] = True
    return body


def kind_of_alarm(resource):
    if resource["Type"] == "AWS::CloudWatch::CompositeAlarm":
        return "composite"
    if resource["Type"] != "AWS::CloudWatch::Alarm":
        return None
    return "expression" if "Metrics" in resource["Properties"] else "plain"


def without_alarms(body):
    """The template without composite and expression alarms, also on the dashboard and in the outputs."""
    body = copy.deepcopy(body)
    left_out = {id_ for id_, found in body["Resources"].items() if kind_of_alarm(found) in {"composite", "expression"}}
    body["Resources"] = {id_: found for id_, found in body["Resources"].items() if id_ not in left_out}
    for resource in body["Resources"].values():
        if resource["Type"] == "AWS::CloudWatch::Dashboard":
            _, parts = resource["Properties"]["DashboardBody"]["Fn::Join"]
            dashboard = json.loads("".join(part if isinstance(part, str) else named_in(part) for part in parts))
            for widget in dashboard["widgets"]:
                if alarms := widget["properties"].get("alarms"):
                    widget["properties"]["alarms"] = [id_ for id_ in alarms if id_ not in left_out]
            resource["Properties"]["DashboardBody"] = dashboard
    for name in [name for name in body["Outputs"] if name.endswith("SilentAfterHours")]:
        del body["Outputs"][name]
    for name in [name for name in body["Outputs"] if name.endswith("AlarmNames")]:
        named = [named_in(part) for part in body["Outputs"].pop(name)["Value"]["Fn::Join"][1] if part != ","]
        if kept := [id_ for id_ in named if id_ not in left_out]:
            body["Outputs"][name] = kept
    return body


def named_in(reference):
    """The resource that a Ref or a Fn::GetAtt is about."""
    [value] = reference.values()
    return value if isinstance(value, str) else value[0]


def without_database(body):
    """The template without the network, the right to connect, and the database's variables."""
    body = copy.deepcopy(body)
    body["Resources"] = {id_: found for id_, found in body["Resources"].items() if found["Type"] not in NETWORK}
    for resource in body["Resources"].values():
        if resource["Type"] == "AWS::Lambda::Function":
            resource["Properties"].pop("VpcConfig", None)
            for name in DATABASE_VARIABLES:
                del resource["Properties"]["Environment"]["Variables"][name]
        if resource["Type"] == "AWS::IAM::Policy":
            document = resource["Properties"]["PolicyDocument"]
            document["Statement"] = [
                statement
                for statement in document["Statement"]
                if not json.dumps(statement["Action"]).startswith(('["ec2:', '"rds-db:'))
            ]
        resource.get("Metadata", {}).clear()  # acknowledged findings of what was taken out
    return body
