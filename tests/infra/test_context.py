"""What can be chosen at deployment, and how a mistake is reported: one line each, all of them together."""

from dataclasses import replace

import pytest
from sqlalchemy import text

from infra.stack.context import Slack, read_settings
from infra.stack.database_choice import DatabaseUrl, ExistingDatabase, NewDatabase
from shared.config import VARIABLES, Config, ConfigError
from shared.domain.errors import ArcadeJobsError
from tests.infra.template import CDK_CONTEXT, EXISTING, EXISTING_WITH_SECRET, LOCAL_URL, NEW, ON_LAPTOP


def refusals(context, environ=None):
    with pytest.raises(ArcadeJobsError) as refusal:
        read_settings(context, environ or {})
    return str(refusal.value).splitlines()


def without(*names):
    return {name: value for name, value in EXISTING.items() if name not in names}


def test_defaults_are_a_stage_of_development_in_utc():
    settings = read_settings(EXISTING, {})
    assert (settings.stage, settings.target.name, settings.timezone) == ("dev", "aws", "UTC")
    assert all(choice.is_enabled and choice.reserved_concurrency is None for choice in settings.jobs)
    assert (settings.alarm_email, settings.slack) == (None, None)


@pytest.mark.parametrize("stage", ["p", "prod", "eu-west-2", "a123456789012345"])
def test_a_stage_is_a_small_word(stage):
    assert read_settings(EXISTING | {"stage": stage}, {}).stage == stage


@pytest.mark.parametrize("stage", ["Prod", "1st", "-a", "a_b", "a b", "a1234567890123456", "prod!"])
def test_another_stage_is_refused(stage):
    (line,) = refusals(EXISTING | {"stage": stage})
    assert line == f"stage: expected a small letter, then up to 15 small letters, digits and dashes, got {stage!r}"


def test_the_replays_stage_is_not_for_deployments():
    assert refusals(EXISTING | {"stage": "demo"}) == ["stage: 'demo' is reserved for make demo; choose another name"]


def test_no_database_is_refused_with_both_choices():
    (line,) = refusals({})
    assert "stage 'dev' has none" in line
    assert "vpcId" in line
    assert "createDatabase=true" in line
    assert refusals({"createDatabase": "false"}) == [line]


def test_an_incomplete_database_is_refused_with_all_that_is_missing():
    (line,) = refusals({"vpcId": EXISTING["vpcId"]})
    assert line == (
        "database: missing availabilityZones, subnetIds, routeTableIds (or gatewayEndpoints=exist), securityGroupId,"
        " databaseHost, databaseResourceId, databaseName, databaseUser; docs/deploy.md explains them"
    )
    assert refusals(without("databaseUser")) == ["database: missing databaseUser; docs/deploy.md explains them"]


def test_a_secret_takes_the_place_of_the_resource_id():
    database = read_settings(EXISTING_WITH_SECRET, {}).database
    assert isinstance(database, ExistingDatabase)
    assert database.secret_arn
    assert database.resource_id is None
    assert refusals(EXISTING | {"databaseAuth": "secret"}) == [
        "database: missing databaseSecretArn; docs/deploy.md explains them"
    ]


def test_endpoints_that_exist_take_the_place_of_route_tables():
    database = read_settings(without("routeTableIds") | {"gatewayEndpoints": "exist"}, {}).database
    assert isinstance(database, ExistingDatabase)
    assert database.route_table_ids == ()


def test_endpoints_are_either_created_or_exist():
    (line,) = refusals(EXISTING | {"gatewayEndpoints": "exist"})
    assert line.startswith("routeTableIds: with gatewayEndpoints=exist they would get second endpoints")


