"""What is stored costs nothing: settling pools, and cleaning when there is nothing to clean."""

from functools import partial

from sqlalchemy import Engine

from infra.local import postgres
from shared.app import App
from tests.benchmarks.clean import NIGHT
from tests.benchmarks.database import Board, database, days_from, fill, median, opened, timed, work
from tests.benchmarks.rows import Row, spread
from tests.benchmarks.settle import GAMES, open_pools

ROUNDS = 5


def measure(server: postgres.Server, *, quick: bool) -> list[Row]:
    """Cleaning in three arcades, the largest of which has boards of three sizes to settle."""
    sizes = (1_000, 3_000, 30_000) if quick else (1_000, 100_000, 1_000_000)  # entries of a board
    cleaned: dict[int, list[float]] = {}
    settled: list[Row] = []
    for boards_of in ((sizes[1] // 10,), sizes[1:2], sizes):
        days = dict(zip(boards_of, days_from("2026-01-05", len(boards_of)), strict=True))
        stored = sum(boards_of) * len(GAMES)
        with database(server) as engine:
            fill(engine, boards=[Board(game=game, day=day, entries=n) for n, day in days.items() for game in GAMES])
            with opened(engine, GAME_TYPES=",".join(GAMES)) as app:
                work(app, "cleanup", NIGHT)
                cleaned[stored] = [timed(partial(work, app, "cleanup", NIGHT)) for _ in range(ROUNDS)]
                if boards_of == sizes:
                    settled.append(_settling(engine, app, days, stored))
    return [*settled, _cleaning(cleaned)]


def _settling(engine: Engine, app: App, days: dict[int, str], stored: int) -> Row:
    """Ten pools of boards of each size, in turns; the first turn warms the container."""
    seconds: dict[int, list[float]] = {size: [] for size in days}
    for _ in range(ROUNDS):
        for size, day in days.items():
            open_pools(engine, day)
            at = days_from(day, 2)[1]
            seconds[size].append(timed(partial(work, app, "prize-pool", f"{at}T00:00:00Z")))
    medians = [median(values[1:]) for values in seconds.values()]
    growth = max(medians) / medians[0]
    return Row(
        measure=f"settle 10 due pools, {stored:,} sessions stored",
        against=f"itself at {min(days):,} entries each",
        target="flat within 1.5x",
        figures=f"{growth:.2f}x: "
        + "; ".join(f"{size:,} entries {spread(values[1:])}" for size, values in seconds.items()),
        is_met=growth <= 1.5,
    )


def _cleaning(seconds: dict[int, list[float]]) -> Row:
    growth = max(median(values) for values in seconds.values()) / median(seconds[min(seconds)])
    return Row(
        measure="clean when there is nothing to clean",
        against=f"itself at {min(seconds):,} sessions and entries stored",
        target="flat within 1.5x",
        figures=f"{growth:.2f}x: " + "; ".join(f"{size:,} {spread(values)}" for size, values in seconds.items()),
        is_met=growth <= 1.5,
        shortfall="The rows that are read are the same (`test_s17_the_price_of_a_night.py`). The sweep probes 10,000"
        " sessions by random ids: the larger the index, the fewer of its pages are in the processor's cache and in the"
        " server's memory. A smaller sweep would be flatter, and take longer to come round.",
    )
