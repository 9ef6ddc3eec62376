"""A row of the benchmarks' table."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measure and its verdict.

    Attributes:
        measure: what was measured.
        against: what it is compared with, in the same run.
        target: what it should be.
        figures: what was measured, with units and spread.
        is_met: None where there is no target.
        shortfall: if it may not be met: the reason that profiling found, and what would change it.
    """

    measure: str
    against: str
    target: str
    figures: str
    is_met: bool | None = None
    shortfall: str = ""

    @property
    def verdict(self) -> str:
        return {True: "met", False: "not met", None: ""}[self.is_met]


def spread(values: Sequence[float], *, unit: str = "ms", scale: float = 1000) -> str:
    """The median, and the least and the most, of seconds."""
    ordered = sorted(value * scale for value in values)
    middle = ordered[len(ordered) // 2]
    return f"{middle:,.4g} {unit} ({ordered[0]:,.4g} to {ordered[-1]:,.4g})"


def at_most(most: float, samples: Sequence[float], *, name: str, against: str, unit: str) -> Row:
    """The row of samples whose median must not exceed a target."""
    return Row(
        measure=name,
        against=against,
        target=f"at most {most:g} {unit}",
        figures=spread(samples, unit=unit, scale=1),
        is_met=median(samples) <= most,
    )
