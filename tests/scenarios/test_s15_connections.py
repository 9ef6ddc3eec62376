"""S15: cold starts at once; a database that is full, resuming, failing over or refusing the password; and no secret."""

import contextlib
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import pytest
from sqlalchemy import Engine, QueuePool, event, text

from infra.demo.runs_table import MemoryRunsTable
from infra.local import postgres
from infra.local.emulator import Emulator
from infra.schema.roles import grant_statements
from shared.app import App, build_app
from shared.config import ConfigError
from shared.runs.runner import RunNotSucceededError
from shared.services.transactions import LONGEST_DELAY, RETRY_BUDGET
from tests.arcade import Arcade
from tests.fakes import FakeClock, scheduled_event
from tests.fakes.database_proxy import DatabaseProxy, proxy_to
from tests.jobs import StartApp, invoke

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

ROOT = Path(__file__).parents[2]
PROCESSES = 30
CAP = 5  # connections that the database has for them
SLOT = "2026-01-12T00:00:00Z"
PASSWORD, ACCESS, TOKEN = "pl4nted-passw0rd", "pl4nted-access-key", "pl4nted-session-token"
SECRETS = (PASSWORD, ACCESS, TOKEN)


def assert_no_secret(written: str) -> None:
    """Not even in part, or as it is written in a URL or a signature's query."""
    for secret in (*SECRETS, "pl4nted"):
        assert secret not in written


# --- cold starts -----------------------------------------------------------------------------------------------------


@dataclass
class Role:
    """A role of the test's own, that may do what a job does, and has a limit of connections."""

    admin: Engine
    name: str

    def limit(self, connections: int) -> None:
        with self.admin.begin() as connection:
            connection.execute(text(f"ALTER ROLE {self.name} CONNECTION LIMIT {connections}"))

    def url(self) -> str:
        return self.admin.url.set(username=self.name, password=PASSWORD).render_as_string(hide_password=False)

    def connections(self) -> int:
        query = text("SELECT count(*) FROM pg_stat_activity WHERE usename = :name")
        with self.admin.connect() as connection:
            return connection.execute(query, {"name": self.name}).scalar_one()


@pytest.fixture
def role(engine: Engine) -> Iterator[Role]:
    role = Role(engine, f"jobs_{uuid4().hex[:12]}")
    with engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {role.name} LOGIN PASSWORD '{PASSWORD}'"))
        for statement in grant_statements(role.name):
            connection.execute(text(statement))
    yield role
    with engine.begin() as connection:
        connection.execute(text(f"DROP OWNED BY {role.name} CASCADE"))
        connection.execute(text(f"DROP ROLE {role.name}"))


@contextlib.contextmanager
def cold_starts(folder: Path, url: str, endpoint: str, **env: str) -> Iterator["subprocess.Popen[bytes]"]:
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.scenarios.cold_starts", str(folder), str(PROCESSES)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        env={
            "PATH": os.defpath,
            "PYTHONUNBUFFERED": "1",  # the log is read while it is written
            "DATABASE_URL": url,
            "RUNS_TABLE_NAME": "runs",
            "AWS_ENDPOINT_URL_DYNAMODB": endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "AKIAPLANTED",
            "AWS_SECRET_ACCESS_KEY": ACCESS,
            "AWS_SESSION_TOKEN": TOKEN,
            **env,
        },
    )
    try:
        yield process
    finally:
        process.communicate()


def results(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in folder.glob("*.json")]


def written(folder: Path) -> str:
    return "\n".join(path.read_text() for path in folder.iterdir())


