"""A row of a suite: one operation, what it is measured against, and the check that it was done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from flow_bench.checks import Refused
from flow_bench.measure import Target

UNITS = {"ns": 1e9, "us": 1e6, "ms": 1e3, "s": 1.0}

Operation = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """One operation to be timed by :func:`flow_bench.harness.measure`.

    :ivar section: the table it stands in.
    :ivar label: what one operation does, in words; with ``section``, ``size`` and ``series`` it names the row.
    :ivar make: prepares, untimed, and returns the operation. It is called once for a row, or with ``fresh``
        before every call of the operation (for operations that use up what they work on).
    :ivar check: is given what the operation returned, after every round, and returns what is wrong with it (nothing
        if the work was done).
    :ivar is_async: the operation is an async function; it is awaited on one asyncio loop for the whole suite.
    :ivar per: of how many things one call is the cost: nodes, items, workflows. The figure is per one of them.
    :ivar unit: of the figure: ``ns``, ``us``, ``ms`` or ``s``.
    :ivar size: nodes, tasks or entries, for scaling curves; 0 where it means nothing.
    :ivar series: what is drawn as one line, or stands in one column: a topology, a preset, a way of running.
    :ivar each: every call is a sample of its own, so that percentiles mean calls; else a sample is the mean of as
        many calls as make it long against the clock.
    :ivar waits: its time is mostly waiting, so it is compared as seconds, not as a multiple of the round's
        calibration loop.
    :ivar rounds: so many instead of the suite's.
    :ivar ideal: seconds per call that waiting and work alone would take; gives the row its efficiency.
    :ivar target: the most it may be.
    :ivar missing: why it cannot be measured here; its row then says that, after "n/a", and has no figure.
    """

    section: str
    label: str
    make: Callable[[], Operation]
    check: Callable[[Any], object]
    is_async: bool = False
    fresh: bool = False
    per: int = 1
    unit: Literal["ns", "us", "ms", "s"] = "us"
    size: int = 0
    series: str = ""
    each: bool = False
    waits: bool = False
    rounds: int | None = None
    ideal: float | None = None
    target: Target | None = None
    missing: str = ""
    note: str = ""
    figures: dict[str, float] = field(default_factory=dict)

    def refuse_unless_done(self, raw: Any) -> None:
        """:raises Refused: saying what the operation left undone."""
        fault = self.check(raw)
        if fault:
            raise Refused(f"{self.section}: {self.label}", [str(fault)])


def expect(wanted: Any, of: Callable[[Any], Any] = lambda raw: raw) -> Callable[[Any], str | None]:
    """Return a check that what was returned (or what ``of`` makes of it) equals ``wanted``."""

    def check(raw: Any) -> str | None:
        found = of(raw)
        return None if found == wanted else f"it left {_short(found)} where {_short(wanted)} was to be"

    return check


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
