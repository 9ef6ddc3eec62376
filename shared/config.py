"""The environment of the functions: each variable once, with its default, its bounds and how it is read.

The functions read them all through `Config.from_env`. The stack sets them: those with a context key are choices at
deployment, checked by the same parser at synth (`infra/stack/context.py`).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from enum import StrEnum
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import URL

from shared.database_url import parse_database_url
from shared.domain.board import GAME_TYPE_PATTERN
from shared.domain.errors import ArcadeJobsError
from shared.domain.periods import load_zone
from shared.domain.stage import parse_stage

Unit = TypeVar("Unit", int, timedelta)


class ConfigError(ArcadeJobsError):
    """The environment is incomplete or malformed. One line for each mistake."""


class DatabaseAuth(StrEnum):
    """Where the database password comes from."""

    URL = "url"  # DATABASE_URL has it, or none is needed
    IAM = "iam"  # a token, signed for each new connection
    SECRET = "secret"  # noqa: S105 - the Secrets Manager secret DATABASE_SECRET_ARN


@dataclass(frozen=True, kw_only=True)
class Variable:
    """One environment variable.

    Attributes:
        name: such as `SESSION_EXPIRY_MINUTES`.
        parse: reads the text; a ValueError names what was expected and what was found.
        default: as text; None: required, or absent where `is_optional`.
        context_key: the CDK context key that sets it at deployment; None: the stack sets it by itself.
    """

    name: str
    parse: Callable[[str], Any]
    default: str | None = None
    is_optional: bool = False
    context_key: str | None = None


def parse_game_types(value: str) -> frozenset[str]:
    """Game types, separated by commas.

    Raises:
        ValueError: one of them is no game type.
    """
    games = [game.strip() for game in value.split(",")]
    for game in games:
        if not re.fullmatch(GAME_TYPE_PATTERN, game):
            raise ValueError(f"expected lower-case words such as snake,space_invaders, got {game!r}")
    return frozenset(games)


def parse_database_auth(value: str) -> DatabaseAuth:
    """Where the password comes from.

    Raises:
        ValueError: not one of `DatabaseAuth`.
    """
    try:
        return DatabaseAuth(value)
    except ValueError:
        raise ValueError(f"expected one of {', '.join(DatabaseAuth)}, got {value!r}") from None


def parse_whole(unit: Unit, *, least: int, most: int) -> Callable[[str], Unit]:
    """A parser of whole numbers of a unit, from `least` to `most`; it raises ValueError for anything else."""

    def parse(value: str) -> Unit:
        number = int(value) if re.fullmatch("[0-9]{1,9}", value) else -1
        if not least <= number <= most:
            raise ValueError(f"expected a whole number from {least} to {most}, got {value[:40]!r}")
        return number * unit

    return parse


def _variable(
    name: str,
    parse: Callable[[str], Any],
    *,
    default: str | None = None,
    is_optional: bool = False,
    context_key: str | None = None,
    is_shown: bool = True,
) -> Any:
    variable = Variable(name=name, parse=parse, default=default, is_optional=is_optional, context_key=context_key)
    return field(metadata={"variable": variable}, repr=is_shown)


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the functions are configured with.

    Attributes:
        database_url: in normal form; may hold a password, and so is not in the repr.
        zone: of all periods.
        game_types: those that are expected; others are served too, and reported.
        session_expiry: the age at which an unfinished session is abandoned.
        orphan_limit_percent: the share of a board's entries without a session from which on none is removed.
        settlement_grace: how long after a period's end a scheduled settlement waits for late scores.
    """

    database_url: URL = _variable("DATABASE_URL", parse_database_url, is_shown=False)
    database_auth: DatabaseAuth = _variable("DATABASE_AUTH", parse_database_auth, default=DatabaseAuth.URL)
    database_secret_arn: str | None = _variable("DATABASE_SECRET_ARN", str, is_optional=True)
    runs_table_name: str = _variable("RUNS_TABLE_NAME", str)
    stage: str = _variable("STAGE", parse_stage, default="dev", context_key="stage")
    zone: ZoneInfo = _variable("JOB_SCHEDULER_TIMEZONE", load_zone, default="UTC", context_key="timezone")
    game_types: frozenset[str] = _variable(
        "GAME_TYPES", parse_game_types, default="snake,tetris,pong,breakout,space_invaders", context_key="gameTypes"
    )
    session_expiry: timedelta = _variable(
        "SESSION_EXPIRY_MINUTES",
        # At 0 cleanup would delete games that are being played.
        parse_whole(timedelta(minutes=1), least=1, most=525_600),
        default="30",
        context_key="sessionExpiryMinutes",
    )
    orphan_limit_percent: int = _variable(
        "ORPHAN_LIMIT_PERCENT", parse_whole(1, least=0, most=100), default="10", context_key="orphanLimitPercent"
    )
    settlement_grace: timedelta = _variable(
        "SETTLEMENT_GRACE_SECONDS",
        parse_whole(timedelta(seconds=1), least=0, most=300),  # it is waited out inside the invocation
        default="10",
        context_key="settlementGraceSeconds",
    )

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Config":
        """Read every variable; an empty one counts as unset.

        Raises:
            ConfigError: naming every variable that is missing or malformed.
        """
        mistakes: list[str] = []
        settings: dict[str, Any] = {}
        for setting in fields(cls):
            variable: Variable = setting.metadata["variable"]
            text = env.get(variable.name) or variable.default
            settings[setting.name] = None
            if text is not None:
                try:
                    settings[setting.name] = variable.parse(text)
                except ValueError as error:
                    mistakes.append(f"{variable.name}: {error}")
            elif not variable.is_optional:
                mistakes.append(f"{variable.name}: missing")
        if settings["database_auth"] is DatabaseAuth.SECRET and not settings["database_secret_arn"]:
            mistakes.append("DATABASE_SECRET_ARN: missing; DATABASE_AUTH=secret needs it")
        if mistakes:
            raise ConfigError("\n".join(mistakes))
        return cls(**settings)


VARIABLES: Mapping[str, Variable] = {
    variable.name: variable for variable in (setting.metadata["variable"] for setting in fields(Config))
}
