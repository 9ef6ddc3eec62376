"""The asset: its content, its bytecode, that each build is the same, and that the jobs work from it."""

import hashlib
import json
import os
import ssl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine

from infra.jobs import JOBS
from infra.stack import bundle
from infra.stack.target import AWS, LOCAL, Platform
from shared.domain.errors import ArcadeJobsError
from tests.arcade import Arcade
from tests.conftest import RUNS_TABLE
from tests.fakes import scheduled_event
from tests.fakes.dynamodb import one_at_a_time, serve

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

MAGIC_OF_3_13 = (3571).to_bytes(2, "little") + b"\r\n"  # PYC_MAGIC_NUMBER of CPython 3.13
UNCHECKED_HASH = (0b01).to_bytes(4, "little")  # PEP 552: by hash, not checked
FROM_THE_ASSET = """
import json, sys
sys.path.insert(0, sys.argv[1])
import functions.cleanup, functions.leaderboard, functions.operations, functions.prize_pool, pg8000, scramp, sqlalchemy
from tests.fakes import FakeContext
assert sqlalchemy.__file__.startswith(sys.argv[1])
assert not any(module.__doc__ for module in (sqlalchemy, sqlalchemy.engine, pg8000.core, scramp.core)), "not optimized"
assert pg8000.__version__ and scramp.__version__
print(json.dumps([
    module.handler(json.loads(event), FakeContext())
    for module, event in zip((functions.prize_pool, functions.leaderboard, functions.cleanup), sys.argv[2:])
]))
"""
LARGEST = 250_000_000  # bytes unpacked; Lambda takes no more

pytestmark = pytest.mark.xdist_group("bundle")


@pytest.fixture(scope="module")
def for_lambda() -> Path:
    return bundle.build(AWS.platform)


@pytest.fixture(scope="module")
def for_this_machine() -> Path:
    return bundle.build(LOCAL.platform)


@pytest.mark.parametrize("target", [AWS, LOCAL], ids=["aws", "local"])
def test_two_builds_are_one(target, tmp_path):
    again = bundle.build(target.platform, folder=tmp_path)
    assert again.name == bundle.build(target.platform).name
    assert content_hash(again) == content_hash(bundle.build(target.platform))


