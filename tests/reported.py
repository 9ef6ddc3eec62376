"""A stage with all sorts of trouble, for tests of the report: five weeks of runs, and pools of hostile names."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from infra.deployed.pools import BoardSize, OpenPools, SettledDay, SettledPool
from infra.jobs import JOBS
from infra.report.facts import PoolFacts
from shared.domain.board import Board
from shared.domain.run import RunStatus
from shared.operations.slots import slots
from shared.runs.record import AttemptRecord, RunRecord, count_numbers, format_instant
from shared.runs.store import KEPT_FOR
from shared.runs.table import ANY_JOB, TIME_TO_LIVE

NOW = datetime(2026, 1, 26, 9, 30, tzinfo=UTC)
BEGINS = NOW - timedelta(days=35)
HOSTILE = "</title><script>alert('$body')</script>"
GAMES = ("breakout", "pong", "snake", "space_invaders", "tetris")
# By job, and the number of the slot: how its run ended. What is not here succeeded; None: there is none.
ENDS: dict[tuple[str, int], RunStatus | None] = {
    ("prize-pool", 6): RunStatus.FAILED,
    ("prize-pool", 20): RunStatus.PARTIAL,
    ("cleanup", 11): RunStatus.ABANDONED,
    ("cleanup", 25): RunStatus.INCOMPLETE,
    **{("leaderboard", number): RunStatus.FAILED for number in (300, 301, 302, 500)},
    **{("leaderboard", number): None for number in (620, 621)},
    **{("leaderboard", number): RunStatus.INCOMPLETE for number in (700, 701)},
}
RETRIED = ("prize-pool", 28)


def runs() -> Iterator[RunRecord]:
    """A run for nearly each slot, a dry run, and one of no slot."""
    for job in JOBS:
        for number, slot in enumerate(slots(job.cron, ZoneInfo("UTC"), begins=BEGINS)):
            if slot > NOW:
                break
            status = ENDS.get((job.name, number), RunStatus.SUCCEEDED)
            if status:
                yield run(
                    job.name, slot, status, seconds=2 + number * 37 % 19 / 4, is_retried=(job.name, number) == RETRIED
                )
    yield run("cleanup", NOW - timedelta(days=2), run_id="cleanup:5f0c", trigger="manual", seconds=700)
    yield run("cleanup", NOW - timedelta(days=1), run_id="cleanup:77aa", trigger="manual", dry_run=True)


def run(
    job: str,
    slot: datetime,
    status: RunStatus = RunStatus.SUCCEEDED,
    *,
    seconds: float = 1,
    is_retried: bool = False,
    run_id: str | None = None,
    trigger: str = "scheduled",
    dry_run: bool = False,
) -> RunRecord:
    """A run and its errors; one that was retried has an attempt that failed before."""
    starts = slot + timedelta(seconds=2)
    deadline = starts + timedelta(minutes=15)
    ended = None if status is RunStatus.ABANDONED else starts + timedelta(seconds=seconds)
    stored = RunStatus.RUNNING if status is RunStatus.ABANDONED else status
    errors = []
    if status in {RunStatus.FAILED, RunStatus.PARTIAL}:
        errors = [{"pool_id": 7, "game_type": "pong", "period_date": "2026-01-01", "error": f"no {HOSTILE} & more"}]
    result = {"errors": errors, "pools_finalized": 0}
    last = AttemptRecord(
        number=1 + is_retried, started_at=starts, deadline_at=deadline, finished_at=ended, status=stored,
        error=errors[0]["error"] if errors else None,  # type: ignore[arg-type]
    )  # fmt: skip
    failed = AttemptRecord(
        number=1, started_at=slot, deadline_at=deadline, finished_at=starts, status=RunStatus.FAILED,
        error="cannot connect to db.example port 5432: Connection refused",
    )  # fmt: skip
    return RunRecord(
        run_id=run_id or f"{job}:{slot:%Y-%m-%dT%H:%MZ}",
        job=job,
        trigger=trigger,
        scheduled_at=slot,
        status=stored,
        attempt=last.number,
        started_at=starts,
        finished_at=ended,
        counts=count_numbers(result),
        deadline_at=deadline,
        dry_run=dry_run,
        result=result if ended else None,
        attempts=(failed, last) if is_retried else (last,),
    )


def save(records: Iterator[RunRecord], path: Path, *, at: datetime = NOW) -> None:
    """Save runs as a demo leaves them."""
    items = {}
    for record in records:
        expires_at = int((record.started_at + KEPT_FOR).timestamp())
        more = {"running": ANY_JOB} if record.status is RunStatus.RUNNING else {}
        items[record.run_id] = {**record.to_attributes(), "history": ANY_JOB, TIME_TO_LIVE: expires_at, **more}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"at": format_instant(at), "items": items}))


def pools() -> PoolFacts:
    """Money of five games and one of a hostile name, two pools due, eleven unpaid."""
    days = [BEGINS.date() + timedelta(days=number) for number in range(35)]
    settled = [
        SettledDay(
            day=day,
            game_type=game,
            pools=1 + (day.weekday() == 6),
            amount_usdc=Decimal("0.7") + Decimal(place + number % 5) / 8 + (day.weekday() == 6) * 4,
            games=100 + number,
        )
        for number, day in enumerate(days)
        for place, game in enumerate(GAMES)
    ]
    winners = [pool(number, winner=f"0x{number:040x}") for number in range(9)]
    hostile = pool(9, winner=HOSTILE, game=HOSTILE, amount="123456789012.123456")
    sizes = [
        BoardSize(
            board=Board.from_key(game, "daily", day), entries=400 + number * (place + 2) * 9 + (number * 37) % 120
        )
        for number, day in enumerate(days)
        for place, game in enumerate(GAMES)
    ]
    alltime = [BoardSize(board=Board.from_key(game, "alltime", date(1970, 1, 1)), entries=48_213) for game in GAMES]
    return PoolFacts(
        open=OpenPools(
            due=2,
            unpaid=131,
            unpaid_usdc=Decimal("123456789123.973456"),
            oldest_unpaid_at=NOW - timedelta(days=3),
        ),
        days=[*settled, SettledDay(day=days[-1], game_type=HOSTILE, pools=1, amount_usdc=Decimal("0.000001"), games=1)],
        winners=[hostile, *winners],
        unpaid=[hostile, *winners, *winners],
        sizes=[*sizes, *alltime],
    )


def pool(number: int, *, winner: str, game: str = "space_invaders", amount: str = "0.98") -> SettledPool:
    """A settled pool."""
    return SettledPool(
        pool_id=number,
        board=Board.from_key(game, "weekly", date(2026, 1, 19)),
        winner_address=winner,
        winner_score=735 * 10**number,
        amount_usdc=Decimal(amount),
        games=642,
        status="finalized",
        finalized_at=NOW - timedelta(hours=9),
    )
