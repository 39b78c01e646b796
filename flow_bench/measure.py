"""How things are measured here: rows and targets, interleaved rounds, statistics, and the check of work done.

One *sample* is one timed call of a contender (or ``repeat`` calls, for small graphs); one *round* takes a
sample of every contender, in an order that turns from round to round. Ratios are taken within a
round, so that a slow second of the machine harms both sides; the printed figures are medians. Garbage is
collected between rounds and the collector is off within them, for all contenders alike.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median, quantiles
from time import perf_counter
from typing import Any, Literal

import anyio

from flow_bench.contenders import DONE, Contender, Work

Samples = dict[str, list[float]]
Verdict = Literal["", "PASS", "MISS", "pass", "miss"]
"""In capitals where the target is set for this interpreter, in small letters where it is only compared with it."""


@dataclass(frozen=True)
class Target:
    """The most a figure (or its ratio to the baseline) may be; ``aim`` is what would please."""

    at_most: float
    aim: float | None = None
    of: Literal["ratio", "figure"] = "ratio"
    binding: bool = sys.version_info >= (3, 13)

    def __str__(self) -> str:
        unit = "x" if self.of == "ratio" else ""
        aim = f" (aim {self.aim:g}{unit})" if self.aim is not None else ""
        return f"<= {self.at_most:g}{unit}{aim}"


@dataclass
class Row:
    """One figure: a statistic over all rounds' samples, and its ratio to the baseline of the same round."""

    section: str
    label: str
    unit: str
    samples: list[float] = field(default_factory=list)
    figure: float | None = None  # median of the samples unless said otherwise
    ratios: list[float] = field(default_factory=list)
    nodes: int = 0
    topology: str = ""
    target: Target | None = None
    note: str = ""  # why there is no figure, or what to know about it

    def __post_init__(self) -> None:
        if self.figure is None and self.samples:
            self.figure = median(self.samples)

    @property
    def ratio(self) -> float | None:
        """Median of the per-round ratios."""
        return median(self.ratios) if self.ratios else None

    @property
    def spread(self) -> float | None:
        """Interquartile range of the samples, relative to their median."""
        return relative_iqr(self.samples) if len(self.samples) > 1 else None

    @property
    def verdict(self) -> Verdict:
        """Whether the target is met; empty without target or figure."""
        judged = self.ratio if self.target is not None and self.target.of == "ratio" else self.figure
        if self.target is None or judged is None:
            return ""
        met = judged <= self.target.at_most
        if self.target.binding:
            return "PASS" if met else "MISS"
        return "pass" if met else "miss"

    def to_dict(self) -> dict[str, Any]:
        """Everything, all rounds included, for ``--json``."""
        found = {"ratio": self.ratio, "spread": self.spread, "verdict": self.verdict}
        if self.samples:
            found["quartiles"] = quartiles(self.samples)
            found["mad"] = mad(self.samples)
        return asdict(self) | found


