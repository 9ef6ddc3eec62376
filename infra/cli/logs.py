"""`arcade-jobs logs`: what one run logged, on AWS and on the laptop cloud."""

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.options import OneRun, Target, with_target
from infra.cli.terminal import print_lines, print_note, printable
from infra.stage import REPLAY_STAGES
from shared.domain.errors import BadInputError

if TYPE_CHECKING:
    from infra.deployed.logs import LogLine
    from shared.operations.deployment import Deployment
    from shared.runs.record import RunRecord

app = typer.Typer()


@app.command("logs")
@with_target
def show_log(
    run_id: OneRun,
    *,
    is_followed: Annotated[
        bool, typer.Option("--follow", "-f", help="Wait for more lines until the run ends.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the lines as they are, all of them.")] = False,
    target: Target,
) -> None:
    """The log of one run, of all its attempts."""
    if target.stage in REPLAY_STAGES:
        raise BadInputError(f"--stage: {target.stage!r} is the replay's, which keeps no log")
    from shared.operations.run_ids import find_run

    deployment = target.deployment()
    record = find_run(deployment.run_store(), run_id)
    if is_followed:
        from infra.deployed.logs import follow_log

        try:
            print_log(
                follow_log(deployment, record, clock=lambda: datetime.now(UTC), sleep=time.sleep), as_json=as_json
            )
        except KeyboardInterrupt:
            return  # that is how one stops following
    else:
        print_log_of(deployment, record, as_json=as_json)


def print_log_of(deployment: "Deployment", record: "RunRecord", *, as_json: bool = False) -> None:
    """Print what a run has logged until now.

    Raises:
        NotReachableError: AWS refused.
    """
    from infra.deployed.logs import read_log

    lines = read_log(deployment, record, now=datetime.now(UTC))
    print_log(lines, as_json=as_json)
    if not lines:
        print_note(f"{record.run_id}: no line yet, or none any more: they are kept for three months")


def print_log(lines: Iterable["LogLine"], *, as_json: bool) -> None:
    """Print lines as they come: as they are, or for a reader."""
    for line in lines:
        if as_json:
            typer.echo(line.raw)
        elif not line.is_for_programs:
            print_lines(*_shown(line))


def _shown(line: "LogLine") -> list[str]:
    details = "".join(f"  {name}={value}" for name, value in line.details.items())
    head = f"{line.at:%Y-%m-%d %H:%M:%S}.{line.at.microsecond // 1000:03} {line.level:<7} {line.message}{details}"
    return [printable(head), *(f"    {printable(part)}" for part in line.traceback)]
