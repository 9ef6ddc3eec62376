from datetime import timedelta

import pytest

from shared.config import Config, ConfigError, DatabaseAuth

ENV = {"DATABASE_URL": "postgresql+pg8000://jobs:s3cr3t@db.example:5432/arcade", "RUNS_TABLE_NAME": "runs"}


def test_defaults_are_those_of_the_contract():
    config = Config.from_env(ENV)
    assert config.database_auth is DatabaseAuth.URL
    assert config.stage == "dev"
    assert config.zone.key == "UTC"
    assert config.game_types == {"snake", "tetris", "pong", "breakout", "space_invaders"}
    assert config.session_expiry == timedelta(minutes=30)
    assert config.settlement_grace == timedelta(seconds=10)


def test_an_empty_variable_counts_as_unset():
    assert Config.from_env(ENV | {"JOB_SCHEDULER_TIMEZONE": "", "GAME_TYPES": ""}) == Config.from_env(ENV)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("JOB_SCHEDULER_TIMEZONE", "Mars/Olympus", "'Mars/Olympus' is not an IANA time zone"),
        ("JOB_SCHEDULER_TIMEZONE", "../../etc/passwd", "'../../etc/passwd' is not an IANA time zone"),
        ("SESSION_EXPIRY_MINUTES", "-1", "expected a whole number from 1 to 525600, got '-1'"),
        ("SESSION_EXPIRY_MINUTES", "0", "expected a whole number from 1 to 525600, got '0'"),
        ("SESSION_EXPIRY_MINUTES", "half an hour", "got 'half an hour'"),
        ("SESSION_EXPIRY_MINUTES", "1.5", "got '1.5'"),
        ("SESSION_EXPIRY_MINUTES", "²", "got '²'"),
        ("SESSION_EXPIRY_MINUTES", "9" * 5000, "expected a whole number from 1 to 525600"),
        ("ORPHAN_LIMIT_PERCENT", "101", "expected a whole number from 0 to 100, got '101'"),
        ("SETTLEMENT_GRACE_SECONDS", "301", "expected a whole number from 0 to 300, got '301'"),
        ("GAME_TYPES", "snake,Pong", "got 'Pong'"),
        ("GAME_TYPES", "snake,,pong", "got ''"),
        ("STAGE", "Prod", "got 'Prod'"),
        ("DATABASE_AUTH", "password", "expected one of url, iam, secret, got 'password'"),
        ("DATABASE_URL", "mysql://root:s3cr3t@db", "expected a URL such as postgresql://"),
    ],
)
def test_a_malformed_variable_is_refused_by_name_and_value(name: str, value: str, message: str):
    with pytest.raises(ConfigError) as refused:
        Config.from_env(ENV | {name: value})
    assert str(refused.value).startswith(f"{name}: ")
    assert message in str(refused.value)


def test_all_mistakes_are_reported_together():
    with pytest.raises(ConfigError) as refused:
        Config.from_env(
            {"JOB_SCHEDULER_TIMEZONE": "Nowhere", "SETTLEMENT_GRACE_SECONDS": "soon", "DATABASE_AUTH": "secret"}
        )
    assert [line.split(":")[0] for line in str(refused.value).splitlines()] == [
        "DATABASE_URL",
        "RUNS_TABLE_NAME",
        "JOB_SCHEDULER_TIMEZONE",
        "SETTLEMENT_GRACE_SECONDS",
        "DATABASE_SECRET_ARN",
    ]


def test_the_password_is_in_no_text_of_the_configuration():
    assert "s3cr3t" not in repr(Config.from_env(ENV))
    with pytest.raises(ConfigError) as refused:
        Config.from_env(ENV | {"DATABASE_URL": "s3cr3t"})
    assert "s3cr3t" not in str(refused.value)
