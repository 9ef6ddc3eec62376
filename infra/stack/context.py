"""What can be chosen at deployment: the CDK context, checked.

cdk.json keeps the choices of each stage under `stages`; `-c name=value` goes before them.

All of it is read before anything is built, and all mistakes are reported together, one line each. A name that is not
read is a mistake too: a mistyped one would otherwise be ignored.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from infra.jobs import JOBS, Job
from infra.stack.context_values import ContextValues, Layer, checked, matching, one_of
from infra.stack.cron import to_eventbridge
from infra.stack.database_choice import DatabaseUrl, ExistingDatabase, NewDatabase, read_database
from infra.stack.target import AWS, LOCAL, TARGETS, Target
from infra.stage import DEFAULT_STAGE, REPLAY_STAGES
from shared.config import VARIABLES, parse_whole
from shared.domain.errors import ArcadeJobsError
from shared.domain.stage import parse_stage

SLACK_ID = matching("[A-Z0-9]+", "C0123ABCD")
TOPIC_ARN = matching(
    "arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}", "arn:aws:sns:eu-west-1:123456789012:on-call"
)
# What is chosen for a run of the CDK, not kept with a stage.
NOT_OF_A_STAGE = ("stage", "stages", "target", "assetPython", "databaseUrl")


@dataclass(frozen=True, kw_only=True)
class Slack:
    """A channel of a workspace that AWS Chatbot may already post to."""

    workspace_id: str
    channel_id: str


@dataclass(frozen=True, kw_only=True)
class JobChoice:
    """One job as it will be deployed.

    Attributes:
        job: its row in the table, memory and cron as chosen.
        is_enabled: whether its schedule fires.
        reserved_concurrency: how many at once, taken from the account's limit; None reserves nothing.
    """

    job: Job
    is_enabled: bool
    reserved_concurrency: int | None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All choices, checked.

    Attributes:
        is_protected: whether the stack and its database refuse to be deleted.
        alarm_topic_arn: a topic that exists, which alarms are sent to as well.
        has_operations_api: whether the operations endpoints are deployed.
        environment: the functions' variables that are chosen at deployment.
    """

    stage: str
    target: Target
    timezone: str
    jobs: tuple[JobChoice, ...]
    database: ExistingDatabase | NewDatabase | DatabaseUrl
    is_protected: bool
    alarm_email: str | None
    slack: Slack | None
    alarm_topic_arn: str | None
    has_operations_api: bool
    environment: Mapping[str, str]


def read_settings(context: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """Read every choice.

    Args:
        context: the whole CDK context; names that belong to the CDK itself are ignored.
        environ: where the jobs' switches are looked up when neither the stage nor the context has them.

    Raises:
        ArcadeJobsError: one line for each mistake.
    """
    given = {name: value for name, value in context.items() if name != "stages"}
    stages = _read_stages(context.get("stages", {}))
    name = str(given.get("stage") or DEFAULT_STAGE).strip()
    # The laptop's database is its own, and so are its zone and its alarms.
    own = [stages.pop(name)] if name in stages and given.get("target") != LOCAL.name else []
    switches = {job.switch: environ[job.switch] for job in JOBS if job.switch in environ}
    values = ContextValues(Layer(origin="", values=given), *own, Layer(origin="", values=switches))
    environment = _environment(values)
    stage, timezone = environment["STAGE"], environment["JOB_SCHEDULER_TIMEZONE"]
    if stage in REPLAY_STAGES:
        values.mistakes.append(f"stage: {stage!r} is reserved for {REPLAY_STAGES[stage]}; choose another name")
    target = TARGETS[values.value("target", one_of(TARGETS), AWS.name)]
    if python := values.text("assetPython"):
        if target is AWS:
            values.mistakes.append(f"assetPython: {python!r} is for target=local; on AWS the runtime decides")
        target = replace(target, platform=replace(target.platform, python=python))
    settings = Settings(
        stage=stage,
        target=target,
        timezone=timezone,
        jobs=tuple(_job(values, job) for job in JOBS),
        database=read_database(values, target, stage=stage),
        is_protected=values.flag("terminationProtection", default=stage != DEFAULT_STAGE) and target.is_protected,
        alarm_email=values.value("alarmEmail", matching("[^@ ]+@[^@ ]+", "you@example.com"), None),
        slack=_slack(values),
        alarm_topic_arn=values.value("alarmTopicArn", TOPIC_ARN, None),
        has_operations_api=values.flag("operationsApi", default=False),
        environment=environment,
    )
    values.check_names(*stages.values())
    if values.mistakes:
        raise ArcadeJobsError("\n".join(dict.fromkeys(values.mistakes)))  # each once: all jobs read `memory`
    return settings


def _read_stages(stages: Any) -> dict[str, Layer]:
    """The choices that cdk.json keeps for each stage.

    Raises:
        ArcadeJobsError: they do not have that shape; one line for each mistake.
    """
    if not isinstance(stages, Mapping):
        raise ArcadeJobsError(
            f"stages: expected an object in cdk.json with the choices of each stage, got {str(stages)[:40]!r}"
        )
    layers: dict[str, Layer] = {}
    mistakes: list[str] = []
    for name, choices in stages.items():
        try:
            parse_stage(name)
        except ValueError as error:
            mistakes.append(f"stages: {error}")
        if not isinstance(choices, Mapping):
            mistakes.append(f"stages.{name}: expected an object with names and values, got {str(choices)[:40]!r}")
            continue
        mistakes += [f"stages.{name}.{each}: is not kept with a stage" for each in choices if each in NOT_OF_A_STAGE]
        layers[name] = Layer(
            origin=f"stages.{name}.",
            values={each: value for each, value in choices.items() if each not in NOT_OF_A_STAGE},
        )
    if mistakes:
        raise ArcadeJobsError("\n".join(mistakes))
    return layers


def _environment(values: ContextValues) -> dict[str, str]:
    """The functions' variables that have a context key, as text that their own parsers take."""
    chosen: dict[str, str] = {}
    for variable in VARIABLES.values():
        if variable.context_key:
            text = values.value(variable.context_key, checked(variable.parse), variable.default)
            if text is not None:
                chosen[variable.name] = text
            elif not variable.is_optional:
                values.mistakes.append(f"{variable.context_key}: missing")
    return chosen


def _slack(values: ContextValues) -> Slack | None:
    workspace = values.value("slackWorkspaceId", SLACK_ID, None)
    channel = values.value("slackChannelId", SLACK_ID, None)
    if workspace and channel:
        return Slack(workspace_id=workspace, channel_id=channel)
    if workspace or channel:
        values.mistakes.append("slack: slackWorkspaceId and slackChannelId belong together; one is missing")
    return None


def _job(values: ContextValues, job: Job) -> JobChoice:
    def number(setting: str, *, least: int, most: int, default: int) -> int:
        """The job's own value, or else that of all jobs."""
        parse = parse_whole(1, least=least, most=most)
        return values.value(f"{setting}.{job.name}", parse, values.value(setting, parse, default))

    memory = number("memory", least=128, most=10_240, default=job.memory)  # MB, what Lambda offers
    cron = values.value(f"schedule.{job.name}", checked(to_eventbridge), job.cron)
    return JobChoice(
        job=replace(job, cron=cron, memory=memory),
        is_enabled=values.flag(job.switch, default=True),
        reserved_concurrency=number("reservedConcurrency", least=0, most=1000, default=0) or None,
    )
