"""From a node's end to its dependant's start: the latency of an engine that is told of each end.

In a chain each node returns the time at which it ends, and the next one notes how long ago that was. Every such time is
a sample. An engine that looks for ended nodes every 100 ms would add 0 to 100 ms to each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import flow
from flow_bench.harness.contender import Contender
from flow_bench.harness.interleave import schedule
from flow_bench.harness.rows import US, Row, percentile

SECTION = "from a node's end to its dependant's start"


@dataclass(frozen=True)
class Effort:
    """How much to measure."""
    nodes: int = 100  # in the chain
    rounds: int = 21


QUICK = Effort(rounds=2)


class Chain:
    """Nodes that note how long it was since the one before ended; the first one's own is left out.

    :param waits: seconds that each async node waits before it ends.
    """

    def __init__(self, nodes: int, kind: str, waits: float = 0.0) -> None:
        self.waits = waits
        self.noted: list[float] = []
        fn: Any = self.step if kind != "async" else self.step_waiting if waits else self.step_async
        dag = flow.Dag("chain")
        for i in range(nodes):
            dag.add(f"n{i}", fn, needs=[f"n{i - 1}"] if i else [], thread=kind == "thread")
        self.plan = dag.compile()

    def step(self, ended: float | None = None) -> float:
        self._note(ended)
        return perf_counter()

    async def step_async(self, ended: float | None = None) -> float:
        self._note(ended)
        return perf_counter()

    async def step_waiting(self, ended: float | None = None) -> float:
        self._note(ended)
        await asyncio.sleep(self.waits)
        return perf_counter()

    def _note(self, ended: float | None) -> None:
        began = perf_counter()
        if ended is not None:
            self.noted.append(began - ended)

    def run(self) -> list[float]:
        self.noted = []
        flow.run(self.plan)
        return self.noted

    def check(self, noted: list[float]) -> str | None:
        """Say what is wrong: every node but the first notes one time, and none starts before the other's end."""
        wanted = len(self.plan) - 1
        if len(noted) != wanted:
            return f"{len(noted)} of {wanted} dependants noted when they began"
        return "a node began before the one that it waits for had ended" if min(noted) < 0 else None


KINDS: dict[str, Callable[[int], Chain]] = {
    "sync, without a loop": lambda nodes: Chain(nodes, "sync"),
    "async that does not suspend": lambda nodes: Chain(nodes, "async"),
    "async that has waited": lambda nodes: Chain(nodes, "async", 0.0005),
    "sync in a thread": lambda nodes: Chain(nodes, "thread"),
}


def contenders(nodes: int) -> list[Contender]:
    """A chain of every kind."""
    return [_contender(label, make(nodes)) for label, make in KINDS.items()]


def _contender(label: str, chain: Chain) -> Contender:
    return Contender(label, lambda: chain.run, chain.check)


def run(effort: Effort) -> Iterator[list[Row]]:
    """Yield one table: microseconds of each handover."""
    yield rows_of(contenders(effort.nodes), effort)


def rows_of(ways: list[Contender], effort: Effort) -> list[Row]:
    """Run every way in turns. :raises Refused: by the first that did not do its work."""
    found: dict[str, list[float]] = {way.label: [] for way in ways}
    for turn, which in schedule(len(ways), effort.rounds):
        way = ways[which]
        noted = way.make()()
        way.refuse_unless_done(noted)
        if turn >= 0:
            found[way.label] += noted
    rows = []
    for label, seconds in found.items():
        us = [second * US for second in seconds]
        figures = {f"p{percent}": percentile(us, percent) for percent in (50, 95, 99)}
        rows.append(Row(SECTION, label, "us", us, nodes=effort.nodes, each=True, figures=figures))
    return rows
