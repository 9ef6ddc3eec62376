"""A synthesized template, searched by property instead of logical id; and contexts to make one from."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.jobs import JOBS
from infra.stage import DEFAULT_STAGE, stack_name
from shared.metrics import NAMESPACE

ROOT = Path(__file__).parents[2]
CDK_CONTEXT = json.loads((ROOT / "cdk.json").read_text())["context"]

EXISTING = {
    "vpcId": "vpc-0123456789abcdef0",
    "availabilityZones": "eu-west-1a,eu-west-1b",
    "subnetIds": "subnet-0123456789abcdef0,subnet-0123456789abcdef1",
    "routeTableIds": "rtb-0123456789abcdef0,rtb-0123456789abcdef0",
    "securityGroupId": "sg-0123456789abcdef0",
    "databaseHost": "arcade.cluster-abc.eu-west-1.rds.amazonaws.com",
    "databaseName": "arcade",
    "databaseUser": "jobs",
    "databaseResourceId": "cluster-ABCDEFGHIJKL01234",
}
SECRET_ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:arcade-abcdef"
EXISTING_WITH_SECRET = {name: value for name, value in EXISTING.items() if name != "databaseResourceId"} | {
    "databaseAuth": "secret",
    "databaseSecretArn": SECRET_ARN,
}
NEW = {"createDatabase": "true"}
LOCAL_URL = "postgresql+pg8000://postgres@127.0.0.1:5432/arcade"
ON_LAPTOP = {"target": "local", "databaseUrl": LOCAL_URL}
JOB_NAMES = tuple(job.name for job in JOBS)
HANDLERS = {job.name: job.handler for job in JOBS}
ALARM_PREFIX = f"{stack_name(DEFAULT_STAGE)}-"


@dataclass(frozen=True)
class Template:
    """A template of CloudFormation, the warnings that its synthesis printed, and termination protection."""

    body: dict[str, Any]
    warnings: list[str]
    is_protected: bool

    def resources(self, type_: str) -> dict[str, dict[str, Any]]:
        """Whole resources of a type, by logical id."""
        return {id_: found for id_, found in self.body["Resources"].items() if found["Type"] == type_}

    def properties(self, type_: str) -> list[dict[str, Any]]:
        return [resource.get("Properties", {}) for resource in self.resources(type_).values()]

    def one(self, type_: str) -> dict[str, Any]:
        """The properties of the only resource of a type."""
        (found,) = self.properties(type_)
        return found

    def function_id(self, job: str) -> str:
        (id_,) = [
            id_
            for id_, found in self.resources("AWS::Lambda::Function").items()
            if found["Properties"]["Handler"] == HANDLERS[job]
        ]
        return id_

    def function(self, job: str) -> dict[str, Any]:
        properties: dict[str, Any] = self.body["Resources"][self.function_id(job)]["Properties"]
        return properties

    def dead_letters_id(self, job: str) -> str:
        """The queue that the function's failure destination names."""
        (config,) = [
            found
            for found in self.properties("AWS::Lambda::EventInvokeConfig")
            if found["FunctionName"] == {"Ref": self.function_id(job)}
        ]
        id_: str = config["DestinationConfig"]["OnFailure"]["Destination"]["Fn::GetAtt"][0]
        return id_

    def schedule(self, job: str) -> tuple[str, dict[str, Any]]:
        """What fires a job: the type and the properties of its rule or schedule."""
        arn = {"Fn::GetAtt": [self.function_id(job), "Arn"]}
        found = [
            (type_, properties)
            for type_ in ("AWS::Events::Rule", "AWS::Scheduler::Schedule")
            for properties in self.properties(type_)
            if arn in [target["Arn"] for target in [*properties.get("Targets", []), properties.get("Target")] if target]
        ]
        (schedule,) = found
        return schedule

    def statements(self, job: str) -> list[dict[str, Any]]:
        """All that a function's role may do."""
        role = self.function(job)["Role"]["Fn::GetAtt"][0]
        return [
            statement
            for policy in self.properties("AWS::IAM::Policy")
            if {"Ref": role} in policy["Roles"]
            for statement in policy["PolicyDocument"]["Statement"]
        ]

    def allowed(self, job: str) -> dict[str, Any]:
        """Action by action, on what a function's role may do it."""
        return {
            action: statement["Resource"]
            for statement in self.statements(job)
            for action in _listed(statement["Action"])
        }

    def alarm(self, name: str) -> dict[str, Any]:
        (found,) = [
            properties
            for properties in self.properties("AWS::CloudWatch::Alarm")
            if properties["AlarmName"].endswith(f"-{name}")
        ]
        return found

    def alarm_names(self) -> set[str]:
        return {alarm["AlarmName"].removeprefix(ALARM_PREFIX) for alarm in self.properties("AWS::CloudWatch::Alarm")}

    def composite_rule(self, job: str) -> str:
        """The rule of a job's composite alarm as CloudWatch gets it, with ARNs that end as on AWS."""
        (rule,) = [
            properties["AlarmRule"]
            for properties in self.properties("AWS::CloudWatch::CompositeAlarm")
            if properties["AlarmName"] == f"{ALARM_PREFIX}{job}"
        ]
        alarms = self.resources("AWS::CloudWatch::Alarm")
        return "".join(
            part
            if isinstance(part, str)
            else f"arn:...:alarm:{alarms[part['Fn::GetAtt'][0]]['Properties']['AlarmName']}"
            for part in rule["Fn::Join"][1]
        )

    def output(self, name: str) -> Any:
        """The value of an output, names of alarms resolved and put together."""
        value = self.body["Outputs"][name]["Value"]
        if not name.endswith("AlarmNames"):
            return value
        names = {
            id_: found["Properties"]["AlarmName"]
            for type_ in ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm")
            for id_, found in self.resources(type_).items()
        }
        return "".join(part if isinstance(part, str) else names[part["Ref"]] for part in value["Fn::Join"][1])

    def dashboard(self) -> list[dict[str, Any]]:
        """The widgets from top to bottom, references to resources replaced by their logical ids."""
        body = _joined(self.one("AWS::CloudWatch::Dashboard")["DashboardBody"])
        widgets: list[dict[str, Any]] = json.loads(body)["widgets"]
        return widgets

    def own_metrics(self) -> set[tuple[str, frozenset[tuple[str, str]]]]:
        """Every metric of ours that an alarm or the dashboard reads: its name and its dimensions."""
        return set(self._alarm_metrics()) | set(self._dashboard_metrics())

    def _alarm_metrics(self) -> Iterator[tuple[str, frozenset[tuple[str, str]]]]:
        for alarm in self.properties("AWS::CloudWatch::Alarm"):
            queries = [query["MetricStat"]["Metric"] for query in alarm.get("Metrics", []) if "MetricStat" in query]
            for metric in [alarm, *queries]:
                if metric.get("Namespace") == NAMESPACE:
                    dimensions = frozenset((each["Name"], each["Value"]) for each in metric["Dimensions"])
                    yield metric["MetricName"], dimensions

    def _dashboard_metrics(self) -> Iterator[tuple[str, frozenset[tuple[str, str]]]]:
        for widget in self.dashboard():
            for namespace, name, *rest in widget["properties"].get("metrics", []):
                if namespace == NAMESPACE:
                    pairs = [part for part in rest if isinstance(part, str)]
                    yield name, frozenset(zip(pairs[::2], pairs[1::2], strict=True))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _joined(value: Any) -> str:
    """A text of the template with its references replaced by what they refer to."""
    if isinstance(value, str):
        return value
    if "Fn::Join" in value:
        separator, parts = value["Fn::Join"]
        return separator.join(map(_joined, parts))
    if "Ref" in value:
        return str(value["Ref"])
    return str(value["Fn::GetAtt"][0])
