"""Settling: how many pools a second."""

from functools import partial

from sqlalchemy import Engine

from infra.local import postgres
from shared.db.ranking import ORDER_BY
from tests.benchmarks.database import Board, database, days_from, fill, median, opened, timed, work
from tests.benchmarks.rows import Row
from tests.sql import run

GAMES = [f"game{n}" for n in range(10)]
_REOPEN = (
    "SET session_replication_role = replica",
    (
        "UPDATE prize_pools SET status = 'active', winner_address = NULL, winner_score = NULL, finalized_at = NULL,"
        " settled_by = NULL, entries_passed_over = NULL"
    ),
    "RESET session_replication_role",
)
_OPEN = "INSERT INTO prize_pools (game_type, period_type, period_date, total_amount_usdc, total_games)"


def measure(server: postgres.Server, *, quick: bool) -> list[Row]:
    return [_rate(server, quick=quick)]


def open_pools(engine: Engine, day: str) -> None:
    """A pool of a day for each game, and no other, as autovacuum leaves the table."""
    reopen(engine)
    run(engine, "DELETE FROM prize_pools", *(f"{_OPEN} VALUES ('{game}', 'daily', '{day}', 1, 100)" for game in GAMES))
    settle_down_pools(engine)


def reopen(engine: Engine) -> None:
    """Make all pools active again."""
    run(engine, *_REOPEN)


def settle_down_pools(engine: Engine) -> None:
    run(engine, "VACUUM (ANALYZE) prize_pools")


def _rate(server: postgres.Server, *, quick: bool) -> Row:
    """Overdue pools of many days, one commit each, and the same three statements in a bare loop of the driver."""
    pools = 1_000 if quick else 10_000
    ours: list[float] = []
    bare: list[float] = []
    with database(server) as engine:
        days = days_from("2020-01-01", pools // len(GAMES))
        boards = [Board(game=game, day=day, entries=3) for day in days for game in GAMES]
        fill(engine, boards=boards)
        run(
            engine,
            f"{_OPEN} SELECT DISTINCT game_type, period_type, period_date, 1, 100 FROM leaderboard_entries",
            "VACUUM (ANALYZE) prize_pools",
        )
        with opened(engine, GAME_TYPES=",".join(GAMES)) as app:
            for _ in range(2 if quick else 3):
                ours.append(pools / timed(partial(work, app, "prize-pool", "2026-01-12T00:00:00Z")))
                reopen(engine)
                settle_down_pools(engine)
                bare.append(pools / timed(partial(_bare_loop, engine)))
                reopen(engine)
                settle_down_pools(engine)
    share = median(ours) / median(bare)
    return Row(
        measure=f"settle {pools:,} overdue pools, one commit each",
        against="a bare loop of three statements with the driver's cursor, which prepares none",
        target="500 a second, 60%",
        figures=f"{median(ours):,.0f} a second, {share:.0%} of {median(bare):,.0f}",
        is_met=median(ours) >= 500 and share >= 0.6,
    )


def _bare_loop(engine: Engine) -> None:
    """As a script would settle: the driver, three statements, a commit."""
    connection = engine.raw_connection()
    cursor = connection.cursor()
    cursor.execute(
        "SELECT id, game_type, period_type, period_date FROM prize_pools WHERE status = 'active' ORDER BY id"
    )
    due = cursor.fetchall()
    connection.commit()
    for pool_id, game, period, day in due:
        cursor.execute("SELECT id FROM prize_pools WHERE id = %s AND status = 'active' FOR UPDATE", (pool_id,))
        cursor.execute(
            "SELECT entry.player_address, entry.score FROM leaderboard_entries AS entry"
            " JOIN game_sessions AS session ON session.id = entry.session_id AND session.status = 'completed'"
            " WHERE entry.game_type = %s AND entry.period_type = %s AND entry.period_date = %s"
            f" ORDER BY {', '.join('entry.' + part for part in ORDER_BY.split(', '))} LIMIT 1",
            (game, period, day),
        )
        address, score = cursor.fetchone() or (None, None)
        cursor.execute(
            "UPDATE prize_pools SET status = 'finalized', winner_address = %s, winner_score = %s, finalized_at = now()"
            " WHERE id = %s AND status = 'active'",
            (address, score, pool_id),
        )
        connection.commit()
    connection.close()
