"""Draw bars of time as an SVG picture: lanes packed, colours by status, labels where there is room.

Rows are lanes: a node takes the first lane that is free when it starts, so there are as many rows as nodes were
running at once, and never more. What large runs leave out is said under the title.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from itertools import groupby
from math import ceil, floor, log10
from typing import Final

import msgspec

from flow.draw.style import FONT
from flow.draw.text import cut, safe
from flow.graph.render import COLOURS
from flow.reprs import cells, counted
from flow.types import Status

MAX_NAMED: Final = 2_000
"""Nodes up to which every bar is drawn by itself; beyond, bars of a lane that touch become one."""

MAX_LANES: Final = 400
"""Lanes that are drawn; the first ones are the busiest."""

_WIDTH, _MARGIN, _HEAD, _ROW = 600, 12, 84, 24  # small in width: a phone shows 600 units on 360 pixels
_LABELLED_LANES, _THIN_HEIGHT = 60, 900
LEAST_LABEL: Final = 6
"""Characters of a name that is cut; with less room it stands in the tooltip alone."""

_CHARACTER = 7.6  # width of a digit at font-size 12 in DejaVu Sans, the widest of the usual fonts


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One attempt of a node, in seconds since the run began."""

    start: float
    end: float
    status: Status


class Bar(msgspec.Struct, frozen=True):
    """One node's time on the chart, in seconds since the run began; or several nodes', drawn as one.

    :ivar attempts: where there were several, each; the time between two is waiting.
    """

    name: str
    start: float
    end: float
    status: Status = Status.COMPLETED
    detail: str = ""
    nodes: int = 1
    attempts: tuple[Attempt, ...] = ()


class Section(msgspec.Struct, frozen=True):
    """Rows below the nodes: the items of one map, or the rounds of one loop."""

    title: str
    bars: tuple[Bar, ...]


def pack(bars: Sequence[Bar]) -> list[int]:
    """Return a lane for each of ``bars`` (sorted by start, then end): the lowest that is free. O(n log n)."""
    lanes: list[int] = []
    busy: list[tuple[float, int]] = []
    free: list[int] = []
    count = 0
    for bar in bars:
        while busy and busy[0][0] <= bar.start:
            heappush(free, heappop(busy)[1])
        if free:
            lane = heappop(free)
        else:
            lane, count = count, count + 1
        lanes.append(lane)
        heappush(busy, (bar.end, lane))
    return lanes


def _rows(bars: Sequence[Bar]) -> tuple[list[list[Bar]], int]:
    """The bars by lane, as many as are drawn, and the number of all lanes."""
    lanes = pack(bars)
    count = max(lanes, default=-1) + 1
    rows: list[list[Bar]] = [[] for _ in range(min(count, MAX_LANES))]
    for bar, lane in zip(bars, lanes, strict=True):
        if lane < MAX_LANES:
            rows[lane].append(bar)
    return rows, count