def test_every_subnet_needs_its_zone():
    (line,) = refusals(EXISTING | {"availabilityZones": "eu-west-1a"})
    assert line == "subnetIds: 2 subnets for 1 availabilityZones; name each one's zone, in order"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("vpcId", "vpc-1", "a value such as vpc-0123456789abcdef0, got 'vpc-1'"),
        ("subnetIds", "subnet-0123456789abcdef0,sub", "a value such as subnet-0123456789abcdef0, got 'sub'"),
        ("availabilityZones", "eu-west-1", "a value such as eu-west-1a, got 'eu-west-1'"),
        ("routeTableIds", "rtb", "a value such as rtb-0123456789abcdef0, got 'rtb'"),
        ("securityGroupId", "default", "a value such as sg-0123456789abcdef0, got 'default'"),
        ("databaseHost", "db:5432", "a value such as arcade.cluster-abc.eu-west-1.rds.amazonaws.com, got 'db:5432'"),
        ("databasePort", "0", "a whole number from 1 to 65535, got '0'"),
        ("databasePort", "65536", "a whole number from 1 to 65535, got '65536'"),
        ("databasePort", "pg", "a whole number from 1 to 65535, got 'pg'"),
        ("databaseAuth", "password", "one of iam, secret, got 'password'"),
        ("databaseResourceId", "my-cluster", "a value such as cluster-ABCDEFGHIJKL01234, got 'my-cluster'"),
        ("databaseName", "a/b", "a value such as arcade_jobs, got 'a/b'"),
        ("databaseUser", "o'neill", 'a value such as arcade_jobs, got "o\'neill"'),
    ],
)
def test_a_malformed_part_of_a_database_is_refused(name, value, expected):
    assert refusals(EXISTING | {name: value}) == [f"{name}: expected {expected}"]


def test_gateway_endpoints_exist_or_are_left_out():
    lines = refusals(without("routeTableIds") | {"gatewayEndpoints": "yes"})
    assert lines == ["gatewayEndpoints: expected one of exist, got 'yes'"]


def test_a_new_database_takes_names_and_no_network():
    default = NewDatabase(
        name="arcade",
        user="arcade_jobs",
        availability_zones=None,
        min_capacity=0,
        max_capacity=4,
        backup_days=7,
        backup_window=None,
    )
    assert read_settings(NEW, {}).database == default
    assert read_settings(NEW | {"databaseName": "games"}, {}).database == replace(default, name="games")
    (line,) = refusals(NEW | {"vpcId": EXISTING["vpcId"], "databasePort": "5432"})
    assert line == (
        "database: createDatabase=true creates its own; leave out vpcId, databasePort, or set createDatabase=false"
    )


def test_the_laptop_takes_a_url_and_only_the_laptop():
    assert read_settings(ON_LAPTOP, {}).database == DatabaseUrl(url=LOCAL_URL)
    (line,) = refusals({"target": "local"})
    assert line.startswith("database: target=local takes databaseUrl")
    (line,) = refusals(ON_LAPTOP | NEW)
    assert line.startswith("database: target=local takes databaseUrl")
    lines = refusals(EXISTING | {"databaseUrl": "postgresql://u:hidden@h/d"})
    assert [line.split(":")[0] for line in lines] == ["databaseUrl"]
    assert "hidden" not in lines[0]


def test_an_unknown_target_is_refused():
    (line, *_) = refusals(EXISTING | {"target": "azure"})
    assert line == "target: expected one of aws, local, got 'azure'"


def test_an_unknown_zone_is_refused():
    assert refusals(EXISTING | {"timezone": "Mars/Olympus"}) == [
        "timezone: 'Mars/Olympus' is not an IANA time zone such as UTC or Europe/London"
    ]


def test_an_impossible_cron_is_refused():
    (line,) = refusals(EXISTING | {"schedule.cleanup": "0 0 30 2 *"})
    assert line.startswith("schedule.cleanup: cron '0 0 30 2 *': bad day-of-month")


@pytest.mark.parametrize("value", ["yes", "1", "TRUE", "fasle"])
def test_a_bad_boolean_is_refused_wherever_it_comes_from(value):
    expected = [f"ENABLE_CLEANUP_JOB: expected one of true, false, got {value!r}"]
    assert refusals(EXISTING | {"ENABLE_CLEANUP_JOB": value}) == expected
    assert refusals(EXISTING, {"ENABLE_CLEANUP_JOB": value}) == expected
    assert f"createDatabase: expected one of true, false, got {value!r}" in refusals({"createDatabase": value})


