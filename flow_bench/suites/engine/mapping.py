"""Maps: what an item costs beside a node, whatever the run holds; and items that wait beside hand-written tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

import flow
from flow_bench.harness.allocations import traced_peak
from flow_bench.harness.contender import Contender, ready, repeated, require
from flow_bench.harness.interleave import Samples, interleave, interleave_on_loop
from flow_bench.harness.loops import EAGER, eager
from flow_bench.harness.rows import JUDGED, US, Row, Target, ratios
from flow_bench.harness.work import DONE, noop

HELD = 100
"""Task results in the runs that map."""
KILOBYTES = 10
ROWS = 270
"""Integers in a result: 28 bytes each, 8 in the list, which makes 10 KB."""
_MADE: list[dict[str, Any]] = []

Kind: TypeAlias = Literal["sync", "async"]


@dataclass(frozen=True)
class Effort:
    """How much to measure."""
    sizes: tuple[int, ...] = (10, 100, 1_000, 10_000, 100_000)
    nodes: int = 10_000  # most plain nodes in a plan
    rounds: int = 15
    traced: int = 10_000
    waiting: int = 1_000
    waiting_rounds: int = 15


QUICK = Effort(rounds=4, traced=2_000, waiting_rounds=5)


def result(number: int) -> dict[str, Any]:
    """Return what one task leaves: 10 KB of Python objects."""
    return {"task": number, "rows": [1_000 * number + row for row in range(1_000, 1_000 + ROWS)]}


def results(count: int) -> dict[str, Any]:
    """Return ``count`` results by the names of their nodes; the same objects each time."""
    while len(_MADE) < count:
        _MADE.append(result(len(_MADE)))
    return {f"r{i}": _MADE[i] for i in range(count)}


def dag_of(count: int) -> flow.Dag:
    """Return a Dag of ``count`` nodes that return the results."""
    dag = flow.Dag("results")
    for name, value in results(count).items():
        dag.add(name, partial(_given, value))
    return dag


def _given(value: Any, /) -> Any:
    return value


def take(item: Any) -> str:
    """Return at once."""
    return DONE


async def take_async(item: Any) -> str:
    """Return without suspending."""
    return DONE


def take_and_see(item: Any, ctx: flow.Context, r0: Any) -> str:
    """As :func:`take`, given the item's context and an upstream output too."""
    return DONE


async def take_and_see_async(item: Any, ctx: flow.Context, r0: Any) -> str:
    """As :func:`take_and_see`."""
    return DONE


FUNCTIONS: dict[Kind, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "sync": (take, take_and_see), "async": (take_async, take_and_see_async),
}  # fmt: skip


def mapped(fn: Callable[..., Any], held: int, concurrency: int = 50) -> flow.Plan:
    """``held`` results, then one map over the input ``items``."""
    dag = dag_of(held)
    dag.map("mapped", fn, over="items", concurrency=concurrency)
    return dag.compile()


def plain(fn: Callable[..., Any], held: int, nodes: int) -> flow.Plan:
    """``held`` results, then so many nodes of one argument, which all are given the first result."""
    dag = dag_of(held)
    for i in range(nodes):
        dag.add(f"n{i}", fn, needs={"item": "r0"})
    return dag.compile()


