"""The whole of it on a laptop: deployed by the CDK command to the emulator, run, updated, started again, destroyed.

The tests share one deployment, are run in order by one worker, and end with its destruction.
"""

import contextlib
import functools
import io
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import psutil
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError
from sqlalchemy import Engine, NullPool, text

from infra import schema
from infra.cli.app import main
from infra.cli.local import guide
from infra.deployed.dead_letters import DeadLetter, RedriveResult, list_dead_letters, redrive
from infra.deployed.logs import read_log
from infra.deployed.lookup import find_deployment
from infra.jobs import JOBS
from infra.local import cloud as laptop
from infra.local import emulator, postgres
from infra.local.cdk import Cdk
from shared.domain.errors import ArcadeJobsError
from shared.domain.run import RunStatus
from shared.domain.tick import Trigger
from shared.operations.deployment import Deployment
from shared.operations.schedule import SilenceAlarm, State, pause, resume
from shared.operations.status import JobStatus, read_status
from shared.operations.trigger import manual_event, trigger
from shared.runs.record import RunRecord
from tests.arcade import Arcade
from tests.e2e import walk
from tests.sql import open_database

pytestmark = pytest.mark.xdist_group("cloud")

EVENTS = Path(__file__).parents[2] / "events"
CHOICES = {"schedule.leaderboard": "* * * * *", "operationsApi": "true"}
SOON = 30.0  # seconds; only a failing test waits so long
NEXT_MINUTE = 90.0  # seconds: a minute, a sweep of the emulator, a cold start


def connect(folder: Path) -> Deployment:
    return find_deployment("dev", session=emulator.session(), endpoint=laptop.endpoint(folder=folder))


@dataclass
class LaptopCloud:
    folder: Path
    deployment: Deployment
    engine: Engine
    begun_at: datetime

    @property
    def arcade(self) -> Arcade:
        return Arcade(self.engine)

    def up(self, **context: str) -> list[str]:
        """Start what does not run, deploy with a changed context; return what was reported."""
        reported: list[str] = []
        laptop.up(
            folder=self.folder,
            context=CHOICES | context,
            environment={},
            prepare_database=schema.upgrade,
            report=reported.append,
        )
        self.deployment = connect(self.folder)
        return reported

    def cdk(self) -> Cdk:
        return Cdk(
            endpoint=str(self.deployment.endpoint),
            folder=self.folder / "cdk",
            stage="dev",
            context={
                "databaseUrl": self.engine.url.render_as_string(hide_password=False),
                "assetPython": str(laptop.emulator_python()),
            },
        )

    def invoke(self, job: str, event: dict[str, Any]) -> Any:
        response = self.deployment.client("lambda").invoke(
            FunctionName=self.deployment.function(job), Payload=json.dumps(event).encode()
        )
        assert "FunctionError" not in response, response["Payload"].read()
        return json.loads(response["Payload"].read())

    def trigger(self, job: str, *, is_asynchronous: bool = False, **event: Any) -> dict[str, Any]:
        made = manual_event(**{"actor": "tester", "at": None, "dry_run": False, "reason": None, **event},
                            now=datetime.now(UTC))  # fmt: skip
        return trigger(self.deployment, job, made, is_asynchronous=is_asynchronous, report=lambda _: None)

    def request(self, method: str, path: str, body: str = "") -> tuple[int, Any]:
        """A signed request to the operations endpoints, sent to the emulator under the name of the function URL."""
        signed = AWSRequest(method, f"{self.deployment.output('OperationsApiUrl').rstrip('/')}{path}", data=body)
        credentials = emulator.session().get_credentials()
        assert credentials is not None
        SigV4Auth(credentials, "lambda", emulator.REGION).add_auth(signed)
        headers = {**dict(signed.headers), "Host": urlsplit(str(signed.url)).netloc}
        request = Request(f"{self.deployment.endpoint}{path}", body.encode() or None, headers, method=method)
        try:
            with urlopen(request) as response:
                return response.status, json.load(response)
        except HTTPError as error:
            return error.code, json.load(error)

    def dead_letters(self) -> list[DeadLetter]:
        return list_dead_letters(self.deployment, "cleanup", now=datetime.now(UTC))

    def redrive(self) -> list[RedriveResult]:
        return redrive(self.deployment, "cleanup", clock=lambda: datetime.now(UTC), report=lambda _: None)

    def status(self, job: str) -> JobStatus:
        return read_status(self.deployment, [job], now=datetime.now(UTC)).jobs[0]

    def run(self, run_id: str) -> RunRecord | None:
        return self.deployment.run_store().get(run_id)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaptopCloud]:
    """From nothing: no server, no emulator, no bootstrap; the ranking every minute, and the operations endpoints."""
    folder, begun_at = tmp_path_factory.mktemp("cloud"), datetime.now(UTC)
    try:
        laptop.up(
            folder=folder,
            port=0,
            settings={"LAMBDA_ASYNC_RETRY_BASE_SECONDS": "0.2"},
            context=CHOICES,
            environment={},
            prepare_database=schema.upgrade,
            report=lambda _: None,
        )
        with postgres.serve(folder / "postgres", environment={}) as server:
            engine = open_database(server.url(laptop.DATABASE), poolclass=NullPool)  # the server is restarted
        yield LaptopCloud(folder=folder, deployment=connect(folder), engine=engine, begun_at=begun_at)
    finally:
        laptop.down(folder=folder, report=lambda _: None)