def test_a_switch_of_the_context_goes_before_that_of_the_environment():
    environ = {"ENABLE_CLEANUP_JOB": "false", "ENABLE_LEADERBOARD_JOB": "false"}
    settings = read_settings(EXISTING | {"ENABLE_CLEANUP_JOB": "true"}, environ)
    assert {choice.job.name for choice in settings.jobs if not choice.is_enabled} == {"leaderboard"}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("memory", "64", "a whole number from 128 to 10240"),
        ("memory.leaderboard", "20000", "a whole number from 128 to 10240"),
        ("memory", "1GB", "a whole number from 128 to 10240"),
        ("reservedConcurrency", "-1", "a whole number from 0 to 1000"),
        ("alarmEmail", "nobody", "a value such as you@example.com"),
    ],
)
def test_a_value_out_of_bounds_is_refused_once(name, value, expected):
    assert refusals(EXISTING | {name: value}) == [f"{name}: expected {expected}, got {value!r}"]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SESSION_EXPIRY_MINUTES", "0"),
        ("SETTLEMENT_GRACE_SECONDS", "301"),
        ("GAME_TYPES", "Snake"),
        ("GAME_TYPES", "snake,,pong"),
        ("STAGE", "Prod"),
        ("JOB_SCHEDULER_TIMEZONE", "Mars/Olympus"),
    ],
)
def test_a_variable_is_refused_at_synth_with_the_text_of_the_functions(variable, value):
    with pytest.raises(ConfigError) as refusal:
        Config.from_env({"DATABASE_URL": LOCAL_URL, "RUNS_TABLE_NAME": "runs", variable: value})
    key = VARIABLES[variable].context_key or ""
    assert refusals(EXISTING | {key: value}) == [str(refusal.value).replace(variable, key, 1)]


def test_sessions_that_expire_at_once_are_refused():
    assert refusals(EXISTING | {"sessionExpiryMinutes": "0"}) == [
        "sessionExpiryMinutes: expected a whole number from 1 to 525600, got '0'"
    ]


def test_slack_needs_workspace_and_channel():
    ids = {"slackWorkspaceId": "T0123ABCD", "slackChannelId": "C0123ABCD"}
    assert read_settings(EXISTING | ids, {}).slack == Slack(workspace_id="T0123ABCD", channel_id="C0123ABCD")
    (line,) = refusals(EXISTING | {"slackChannelId": "C0123ABCD"})
    assert line == "slack: slackWorkspaceId and slackChannelId belong together; one is missing"


def test_a_mistyped_name_is_refused_and_names_of_the_cdk_are_not():
    assert refusals(EXISTING | {"timezon": "UTC", "memory.cleaner": "512"}) == [
        "timezon: there is no such name; docs/deploy.md lists them",
        "memory.cleaner: there is no such name; docs/deploy.md lists them",
    ]
    read_settings(EXISTING | {"@aws-cdk/core:x": True, "aws:cdk:y": 1, "cli-telemetry": False}, {})


def test_values_of_cdk_json_may_be_numbers_booleans_and_lists():
    typed = EXISTING | {
        "subnetIds": EXISTING["subnetIds"].split(","),
        "databasePort": 6432,
        "ENABLE_CLEANUP_JOB": False,
    }
    settings = read_settings(typed, {})
    assert isinstance(settings.database, ExistingDatabase)
    assert settings.database.port == 6432
    assert settings.database.subnet_ids == tuple(EXISTING["subnetIds"].split(","))
    assert not settings.jobs[2].is_enabled


def test_all_mistakes_are_reported_together():
    lines = refusals({"stage": "Prod", "timezone": "Mars", "schedule.cleanup": "@daily", "vpcId": EXISTING["vpcId"]})
    assert [line.split(":")[0] for line in lines] == ["stage", "timezone", "schedule.cleanup", "database"]


def of_stages(**stages):
    return {"stages": stages}


def test_what_cdk_json_ships_is_enough_for_a_first_stage():
    settings = read_settings(CDK_CONTEXT, {})
    assert (settings.stage, settings.timezone) == ("dev", "UTC")
    assert isinstance(settings.database, NewDatabase)


