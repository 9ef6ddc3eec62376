"""How tests run a job: its own Lambda handler, with an app, an event and a context of the test's."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from infra.jobs import JOBS
from shared.app import App
from tests.fakes import FakeContext

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

StartApp = Callable[..., App]  # the fixture of tests/conftest.py
HANDLERS = {job.name: job.load_handler() for job in JOBS}


def invoke(app: App, job: str, event: Any, context: FakeContext | None = None) -> dict[str, Any]:
    """Run a job in a warm container, which is what an app is; raises what its handler raises."""
    handler = replace(HANDLERS[job], app=lambda: app)
    return handler(event, cast("LambdaContext", context or FakeContext()))