@pytest.mark.xdist_group("emulator")
def test_s15_thirty_cold_starts_at_once_take_a_connection_each_and_no_more(
    role: Role, emulator: Emulator, emulated_dynamodb: "DynamoDBClient", tmp_path: Path
) -> None:
    endpoint = emulator.endpoint
    pool_id = Arcade(role.admin).add_pool("2026-01-11")
    with cold_starts(tmp_path / "warm", role.url(), endpoint, STAY_WARM="1") as process:
        while len(list((tmp_path / "warm").glob("*.json"))) < PROCESSES:
            assert process.poll() is None, written(tmp_path / "warm")
            time.sleep(0.02)
        held = role.connections()
    assert held == PROCESSES  # all of them warm
    assert [run["status"] for run in results(tmp_path / "warm")] == ["succeeded"] * PROCESSES
    assert sum(run["result"]["pools_finalized"] for run in results(tmp_path / "warm")) == 1  # one of them settled it
    assert Arcade(role.admin).pool(pool_id).status == "finalized"

    role.limit(CAP)
    capped = tmp_path / "capped"
    most = 0
    with role.admin.connect() as holder, cold_starts(capped, role.url(), endpoint) as process:
        holder.execute(text("LOCK TABLE prize_pools"))  # those connected wait, until others were refused
        while process.poll() is None:
            most = max(most, role.connections())
            if holder.in_transaction() and written(capped).count('"message":"retrying"') >= CAP:
                holder.rollback()
            time.sleep(0.02)
    log = written(capped)
    refused = log.count('"message":"retrying"')
    print(f"S15: {refused} refusals, at most {most} connections of {CAP}")  # noqa: T201
    assert [run["status"] for run in results(capped)] == ["succeeded"] * PROCESSES, log[-3000:]
    assert most <= CAP
    assert refused >= CAP
    assert "SQLSTATE 53300" in log
    items = emulated_dynamodb.get_paginator("scan").paginate(TableName="runs").build_full_result()["Items"]
    assert len(items) == 2 * PROCESSES
    assert_no_secret(log + written(tmp_path / "warm") + json.dumps(items))


# --- one job and a database in trouble -------------------------------------------------------------------------------


@dataclass
class TroubledClock(FakeClock):
    """A wall clock that runs an action after so many seconds of sleep."""

    later: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        while self.later and sum(self.slept) >= self.later[0][0]:
            self.later.pop(0)[1]()


@dataclass(frozen=True)
class Scene:
    """A job that reaches its database through a proxy; three pools are due."""

    proxy: DatabaseProxy
    clock: TroubledClock
    arcade: Arcade
    app: App
    pools: tuple[int, ...]

    def run(self) -> dict[str, Any]:
        return invoke(self.app, "prize-pool", scheduled_event(SLOT))

    def at_statement(self, number: int, action: Callable[[], None]) -> None:
        """Do something just before the job's n-th statement."""
        seen = iter(range(1, 10_000))

        @event.listens_for(self.app.engine, "before_cursor_execute")
        def count(*_: Any) -> None:
            if next(seen) == number:
                action()

    def settled(self) -> list[str]:
        return [self.arcade.pool(pool_id).status for pool_id in self.pools]


@pytest.fixture
def clock() -> TroubledClock:
    return TroubledClock()


@pytest.fixture
def scene(server: postgres.Server, arcade: Arcade, start_app: StartApp, clock: TroubledClock) -> Iterator[Scene]:
    with proxy_to(server.admin_url) as proxy:
        url = proxy.url(str(arcade.engine.url.database), password=server.admin_url.password or PASSWORD)
        app = start_app(DATABASE_URL=url)
        pools = tuple(arcade.add_pool("2026-01-11", game=game) for game in ("pong", "snake", "tetris"))
        yield Scene(proxy, clock, arcade, app, pools)


def backed_off(slept: list[float]) -> bool:
    """Each pause with jitter, none above the longest, and all of them within the retry budget and one more."""
    return all(0 <= pause <= LONGEST_DELAY for pause in slept) and 0 < sum(slept) <= RETRY_BUDGET + LONGEST_DELAY