def test_each_stage_keeps_its_choices():
    stages = of_stages(dev=NEW, prod=EXISTING | {"timezone": "Europe/London", "alarmEmail": "night@example.com"})
    assert read_settings(stages, {}).alarm_email is None
    prod = read_settings(stages | {"stage": "prod"}, {})
    assert (prod.timezone, prod.alarm_email) == ("Europe/London", "night@example.com")
    assert isinstance(prod.database, ExistingDatabase)


def test_a_value_of_the_command_line_goes_before_that_of_the_stage_an_empty_one_too():
    stages = of_stages(dev=NEW | {"timezone": "Europe/London", "alarmEmail": "night@example.com"})
    settings = read_settings(stages | {"timezone": "UTC", "alarmEmail": ""}, {})
    assert (settings.timezone, settings.alarm_email) == ("UTC", None)


def test_a_switch_of_the_environment_comes_last():
    environ = {"ENABLE_CLEANUP_JOB": "false", "ENABLE_LEADERBOARD_JOB": "false"}
    settings = read_settings(of_stages(dev=NEW | {"ENABLE_CLEANUP_JOB": True}), environ)
    assert {choice.job.name for choice in settings.jobs if not choice.is_enabled} == {"leaderboard"}


def test_a_stage_that_is_not_in_cdk_json_needs_a_database_choice():
    [line] = refusals(of_stages(dev=NEW) | {"stage": "prd"})
    assert line.startswith(
        "database: stage 'prd' has none; under stages.prd in cdk.json, or by -c, name one that exists"
    )
    assert read_settings(of_stages(dev=NEW) | {"stage": "prd"} | NEW, {}).stage == "prd"


def test_the_laptop_has_no_choices_of_a_stage():
    settings = read_settings(of_stages(dev=NEW | {"timezone": "Europe/London"}) | ON_LAPTOP, {})
    assert (settings.database, settings.timezone) == (DatabaseUrl(url=LOCAL_URL), "UTC")


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ({"dev": NEW | {"timezone": "Mars"}}, "stages.dev.timezone: 'Mars' is not an IANA time zone such as UTC"),
        ({"dev": NEW, "prod": {"timezon": "UTC"}}, "stages.prod.timezon: there is no such name; docs/deploy.md lists"),
        ({"dev": NEW, "prod": {"@aws-cdk/core:x": True}}, "stages.prod.@aws-cdk/core:x: there is no such name"),
        ({"dev": NEW | {"stage": "prod"}}, "stages.dev.stage: is not kept with a stage"),
        ({"dev": NEW | {"target": "local"}}, "stages.dev.target: is not kept with a stage"),
        ({"dev": NEW, "Prod": {}}, "stages: expected a small letter, then up to 15 small letters, digits and dashes"),
        ({"dev": NEW, "prod": "x"}, "stages.prod: expected an object with names and values, got 'x'"),
    ],
)
def test_a_mistake_in_a_stage_is_one_line_that_names_the_stage(stages, expected):
    [line] = refusals({"stages": stages})
    assert line.startswith(expected)


@pytest.mark.parametrize("stages", ["dev", "", [], False, 0, None])
def test_stages_are_an_object(stages):
    """An empty value of the command line would hide what is kept, and remove the e-mail with it."""
    [line] = refusals(NEW | {"stages": stages})
    assert line == f"stages: expected an object in cdk.json with the choices of each stage, got {str(stages)!r}"


