"""An upgrade from the first revision, of a database with rows in it, while players play."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from sqlalchemy import Engine

from infra import schema
from infra.local import postgres
from infra.schema import guarded, session
from infra.schema.revisions import NOTHING, first, steps_after
from tests.benchmarks.database import Board, database, fill, median, timed
from tests.benchmarks.rows import Row
from tests.sql import rows

WRITERS = 4
UNDISTURBED = 5.0  # seconds, for comparison
LONGEST = 1.0  # seconds a writer may wait
PLAY = """
    INSERT INTO game_sessions (id, game_type, player_address, amount_paid_usdc, score, status, completed_at)
    VALUES (%s, 'snake', %s, 0.01, %s, 'completed', now())
"""
ENTER = """
    INSERT INTO leaderboard_entries AS entry
        (session_id, game_type, player_address, score, period_type, period_date, created_at)
    SELECT id, game_type, player_address, score, %s, %s::date, completed_at FROM game_sessions WHERE id = %s
    ON CONFLICT (player_address, game_type, period_type, period_date) DO UPDATE
    SET session_id = excluded.session_id, score = excluded.score, created_at = excluded.created_at
    WHERE excluded.score > entry.score
"""
PERIODS = (("daily", "2026-01-11"), ("weekly", "2026-01-05"), ("alltime", "1970-01-01"))


def measure(server: postgres.Server, *, quick: bool) -> list[Row]:
    entries = 50_000 if quick else 1_000_000
    with database(server, upgraded=False) as engine, ThreadPoolExecutor(WRITERS) as threads:
        _create_first_revision(engine)
        fill(engine, boards=[Board(game="pong", day="2026-01-11", entries=entries)])
        ended = threading.Event()
        playing = [threads.submit(_play, engine, f"0x{n}", ended) for n in range(WRITERS)]
        try:
            time.sleep(UNDISTURBED)
            began = time.perf_counter()
            seconds = timed(lambda: schema.upgrade(engine))
        finally:
            ended.set()
        plays = {f"0x{n}": writer.result() for n, writer in enumerate(playing)}
        took = [(started + seconds_of_it, seconds_of_it) for of in plays.values() for started, seconds_of_it in of]
        before = [each for end, each in took if end < began]
        during = [each for end, each in took if began <= end and end - each <= began + seconds]
        best = rows(engine, "SELECT player_address, score FROM leaderboard_entries"
                            " WHERE game_type = 'snake' AND period_type = 'alltime'")  # fmt: skip
        [(kept,)] = rows(engine, "SELECT count(*) FROM game_sessions WHERE game_type = 'snake'")
    is_kept = kept == len(took) and {tuple(row) for row in best} == {(player, len(of)) for player, of in plays.items()}
    return [
        Row(
            measure=f"an upgrade from the first revision, {entries:,} entries and sessions, {WRITERS} writers at work",
            against=f"the writers before it: median {median(before) * 1000:.1f} ms, most {max(before) * 1000:.0f} ms",
            target=f"no writer waits longer than {LONGEST:g} s, nothing is lost",
            figures=f"{seconds:.1f} s; median {median(during) * 1000:.1f} ms, most {max(during) * 1000:.0f} ms;"
            f" {kept:,} of {len(took):,} plays are there, and each player's best",
            is_met=max(during) <= LONGEST and is_kept,
        )
    ]


def _create_first_revision(engine: Engine) -> None:
    with session.begin(engine, report=lambda _: None, sleep=time.sleep) as opened:
        opened.run_block(guarded.begin_body("public", NOTHING), expected=None)
        for step in steps_after(NOTHING, "public"):
            if step.revision == first():
                guarded.run_step(opened, step)


def _play(engine: Engine, player: str, ended: threading.Event) -> list[tuple[float, float]]:
    """Play until the end, better each time; returns when each transaction began, and its seconds."""
    plays = []
    score = 0
    while not ended.is_set():
        score += 1
        session_id, started = uuid4(), time.perf_counter()
        with engine.begin() as connection:
            connection.exec_driver_sql(PLAY, (session_id, player, score))
            for period, date in PERIODS:
                connection.exec_driver_sql(ENTER, (period, date, session_id))
        plays.append((started, time.perf_counter() - started))
    return plays
