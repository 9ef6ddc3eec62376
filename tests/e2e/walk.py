"""The walk of docs/walk.md: a pool that cannot be settled, from the plays to its winner. A step is a command.

`test_cloud.py` runs the steps in the laptop cloud. With WRITE_WALK=1 in its environment it writes the page too.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "walk.md"
DAY, SLOT = "2026-03-03", "2026-03-04T00:00:00Z"
RUN_ID = "prize-pool:2026-03-04T00:00Z"
EVENT = f'{{"detail-type": "Scheduled Event", "time": "{SLOT}"}}'
POISON = "CHECK (game_type <> 'snake' OR status = 'active') NOT VALID"

TRACEBACK = re.compile(r"^( +Traceback \(most recent call last\):)\n(?: +.*\n|\n(?= ))*", re.MULTILINE)
TITLE = "# A pool that cannot be settled"
INTRODUCTION = """
A rehearsal on the [laptop cloud](laptop.md), to be typed after `make local`: games arrive, one of their pools is
broken, the night comes, and whoever is on call finds out what happened, mends it and sees it settled.
This page is the output of a test (`tests/e2e/walk.py`); names that differ on each machine are shortened.
"""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command of the walk.

    Attributes:
        says: what a reader should know before it.
        command: as it is typed: `arcade-jobs ...`, or `aws lambda invoke ...` with EVENT.
        shows: what its output must hold.
        exit_code: that it must have.
    """

    says: str
    command: str
    shows: Sequence[str] = ()
    exit_code: int = 0


STEPS = (
    Step(
        says="Forty games arrive, of a day that is over. Each payment fills the pools of its game's day and week.",
        command=f"arcade-jobs local play --day {DAY} --games 40 --interval 0",
        shows=["40 games arrived (breakout "],
    ),
    Step(
        says="Something goes wrong with one of them: from now on the database refuses to settle a pool of Snake.",
        command=f'arcade-jobs local psql -- -c "ALTER TABLE prize_pools ADD CONSTRAINT rehearsal {POISON}"',
        shows=["ALTER TABLE"],
    ),
    Step(
        says="The night comes. EventBridge would send this event at midnight; `make local` prints the whole line.",
        command=f"aws lambda invoke --invocation-type Event --payload '{EVENT}' ...",
    ),
    Step(
        says="The run settled four pools and failed, was retried twice, and its event is a dead letter.",
        command="arcade-jobs status --local",
        shows=["prize-pool", "partial"],
    ),
    Step(
        says="Which pool it is, what is wrong with it and what to do:",
        command=f"arcade-jobs show {RUN_ID} --local",
        shows=["partial", "snake", "rehearsal"],
    ),
    Step(
        says="What it logged, all three attempts:",
        command=f"arcade-jobs logs {RUN_ID} --local",
        shows=["rehearsal"],
    ),
    Step(
        says="The event waits. Nothing is lost: a later night would settle the pool too.",
        command="arcade-jobs dead-letters list prize-pool --local",
        shows=["RetriesExhausted", SLOT],
    ),
    Step(
        says="Mend the cause:",
        command='arcade-jobs local psql -- -c "ALTER TABLE prize_pools DROP CONSTRAINT rehearsal"',
        shows=["ALTER TABLE"],
    ),
    Step(
        says="Send the event again:",
        command="arcade-jobs dead-letters redrive prize-pool --local",
        shows=["1 succeeded, 0 kept"],
    ),
    Step(
        says="All five pools are settled, the fifth by the fourth attempt, and each once.",
        command="arcade-jobs history prize-pool --limit 1 --local",
        shows=["succeeded", "attempt 4"],
    ),
    Step(
        says="The run keeps what happened: each attempt, and the error that was mended.",
        command=f"arcade-jobs show {RUN_ID} --local",
        shows=["succeeded", "attempt 4", "snake", "rehearsal"],
    ),
    Step(
        says="The whole stage as one page:",
        command="arcade-jobs report --out report.html --local",
        shows=["report.html"],
    ),
)


def commands(page: str) -> list[str]:
    """The commands of a page, as they are typed."""
    return re.findall(r"^\$ (.*)$", page, re.MULTILINE)


def write(outputs: Sequence[str]) -> str:
    """The page.

    Args:
        outputs: of the steps.
    """
    parts = [TITLE, INTRODUCTION.strip()]
    for step, output in zip(STEPS, outputs, strict=True):
        typed = [f"$ {step.command}", *(line.rstrip() for line in shorten(output).splitlines())]
        if step.exit_code:
            typed.append(f"(exit code {step.exit_code})")
        parts.append("\n".join([step.says, "", "```console", *typed, "```"]))
    return "\n\n".join(parts) + "\n"


def shorten(output: str) -> str:
    """Without what differs on each machine and in each run, but for times; and without the frames of tracebacks."""
    output = TRACEBACK.sub(r"\1 ...\n", output)
    output = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "(id)", output)
    return re.sub(r"(arcade-jobs-\w+-[A-Za-z]+?)[0-9A-F]{8}-\w+", r"\1", output).strip("\n")
