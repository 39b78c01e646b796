"""The two kinds of figures of the HTML report, drawn with plotly: lanes and curves.

A *lane* is a row's name with its figure written out, and its bar, box or dots beneath, as wide as the figure is: that
leaves room for long names on a telephone. *Curves* stand on logarithmic axes. Colours are given for a light page;
:data:`DARK` has the colour that stands for each on a dark one. Text from documents is escaped, since plotly takes
some of HTML for markup.
"""

from __future__ import annotations

import importlib
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10
from typing import Any

from flow_bench.harness.rows import number

INK, SOFT, GRID, OTHERS, CARD = "#1c2126", "#5b6570", "#dfe4e9", "#a3afbb", "#ffffff"
PALETTE = ("#0072b2", "#d55e00", "#008f6b", "#a8508a", "#b07d00", "#3a94c9", "#6b7580", "#8c2d5a")
OURS, TARGET = PALETTE[0], PALETTE[1]
DARK = {
    INK: "#e6e9ed", SOFT: "#a0abb7", GRID: "#2d353f", OTHERS: "#65717e", CARD: "#181d23",
    **dict(zip(
        PALETTE, ("#4da6e0", "#f0833a", "#2cc59b", "#dd8fbd", "#e6b422", "#8fd0f5", "#a5afb9", "#d9658f"), strict=True
    )),
}  # fmt: skip
LEAST = 0.6
"""Decades of a logarithmic axis: noise between equal figures is not to look like a difference."""
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross", "star", "hexagon")
LANE, LINE, BAR = 44, 15, 13
"""Pixels of a lane, of another line of its name, of its bar."""
WIDE, WRAP = 46, 40
"""Letters of a lane's name and figure on one line, on a telephone; letters per line of what is said of a point."""


@dataclass(frozen=True)
class Lane:
    """One named row of a figure.

    :ivar value: what the bar shows; ``low`` and ``high`` are its quartiles.
    :ivar text: the figure, written out at the right.
    :ivar box: 5th percentile, quartiles, 95th and 99th percentile instead of a bar.
    :ivar dots: values by number of their series, instead of a bar; a single one may have ``low`` and ``high``.
    """

    name: str
    value: float = 0.0
    low: float | None = None
    high: float | None = None
    text: str = ""
    ours: bool = True
    target: float | None = None
    box: tuple[float, ...] = ()
    dots: tuple[tuple[int, float], ...] = ()

    @property
    def values(self) -> list[float]:
        """All that the axis must have room for."""
        quartiles = [v for v in (self.low, self.high, self.target) if v is not None]
        return [*self.box] or [*(v for _, v in self.dots or [(0, self.value)]), *quartiles]


@dataclass(frozen=True)
class Curve:
    """One line: ``points`` are x, y and what is said of the point; ``style`` chooses colour and symbol."""

    name: str
    style: int
    points: Sequence[tuple[float, float, str]]
    dashed: bool = False
    ours: bool = False


def figure() -> Any:
    """An empty plotly figure.

    :raises ModuleNotFoundError: without plotly, saying how to get it.
    """
    try:
        graph = importlib.import_module("plotly.graph_objects")
    except ModuleNotFoundError as error:
        error.add_note("the HTML report is drawn with plotly: pip install '.[bench]'")
        raise
    return graph.Figure(layout={
        "template": graph.layout.Template(), "dragmode": False, "hovermode": "closest", "showlegend": False,
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)", "bargap": 0,
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": SOFT},
        "hoverlabel": {"bgcolor": "#26303a", "bordercolor": "#26303a", "font": {"color": "#fdfdfd"}},
    })  # fmt: skip


# -- lanes -----------------------------------------------------------------------------------


