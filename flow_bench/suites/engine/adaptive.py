"""The adaptive suite: ``limit="auto"`` beside fixed limits where the backend degrades, and where nothing waits.

The backend is simulated: a call sleeps for its base time (5 ms, some 30 % more or less, the same in every run), times
what the crowd costs: 1 up to 32 in flight, and past that ``(in flight / 32) ** steepness``. At 1 the backend is full
and queues; at 2 it breaks down: twice the calls in flight, half the throughput.

Sections: *crowd* (fixed limits and auto; the ratio is to the best of the fixed ones in the same round) and *noop*
(nodes that never wait; the ratio is to an unbounded run in the same round).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from time import perf_counter
from typing import Any

import flow
from flow_bench.harness.contender import Contender, ready, repeated, require
from flow_bench.harness.interleave import interleave_on_loop
from flow_bench.harness.rows import US, Row, Target, chosen
from flow_bench.harness.work import Work

KNEE = 32
BASE = 0.005
JITTER = 0.3
FIXED = (8, 16, 32, 64, 128)
STEEP = {"queues": 1.0, "degrades": 1.5, "breaks down": 2.0}
FIRST, NEXT = "limit='auto', first run", "limit='auto', following runs"
UNBOUNDED = "unbounded"
PATIENCE = 15.0
"""Seconds that an unbounded run may take to be measured, once."""
AUTO = flow.Config(limit="auto")
WITHIN = Target(1.10)
OUT_OF_THE_WAY = Target(1.05)


@dataclass(frozen=True)
class Effort:
    """How much to measure."""
    calls: int = 3_000
    rounds: int = 7
    noop_rounds: int = 61
    sections: Sequence[str] = ()  # all if empty


QUICK = Effort(calls=1_500, rounds=3, noop_rounds=21)


class Backend:
    """What all calls of a run wait for."""

    def __init__(self, calls: int, steepness: float) -> None:
        random = Random(1)
        self.waits = [BASE * (1 + JITTER * (2 * random.random() - 1)) for _ in range(calls)]
        self.steepness = steepness
        self.in_flight = 0

    async def call(self, i: int) -> int:
        """Wait as long as call ``i`` takes, now that so many others are under way."""
        self.in_flight += 1
        try:
            await asyncio.sleep(self.waits[i] * max(1.0, self.in_flight / KNEE) ** self.steepness)
        finally:
            self.in_flight -= 1
        return i

    def plan(self) -> flow.Plan:
        """Return a plan of one node per call; as of a program that runs for the first time."""
        dag = flow.Dag("calls")
        for i in range(len(self.waits)):
            dag.add(f"call{i}", partial(self.call, i))
        return dag.compile()


async def crowd_rows(law: str, effort: Effort) -> list[Row]:
    """One table: every fixed limit, then auto."""
    backend = Backend(effort.calls, STEEP[law])
    warm = backend.plan()
    await flow.execute(warm, config=AUTO)

    def way(label: str, run: Callable[[], Awaitable[flow.Result]]) -> Contender:
        return ready(label, run, lambda result: list(result.values()) == list(range(effort.calls)), effort.calls)

    fresh = [backend.plan() for _ in range(effort.rounds + 1)]  # one is for warming up
    ways = [way(f"limit={n}", partial(flow.execute, warm, config=flow.Config(limit=n))) for n in FIXED]
    ways.append(way(FIRST, lambda: flow.execute(fresh.pop(), config=AUTO)))
    ways.append(way(NEXT, partial(flow.execute, warm, config=AUTO)))
    samples = await interleave_on_loop(ways, effort.rounds, waits=True, memory=False)
    best = [min(round_) for round_ in zip(*[samples[f"limit={n}"] for n in FIXED], strict=True)]
    place: dict[str, Any] = {"nodes": effort.calls, "topology": law, "targets": {FIRST: WITHIN, NEXT: WITHIN}}
    return [*samples.rows("crowd", "us/call", best, **place), await _all_at_once(law, effort.calls)]


async def _all_at_once(law: str, calls: int) -> Row:
    """One run without a limit, beside no other: where it breaks down, that takes a hundred times as long."""
    longest = BASE * (calls / KNEE) ** STEEP[law]
    row = partial(Row, "crowd", UNBOUNDED, "us/call", nodes=calls, topology=law)
    if longest > PATIENCE:
        return row(note=f"not measured: it would take {longest:.0f} s")
    plan = Backend(calls, STEEP[law]).plan()
    began = perf_counter()
    result = await flow.execute(plan)
    took = perf_counter() - began
    require(list(result.values()) == list(range(calls)), UNBOUNDED, "the run did not do its work")
    return row(samples=[took / calls * US], note="one run")


async def noop_rows(effort: Effort) -> list[Row]:
    """Async no-op nodes, and the same where the first suspends once, so that all are counted."""
    rows = []
    dag = flow.topologies.layered(40, 25, 3, seed=1)
    for topology, kind in (("never suspends", "async"), ("1st suspends once", "suspending")):
        plan = Work.of(dag).plan(kind)
        nodes = len(plan)
        configs = {UNBOUNDED: flow.Config(), "limit=16": flow.Config(limit=16), "limit='auto'": AUTO}
        ways = [
            repeated(label, partial(flow.execute, plan, config=config), 3, _completed, nodes, on_loop=True)
            for label, config in configs.items()
        ]
        samples = await interleave_on_loop(ways, effort.noop_rounds, memory=False)
        rows += samples.rows("noop", "us/node", nodes=nodes, topology=topology, targets={ways[2].label: OUT_OF_THE_WAY})
    return rows


def _completed(result: flow.Result) -> bool:
    return result.counts == {flow.Status.COMPLETED: len(result.plan)}


SECTIONS: Mapping[str, Callable[[Effort], Iterable[list[Row]]]] = {
    "crowd": lambda effort: (asyncio.run(crowd_rows(law, effort)) for law in STEEP),
    "noop": lambda effort: [asyncio.run(noop_rows(effort))],
}
run = partial(chosen, SECTIONS)