def test_s15_one_container_never_opens_a_second_connection(scene: Scene) -> None:
    """The pool has no more; and a run whose connection is cut leaves one, not one for each attempt."""
    pool = scene.app.engine.pool
    assert isinstance(pool, QueuePool)
    assert (pool.size(), pool._max_overflow) == (1, 0)
    scene.at_statement(5, scene.proxy.cut)
    assert scene.run()["status"] == "succeeded"
    query = text("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'arcade-jobs' AND datname = :name")
    with scene.arcade.engine.connect() as connection:
        assert connection.scalar(query, {"name": scene.arcade.engine.url.database}) == 1
    assert scene.proxy.connections == 2


STARTING = ("57P03", "the database system is starting up")
FULL = ("53300", "sorry, too many clients already")


@pytest.mark.parametrize("refusal", [STARTING, FULL], ids=["starting", "full"])
def test_s15_a_database_that_resumes_or_has_room_again_is_waited_for(scene: Scene, refusal: tuple[str, str]) -> None:
    scene.proxy.refusal = refusal
    scene.clock.later = [(12, lambda: setattr(scene.proxy, "refusal", None))]
    assert scene.run()["status"] == "succeeded"
    assert scene.settled() == ["finalized"] * 3
    assert 12 <= sum(scene.clock.slept) <= 12 + LONGEST_DELAY
    assert backed_off(scene.clock.slept)


@pytest.mark.parametrize("statement", [*range(1, 14, 2), 14])  # of 14
def test_s15_a_failover_at_any_statement_is_waited_out_and_nothing_is_settled_twice(
    scene: Scene, statement: int
) -> None:
    """Cut in the middle, refused for ten seconds, starting up for five more, then there again."""
    proxy = scene.proxy

    def up_but_starting() -> None:
        proxy.refusal = STARTING
        proxy.open()

    scene.at_statement(statement, proxy.close)
    scene.clock.later = [(10, up_but_starting), (15, lambda: setattr(proxy, "refusal", None))]
    result = scene.run()
    assert (result["status"], result["result"]["pools_finalized"]) == ("succeeded", 3)
    assert scene.settled() == ["finalized"] * 3
    assert 15 <= sum(scene.clock.slept) <= 15 + 2 * LONGEST_DELAY
    assert backed_off(scene.clock.slept)


@pytest.mark.parametrize("trouble", ["full", "starting", "gone"])
@pytest.mark.parametrize("statement", [None, 4], ids=["from the start", "in the middle"])
def test_s15_trouble_that_does_not_pass_fails_the_run_once_and_not_pool_by_pool(
    scene: Scene, capsys: pytest.CaptureFixture[str], trouble: str, statement: int | None
) -> None:
    """In the middle too: the back-off is spent once, and not again for each pool that is left."""

    def break_down() -> None:
        scene.proxy.refusal = {"full": FULL, "starting": STARTING}.get(trouble)
        scene.proxy.cut() if scene.proxy.refusal else scene.proxy.close()

    if statement:
        scene.at_statement(statement, break_down)
    else:
        break_down()
    messages = {"full": r"too many clients already \(SQLSTATE 53300\)", "starting": r"starting up \(SQLSTATE 57P03\)"}
    with pytest.raises(RunNotSucceededError, match=f"failed; .*{messages.get(trouble, 'cannot connect to')}"):
        scene.run()
    assert backed_off(scene.clock.slept)
    assert sum(scene.clock.slept) > 10
    assert scene.proxy.connections < 60
    out, err = capsys.readouterr()
    assert_no_secret(out + err)