def way(kind: Kind, label: str, plan: flow.Plan, items: Sequence[int] | None, done: Callable[[Any], bool]) -> Contender:
    """Run a plan, several times if it is small; in seconds per run."""
    inputs = None if items is None else {"items": items}
    count = max(len(plan), 0 if items is None else len(items))
    times = max(1, 20_000 // count)
    call: Any = flow.run if kind == "sync" else flow.execute
    return repeated(label, partial(call, plan, inputs), times, done, on_loop=kind == "async")


def all_mapped(count: int, result: flow.Result) -> bool:
    """Tell whether the function was called with every item."""
    found: list[Any] = result["mapped"]
    return len(found) == count == found.count(DONE)


def all_run(count: int, result: flow.Result) -> bool:
    """Tell whether that many nodes left an output."""
    return result.ok and len(result.outputs) == count


ALONE = "the results alone"


def map_ways(kind: Kind, effort: Effort) -> list[Contender]:
    """The results alone; every size as items and as plain nodes, given one value or a Context and an output too."""
    ways = [way(kind, ALONE, plain(noop, HELD, 0), None, partial(all_run, HELD))]
    for given, fn in zip(GIVEN, FUNCTIONS[kind], strict=True):
        over = mapped(fn, HELD)
        for count in effort.sizes:
            items = list(range(count))
            ways.append(way(kind, label(count, "items", given), over, items, partial(all_mapped, count)))
            if count <= effort.nodes:
                nodes, done = plain(fn, HELD, count), partial(all_run, HELD + count)
                ways.append(way(kind, label(count, "nodes", given), nodes, None, done))
    return ways


GIVEN = ("", " with ctx and an output")


def label(count: int, what: str, given: str) -> str:
    """Name a contender."""
    return f"{count:,} {what}{given}"


def map_section(effort: Effort) -> Iterator[list[Row]]:
    """Yield time, sync and async, then memory."""
    yield map_rows("sync", interleave(map_ways("sync", effort), effort.rounds, memory=False), effort)
    on_loop = interleave_on_loop(map_ways("async", effort), effort.rounds, memory=False)
    yield map_rows("async", asyncio.run(on_loop), effort)
    yield list(memory_rows(effort))


def map_rows(kind: Kind, samples: Samples, effort: Effort) -> list[Row]:
    """Per item and per node, after the price of the results is taken off."""
    section = (
        f"map over {HELD} results of {KILOBYTES} KB, {kind}: us per item above a run of the results alone, "
        "ratio to as many nodes given the same"
    )
    rows = []
    for given in GIVEN:
        for count in effort.sizes:
            nodes = min(count, effort.nodes)
            base = _above(samples, label(nodes, "nodes", given), nodes)
            if count <= effort.nodes:
                rows.append(Row(section, label(count, "nodes", given), "us", base, nodes=count))
            title, target = label(count, "items", given), _target(count, given)
            each = _above(samples, title, count)
            rows.append(Row(section, title, "us", each, ratios=ratios(each, base), nodes=count, target=target))
    large = max(effort.sizes)
    if JUDGED in effort.sizes and large > JUDGED:
        small, big = (_above(samples, label(count, "items", ""), count) for count in (JUDGED, large))
        title = f"one of {large:,} items / one of {JUDGED:,}"
        rows.append(Row(section, title, "x", ratios(big, small), target=Target(1.5, of="figure")))
    return rows


def _target(count: int, given: str) -> Target | None:
    """What binds is set for 1,000 items that take nothing else."""
    if count < JUDGED:
        return None
    return Target(1.5) if count == JUDGED and not given else Target(1.5, binding=False)


def _above(samples: Samples, label: str, count: int) -> list[float]:
    return [(mine - alone) / count * US for mine, alone in zip(samples[label], samples[ALONE], strict=True)]


def memory_rows(effort: Effort) -> Iterator[Row]:
    """Peak of a run that maps, per item, beside the same run without any results."""
    section = f"memory at the peak of a run that maps {effort.traced:,} items, traced; ratio to no results"
    items = {"items": list(range(effort.traced))}
    for kind, functions in FUNCTIONS.items():
        base: list[float] = []
        for held in (0, HELD):
            plan = mapped(functions[0], held)
            peak, result = traced_peak(partial(flow.run if kind == "sync" else _executed, plan, items))
            label = f"{kind}: {held} results"
            require(all_mapped(effort.traced, result), label, "not every item was mapped")
            each = [peak / effort.traced]
            base = base or each
            target = Target(1.1, binding=True) if held else None
            yield Row(section, label, "bytes per item", each, ratios=ratios(each, base), target=target)


def _executed(plan: flow.Plan, items: dict[str, Any]) -> flow.Result:
    return asyncio.run(flow.execute(plan, items))


async def wait(item: Any) -> str:
    """Sleep for a millisecond."""
    await asyncio.sleep(0.001)
    return DONE


def waiting_section(effort: Effort) -> Iterator[list[Row]]:
    """Items that sleep, beside tasks written by hand; wall time."""
    count, rounds = effort.waiting, effort.waiting_rounds
    yield [row for most in (50, count) for row in asyncio.run(_waiting_rows(count, most, rounds))]


async def _waiting_rows(count: int, concurrency: int, rounds: int) -> list[Row]:
    items, eagerly = range(count), "eager " if EAGER else ""
    by_hand: dict[str, Callable[..., Awaitable[Any]]] = {f"{eagerly}tasks": unbounded_tasks}
    if concurrency < count:
        by_hand = {f"{eagerly}tasks and a semaphore": semaphore_tasks, "as many workers": workers}
    ways = [
        ready(what, partial(hand, items, concurrency), lambda found: found.count(DONE) == count == len(found))
        for what, hand in by_hand.items()
    ]
    run = partial(flow.execute, mapped(wait, 0, concurrency), {"items": list(items)})
    samples = await interleave_on_loop([*ways, ready("Dag.map", run, partial(all_mapped, count))], rounds, waits=True)
    section = f"{count:,} items that sleep 1 ms, ratio to tasks written by hand"
    return samples.rows(section, "ms", prefix=f"{concurrency:,} at a time: ")


async def unbounded_tasks(items: Sequence[int], concurrency: int) -> list[str]:
    """A task per item."""
    return [await task for task in [eager(wait(item)) for item in items]]


async def semaphore_tasks(items: Sequence[int], concurrency: int) -> list[str]:
    """A task per item, which waits for the semaphore first."""
    semaphore = asyncio.Semaphore(concurrency)

    async def bounded(item: int) -> str:
        async with semaphore:
            return await wait(item)

    return [await task for task in [eager(bounded(item)) for item in items]]


async def workers(items: Sequence[int], concurrency: int) -> list[str]:
    """As many tasks as may run, which take items from one iterator."""
    found, rest = [""] * len(items), iter(enumerate(items))

    async def worker() -> None:
        for i, item in rest:
            found[i] = await wait(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(worker())
    return found