# -- statistics ------------------------------------------------------------------------------


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """First, second and third quartile; the extremes count as the 0th and 100th percentile."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    first, second, third = quantiles(values, n=4, method="inclusive")
    return first, second, third


def relative_iqr(values: Sequence[float]) -> float:
    """Interquartile range over median."""
    first, second, third = quartiles(values)
    return (third - first) / second if second else 0.0


def mad(values: Sequence[float]) -> float:
    """Median absolute deviation from the median."""
    centre = median(values)
    return median(abs(value - centre) for value in values)


def percentile(values: Sequence[float], percent: float) -> float:
    """Smallest value that at least ``percent`` per cent of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    rank = -int(-len(ordered) * percent // 100)  # rounded up
    return ordered[max(rank, 1) - 1]


def ratios(samples: Sequence[float], baseline: Sequence[float]) -> list[float]:
    """Round by round, how much longer it took than the baseline."""
    return [mine / base for mine, base in zip(samples, baseline, strict=True)]


# -- rounds ----------------------------------------------------------------------------------


def schedule(count: int, rounds: int) -> Iterator[tuple[int, int]]:
    """Yield ``(round, contender)``: round -1 is for warming up; the order turns and is reversed every other round.

    The collector is off until the generator is closed, and run between rounds.
    """
    was_on = gc.isenabled()
    try:
        for turn in range(-1, rounds):
            gc.enable()
            gc.collect()
            gc.disable()
            order = [(turn + k) % count for k in range(count)]
            for contender in reversed(order) if turn % 2 else order:
                yield turn, contender
    finally:
        if was_on:
            gc.enable()


def time_sync(contenders: Sequence[Contender], work: Work, rounds: int, repeat: int = 1) -> Samples:
    """Seconds per run of each contender, by label, round after round. Preparing is not timed."""
    samples: Samples = {c.label: [] for c in contenders}
    for turn, which in schedule(len(contenders), rounds):
        contender = contenders[which]
        runs = [contender.prepare(work) for _ in range(repeat)]
        began = perf_counter()
        raw = [run() for run in runs]
        took = perf_counter() - began
        for one in raw:
            refuse_unless_done(contender, one, work)
        if turn >= 0:
            samples[contender.label].append(took / repeat)
    return samples


async def time_async(contenders: Sequence[Contender], work: Work, rounds: int, repeat: int = 1) -> Samples:
    """As :func:`time_sync`, on the running event loop, which turns once between two samples."""
    samples: Samples = {c.label: [] for c in contenders}
    for turn, which in schedule(len(contenders), rounds):
        contender = contenders[which]
        runs = [contender.prepare(work) for _ in range(repeat)]
        await anyio.sleep(0)
        began = perf_counter()
        raw = [await run() for run in runs]
        took = perf_counter() - began
        for one in raw:
            refuse_unless_done(contender, one, work)
        if turn >= 0:
            samples[contender.label].append(took / repeat)
    return samples


# -- the check -------------------------------------------------------------------------------


class Refused(Exception):
    """A contender that did not do the work it is timed for."""

    def __init__(self, label: str, faults: Sequence[str]) -> None:
        super().__init__(f"contender {label!r} is refused: " + "; ".join(faults[:5]))
        self.faults = list(faults)


class Recorder:
    """Nodes that note who was called with what: node ``i`` returns ``i``, so its dependents must get that.

    :ivar work: the same graph with these nodes.
    """

    def __init__(self, work: Work) -> None:
        self.calls: list[int] = []
        self.wrong: list[str] = []
        self.dependencies = work.dependencies
        count = len(work.dependencies)
        self.work = Work(work.dependencies, [self._sync(i) for i in range(count)], [self._async(i) for i in range(count)])

    def _note(self, i: int, values: tuple[object, ...]) -> int:
        self.calls.append(i)
        if values != self.dependencies[i]:
            self.wrong.append(f"node {i} was given {_short(values)}, not {_short(self.dependencies[i])}")
        return i

    def _sync(self, i: int) -> Any:
        return lambda *values: self._note(i, values)

    def _async(self, i: int) -> Any:
        async def node(*values: object) -> int:
            return self._note(i, values)

        return node

    def faults(self, contender: Contender, raw: Any) -> list[str]:
        """Say what was not as it should be: calls, order, arguments, outputs."""
        count = len(self.dependencies)
        found = []
        times: Mapping[int, int] = {i: 0 for i in range(count)} | _tally(self.calls)
        if never := [i for i, n in times.items() if n == 0]:
            found.append(f"nodes never called: {_short(never)}")
        if often := [i for i, n in times.items() if n > 1]:
            found.append(f"nodes called more than once: {_short(often)}")
        place = {i: at for at, i in enumerate(self.calls)}
        for i in place:
            if late := [d for d in self.dependencies[i] if place.get(d, count) > place[i]]:
                found.append(f"node {i} ran before {_short(late)}")
        if contender.passes:
            found += self.wrong
            if list(contender.outputs(raw)) != list(range(count)):
                found.append("the outputs are not those that the nodes returned")
        return found


def check_sync(contender: Contender, work: Work) -> None:
    """Run ``contender`` once, untimed, on nodes that record. :raises Refused: unless it does all of the work."""
    recorder = Recorder(work)
    raw = contender.prepare(recorder.work)()
    _refuse(contender, recorder.faults(contender, raw))


async def check_async(contender: Contender, work: Work) -> None:
    """As :func:`check_sync`, on the running event loop."""
    recorder = Recorder(work)
    raw = await contender.prepare(recorder.work)()
    _refuse(contender, recorder.faults(contender, raw))


def refuse_unless_done(contender: Contender, raw: Any, work: Work) -> None:
    """After a timed run: as many outputs as nodes, each what the no-op returns."""
    outputs = list(contender.outputs(raw))
    expected = len(work.dependencies) if contender.passes else 1
    if len(outputs) != expected or outputs.count(DONE) != expected:
        _refuse(contender, [f"a timed run left {outputs.count(DONE)} outputs, not {expected}"])


def _refuse(contender: Contender, faults: Sequence[str]) -> None:
    if faults:
        raise Refused(contender.label, faults)


def _tally(calls: Sequence[int]) -> dict[int, int]:
    tally: dict[int, int] = {}
    for i in calls:
        tally[i] = tally.get(i, 0) + 1
    return tally


def _short(values: Sequence[object]) -> str:
    text = ", ".join(map(str, values[:5]))
    return text + (f", ... ({len(values)} in all)" if len(values) > 5 else "") if values else "nothing"
