"""Databases of a size, on a server that keeps what it committed (fsync and synchronous_commit on).

Rows are written in bulk without triggers and without indexes, which are built afterwards; then the database is vacuumed
and analyzed, as autovacuum leaves it.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from uuid import uuid4

from sqlalchemy import Engine

from infra import schema
from infra.local import postgres
from shared.app import App, build_app
from shared.domain.run import Outcome
from tests.fakes import FakeClock, make_run
from tests.jobs import HANDLERS
from tests.sql import open_database, rows, run

ROOT = Path(__file__).parent.parent.parent
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "2GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "maintenance_work_mem": "1GB",
    "max_parallel_maintenance_workers": "2",
}
FILL = 1_000_000  # rows in one statement

_PLAYS = """
    WITH session AS (
        INSERT INTO game_sessions
            (id, game_type, player_address, amount_paid_usdc, score, status, created_at, completed_at)
        SELECT gen_random_uuid(), '{game}', '0x' || n, 0.01, hashint8(n) & 16777215, 'completed',
            date '{day}' + interval '1 second' * (n % 80000), date '{day}' + interval '1 second' * (n % 80000 + 60)
        FROM generate_series({first}, {last}) AS n
        RETURNING id, game_type, player_address, score, completed_at
    )
    INSERT INTO leaderboard_entries
        (session_id, game_type, player_address, score, period_type, period_date, created_at)
    SELECT id, game_type, player_address, score, '{period}', '{date}', completed_at FROM session
"""
# In the order in which they began, as a table that grows has them.
_SESSIONS = """
    INSERT INTO game_sessions (id, game_type, player_address, amount_paid_usdc, score, status, created_at, completed_at)
    SELECT gen_random_uuid(), 'pong', '0x' || n, 0.01, CASE '{status}' WHEN 'completed' THEN n END, '{status}', began,
        CASE '{status}' WHEN 'completed' THEN began + interval '1 minute' END
    FROM generate_series({first}, {last}) AS n,
        LATERAL (SELECT date '2026-01-01' + interval '1 day' * n / {count} AS began) AS time
"""
_DEFINITIONS = """
    SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname),
        format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
    FROM pg_constraint
    WHERE conrelid IN ('game_sessions'::regclass, 'leaderboard_entries'::regclass) AND contype IN ('p', 'u')
    UNION ALL
    SELECT format('DROP INDEX %s', indexrelid::regclass), pg_get_indexdef(indexrelid) FROM pg_index
    WHERE indrelid IN ('game_sessions'::regclass, 'leaderboard_entries'::regclass)
      AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
"""


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board to fill: one entry for each player, each backed by a session of its day."""

    game: str
    day: str
    entries: int
    period: str = "daily"

    @property
    def period_date(self) -> str:
        return "1970-01-01" if self.period == "alltime" else self.day


@contextmanager
def serve() -> Iterator[postgres.Server]:
    """A server of the benchmarks' own."""
    with postgres.serve(ROOT / ".local" / "postgres-benchmarks", environment={}, settings=SETTINGS) as server:
        yield server


@contextmanager
def database(server: postgres.Server, *, template: str | None = None, upgraded: bool = True) -> Iterator[Engine]:
    """A database with the schema and nothing in it, or without the schema, or a copy of another."""
    name = f"bench_{uuid4().hex[:12]}"
    engine = open_database(server.create_database(name, template=template))
    if template is None and upgraded:
        schema.upgrade(engine)
    yield engine
    engine.dispose()
    server.drop_database(name)


def fill(engine: Engine, *, boards: Sequence[Board] = (), completed: int = 0, active: int = 0) -> None:
    """Write boards with their sessions, and further sessions of 2026-01-01 without entries; on two connections."""
    statements = []
    for board in boards:
        key = {"game": board.game, "day": board.day, "period": board.period, "date": board.period_date}
        statements += [_PLAYS.format(**key, first=first, last=last) for first, last in _parts(board.entries)]
    for status, count in (("completed", completed), ("active", active)):
        statements += [_SESSIONS.format(status=status, count=count, first=a, last=b) for a, b in _parts(count)]
    with without_indexes(engine), ThreadPoolExecutor(2) as threads:
        list(threads.map(partial(_write, engine), statements))
    run(
        engine,
        "INSERT INTO leaderboards (game_type, period_type, period_date, is_pending)"
        " SELECT DISTINCT game_type, period_type, period_date, false FROM leaderboard_entries ON CONFLICT DO NOTHING",
    )
    settle_down(engine)


def _parts(count: int) -> list[tuple[int, int]]:
    return [(first, min(first + FILL - 1, count)) for first in range(1, count + 1, FILL)]


def _write(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
        connection.exec_driver_sql(statement)


@contextmanager
def without_indexes(engine: Engine) -> Iterator[None]:
    """Sessions and entries have no index in this context; they are built when it ends."""
    definitions = rows(engine, _DEFINITIONS)
    run(engine, *(drop for drop, _ in definitions))
    yield
    run(engine, *(create for _, create in definitions))


def settle_down(engine: Engine) -> None:
    """As autovacuum and a checkpoint leave a database in which nothing has happened for a while."""
    run(engine, "VACUUM (ANALYZE)", "CHECKPOINT")


@contextmanager
def opened(engine: Engine, **env: str) -> Iterator[App]:
    """An app on a database, as a warm container has it. Its runs are not recorded: only the work is measured."""
    url = engine.url.render_as_string(hide_password=False)
    variables = {"DATABASE_URL": url, "RUNS_TABLE_NAME": "none", "AWS_DEFAULT_REGION": "us-east-1", **env}
    clock = FakeClock()
    app = build_app(variables, dynamodb=object(), clock=clock, sleep=clock.sleep)  # type: ignore[arg-type]
    yield app
    app.engine.dispose()


def work(app: App, job: str, at: str) -> Outcome:
    """The work of one scheduled run, which must succeed."""
    outcome = HANDLERS[job].use_case(app)(make_run(at, job=job, seconds_left=800))
    if outcome.status != "succeeded":
        raise RuntimeError(f"{job} at {at} is {outcome.status}: {outcome.result}")
    return outcome


def timed(action: Callable[[], object]) -> float:
    """Seconds of wall clock."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def days_from(first: str, count: int) -> list[str]:
    """So many dates from the first."""
    start = date.fromisoformat(first)
    return [date.fromordinal(start.toordinal() + n).isoformat() for n in range(count)]
