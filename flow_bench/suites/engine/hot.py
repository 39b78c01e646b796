"""What generated code costs, and whether it ever makes a plan slower in total than the loop alone."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from time import perf_counter

import flow
from flow_bench.harness.contender import require
from flow_bench.harness.interleave import interleave_on_loop, repeat_of, schedule
from flow_bench.harness.loops import HOT, LOOP, flow_execute, on_graph, outputs_of
from flow_bench.harness.rows import US, Row, Target, ratios
from flow_bench.harness.work import DONE, Work

SECTION = "generated code"
ON_LOOP = "generated code on asyncio, no node suspends"
LOOKS = (500, 1_000, 2_000, 2_001, 2_010, 2_100, 2_500, 3_000, 4_000, 8_000)
"""Numbers of runs after which the totals are compared; code is generated from the 2,000th on."""


@dataclass(frozen=True)
class Effort:
    """How much to measure."""
    rounds: int = 7
    looks: tuple[int, ...] = LOOKS
    sizes: tuple[int, ...] = (10, 100, 1_000)


QUICK = Effort(rounds=3, looks=LOOKS[:8], sizes=(100,))


def run(effort: Effort) -> Iterator[list[Row]]:
    """Yield the rows: per node and plan, then totals by number of runs; on an event loop."""
    yield [row for part in (price, totals) for nodes in effort.sizes for row in part(nodes, effort)]
    yield [row for nodes in effort.sizes for row in on_loop(nodes, effort)]


def on_loop(nodes: int, effort: Effort) -> list[Row]:
    """Per node what ``flow.execute`` of sync functions takes, by the driver's loop and with generated code."""
    shapes = {
        "linear": flow.topologies.linear(nodes),
        "diamond": flow.topologies.diamond(nodes),
        "tree": flow.topologies.tree(nodes),
        "sparse random": flow.topologies.sparse_random(nodes, max_in_degree=3, seed=1),
    }
    ways = [
        on_graph(label, partial(flow_execute, kind="sync", config=config), outputs_of)
        for label, config in (("flow.execute, loop", LOOP), ("flow.execute, hot plan", HOT))
    ]
    rows = []
    for topology, dag in shapes.items():
        samples = asyncio.run(interleave_on_loop(ways, 3 * effort.rounds, Work.of(dag), repeat=2 * repeat_of(nodes)))
        rows += samples.rows(ON_LOOP, "us", per=nodes, nodes=nodes, topology=topology)
    return rows


def price(nodes: int, effort: Effort) -> list[Row]:
    """What generating code for a plan of no-op nodes takes, once, and what it keeps."""
    seconds, kept = [], []
    work = Work.of(flow.topologies.sparse_random(nodes, max_in_degree=3, seed=1))
    for turn, _ in schedule(1, effort.rounds):
        plan = work.plan("sync", fresh=True)
        began = perf_counter()
        _checked(flow.run(plan, config=LOOP), nodes)
        between = perf_counter()
        _checked(flow.run(plan, config=HOT), nodes)
        took = perf_counter() - between - (between - began)
        plan = work.plan("sync", fresh=True)
        _checked(flow.run(plan, config=LOOP), nodes)
        tracemalloc.start()
        try:
            _checked(flow.run(plan, config=HOT), nodes)
            gc.collect()
            size = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        if turn >= 0:
            seconds.append(took * US / nodes)
            kept.append(size / nodes)
    note, label = f"{nodes:,} nodes", "memory of the code and its source, per node"
    return [
        Row(SECTION, "generating, per node, once", "us", seconds, nodes=nodes, note=note),
        Row(SECTION, label, "bytes", kept, nodes=nodes, note=note),
    ]


def totals(nodes: int, effort: Effort) -> list[Row]:
    """All runs of a new plan so far, with code generated on the way, beside the loop alone: interleaved run by run."""
    work = Work.of(flow.topologies.sparse_random(nodes, max_in_degree=3, seed=1))
    found: dict[int, tuple[list[float], list[float]]] = {look: ([], []) for look in effort.looks}
    last = max(effort.looks) if nodes <= 100 else min(max(effort.looks), 3_000)
    for turn, _ in schedule(1, min(effort.rounds, 3)):
        loop, warming = (work.plan("sync", fresh=True) for _ in range(2))
        spent = [0.0, 0.0]
        for number in range(1, last + 1):
            began = perf_counter()
            one = flow.run(loop, config=LOOP)
            between = perf_counter()
            other = flow.run(warming)
            spent[1] += perf_counter() - between
            spent[0] += between - began
            if number in found:
                _checked(one, nodes)
                _checked(other, nodes)
                if turn >= 0:
                    found[number][0].append(spent[0])
                    found[number][1].append(spent[1])
            del one, other
    return [
        Row(
            SECTION, f"total after {look:,} runs of {nodes:,} nodes, beside the loop alone", "s", warmed,
            ratios=ratios(warmed, loops), nodes=nodes, target=Target(1.1),
        )
        for look, (loops, warmed) in found.items() if loops
    ]  # fmt: skip


def _checked(result: flow.Result, nodes: int) -> None:
    left = list(result.outputs.values()).count(DONE)
    require(left == nodes, SECTION, "a run left fewer outputs than nodes")
