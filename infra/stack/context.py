"""What the operator may choose, read from the CDK context (`-c name=value`) and refused in one line where it is wrong.

Everything is read before anything is built, and all mistakes are reported together. A name that means nothing is a
mistake too: a mistyped one would otherwise be silently ignored.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from infra.jobs import JOBS, Job
from infra.stack.cron import CronError, to_eventbridge
from infra.stack.target import AWS, TARGETS, Target
from infra.stage import DEFAULT_STAGE, DEMO_STAGE
from shared.config import STAGE_PATTERN
from shared.domain.periods import load_zone

FIRST_MEMORY, LAST_MEMORY = 128, 10240  # MB, what Lambda offers


@dataclass(frozen=True, kw_only=True)
class Form:
    """What a value looks like: a regular expression for all of it, and an example."""

    pattern: str
    example: str


def _id(prefix: str) -> Form:
    return Form(pattern=f"{prefix}-(?:[0-9a-f]{{8}}|[0-9a-f]{{17}})", example=f"{prefix}-0123456789abcdef0")


# The names of a database that is already there.
EXISTING_DATABASE = {
    "vpcId": _id("vpc"),
    "availabilityZones": Form(pattern="[a-z]{2}(?:-[a-z]+)+-[0-9][a-z]", example="eu-west-1a"),
    "subnetIds": _id("subnet"),
    "routeTableIds": _id("rtb"),
    "gatewayEndpoints": Form(pattern="exist", example="exist"),
    "securityGroupId": _id("sg"),
    "databaseHost": Form(pattern="[A-Za-z0-9.-]+", example="arcade.cluster-abc.eu-west-1.rds.amazonaws.com"),
    "databasePort": Form(pattern="[0-9]{1,5}", example="5432"),
    "databaseAuth": Form(pattern="iam|secret", example="iam"),
    "databaseResourceId": Form(pattern="(?:cluster|db)-[A-Z0-9]+", example="cluster-ABCDEFGHIJKL01234"),
    "databaseSecretArn": Form(
        pattern="arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:.+",
        example="arn:aws:secretsmanager:eu-west-1:123456789012:secret:arcade-abcdef",
    ),
}
# A made database has these too, with defaults.
DATABASE_NAMES = {
    "databaseName": Form(pattern="[A-Za-z_][A-Za-z0-9_]*", example="arcade"),
    "databaseUser": Form(pattern="[A-Za-z_][A-Za-z0-9_]*", example="arcade_jobs"),
}
SETTINGS = (
    *("stage", "target", "timezone", "alarmEmail", "slackWorkspaceId", "slackChannelId", "memory"),
    *("reservedConcurrency", "gameTypes", "sessionExpiryMinutes", "settlementGraceSeconds", "createDatabase"),
    *("databaseUrl", "assetPython"),
)
OF_A_JOB = ("schedule", "memory", "reservedConcurrency")  # as in `memory.leaderboard`
OF_THE_CDK = ("acknowledged-issue-numbers", "cli-telemetry")  # its own, beside those with an @ or a colon


class ContextError(ValueError):
    """The context is not taken. Each line of the message names one field and its value."""


@dataclass(frozen=True, kw_only=True)
class ExistingDatabase:
    """A PostgreSQL that is there already, and the network around it.

    Attributes:
        vpc_id: where the functions run; with `subnet_ids`, one zone each in `availability_zones`.
        route_table_ids: of the subnets, to get gateway endpoints for DynamoDB and S3; empty when they have them.
        security_group_id: the database's; the functions are let in on `port`.
        resource_id: what `rds-db:connect` is granted on, `cluster-...` or `db-...`; None unless `auth` is iam.
        secret_arn: where user and password are; None unless `auth` is secret.
    """

    vpc_id: str
    availability_zones: tuple[str, ...]
    subnet_ids: tuple[str, ...]
    route_table_ids: tuple[str, ...]
    security_group_id: str
    host: str
    port: int
    name: str
    user: str
    auth: str
    resource_id: str | None
    secret_arn: str | None


@dataclass(frozen=True, kw_only=True)
class NewDatabase:
    """An Aurora to be made: the database in it, and the role that runs the jobs."""

    name: str
    user: str


@dataclass(frozen=True, kw_only=True)
class DatabaseAddress:
    """A whole DATABASE_URL, for the target whose database needs no network around it."""

    url: str


@dataclass(frozen=True, kw_only=True)
class Slack:
    """A channel of a workspace that AWS Chatbot may already post to."""

    workspace_id: str
    channel_id: str


@dataclass(frozen=True, kw_only=True)
class JobChoice:
    """One job as it is to be deployed.

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
    """All choices, checked. `environment` is what the functions read beside database and runs table."""

    stage: str
    target: Target
    timezone: str
    jobs: tuple[JobChoice, ...]
    database: ExistingDatabase | NewDatabase | DatabaseAddress
    alarm_email: str | None
    slack: Slack | None
    environment: Mapping[str, str]


