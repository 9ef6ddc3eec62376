"""What the triggers cost those who write: scores in bulk, and payments by eight writers."""

import multiprocessing
import time
from functools import partial
from typing import Any

from sqlalchemy import URL, Engine

from infra.local import postgres
from tests.benchmarks.database import Board, database, fill, median, settle_down, timed
from tests.benchmarks.rows import Row
from tests.sql import open_database, run

_DROP = """
    DO $$ DECLARE trigger record; BEGIN
      FOR trigger IN SELECT tgname, tgrelid::regclass AS home FROM pg_trigger WHERE tgname LIKE 'arcade_jobs%' LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', trigger.tgname, trigger.home);
      END LOOP;
    END $$
"""
_SCORES = (
    "INSERT INTO leaderboard_entries (session_id, game_type, player_address, score, period_type, period_date,"
    " created_at) SELECT id, game_type, player_address, score, 'daily', '2026-01-06', completed_at FROM game_sessions"
)
PAYERS = 8


def measure(server: postgres.Server, *, quick: bool) -> list[Row]:
    size, rounds, seconds = (20_000, 3, 2.0) if quick else (200_000, 4, 5.0)
    with database(server) as guarded, database(server) as bare:
        for engine in (guarded, bare):
            fill(engine, boards=[Board(game="game0", day="2026-01-05", entries=size)])
            run(engine, "INSERT INTO prize_pools (game_type, period_type, period_date)"
                " VALUES ('game0', 'daily', '2026-01-05'), ('game0', 'daily', '2026-01-06')")  # fmt: skip
        run(bare, _DROP)
        times: dict[str, list[float]] = {"guarded": [], "bare": []}
        payments: dict[str, list[float]] = {"guarded": [], "bare": []}
        for _ in range(rounds):
            for name, engine in (("guarded", guarded), ("bare", bare)):
                times[name].append(timed(partial(run, engine, _SCORES)))
                run(engine, "DELETE FROM leaderboard_entries WHERE period_date = '2026-01-06'",
                    "TRUNCATE leaderboard_touches")  # fmt: skip
                settle_down(engine)
        for _ in range(1 if quick else 3):
            for name, engine in (("guarded", guarded), ("bare", bare)):
                payments[name].append(_payments(engine, seconds) / seconds)
    cost = (median(times["guarded"]) - median(times["bare"])) / size * 1e6
    share = median(payments["guarded"]) / median(payments["bare"])
    return [
        Row(
            measure="check, seal and notice, for each score row",
            against="the same tables without triggers",
            target="at most 15 us",
            figures=f"{cost:.1f} us: {median(times['bare']) / size * 1e6:.1f} -> "
            f"{median(times['guarded']) / size * 1e6:.1f}",
            is_met=cost <= 15,
            shortfall="Half is the probe of the session with its lock, a third that of the pool, a fifth the touch."
            " Triggers for each statement take 3 us a row in bulk, and twice as long for the one row that a platform"
            " writes (docs/decisions.md).",
        ),
        Row(
            measure=f"payments a second by {PAYERS} writers",
            against="the same tables without triggers",
            target="no loss (within 5%)",
            figures=f"{share:.0%}: {median(payments['bare']):,.0f} -> {median(payments['guarded']):,.0f}",
            is_met=share >= 0.95,
        ),
    ]


def _payments(engine: Engine, seconds: float) -> int:
    context = multiprocessing.get_context("spawn")
    queue, start = context.Queue(), context.Event()
    url = engine.url
    payers = [context.Process(target=_pay, args=(url, seconds, start, queue)) for _ in range(PAYERS)]
    for payer in payers:
        payer.start()
    for _ in payers:
        queue.get()
    start.set()
    total = sum(queue.get() for _ in payers)
    for payer in payers:
        payer.join()
    return total


def _pay(url: URL, seconds: float, start: Any, queue: Any) -> None:
    """Each payment is a session and a part of it in the pool of the day."""
    connection = open_database(url).raw_connection()
    cursor = connection.cursor()
    queue.put(None)
    start.wait()
    until, count = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        cursor.execute(
            "INSERT INTO game_sessions (id, game_type, player_address, amount_paid_usdc)"
            " VALUES (gen_random_uuid(), 'game0', '0x1', 0.01)"
        )
        cursor.execute(
            "UPDATE prize_pools SET total_amount_usdc = total_amount_usdc + 0.007, total_games = total_games + 1"
            " WHERE game_type = 'game0' AND period_type = 'daily' AND period_date = '2026-01-06'"
        )
        connection.commit()
        count += 1
    queue.put(count)
    connection.close()
