"""What the operator may choose, and how a mistake is told: one line each, all of them together."""

import pytest

from infra.stack.context import ContextError, DatabaseAddress, ExistingDatabase, NewDatabase, Slack, read_settings
from tests.infra.template import EXISTING, EXISTING_WITH_SECRET, LOCAL_URL, MADE, ON_LAPTOP


def refusals(context, environ=None):
    with pytest.raises(ContextError) as refusal:
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


@pytest.mark.parametrize("stage", ["Prod", "1st", "-a", "a_b", "a b", "a1234567890123456", "prod\n"[:-1] + "!"])
def test_another_stage_is_refused(stage):
    (line,) = refusals(EXISTING | {"stage": stage})
    assert line.startswith(f"stage: {stage!r} does not fit")


def test_the_replays_stage_is_not_for_deployments():
    assert refusals(EXISTING | {"stage": "demo"}) == ["stage: 'demo' is the replay's own; take another name"]


def test_no_database_is_refused_with_both_choices():
    (line,) = refusals({})
    assert "-c vpcId=..." in line
    assert "-c createDatabase=true" in line
    assert refusals({"createDatabase": "false"}) == [line]


def test_a_half_given_database_is_refused_with_all_that_is_missing():
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


def test_endpoints_are_either_made_or_there():
    (line,) = refusals(EXISTING | {"gatewayEndpoints": "exist"})
    assert line.startswith("routeTableIds: ")
    assert line.endswith("would get second gateway endpoints; leave it out with gatewayEndpoints=exist")


def test_every_subnet_needs_its_zone():
    (line,) = refusals(EXISTING | {"availabilityZones": "eu-west-1a"})
    assert line == "subnetIds: 2 subnets for 1 availabilityZones; name each one's zone, in order"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("vpcId", "vpc-1"),
        ("subnetIds", "subnet-0123456789abcdef0,sub"),
        ("availabilityZones", "eu-west-1"),
        ("routeTableIds", "rtb"),
        ("securityGroupId", "default"),
        ("databaseHost", "db:5432"),
        ("databasePort", "0"),
        ("databasePort", "65536"),
        ("databasePort", "pg"),
        ("databaseAuth", "password"),
        ("databaseResourceId", "my-cluster"),
        ("databaseName", "a/b"),
        ("databaseUser", "o'neill"),
        ("gatewayEndpoints", "yes"),
    ],
)
def test_a_malformed_part_of_a_database_is_named(name, value):
    (line,) = refusals(EXISTING | {name: value})
    assert line.startswith(f"{name}: {value!r} does not fit; expected ")


def test_a_made_database_takes_names_and_no_network():
    assert read_settings(MADE, {}).database == NewDatabase(name="arcade", user="arcade_jobs")
    assert read_settings(MADE | {"databaseName": "games"}, {}).database == NewDatabase(name="games", user="arcade_jobs")
    (line,) = refusals(MADE | {"vpcId": EXISTING["vpcId"], "databasePort": "5432"})
    assert line == "database: createDatabase=true makes its own; leave out vpcId, databasePort"


def test_the_laptop_takes_a_url_and_only_the_laptop():
    assert read_settings(ON_LAPTOP, {}).database == DatabaseAddress(url=LOCAL_URL)
    (line,) = refusals({"target": "local"})
    assert line.startswith("database: target=local takes databaseUrl")
    (line,) = refusals(ON_LAPTOP | MADE)
    assert line.startswith("database: target=local takes databaseUrl")
    lines = refusals(EXISTING | {"databaseUrl": "postgresql://u:hidden@h/d"})
    assert [line.split(":")[0] for line in lines] == ["databaseUrl"]
    assert "hidden" not in lines[0]


def test_an_unknown_target_is_refused():
    (line, *_) = refusals(EXISTING | {"target": "azure"})
    assert line == "target: 'azure' does not fit; expected aws or local"


def test_an_unknown_zone_is_refused():
    assert refusals(EXISTING | {"timezone": "Mars/Olympus"}) == [
        "timezone: 'Mars/Olympus' is not an IANA time zone such as UTC or Europe/London"
    ]


def test_an_impossible_cron_is_refused():
    (line,) = refusals(EXISTING | {"schedule.cleanup": "0 0 30 2 *"})
    assert line == "schedule.cleanup: cron '0 0 30 2 *': day 30 never comes in the given months"


@pytest.mark.parametrize("value", ["yes", "1", "TRUE", "fasle"])
def test_a_bad_boolean_is_refused_wherever_it_comes_from(value):
    expected = [f"ENABLE_CLEANUP_JOB: {value!r} is neither true nor false"]
    assert refusals(EXISTING | {"ENABLE_CLEANUP_JOB": value}) == expected
    assert refusals(EXISTING, {"ENABLE_CLEANUP_JOB": value}) == expected
    assert f"createDatabase: {value!r} is neither true nor false" in refusals({"createDatabase": value})


def test_a_switch_of_the_context_goes_before_that_of_the_environment():
    environ = {"ENABLE_CLEANUP_JOB": "false", "ENABLE_LEADERBOARD_JOB": "false"}
    settings = read_settings(EXISTING | {"ENABLE_CLEANUP_JOB": "true"}, environ)
    assert [choice.is_enabled for choice in settings.jobs] == [True, False, True]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("memory", "64"),
        ("memory.leaderboard", "20000"),
        ("memory", "1GB"),
        ("reservedConcurrency", "-1"),
        ("sessionExpiryMinutes", "0"),
        ("settlementGraceSeconds", "301"),
        ("gameTypes", "Snake"),
        ("gameTypes", "snake, tetris"),
        ("alarmEmail", "nobody"),
        ("slackWorkspaceId", "my workspace"),
    ],
)
def test_a_value_out_of_bounds_is_named_once(name, value):
    lines = [line for line in refusals(EXISTING | {name: value}) if not line.startswith("slack:")]
    assert len(lines) == 1
    assert lines[0].startswith(f"{name}: {value!r} does not fit; expected ")


def test_slack_needs_workspace_and_channel():
    ids = {"slackWorkspaceId": "T0123ABCD", "slackChannelId": "C0123ABCD"}
    assert read_settings(EXISTING | ids, {}).slack == Slack(workspace_id="T0123ABCD", channel_id="C0123ABCD")
    (line,) = refusals(EXISTING | {"slackChannelId": "C0123ABCD"})
    assert line == "slack: slackWorkspaceId and slackChannelId belong together; one is missing"


def test_a_mistyped_name_is_refused_and_the_cdks_own_are_not():
    assert refusals(EXISTING | {"timezon": "UTC", "memory.cleaner": "512"}) == [
        "timezon: 'UTC' is given, but there is no such name; docs/deploy.md lists them",
        "memory.cleaner: '512' is given, but there is no such name; docs/deploy.md lists them",
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


def test_all_mistakes_are_told_together():
    lines = refusals({"stage": "Prod", "timezone": "Mars", "schedule.cleanup": "@daily", "vpcId": EXISTING["vpcId"]})
    assert [line.split(":")[0] for line in lines] == ["stage", "timezone", "schedule.cleanup", "database"]
