"""The command on a deployment that is emulated in this process."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from infra.cli import operations
from infra.cli.app import app
from infra.cli.terminal import out
from infra.deployed import dead_letters
from tests.operator.operated import Operated, operate

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


@pytest.fixture
def operated(dynamodb: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch) -> Operated:
    """A deployed stage whose queues answer at once."""
    monkeypatch.setattr(dead_letters, "LONG_POLL", 0)
    return operate(dynamodb)
    return operate(dynamodb)


@pytest.fixture
def command(operated: Operated, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command, on that deployment and a wide terminal."""
    monkeypatch.setattr(operations, "find", lambda *_, **__: operated.deployment)
    monkeypatch.setattr(out, "width", 200)
    return lambda *arguments: CliRunner().invoke(app, arguments)