def draw(
    title: str,
    bars: Sequence[Bar],
    wall_time: float,
    idle: dict[Status, int] | None = None,
    sections: Sequence[Section] = (),
    left_out: int = 0,
) -> str:
    """Return the SVG of ``bars``, which are sorted by start, and of ``sections`` below them.

    :param idle: numbers of nodes that never ran, by status. :param left_out: maps and loops that have no section.
    """
    rows, count = _rows(bars)
    drawn = [bar for section in sections for bar in section.bars]
    horizon = max(wall_time, max([bar.end for bar in (*bars, *drawn)], default=0.0)) or 1e-6
    scale = (_WIDTH - 2 * _MARGIN) / horizon
    labelled = len(bars) <= MAX_NAMED and count <= _LABELLED_LANES
    if len(bars) > MAX_NAMED:
        rows = [_merged(row, 1 / scale) for row in rows]
    step = float(_ROW) if labelled else min(12.0, max(2.0, _THIN_HEIGHT / max(1, len(rows))))
    notes = _notes(bars, rows, count, labelled)
    if left_out:
        notes.append(f"The items or rounds of {counted(left_out, 'more node')} are left out.")
    top = float(_HEAD + (15 * len(notes) + 5 if notes else 0))
    below = top + step * max(1, len(rows))
    items = [(section, [[bar] for bar in section.bars]) for section in sections]  # a row each: all have names
    height = ceil(below + sum(_ROW * (len(lanes) + 1) for _, lanes in items)) + 10
    summary = f"{counted(len(bars), 'node')} in {seconds(wall_time)}, at most {count:,} at once"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="100%" '
        f'style="max-width:1000px" role="img" font-family="{FONT}" font-size="12" fill="#212121">',
        f"<title>{safe(f'{title}: {summary}')}</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{_MARGIN}" y="22" font-size="15" font-weight="600">{safe(cut(title, 66))}</text>',
        f'<text x="{_MARGIN}" y="39" fill="#616161">{safe(summary)}</text>',
        *_legend(bars, idle or {}),
        *(f'<text x="{_MARGIN}" y="{74 + 15 * k}" fill="#616161">{safe(note)}</text>' for k, note in enumerate(notes)),
        *_axis(horizon, scale, top, height - 6),
    ]
    for lane, row in enumerate(rows):
        parts += _row(row, top + lane * step, step, scale, labelled)
    for section, lanes in items:
        heading = safe(cut(section.title, 84))
        parts.append(f'<text x="{_MARGIN}" y="{below + 17:.1f}" font-weight="600">{heading}</text>')
        for k, row in enumerate(lanes, 1):
            parts += _row(row, below + k * _ROW, float(_ROW), scale, True)
        below += _ROW * (len(lanes) + 1)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _notes(bars: Sequence[Bar], rows: Sequence[Sequence[Bar]], count: int, labelled: bool) -> list[str]:
    notes = []
    if len(bars) > MAX_NAMED:
        notes.append(f"Too many nodes to name: bars that touch are drawn as one ({sum(map(len, rows)):,} bars).")
    elif not labelled:
        notes.append("Too many lanes for names: they are in the tooltips.")
    if count > len(rows):
        left_out = len(bars) - sum(bar.nodes for row in rows for bar in row)
        notes.append(f"Lanes {len(rows) + 1:,} to {count:,} are left out, {counted(left_out, 'node')}.")
    return notes


def _legend(bars: Sequence[Bar], idle: dict[Status, int]) -> Iterator[str]:
    """One coloured square per status that ran, then the counts of what never did."""
    x, y = float(_MARGIN), 56
    for status in Status:
        ran = sum(bar.status is status for bar in bars)
        for n, never in ((ran, ""), (idle.get(status, 0), " (never ran)")):
            if n:
                text = f"{n:,} {status}{never}"
                fill, border = COLOURS[status]
                fill = "none" if never else fill
                yield f'<rect x="{x:g}" y="{y - 9}" width="10" height="10" rx="2" fill="{fill}" stroke="{border}"/>'
                yield f'<text x="{x + 15:g}" y="{y}">{text}</text>'
                x += 33 + len(text) * _CHARACTER


