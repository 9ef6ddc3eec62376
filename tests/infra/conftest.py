"""Templates: each context is synthesized once a session, with a stub for the asset and without validation."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from infra.stack import node

os.environ["CDK_VALIDATION"] = "false"  # 0.1 s a template instead of 6; one test synthesizes with all of it
node.serve_jsii()

from aws_cdk import App  # noqa: E402 - the library starts Node when it is imported
from aws_cdk import aws_lambda as lambda_  # noqa: E402

from infra.stack.context import read_settings  # noqa: E402
from infra.stack.stack import ArcadeJobsStack  # noqa: E402
from infra.stage import stack_name  # noqa: E402
from tests.infra.template import CDK_CONTEXT, Template  # noqa: E402

Synthesize = Callable[..., Template]


@pytest.fixture(scope="session")
def synthesize(tmp_path_factory: pytest.TempPathFactory) -> Synthesize:
    """Make the template of a context, given as a mapping, and of more flags of the CDK."""
    made: dict[str, Template] = {}
    stub = tmp_path_factory.mktemp("asset")
    (stub / "stub.py").write_text("")

    def synthesize(context: dict[str, str], flags: Mapping[str, Any] | None = None) -> Template:
        key = json.dumps([context, flags], sort_keys=True)
        if key not in made:
            out: Path = tmp_path_factory.mktemp("cdk")
            app = App(context={**CDK_CONTEXT, **(flags or {})}, outdir=str(out), analytics_reporting=False)
            settings = read_settings(context, {})
            code = lambda_.Code.from_asset(str(stub))
            stack = ArcadeJobsStack(app, stack_name(settings.stage), settings=settings, code=code)
            found = app.synth().get_stack_by_name(stack.stack_name)
            made[key] = Template(
                body=found.template,
                warnings=warnings(out / f"{stack.artifact_id}.metadata.json"),
                is_protected=bool(found.termination_protection),
            )
        return made[key]

    return synthesize


def warnings(metadata: Path) -> list[str]:
    """The warnings that a synthesis left for the CDK command to print, without their ids."""
    found = json.loads(metadata.read_text()).values() if metadata.exists() else []
    entries = [entry for entries in found for entry in entries if entry["type"] == "aws:cdk:warning"]
    return [entry["data"].partition(" [ack: ")[0] for entry in entries]


@pytest.fixture(scope="session", autouse=True)
def no_credentials() -> Iterator[None]:
    """No test may call AWS."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        yield
