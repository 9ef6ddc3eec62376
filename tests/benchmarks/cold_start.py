"""Cold starts: what a new container computes until its first invocation has ended, with nothing to do.

Counted in instructions by valgrind, which repeats where times do not, over valid bytecode. All log in to the database
with a password (SCRAM), as on any server but a laptop's own. The peers do less of a job, each as its users would write
it: `cold/naive.py` from the first example of every library, `cold/floor.py` with nothing between it and the sockets.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from sqlalchemy import text

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
ROLE, PASSWORD = "arcade_cold_start_jobs", "benchmark"
LOGINS = f"local all {ROLE} scram-sha-256\nlocal all all trust\n"
VALGRIND = ("valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null")
MEMORY_SAMPLES = 3


class DynamoDb(BaseHTTPRequestHandler):
    """Takes every write as the first of its item, and returns what it sets."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        names, values = request.get("ExpressionAttributeNames", {}), request.get("ExpressionAttributeValues", {})
        item = {name: values[f":{alias[1:]}"] for alias, name in names.items() if f":{alias[1:]}" in values}
        body = json.dumps({"Attributes": request.get("Key", {}) | item}).encode()
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
    """A cold start: its instructions, and the peak memory of the process in MB, measured without valgrind."""

    instructions: int
    peaks_mb: list[float]


def measure(*, quick: bool) -> list[Row]:
    """The cold start of each handler against both peers. Quick: of one handler against the floor.

    Raises:
        FileNotFoundError: valgrind is not installed.
    """
    if shutil.which("valgrind") is None:
        raise FileNotFoundError("valgrind: not installed; on Debian and Ubuntu: apt-get install valgrind")
    targets = {"floor": OF_FLOOR} if quick else {"naive": OF_NAIVE, "floor": OF_FLOOR}
    jobs = JOBS[:1] if quick else JOBS
    with function_environment() as environment, ThreadPoolExecutor(os.cpu_count()) as pool:
        # Bytecode for the peers too: it is written by the first import, which is not measured.
        folders = dict.fromkeys(targets, _compiled(COLD, environment))
        folders |= {f"functions.{job.stem}": bundle.build(LOCAL.platform) for job in jobs}
        starts = dict(
            zip(folders, pool.map(lambda module: _start(module, folders[module], environment), folders), strict=True)
        )
    rows = []
    for job in jobs:
        ours = starts[f"functions.{job.stem}"]
        for peer, most in targets.items():
            counts = (ours.instructions, starts[peer].instructions)
            rows.append(
                at_most(
                    most,
                    [counts[0] / counts[1]],
                    name=f"cold start, {job.name}",
                    against=f"{peer}, by password too: {counts[0] / 1e9:.3f} of {counts[1] / 1e9:.3f} G instructions",
                    unit="x",
                )
            )
        peers = ", ".join(f"{peer}: {min(starts[peer].peaks_mb):.0f} MB" for peer in targets)
        name = f"peak memory of a cold start, {job.name}"
        rows.append(at_most(PEAK_MB, ours.peaks_mb, name=name, against=peers, unit="MB"))
    return rows


def invoke_first(module: str, folder: Path, environment: dict[str, str], *, under: Sequence[str] = ()) -> str:
    """Import a handler and invoke it once, in a new process; returns what that writes to standard error.

    Args:
        module: of the handler.
        folder: that has it.
        environment: of the process.
        under: the command that runs it.
    """
    command = [*under, sys.executable, str(COLD / "first_invocation.py"), module]
    return _run(command, environment | {"PYTHONPATH": str(folder)})


def _start(module: str, folder: Path, environment: dict[str, str]) -> Start:
    [instructions] = re.findall(r"I\s+refs:\s+([\d,]+)", invoke_first(module, folder, environment, under=VALGRIND))
    peaks = [re.findall(r"peak (\d+)", invoke_first(module, folder, environment))[0] for _ in range(MEMORY_SAMPLES)]
    return Start(instructions=int(instructions.replace(",", "")), peaks_mb=[int(peak) / 1e6 for peak in peaks])


def _compiled(folder: Path, environment: dict[str, str]) -> Path:
    _run([sys.executable, "-m", "compileall", "-q", str(folder)], environment)
    return folder


@contextmanager
def function_environment() -> Iterator[dict[str, str]]:
    """The environment of a function, with an empty database and a runs table that takes everything."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), DynamoDb)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            (folder / "logins").write_text(LOGINS)
            settings = {"hba_file": str(folder / "logins")}
            own = stack.enter_context(postgres.serve(folder / "postgres", environment={}, settings=settings))
            url = own.create_database(DATABASE)
            engine = open_engine(url, connections=2)
            schema.upgrade(engine)
            with engine.begin() as connection:
                rights = "pg_read_all_data, pg_write_all_data"
                connection.execute(text(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}' IN ROLE {rights}"))
            engine.dispose()
            url = url.set(username=ROLE, password=PASSWORD)
            yield {
                "AWS_ACCESS_KEY_ID": "benchmark",
                "AWS_SECRET_ACCESS_KEY": "benchmark",
                "AWS_REGION": "eu-west-1",
                "AWS_DEFAULT_REGION": "eu-west-1",
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
                "AWS_LAMBDA_FUNCTION_NAME": "benchmark",
                "LAMBDA_TASK_ROOT": bundle.DEPLOYED,  # without it the tracer of Powertools does nothing
                "_X_AMZN_TRACE_ID": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
                "DATABASE_URL": url.render_as_string(hide_password=False),
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
