"""Many cold starts at once: N processes build the app and run a job, each with a log of its own.

    python cold_starts.py FOLDER PROCESSES

Each process writes what it prints to `N.out` and `N.err`, and its result to `N.json`. With STAY_WARM they end when
standard input closes: until then they keep what a warm container keeps.
"""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

from functions import prize_pool  # imported once, before the processes part: a cold start's imports are not the point


def run(folder: Path, number: int, start: int) -> None:
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / f"{number}.{name}", os.O_WRONLY | os.O_CREAT, 0o600), descriptor)
    os.read(start, 1)  # returns when the parent closes its end: all of them at once
    context = SimpleNamespace(aws_request_id=f"{folder.name}-{number}", get_remaining_time_in_millis=lambda: 300_000)
    result = prize_pool.handler({"reason": f"cold start {number}"}, context)  # type: ignore[arg-type]
    sys.stdout.flush()
    unfinished = folder / f"{number}.unfinished"
    unfinished.write_text(json.dumps(result), encoding="utf-8")
    unfinished.rename(folder / f"{number}.json")
    if os.environ.get("STAY_WARM"):
        sys.stdin.read()


def main(folder: Path, processes: int) -> None:
    start, shot = os.pipe()
    children = []
    for number in range(processes):
        child = os.fork()
        if child == 0:
            os.close(shot)
            try:
                run(folder, number, start)
            finally:
                os._exit(0)
        children.append(child)
    os.close(start)
    os.close(shot)
    for child in children:
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
