"""A row of a suite of single operations: a contender with its place in a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from flow_bench.harness.contender import Contender
from flow_bench.harness.rows import Target


@dataclass(frozen=True, repr=False)
class Case(Contender):
    """One operation to be timed by :class:`flow_bench.micro.measuring.Bench`.

    Its ``make`` is called once for a row, or with ``fresh`` before every call of the operation (for operations that use
    up what they work on). Async operations are awaited on one asyncio loop for the whole suite.

    :ivar section: the table it stands in; with ``label``, ``size`` and ``series`` it names the row.
    :ivar unit: of the figure: ``ns``, ``us``, ``ms`` or ``s``.
    :ivar size: nodes, tasks or entries, for scaling curves; 0 where it means nothing.
    :ivar series: what is drawn as one line, or stands in one column: a topology, a preset, a way of running.
    :ivar each: every call is a sample of its own, so that percentiles mean calls; else a sample is the mean of as
        many calls as make it long against the clock.
    :ivar waits: its time is mostly waiting, so it is compared as seconds, not as a multiple of the round's
        calibration loop.
    :ivar rounds: so many instead of the suite's.
    :ivar ideal: seconds per call that waiting and work alone would take; gives the row its efficiency.
    :ivar speed_up_over: the label of a row that stands before it in its table; how many times as fast it is, by
        their medians, becomes its figure ``speed_up``.
    :ivar overhead_over: as that; how much longer it takes, in its unit, becomes its figure ``overhead``.
    :ivar target: the most it may be.
    :ivar missing: why it cannot be measured here; its row then says that, after "n/a", and has no figure.
    """

    section: str = ""
    fresh: bool = False
    unit: Literal["ns", "us", "ms", "s"] = "us"
    size: int = 0
    series: str = ""
    each: bool = False
    waits: bool = False
    rounds: int | None = None
    ideal: float | None = None
    speed_up_over: str = ""
    overhead_over: str = ""
    target: Target | None = None
    missing: str = ""
    note: str = ""
    figures: dict[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<{self.name}>"

    @property
    def title(self) -> str:
        return f"{self.section}: {self.label}"

    @property
    def name(self) -> str:
        """What pytest shows behind the test's name."""
        return "-".join(filter(None, [self.label, f"{self.size}" if self.size else "", self.series]))


Measure = Callable[[Case], None]
"""What the fixture ``bench`` is."""
Cases = Callable[[bool], Iterable[Case]]
"""What makes the cases of one table, given whether the run is a quick one."""
CASES = "cases"
"""The attribute of a test that makes its cases."""


def table(make: Cases) -> Callable[[Measure, Case], None]:
    """Return a test of every case: ``@table def test_scaling(quick: bool) -> list[Case]: ...``.

    The cases are made when pytest collects the file, and not when it is imported.
    """

    def test(bench: Measure, case: Case) -> None:
        bench(case)

    test.__name__, test.__doc__ = make.__name__, make.__doc__
    test.__dict__[CASES] = make
    return test
