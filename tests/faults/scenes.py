"""What each job finds when a fault hits it, restored in milliseconds before each of a thousand runs."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from sqlalchemy import Engine, text

from shared.services import cleanup as cleaning
from shared.services import leaderboard as ranking
from tests.arcade import Arcade

# So few rows in a transaction that a handful of them takes several.
SMALL_BATCHES = (
    (ranking, "CHUNK_ROWS", 3),
    (cleaning, "SESSION_BATCH", 2),
    (cleaning, "ORPHAN_BATCH", 3),
    (cleaning, "SWEEP_BATCH", 8),
    (cleaning, "SWEEP_BATCHES", 100),
)
TABLES = (
    "game_sessions",
    "leaderboard_entries",
    "prize_pools",
    "leaderboards",
    "leaderboard_touches",
    "arcade_jobs_deleted_sessions",
    "arcade_jobs_orphans",
    "arcade_jobs_sweep",
)

# Each settlement that commits leaves a line: none may be missing, none may come twice.
KEEP = """
CREATE SCHEMA kept;
CREATE TABLE kept.settlements (pool_id bigint);
CREATE FUNCTION kept.note_settlement() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO kept.settlements VALUES (NEW.id); RETURN NULL; END $$;
CREATE TRIGGER note_settlement AFTER UPDATE ON prize_pools FOR EACH ROW
    WHEN (OLD.status = 'active' AND NEW.status <> 'active') EXECUTE FUNCTION kept.note_settlement();
""" + "".join(f"CREATE TABLE kept.{table} AS TABLE public.{table};" for table in TABLES)
# With rights that no job has: it bypasses the triggers.
RESTORE = "SET LOCAL session_replication_role = replica; DELETE FROM kept.settlements;" + "".join(
    f"DELETE FROM public.{table}; INSERT INTO public.{table} TABLE kept.{table};" for table in TABLES
)
# Everything but what names an attempt or its time.
STATE = text("""
    SELECT jsonb_build_object(
        'sessions', (SELECT jsonb_agg(to_jsonb(s) ORDER BY id) FROM game_sessions s),
        'entries', (SELECT jsonb_agg(to_jsonb(e) ORDER BY id) FROM leaderboard_entries e),
        'pools', (SELECT jsonb_agg(to_jsonb(p) - 'finalized_at' ORDER BY id) FROM prize_pools p),
        'settlements', (SELECT jsonb_agg(pool_id ORDER BY pool_id) FROM kept.settlements),
        'boards', (SELECT jsonb_agg(to_jsonb(b) - 'generation' - 'ranked_at'
                                    ORDER BY game_type, period_type, period_date) FROM leaderboards b),
        'touches', (SELECT count(*) FROM leaderboard_touches),
        'notices', (SELECT count(*) FROM arcade_jobs_deleted_sessions),
        'orphans', (SELECT jsonb_agg(entry_id ORDER BY entry_id) FROM arcade_jobs_orphans))
""")
# The transaction that wrote each row: it changes with every write, even one that changes nothing.
FOOTPRINT = text(
    " UNION ALL ".join(f"SELECT '{table}', ctid::text, xmin::text FROM {table}" for table in TABLES) + " ORDER BY 1, 2"
)


# Transactions of processes that are dead or frozen: the server ends them, the latter after their timeout.
OPEN_TRANSACTIONS = text("""
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'
""")
TIMEOUT = 5  # seconds: as long as a job waits for a lock


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A job, its event, and what the arcade holds when it fires.

    Attributes:
        run_id: of the run that the event requests.
        at: the scheduled time.
        fill: puts the plays there.
    """

    job: str
    run_id: str
    at: str
    fill: Callable[[Arcade], None]


def keep(engine: Engine) -> None:
    """Remember what the database holds."""
    with engine.begin() as connection:
        connection.exec_driver_sql(KEEP)


