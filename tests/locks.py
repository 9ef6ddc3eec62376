"""Which connection waits for a lock, by PostgreSQL's own account: tests poll it instead of sleeping."""

import time

from sqlalchemy import Connection, Engine, text

TIMEOUT = 60  # seconds: a busy machine is no failure


def pid_of(connection: Connection) -> int:
    return int(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())


def await_lock(engine: Engine, pid: int | None = None) -> None:
    """Poll until a connection waits for a lock; without a pid, until one of the jobs' connections does."""
    condition = "pid = :pid" if pid else "application_name = 'arcade-jobs' AND datname = current_database()"
    query = text(f"SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND {condition}")
    deadline = time.monotonic() + TIMEOUT
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while not connection.scalar(query, {"pid": pid} if pid else {}):
            assert time.monotonic() < deadline, f"{pid or 'no job'} waits for a lock"


def await_no_jobs(engine: Engine) -> None:
    """Poll until none of the jobs' connections is left."""
    query = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = 'arcade-jobs' AND datname = current_database() AND pid <> pg_backend_pid()"
    )
    deadline = time.monotonic() + TIMEOUT
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while connection.scalar(query):
            assert time.monotonic() < deadline, "a job is still connected"
