"""`arcade-jobs dead-letters`: the events that kept failing or were not delivered."""

from datetime import UTC, datetime

import typer

from infra.cli.options import JOB_NAMES, AnyJob, Json, Target, with_target
from infra.cli.terminal import out, print_json, print_lines, print_note

app = typer.Typer()
dead_letters = typer.Typer(no_args_is_help=True, help="Events that were dead-lettered.")
app.add_typer(dead_letters, name="dead-letters")


@dead_letters.command("list")
@with_target
def show_dead_letters(job: AnyJob = None, *, as_json: Json = False, target: Target) -> None:
    """The events that were dead-lettered, and why. None is removed."""
    from infra.deployed.dead_letters import list_dead_letters

    deployment, now = target.deployment(), datetime.now(UTC)
    jobs = [job] if job else JOB_NAMES
    found = [dead_letter for of_job in jobs for dead_letter in list_dead_letters(deployment, of_job, now=now)]
    if as_json:
        print_json([dead_letter.to_json() for dead_letter in found])
    elif found:
        from infra.cli.status_tables import dead_letters_table

        out.print(dead_letters_table(found))
    else:
        print_lines("no dead letters")


@dead_letters.command("redrive")
@with_target
def redrive_dead_letters(job: AnyJob = None, *, as_json: Json = False, target: Target) -> None:
    """Send dead-lettered events to their jobs again; exit with 1 if any stays in the queue. Nothing is lost."""
    from infra.deployed.dead_letters import redrive

    deployment = target.deployment()
    print_note(str(deployment))
    results = [
        result
        for of_job in ([job] if job else JOB_NAMES)
        for result in redrive(deployment, of_job, clock=lambda: datetime.now(UTC), report=print_note)
    ]
    succeeded = sum(result.succeeded for result in results)
    if as_json:
        print_json([result.to_json() for result in results])
    else:
        print_lines(f"{succeeded} succeeded, {len(results) - succeeded} kept" if results else "no dead letters")
    if succeeded < len(results):
        raise typer.Exit(1)
