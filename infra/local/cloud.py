"""The laptop cloud: PostgreSQL, the AWS emulator, and the stack deployed to it (DESIGN section 5, Local cloud).

Nothing supervises. PostgreSQL runs for as long as somebody holds its lease, and the emulator inherits one: it is what
stays when `up` returns. Whatever was killed, another `up` begins with what is left.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import create_engine

from infra import schema as migrations
from infra.deployed.deployment import (
    DEFAULT_STAGE,
    LOCAL_CREDENTIALS,
    LOCAL_REGION,
    Deployment,
    DeploymentError,
    find_deployment,
    stack_name,
)
from infra.local import emulator, postgres
from infra.local.cdk import ROOT, Cdk
from infra.local.emulator import Emulator

FOLDER = ROOT / ".local"
DATABASE = "arcade"
Report = Callable[[str], None]


def emulator_python() -> Path:
    """The interpreter of the emulator's environment, made by `make setup`; the functions run under it."""
    return ROOT / ".emulator" / "venv" / "bin" / "python"


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """The laptop cloud as `up` leaves it.

    Attributes:
        deployment: the deployed stack.
        database_url: of the functions' database.
    """

    deployment: Deployment
    database_url: str


@dataclass(frozen=True, kw_only=True)
class Status:
    """What runs.

    Attributes:
        emulator: the running one, or None.
        killed: the emulator that ran last and was killed, or None.
        has_postgres: whether our own server answers.
    """

    emulator: Emulator | None
    killed: Emulator | None
    has_postgres: bool


def up(
    *,
    folder: Path = FOLDER,
    port: int | None = None,
    stage: str = DEFAULT_STAGE,
    settings: Mapping[str, str] | None = None,
    context: Mapping[str, str] | None = None,
    environment: Mapping[str, str] = os.environ,
    report: Report,
) -> Cloud:
    """Start what does not run, migrate the database, deploy the stack.

    1. PostgreSQL: our own, or the server that `DATABASE_URL` names.
    2. The emulator, which inherits PostgreSQL's lease.
    3. The database and its schema.
    4. `cdk bootstrap`, once; `cdk deploy`, every time: it changes only what has changed.

    Args:
        folder: everything that is kept.
        port: of the emulator; None for that of the running one, or the usual.
        stage: of the stack.
        settings: more variables for the emulator.
        context: more CDK context.
        environment: where `DATABASE_URL` is looked up.
        report: is told each step as it begins.

    Raises:
        PostgresError, EmulatorError, SchemaError, CdkError, NodeError: one line that says what to do.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data, state = folder / "postgres", folder / "emulator"
    report("starting PostgreSQL")
    with postgres.serve(data, environment=environment) as server, postgres.lease(data) as lease:
        if killed := emulator.died(state):
            report(f"the emulator (process {killed.pid}) was killed; it starts again as it was at its start before")
        report("starting the AWS emulator")
        found = emulator.running(state)
        running = emulator.start(
            state,
            python=emulator_python(),
            port=port if port is not None else found.port if found else emulator.PORT,
            settings=settings,
            inherit=[lease.fileno()],
        )
        report("migrating the database")
        url = server.ensure_database(DATABASE)
        engine = create_engine(url)
        try:
            migrations.upgrade(engine)
        finally:
            engine.dispose()
        database_url = url.render_as_string(hide_password=False)
        cdk = Cdk(
            endpoint=running.endpoint,
            folder=folder / "cdk",
            stage=stage,
            context={"databaseUrl": database_url, "assetPython": str(emulator_python()), **(context or {})},
        )
        report("cdk bootstrap (once, some 15 s)")
        cdk.bootstrap()
        report(f"cdk deploy {cdk.stack}")
        cdk.deploy()
    return Cloud(deployment=connect(folder=folder, stage=stage), database_url=database_url)


def connect(*, folder: Path = FOLDER, stage: str = DEFAULT_STAGE) -> Deployment:
    """The stack that is deployed to the laptop cloud.

    Raises:
        DeploymentError: the emulator does not run, or the stack is not there.
    """
    running = emulator.running(folder / "emulator")
    if running is None:
        raise DeploymentError("the laptop cloud does not run; start it: arcade-jobs local up")
    return find_deployment(stage, endpoint=running.endpoint)


def down(*, folder: Path = FOLDER, report: Report) -> None:
    """Stop the emulator, its state saved, and PostgreSQL unless somebody else uses it.

    Raises:
        EmulatorError: the emulator had to be killed.
    """
    try:
        stopped = emulator.stop(folder / "emulator")
        report(f"stopped the AWS emulator (process {stopped.pid})" if stopped else "the AWS emulator did not run")
    finally:
        if postgres.stop_unused(folder / "postgres"):
            report("stopped PostgreSQL")
        elif postgres.is_running(folder / "postgres"):
            report("PostgreSQL goes on: somebody else uses it")
        else:
            report("PostgreSQL did not run")


def status(*, folder: Path = FOLDER) -> Status:
    """What runs, and what was killed."""
    return Status(
        emulator=emulator.running(folder / "emulator"),
        killed=emulator.died(folder / "emulator"),
        has_postgres=postgres.is_running(folder / "postgres"),
    )


def guide(cloud: Cloud) -> Sequence[str]:
    """How to invoke, watch and stop it: lines to be typed as they are."""
    deployed = cloud.deployment
    variables = {**LOCAL_CREDENTIALS, "AWS_DEFAULT_REGION": LOCAL_REGION, "AWS_MAX_ATTEMPTS": "1"}
    prefix = " ".join(["env -u AWS_PROFILE", *(f"{name}={value}" for name, value in variables.items())])
    invoke = (
        f"{prefix} aws --endpoint-url {deployed.endpoint} --cli-read-timeout 960 lambda invoke"
        f" --function-name {deployed.function('prize-pool')} --cli-binary-format raw-in-base64-out"
        " --payload file://events/prize_pool.json /dev/stdout"
    )
    command = Path(sys.executable).with_name("arcade-jobs")
    return (
        f"{stack_name(deployed.stage)} runs at {deployed.endpoint}; its schedules fire.",
        f"  invoke  {invoke}",
        f"     or   {command} trigger prize-pool --local",
        f"  watch   {command} history --local",
        f"  stop    {command} local down",
    )
