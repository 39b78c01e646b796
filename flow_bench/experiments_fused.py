"""Experiment: a linear chain of async nodes run as one coroutine.

Each fused chain is one node of a run by flow, so that starting and ending a run cost the same. Three models: one that
does between two of its functions what a run does between two nodes (:class:`Between`); the same written out, one line
a node, as generated code would have it; and one that only passes values on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextvars import copy_context
from functools import partial
from time import perf_counter, thread_time
from typing import Any

import flow
from flow_bench.measure import US, Row, ratios
from flow_bench.ways import Way, again_on_loop, time_ways_on_loop

Fn = Callable[..., Awaitable[int]]
Fused = Callable[[list[Fn]], Callable[[], Awaitable[list[int]]]]

SHAPES = ((1, 1_000), (100, 10))
"""Chains side by side, and nodes in each."""


async def step(value: int = 0) -> int:
    """Add one, without suspending."""
    return value + 1


async def step_waiting(value: int = 0) -> int:
    """Add one after a turn of the event loop."""
    await asyncio.sleep(0)
    return value + 1


class Between:
    """What a run looks at and keeps between two nodes.

    The output and the status of each; whether it suspended, so that others are about; the clock, so that the event
    loop gets its turn every 5 ms; the contextvars, so that nodes do not see each other's changes.
    """

    __slots__ = ("base", "context", "others", "outputs", "state")

    def __init__(self, nodes: int) -> None:
        self.outputs: list[Any] = [None] * nodes
        self.state = bytearray(nodes)
        self.others: object = None
        self.base, self.context = copy_context(), copy_context()

    def leave(self) -> None:
        """Where a run goes on in another way, which the models need not."""
        raise RuntimeError("the model is for nodes that change no contextvar")


def checked(fns: list[Fn]) -> Callable[[], Awaitable[list[int]]]:
    """All that a run does between two nodes."""

    async def chain() -> list[int]:
        between = Between(len(fns))
        outputs, state, base, context = between.outputs, between.state, between.base, between.context
        late = perf_counter() + 0.005
        arguments: tuple[int, ...] = ()
        for i, fn in enumerate(fns):
            outputs[i] = output = await fn(*arguments)
            state[i] = 1
            arguments = (output,)
            if perf_counter() > late:
                await asyncio.sleep(0)
                late = perf_counter() + 0.005
            if between.others is not None or context != base:
                between.leave()
        return outputs

    return chain


def written_out(fns: list[Fn]) -> Callable[[], Awaitable[list[int]]]:
    """The same, one line a node."""
    names: dict[str, Any] = {f"f{i}": fn for i, fn in enumerate(fns)}
    names |= {"perf_counter": perf_counter, "Between": Between, "sleep": asyncio.sleep}
    lines = [
        "async def chain():",
        f"    between = Between({len(fns)})",
        "    outputs, state, base, context = between.outputs, between.state, between.base, between.context",
        "    late = perf_counter() + 0.005",
    ]
    for i in range(len(fns)):
        lines += [
            f"    v{i} = outputs[{i}] = await f{i}({f'v{i - 1}' if i else ''})",
            f"    state[{i}] = 1",
            "    if perf_counter() > late:",
            "        await sleep(0)",
            "        late = perf_counter() + 0.005",
            "    if between.others is not None or context != base: between.leave()",
        ]
    lines.append("    return outputs")
    exec("\n".join(lines), names)
    made: Callable[[], Awaitable[list[int]]] = names["chain"]
    return made


def bare(fns: list[Fn]) -> Callable[[], Awaitable[list[int]]]:
    """Only pass values on: no turn for the loop, no contexts, one status for all."""

    async def chain() -> list[int]:
        outputs: list[int] = []
        arguments: tuple[int, ...] = ()
        for fn in fns:
            output = await fn(*arguments)
            outputs.append(output)
            arguments = (output,)
        return outputs

    return chain


MODELS: dict[str, Fused] = {
    "fused, all that is done between nodes": checked,
    "fused and written out, the same": written_out,
    "fused, values passed on and nothing else": bare,
}


def chains(fn: Fn, count: int, length: int) -> flow.Plan:
    """As the user defines them: a node per function."""
    dag = flow.Dag("chains")
    for c in range(count):
        for k in range(length):
            dag.add(f"c{c}_{k}", fn, needs=[f"c{c}_{k - 1}"] if k else [])
    return dag.compile()


def fused(fn: Fn, count: int, length: int, model: Fused) -> flow.Plan:
    """A node per chain."""
    dag = flow.Dag("fused")
    for c in range(count):
        dag.add(f"c{c}", model([fn] * length))
    return dag.compile()


def run(rounds: int) -> Iterator[list[Row]]:
    """Yield one table: nodes that do not suspend, and nodes that do."""
    rows = []
    for fn, what in ((step, "none suspends"), (step_waiting, "each suspends once")):
        for count, length in SHAPES:
            rows += asyncio.run(_rows(fn, f"{count} x {length:,}, {what}", count, length, rounds))
    yield rows


async def _rows(fn: Fn, what: str, count: int, length: int, rounds: int) -> list[Row]:
    nodes, times = count * length, 2
    done = partial(_done, count, length)
    plans = {"now: a node each": chains(fn, count, length)}
    plans |= {label: fused(fn, count, length, model) for label, model in MODELS.items()}
    ways = [
        Way(label, again_on_loop(partial(flow.execute, plan), times), done, times * nodes)
        for label, plan in plans.items()
    ]
    samples = await time_ways_on_loop(ways, rounds, thread_time)
    base = next(iter(samples.values()))
    section = "fused: chains of async nodes, us per node"
    return [
        Row(section, f"{what}: {label}", "us", [s * US for s in seconds], ratios=ratios(seconds, base))
        for label, seconds in samples.items()
    ]


def _done(count: int, length: int, results: list[flow.Result]) -> bool:
    """Each chain's functions were called in turn, each with the output before."""
    wanted = list(range(1, length + 1))
    for result in results:
        outputs = list(result.outputs.values())
        found = outputs if isinstance(outputs[0], list) else _cut(outputs, length)
        if found != [wanted] * count:
            return False
    return True


def _cut(outputs: list[int], length: int) -> list[list[int]]:
    return [outputs[k : k + length] for k in range(0, len(outputs), length)]
