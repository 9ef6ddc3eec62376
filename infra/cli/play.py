"""`arcade-jobs local play`: what it shows while games arrive."""

import contextlib
import time
from collections import Counter
from datetime import UTC, date, datetime
from itertools import cycle, islice

from rich.progress import Progress, SpinnerColumn, TextColumn
from sqlalchemy import URL, Engine
from sqlalchemy.exc import DBAPIError

from infra.cli.terminal import err, print_lines
from infra.demo.live import arrive
from infra.demo.platform import Platform
from infra.demo.plays import load_plays
from shared.db.connection import open_engine
from shared.db.errors import describe
from shared.db.timezones import list_timezones
from shared.domain.errors import ArcadeJobsError, NotReachableError
from shared.domain.periods import Calendar, load_zone


def show_play(url: URL, *, games: int | None, interval: float, day: date | None) -> None:
    """Let games arrive until there are as many as wanted, or until Ctrl-C; print what arrived.

    Args:
        url: of the database.
        games: how many; None: until Ctrl-C.
        interval: seconds between two.
        day: whose they are; None: now.

    Raises:
        ArcadeJobsError: the database refused one, or cannot be reached.
    """
    engine = open_engine(url.render_as_string(hide_password=False))
    arrived: Counter[str] = Counter()
    try:
        platform = Platform(engine=engine, calendar=_calendar(engine))
        plays = islice(cycle(load_plays()), games)
        with contextlib.suppress(KeyboardInterrupt), _progress() as progress:
            task = progress.add_task("")
            for play in arrive(plays, platform=platform, day=day, clock=lambda: datetime.now(UTC)):
                arrived[play.game_type] += 1
                score = "abandoned" if play.completed_at is None else f"{play.score} points"
                last = f"{_games(arrived.total())}, the last one {play.game_type}, {score}; Ctrl-C ends it"
                progress.update(task, description=last)
                if arrived.total() != games:
                    time.sleep(interval)
    except DBAPIError as error:
        raise ArcadeJobsError(f"after {_games(arrived.total())}: {describe(error)}") from error
    finally:
        engine.dispose()
    by_game = ", ".join(f"{game} {number}" for game, number in sorted(arrived.items()))
    print_lines(f"{_games(arrived.total())} arrived" + (f" ({by_game})" if by_game else ""))


def _games(number: int) -> str:
    return "1 game" if number == 1 else f"{number} games"


def _calendar(engine: Engine) -> Calendar:
    try:
        with engine.connect() as connection:
            recorded = list_timezones(connection)
    except DBAPIError as error:
        raise NotReachableError(f"{describe(error)}; start it: arcade-jobs local up") from error
    return Calendar(zones={begins: load_zone(name) for begins, name in recorded.items()})


def _progress() -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    return Progress(*columns, console=err, transient=True, disable=not err.is_terminal)
