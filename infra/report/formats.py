"""Money, times and durations as the page writes them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from infra.report.elements import Html, tag

MINUTE = "%Y-%m-%d %H:%M"
CENTS, MILLIONTHS = 2, 6  # decimals of USDC: those that are always shown, and all that there are
MINUTES_FROM = 120  # seconds from which on a duration is in minutes


def moment(instant: datetime) -> Html:
    """An instant of UTC."""
    at = instant.astimezone(UTC)
    return tag("time", f"{at:{MINUTE}}", datetime=at.isoformat())


def usdc(amount: Decimal, *, decimals: int = CENTS) -> str:
    """An amount with all its digits, and with at least so many decimals."""
    whole, _, rest = f"{amount:,.{MILLIONTHS}f}".partition(".")
    return f"{whole}.{rest.rstrip('0').ljust(decimals, '0')}"


def usdc_column(amounts: Sequence[Decimal]) -> list[str]:
    """Amounts below each other: as many decimals as the longest needs."""
    decimals = max((len(usdc(amount).partition(".")[2]) for amount in amounts), default=CENTS)
    return [usdc(amount, decimals=decimals) for amount in amounts]


def milliseconds(duration: int | None) -> str:
    """A duration that may not be known."""
    return "none" if duration is None else seconds(duration / 1000)


def seconds(duration: float) -> str:
    """A duration in the unit in which a person says it."""
    if duration < 1:
        return f"{duration * 1000:,.0f} ms"
    return f"{duration:,.1f} s" if duration < MINUTES_FROM else f"{duration / 60:,.1f} min"


def age(span: timedelta) -> str:
    """In days, or in hours below two of them."""
    if span < timedelta(hours=1):
        return "less than an hour"
    return count(span.days, "day") if span >= timedelta(days=2) else count(span // timedelta(hours=1), "hour")


def count(number: int, what: str) -> str:
    """A number of things."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")
