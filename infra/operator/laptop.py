"""`arcade-jobs local up|down|status`: the laptop cloud at the keyboard."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from infra.local import cloud
from infra.operator.deployment import DEFAULT_STAGE

local = typer.Typer(no_args_is_help=True, help="The jobs on this machine, without an AWS account.")
out = Console(soft_wrap=True, highlight=False, markup=False)
err = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)

Port = Annotated[int | None, typer.Option(min=0, max=65535, help="Of the AWS emulator; 0: any that is free.")]
Stage = Annotated[str, typer.Option(help="The stage to deploy.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@local.command("up")
def start_cloud(*, port: Port = None, stage: Stage = DEFAULT_STAGE, as_json: Json = False) -> None:
    """Start PostgreSQL and the AWS emulator, deploy the stack, and say how to use it. Both stay when this returns."""
    started = cloud.up(port=port, stage=stage, report=lambda line: err.print(f"{line} ..."))
    if as_json:
        deployed = started.deployment
        out.print_json(
            json.dumps(
                {
                    "endpoint": deployed.endpoint,
                    "database_url": started.database_url,
                    "stage": deployed.stage,
                    "outputs": dict(deployed.outputs),
                }
            )
        )
    else:
        out.print(*cloud.guide(started), sep="\n")


@local.command("down")
def stop_cloud() -> None:
    """Stop the emulator, its state saved, and PostgreSQL. What was deployed and recorded is there at the next start."""
    cloud.down(report=err.print)


@local.command("status")
def show_cloud(*, as_json: Json = False) -> None:
    """Say what runs."""
    status = cloud.status()
    if as_json:
        out.print_json(json.dumps(asdict(status)))
        return
    if status.emulator:
        out.print(f"the AWS emulator runs at {status.emulator.endpoint} (process {status.emulator.pid})")
    elif status.killed:
        out.print(f"the AWS emulator (process {status.killed.pid}) was killed; arcade-jobs local up starts it again")
    else:
        out.print("the AWS emulator does not run")
    out.print("PostgreSQL runs" if status.has_postgres else "PostgreSQL does not run")
