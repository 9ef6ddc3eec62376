"""The asset: its content, its bytecode, and that each build is the same."""

import hashlib
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.jobs import JOBS
from infra.stack import bundle
from infra.stack.target import AWS, LOCAL, Platform
from shared.domain.errors import ArcadeJobsError

MAGIC_OF_3_13 = (3571).to_bytes(2, "little") + b"\r\n"  # PYC_MAGIC_NUMBER of CPython 3.13
UNCHECKED_HASH = (0b01).to_bytes(4, "little")  # PEP 552: by hash, not checked
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
        *("aws_lambda_powertools", "jmespath", "pg8000", "asn1crypto", "dateutil", "scramp", "six.py", "__pycache__"),
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