def scheduled(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return event


def eventually(look: Callable[[], Any], *, within: float = SOON) -> Any:
    """What it finds, as soon as it finds something."""
    deadline = time.monotonic() + within
    while not (found := look()):
        assert time.monotonic() < deadline, f"nothing within {within} s"
        time.sleep(0.2)
    return found


def test_a_scheduled_event_settles_yesterdays_pool_and_leaves_its_run(cloud: LaptopCloud) -> None:
    pool_id = cloud.arcade.add_pool("2026-01-11", amount="0.7")
    cloud.arcade.play("0xa", 5, "2026-01-11T10:00:00Z")
    cloud.arcade.play("0xb", 7, "2026-01-11T23:00:00Z")
    result = cloud.invoke("prize-pool", scheduled("prize_pool"))
    assert (result["status"], result["attempt"], result["result"]["pools_finalized"]) == ("succeeded", 1, 1)
    pool = cloud.arcade.pool(pool_id)
    assert (pool.status, pool.winner_address, pool.settled_by) == ("finalized", "0xb", "prize-pool:2026-01-12T00:00Z")
    run = cloud.run("prize-pool:2026-01-12T00:00Z")
    assert run is not None
    assert (run.status, run.trigger, run.result) == (RunStatus.SUCCEEDED, Trigger.SCHEDULED, result["result"])


def test_a_second_delivery_returns_the_stored_result(cloud: LaptopCloud) -> None:
    first = cloud.invoke("prize-pool", scheduled("prize_pool"))
    second = cloud.invoke("prize-pool", scheduled("prize_pool"))
    assert second["duplicate"] is True
    assert second["result"] == first["result"]


def test_the_leaderboard_function_ranks_a_touched_board(cloud: LaptopCloud) -> None:
    for player, score in (("0xa", 5), ("0xb", 9), ("0xc", 7)):
        cloud.arcade.play(player, score, "2026-01-12T00:30:00Z", game="tetris")
    assert cloud.invoke("leaderboard", scheduled("leaderboard"))["status"] == "succeeded"
    assert cloud.arcade.ranks(game="tetris", day="2026-01-12") == [("0xb", 1), ("0xc", 2), ("0xa", 3)]


def test_the_cleanup_function_removes_what_was_abandoned(cloud: LaptopCloud) -> None:
    cloud.arcade.add_session("2026-01-12T02:00:00Z", amount="0.01")
    cloud.arcade.add_session("2026-01-12T02:50:00Z", amount="0.01")
    result = cloud.invoke("cleanup", scheduled("cleanup"))["result"]
    assert (result["expired_sessions_deleted"], result["expired_amount_usdc"]) == (1, "0.010000")
    with cloud.engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM game_sessions WHERE status = 'active'")) == 1


def test_a_trigger_waits_for_the_result_and_a_dry_run_changes_nothing(cloud: LaptopCloud) -> None:
    pool_id = cloud.arcade.add_pool("2026-01-13", amount="0.7")
    would = cloud.trigger("prize-pool", at="2026-01-14T00:00:00Z", dry_run=True)
    assert would["result"]["pools_processed"] == 1
    assert cloud.arcade.pool(pool_id).status == "active"
    did = cloud.trigger("prize-pool", at="2026-01-14T00:00:00Z", reason="it was missed")
    assert (did["run_id"], did["trigger"]) == ("prize-pool:2026-01-14T00:00Z", "manual")
    assert did["result"]["pools_without_winner"] == 1
    run = cloud.run("prize-pool:2026-01-14T00:00Z")
    assert run is not None
    assert (run.actor, run.reason) == ("tester", "it was missed")


def test_an_asynchronous_trigger_is_queued_and_runs_under_the_id_that_it_was_told(cloud: LaptopCloud) -> None:
    queued = cloud.trigger("cleanup", is_asynchronous=True, at="2026-01-15T03:00:00Z")
    assert (queued["status"], queued["run_id"]) == ("queued", "cleanup:2026-01-15T03:00Z")
    run = eventually(lambda: cloud.run(queued["run_id"]))
    assert run.trigger == Trigger.MANUAL


def test_the_endpoints_trigger_a_run_and_show_it(cloud: LaptopCloud) -> None:
    status, queued = cloud.request("POST", "/api/jobs/trigger/cleanup", '{"time": "2026-01-15T03:01:00Z"}')
    assert (status, queued["run_id"]) == (202, "cleanup:2026-01-15T03:01Z")
    path = f"/api/jobs/runs/{queued['run_id']}"
    run = eventually(lambda: (found := cloud.request("GET", path))[0] == 200 and found[1]["finished_at"] and found[1])
    assert (run["trigger"], run["status"]) == ("manual", "succeeded")
    assert [job["job"] for job in cloud.request("GET", "/api/health")[1]["jobs"]] == [job.name for job in JOBS]
    assert cloud.request("GET", "/api/jobs/history?limit=ten")[0] == 400


def test_a_trigger_reports_in_one_line_why_a_function_refused(cloud: LaptopCloud) -> None:
    lines: list[str] = []
    with pytest.raises(ArcadeJobsError, match=r"^cleanup: .*: event dry_run: expected true or false, got 'yes'$"):
        trigger(cloud.deployment, "cleanup", {"dry_run": "yes"}, report=lines.append)
    [line] = lines
    assert line.startswith("account 000000000000, us-east-1, stack arcade-jobs-dev: ")


def test_an_event_that_keeps_failing_is_dead_lettered_and_a_redrive_deletes_it_once_its_cause_is_fixed(
    cloud: LaptopCloud,
) -> None:
    event = scheduled("cleanup") | {"time": "2026-01-16T03:00:00Z"}
    rename(cloud.engine, "game_sessions", "elsewhere")
    try:
        cloud.deployment.client("lambda").invoke(
            FunctionName=cloud.deployment.function("cleanup"),
            InvocationType="Event",
            Payload=json.dumps(event).encode(),
        )
        [dead_letter] = eventually(cloud.dead_letters)
        failed = cloud.run("cleanup:2026-01-16T03:00Z")
        [kept] = cloud.redrive()
    finally:
        rename(cloud.engine, "elsewhere", "game_sessions")
    assert (dead_letter.event, dead_letter.malformed) == (event, None)
    assert re.match(r"RetriesExhausted: \S+: run cleanup:2026-01-16T03:00Z failed", dead_letter.reason)
    assert failed is not None
    assert (failed.status, failed.attempt) == (RunStatus.FAILED, 3)
    logged = read_log(cloud.deployment, failed, now=datetime.now(UTC))
    errors = [line for line in logged if line.level == "ERROR"]
    assert [line.message for line in errors].count("run failed") >= failed.attempt
    assert "game_sessions" in "".join(errors[0].traceback)
    assert (kept.dead_letter.id, kept.succeeded) == (dead_letter.id, False)
    assert cloud.status("cleanup").dead_letters == 1
    assert [(result.succeeded, result.outcome) for result in cloud.redrive()] == [
        (True, "cleanup:2026-01-16T03:00Z succeeded")
    ]
    assert cloud.dead_letters() == []
    status = cloud.status("cleanup")
    assert status.dead_letters == 0
    assert status.last_success is not None
    assert (status.last_success.run_id, status.last_success.attempt) == ("cleanup:2026-01-16T03:00Z", 5)


def test_the_walk_shows_what_its_page_says(cloud: LaptopCloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """docs/walk.md: plays arrive, a pool is poisoned, found, mended and settled."""
    monkeypatch.setattr(laptop, "endpoint", functools.partial(laptop.endpoint, folder=cloud.folder))
    monkeypatch.setattr("infra.cli.database.FOLDER", cloud.folder)
    monkeypatch.setattr(os, "execve", run_instead)
    monkeypatch.chdir(tmp_path)  # for the report
    monkeypatch.setenv("COLUMNS", "120")
    outputs = []
    for step in walk.STEPS:
        output, exit_code = typed(cloud, step.command, monkeypatch)
        for expected in step.shows:
            assert expected in output, f"$ {step.command}\n{output}"
        assert exit_code == step.exit_code, output
        outputs.append(output)
    if os.environ.get("WRITE_WALK"):
        walk.PAGE.write_text(walk.write(outputs))
    assert walk.commands(walk.PAGE.read_text()) == [step.command for step in walk.STEPS]


def typed(cloud: LaptopCloud, command: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, int]:
    """What a command prints, and its exit code. The event is sent as the line does, and its dead letter awaited."""
    program, *arguments = shlex.split(command)
    if program == "aws":
        function = cloud.deployment.function("prize-pool")
        client = cloud.deployment.client("lambda")
        sent = client.invoke(FunctionName=function, InvocationType="Event", Payload=walk.EVENT.encode())
        eventually(lambda: cloud.status("prize-pool").dead_letters, within=NEXT_MINUTE)
        return json.dumps({"StatusCode": sent["StatusCode"]}), 0
    printed = io.StringIO()
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            main()
        except SystemExit as ended:
            return printed.getvalue(), int(ended.code or 0)
    raise AssertionError("it did not end")


def run_instead(program: str, arguments: list[str], environment: dict[str, str]) -> NoReturn:
    """In the place of `os.execve`: this process is needed."""
    done = subprocess.run(arguments, executable=program, env=environment, check=False, capture_output=True, text=True)
    sys.stdout.write(done.stdout + done.stderr)
    sys.exit(done.returncode)


def test_a_pause_turns_a_schedule_off_and_a_resume_turns_it_on(cloud: LaptopCloud) -> None:
    assert pause(cloud.deployment, "prize-pool", reason="rehearsal", now=datetime.now(UTC)).before.state is State.ON
    paused = cloud.status("prize-pool").schedule
    assert (paused.state, paused.silence_alarm, paused.expression) == (
        State.PAUSED,
        SilenceAlarm.NONE,
        "cron(0 0 * * ? *)",
    )
    assert resume(cloud.deployment, "prize-pool", now=datetime.now(UTC)).before == paused
    assert cloud.status("prize-pool").schedule.state is State.ON


def rename(engine: Engine, table: str, name: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"ALTER TABLE {table} RENAME TO {name}"))


def test_an_update_of_the_stack_takes_effect(cloud: LaptopCloud) -> None:
    cloud.arcade.add_session("2026-01-17T02:35:00Z")
    dry_run: dict[str, Any] = {"at": "2026-01-17T03:00:00Z", "dry_run": True}
    before = cloud.trigger("cleanup", **dry_run)["result"]["expired_sessions_deleted"]
    cloud.up(sessionExpiryMinutes="20")
    assert cloud.trigger("cleanup", **dry_run)["result"]["expired_sessions_deleted"] == before + 1


def test_the_printed_lines_name_the_function_and_how_to_stop_it(cloud: LaptopCloud) -> None:
    lines = "\n".join(guide(cloud.deployment))
    assert f"--function-name {cloud.deployment.function('prize-pool')} " in lines
    assert f"--endpoint-url {cloud.deployment.endpoint} " in lines
    assert "arcade-jobs local down" in lines


def test_a_schedule_fires_on_its_own(cloud: LaptopCloud) -> None:
    def fired() -> list[RunRecord]:
        runs = cloud.deployment.run_store().list_runs("leaderboard")
        return [run for run in runs if run.scheduled_at > cloud.begun_at]

    [run, *_] = eventually(fired, within=NEXT_MINUTE)
    assert run.trigger == Trigger.SCHEDULED
    assert run.run_id == f"leaderboard:{run.scheduled_at:%Y-%m-%dT%H:%MZ}"


def test_a_stopped_cloud_starts_with_its_database_and_new_runs(cloud: LaptopCloud) -> None:
    """Stopped in order, then killed."""
    ranks = cloud.arcade.ranks(game="tetris", day="2026-01-12")
    laptop.down(folder=cloud.folder, report=lambda _: None)
    assert laptop.status(folder=cloud.folder) == laptop.Status(emulator=None, has_postgres=False)
    with pytest.raises(ArcadeJobsError, match="the laptop cloud does not run; start it: arcade-jobs local up"):
        connect(cloud.folder)
    cloud.up()
    assert cloud.deployment.run_store().list_runs("prize-pool") == []
    assert cloud.invoke("prize-pool", scheduled("prize_pool"))["status"] == "succeeded"
    running = emulator.running(cloud.folder / "emulator")
    assert running is not None
    killed = psutil.Process(running.pid)
    killed.kill()
    killed.wait()
    assert laptop.status(folder=cloud.folder) == laptop.Status(emulator=None, has_postgres=True)
    cloud.up()
    assert cloud.deployment.run_store().list_runs("prize-pool") == []
    assert cloud.arcade.ranks(game="tetris", day="2026-01-12") == ranks


def test_a_destroyed_stack_leaves_nothing_but_the_database(cloud: LaptopCloud) -> None:
    functions = [cloud.deployment.function(job) for job in ("prize-pool", "leaderboard", "cleanup")]
    cloud.cdk().run("destroy", "arcade-jobs-dev", "--force")
    with pytest.raises(ArcadeJobsError, match="there is no stack arcade-jobs-dev at http://"):
        connect(cloud.folder)
    for function in functions:
        with pytest.raises(ClientError, match="ResourceNotFound"):
            cloud.deployment.client("lambda").get_function(FunctionName=function)
    assert cloud.deployment.client("dynamodb").list_tables()["TableNames"] == []
    assert cloud.deployment.client("events").list_rules()["Rules"] == []
    assert postgres.is_running(cloud.folder / "postgres")
    assert cloud.arcade.ranks(game="tetris", day="2026-01-12") == [("0xb", 1), ("0xc", 2), ("0xa", 3)]
