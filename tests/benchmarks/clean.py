"""Cleaning: a night with a million sessions to delete."""

from contextlib import ExitStack
from functools import partial

from infra.local import postgres
from tests.benchmarks.database import Board, database, fill, median, opened, settle_down, timed, work
from tests.benchmarks.rows import Row, spread
from tests.benchmarks.score_writers import latency_of_writers
from tests.sql import rows, run

NIGHT = "2026-02-01T03:00:00Z"


def measure(server: postgres.Server, *, quick: bool) -> list[Row]:
    return [*_deletion(server, quick=quick), _writers(server, quick=quick)]


def _deletion(server: postgres.Server, *, quick: bool) -> list[Row]:
    expired, orphans = (100_000, 2_000) if quick else (1_000_000, 20_000)
    found = []
    with database(server) as template:
        boards = [Board(game=f"game{n}", day="2026-01-05", entries=expired // 10) for n in range(10)]
        fill(template, boards=boards, active=expired)
        # Sessions of one player in fifty are gone, on each board fewer than the brake's limit.
        run(
            template,
            "DELETE FROM game_sessions WHERE status = 'completed'"
            f" AND substr(player_address, 3)::int % {expired // orphans} = 0",
        )
        settle_down(template)
        template.dispose()
        name = template.url.database
        for held in (False, True):
            ours, floor = [], []
            for _ in range(1 if quick else 2):
                with ExitStack() as stack:
                    copy = stack.enter_context(database(server, template=name))
                    other = stack.enter_context(database(server, template=name))
                    if held:
                        for engine in (copy, other):
                            old = stack.enter_context(engine.connect())
                            old.execution_options(isolation_level="REPEATABLE READ").exec_driver_sql(
                                "SELECT count(*) FROM game_sessions"
                            )
                    with opened(copy) as app:
                        run(copy, "CHECKPOINT")
                        ours.append(timed(partial(work, app, "cleanup", NIGHT)))
                    run(other, "CHECKPOINT")
                    floor.append(
                        timed(
                            partial(
                                run,
                                other,
                                "DELETE FROM game_sessions WHERE status = 'active' AND created_at < '2026-02-01'",
                                "DELETE FROM leaderboard_entries AS entry WHERE NOT EXISTS"
                                " (SELECT FROM game_sessions AS session WHERE session.id = entry.session_id)",
                            )
                        )
                    )
                    for table in ("game_sessions", "leaderboard_entries"):
                        left = [rows(engine, f"SELECT count(*) FROM {table}") for engine in (copy, other)]
                        if left[0] != left[1]:
                            raise RuntimeError(f"{table}: {left[0]} rows are left, {left[1]} by one DELETE")
            ratio = median(ours) / median(floor)
            found.append(
                Row(
                    measure=f"delete {expired:,} expired of {2 * expired:,} sessions and {orphans:,} orphans"
                    + ", an old snapshot held open" * held,
                    against="one DELETE each",
                    target="at most 3x",
                    figures=f"{ratio:.1f}x: {spread(ours, unit='s', scale=1)}; {spread(floor, unit='s', scale=1)}",
                    is_met=ratio <= 3,
                )
            )
    return found


def _writers(server: postgres.Server, *, quick: bool) -> Row:
    entries, expired = (10_000, 100_000) if quick else (100_000, 1_000_000)
    with database(server) as engine, opened(engine) as app:
        fill(engine, boards=[Board(game="game0", day="2026-01-05", entries=entries, period="alltime")], active=expired)
        return latency_of_writers(
            engine,
            f"the deletion of {expired:,} expired sessions",
            entries=entries,
            rounds=1,
            seconds=2.0 if quick else 8.0,
            before=lambda: None,
            meanwhile=lambda: work(app, "cleanup", NIGHT),
        )
