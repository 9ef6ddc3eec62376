"""A database as RDS creates it."""

from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from sqlalchemy import Engine, text

from infra.local import postgres
from infra.schema import data_api, roles
from infra.schema.data_api import DataApi
from infra.stage import stack_name
from shared.operations.deployment import Deployment
from tests.fakes.data_api import FakeDataApi
from tests.sql import new_database, open_database, run


@dataclass
class Cluster:
    """A database as RDS creates it: an admin that is no superuser owns it, and the role rds_iam exists."""

    engine: Engine
    fake: FakeDataApi
    jobs_role: str
    timezone: str = "UTC"
    lines: list[str] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    def deployment(self, **outputs: str) -> Deployment:
        return Deployment(
            stage="dev",
            stack=stack_name("dev"),
            account="123456789012",
            caller="arn:aws:iam::123456789012:user/operator",
            region="eu-west-1",
            create_client=self.fake.session.client,
            endpoint=None,
            outputs=outputs
            or {
                "DatabaseClusterArn": self.fake.cluster,
                "DatabaseAdminSecretArn": self.fake.secret,
                "DatabaseName": str(self.fake.url.database),
                "DatabaseUser": self.jobs_role,
                "Timezone": self.timezone,
            },
        )

    def api(self) -> DataApi:
        return DataApi(
            client=self.fake.client,
            cluster=self.fake.cluster,
            secret=self.fake.secret,
            database=str(self.fake.url.database),
            jobs_role=self.jobs_role,
            report=self.lines.append,
            sleep=self.pauses.append,
        )

    def upgrade(self) -> None:
        data_api.upgrade(self.api())

    def scalar(self, query: str) -> Any:
        with self.engine.connect() as connection:
            return connection.scalar(text(query))

    def run(self, *statements: str) -> None:
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def tables(self) -> int:
        return self.scalar("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace")

    def has_role(self) -> bool:
        return self.scalar(f"SELECT count(*) FROM pg_roles WHERE rolname LIKE '{self.jobs_role}%'") > 0


@contextmanager
def create_cluster(server: postgres.Server) -> Iterator[Cluster]:
    name = uuid4().hex[:12]
    admin, jobs = f"admin_{name}", f"jobs_{name}"
    with new_database(server, "made") as engine:
        cluster = Cluster(engine, FakeDataApi(engine.url.set(username=admin, password="a password")), jobs_role=jobs)
        cluster.run(
            "DO $$ BEGIN CREATE ROLE rds_iam; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
            f"CREATE ROLE {admin} LOGIN CREATEROLE CREATEDB PASSWORD 'a password'",
            f"GRANT rds_iam TO {admin} WITH ADMIN OPTION",
            f"ALTER DATABASE {engine.url.database} OWNER TO {admin}",
        )
        yield cluster
        wait(cluster.fake.going_on)
    maintenance = open_database(server.admin_url)
    run(maintenance, f"DROP ROLE IF EXISTS {jobs}", f"DROP ROLE IF EXISTS {roles.owner_of(jobs)}", f"DROP ROLE {admin}")
    maintenance.dispose()
