"""The scenarios run whole: real events into the real handlers, on PostgreSQL and an emulated DynamoDB."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from functions import cleanup, leaderboard, prize_pool
from shared.app import App, JobHandler, build_app
from shared.db import connection as db_connection
from tests.arcade import Arcade
from tests.fakes import FakeClock, FakeContext

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

HANDLERS = {"prize-pool": prize_pool.handler, "leaderboard": leaderboard.handler, "cleanup": cleanup.handler}


@dataclass(frozen=True)
class Container:
    """A warm Lambda container: one app, one database connection."""

    app: App

    def invoke(self, job: str, event: Any) -> dict[str, Any]:
        handler: JobHandler = replace(HANDLERS[job], app=lambda: self.app)
        return handler(event, FakeContext())


class OneAtATime:
    """A client whose calls follow each other: moto is not atomic between threads, DynamoDB's writes to an item are."""

    def __init__(self, client: "DynamoDBClient") -> None:
        self._client, self._lock = client, threading.Lock()
        self.exceptions = client.exceptions

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(**arguments: Any) -> Any:
            with self._lock:
                return getattr(self._client, name)(**arguments)

        return call


StartContainer = Callable[..., Container]


@pytest.fixture
def start_container(
    arcade: Arcade, dynamodb: "DynamoDBClient", clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[StartContainer]:
    """Starts containers; settings of the session and of the environment can be given by name."""
    client = cast("DynamoDBClient", OneAtATime(dynamodb))
    started: list[Container] = []

    def start(*, session: dict[str, str] | None = None, **env: str) -> Container:
        for name, value in (session or {}).items():
            monkeypatch.setitem(db_connection.SESSION, name, value)
        url = arcade.engine.url.render_as_string(hide_password=False)
        variables = {"DATABASE_URL": url, "RUNS_TABLE_NAME": "runs", **env}
        container = Container(build_app(variables, dynamodb=client, clock=clock, sleep=clock.sleep))
        started.append(container)
        return container

    yield start
    for container in started:
        container.app.engine.dispose()


@pytest.fixture
def container(start_container: StartContainer) -> Container:
    return start_container()
