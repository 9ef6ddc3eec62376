"""What every benchmark returns: one row for each figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure of a benchmark.

    Attributes:
        name: what was measured.
        against: what it is compared with, in the same run.
        target: what it has to reach, in words.
        figure: the median.
        unit: of the figure and the spread.
        spread: the least and the largest of the repetitions.
        met: whether the target is; None: there is none.
    """

    name: str
    against: str
    target: str
    figure: float
    unit: str
    spread: tuple[float, float]
    met: bool | None


def at_most(most: float, samples: Sequence[float], *, name: str, against: str, unit: str) -> Row:
    """The row of samples whose median must not exceed a target."""
    return Row(
        name=name,
        against=against,
        target=f"at most {most:g} {unit}",
        figure=median(samples),
        unit=unit,
        spread=(min(samples), max(samples)),
        met=median(samples) <= most,
    )
