"""The two kinds of plots of the HTML report, drawn as markup: lanes and curves.

A *lane* is a row's name with its figure written out, and its bar, box or dots beneath, as wide as the figure is: that
leaves room for long names on a telephone. *Curves* stand on two axes.

Places are percentages of the plot's width and height. The browser therefore fits a plot to any width without a script,
and text and marks keep their size. Colours are classes (``c0`` to ``c7``): the page's style says what they are on light
and on dark pages. ``data-say`` is what the page's script shows beside the pointer (after a lane's name and figure);
``s0``, ``s1`` ... are the series that a legend hides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

from flow_bench.harness.rows import number

COLOURS = 8
"""Classes ``c0`` to ``c7``."""
LEAST = 0.6
"""Decades of a logarithmic axis: noise between equal figures is not to look like a difference."""
MARKS = 8
"""Marks around 0, 0, which the page's template holds, as ``mark-0`` to ``mark-7``."""
LETTER = 2.2
"""Per cent of a plot's width on a telephone that a letter beside an axis takes."""


@dataclass(frozen=True)
class Axis:
    """Which value stands where.

    :ivar low: the value at 0 %; ``high`` is that at 100 %.
    :ivar ticks: values that are marked, and what is written there.
    """

    low: float
    high: float
    title: str
    ticks: Sequence[tuple[float, str]]
    log: bool = False

    def at(self, value: float) -> float:
        """Return the place of a value in per cent: at the nearer end, if the axis has no room for it."""
        if self.log:
            if value <= 0:
                return 0.0
            part = log10(value / self.low) / log10(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return 100 * min(1.0, max(0.0, part))


@dataclass(frozen=True)
class Lane:
    """One named row of a plot.

    :ivar value: what the bar shows; ``low`` and ``high`` are its quartiles, ``text`` the figure, written at the right.
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
    """One line: ``points`` are x, y and what is said of the point; a point of which nothing is said has no mark.

    :ivar style: number of the series: chooses colour and mark.
    :ivar ideal: whether it is what the curve of the same series is compared with: dotted.
    """

    name: str
    style: int
    points: Sequence[tuple[float, float, str]]
    ideal: bool = False
    ours: bool = False


# -- lanes -----------------------------------------------------------------------------------


def lanes(rows: Sequence[Lane], axis: Axis, mark: float | None = None) -> str:
    """Draw one lane under the other, with the axis at their foot. O(rows).

    :param mark: a value at which an upright line stands, behind all lanes.
    """
    drawn = "".join(_lane(row, axis) for row in rows)
    marked = f'<i class="mark" style="left:{_percent(axis.at(mark))}"></i>' if mark is not None else ""
    return f'<div class="lanes"><svg class="grid">{_upright_lines(axis)}</svg>{marked}{drawn}</div>{_foot(axis)}'


def _lane(row: Lane, axis: Axis) -> str:
    track = _box(row.box, axis) if row.box else _dots(row, axis) if row.dots else _bar(row, axis)
    kind = "lane" if row.ours else "lane other"
    return (
        f'<div class="{kind}" data-say="{escape(_said(row, axis.title))}"><span>{escape(row.name)}</span>'
        f"<b>{escape(row.text)}</b><svg>{track}</svg></div>"
    )


def _said(row: Lane, unit: str) -> str:
    """What is said of a lane besides its name and figure."""
    between = f"{number(row.low)} to {number(row.high)}" if row.low is not None and row.high is not None else ""
    target = f"target: at most {number(row.target)} {unit}" if row.target is not None else ""
    return "; ".join(filter(None, [between, target]))


def _bar(row: Lane, axis: Axis) -> str:
    left, right = sorted((0.0 if axis.log else axis.at(0.0), axis.at(row.value)))
    drawn = f'<rect x="{_percent(left)}" y="3" width="{_percent(right - left)}" height="10"/>' + _whisker(row, axis)
    return drawn + ("" if row.target is None else _line("target", axis.at(row.target), axis.at(row.target), 0, 16))


def _box(box: Sequence[float], axis: Axis) -> str:
    five, first, middle, third, most, last = map(axis.at, box)
    half = f'<rect class="box" x="{_percent(first)}" y="3" width="{_percent(third - first)}" height="10"/>'
    return _line("thin", five, most, 8, 8) + half + _line("middle", middle, middle, 3, 13) + _use(2, last, "8", "last")


def _dots(row: Lane, axis: Axis) -> str:
    dots = "".join(_use(style, axis.at(value), "8", f"s{style} {colour(style)}") for style, value in row.dots)
    return _whisker(row, axis) + dots


def _whisker(row: Lane, axis: Axis) -> str:
    if row.low is None or row.high is None:
        return ""
    return _line("thin", axis.at(row.low), axis.at(row.high), 8, 8)


def _line(kind: str, left: float, right: float, top: int, foot: int) -> str:
    return f'<line class="{kind}" x1="{_percent(left)}" x2="{_percent(right)}" y1="{top}" y2="{foot}"/>'


def _use(style: int, x: float, y: str, kind: str, said: str = "") -> str:
    said = f' data-say="{escape(said)}"' if said else ""
    return f'<use href="#mark-{mark_of(style)}" x="{_percent(x)}" y="{y}" class="{kind}"{said}/>'


# -- curves ----------------------------------------------------------------------------------


def curves(found: Sequence[Curve], x: Axis, y: Axis) -> str:
    """Draw all curves onto two axes. O(points)."""
    at = [_percent(100 - y.at(value)) for value, _ in y.ticks]
    lines = _upright_lines(x) + "".join(f'<line x1="0" x2="100%" y1="{one}" y2="{one}"/>' for one in at)
    wide = max((len(text) for _, text in y.ticks), default=1)
    labels = "".join(f'<i style="bottom:{_percent(y.at(value))}">{text}</i>' for value, text in y.ticks)
    drawn = "".join(_curve(curve, x, y) for curve in found)
    return (
        f'<div class="curves" style="--y:{wide}ch"><div class="unit">{escape(y.title)}</div><div class="y">{labels}'
        f'</div><svg><g class="grid">{lines}</g>{drawn}</svg>{_foot(x)}</div>'
    )


def _curve(curve: Curve, x: Axis, y: Axis) -> str:
    points = [(x.at(a), 100 - y.at(b), said) for a, b, said in curve.points]
    line = " ".join(f"{_short(a)},{_short(b)}" for a, b, _ in points)
    kind = " ideal" if curve.ideal else " ours" if curve.ours else ""
    kind += " dashed" if curve.style >= COLOURS else ""
    marks = "".join(
        _use(curve.style, a, _percent(b), "point", f"{curve.name}: {said}") for a, b, said in points if said
    )
    return (
        f'<g class="s{curve.style} {colour(curve.style)}{kind}"><svg viewBox="0 0 100 100" preserveAspectRatio="none">'
        f'<polyline points="{line}"/></svg>{marks}</g>'
    )


def colour(style: int) -> str:
    """Return the class that colours a series; with its mark, unlike those of the first 64."""
    return f"c{style % COLOURS}"


def mark_of(style: int) -> int:
    """Return the number of a series' mark."""
    return (style + style // COLOURS) % MARKS


# -- axes ------------------------------------------------------------------------------------


def axis(values: Iterable[float], title: str, *, log: bool = False, bars: bool = False) -> Axis:
    """Return an axis with room for all values: logarithmic if asked for, or if they differ by more than 30 times.

    :param log: logarithmic, unless a value is not above 0.
    :param bars: what stands on it begins at the axis' foot, so that the least value needs more room there.
    """
    found = list(values)
    low, high = min(found), max(found)
    if low <= 0 or (not log and high < 30 * low):
        low, high = min(0.0, low) * 1.05, max(0.0, high) * 1.05 or 1.0
        return Axis(low, high, title, [(tick, short(tick)) for tick in round_ticks(low, high)])
    begin, end = log10(low), log10(high)
    room = max(0.06 * (end - begin), 0.06, (LEAST - end + begin) / 2)
    begin, end = begin - (room + 0.2 if bars else room), end + room
    ticks = [(tick, short(tick)) for tick in log_ticks(begin, end)]
    return Axis(10.0**begin, 10.0**end, title, ticks, log=True)


def places(ticks: Sequence[tuple[float, str]], title: str, reach: float = 0.0) -> Axis:
    """Return a logarithmic axis of the given places, all above 0, the least first.

    :param reach: the last value that it must have room for, if that is not the last place.
    """
    low, high = log10(ticks[0][0]), log10(max(ticks[-1][0], reach))
    room = 0.06 * (high - low) or 0.5
    return Axis(10.0 ** (low - room), 10.0 ** (high + room), title, ticks, log=True)


def log_ticks(begin: float, end: float) -> list[float]:
    """Three to seven round values between two exponents of ten; of many decades, whole ones alone."""
    decades = range(floor(begin), ceil(end) + 1)
    if end - begin <= 2.2:
        digits = (1, 1.5, 2, 3, 5, 7) if end - begin <= 0.9 else (1, 2, 5)
        found = [digit * 10.0**decade for decade in decades for digit in digits]
    else:
        found = [10.0**decade for decade in decades if (decade - decades[0]) % ceil((end - begin) / 6) == 0]
    return [tick for tick in found if begin <= log10(tick) <= end]


def round_ticks(low: float, high: float) -> list[float]:
    """Three to seven round values between two, 0 among them if it lies there."""
    step = 10.0 ** floor(log10((high - low) / 5))
    step *= next(digit for digit in (1, 2, 2.5, 5, 10) if (high - low) / (step * digit) <= 6)
    return [tick * step for tick in range(ceil(low / step), floor(high / step) + 1)]


def short(value: float) -> str:
    """``0.05``, ``20``, ``10k``, ``2M``: for the ends of axes."""
    sign, size = "-" if value < 0 else "", abs(value)
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= unit:
            return f"{sign}{size / (1e3 if letter == 'k' else unit):g}{letter}"
    return sign + (f"{size:,.6g}" if size >= 1 else f"{size:.6f}".rstrip("0").rstrip(".") or "0")


def _upright_lines(axis: Axis) -> str:
    at = [_percent(axis.at(value)) for value, _ in axis.ticks]
    return "".join(f'<line x1="{x}" x2="{x}" y1="0" y2="100%"/>' for x in at)


def _foot(axis: Axis) -> str:
    """What is written under an axis: of ticks whose texts would touch, the greater one's alone."""
    kept: list[str] = []
    free = 200.0
    for value, text in reversed(axis.ticks):
        place, half = axis.at(value), LETTER * (len(text) + 1) / 2
        if place + half <= free:
            kept.append(f'<i style="left:{_percent(place)}">{escape(text)}</i>')
            free = place - half
    return f'<div class="x">{"".join(reversed(kept))}</div><div class="unit">{escape(axis.title)}</div>'


def _percent(value: float) -> str:
    return f"{_short(value)}%"


def _short(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
