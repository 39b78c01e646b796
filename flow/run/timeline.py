"""Draw when each node of a run was running: a Gantt chart as Mermaid text or as an SVG picture.

Both need a run with ``Config(timing=True)``. A node that was retried is one bar, from its first
start to its last end. Rows of the SVG are lanes: a node takes the first lane that is free when it
starts, so there are as many rows as nodes were running at once, and never more.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from flow.errors import described
from flow.run.drawing import Bar, draw
from flow.run.result import Result
from flow.types import Status

MAX_MERMAID: Final = 300
"""Nodes that the Mermaid text holds, the longest ones: Mermaid refuses more than 50,000 characters."""

# Mermaid's lexer takes a task that begins like a directive or a date for one, and ends names at ':'.
_DIRECTIVE = re.compile(
    r"\d|gantt|date|axis|title|section|excludes|includes|inclusive|top|today|tick|week|acc|click|call|href",
    re.IGNORECASE,
)
_MERMAID_SPECIAL = re.compile(r"[^\w .,()+@-]")


def to_mermaid(result: Result) -> str:
    """Return a Mermaid Gantt chart, one row per node in the order of their starts.

    Of more than :data:`MAX_MERMAID` nodes the longest are shown, and the title says so. Nothing is
    drawn shorter than the axis' finest unit (1 us in runs of less than 10 ms, else 1 ms).

    :raises UsageError: if the run did not record times.
    """
    return gantt(result.plan.name, bars_of(result))


def to_svg(result: Result) -> str:
    """Return a self-contained SVG: concurrent nodes stacked, coloured by status, a tooltip on each.

    Bars are labelled as far as there is room. What large runs leave out is said under the title.

    :raises UsageError: if the run did not record times.
    """
    idle = dict(result.counts)
    bars = bars_of(result)
    for bar in bars:
        idle[bar.status] = idle.get(bar.status, 0) - 1
    return draw(result.plan.name, bars, result.wall_time, {status: n for status, n in idle.items() if n > 0})


def bars_of(result: Result) -> list[Bar]:
    """Return a bar for each node that ran, by start."""
    errors, status, attempts = result.errors, result.status, result.attempts
    bars = []
    for name, (start, end) in result.spans().items():
        tries = attempts.get(name, 1)
        notes = [f"{tries} attempts"] if tries > 1 else []
        notes += [described(errors[name])] if name in errors else []
        bars.append(Bar(name, start, end, status[name], "; ".join(notes)))
    return sorted(bars, key=lambda bar: (bar.start, bar.end))


def gantt(title: str, bars: Sequence[Bar]) -> str:
    """Return the Mermaid text of ``bars``, which are sorted by start."""
    horizon = max([bar.end for bar in bars], default=0.0)
    # Mermaid knows milliseconds only, so a short run is drawn with one for each microsecond.
    per_second, axis = (1e6, "%Q us") if horizon < 0.01 else (1e3, "%Q ms") if horizon < 10 else (1e3, "%s s")
    shown = bars
    if len(bars) > MAX_MERMAID:
        longest = sorted(range(len(bars)), key=lambda k: bars[k].start - bars[k].end)[:MAX_MERMAID]
        shown = [bars[k] for k in sorted(longest)]
        title = f"{title} (the {MAX_MERMAID} longest of {len(bars):,} nodes)"
    tags = {Status.COMPLETED: "done, ", Status.FAILED: "crit, ", Status.CANCELLED: "active, "}
    lines = ["gantt", f"    title {_mermaid_text(title)}", "    dateFormat x", f"    axisFormat {axis}"]
    lines.append("    todayMarker off")
    for k, bar in enumerate(shown):
        start, length = round(bar.start * per_second), max(1, round((bar.end - bar.start) * per_second))
        lines.append(f"    {_mermaid_text(bar.name)} :{tags.get(bar.status, '')}t{k}, {start}, {length}ms")
    return "\n".join(lines) + "\n"


def _mermaid_text(text: str) -> str:
    safe = _MERMAID_SPECIAL.sub(lambda found: f"#{ord(found[0])};", text)
    return f"#{ord(safe[0])};{safe[1:]}" if _DIRECTIVE.match(safe) else safe
