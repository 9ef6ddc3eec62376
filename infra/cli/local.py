"""`arcade-jobs local`: the jobs on this machine."""

import sys
from collections.abc import Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.options import JOB_NAMES, Json, Target, check_stage
from infra.cli.terminal import print_json, print_lines, print_note
from infra.local import FOLDER
from infra.stage import DEFAULT_STAGE, SIMULATION_STAGE, stack_name
from shared.domain.errors import BadInputError
from shared.domain.periods import load_zone

if TYPE_CHECKING:
    from sqlalchemy import URL

    from shared.operations.deployment import Deployment

NOT_CHOSEN = {"stage", "target"}  # of what cdk deploy takes

app = typer.Typer()
local = typer.Typer(no_args_is_help=True, help="The jobs on this machine, without an AWS account.")
app.add_typer(local, name="local")

Stage = Annotated[str, typer.Option(help="That is deployed to it.")]
Port = Annotated[int | None, typer.Option(min=1, max=65535, help="Of the AWS emulator; 4566 if left out.")]


@local.command("up")
def start_cloud(
    *,
    stage: Annotated[str, typer.Option(callback=check_stage, help="To deploy.")] = DEFAULT_STAGE,
    port: Port = None,
    context: Annotated[
        list[str] | None, typer.Option("--context", "-c", help="NAME=VALUE, as for cdk deploy; for this once.")
    ] = None,
) -> None:
    """Start PostgreSQL and an AWS emulator, and deploy the stack to it. What runs already stays as it is.

    All choices are checked before anything starts.
    """
    from infra import schema
    from infra.local import cloud

    pairs = [assignment.partition("=") for assignment in context or ()]
    if wrong := ["".join(pair) for pair in pairs if not all(pair[:2])]:
        raise BadInputError(f"--context: {wrong[0]!r} is not NAME=VALUE")
    choices = {name: value for name, _, value in pairs}
    if chosen := choices.keys() & NOT_CHOSEN:
        raise BadInputError(f"--context: {min(chosen)!r} is not chosen here: --stage is, the target is local")
    print_note("checking the choices")
    zone = cloud.check(port=port, stage=stage, context=choices)
    cloud.up(
        stage=stage,
        port=port,
        context=choices,
        prepare_database=partial(schema.upgrade, timezone=zone),
        report=print_note,
    )
    print_lines(*guide(Target(stage=stage, local=True).deployment()))


@local.command("down")
def stop_cloud() -> None:
    """Stop both. The database is kept."""
    from infra.local import cloud

    cloud.down(report=print_lines)


@local.command("status")
def show_cloud(*, as_json: Json = False) -> None:
    """What runs on this machine; exit with 1 unless both do."""
    from infra.local import cloud

    status = cloud.status()
    endpoint = status.emulator.endpoint if status.emulator else None
    if as_json:
        print_json({"postgres": status.has_postgres, "emulator": endpoint})
    else:
        print_lines(
            f"PostgreSQL: {'runs' if status.has_postgres else 'does not run'}",
            f"AWS emulator: {f'runs at {endpoint}' if endpoint else 'does not run'}",
        )
    if not (status.has_postgres and endpoint):
        raise typer.Exit(1)


@local.command("demo")
def run_local_demo(*, as_json: Json = False) -> None:
    """Replay three weeks of an arcade through the three jobs, and show the winners."""
    from infra.cli.demo import show_demo

    raise typer.Exit(show_demo(as_json=as_json))


@local.command("psql")
def open_psql(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="ARGS", help="Of psql, after two dashes: -- -c SQL.")
    ] = None,
    *,
    stage: Stage = DEFAULT_STAGE,
) -> None:
    """Open psql on the laptop cloud's database, as its owner."""
    from infra.local import psql

    psql.run(_database_url(stage), arguments or [])


@local.command("play")
def play_games(
    *,
    games: Annotated[int | None, typer.Option(min=1, help="How many; until Ctrl-C if left out.")] = None,
    interval: Annotated[float, typer.Option(min=0, max=3600, help="Seconds between two games.")] = 1.0,
    day: Annotated[
        str | None, typer.Option(metavar="DATE", help="The day they are of; today, now, if left out.")
    ] = None,
    stage: Stage = DEFAULT_STAGE,
) -> None:
    """Let the games of make demo arrive in the laptop cloud's database, while its schedules fire.

    Those of a day that is over are settled by the next run of prize-pool.
    """
    from infra.cli.play import show_play

    try:
        chosen = date.fromisoformat(day) if day is not None else None
    except ValueError:
        raise BadInputError(f"--day: {day!r} is not a date such as 2026-01-12") from None
    show_play(_database_url(stage), games=games, interval=interval, day=chosen)


@app.command("simulate")
def run_simulation(
    *,
    days: Annotated[int, typer.Option(help="How many; at most 366.")] = 30,
    begins: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="The first day; else 2026-01-05.")
    ] = None,
    zone: Annotated[str, typer.Option(help="Of the days, such as Europe/Rome.")] = "UTC",
    load: Annotated[float, typer.Option(help="1 is as many plays a day as in make demo, 286.")] = 1.0,
    seed: Annotated[int, typer.Option(help="The same one draws the same plays.")] = 1,
    as_json: Json = False,
) -> None:
    """Replay days that never were through the three jobs, and compare every pool with a count by Python alone.

    The plays are drawn at random from those of make demo, for other dates, zones and loads.
    """
    from infra.cli.demo import show_replay
    from infra.demo.simulation import FIRST_DAY, simulate

    try:
        first = date.fromisoformat(begins) if begins is not None else FIRST_DAY
    except ValueError:
        raise BadInputError(f"--from: {begins!r} is not a date such as {FIRST_DAY}") from None
    try:
        local_zone = load_zone(zone)
    except ValueError as error:
        raise BadInputError(f"--zone: {error}") from None
    scenario = simulate(begins=first, days=days, zone=local_zone, load=load, seed=seed)
    raise typer.Exit(show_replay(scenario, SIMULATION_STAGE, as_json=as_json, folder=FOLDER))


def _database_url(stage: str) -> "URL":
    """The database that the deployed functions have."""
    from shared.database_url import parse_database_url

    deployment = Target(stage=stage, local=True).deployment()
    found = deployment.client("lambda").get_function_configuration(FunctionName=deployment.function(JOB_NAMES[0]))
    return parse_database_url(found["Environment"]["Variables"]["DATABASE_URL"])


def guide(deployment: "Deployment") -> Sequence[str]:
    """How to invoke, watch and stop it: lines to be typed as they are."""
    from infra.local import emulator

    variables = {**emulator.CREDENTIALS, "AWS_DEFAULT_REGION": emulator.REGION, "AWS_MAX_ATTEMPTS": "1"}
    prefix = " ".join(["env -u AWS_PROFILE", *(f"{name}={value}" for name, value in variables.items())])
    invoke = (
        f"{prefix} aws --endpoint-url {deployment.endpoint} --cli-read-timeout 960 lambda invoke"
        f" --function-name {deployment.function('prize-pool')} --cli-binary-format raw-in-base64-out"
        " --payload file://events/prize_pool.json /dev/stdout"
    )
    command = Path(sys.executable).with_name("arcade-jobs")
    return (
        f"{stack_name(deployment.stage)} runs at {deployment.endpoint}; its schedules fire.",
        f"  invoke  {invoke}",
        f"     or   {command} trigger prize-pool --local",
        f"  watch   {command} history --local",
        f"  stop    {command} local down",
    )
