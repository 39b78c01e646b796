"""With-items: the contexts of all items of a list, made and held, over a run that holds a megabyte of results.

Each item gets a child of the Context, or a copy, shallow or deep, of what the Context holds. Beside these stands a
whole run that maps the same number of items. A deep copy of everything for every item soon takes minutes and gigabytes:
what is too much is extrapolated from the largest number measured, and the row says so.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import flow
from flow_bench.harness.allocations import peak_of
from flow_bench.harness.contender import Contender
from flow_bench.harness.interleave import interleave
from flow_bench.harness.rows import US, Row
from flow_bench.suites.engine import mapping

HELD = 100
"""Task results in the context."""
RESULTS = f"{HELD} results of {mapping.KILOBYTES} KB"
SECTION = f"with-items over {RESULTS}: contexts of all items made and held, ratio to children"
CHILD, COPY, DEEP, RUN = "a child each", "copy.copy each", "copy.deepcopy each", "a run that maps them"
Held = Sequence[Any]


@dataclass(frozen=True)
class Effort:
    """How much to measure."""
    counts: tuple[int, ...] = (10, 100, 1_000, 5_000, 10_000)
    rounds: int = 21
    patience: float = 5.0  # seconds that one sample of deep copies may take
    traced: int = 100  # most deep copies held while memory is traced


QUICK = Effort(rounds=3, patience=0.2, traced=10)


def run(effort: Effort, context: flow.Context) -> Iterator[list[Row]]:
    """Yield one table: microseconds for all items of a list, and the bytes that they take at the peak."""
    rows: list[Row] = []
    deep = Deep(dict(context.data.items()), effort)
    for count in effort.counts:
        ways = [*held_ways(count, context), run_way(count)]
        samples = interleave(ways, effort.rounds, memory=False)
        for way, row in zip(ways, samples.rows(SECTION, "us", nodes=count), strict=True):
            row.figures = {"bytes": peak_of(way)}
            rows.append(row)
        rows.append(deep.row(count, samples[CHILD]))
    yield rows


def held_ways(count: int, context: flow.Context) -> list[Contender]:
    """A child of the context for each item, or a copy of what it holds."""
    data = dict(context.data.items())
    return [
        held(CHILD, count, lambda i: context.child(i, i), lambda one, i: one.item == one.index == i),
        held(COPY, count, lambda i: copy.copy(data), lambda one, i: one == data),
    ]


def held(label: str, count: int, make: Callable[[int], Any], right: Callable[[Any, int], bool]) -> Contender:
    """Make ``count`` objects and hold them all."""

    def run() -> Held:
        return [make(i) for i in range(count)]

    def check(found: Held) -> str | None:
        if len({id(one) for one in found}) != count:
            return f"it left {len(found)} objects, not all different, where {count} were to be"
        wrong = [i for i in (0, count - 1) if not right(found[i], i)]
        return f"item {wrong[0]} has not what it is to have" if wrong else None

    return Contender(label, lambda: run, check)


def run_way(count: int) -> Contender:
    """Run a plan of :data:`HELD` results and a map, whose function is given each item's Context and one result."""
    plan, inputs = mapping.mapped(mapping.take_and_see, HELD), {"items": list(range(count))}

    def check(result: flow.Result) -> str | None:
        return None if mapping.all_mapped(count, result) else "not every item was mapped"

    return Contender(RUN, lambda: partial(flow.run, plan, inputs), check)


class Deep:
    """Deep copies of ``data``, one for each item, as far as they are affordable."""

    def __init__(self, data: dict[str, Any], effort: Effort) -> None:
        self.data = data
        self.effort = effort
        self.timed = self.traced = 0  # items, in the largest sample
        self.seconds = self.bytes = 0.0  # of that

    def row(self, count: int, base: Sequence[float]) -> Row:
        """Measure ``count`` copies, or extrapolate."""
        samples, notes = self._samples(count), []
        if not samples:
            notes.append(f"time extrapolated from {self.timed:,} items")
        if count <= max(self.effort.traced, min(self.effort.counts)):
            self.traced, self.bytes = count, peak_of(self._way(count))
        elif self.traced < count:
            notes.append(f"memory extrapolated from {self.traced:,} items")
        figures = {"bytes": self.bytes * count / self.traced}
        seconds = median(samples) if samples else self.seconds * count / self.timed
        us, over, note = [sample * US for sample in samples], [seconds / median(base)], ", ".join(notes)
        return Row(SECTION, DEEP, "us", us, seconds * US, over, count, figures=figures, note=note)

    def _samples(self, count: int) -> list[float]:
        """Seconds of each round, of which there is only one if it takes long; none if it would take too long."""
        expected = self.seconds * count / self.timed if self.timed else 0.0
        if expected > self.effort.patience:
            return []
        samples = interleave([self._way(count)], 1 if expected > 1 else 3, memory=False)
        self.timed, self.seconds = count, median(samples[DEEP])
        return samples[DEEP]

    def _way(self, count: int) -> Contender:
        name, value = next(iter(self.data.items()))
        return held(
            DEEP, count, lambda i: copy.deepcopy(self.data), lambda one, i: one[name] == value is not one[name]
        )