def lanes(rows: Sequence[Lane], unit: str, among: Sequence[float] = ()) -> Any:
    """Draw one lane under the other; the axis has room for values ``among`` which they stand, of other panels."""
    wide = max(18, WIDE - max(len(row.text) for row in rows))
    names = [_wrapped(row.name, wide) for row in rows]
    places, height = [], 0.0  # of the bars' middles, in pixels from the top
    for name in names:
        height += LANE + LINE * name.count("<br>")
        places.append(-height)
    made = figure()
    draw = _boxes if rows[0].box else _dots if rows[0].dots else _bars
    draw(made, rows, places, unit)
    written = []
    for place, name, row in zip(places, names, rows, strict=True):
        common = {
            "y": place + 9, "xref": "paper", "yanchor": "bottom", "showarrow": False, "bgcolor": CARD,
            "borderpad": 0, "font": {"color": INK},
        }  # fmt: skip
        value = f"<b>{escape(row.text, quote=False)}</b>"
        written.append(common | {"x": 0, "xanchor": "left", "align": "left", "text": name})
        written.append(common | {"x": 1, "xanchor": "right", "text": value})
    made.update_yaxes(visible=False, fixedrange=True, range=[-height - 13, -13])
    made.update_xaxes(**axis(among or [value for row in rows for value in row.values], unit, bars=not rows[0].box))
    made.update_layout(annotations=written, height=height + 40, margin={"l": 6, "r": 10, "t": 2, "b": 38})
    return made


def _bars(made: Any, rows: Sequence[Lane], places: Sequence[float], unit: str) -> None:
    made.add_bar(
        orientation="h", y=places, x=[row.value for row in rows], width=BAR,
        marker={"color": [OURS if row.ours else OTHERS for row in rows], "line": {"width": 0}},
        error_x={
            "symmetric": False, "thickness": 1, "width": 3, "color": INK,
            "array": [max(0.0, (row.high or row.value) - row.value) for row in rows],
            "arrayminus": [max(0.0, row.value - (row.low or row.value)) for row in rows],
        },
        hovertext=[_hover(row.name, row.text) for row in rows], hoverinfo="text",
    )  # fmt: skip
    limits = [(row.target, place) for row, place in zip(rows, places, strict=True) if row.target is not None]
    if limits:
        made.add_scatter(
            x=[x for x, _ in limits], y=[y for _, y in limits], mode="markers", hoverinfo="text",
            hovertext=[_hover("target", f"at most {number(x)} {unit}") for x, _ in limits],
            marker={"symbol": "line-ns", "size": 9, "line": {"width": 3, "color": TARGET}},
        )  # fmt: skip


def _boxes(made: Any, rows: Sequence[Lane], places: Sequence[float], unit: str) -> None:
    for ours, colour in ((True, OURS), (False, SOFT)):
        found = [(row, place) for row, place in zip(rows, places, strict=True) if row.ours == ours]
        if not found:
            continue
        five, first, middle, third, most, last = zip(*(row.box for row, _ in found), strict=True)
        made.add_box(
            orientation="h", y=[place for _, place in found], lowerfence=five, q1=first, median=middle, q3=third,
            upperfence=most, width=BAR, line={"color": colour, "width": 1.5}, hoverinfo="skip",
        )  # fmt: skip
        made.add_scatter(
            x=last, y=[place for _, place in found], mode="markers", hoverinfo="text",
            marker={"symbol": "diamond", "size": 8, "color": TARGET},
            hovertext=[_hover(row.name, f"P99 {number(row.box[-1])} {unit}") for row, _ in found],
        )  # fmt: skip


def _dots(made: Any, rows: Sequence[Lane], places: Sequence[float], unit: str) -> None:
    for style in sorted({style for row in rows for style, _ in row.dots}):
        found = [(v, p, r) for r, p in zip(rows, places, strict=True) for s, v in r.dots if s == style]
        made.add_scatter(
            x=[v for v, _, _ in found], y=[p for _, p, _ in found], mode="markers", hoverinfo="text",
            hovertext=[_hover(row.name, f"{number(v)} {unit}") for v, _, row in found],
            marker={"size": 11, "opacity": 0.85, **marker(style)},
            error_x={
                "symmetric": False, "thickness": 1.5, "width": 4,
                "array": [(row.high or v) - v for v, _, row in found],
                "arrayminus": [v - (row.low or v) for v, _, row in found],
            },
        )  # fmt: skip


# -- curves ----------------------------------------------------------------------------------


