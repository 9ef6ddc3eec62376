"""Which database a stack uses: one that is there already, a new Aurora, or on a laptop a URL."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from infra.stack.context_values import ContextValues, list_of, matching, one_of
from infra.stack.target import Target
from shared.config import parse_whole
from shared.database_url import parse_database_url


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
    """An Aurora to be created: the database in it, and the role that runs the jobs."""

    name: str
    user: str


@dataclass(frozen=True, kw_only=True)
class DatabaseUrl:
    """A whole DATABASE_URL, for the target whose database needs no network around it."""

    url: str


def _id(prefix: str) -> Callable[[str], str]:
    return matching(f"{prefix}-(?:[0-9a-f]{{8}}|[0-9a-f]{{17}})", f"{prefix}-0123456789abcdef0")


def _url(text: str) -> str:
    return parse_database_url(text).render_as_string(hide_password=False)


_IDENTIFIER = matching("[A-Za-z_][A-Za-z0-9_]*", "arcade_jobs")
# A new database has these too, with defaults.
DATABASE_NAMES = {"databaseName": _IDENTIFIER, "databaseUser": _IDENTIFIER}
EXISTING_DATABASE: Mapping[str, Callable[[str], Any]] = {
    "vpcId": _id("vpc"),
    "availabilityZones": list_of(matching("[a-z]{2}(?:-[a-z]+)+-[0-9][a-z]", "eu-west-1a")),
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
    **DATABASE_NAMES,
}


def read_database(values: ContextValues, target: Target) -> ExistingDatabase | NewDatabase | DatabaseUrl:
    """Read the choice of a database, of which there must be one."""
    given = [name for name in EXISTING_DATABASE if values.text(name)]
    url = values.text("databaseUrl")
    is_new = values.flag("createDatabase", default=False)
    if target.takes_database_url:
        if given or is_new or not url:
            values.mistakes.append(
                f"database: target={target.name} takes databaseUrl, a SQLAlchemy URL, and nothing else for it"
            )
        return DatabaseUrl(url=values.value("databaseUrl", _url, ""))
    if url:  # not shown: it may hold a password, and a template may not
        values.mistakes.append(f"databaseUrl: only for target=local; target={target.name} stores no password")
    if is_new:
        if unused := [name for name in given if name not in DATABASE_NAMES]:
            values.mistakes.append(f"database: createDatabase=true creates its own; leave out {', '.join(unused)}")
        return NewDatabase(
            name=values.value("databaseName", _IDENTIFIER, "arcade"),
            user=values.value("databaseUser", _IDENTIFIER, "arcade_jobs"),
        )
    if given:
        return _read_existing_database(values)
    values.mistakes.append(
        "database: none given; name an existing one (-c vpcId=... and the others of docs/deploy.md), or create one"
        " with -c createDatabase=true"
    )
    return DatabaseUrl(url="")


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
