"""Real processes that run a job each, to be killed and frozen from outside.

This module is also their program: it imports the handlers once, and forks a process for each order that it reads.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[2]
IDLE_LIMIT = "300"  # ms that the server waits for a frozen process in a transaction; a hundred times it in production


@dataclass(frozen=True, kw_only=True)
class Containers:
    """Starts processes and waits for them."""

    orders: IO[str]
    replies: IO[str]

    def start(self, job: str, event: Mapping[str, Any], env: Mapping[str, str]) -> int:
        """Start a run in a process of its own; return its id when it is about to begin."""
        return self._order(start={"job": job, "event": event, "env": env})

    def wait(self, pid: int) -> int:
        """Wait for the end of a process; return its exit code, or minus the signal that killed it."""
        return self._order(wait=pid)

    def _order(self, **order: Any) -> int:
        print(json.dumps(order), file=self.orders, flush=True)
        return int(self.replies.readline())


@contextlib.contextmanager
def open_containers() -> Iterator[Containers]:
    """Import the handlers in an interpreter of their own, which forks a process for each run."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.container"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:  # its end of input is its end
        assert process.stdin is not None
        assert process.stdout is not None
        yield Containers(orders=process.stdin, replies=process.stdout)


def _serve() -> None:
    from tests.jobs import HANDLERS  # noqa: PLC0415 - here is the program, above is what tests import

    for line in sys.stdin:
        match json.loads(line):
            case {"start": order}:
                _answer(_fork(HANDLERS[order["job"]], order))
            case {"wait": pid}:
                _answer(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _answer(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _fork(handler: Any, order: Mapping[str, Any]) -> int:
    """Start the process, and wait until it is about to begin: its moments are those of a warm container."""
    begun, beginning = os.pipe()
    pid = os.fork()
    if pid == 0:
        os._exit(_run(handler, order, lambda: os.write(beginning, b".")))
    os.close(beginning)
    os.read(begun, 1)
    os.close(begun)
    return pid


def _run(handler: Any, order: Mapping[str, Any], report_start: Callable[[], object]) -> int:
    from shared.db import connection  # noqa: PLC0415
    from tests.fakes import FakeContext  # noqa: PLC0415
    from tests.faults import scenes  # noqa: PLC0415

    os.environ.update(order["env"])
    connection.SESSION["idle_in_transaction_session_timeout"] = IDLE_LIMIT
    for module, name, size in scenes.SMALL_BATCHES:
        setattr(module, name, size)
    handler.app()
    report_start()
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        return 0 if handler(order["event"], FakeContext())["status"] == "succeeded" else 1


if __name__ == "__main__":
    _serve()