def _axis(horizon: float, scale: float, top: float, bottom: float) -> Iterator[str]:
    """Gridlines at round times, labelled above the first row."""
    factor, unit = (1.0, "s") if horizon >= 1 else (1e3, "ms") if horizon >= 1e-3 else (1e6, "us")
    step = _round_step(horizon * factor / 5)
    for k in range(floor(horizon * factor / step) + 1):
        x = _MARGIN + k * step / factor * scale
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top - 8:.1f}" y2="{bottom:.1f}" stroke="#e0e0e0"/>'
        anchor = "start" if k == 0 else "end" if x > _WIDTH - 40 else "middle"
        x = _WIDTH - _MARGIN if anchor == "end" else x
        text = f"{k * step:,.10g} {unit}"
        yield f'<text x="{x:.1f}" y="{top - 12:.1f}" fill="#616161" text-anchor="{anchor}">{text}</text>'


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 5, 10, ... that is at least ``least``."""
    power: float = 10.0 ** floor(log10(least))
    return next(power * digit for digit in (1, 2, 5, 10) if power * digit >= least * 0.999)


def _row(row: Sequence[Bar], y: float, step: float, scale: float, labelled: bool) -> Iterator[str]:
    height = step - (4 if labelled else min(2.0, step / 4))
    taken = 0.0
    for k, bar in enumerate(row):
        fill, border = COLOURS[bar.status]
        x, width = _MARGIN + bar.start * scale, max(1.0, (bar.end - bar.start) * scale)
        style = f'rx="3" fill="{fill}" stroke="{border}"' if labelled and width > 4 else f'fill="{border}"'
        if bar.attempts:
            yield from _attempts(bar, y, height, scale)
        else:
            tip = safe(_tooltip(bar), "\n")
            yield (
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" {style}>'
                f"<title>{tip}</title></rect>"
            )
        if labelled:
            until = _MARGIN + row[k + 1].start * scale if k + 1 < len(row) else _WIDTH
            label, taken = _label(bar, x, width, taken, until, y + height / 2 + 4)
            yield from label


def _attempts(bar: Bar, y: float, height: float, scale: float) -> Iterator[str]:
    """Each attempt's own bar, with a thick left edge, on a line for the waiting between them."""
    middle, left, right = y + height / 2, _MARGIN + bar.start * scale, _MARGIN + bar.end * scale
    line = f'x1="{left:.1f}" x2="{right:.1f}" y1="{middle:.1f}" y2="{middle:.1f}"'
    yield f'<line {line} stroke="{COLOURS[bar.status][1]}" stroke-dasharray="2 2"/>'
    for number, attempt in enumerate(bar.attempts, 1):
        fill, border = COLOURS[attempt.status]
        x, width = _MARGIN + attempt.start * scale, max(1.0, (attempt.end - attempt.start) * scale)
        took = f"{attempt.status}, {seconds(attempt.end - attempt.start)} from {seconds(attempt.start)}"
        detail = f"\n{bar.detail}" if bar.detail and number == len(bar.attempts) else ""
        text = f"{bar.name}, attempt {number} of {len(bar.attempts)}: {took}{detail}"
        tip = safe(text, "\n")
        style = f'fill="{fill}" stroke="{border}"' if width > 4 else f'fill="{border}"'
        yield (
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" {style}>'
            f"<title>{tip}</title></rect>"
        )
        if width > 4:
            yield f'<rect x="{x:.1f}" y="{y:.1f}" width="3" height="{height:.1f}" fill="{border}"/>'


def _label(bar: Bar, x: float, width: float, taken: float, until: float, y: float) -> tuple[list[str], float]:
    """The name: in its bar, else in the free space right or left of it, else as much as the bar holds.

    :param taken: where the free space to the left begins; the second thing returned is that for the next bar.
    """
    name = f"\u00d7 {bar.name}" if bar.status is Status.FAILED else bar.name
    needed = _CHARACTER * cells(name) + 10
    free = max(taken, x + width)
    if (bar.attempts or needed > width) and x + width + needed <= until:
        x += width
        free = x + needed
    elif (bar.attempts or needed > width) and taken + needed <= x:
        x -= needed
    elif needed > width:
        name = cut(name, int((width - 10) / _CHARACTER))
        if len(name) < LEAST_LABEL:  # it would tell nothing
            return [], free
    halo = ' stroke="#fff" stroke-width="3" paint-order="stroke"' if bar.attempts else ""
    return [f'<text x="{x + 5:.1f}" y="{y:.1f}" pointer-events="none"{halo}>{safe(name)}</text>'], free


def _merged(row: Sequence[Bar], near: float) -> list[Bar]:
    """Join neighbours of one lane that have the same status and less than ``near`` seconds between them."""
    merged: list[Bar] = []
    for status, bars in groupby(row, key=lambda bar: bar.status):
        first = True
        for bar in bars:
            last = merged[-1] if merged else bar
            if first or bar.start - last.end >= near:
                merged.append(bar)
            else:
                merged[-1] = Bar(last.name, last.start, bar.end, status, "", last.nodes + 1)
            first = False
    return merged


def _tooltip(bar: Bar) -> str:
    what = bar.name if bar.nodes == 1 else f"{bar.nodes:,} nodes from {bar.name}"
    text = f"{what}: {bar.status}, {seconds(bar.end - bar.start)} from {seconds(bar.start)}"
    return f"{text}\n{bar.detail}" if bar.detail else text


def seconds(time: float) -> str:
    """``time`` with three digits, in s, ms or us."""
    if time >= 1 or time == 0:
        return f"{time:.3g} s" if time < 100 else f"{time:,.0f} s"
    return f"{time * 1e3:.3g} ms" if time >= 1e-3 else f"{time * 1e6:.3g} us"
