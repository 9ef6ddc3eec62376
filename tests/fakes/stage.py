"""A deployed stage: AWS emulated in this process, composite alarms and the functions by fakes."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

import boto3
from botocore.validate import ParamValidator

from infra.deployed.dead_letters import DeadLetter, RedriveResult, list_dead_letters, redrive
from infra.jobs import JOBS
from infra.stage import stack_name
from shared.operations.deployment import Deployment
from shared.runs.store import RunStore
from tests.fakes import scheduled_event

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

REGION = "us-east-1"
AWS = boto3.Session("testing", "testing", region_name=REGION)  # it reads the description of a service once
NOW = datetime(2026, 1, 12, 9, tzinfo=UTC)
SLOT = "2026-01-12T00:00:00Z"
JOB = "prize-pool"
REQUEST_ID = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
QUARTER_HOUR = 900  # seconds, the time limit of the functions


@dataclass
class FakeAlarms:
    """CloudWatch with composite alarms, which moto lacks; it takes what the API's own model takes."""

    composites: dict[str, dict[str, Any]] = field(default_factory=dict)
    raised: set[str] = field(default_factory=set)
    puts: int = 0

    @property
    def meta(self) -> Any:
        return client("cloudwatch").meta

    def describe_alarms(self, **request: Any) -> dict[str, Any]:
        names = request["AlarmNames"]
        assert len(names) <= request.get("MaxRecords", 50) <= 100
        if request["AlarmTypes"] == ["CompositeAlarm"]:
            return {"CompositeAlarms": [dict(self.composites[name]) for name in names if name in self.composites]}
        return {
            "MetricAlarms": [
                {"AlarmName": name, "StateValue": "ALARM" if name in self.raised else "OK"}
                for name in names
                if name not in self.composites
            ]
        }

    def put_composite_alarm(self, **alarm: Any) -> None:
        shape = self.meta.service_model.operation_model("PutCompositeAlarm").input_shape
        problems = ParamValidator().validate(alarm, shape)
        assert not problems.has_errors(), problems.generate_report()
        self.puts += 1
        self.composites[alarm["AlarmName"]] = composite(**alarm)


def composite(**alarm: Any) -> dict[str, Any]:
    """A composite alarm as it is described: what was put, and what CloudWatch adds."""
    return alarm | {"AlarmArn": "arn:...", "StateValue": "OK", "StateReason": "...", "StateUpdatedTimestamp": NOW}


@dataclass
class FakeFunctions:
    """Lambda with functions that behave as set, and the events that they received, in order."""

    behave: Callable[[str, dict[str, Any]], dict[str, Any]]
    received: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def get_function_configuration(self, **_: str) -> dict[str, Any]:
        return {"Timeout": QUARTER_HOUR}

    def invoke(self, **request: Any) -> dict[str, Any]:
        function, event = request["FunctionName"], json.loads(request["Payload"])
        self.received.append((function, event))
        if request["InvocationType"] == "Event":
            return {"ResponseMetadata": {"RequestId": REQUEST_ID}}
        try:
            return {"Payload": BytesIO(json.dumps(self.behave(function, event)).encode())}
        except RuntimeError as error:
            failure = {"errorType": "RunNotSucceededError", "errorMessage": str(error)}
            return {"FunctionError": "Unhandled", "Payload": BytesIO(json.dumps(failure).encode())}


def succeed(job: str, event: dict[str, Any]) -> dict[str, Any]:
    return {"run_id": f"{job}:{event.get('time', 'r1')}", "status": "succeeded", "result": {}}


def fail(job: str, event: dict[str, Any]) -> dict[str, Any]:
    raise RuntimeError(f"run {job}:{event.get('time')} failed")


def client(service: str) -> Any:
    """A client of moto."""
    return cast("Any", AWS).client(service)


@dataclass
class FakeLogs:
    """CloudWatch Logs with patterns on JSON, which moto lacks; in pages of two events."""

    events: list[dict[str, Any]] = field(default_factory=list)
    patterns: list[str] = field(default_factory=list)

    def add(self, at: datetime, message: Any, *, group: str = f"log-{JOB}") -> None:
        text = message if isinstance(message, str) else json.dumps(message)
        number = len(self.events)
        self.events.append(
            {"eventId": f"{number}", "timestamp": int(at.timestamp() * 1000), "message": text, "group": group}
        )

    def filter_log_events(self, **request: Any) -> dict[str, Any]:
        self.patterns.append(request["filterPattern"])
        terms = re.findall(r"\(\$\.([\w.]+) = \"([^\"]*)\"\)", request["filterPattern"])
        found = [
            {name: value for name, value in event.items() if name != "group"}
            for event in self.events
            if event["group"] == request["logGroupName"]
            and request["startTime"] <= event["timestamp"] <= request["endTime"]
            and any(look_up(event["message"], path.split(".")) == value for path, value in terms)
        ]
        first = int(request.get("nextToken", 0))
        more = {"nextToken": str(first + 2)} if len(found) > first + 2 else {}
        return {"events": found[first : first + 2], **more}


def look_up(message: str, path: list[str]) -> Any:
    try:
        found = json.loads(message)
    except ValueError:
        return None
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found


@dataclass
class FakeSession:
    """A session whose clients are moto's, except the fakes."""

    alarms: FakeAlarms
    functions: FakeFunctions
    logs: FakeLogs
    region_name: str = REGION

    def client(self, service: str, **_: Any) -> Any:
        fakes = {"cloudwatch": self.alarms, "lambda": self.functions, "logs": self.logs}
        return fakes.get(service) or client(service)


