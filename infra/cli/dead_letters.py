"""`arcade-jobs dead-letters`: the events that kept failing or were not delivered."""

import json
import sys
from collections.abc import Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.options import JOB_NAMES, AnyJob, Json, Target, with_target
from infra.cli.terminal import err, is_piped, out, print_json, print_lines, print_note, printable
from shared.domain.errors import BadInputError

if TYPE_CHECKING:
    from infra.deployed.dead_letters import DeadLetter
    from shared.operations.deployment import Deployment

app = typer.Typer()
dead_letters = typer.Typer(no_args_is_help=True, help="Events that were dead-lettered.")
app.add_typer(dead_letters, name="dead-letters")


def check_id(text: str) -> str:
    """The id of a dead letter, or the beginning of one.

    Raises:
        BadInputError: it is empty, and would begin every one.
    """
    if not text.strip():
        raise BadInputError(f"ID: {text!r} is empty; arcade-jobs dead-letters list shows the ids")
    return text


DeadLetterId = Annotated[
    str, typer.Argument(metavar="ID", callback=check_id, help="Of dead-letters list; its beginning is enough.")
]


@dead_letters.command("list")
@with_target
def show_dead_letters(job: AnyJob = None, *, as_json: Json = False, target: Target) -> None:
    """The events that were dead-lettered, and why. None is removed."""
    from infra.deployed.dead_letters import list_all_dead_letters

    jobs = [job] if job else JOB_NAMES
    found = list_all_dead_letters(target.deployment(), jobs, now=datetime.now(UTC))
    if as_json:
        print_json([dead_letter.to_json() for dead_letter in found])
    elif found:
        from infra.cli.status_tables import dead_letters_table

        out.print(dead_letters_table(found, between=" " if is_piped() else "\n"))
    else:
        print_lines(_none(target.deployment(), jobs))


@dead_letters.command("show")
@with_target
def show_dead_letter(id_: DeadLetterId, *, as_json: Json = False, target: Target) -> None:
    """One dead letter: the whole event, its error, and what to do."""
    found = _find(target.deployment(), id_)
    if as_json:
        print_json(found.to_json() | {"stack": list(found.stack)})
    else:
        _print(found)
        for line in _advise(found, target):
            print_lines(line)


@dead_letters.command("redrive")
@with_target
def redrive_dead_letters(job: AnyJob = None, *, as_json: Json = False, target: Target) -> None:
    """Send dead-lettered events to their jobs again; exit with 1 if any stays in the queue. Nothing is lost."""
    from infra.deployed.dead_letters import redrive

    deployment = target.deployment()
    print_note(str(deployment))
    jobs = [job] if job else JOB_NAMES
    results = [
        result
        for of_job in jobs
        for result in redrive(deployment, of_job, clock=lambda: datetime.now(UTC), report=print_note)
    ]
    succeeded = sum(result.succeeded for result in results)
    if as_json:
        print_json([result.to_json() for result in results])
    else:
        kept = len(results) - succeeded
        print_lines(f"{succeeded} succeeded, {kept} kept" if results else _none(deployment, jobs))
    if succeeded < len(results):
        raise typer.Exit(1)


@dead_letters.command("discard")
@with_target
def discard_dead_letter(
    id_: DeadLetterId,
    *,
    is_sure: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
    target: Target,
) -> None:
    """Delete one dead letter for good; its event is printed, and can be sent with `trigger --at`."""
    from infra.deployed.dead_letters import discard

    deployment = target.deployment()
    found = _find(deployment, id_)
    print_note(str(deployment))
    if not as_json:
        _print(found)
    if not is_sure:
        if not _somebody_is_there():
            raise BadInputError(f"--yes: required to discard {found.id} where nobody can be asked; nothing was deleted")
        err.print("Discard it for good? [y/N] ", end="")
        if input().strip().lower() not in {"y", "yes"}:
            print_lines("kept")
            raise typer.Exit(1)
    discard(deployment, found)
    if as_json:
        print_json(found.to_json() | {"discarded": True})
    else:
        print_lines(f"discarded {found.id}")


def _somebody_is_there() -> bool:
    return sys.stdin.isatty()


def _none(deployment: "Deployment", jobs: Collection[str]) -> str:
    """That there is nothing, or why nothing can be seen."""
    from infra.deployed.dead_letters import SENDING, count_held

    held = count_held(deployment, jobs)
    return (
        f"no dead letters in sight; another command holds {held}, for up to {SENDING} s" if held else "no dead letters"
    )


def _find(deployment: "Deployment", id_: str) -> "DeadLetter":
    from infra.deployed.dead_letters import find_dead_letter, list_all_dead_letters

    return find_dead_letter(list_all_dead_letters(deployment, JOB_NAMES, now=datetime.now(UTC)), id_)


def _print(found: "DeadLetter") -> None:
    """Everything that is known of it. Text of an event is escaped: it may hold anything."""
    print_lines(
        f"id        {found.id}",
        f"job       {found.job}",
        *([f"run       {found.run_id}"] if found.run_id else []),
        f"queued    {found.sent_at:%Y-%m-%d %H:%M:%S} UTC",
        f"attempts  {'unknown' if found.attempts is None else found.attempts or 'none: it was not delivered'}",
        f"error     {printable(found.reason)}",
        *(f"          {printable(line)}" for part in found.stack for line in part.splitlines()),
        *([f"refused   {printable(found.malformed)}"] if found.malformed else []),
        *(json.dumps(found.event, indent=2).splitlines() if found.event else [printable(found.body)]),
    )


def _advise(found: "DeadLetter", target: Target) -> list[str]:
    """What to do, as commands."""
    if found.malformed:
        return ["No run can come of it:", f"  arcade-jobs dead-letters discard {found.id[:8]}{target}"]
    return [
        "Fix the cause, then send it again; it is deleted once its run succeeded:",
        *([f"  arcade-jobs show {found.run_id}{target} --log"] if found.run_id else []),
        f"  arcade-jobs dead-letters redrive {found.job}{target}",
    ]
