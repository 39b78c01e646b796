"""The items of maps, and the rounds of loops, as bars: each one, or of many those that failed and the slowest."""

from __future__ import annotations

from typing import Final

from flow.reprs import counted
from flow.run.draw.svg import Attempt, Bar, Section
from flow.run.spans import FEW, MAX_ITEMS, ItemSpans
from flow.types import Status

MAX_SECTIONS: Final = 20
"""Maps and loops whose items and rounds are drawn."""


def attempts_of(tries: list[tuple[float, float]], zero: float, status: Status) -> tuple[Attempt, ...]:
    """Return a node's attempts, of which all but the last one failed; none if there was but one."""
    if len(tries) < 2:
        return ()
    last = len(tries) - 1
    return tuple(
        Attempt(start - zero, end - zero, Status.FAILED if k < last else status) for k, (start, end) in enumerate(tries)
    )


def section_of(name: str, spans: ItemSpans, zero: float) -> Section:
    """Return the rows of the map or loop ``name``. O(items drawn x log)."""
    failed = f", {len(spans.raised):,} failed" if spans.raised else ""
    title = f"{name}: {counted(spans.count, spans.noun)}{failed}"
    if spans.count <= MAX_ITEMS:
        bars = [_bar(spans.label(name, item), calls, item in spans.raised, zero) for item, calls in spans.calls.items()]
        return Section(title, tuple(sorted(bars, key=lambda bar: (bar.start, bar.end))))
    status = Status.FAILED if spans.raised else Status.COMPLETED
    bars = [Bar(title, spans.first - zero, spans.last - zero, status)]
    named = list(spans.raised.items())[:FEW]
    bars += [Bar(spans.label(name, i), start - zero, end - zero, Status.FAILED) for i, (start, end) in named]
    for _, item, start, end in sorted(spans.slowest, reverse=True):
        if item not in dict(named):
            status = Status.FAILED if item in spans.raised else Status.COMPLETED
            bars.append(Bar(spans.label(name, item), start - zero, end - zero, status))
    what = f"{title} (the slowest ones are drawn{', and the first that failed' if failed else ''})"
    return Section(what, tuple(sorted(bars, key=lambda bar: (bar.start, -bar.end))))


def _bar(name: str, calls: list[tuple[float, float, bool]], failed: bool, zero: float) -> Bar:
    status = Status.FAILED if failed else Status.COMPLETED
    tries = [(start, end) for start, end, _ in calls]
    detail = f"{len(calls)} attempts" if len(calls) > 1 else ""
    return Bar(
        name, tries[0][0] - zero, tries[-1][1] - zero, status, detail, 1, attempts_of(tries, zero, status)
    )
