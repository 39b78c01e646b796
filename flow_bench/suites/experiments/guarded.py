"""Experiment: generated code on an event loop, where nodes do something.

A chain of sync nodes behind one async node that does not suspend: the driver's loop beside generated code, which looks
at the clock after each node.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from time import perf_counter, thread_time
from typing import Any

import flow
from flow_bench.harness.contender import ready
from flow_bench.harness.interleave import interleave_on_loop
from flow_bench.harness.loops import HOT, LOOP
from flow_bench.harness.rows import US, Row, ratios
from flow_bench.harness.work import DONE, noop, noop_async

BUSY = (0, 1, 2, 5, 10)
"""Microseconds that each node computes."""
NODES = 300


def run(rounds: int) -> Iterator[list[Row]]:
    """Yield one table: per duration of the nodes, the driver's loop and generated code."""
    yield [row for us in BUSY for row in asyncio.run(_rows(us, rounds))]


def busy(us: int) -> Callable[..., str]:
    """Return a function that computes for so long."""
    if not us:
        return noop

    def node(*values: object) -> str:
        until = perf_counter() + us / US
        while perf_counter() < until:
            pass
        return DONE

    return node


def chain(us: int) -> flow.Plan:
    """One async node that does not suspend, and a chain of sync nodes behind it."""
    dag, fn = flow.Dag("guarded"), busy(us)
    dag.add("first", noop_async)
    before = "first"
    for k in range(NODES):
        dag.add(f"n{k}", fn, needs=[before])
        before = f"n{k}"
    return dag.compile()


async def _rows(us: int, rounds: int) -> list[Row]:
    plan = chain(us)
    configs = {"now: the driver's loop": LOOP, "generated code": HOT}
    ways = [
        ready(label, partial(flow.execute, plan, config=config), _done, NODES + 1) for label, config in configs.items()
    ]
    samples = await interleave_on_loop(ways, rounds, clock=thread_time)
    base = next(iter(samples.values()))
    return [
        Row(
            "guarded: generated code on asyncio, us per node", f"nodes of {us} us: {label}", "us",
            [s * US for s in seconds], ratios=ratios(seconds, base), nodes=NODES,
        )
        for label, seconds in samples.items()
    ]  # fmt: skip


def _done(result: Any) -> bool:
    outputs = list(result.outputs.values())
    return outputs == [DONE] * (NODES + 1)