def curves(
    found: Sequence[Curve], x_title: str, y_title: str, x_ticks: tuple[list[float], list[str]], among: Sequence[float]
) -> Any:
    """Draw all curves into one figure with logarithmic axes (a linear one where a value is not above 0).

    :param x_ticks: values marked on the x axis, and what stands there.
    :param among: the values that the y axis must have room for, those of other panels too.
    """
    made = figure()
    for curve in found:
        x, y, said = zip(*curve.points, strict=True)
        made.add_scatter(
            x=x, y=y, mode="lines" if curve.dashed or len(x) > 40 else "lines+markers", name=curve.name,
            line={
                "color": marker(curve.style)["color"], "width": 3 if curve.ours else 1.6,
                "dash": "dot" if curve.dashed else "dash" if curve.style >= len(PALETTE) else "solid",
            },
            marker={"size": 8, **marker(curve.style)}, hoverinfo="text",
            hovertext=[_hover(curve.name, text) for text in said],
        )  # fmt: skip
    values, places = x_ticks
    low, high = log10(min(values)), log10(max(values))
    room = 0.06 * (high - low) or 0.5
    made.update_xaxes(
        type="log", range=[low - room, high + room], tickvals=values, ticktext=places, title={"text": x_title},
        fixedrange=True, gridcolor=GRID, zeroline=False, ticks="", automargin=True,
    )  # fmt: skip
    made.update_yaxes(**axis(among, y_title, log=True), automargin=True)
    made.update_layout(height=310, margin={"l": 8, "r": 8, "t": 6, "b": 8})
    return made


def marker(style: int) -> dict[str, Any]:
    """Colour and symbol of the so-manieth series: together unlike those of the first 64."""
    return {
        "color": PALETTE[style % len(PALETTE)],
        "symbol": SYMBOLS[(style + style // len(PALETTE)) % len(SYMBOLS)],
    }


# -- axes ------------------------------------------------------------------------------------


def axis(values: Sequence[float], title: str, *, log: bool = False, bars: bool = False) -> dict[str, Any]:
    """An axis with room for all values: logarithmic if asked for, or if the values differ by more than 30 times."""
    low, high = min(values), max(values)
    common = {
        "title": {"text": title, "standoff": 6}, "fixedrange": True, "gridcolor": GRID, "ticks": "",
        "zeroline": low <= 0, "zerolinecolor": SOFT,
    }  # fmt: skip
    if low <= 0 or (not log and high < 30 * low):
        low = min(0.0, low)
        return common | {"range": [low * 1.05, high * 1.05 or 1.0], "nticks": 6}
    begin, end = log10(low), log10(high)
    room = max(0.06 * (end - begin), 0.06, (LEAST - end + begin) / 2)
    begin, end = begin - (room + 0.2 if bars else room), end + room
    ticks = log_ticks(begin, end)
    return common | {"type": "log", "range": [begin, end], "tickvals": ticks, "ticktext": [short(t) for t in ticks]}


def log_ticks(begin: float, end: float) -> list[float]:
    """Three to seven round values between two exponents of ten; of many decades, whole ones alone."""
    decades = range(floor(begin), ceil(end) + 1)
    if end - begin <= 2.2:
        digits = (1, 1.5, 2, 3, 5, 7) if end - begin <= 0.9 else (1, 2, 5)
        found = [digit * 10.0**decade for decade in decades for digit in digits]
    else:
        found = [10.0**decade for decade in decades if (decade - decades[0]) % ceil((end - begin) / 6) == 0]
    return [tick for tick in found if begin <= log10(tick) <= end]


def short(value: float) -> str:
    """``0.05``, ``20``, ``10k``, ``2M``: for the ends of axes."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / (1e3 if letter == 'k' else size):g}{letter}"
    return f"{value:,.6g}" if value >= 1 else f"{value:.6f}".rstrip("0")


def _wrapped(name: str, wide: int) -> str:
    """Escaped, on three lines at most."""
    return "<br>".join(escape(line, quote=False) for line in textwrap.wrap(name, wide, max_lines=3, placeholder="…"))


def _hover(name: str, text: str) -> str:
    return "<br>".join(escape(line, quote=False) for line in [*textwrap.wrap(name, WRAP), *textwrap.wrap(text, WRAP)])
