"""Cold starts: what a new container computes until its first invocation has ended, with nothing to do.

Counted in instructions by callgrind, which repeats exactly where times do not, over valid bytecode. The peers do
less of a job, each as its users would write it: `cold/naive.py` from the first example of every library,
`cold/floor.py` with nothing between it and the sockets.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from infra import schema
from infra.jobs import JOBS
from infra.local import postgres
from infra.stack import bundle
from infra.stack.target import LOCAL
from shared.db.connection import open_engine
from tests.benchmarks.rows import Row, at_most

COLD = Path(__file__).with_name("cold")
OF_NAIVE = 0.56  # instructions, at most
OF_FLOOR = 2.5
PEAK_MB = 60.0
DATABASE = "arcade_cold_start"


class DynamoDb(BaseHTTPRequestHandler):
    """Takes every write, and returns that it was the first."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        body = b'{"Attributes": {"attempt": {"N": "1"}}}'
        self.send_response(200)
        self.send_header("content-type", "application/x-amz-json-1.0")
        self.send_header("content-length", str(len(body)))
        self.send_header("x-amz-crc32", str(zlib.crc32(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """One cold start: instructions, and the peak memory of the process in MB, measured without callgrind."""

    instructions: int
    peak_mb: float


def measure(*, quick: bool) -> list[Row]:
    """The cold start of each handler against both peers. Quick: of one handler.

    Raises:
        FileNotFoundError: valgrind is not installed.
    """
    if shutil.which("valgrind") is None:
        raise FileNotFoundError("valgrind: not installed; on Debian and Ubuntu: apt-get install valgrind")
    repetitions = 1 if quick else 3
    with _environment() as environment:
        asset = bundle.build(LOCAL.platform)

        def starts(module: str, folder: Path) -> list[Start]:
            return [_start(module, environment | {"PYTHONPATH": str(folder)}) for _ in range(repetitions)]

        # Bytecode for the peers too: it is written by the first import, which is not measured.
        peers = {name: starts(name, _compiled(COLD, environment)) for name in ("naive", "floor")}
        rows = []
        for job in JOBS[:1] if quick else JOBS:
            ours = starts(f"functions.{job.stem}", asset)
            for peer, most in (("naive", OF_NAIVE), ("floor", OF_FLOOR)):
                ratios = [
                    start.instructions / against.instructions for start, against in zip(ours, peers[peer], strict=True)
                ]
                billions = f"{ours[0].instructions / 1e9:.2f} of {peers[peer][0].instructions / 1e9:.2f} G instructions"
                rows.append(
                    at_most(most, ratios, name=f"cold start, {job.name}", against=f"{peer}: {billions}", unit="x")
                )
            peaks = [start.peak_mb for start in ours]
            rows.append(
                at_most(
                    PEAK_MB,
                    peaks,
                    name=f"peak memory of a cold start, {job.name}",
                    against=f"naive: {peers['naive'][0].peak_mb:.0f} MB, floor: {peers['floor'][0].peak_mb:.0f} MB",
                    unit="MB",
                )
            )
    return rows


def _start(module: str, environment: dict[str, str]) -> Start:
    command = [sys.executable, str(COLD / "first_invocation.py"), module]
    counted = _run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *command], environment)
    plain = _run(command, environment)
    [instructions] = re.findall(r"Collected : (\d+)", counted)
    [peak] = re.findall(r"peak (\d+)", plain)
    return Start(instructions=int(instructions), peak_mb=int(peak) / 1e6)


def _compiled(folder: Path, environment: dict[str, str]) -> Path:
    _run([sys.executable, "-m", "compileall", "-q", str(folder)], environment)
    return folder


@contextmanager
def _environment() -> Iterator[dict[str, str]]:
    """The environment of a function, with an empty database and a runs table that takes everything."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), DynamoDb)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        with tempfile.TemporaryDirectory() as folder, postgres.serve(Path(folder) / "postgres", environment={}) as own:
            url = own.create_database(DATABASE).render_as_string(hide_password=False)
            engine = open_engine(url, connections=2)
            schema.upgrade(engine)
            engine.dispose()
            yield {
                "AWS_ACCESS_KEY_ID": "benchmark",
                "AWS_SECRET_ACCESS_KEY": "benchmark",
                "AWS_REGION": "eu-west-1",
                "AWS_DEFAULT_REGION": "eu-west-1",
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
                "AWS_LAMBDA_FUNCTION_NAME": "benchmark",
                "LAMBDA_TASK_ROOT": bundle.DEPLOYED,  # without it the tracer of Powertools does nothing
                "_X_AMZN_TRACE_ID": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
                "DATABASE_URL": url,
                "RUNS_TABLE_NAME": "runs",
                "PATH": os.defpath,
                "PYTHONHASHSEED": "0",
            }
    finally:
        server.shutdown()
        server.server_close()


def _run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[-1]}: {done.stderr[-2000:]}")
    return done.stderr
