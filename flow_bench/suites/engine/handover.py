"""From a node's end to its dependant's start: the latency of an engine that is told of each end.

In a chain each node returns the time at which it ends, and the next one notes how long ago that was. Every such time is
a sample. An engine that looks for ended nodes every 100 ms would add 0 to 100 ms to each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import flow
from flow_bench.harness.contender import Contender
from flow_bench.harness.interleave import schedule
from flow_bench.harness.rows import US, Row, percentiles

SECTION = "from a node's end to its dependant's start"


@dataclass(frozen=True)
class Effort:
    """How much to measure."""
    nodes: int = 100  # in the chain
    rounds: int = 21


QUICK = Effort(rounds=2)


class Chain:
    """Nodes that note how long it was since the one before ended; the first one's own is left out."""

    def __init__(self, nodes: int, kind: str, waits: float = 0.0) -> None:
        self.noted: list[float] = []

        def note(ended: float | None) -> None:
            began = perf_counter()
            if ended is not None:
                self.noted.append(began - ended)

        def step(ended: float | None = None) -> float:
            note(ended)
            return perf_counter()

        async def step_async(ended: float | None = None) -> float:
            note(ended)
            if waits:
                await asyncio.sleep(waits)
            return perf_counter()

        fn: Any = step_async if kind == "async" else step
        dag = flow.Dag("chain")
        for i in range(nodes):
            dag.add(f"n{i}", fn, needs=[f"n{i - 1}"] if i else [], thread=kind == "thread")
        self.plan = dag.compile()

    def run(self) -> list[float]:
        """Run once and return what was noted, in seconds."""
        self.noted = []
        flow.run(self.plan)
        return self.noted

    def check(self, noted: list[float]) -> str | None:
        """Say what is wrong: every node but the first notes one time, and none starts before the other's end."""
        wanted = len(self.plan) - 1
        if len(noted) != wanted:
            return f"{len(noted)} of {wanted} dependants noted when they began"
        return "a node began before the one that it waits for had ended" if min(noted) < 0 else None


KINDS: dict[str, tuple[str, float]] = {
    "sync, without a loop": ("sync", 0.0),
    "async that does not suspend": ("async", 0.0),
    "async that has waited": ("async", 0.0005),
    "sync in a thread": ("thread", 0.0),
}


def run(effort: Effort) -> Iterator[list[Row]]:
    """Yield one table: microseconds of each handover, in a chain of every kind."""
    chains = {label: Chain(effort.nodes, *kind) for label, kind in KINDS.items()}
    yield rows_of([Contender(label, partial(_run_of, chain), chain.check) for label, chain in chains.items()], effort)


def _run_of(chain: Chain) -> Callable[[], list[float]]:
    return chain.run


def rows_of(ways: list[Contender], effort: Effort) -> list[Row]:
    """Run every way in turns. :raises Refused: by the first that did not do its work."""
    found: dict[str, list[float]] = {way.label: [] for way in ways}
    for turn, which in schedule(len(ways), effort.rounds):
        way = ways[which]
        noted = way.make()()
        way.refuse_unless_done(noted)
        if turn >= 0:
            found[way.label] += [second * US for second in noted]
    return [
        Row(SECTION, label, "us", us, nodes=effort.nodes, each=True, figures=percentiles(us))
        for label, us in found.items()
    ]
