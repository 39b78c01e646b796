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
from flow.draw.text import CHARACTER, counted, cut, safe, width
from flow.graph.render import COLOURS
from flow.types import Status

MAX_NAMED: Final = 2_000
"""Nodes up to which every bar is drawn by itself; beyond, bars of a lane that touch become one."""

MAX_LANES: Final = 400
"""Lanes that are drawn; the first ones are the busiest."""

_WIDTH, _MARGIN, _HEAD, _ROW = 600, 12, 84, 24  # small in width: a phone shows 600 units on 360 pixels
_LABELLED_LANES, _THIN_HEIGHT = 60, 900


class Bar(msgspec.Struct, frozen=True, gc=False):
    """One node's time on the chart, in seconds since the run began; or several nodes', drawn as one."""

    name: str
    start: float
    end: float
    status: Status = Status.COMPLETED
    detail: str = ""
    nodes: int = 1


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


def draw(title: str, bars: Sequence[Bar], wall_time: float, idle: dict[Status, int] | None = None) -> str:
    """Return the SVG of ``bars``, which are sorted by start. ``idle`` counts nodes that never ran, by status."""
    lanes = pack(bars)
    count = max(lanes, default=-1) + 1
    rows: list[list[Bar]] = [[] for _ in range(min(count, MAX_LANES))]
    for bar, lane in zip(bars, lanes, strict=True):
        if lane < MAX_LANES:
            rows[lane].append(bar)
    horizon = max(wall_time, max([bar.end for bar in bars], default=0.0)) or 1e-6
    scale = (_WIDTH - 2 * _MARGIN) / horizon
    labelled = len(bars) <= MAX_NAMED and count <= _LABELLED_LANES
    if len(bars) > MAX_NAMED:
        rows = [_merged(row, 1 / scale) for row in rows]
    step = float(_ROW) if labelled else min(12.0, max(2.0, _THIN_HEIGHT / max(1, len(rows))))
    notes = _notes(bars, rows, count, labelled)
    top = float(_HEAD + (15 * len(notes) + 5 if notes else 0))
    height = ceil(top + step * max(1, len(rows))) + 10
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
                x += 33 + len(text) * CHARACTER


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
    for k, bar in enumerate(row):
        fill, border = COLOURS[bar.status]
        x, held = _MARGIN + bar.start * scale, max(1.0, (bar.end - bar.start) * scale)
        tip = safe(_tooltip(bar), "\n")
        style = f'rx="3" fill="{fill}" stroke="{border}"' if labelled and held > 4 else f'fill="{border}"'
        yield (
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{held:.1f}" height="{height:.1f}" {style}>'
            f"<title>{tip}</title></rect>"
        )
        if labelled:
            until = _MARGIN + row[k + 1].start * scale if k + 1 < len(row) else _WIDTH
            yield from _label(bar, x, held, until, y + height / 2 + 4)


def _label(bar: Bar, x: float, held: float, until: float, y: float) -> Iterator[str]:
    """The name: in its bar, else in the free space right of it, else as much as the bar holds."""
    name = f"\u00d7 {bar.name}" if bar.status is Status.FAILED else bar.name
    needed = width(name) + 10
    if needed > held:
        if x + held + needed <= until:
            x += held
        else:
            name = cut(name, int((held - 10) / CHARACTER))
    if name != "\u2026":
        yield f'<text x="{x + 5:.1f}" y="{y:.1f}" pointer-events="none">{safe(name)}</text>'


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
