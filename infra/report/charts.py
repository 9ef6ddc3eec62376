"""The charts: Vega-Lite, drawn into SVG when the page is made. The page itself runs no code.

Colors are the page's own (`var(--...)`), so that a chart is light or dark as the page is. An SVG cannot lay itself out
again, so each chart is drawn for a wide page and for a phone, and the style shows one of them.
"""

import json
from collections.abc import Sequence
from datetime import date, timedelta
from itertools import groupby
from statistics import median
from typing import Any, NamedTuple

from infra.deployed.pools import BoardSize, SettledDay
from infra.report.elements import Html, join, tag
from infra.report.facts import JobFacts
from shared.domain.errors import ArcadeJobsError

GAMES = 6  # with a color of their own; what is left is drawn as one
OTHERS = "other games"
WIDE, NARROW = 500, 320  # pixels
THIRD = 330  # pixels: three beside each other on a wide page, one on a phone
ONE_SECOND = timedelta(seconds=1)

_AXIS = {
    "labelColor": "var(--soft)",
    "domainColor": "var(--line)",
    "tickColor": "var(--line)",
    "gridColor": "var(--line)",
    "labelFontSize": 11,
    "title": None,
}
_CONFIG: dict[str, Any] = {
    "background": None,
    "font": "system-ui, sans-serif",
    "aria": False,  # the figure is named as a whole, and its numbers are in a table
    "view": {"stroke": None},
    "axis": _AXIS,
    "legend": {"orient": "top", "title": None, "labelColor": "var(--ink)", "labelFontSize": 12, "symbolType": "square"},
}
_DAYS = {
    "field": "day",
    "type": "temporal",
    "scale": {"type": "utc"},
    "axis": {"format": "%-d %b", "grid": False, "tickCount": 5, "labelOverlap": True},
}
# Seconds as a person says them.
_DURATION = (
    "datum.value >= 60 ? datum.value / 60 + ' min' : datum.value >= 1 ? datum.value + ' s' :"
    " round(datum.value * 1000) + ' ms'"
)


class Duration(NamedTuple):
    """How long the runs of a job took that started on a day of UTC; seconds."""

    day: str
    runs: int
    median: float
    longest: float


def durations(job: JobFacts) -> list[Duration]:
    """Day by day, of the runs that ended."""
    ended = [(f"{run.started_at:%Y-%m-%d}", run.duration_ms / 1000) for run in job.runs if run.duration_ms is not None]
    found = []
    for day, of_day in groupby(sorted(ended), key=lambda each: each[0]):
        seconds = [duration for _, duration in of_day]
        found.append(Duration(day, len(seconds), median(seconds), max(seconds)))
    return found


def draw_durations(job: JobFacts, found: Sequence[Duration], *, label: str) -> Html:
    """The median and the longest run of each day, on a scale of powers, with the timeout."""
    timeout = job.timeout / ONE_SECOND
    rows = [{"day": each.day, "what": what, "s": max(getattr(each, what), 0.001)} for each in found
            for what in ("longest", "median")]  # fmt: skip
    lowest = min((row["s"] for row in rows), default=0.1)
    ticks = [value for value in (0.001, 0.01, 0.1, 1, 10, 60, timeout) if value >= lowest / 10]
    scale = {"type": "log", "domain": [min(lowest, ticks[0]), timeout * 1.3], "nice": False}
    y = {"field": "s", "type": "quantitative", "scale": scale, "axis": {"values": ticks, "labelExpr": _DURATION}}
    limit = [{"s": timeout, "text": "timeout"}]
    line = {"type": "line", "strokeWidth": 2, "point": {"size": 14, "filled": True}}
    color = {
        "field": "what",
        "type": "nominal",
        "scale": {"domain": ["longest", "median"], "range": ["var(--longest)", "var(--median)"]},
    }
    layers = [
        {"data": {"values": rows}, "mark": line, "encoding": {"x": _DAYS, "y": y, "color": color}},
        {
            "data": {"values": limit},
            "mark": {"type": "rule", "strokeDash": [5, 4], "color": "var(--failed)", "strokeWidth": 1.5},
            "encoding": {"y": y},
        },
        {
            "data": {"values": limit},
            "mark": {"type": "text", "align": "left", "x": 4, "dy": 10, "color": "var(--failed)", "fontSize": 11},
            "encoding": {"y": y, "text": {"field": "text"}},
        },
    ]
    return _figure({"layer": layers, "height": 150}, label=label, widths=(THIRD,))


