"""Draw when each node of a run was running, as the Mermaid text of a Gantt chart.

Each attempt of a node that was retried is a bar; the items of a map, and the rounds of a loop, are a section.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from flow.reprs import counted
from flow.run.draw.svg import Bar, Section
from flow.types import Status

MAX_MERMAID: Final = 300
"""Nodes that the Mermaid text holds, the longest ones: Mermaid refuses more than 50,000 characters."""

# Mermaid's lexer takes a task that begins like a directive or a date for one, and ends names at ':'.
_DIRECTIVE = re.compile(
    r"\d|gantt|date|axis|title|section|excludes|includes|inclusive|top|today|tick|week|acc|click|call|href",
    re.IGNORECASE,
)
_MERMAID_SPECIAL = re.compile(r"[^\w .,()+@-]")


def gantt(title: str, bars: Sequence[Bar], sections: Sequence[Section] = (), left_out: int = 0) -> str:
    """Return ``bars``, which are sorted by start, as a Mermaid Gantt chart, one row per bar or attempt.

    Of more than :data:`MAX_MERMAID` nodes the longest are shown, and the title says so; attempts are told apart, and
    ``sections`` shown, as long as there are no more bars than that. ``left_out`` counts the maps and loops that have no
    section. Nothing is drawn shorter than the axis' finest unit (1 us in runs of less than 10 ms, else 1 ms).
    """
    horizon = max([bar.end for bar in (*bars, *(bar for section in sections for bar in section.bars))], default=0.0)
    # Mermaid knows milliseconds only, so a short run is drawn with one for each microsecond.
    per_second, axis = (1e6, "%Q us") if horizon < 0.01 else (1e3, "%Q ms") if horizon < 10 else (1e3, "%s s")
    shown = bars
    if len(bars) > MAX_MERMAID:
        longest = sorted(range(len(bars)), key=lambda k: bars[k].start - bars[k].end)[:MAX_MERMAID]
        shown = [bars[k] for k in sorted(longest)]
        title = f"{title} (the {MAX_MERMAID} longest of {len(bars):,} nodes)"
    tasks = list(shown) if sum(_size(bar) for bar in shown) > MAX_MERMAID else _apart(shown)
    groups = [("", tasks)]
    drawn = len(tasks)
    for section in sections:
        tasks = _apart(section.bars)
        if drawn + len(tasks) > MAX_MERMAID:
            left_out += 1
        else:
            groups.append((section.title, tasks))
            drawn += len(tasks)
    if left_out:
        title = f"{title} (without the items or rounds of {counted(left_out, 'node')})"
    tags = {Status.COMPLETED: "done, ", Status.FAILED: "crit, ", Status.CANCELLED: "active, "}
    lines = ["gantt", f"    title {_mermaid_text(title)}", "    dateFormat x", f"    axisFormat {axis}"]
    lines.append("    todayMarker off")
    k = 0
    for name, tasks in groups:
        if name:
            lines.append(f"    section {_mermaid_text(name)}")
        for bar in tasks:
            start, length = round(bar.start * per_second), max(1, round((bar.end - bar.start) * per_second))
            lines.append(f"    {_mermaid_text(bar.name)} :{tags.get(bar.status, '')}t{k}, {start}, {length}ms")
            k += 1
    return "\n".join(lines) + "\n"


def _size(bar: Bar) -> int:
    return len(bar.attempts) or 1


def _apart(bars: Sequence[Bar]) -> list[Bar]:
    """A bar for each attempt."""
    tasks: list[Bar] = []
    for bar in bars:
        if bar.attempts:
            tasks += [
                Bar(f"{bar.name} (attempt {number})", attempt.start, attempt.end, attempt.status)
                for number, attempt in enumerate(bar.attempts, 1)
            ]
        else:
            tasks.append(bar)
    return tasks


def _mermaid_text(text: str) -> str:
    safe = _MERMAID_SPECIAL.sub(lambda found: f"#{ord(found[0])};", text)
    return f"#{ord(safe[0])};{safe[1:]}" if _DIRECTIVE.match(safe) else safe
