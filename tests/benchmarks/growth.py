"""How each job grows with what is stored, and what a hundred times as much would take by the slopes."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

from sqlalchemy import Engine

from infra.local import postgres
from shared.app import App
from tests.benchmarks.database import Board, database, fill, median, opened, settle_down, timed, work
from tests.benchmarks.rows import Row
from tests.benchmarks.settle import reopen
from tests.sql import run

INVOCATION = 15 * 60  # seconds that Lambda gives one at most
DAY = "2026-01-05"
TOUCH = "INSERT INTO leaderboard_touches SELECT game_type, period_type, period_date FROM leaderboard_entries LIMIT 1"
ROUNDS = 3
GROWS = ("rank a board, all ranks new", "rank a board, no rank changed", "delete expired sessions")
FLAT = ("settle the one due pool", "clean nothing")


def measure(server: postgres.Server, *, quick: bool) -> list[Row]:
    sizes = (1_000, 10_000, 100_000) if quick else (10_000, 100_000, 1_000_000)
    seconds: dict[str, list[float]] = {name: [] for name in (*FLAT, *GROWS)}
    for size in sizes:
        with database(server) as engine:
            fill(engine, boards=[Board(game="pong", day=DAY, entries=size)], active=size)
            run(
                engine,
                "INSERT INTO prize_pools (game_type, period_type, period_date, total_amount_usdc, total_games)"
                f" VALUES ('pong', 'daily', '{DAY}', 1, 100)",
            )
            with opened(engine) as app:
                for name, found in _at(engine, app):
                    seconds[name].append(found)
    return [*(_row(name, sizes, found) for name, found in seconds.items()), *_extrapolated(sizes, seconds)]


def _at(engine: Engine, app: App) -> Iterator[tuple[str, float]]:
    """Seconds of each, in an arcade of one size: the median of some rounds, but for what can be done once."""
    settle = partial(work, app, "prize-pool", "2026-01-06T00:00:00Z")
    rank = partial(work, app, "leaderboard", "2026-01-06T01:00:00Z")
    clean_nothing = partial(work, app, "cleanup", "2025-12-31T03:00:00Z")  # the sessions are of the next day
    clean = partial(work, app, "cleanup", "2026-02-01T03:00:00Z")
    settle()  # once, so that the container is warm
    yield "settle the one due pool", _median(settle, before=partial(reopen, engine))
    yield "clean nothing", _median(clean_nothing)
    run(engine, TOUCH)
    yield "rank a board, all ranks new", timed(rank)
    yield "rank a board, no rank changed", _median(rank, before=partial(run, engine, TOUCH))
    settle_down(engine)
    yield "delete expired sessions", timed(clean)


def _median(action: Callable[[], object], *, before: Callable[[], object] = lambda: None) -> float:
    found = []
    for _ in range(ROUNDS):
        before()
        found.append(timed(action))
    return median(found)


def _row(name: str, sizes: tuple[int, ...], seconds: list[float]) -> Row:
    figures = "; ".join(
        f"{size:,} {found:,.3g} s ({found / seconds[0]:,.1f}x)" for size, found in zip(sizes, seconds, strict=True)
    )
    return Row(
        measure=f"{name}, as it grows",
        against=f"itself at {sizes[0]:,} entries and as many unfinished sessions",
        target="",
        figures=figures,
    )


def _extrapolated(sizes: tuple[int, ...], seconds: dict[str, list[float]]) -> Iterator[Row]:
    """Not measured: the slope between the two largest sizes, multiplied.

    Both sort on the disk, as a larger one does; none is larger than the server's memory, as a larger one may be.
    """
    slopes = {name: (found[-1] - found[-2]) / (sizes[-1] - sizes[-2]) for name, found in seconds.items()}
    for measure, name, size in (
        ("a board of 100M, all ranks new", "rank a board, all ranks new", 100_000_000),
        ("a board of 100M, no rank changed", "rank a board, no rank changed", 100_000_000),
        ("fifteen boards of 10M, all ranks new", "rank a board, all ranks new", 150_000_000),
        ("fifteen boards of 10M, no rank changed", "rank a board, no rank changed", 150_000_000),
        ("an arcade of 1B sessions, a hundredth of them expired", "delete expired sessions", 10_000_000),
    ):
        total = slopes[name] * size
        yield Row(
            measure=f"extrapolated: {measure}",
            against=f"the slope of '{name}' from {sizes[-2]:,} to {sizes[-1]:,}",
            target="",
            figures=f"{slopes[name] * 1e6:,.3g} s for each 1M x {size / 1e6:,.0f} = {total:,.0f} s,"
            f" {total / INVOCATION:.1f} of an invocation's 15 minutes",
        )
    for name in FLAT:
        steps = [later - before for before, later in pairwise(seconds[name])]
        last, step = seconds[name][-1] * 1000, max(*steps, 0) * 1000
        yield Row(
            measure=f"extrapolated: {name} in an arcade of 1B entries and sessions",
            against=f"{sizes[-1]:,}: three tenfolds more, each the dearest that was measured",
            target="",
            figures=f"{last:,.3g} ms + 3 x {step:,.3g} ms = {last + 3 * step:,.3g} ms",
        )