@dataclass
class FakeStage:
    """A deployment, and the fakes behind it."""

    deployment: Deployment
    alarms: FakeAlarms
    functions: FakeFunctions
    logs: FakeLogs
    runs: RunStore

    def queue(self, job: str = JOB) -> str:
        return self.deployment.dead_letter_queue(job)

    def add_dead_letter(self, body: Any, *, job: str = JOB, reason: tuple[str, str] | None = None) -> str:
        names = ("ERROR_CODE", "ERROR_MESSAGE")
        sent = client("sqs").send_message(
            QueueUrl=self.queue(job),
            MessageBody=body if isinstance(body, str) else json.dumps(body),
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value}
                for name, value in zip(names, reason or (), strict=False)
            },
        )
        return sent["MessageId"]

    def dead_letters(self, job: str = JOB) -> list[DeadLetter]:
        return list_dead_letters(self.deployment, job, now=NOW)

    def redrive(self, job: str = JOB, report: Callable[[str], None] = lambda _: None) -> list[RedriveResult]:
        return redrive(self.deployment, job, clock=lambda: NOW, report=report)

    def rule(self, job: str = JOB) -> dict[str, Any]:
        found = client("events").describe_rule(Name=f"rule-{job}")
        return {name: value for name, value in found.items() if name != "ResponseMetadata"}

    def schedule(self) -> dict[str, Any]:
        found = client("scheduler").get_schedule(Name="schedule-cleanup")
        changing = {"ResponseMetadata", "LastModificationDate"}
        return {name: value for name, value in found.items() if name not in changing}


def alarm_rule(job: str) -> str:
    arn = f"arn:aws:cloudwatch:us-east-1:123456789012:alarm:arcade-jobs-dev-{job}"
    return f'(ALARM("{arn}-dead-letters") OR ALARM("{arn}-near-timeout") OR (ALARM("{arn}-silence") AND TRUE))'


def make_stage(dynamodb: "DynamoDBClient") -> FakeStage:
    """Stage dev: cleanup by a schedule in London, the others by rules; leaderboard deployed to be off."""
    events, scheduler, sqs = (client(service) for service in ("events", "scheduler", "sqs"))
    outputs = {
        "RunsTableName": "runs",
        "AlarmNames": "arcade-jobs-dev-dropped-events",
        "Timezone": "Europe/London",
        "DashboardName": "arcade-jobs-dev",
    }
    alarms, logs = FakeAlarms(), FakeLogs()
    for job in JOBS:
        prefix = f"arcade-jobs-dev-{job.name}"
        outputs |= {
            f"{job.title}FunctionName": job.name,
            f"{job.title}LogGroupName": f"log-{job.name}",
            f"{job.title}Cron": job.cron,
            f"{job.title}SilentAfterHours": "" if job.name == "leaderboard" else "28",
            f"{job.title}DeadLetterQueueUrl": sqs.create_queue(QueueName=job.name)["QueueUrl"],
            f"{job.title}IsEnabled": str(job.name != "leaderboard").lower(),
            f"{job.title}AlarmNames": f"{prefix}-errors,{prefix}-dead-letters,{prefix}-silence,{prefix}",
        }
        alarms.composites[prefix] = composite(
            AlarmName=prefix,
            AlarmRule=alarm_rule(job.name),
            ActionsEnabled=True,
            AlarmActions=["arn:aws:sns:us-east-1:123456789012:topic"],
            OKActions=["arn:aws:sns:us-east-1:123456789012:topic"],
            InsufficientDataActions=[],
            AlarmDescription="open the alarms below it",
        )
    for job in (job for job in JOBS if job.name != "cleanup"):
        state = "DISABLED" if job.name == "leaderboard" else "ENABLED"
        events.put_rule(Name=f"rule-{job.name}", ScheduleExpression="cron(0 0 * * ? *)", State=state, Description="why")
        outputs[f"{job.title}RuleName"] = f"rule-{job.name}"
    leaderboard = alarms.composites["arcade-jobs-dev-leaderboard"]
    leaderboard["AlarmRule"] = leaderboard["AlarmRule"].partition(" OR (")[0] + ")"  # disabled: no silence in it
    scheduler.create_schedule(
        Name="schedule-cleanup",
        Description="cleanup: 0 3 * * * Europe/London",
        ScheduleExpression="cron(0 3 * * ? *)",
        ScheduleExpressionTimezone="Europe/London",
        State="ENABLED",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": "arn:aws:lambda:us-east-1:123456789012:function:cleanup",
            "RoleArn": "arn:aws:iam::123456789012:role/deliver",
            "Input": json.dumps(scheduled_event("<aws.scheduler.scheduled-time>")),
            "DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:123456789012:cleanup"},
            "RetryPolicy": {"MaximumRetryAttempts": 8, "MaximumEventAgeInSeconds": 7200},
        },
    )
    outputs["CleanupScheduleName"] = "schedule-cleanup"
    functions = FakeFunctions(behave=succeed)
    deployment = Deployment(
        stage="dev",
        stack=stack_name("dev"),
        account="123456789012",
        caller="arn:aws:iam::123456789012:user/operator",
        session=cast("boto3.Session", FakeSession(alarms=alarms, functions=functions, logs=logs)),
        endpoint=None,
        outputs=outputs,
    )
    return FakeStage(
        deployment=deployment,
        alarms=alarms,
        functions=functions,
        logs=logs,
        runs=RunStore(client=dynamodb, table_name="runs", clock=lambda: NOW),
    )