def restore(engine: Engine) -> None:
    """Restore what was kept."""
    with engine.begin() as connection:
        connection.exec_driver_sql(RESTORE)


def read_state(engine: Engine) -> dict[str, Any]:
    """What the database holds, as JSON; see `STATE`."""
    with engine.connect() as connection:
        return connection.execute(STATE).scalar_one()


def read_footprint(engine: Engine) -> list[Any]:
    """Which transaction wrote each row."""
    with engine.connect() as connection:
        return list(connection.execute(FOOTPRINT))


def await_quiet(engine: Engine) -> None:
    """Wait until the server has ended what was begun and will not be finished."""
    until = time.monotonic() + TIMEOUT
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while connection.execute(OPEN_TRANSACTIONS).scalar_one():
            assert time.monotonic() < until, "a dead process still has a transaction open"
            time.sleep(0.005)


def _fill_pools(arcade: Arcade) -> None:
    """Four pools that are due, one of them of a week, and one that is not."""
    arcade.add_pool("2026-01-11", game="pong", amount="0.000003")
    arcade.add_pool("2026-01-11", game="snake", amount="1.5")
    arcade.add_pool("2026-01-11", game="tetris", amount="0.7")
    arcade.add_pool("2026-01-05", game="pong", period="weekly", amount="4.9")
    arcade.add_pool("2026-01-12", game="pong")
    arcade.play("0xa", 5, "2026-01-11T10:00:00Z", periods=("daily", "weekly"))
    arcade.play("0xb", 7, "2026-01-11T11:00:00Z", periods=("daily",))
    arcade.play("0xc", 3, "2026-01-11T12:00:00Z", game="snake")
    arcade.add_orphan(99, "2026-01-11T12:00:00Z", player="0xforger", game="snake")
    arcade.add_orphan(99, "2026-01-11T12:00:00Z", player="0xforger", game="tetris")


def _fill_boards(arcade: Arcade) -> None:
    """Two boards, of two and of three chunks, and an older one that was not touched."""
    for number in range(7):
        periods = ("daily", "alltime") if number < 4 else ("alltime",)
        arcade.play(f"0x{number}", 10 + number % 3, f"2026-01-11T10:0{number}:00Z", periods=periods)
    arcade.execute(
        "UPDATE leaderboard_entries SET rank = 8 - id % 7 WHERE period_type = 'alltime'",
        "INSERT INTO leaderboards VALUES ('pong', 'weekly', '2026-01-05', 3, false, now())",
    )


def _fill_leftovers(arcade: Arcade) -> None:
    """Five abandoned sessions; five orphans, two of them without a notice; and what has to stay."""
    for number in range(5):
        arcade.add_session(f"2026-01-12T01:0{number}:00Z", player=f"0x{number}", amount="0.000001")
        reached_at, player = f"2026-01-12T01:2{number}:00Z", f"0xorphan{number}"
        if number < 2:
            arcade.add_unchecked_entry(uuid4(), 9, reached_at, player=player)
        else:
            arcade.add_orphan(9, reached_at, player=player)
    arcade.add_session("2026-01-12T02:45:00Z")
    arcade.play("0xkept", 5, "2026-01-12T01:00:00Z")
    arcade.add_orphan(9, "2026-01-12T02:45:00Z", player="0xyoung")


SCENES = {
    "prize-pool": Scene(
        job="prize-pool",
        run_id="prize-pool:2026-01-12T00:00Z",
        at="2026-01-12T00:00:00Z",
        fill=_fill_pools,
    ),
    "leaderboard": Scene(
        job="leaderboard",
        run_id="leaderboard:2026-01-12T01:00Z",
        at="2026-01-12T01:00:00Z",
        fill=_fill_boards,
    ),
    "cleanup": Scene(
        job="cleanup",
        run_id="cleanup:2026-01-12T03:00Z",
        at="2026-01-12T03:00:00Z",
        fill=_fill_leftovers,
    ),
}
