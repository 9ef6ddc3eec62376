"""The environment of the functions, read once into typed settings (DESIGN section 3, Environment)."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from shared.domain.periods import load_zone

VARIABLES = (
    "DATABASE_URL",
    "DATABASE_AUTH",
    "DATABASE_SECRET_ARN",
    "RUNS_TABLE_NAME",
    "JOB_SCHEDULER_TIMEZONE",
    "GAME_TYPES",
    "SESSION_EXPIRY_MINUTES",
    "SETTLEMENT_GRACE_SECONDS",
)
DEFAULT_GAME_TYPES = "snake,tetris,pong,breakout,space_invaders"
MAX_SESSION_EXPIRY = timedelta(days=365)
MAX_SETTLEMENT_GRACE = timedelta(minutes=5)  # it is waited out inside the invocation

T = TypeVar("T")

_GAME_TYPE = re.compile(r"[a-z][a-z0-9_]*")
_HOST = re.compile(r"[A-Za-z0-9._:%-]*")
_DATABASE_URL = re.compile(r"postgres(ql)?(\+pg8000)?://")


class ConfigError(ValueError):
    """The environment is incomplete or malformed. The message names every mistake, and no secret."""


class DatabaseAuth(StrEnum):
    """Where the database password comes from."""

    URL = "url"  # it is in DATABASE_URL, or none is needed
    IAM = "iam"  # a token, signed for each new connection
    SECRET = "secret"  # noqa: S105 - the Secrets Manager secret DATABASE_SECRET_ARN


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the functions are told.

    Attributes:
        database_url: SQLAlchemy URL; may hold a password, and so is never shown.
        database_auth: where the password comes from.
        database_secret_arn: the secret, with `DatabaseAuth.SECRET`.
        runs_table_name: the DynamoDB table of run records.
        zone: the zone of all periods.
        game_types: the games whose pools and boards are expected; others are served too, and reported.
        session_expiry: the age at which an unfinished session is abandoned.
        settlement_grace: how long after a period's end a scheduled settlement waits for scores on their way.
    """

    database_url: str = field(repr=False)
    database_auth: DatabaseAuth = DatabaseAuth.URL
    database_secret_arn: str | None = None
    runs_table_name: str
    zone: ZoneInfo
    game_types: frozenset[str]
    session_expiry: timedelta
    settlement_grace: timedelta

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Config":
        """Read the settings; an empty variable counts as unset.

        Raises:
            ConfigError: naming every variable that is missing or malformed, one a line.
        """
        mistakes: list[str] = []

        def read(name: str, parse: Callable[[str], T], default: str | None = None) -> T | None:
            value = env.get(name) or default
            if value is None:
                mistakes.append(f"{name}: missing")
                return None
            try:
                return parse(value)
            except ValueError as error:
                mistakes.append(f"{name}: {error}")
                return None

        auth = read("DATABASE_AUTH", _parse_auth, DatabaseAuth.URL)
        secret_arn = env.get("DATABASE_SECRET_ARN") or None
        if auth is DatabaseAuth.SECRET and secret_arn is None:
            mistakes.append("DATABASE_SECRET_ARN: missing; DATABASE_AUTH=secret needs it")
        settings = {
            "database_url": read("DATABASE_URL", _parse_database_url),
            "database_auth": auth,
            "database_secret_arn": secret_arn,
            "runs_table_name": read("RUNS_TABLE_NAME", str),
            "zone": read("JOB_SCHEDULER_TIMEZONE", load_zone, "UTC"),
            "game_types": read("GAME_TYPES", _parse_game_types, DEFAULT_GAME_TYPES),
            "session_expiry": read(
                "SESSION_EXPIRY_MINUTES", lambda v: _parse_whole(v, timedelta(minutes=1), MAX_SESSION_EXPIRY), "30"
            ),
            "settlement_grace": read(
                "SETTLEMENT_GRACE_SECONDS", lambda v: _parse_whole(v, timedelta(seconds=1), MAX_SETTLEMENT_GRACE), "10"
            ),
        }
        if mistakes:
            raise ConfigError("\n".join(mistakes))
        return cls(**settings)  # type: ignore[arg-type]  # None only with a mistake


def _parse_auth(value: str) -> DatabaseAuth:
    try:
        return DatabaseAuth(value)
    except ValueError:
        raise ValueError(f"expected one of {', '.join(DatabaseAuth)}, got {value!r}") from None


def _parse_database_url(value: str) -> str:
    """The URL, if it is one. It may hold a password: neither it nor what a library says of it is shown (S15)."""
    if not _DATABASE_URL.match(value):
        raise ValueError("expected a URL such as postgresql+pg8000://user@host:5432/arcade")
    try:
        host = make_url(value).host or ""
    except (ArgumentError, ValueError):
        host = "@"
    if not _HOST.fullmatch(host):  # an @ of the password would end up in the host's name, and in error texts
        raise ValueError("not a URL; in a password write / as %2F, @ as %40, : as %3A") from None
    return value


def _parse_game_types(value: str) -> frozenset[str]:
    games = [game.strip() for game in value.split(",")]
    for game in games:
        if not _GAME_TYPE.fullmatch(game):
            raise ValueError(f"{game!r} is not a game type; expected lower-case words such as snake,space_invaders")
    return frozenset(games)


def _parse_whole(value: str, unit: timedelta, most: timedelta) -> timedelta:
    """A whole number of units, from 0 up."""
    if not (value.isascii() and value.isdigit()):
        raise ValueError(f"expected a whole number, 0 or more, got {value!r}")
    number = int(value) if len(value) < 10 else most // unit + 1  # noqa: PLR2004 - longer than any limit
    if number * unit > most:
        raise ValueError(f"{value} is too much; at most {most // unit}")
    return number * unit