@pytest.mark.parametrize(
    "refusal",
    [
        ("28P01", 'password authentication failed for user "jobs"'),
        ("28000", 'role "jobs" is not permitted to log in'),
        ("3D000", 'database "arcade" does not exist'),
        ("42501", "permission denied for database"),
    ],
    ids=lambda refusal: refusal[0],
)
def test_s15_a_refusal_is_reported_at_once_and_never_retried(
    scene: Scene, runs_table: MemoryRunsTable, capsys: pytest.CaptureFixture[str], refusal: tuple[str, str]
) -> None:
    scene.proxy.refusal = refusal
    with pytest.raises(RunNotSucceededError) as raised:
        scene.run()
    assert f"{refusal[1]} (SQLSTATE {refusal[0]})" in str(raised.value)
    assert scene.clock.slept == []
    assert scene.proxy.connections == 1
    stored = runs_table.items
    out, err = capsys.readouterr()
    assert_no_secret(out + err + json.dumps(stored) + "".join(traceback.format_exception(raised.value)))


# --- secrets ---------------------------------------------------------------------------------------------------------


def chain(error: BaseException) -> str:
    """All that a traceback shows of an error and what led to it, and what its arguments hold."""
    texts = ["".join(traceback.format_exception(error))]
    seen: BaseException | None = error
    while seen is not None:
        texts.append(repr(seen.args))
        seen = seen.__cause__ or seen.__context__
    return "\n".join(texts)


@pytest.mark.parametrize("auth", ["url", "iam", "secret"])
@pytest.mark.parametrize("trouble", ["refused", "gone"])
def test_s15_no_secret_is_written_wherever_the_password_comes_from(
    server: postgres.Server,
    dynamodb: "DynamoDBClient",
    start_app: StartApp,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    auth: str,
    trouble: str,
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ACCESS)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    secret = boto3.client("secretsmanager").create_secret(Name="db", SecretString=json.dumps({"password": PASSWORD}))
    with proxy_to(server.admin_url) as proxy:
        env = {
            "DATABASE_URL": proxy.url("arcade", user="jobs", password=PASSWORD if auth == "url" else None),
            "DATABASE_AUTH": auth,
            "DATABASE_SECRET_ARN": secret["ARN"],
        }
        proxy.refusal = ("28P01", 'password authentication failed for user "jobs"')
        if trouble == "gone":
            proxy.close()
        app = start_app(dynamodb=dynamodb, **env)
        with pytest.raises(RunNotSucceededError) as raised:
            invoke(app, "prize-pool", scheduled_event(SLOT))
        with pytest.raises(Exception) as bare:  # noqa: PT011 - any error: it holds no secret
            app.engine.connect()
        stored = json.dumps(dynamodb.scan(TableName="runs")["Items"])
        result = invoke(app, "prize-pool", {})
    out, err = capsys.readouterr()
    assert "Traceback" in out
    assert_no_secret("\n".join([out, err, stored, json.dumps(result), chain(raised.value), chain(bare.value)]))
    assert "X-Amz-Signature" not in out + stored + chain(bare.value)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://jobs:{PASSWORD}@host:port/arcade",
        f"postgresql://jobs:p@{PASSWORD}@host:5432/arcade",
        f"postgresql://jobs:{PASSWORD}/with@slash@host:5432/arcade",
        f"postgresql://jobs@host:{PASSWORD}/arcade",
        f"postgresql://host:5432:{PASSWORD}/arcade",
        f"postgresql://jobs:{PASSWORD}@[::1/arcade",
        f"postgresql+psycopg-2://jobs:{PASSWORD}@host/arcade",
        f"mysql://jobs:{PASSWORD}@host/arcade",
        f"{PASSWORD}",
        f" postgresql://jobs:{PASSWORD}@host/arcade",
    ],
)
def test_s15_a_malformed_database_url_is_refused_in_one_line_without_its_secret(
    dynamodb: "DynamoDBClient", url: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        build_app({"DATABASE_URL": url, "RUNS_TABLE_NAME": "runs"}, dynamodb=dynamodb).engine.connect()
    assert str(refused.value).startswith("DATABASE_URL: ")
    assert "\n" not in str(refused.value)
    assert refused.value.__cause__ is refused.value.__context__ is None
    assert_no_secret(chain(refused.value))