def content_hash(asset: Path) -> str:
    """SHA-256 over the names, modes, times and contents of all files."""
    digest = hashlib.sha256()
    for path in sorted(path for path in asset.rglob("*") if path.is_file()):
        state = path.stat()
        digest.update(f"{path.relative_to(asset)} {state.st_mode:o} {state.st_mtime_ns}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def test_an_asset_that_is_there_is_not_built_again(for_lambda, capsys):
    assert bundle.build(AWS.platform) == for_lambda
    assert not capsys.readouterr().err


def test_every_source_has_bytecode_of_the_functions_python_that_is_not_checked(for_lambda):
    sources = list(for_lambda.rglob("*.py"))
    assert len(sources) > 200
    for source in sources:
        header = (source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc").read_bytes()[:8]
        assert header == MAGIC_OF_3_13 + UNCHECKED_HASH, source


def test_libraries_are_those_of_the_functions_processor(for_lambda):
    compiled = [path.name for path in for_lambda.rglob("*.so")]
    assert compiled
    assert all(name.endswith(".cpython-313-aarch64-linux-gnu.so") for name in compiled)


def test_what_is_not_needed_at_run_time_is_not_in_it(for_lambda):
    assert {path.name for path in for_lambda.iterdir() if "dist-info" not in path.name} == {
        *("functions", "shared", bundle.CA_BUNDLE),
        *(
            "aws_lambda_powertools",
            "cronsim",
            "jmespath",
            "pg8000",
            "asn1crypto",
            "dateutil",
            "scramp",
            "six.py",
            "__pycache__",
        ),
        *("sqlalchemy", "typing_extensions.py", "tzdata"),
    }
    assert not (for_lambda / "shared" / "db" / "migrations").exists()
    assert not list(for_lambda.rglob("*.pyx"))
    assert sum(path.stat().st_size for path in for_lambda.rglob("*") if path.is_file()) < LARGEST / 5


def test_the_handlers_import_from_the_asset_and_boto3_alone(for_this_machine):
    """The asset goes first in the path, so what was taken out of a library is really missing."""
    modules = [job.handler.rpartition(".")[0] for job in JOBS]
    code = (
        f"import sys; sys.path[:0] = [{str(for_this_machine)!r}]\n"
        f"import {', '.join(modules)}, sqlalchemy, pg8000\n"
        f"for module in (sqlalchemy, pg8000, {', '.join(modules)}):\n"
        f"    assert module.__file__.startswith({str(for_this_machine)!r}), module\n"
        "from sqlalchemy import create_engine, text\n"
        "str(text('select 1').compile(create_engine('postgresql+pg8000://u@h/d')))\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_job_does_its_work_from_the_asset(
    for_this_machine: Path, engine: Engine, arcade: Arcade, dynamodb: "DynamoDBClient"
) -> None:
    """Its libraries are without docstrings and assertions, and none of them may need either."""
    pool_id = arcade.add_pool("2026-01-11")
    arcade.play("0xa", 5, "2026-01-11T12:00:00Z")
    arcade.play("0xb", 7, "2026-01-11T12:30:00Z")
    arcade.add_session("2026-01-11T13:00:00Z")
    with serve(one_at_a_time(dynamodb)) as endpoint:
        done = from_the_asset(
            for_this_machine,
            engine,
            endpoint,
            [scheduled_event(f"2026-01-12T{at}:00Z") for at in ("00:00", "01:00", "03:00")],
        )
    assert done.returncode == 0, done.stderr
    settled, ranked, cleaned = json.loads(done.stdout.splitlines()[-1])
    assert [result["status"] for result in (settled, ranked, cleaned)] == ["succeeded"] * 3
    assert arcade.pool(pool_id).winner_address == "0xb"
    assert arcade.ranks() == [("0xb", 1), ("0xa", 2)]
    assert cleaned["result"]["expired_sessions_deleted"] == 1


def test_a_traceback_from_the_asset_has_its_lines(for_this_machine: Path, engine: Engine) -> None:
    done = from_the_asset(for_this_machine, engine, "http://127.0.0.1:9", [{"time": 1}])
    [line] = [
        number for number, text in enumerate(lines_of(for_this_machine, "shared/app.py"), 1) if "from_event" in text
    ]
    assert f'/shared/app.py", line {line}, in __call__\n' in done.stderr
    assert "tick = Tick.from_event(" in done.stderr


def lines_of(asset: Path, name: str) -> list[str]:
    return (asset / name).read_text().splitlines()


def from_the_asset(
    asset: Path, engine: Engine, endpoint: str, events: list[dict[str, Any]]
) -> subprocess.CompletedProcess[str]:
    """Run prize-pool, leaderboard and cleanup from the asset, as many as there are events; prints the results."""
    environment = os.environ | {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
        "DATABASE_URL": engine.url.render_as_string(hide_password=False),
        "RUNS_TABLE_NAME": RUNS_TABLE,
    }
    arguments = [str(asset), *map(json.dumps, events)]
    return subprocess.run(
        [sys.executable, "-c", FROM_THE_ASSET, *arguments], capture_output=True, text=True, check=False, env=environment
    )


def test_the_authorities_of_rds_are_in_it(for_lambda):
    context = ssl.create_default_context(cafile=for_lambda / bundle.CA_BUNDLE)
    subjects: list[Any] = [ca["subject"] for ca in context.get_ca_certs()]
    names = [dict(part[0] for part in subject).get("commonName", "") for subject in subjects]
    for region in ("us-east-1", "eu-west-1", "ap-southeast-2"):
        assert f"Amazon RDS {region} Root CA RSA2048 G1" in names


def test_files_can_be_read_by_the_functions_user(for_lambda):
    assert {path.stat().st_mode & 0o777 for path in for_lambda.rglob("*")} == {0o644, 0o755}
    assert {path.stat().st_mtime for path in for_lambda.rglob("*")} == {bundle.FILE_TIME}


def test_a_library_that_does_not_exist_is_reported_in_one_line(tmp_path):
    with pytest.raises(ArcadeJobsError) as refusal:
        bundle.build(Platform(python="3.13", wheels="no-such-platform"), folder=tmp_path)
    assert "\n" not in str(refusal.value)
    assert not list(tmp_path.iterdir())
