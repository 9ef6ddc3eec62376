"""How pools must be settled, counted by Python alone: no SQL, and no period arithmetic of the jobs'."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from infra.demo.plays import Play, Settlement
from shared.domain.periods import Period, PeriodType

SHARE = Decimal("0.7")  # of a payment, into the pool of the day and into that of the week
Key = tuple[str, PeriodType, date]
Score = tuple[int, datetime, str]  # negative, so that the best is the least; when; whose


def count_settlements(plays: Sequence[Play], zone: ZoneInfo) -> list[Settlement]:
    """The pools that these plays fill, and whom each belongs to.

    Args:
        plays: in any order; no two with equal scores end at the same instant.
        zone: at whose midnights days begin.
    """
    if not plays:
        return []
    instants = [at for play in plays for at in (play.created_at, play.completed_at) if at]
    first = min(instants).date() - timedelta(days=1)
    days = [first + timedelta(days=n) for n in range((max(instants).date() - first).days + 3)]
    # A midnight that comes twice counts at its first; one that clocks skip, at the jump: both are what fold=0 means.
    midnights = [datetime.combine(day, time(), tzinfo=zone).astimezone(UTC) for day in days]

    def periods(at: datetime) -> list[tuple[PeriodType, date]]:
        day = days[bisect_right(midnights, at) - 1]
        return [(PeriodType.DAILY, day), (PeriodType.WEEKLY, day - timedelta(days=day.weekday()))]

    payments: dict[Key, list[Decimal]] = defaultdict(list)
    scores: dict[Key, list[Score]] = defaultdict(list)
    for play in plays:
        for period in periods(play.created_at):
            payments[play.game_type, *period].append(play.amount_paid_usdc)
        if play.completed_at and play.score is not None:
            for period in periods(play.completed_at):
                scores[play.game_type, *period].append((-play.score, play.completed_at, play.player_address))
    return [_settlement(key, payments=paid, scores=scores[key]) for key, paid in payments.items()]


def _settlement(key: Key, *, payments: list[Decimal], scores: list[Score]) -> Settlement:
    """The highest score wins; of equal ones the earliest."""
    game_type, period_type, day = key
    best = min(scores, default=None)
    return Settlement(
        game_type=game_type,
        period=Period(type=period_type, date=day),
        total_amount_usdc=sum(payments, Decimal(0)) * SHARE,
        total_games=len(payments),
        winner_address=best[2] if best else None,
        winner_score=-best[0] if best else None,
        entries=len({player for _, _, player in scores}),
    )