def draw_money(days: Sequence[SettledDay], games: Sequence[str], *, label: str) -> Html:
    """The amounts of the settled pools of each day, one game on the other."""
    # A bar is as long as a float says; the numbers below it are exact.
    rows = [{"day": str(day.day), "game": _drawn(day.game_type, games), "usdc": float(day.amount_usdc)} for day in days]
    y = {"aggregate": "sum", "field": "usdc", "type": "quantitative", "axis": {"tickCount": 5, "format": "~g"}}
    spec = {
        "data": {"values": rows},
        "mark": {"type": "bar", "width": {"band": 0.8}},
        "encoding": {"x": _DAYS | {"timeUnit": "utcyearmonthdate"}, "y": y, "color": _colors(rows, games)},
        "height": 200,
    }
    return _figure(spec, label=label, widths=(WIDE, NARROW))


def draw_boards(sizes: Sequence[BoardSize], games: Sequence[str], *, label: str) -> Html:
    """The entries of each daily board, a line for each game."""
    rows = [
        {"day": str(size.board.period_date), "game": size.board.game_type, "entries": size.entries}
        for size in sizes
        if size.board.game_type in games
    ]
    spec = {
        "data": {"values": rows},
        "mark": {"type": "line", "strokeWidth": 2, "point": {"size": 12, "filled": True}},
        "encoding": {
            "x": _DAYS,
            "y": {"field": "entries", "type": "quantitative", "axis": {"tickCount": 5, "format": ",d"}},
            "color": _colors(rows, games),
        },
        "height": 200,
    }
    return _figure(spec, label=label, widths=(WIDE, NARROW))


def largest_games(days: Sequence[SettledDay], sizes: Sequence[BoardSize]) -> list[str]:
    """The games that get a color of their own: those with the largest amounts, then boards; in the order of names."""
    weights: dict[str, tuple[float, int]] = {}
    for day in days:
        amount, entries = weights.get(day.game_type, (0.0, 0))
        weights[day.game_type] = (amount + float(day.amount_usdc), entries)
    for size in sizes:
        amount, entries = weights.get(size.board.game_type, (0.0, 0))
        weights[size.board.game_type] = (amount, entries + size.entries)
    return sorted(sorted(weights, key=lambda game: weights[game], reverse=True)[:GAMES])


def _drawn(game: str, games: Sequence[str]) -> str:
    return game if game in games else OTHERS


def _colors(rows: Sequence[dict[str, Any]], games: Sequence[str]) -> dict[str, Any]:
    names = [*games, *([OTHERS] if any(row["game"] == OTHERS for row in rows) else [])]
    return {
        "field": "game",
        "type": "nominal",
        "scale": {"domain": names, "range": [f"var(--game{number})" for number in range(len(names))]},
        "legend": {
            "columns": {"expr": f"width > {(WIDE + NARROW) // 2} ? 3 : 2"},
            "columnPadding": 14,
            "labelLimit": 130,
        },
    }


def _figure(spec: dict[str, Any], *, label: str, widths: Sequence[int]) -> Html:
    classes = ("wide", "narrow") if len(widths) > 1 else ("",)
    return join(
        *(
            tag("div", _draw(spec | {"width": width}, label=label), class_=f"chart {which}".rstrip())
            for width, which in zip(widths, classes, strict=True)
        )
    )


def _draw(spec: dict[str, Any], *, label: str) -> Html:
    try:
        import vl_convert  # noqa: PLC0415 - 33 MB to download: this alone needs it
    except ImportError:
        raise ArcadeJobsError("the charts need vl-convert-python, which is not installed: make setup") from None
    whole = {"$schema": "https://vega.github.io/schema/vega-lite/v6.json", "config": _CONFIG, "padding": 2,
             "autosize": {"type": "fit-x", "contains": "padding"}, **spec}  # fmt: skip
    svg = vl_convert.vegalite_to_svg(json.dumps(whole))
    opening = tag("svg", role="img", aria_label=label).removesuffix("></svg>")
    return Html(svg.replace("<svg", opening, 1))


def name_day(day: date) -> str:
    """As the charts name a day."""
    return f"{day:%-d %b}"
