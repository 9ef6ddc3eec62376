"""The laptop cloud: PostgreSQL, the AWS emulator, and the stack deployed to it.

Nothing supervises. PostgreSQL runs for as long as a process holds its lease, and the emulator inherits one: it is what
stays when `up` returns. After a crash, another `up` starts with what is left.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import Engine

from infra.local import FOLDER, emulator, postgres
from infra.local.cdk import ROOT, Cdk, check_context
from infra.local.emulator import Emulator
from infra.stage import DEFAULT_STAGE
from shared.db.connection import open_engine
from shared.domain.errors import NotReachableError

DATABASE = "arcade"
ANY_URL = f"postgresql://postgres@localhost/{DATABASE}"  # the server that has it does not run yet
Report = Callable[[str], None]


def emulator_python() -> Path:
    """The interpreter of the emulator's environment, created by `make setup`; the functions run under it."""
    return ROOT / ".emulator" / "venv" / "bin" / "python"


@dataclass(frozen=True, kw_only=True)
class Status:
    """What runs.

    Attributes:
        emulator: the running one, or None.
        has_postgres: whether our own server accepts connections.
    """

    emulator: Emulator | None
    has_postgres: bool


def check(*, folder: Path = FOLDER, port: int | None, stage: str, context: Mapping[str, str]) -> ZoneInfo:
    """Refuse what `up` would stumble over, before it starts anything; return the zone that was chosen.

    Args:
        folder: everything that is stored.
        port: of the emulator, as for `up`.
        stage: of the stack.
        context: more CDK context.

    Raises:
        BadInputError: one line for each choice that is wrong.
        NotReachableError: something is not installed.
    """
    emulator_folder = folder / "emulator"
    emulator.check(emulator_folder, python=emulator_python(), port=_port(emulator_folder, port))
    return check_context({"databaseUrl": ANY_URL, "assetPython": str(emulator_python()), **context, "stage": stage})


def up(
    *,
    folder: Path = FOLDER,
    port: int | None = None,
    stage: str = DEFAULT_STAGE,
    settings: Mapping[str, str] | None = None,
    context: Mapping[str, str] | None = None,
    environment: Mapping[str, str] = os.environ,
    prepare_database: Callable[[Engine], None],
    report: Report,
) -> None:
    """Start what does not run, prepare the database, deploy the stack.

    1. PostgreSQL: our own, or the server that `DATABASE_URL` names.
    2. The emulator, which inherits PostgreSQL's lease.
    3. The database and its schema.
    4. `cdk bootstrap`, unless it was done; `cdk deploy`, every time: it changes only what has changed.

    Args:
        folder: everything that is stored.
        port: of the emulator; None for that of the running one, or the usual.
        stage: of the stack.
        settings: more variables for the emulator.
        context: more CDK context.
        environment: where `DATABASE_URL` is looked up.
        prepare_database: creates the schema, or completes it.
        report: takes a line as each step begins.

    Raises:
        ArcadeJobsError: one line with what to do.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data, emulator_folder = folder / "postgres", folder / "emulator"
    report("starting PostgreSQL")
    with postgres.serve(data, environment=environment) as server, postgres.lease(data) as lease:
        report("starting the AWS emulator")
        running = emulator.start(
            emulator_folder,
            python=emulator_python(),
            port=_port(emulator_folder, port),
            settings=settings,
            inherit=[lease.fileno()],
        )
        report("upgrading the database")
        url = server.ensure_database(DATABASE).render_as_string(hide_password=False)
        engine = open_engine(url, connections=2)
        try:
            prepare_database(engine)
        finally:
            engine.dispose()
        cdk = Cdk(
            endpoint=running.endpoint,
            folder=folder / "cdk",
            stage=stage,
            context={
                "databaseUrl": url,
                "assetPython": str(emulator_python()),
                **(context or {}),
            },
        )
        report("cdk bootstrap")
        cdk.bootstrap()
        report(f"cdk deploy {cdk.stack}")
        cdk.deploy()


def _port(emulator_folder: Path, chosen: int | None) -> int:
    """The chosen one, or that of the running emulator, or the usual."""
    if chosen is not None:
        return chosen
    found = emulator.running(emulator_folder)
    return found.port if found else emulator.PORT


def endpoint(*, folder: Path = FOLDER) -> str:
    """The URL of the running emulator.

    Raises:
        ArcadeJobsError: it does not run.
    """
    running = emulator.running(folder / "emulator")
    if running is None:
        raise NotReachableError("the laptop cloud does not run; start it: arcade-jobs local up")
    return running.endpoint


def down(*, folder: Path = FOLDER, report: Report) -> None:
    """Stop the emulator, and PostgreSQL unless another process uses it."""
    try:
        stopped = emulator.stop(folder / "emulator")
        report(f"stopped the AWS emulator (process {stopped.pid})" if stopped else "the AWS emulator did not run")
    finally:
        if postgres.stop_unused(folder / "postgres"):
            report("stopped PostgreSQL")
        elif postgres.is_running(folder / "postgres"):
            report("PostgreSQL still runs: another process uses it")
        else:
            report("PostgreSQL did not run")


def status(*, folder: Path = FOLDER) -> Status:
    """What runs."""
    return Status(emulator=emulator.running(folder / "emulator"), has_postgres=postgres.is_running(folder / "postgres"))
