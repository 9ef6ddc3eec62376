"""Adding a job takes the five steps of CONTRIBUTING.md and no other change: with a toy job, in a copy of the tree."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVICE = '''
"""Check that the database is there."""

from dataclasses import dataclass

from shared.db import leaderboard as db
from shared.domain.run import Outcome, Run
from shared.services.transactions import Transactions


@dataclass(frozen=True, kw_only=True)
class Heart:
    """The use case."""

    transactions: Transactions

    def __call__(self, run: Run) -> Outcome:
        """Beat once."""
        boards = self.transactions.run(db.count_boards, run=run)
        return Outcome(result={"boards": boards, "errors": []}, items_processed=1, items_failed=0)
'''
HANDLER = '''
"""Check that the database is there: daily at 04:00."""

from shared.app import JobHandler
from shared.services.heartbeat import Heart

handler = JobHandler(job="heartbeat", use_case=lambda app: Heart(transactions=app.transactions))
'''
ROW = """
    Job(
        name="heartbeat",
        cron="0 4 * * *",
        follows_zone=True,
        switch="ENABLE_HEARTBEAT_JOB",
        delivery_window=timedelta(hours=2),
        items="beats",
    ),
)
"""
# Step 5, `make test`: tests that are there, which must not mind one job more, and new ones. They run in the copy.
THERE = ("tests/infra/test_stack.py", "tests/integration/test_status.py", "tests/unit/test_command.py")
TESTS = """
import json
import subprocess
import sys
from pathlib import Path

from tests.infra.template import EXISTING
from tests.jobs import invoke

ROOT = Path(__file__).parents[2]


def test_its_handler_runs_it_and_the_runs_table_has_its_run(start_app):
    app = start_app()
    result = invoke(app, "heartbeat", json.loads((ROOT / "events" / "heartbeat.json").read_text()))
    assert (result["run_id"], result["status"]) == ("heartbeat:2026-01-11T04:00Z", "succeeded")
    assert result["result"] == {"boards": 0, "errors": []}
    assert [run.run_id for run in app.runner.store.list_runs("heartbeat")] == [result["run_id"]]


def test_the_stack_builds_its_function_schedule_queue_and_alarms(synthesize):
    template = synthesize(EXISTING)
    assert template.function_id("heartbeat")
    schedules = [rule.get("ScheduleExpression") for rule in template.properties("AWS::Events::Rule")]
    assert "cron(0 4 * * ? *)" in schedules
    assert "HeartbeatDeadLetterQueueUrl" in template.body["Outputs"]
    of_cleanup = {name for name in template.alarm_names() if name.startswith("cleanup-")}
    of_heartbeat = {name for name in template.alarm_names() if name.startswith("heartbeat-")}
    assert of_heartbeat == {name.replace("cleanup", "heartbeat") for name in of_cleanup}
    assert "heartbeat" in json.dumps(template.properties("AWS::CloudWatch::Dashboard"))


def test_the_command_knows_its_name():
    program = "from infra.cli.app import main; main()"
    command = [sys.executable, "-c", program, "pause", "heartbeet"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "prize-pool, leaderboard, cleanup, heartbeat" in " ".join((refused.stdout + refused.stderr).split())
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What the steps touch, and what they must not have to touch."""
    for folder in ("docs", "events", "functions", "infra", "shared", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("cdk.json", "pyproject.toml"):
        shutil.copy(ROOT / file, tmp_path)
    return tmp_path


def test_a_job_is_a_service_a_handler_a_row_and_an_event(copy: Path) -> None:
    (copy / "shared" / "services" / "heartbeat.py").write_text(SERVICE)
    (copy / "functions" / "heartbeat.py").write_text(HANDLER)
    rows = copy / "infra" / "jobs.py"
    head, end, rest = rows.read_text().rpartition("\n)\n")
    assert (end, rest) == ("\n)\n", "")
    rows.write_text(head + ROW)
    event = json.loads((copy / "events" / "cleanup.json").read_text()) | {"time": "2026-01-11T04:00:00Z"}
    (copy / "events" / "heartbeat.json").write_text(json.dumps(event))

    (copy / "tests" / "infra" / "test_heartbeat.py").write_text(TESTS)
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/infra/test_heartbeat.py", *THERE],
        cwd=copy,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert tests.returncode == 0, tests.stdout[-5000:] + tests.stderr[-2000:]
    assert "passed" in tests.stdout
