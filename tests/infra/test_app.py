"""The CDK app as the CDK runs it: a process that is given the context, and writes templates or mistakes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.jobs import JOBS
from tests.infra.template import CDK_CONTEXT, EXISTING, EXISTING_WITH_SECRET, NEW, ON_LAPTOP, ROOT

# Synthesizes every kind of stack with all validation and the AwsSolutions rules; a finding ends the process.
WITH_ALL_RULES = """
import json, sys
from infra.stack import node
node.serve_jsii()
from aws_cdk import App, Validations, aws_lambda
from cdk_nag import AwsSolutionsChecks
from infra.stack.context import read_settings
from infra.stack.stack import ArcadeJobsStack
out, stub, context, choices = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), json.loads(sys.argv[4])
app = App(context=context, outdir=out, analytics_reporting=False)
Validations.of(app).add_plugins(AwsSolutionsChecks(app))
for number, choice in enumerate(choices):
    ArcadeJobsStack(app, f"kind-{number}", settings=read_settings(choice, {}), code=aws_lambda.Code.from_asset(stub))
app.synth()
"""
NOTIFIED = {"alarmEmail": "operator@example.com", "slackWorkspaceId": "T0123ABCD", "slackChannelId": "C0123ABCD"}
LONDON = {"timezone": "Europe/London"}
PROD = {"stage": "prod"}  # protected
ON_CALL = {"alarmTopicArn": "arn:aws:sns:eu-west-1:123456789012:on-call"}


def environment(**added):
    """Ours without credentials, and without what makes validation fast."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CDK_", "ENABLE_"))}
    return kept | {"PYTHONPATH": str(ROOT)} | added


def synthesize(tmp_path, context, **added):
    return subprocess.run(
        [sys.executable, "-m", "infra.stack.app"],
        env=environment(CDK_OUTDIR=str(tmp_path), CDK_CONTEXT_JSON=json.dumps(CDK_CONTEXT | context), **added),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_stage_without_a_database_is_one_line_that_names_both_choices(tmp_path):
    done = synthesize(tmp_path, {"stage": "prod"})
    assert done.returncode == 1
    assert done.stderr == (
        "arcade-jobs: database: stage 'prod' has none; under stages.prod in cdk.json, or by -c, name one that exists"
        " (vpcId and the others of docs/deploy.md) or create one (createDatabase=true)\n"
    )
    assert not list(tmp_path.iterdir())


def test_each_mistake_is_one_line_and_nothing_is_written(tmp_path):
    mistakes = {
        "vpcId": "vpc-0123456789abcdef0",
        "createDatabase": "false",
        "stage": "Prod",
        "timezone": "Mars",
        "schedule.cleanup": "0 0 31 2 *",
        "ENABLE_CLEANUP_JOB": "maybe",
    }
    done = synthesize(tmp_path, mistakes)
    assert done.returncode == 1
    beginnings = [
        "stage: expected a small letter, ",
        "timezone: 'Mars' is not an IANA time zone",
        "schedule.cleanup: cron '0 0 31 2 *': bad day-of-month",
        "ENABLE_CLEANUP_JOB: expected one of true, false, got 'maybe'",
        "database: missing availabilityZones, subnetIds, ",
    ]
    for line, beginning in zip(done.stderr.splitlines(), beginnings, strict=True):
        assert line.startswith(f"arcade-jobs: {beginning}")
    assert not list(tmp_path.iterdir())


@pytest.mark.xdist_group("bundle")
def test_switches_are_read_from_the_environment(tmp_path):
    """And nothing else is given, as for `cdk ls`: cdk.json has what the shipped stage needs."""
    done = synthesize(tmp_path, {}, ENABLE_PRIZEPOOL_JOB="false", CDK_VALIDATION="false")
    assert done.returncode == 0, done.stderr
    template = json.loads((tmp_path / "arcade-jobs-dev.template.json").read_text())
    states = [
        found["Properties"]["State"] for found in template["Resources"].values() if found["Type"] == "AWS::Events::Rule"
    ]
    assert (states.count("DISABLED"), states.count("ENABLED")) == (1, len(JOBS) - 1)


def test_every_kind_of_stack_passes_all_rules(tmp_path):
    """AwsSolutions and the CDK's own validation without an unacknowledged finding; then cfn-lint on what came out."""
    stub, out = tmp_path / "stub", tmp_path / "out"
    stub.mkdir()
    (stub / "stub.py").write_text("")
    choices = [
        EXISTING | NOTIFIED,
        EXISTING_WITH_SECRET | LONDON | ON_CALL,
        NEW | LONDON | PROD,
        NEW
        | {"databaseMinCapacity": "0.5", "backupWindow": "03:00-04:00", "availabilityZones": "eu-west-1a,eu-west-1b"},
        ON_LAPTOP,
    ]
    done = subprocess.run(
        [sys.executable, "-c", WITH_ALL_RULES, str(out), str(stub), json.dumps(CDK_CONTEXT), json.dumps(choices)],
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    templates = sorted(map(str, out.glob("*.template.json")))
    assert len(templates) == len(choices)
    # W3005: the CDK writes a dependency that a reference implies already. W3010: the zones are chosen.
    lint = [str(Path(sys.executable).parent / "cfn-lint"), "--ignore-checks", "W3005,W3010", "--template", *templates]
    linted = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout + linted.stderr