@pytest.mark.parametrize(
    "arn",
    [
        "on-call",
        "arn:aws:sqs:eu-west-1:123456789012:on-call",
        "arn:aws:sns:eu-west-1:123456789012:on-call.fifo",
        "arn:aws:sns:eu-west-1:12345:on-call",
    ],
)
def test_what_is_no_topic_for_alarms_is_refused(arn):
    expected = f"a value such as arn:aws:sns:eu-west-1:123456789012:on-call, got {arn!r}"
    assert refusals(EXISTING | {"alarmTopicArn": arn}) == [f"alarmTopicArn: expected {expected}"]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("databaseUser", "arcade_admin", "'arcade_admin' is the admin, who could no longer log in with its password"),
        ("databaseUser", "rdsadmin", "'rdsadmin' is reserved by PostgreSQL or RDS"),
        ("databaseUser", "rds_iam", "'rds_iam' is reserved"),
        ("databaseUser", "pg_monitor", "'pg_monitor' is reserved"),
        ("databaseUser", "public", "'public' is reserved"),
        ("databaseUser", "user", "'user' is reserved"),
        ("databaseUser", "admin", "'admin' is reserved"),
        ("databaseUser", "_jobs", "expected a small letter, then small letters, digits and underscores, got '_jobs'"),
        ("databaseUser", "Jobs", "expected a small letter, then"),
        ("databaseUser", "jobs-1", "expected a small letter, then"),
        ("databaseUser", "arcade_jobs_owner", "'arcade_jobs_owner' ends as the role that owns the tables does"),
        ("databaseUser", "j" * 58, "expected up to 57 characters, got 58"),
        ("databaseName", "_arcade", "expected a small letter, then"),
        ("databaseName", "postgres", "'postgres' is reserved"),
        ("databaseName", "template1", "'template1' is reserved"),
        ("databaseName", "table", "'table' is reserved"),
        ("databaseName", "a" * 64, "expected up to 63 characters, got 64"),
        ("databaseMinCapacity", "0.3", "expected capacity units in halves from 0 to 256, got '0.3'"),
        ("databaseMinCapacity", "-1", "expected capacity units in halves from 0 to 256, got '-1'"),
        ("databaseMaxCapacity", "0.5", "expected capacity units in halves from 1 to 256, got '0.5'"),
        ("databaseMaxCapacity", "256.5", "expected capacity units in halves from 1 to 256, got '256.5'"),
        ("databaseMinCapacity", "4.5", "4.5 is more than databaseMaxCapacity, 4"),
        ("backupRetentionDays", "0", "expected a whole number from 1 to 35, got '0'"),
        ("backupRetentionDays", "36", "expected a whole number from 1 to 35, got '36'"),
        ("backupWindow", "3-4", "expected a time in UTC such as 03:00-04:00, got '3-4'"),
        ("backupWindow", "24:00-01:00", "expected a time in UTC such as 03:00-04:00, got '24:00-01:00'"),
        ("backupWindow", "03:00-03:29", "expected at least 30 minutes, got '03:00-03:29'"),
        ("availabilityZones", "eu-west-1a", "expected two or three different ones of one region, got 'eu-west-1a'"),
        ("availabilityZones", "eu-west-1a,eu-west-1a", "expected two or three different ones of one region, got"),
        ("availabilityZones", "eu-west-1a,us-east-1b", "expected two or three different ones of one region, got"),
        ("availabilityZones", "2", "expected a value such as eu-west-1a, got '2'"),
    ],
)
def test_what_rds_refuses_of_a_new_database_is_refused_before_it(name, value, expected):
    [line] = refusals(NEW | {name: value})
    assert line.startswith(f"{name}: {expected}")


def test_choices_of_a_new_database_need_one():
    assert refusals(EXISTING | {"backupRetentionDays": "3", "databaseMinCapacity": "1"}) == [
        "database: databaseMinCapacity, backupRetentionDays need createDatabase=true"
    ]
    [line] = refusals(ON_LAPTOP | {"backupRetentionDays": "3"})
    assert line.startswith("database: target=local takes databaseUrl")


def test_what_postgresql_reserves_is_refused(engine):
    with engine.connect() as connection:
        reserved = connection.scalars(text("SELECT word FROM pg_get_keywords() WHERE catcode = 'R'")).all()
    assert len(reserved) > 70
    assert {word for word in reserved if not refusals(NEW | {"databaseUser": word})} == set()


@pytest.mark.parametrize("choice", ["true", "false"])
def test_protection_is_chosen(choice):
    for stage in ("dev", "prod"):
        settings = read_settings(NEW | {"stage": stage, "terminationProtection": choice}, {})
        assert settings.is_protected is (choice == "true")
    assert not read_settings(ON_LAPTOP | {"stage": "prod", "terminationProtection": choice}, {}).is_protected
