"""Which database a stack uses: one that is there already, a new Aurora, or on a laptop a URL."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.dialects.postgresql.base import RESERVED_WORDS

from infra.stack.context_values import ContextValues, list_of, matching, one_of
from infra.stack.target import Target
from shared.config import parse_whole
from shared.database_url import parse_database_url

ADMIN = "arcade_admin"  # of a database that is created
OWNER_SUFFIX = "_owner"  # of the role that owns the tables, after the name of the role that runs the jobs
MAX_CAPACITY = 4.0  # Aurora capacity units of 2 GB
MOST_CAPACITY = 256
BACKUP_DAYS = 7
ZONES = (2, 3)  # an Aurora needs two subnets, and has three copies of itself at most
SHORTEST_BACKUP_WINDOW = 30  # minutes
LONGEST_NAME = 63  # bytes, of PostgreSQL
# PostgreSQL's reserved words, its roles and databases, and what RDS keeps for itself.
RESERVED = RESERVED_WORDS | {"lateral", "system_user", "public", "none", "postgres", "template0", "template1", "admin"}


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
    """An Aurora to be created: the database in it, and the role that runs the jobs.

    Attributes:
        availability_zones: of its network; None for the first two of the region.
        min_capacity: in Aurora capacity units of 2 GB; at 0 it pauses.
        max_capacity: in the same.
        backup_days: how long backups are kept.
        backup_window: when they are made, such as `03:00-04:00` in UTC; None leaves it to RDS.
    """

    name: str
    user: str
    availability_zones: tuple[str, ...] | None
    min_capacity: float
    max_capacity: float
    backup_days: int
    backup_window: str | None


@dataclass(frozen=True, kw_only=True)
class DatabaseUrl:
    """A whole DATABASE_URL, for the target whose database needs no network around it."""

    url: str


def _id(prefix: str) -> Callable[[str], str]:
    return matching(f"{prefix}-(?:[0-9a-f]{{8}}|[0-9a-f]{{17}})", f"{prefix}-0123456789abcdef0")


def _url(text: str) -> str:
    return parse_database_url(text).render_as_string(hide_password=False)


def _capacity(*, least: float) -> Callable[[str], float]:
    """A parser of Aurora capacity units, which come in halves, up to the 256 of the largest instance."""

    def parse(value: str) -> float:
        number = float(value) if re.fullmatch(r"[0-9]{1,3}(?:\.[05])?", value) else -1.0
        if not least <= number <= MOST_CAPACITY:
            raise ValueError(f"expected capacity units in halves from {least:g} to {MOST_CAPACITY}, got {value!r}")
        return number

    return parse


def _backup_window(value: str) -> str:
    match = re.fullmatch("([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])", value)
    if not match:
        raise ValueError(f"expected a time in UTC such as 03:00-04:00, got {value!r}")
    hour, minute, end_hour, end_minute = map(int, match.groups())
    if ((end_hour - hour) * 60 + end_minute - minute) % (24 * 60) < SHORTEST_BACKUP_WINDOW:
        raise ValueError(f"expected at least {SHORTEST_BACKUP_WINDOW} minutes, got {value!r}")
    return value


def _new_name(value: str) -> str:
    """What RDS and PostgreSQL take as the name of a database, and is not taken already.

    https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBCluster.html
    """
    if not re.fullmatch("[a-z][a-z0-9_]*", value):
        raise ValueError(f"expected a small letter, then small letters, digits and underscores, got {value!r}")
    if len(value) > LONGEST_NAME:
        raise ValueError(f"expected up to {LONGEST_NAME} characters, got {len(value)}: {value!r}")
    if value in RESERVED or value.startswith(("pg_", "rds")):
        raise ValueError(f"{value!r} is reserved by PostgreSQL or RDS")
    return value


def _new_user(value: str) -> str:
    """What can be the role that runs the jobs beside the admin and the role that owns the tables."""
    _new_name(value)
    if value == ADMIN:
        raise ValueError(f"{value!r} is the admin, who could no longer log in with its password, as the Data API does")
    if value.endswith(OWNER_SUFFIX):
        raise ValueError(f"{value!r} ends as the role that owns the tables does; leave out {OWNER_SUFFIX!r}")
    if len(value + OWNER_SUFFIX) > LONGEST_NAME:
        raise ValueError(f"expected up to {LONGEST_NAME - len(OWNER_SUFFIX)} characters, got {len(value)}: {value!r}")
    return value


_IDENTIFIER = matching(f"[A-Za-z_][A-Za-z0-9_]{{0,{LONGEST_NAME - 1}}}", "arcade_jobs")
_ZONES = list_of(matching("[a-z]{2}(?:-[a-z]+)+-[0-9][a-z]", "eu-west-1a"))
NEW_DATABASE: Mapping[str, Callable[[str], Any]] = {
    "databaseMinCapacity": _capacity(least=0),
    "databaseMaxCapacity": _capacity(least=1),
    "backupRetentionDays": parse_whole(1, least=1, most=35),
    "backupWindow": _backup_window,
}
# Either kind of database has these; a new one with defaults.
OF_EITHER = ("databaseName", "databaseUser", "availabilityZones")
EXISTING_DATABASE: Mapping[str, Callable[[str], Any]] = {
    "vpcId": _id("vpc"),
    "availabilityZones": _ZONES,
    "subnetIds": list_of(_id("subnet")),
    "routeTableIds": list_of(_id("rtb")),
    "gatewayEndpoints": one_of(["exist"]),
    "securityGroupId": _id("sg"),
    "databaseHost": matching("[A-Za-z0-9.-]+", "arcade.cluster-abc.eu-west-1.rds.amazonaws.com"),
    "databasePort": parse_whole(1, least=1, most=65_535),
    "databaseAuth": one_of(["iam", "secret"]),
    "databaseResourceId": matching("(?:cluster|db)-[A-Z0-9]+", "cluster-ABCDEFGHIJKL01234"),
    "databaseSecretArn": matching(
        "arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:.+",
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:arcade-abcdef",
    ),
    "databaseName": _IDENTIFIER,
    "databaseUser": _IDENTIFIER,
}


def read_database(values: ContextValues, target: Target, *, stage: str) -> ExistingDatabase | NewDatabase | DatabaseUrl:
    """Read the choice of a database, of which there must be one."""
    given = [name for name in EXISTING_DATABASE if values.text(name)]
    of_a_new_one = [name for name in NEW_DATABASE if values.text(name)]
    url = values.text("databaseUrl")
    is_new = values.flag("createDatabase", default=False)
    if target.takes_database_url:
        if given or of_a_new_one or is_new or not url:
            values.mistakes.append(
                f"database: target={target.name} takes databaseUrl, a SQLAlchemy URL, and nothing else for it"
            )
        return DatabaseUrl(url=values.value("databaseUrl", _url, ""))
    if url:  # not shown: it may hold a password, and a template may not
        values.mistakes.append(f"databaseUrl: only for target=local; target={target.name} stores no password")
    if is_new:
        if unused := [name for name in given if name not in OF_EITHER]:
            values.mistakes.append(
                f"database: createDatabase=true creates its own; leave out {', '.join(unused)}, or set"
                " createDatabase=false"
            )
        return _read_new_database(values)
    if of_a_new_one:
        values.mistakes.append(f"database: {', '.join(of_a_new_one)} need createDatabase=true")
    if given:
        return _read_existing_database(values)
    values.mistakes.append(
        f"database: stage {stage!r} has none; under stages.{stage} in cdk.json, or by -c, name one that exists (vpcId"
        " and the others of docs/deploy.md) or create one (createDatabase=true)"
    )
    return DatabaseUrl(url="")


def _read_new_database(values: ContextValues) -> NewDatabase:
    found: dict[str, Any] = {name: values.value(name, parse, None) for name, parse in NEW_DATABASE.items()}
    least, most = found["databaseMinCapacity"] or 0.0, found["databaseMaxCapacity"] or MAX_CAPACITY
    if least > most:
        values.mistakes.append(f"databaseMinCapacity: {least:g} is more than databaseMaxCapacity, {most:g}")
    zones = values.value("availabilityZones", _ZONES, None)
    regions = {zone[:-1] for zone in zones or ()}
    if zones and (len(set(zones)) != len(zones) or len(zones) not in ZONES or len(regions) != 1):
        values.mistakes.append(
            f"availabilityZones: expected two or three different ones of one region, got {','.join(zones)!r}"
        )
    name = values.value("databaseName", _new_name, "arcade")
    return NewDatabase(
        name=name,
        user=values.value("databaseUser", _new_user, "arcade_jobs"),
        availability_zones=zones,
        min_capacity=least,
        max_capacity=most,
        backup_days=found["backupRetentionDays"] or BACKUP_DAYS,
        backup_window=found["backupWindow"],
    )


def _read_existing_database(values: ContextValues) -> ExistingDatabase:
    found: dict[str, Any] = {name: values.value(name, parse, None) for name, parse in EXISTING_DATABASE.items()}
    auth = found["databaseAuth"] or "iam"
    has_endpoints = bool(values.text("gatewayEndpoints"))
    optional = {
        *("databaseAuth", "databasePort"),
        "routeTableIds" if has_endpoints else "gatewayEndpoints",
        "databaseSecretArn" if auth == "iam" else "databaseResourceId",
    }
    if missing := [name for name in EXISTING_DATABASE if name not in optional and not values.text(name)]:
        names = ", ".join(missing).replace("routeTableIds", "routeTableIds (or gatewayEndpoints=exist)")
        values.mistakes.append(f"database: missing {names}; docs/deploy.md explains them")
    if has_endpoints and values.text("routeTableIds"):
        values.mistakes.append(
            "routeTableIds: with gatewayEndpoints=exist they would get second endpoints; leave one of the two out"
        )
    zones, subnets = found["availabilityZones"] or (), found["subnetIds"] or ()
    if zones and subnets and len(zones) != len(subnets):
        values.mistakes.append(
            f"subnetIds: {len(subnets)} subnets for {len(zones)} availabilityZones; name each one's zone, in order"
        )
    return ExistingDatabase(
        vpc_id=found["vpcId"],
        availability_zones=zones,
        subnet_ids=subnets,
        route_table_ids=found["routeTableIds"] or (),
        security_group_id=found["securityGroupId"],
        host=found["databaseHost"],
        port=found["databasePort"] or 5432,
        name=found["databaseName"],
        user=found["databaseUser"],
        auth=auth,
        resource_id=found["databaseResourceId"] if auth == "iam" else None,
        secret_arn=found["databaseSecretArn"] if auth == "secret" else None,
    )