def read_settings(context: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """Read every choice.

    Args:
        context: the whole CDK context; names that belong to the CDK itself are passed over.
        environ: where the jobs' switches are looked up when the context does not have them.

    Raises:
        ContextError: one line for each mistake.
    """
    read = _Reader(context, environ)
    read.refuse_unknown_names()
    stage = read.text(
        "stage", STAGE_PATTERN, default=DEFAULT_STAGE, expected="a small letter, then letters, digits, dashes"
    )
    if stage == DEMO_STAGE:
        read.refuse("stage", stage, "is the replay's own; take another name")
    target = TARGETS[read.text("target", "|".join(TARGETS), default=AWS.name)]
    if python := read.optional("assetPython", ".+"):
        if target is AWS:
            read.refuse("assetPython", python, "is for target=local; on AWS the runtime decides")
        target = replace(target, platform=replace(target.platform, python=python))
    timezone = read.zone()
    settings = Settings(
        stage=stage,
        target=target,
        timezone=timezone,
        jobs=tuple(read.job(job) for job in JOBS),
        database=read.database(target),
        alarm_email=read.optional("alarmEmail", "[^@ ]+@[^@ ]+"),
        slack=read.slack(),
        environment={
            "JOB_SCHEDULER_TIMEZONE": timezone,
            "GAME_TYPES": read.text(
                "gameTypes",
                "[a-z][a-z0-9_]*(,[a-z][a-z0-9_]*)*",
                default="snake,tetris,pong,breakout,space_invaders",
                expected="names of small letters, digits and underscores, with commas between them",
            ),
            "SESSION_EXPIRY_MINUTES": str(read.number("sessionExpiryMinutes", 1, 525_600, default=30)),
            "SETTLEMENT_GRACE_SECONDS": str(read.number("settlementGraceSeconds", 0, 300, default=10)),
        },
    )
    if read.problems:
        raise ContextError("\n".join(dict.fromkeys(read.problems)))  # each once: all jobs read `memory`
    return settings


class _Reader:
    """Reads one value at a time and collects what is wrong; what is wrong is read as its default."""

    def __init__(self, context: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        self._values = {key: _as_text(value) for key, value in context.items()}
        self._environ = environ
        self.problems: list[str] = []

    def refuse(self, name: str, value: str, reason: str) -> None:
        self.problems.append(f"{name}: {value!r} {reason}")

    def refuse_unknown_names(self) -> None:
        known = {*SETTINGS, *OF_THE_CDK, *EXISTING_DATABASE, *DATABASE_NAMES}
        known |= {f"{setting}.{job.name}" for setting in OF_A_JOB for job in JOBS} | {job.switch for job in JOBS}
        for name, value in self._values.items():
            if name not in known and "@" not in name and ":" not in name:
                self.refuse(name, value, "is given, but there is no such name; docs/deploy.md lists them")

    def optional(self, name: str, pattern: str, *, expected: str | None = None) -> str | None:
        value = self._values.get(name)
        if not value:
            return None
        if not re.fullmatch(pattern, value):
            self.refuse(name, value, f"does not fit; expected {expected or pattern.replace('|', ' or ')}")
            return None
        return value

    def text(self, name: str, pattern: str, *, default: str, expected: str | None = None) -> str:
        return self.optional(name, pattern, expected=expected) or default

    def number(self, name: str, first: int, last: int, *, default: int) -> int:
        expected = f"a whole number from {first} to {last}"
        value = self.optional(name, "[0-9]{1,9}", expected=expected)
        if value is None:
            return default
        if not first <= int(value) <= last:
            self.refuse(name, value, f"does not fit; expected {expected}")
            return default
        return int(value)

    def flag(self, name: str, *, default: bool) -> bool:
        value = self._values.get(name) or self._environ.get(name) or str(default).lower()
        if value not in {"true", "false"}:
            self.refuse(name, value, "is neither true nor false")
        return value == "true"

    def zone(self) -> str:
        name = self._values.get("timezone") or "UTC"
        try:
            load_zone(name)
        except ValueError as error:
            self.problems.append(f"timezone: {error}")
        return name

    def slack(self) -> Slack | None:
        workspace = self.optional("slackWorkspaceId", "[A-Z0-9]+")
        channel = self.optional("slackChannelId", "[A-Z0-9]+")
        if workspace and channel:
            return Slack(workspace_id=workspace, channel_id=channel)
        if workspace or channel:
            self.problems.append("slack: slackWorkspaceId and slackChannelId belong together; one is missing")
        return None

    def job(self, job: Job) -> JobChoice:
        def name_of(setting: str) -> str:  # the job's own, or else that of all jobs
            own = f"{setting}.{job.name}"
            return own if own in self._values else setting

        cron = self._values.get(f"schedule.{job.name}") or job.cron
        try:
            to_eventbridge(cron)
        except CronError as error:
            self.problems.append(f"schedule.{job.name}: {error}")
        reserved = self.number(name_of("reservedConcurrency"), 0, 1000, default=0)
        return JobChoice(
            job=replace(
                job, cron=cron, memory=self.number(name_of("memory"), FIRST_MEMORY, LAST_MEMORY, default=job.memory)
            ),
            is_enabled=self.flag(job.switch, default=True),
            reserved_concurrency=reserved or None,
        )

    def database(self, target: Target) -> ExistingDatabase | NewDatabase | DatabaseAddress:
        given = [name for name in (*EXISTING_DATABASE, *DATABASE_NAMES) if self._values.get(name)]
        url = self._values.get("databaseUrl") or ""
        is_made = self.flag("createDatabase", default=False)
        if target.takes_database_url:
            if given or is_made or not url:
                self.problems.append(
                    f"database: target={target.name} takes databaseUrl, a SQLAlchemy URL, and nothing else for it"
                )
            return DatabaseAddress(url=url)
        if url:  # not shown: it holds a password, which is also why a template may not
            self.problems.append(f"databaseUrl: only for target=local; target={target.name} keeps no password")
        if is_made:
            if foreign := [name for name in given if name in EXISTING_DATABASE]:
                self.problems.append(f"database: createDatabase=true makes its own; leave out {', '.join(foreign)}")
            name, user = (self._one(key) for key in DATABASE_NAMES)
            return NewDatabase(name=name or "arcade", user=user or "arcade_jobs")
        if not given:
            self.problems.append(
                "database: none given; bring your own (-c vpcId=... and the others of docs/deploy.md), or have one"
                " made with -c createDatabase=true"
            )
        return self._existing_database(complain=bool(given))

    def _existing_database(self, *, complain: bool) -> ExistingDatabase:
        auth = self._one("databaseAuth") or "iam"
        wanted = [
            name for name in (*EXISTING_DATABASE, *DATABASE_NAMES) if name not in {"databaseAuth", "databasePort"}
        ]
        have_endpoints = self._one("gatewayEndpoints")
        wanted.remove("routeTableIds" if have_endpoints else "gatewayEndpoints")
        wanted.remove("databaseSecretArn" if auth == "iam" else "databaseResourceId")
        missing = [name for name in wanted if not self._values.get(name)]
        if missing and complain:
            told = ", ".join(missing).replace("routeTableIds", "routeTableIds (or gatewayEndpoints=exist)")
            self.problems.append(f"database: missing {told}; docs/deploy.md explains them")
        if have_endpoints and (tables := self._values.get("routeTableIds")):
            reason = "would get second gateway endpoints; leave it out with gatewayEndpoints=exist"
            self.refuse("routeTableIds", tables, reason)
        zones, subnets = self._many("availabilityZones"), self._many("subnetIds")
        if zones and subnets and len(zones) != len(subnets):
            self.problems.append(
                f"subnetIds: {len(subnets)} subnets for {len(zones)} availabilityZones; name each one's zone, in order"
            )
        return ExistingDatabase(
            vpc_id=self._one("vpcId"),
            availability_zones=zones,
            subnet_ids=subnets,
            route_table_ids=self._many("routeTableIds"),
            security_group_id=self._one("securityGroupId"),
            host=self._one("databaseHost"),
            port=self.number("databasePort", 1, 65_535, default=5432),
            name=self._one("databaseName"),
            user=self._one("databaseUser"),
            auth=auth,
            resource_id=self._one("databaseResourceId") if auth == "iam" else None,
            secret_arn=self._one("databaseSecretArn") if auth == "secret" else None,
        )

    def _one(self, name: str) -> str:
        form = {**EXISTING_DATABASE, **DATABASE_NAMES}[name]
        return self.optional(name, form.pattern, expected=f"such as {form.example}") or ""

    def _many(self, name: str) -> tuple[str, ...]:
        one = EXISTING_DATABASE[name]
        pattern = f"{one.pattern}(?:,{one.pattern})*"
        value = self.optional(name, pattern, expected=f"such as {one.example}, with commas between them")
        return tuple(value.split(",")) if value else ()


def _as_text(value: Any) -> str:
    """A value of `-c` is text; one of cdk.json may be a number, a boolean or a list."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "" if value is None else str(value).strip()
