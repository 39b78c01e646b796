"""Many workflows at once in one process: when they are done, and what each of them holds while it is alive.

A workflow is a chain of ten async nodes that each wait 1 ms (``asyncio.sleep(0.001)``) and pass on a number, so that
its output tells how many nodes have run. All are begun in one go, each in an eager task (a plain one before 3.12).
What differs is what such a task awaits:

* ``flow.execute`` of a plan compiled before;
* the ten functions, one after the other: *a task per workflow*, no more than a program written for this one case;
* a further eager task for each node, started when the one before it is done: *a task per node*, no more than a
  program that could run any graph.

The collector stays on, as it is in programs, and runs before each sample. Completion is counted from the moment the
first of all workflows was begun.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter, process_time
from typing import Any, TypeAlias

import flow
from flow_bench.harness.allocations import collecting
from flow_bench.harness.contender import Contender, Refused, require
from flow_bench.harness.loops import EAGER, eager
from flow_bench.harness.rows import Measured, Row, Target, percentile, ratios

NODES = 10
WAIT = 0.001
CROWD = 10_000
MS = 1e3
SECTION = "live"

Fn: TypeAlias = Callable[..., Coroutine[Any, Any, int]]
Workflow: TypeAlias = Callable[[], Awaitable[int]]


def as_flow(fns: Sequence[Fn]) -> Workflow:
    """``flow.execute``, and its last output."""
    dag, last = flow.Dag("live"), f"n{len(fns) - 1}"
    for k, fn in enumerate(fns):
        dag.add(f"n{k}", fn, needs=[f"n{k - 1}"] if k else [])
    plan = dag.compile()

    async def workflow() -> int:
        output: int = (await flow.execute(plan))[last]
        return output

    return workflow


def as_one_task(fns: Sequence[Fn]) -> Workflow:
    """Await one function after the other."""

    async def workflow() -> int:
        value = 0
        for fn in fns:
            value = await fn(value)
        return value

    return workflow


def as_task_per_node(fns: Sequence[Fn]) -> Workflow:
    """An eager task for each function; when one ends, its callback starts the next."""

    async def workflow() -> int:
        joined: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        left = iter(fns)

        def start(before: asyncio.Task[int] | None) -> None:
            fn = next(left, None)
            value = 0 if before is None else before.result()
            if fn is None:
                joined.set_result(value)
            else:
                eager(fn(value)).add_done_callback(start)

        start(None)
        return await joined

    return workflow


def lost(outputs: Sequence[int], wanted: Sequence[int]) -> str | None:
    """Say which workflows of a burst were lost, or did not run as many nodes as they have."""
    if len(outputs) != len(wanted):
        return f"{len(outputs)} of {len(wanted)} workflows finished"
    wrong = Counter(outputs) - Counter(wanted)
    if not wrong:
        return None
    output, times = wrong.most_common(1)[0]
    return f"{times} workflows of {wanted[0]} nodes returned {output}"


WAYS = (
    Contender("flow.execute", as_flow, lost),
    Contender(f"{'eager ' if EAGER else ''}task per workflow", as_one_task, lost),
    Contender(f"{'eager ' if EAGER else ''}task per node", as_task_per_node, lost),
)
OURS, BARE, PER_NODE = (way.label for way in WAYS)


STEPS = itertools.count()
"""Counts the calls of :func:`step`: a workflow that answers without them is no workflow."""


async def step(before: int = 0) -> int:
    """Wait, then count one node more."""
    await asyncio.sleep(WAIT)
    next(STEPS)
    return before + 1


@dataclass(frozen=True)
class Burst:
    """How one burst of workflows went."""

    ends: list[float]  # seconds from the start of the first workflow to each one's end
    collecting: float  # seconds in the collector
    cpu: float  # seconds of CPU time in all

    @property
    def p99(self) -> float:
        """When 99 of 100 were done, in ms; with the CPU time of all."""
        return Measured(percentile(self.ends, 99) * MS, self.cpu * MS)

    @property
    def throughput(self) -> float:
        return len(self.ends) / max(self.ends)


async def burst(way: Contender, workflow: Workflow, count: int, nodes: int = NODES) -> Burst:
    """Begin ``count`` workflows at once and wait for all. :raises Refused: unless each ran all of its nodes."""
    ends: list[float] = []
    outputs: list[int] = []

    async def one() -> None:
        outputs.append(await workflow())
        ends.append(perf_counter())

    gc.collect()
    with collecting() as pauses:
        used, began = process_time(), perf_counter()
        tasks = [eager(one()) for _ in range(count)]
        for task in tasks:
            await task
        used = process_time() - used
    way.refuse_unless_done(outputs, [nodes] * count)
    return Burst([end - began for end in ends], sum(pauses), used)


async def check(way: Contender, count: int = 3) -> None:
    """Run a few workflows of nodes that record. :raises Refused: unless each node of each was called once, in order."""
    calls: list[tuple[int, int]] = []

    def node(k: int) -> Fn:
        async def recording(before: int = 0) -> int:
            await asyncio.sleep(0)
            calls.append((k, before))
            return before + 1

        return recording

    await burst(way, way.make([node(k) for k in range(NODES)]), count)
    if Counter(calls) != Counter({(k, k): count for k in range(NODES)}):
        raise Refused(way.label, [f"{count} workflows of {NODES} nodes made the calls {Counter(calls)}"])


async def completion(ways: Sequence[Contender], count: int, rounds: int) -> list[Row]:
    """Rows of one size: the ways in turn, round after round, in an order that turns."""
    bursts: dict[str, list[Burst]] = {way.label: [] for way in ways}
    workflows = {way.label: way.make([step] * NODES) for way in ways}
    for way in ways:
        await check(way)
    for turn in range(rounds):
        for k in range(len(ways)):
            way = ways[(turn + k) % len(ways)]
            before = next(STEPS)
            bursts[way.label].append(await burst(way, workflows[way.label], count))
            called = next(STEPS) - before - 1
            if called != count * NODES:
                raise Refused(way.label, [f"{called} calls were made in {count} workflows of {NODES} nodes"])
    return list(_completion_rows(bursts, count))


def _completion_rows(bursts: dict[str, list[Burst]], count: int) -> Iterator[Row]:
    p99 = {label: [one.p99 for one in found] for label, found in bursts.items()}
    for label, found in bursts.items():
        spent = sum(one.collecting for one in found) / sum(max(one.ends) for one in found)
        p50 = percentile([end * MS for one in found for end in one.ends], 50)
        target, over = Target(2.0) if label == OURS and count == CROWD else None, ratios(p99[label], p99[BARE])
        title, figures = f"P99 completion, {label}", {"p50": p50}
        row = Row(SECTION, title, "ms", p99[label], ratios=over, nodes=count, target=target, figures=figures)
        of_cpu = f"{median(row.cpu):.2f}x of the CPU time, " if row.cpu and label != BARE else ""
        row.note = f"{of_cpu}{spent:.0%} of the time in the collector"
        yield row
    if PER_NODE in p99:
        twice, over = Target(2.0, of="figure") if count == CROWD else None, ratios(p99[OURS], p99[PER_NODE])
        yield Row(SECTION, f"  {OURS} / {PER_NODE}", "x", over, nodes=count, target=twice)
    done = {label: [one.throughput for one in found] for label, found in bursts.items()}
    for label, rates in done.items():
        unit, over = "workflows/s", ratios(rates, done[BARE])
        yield Row(SECTION, f"throughput, {label}", unit, rates, ratios=over, nodes=count, better="higher")


class Gate:
    """Where nodes wait until all have come: on a future and a timer, which is what a sleep holds."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[None]] = []

    async def wait(self) -> None:
        """Wait as ``asyncio.sleep(3600)`` does, or until :meth:`open`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(3_600, future.cancel)
        self.waiting.append(future)
        try:
            await future
        finally:
            timer.cancel()

    def open(self) -> None:
        for future in self.waiting:
            future.set_result(None)


async def all_waiting(
    way: Contender,
    count: int,
    look: Callable[[], float],
    start: Callable[[Workflow], Awaitable[int]],
    nodes: int = NODES,
) -> float:
    """What ``look`` returns while all of ``count`` workflows, each begun by ``start``, wait in their sixth node."""
    gate = Gate()

    async def held(before: int = 0) -> int:
        await gate.wait()
        return before + 1

    async def turn(before: int = 0) -> int:
        await asyncio.sleep(0)
        return before + 1

    fns: list[Fn] = [turn] * nodes
    fns[nodes // 2] = held
    workflow = way.make(fns)
    look()
    tasks = [start(workflow) for _ in range(count)]
    for _ in range(100):
        await asyncio.sleep(0)
    found = look()
    alive = len(gate.waiting)
    require(alive == count, way.label, f"{alive} of {count} workflows were alive in their sixth node")
    gate.open()
    way.refuse_unless_done([await task for task in tasks], [nodes] * count)
    return found


async def bytes_each(way: Contender, count: int) -> float:
    """Python memory that each of ``count`` workflows holds while all wait in their sixth node, garbage collected."""
    before = 0

    def look() -> float:
        """At first, nothing is held."""
        nonlocal before
        gc.collect()
        if not tracemalloc.is_tracing():
            tracemalloc.start(1)
            before = tracemalloc.get_traced_memory()[0]
        return tracemalloc.get_traced_memory()[0] - before

    try:
        return await all_waiting(way, count, look, lambda workflow: eager(_await(workflow))) / count
    finally:
        tracemalloc.stop()


async def _await(workflow: Workflow) -> int:
    return await workflow()


async def memory(ways: Sequence[Contender], count: int) -> list[Row]:
    """Rows of one size."""
    rows = []
    for way in ways:
        label, target = f"memory of each while alive, {way.label}", Target(12_000, of="figure")
        each = [await bytes_each(way, count)]
        rows.append(Row(SECTION, label, "bytes", each, nodes=count, target=target if way.label == OURS else None))
    return rows


@dataclass(frozen=True)
class Effort:
    """How much to measure: rounds of up to 1,000 workflows, and of more."""
    counts: Sequence[int] = (10, 100, 1_000, CROWD)
    rounds: int = 15
    crowd_rounds: int = 5
    all_ways_up_to: int = CROWD
    memory_up_to: int = CROWD


QUICK = Effort(rounds=6, crowd_rounds=3, all_ways_up_to=1_000, memory_up_to=100)


def run(effort: Effort) -> list[Row]:
    """Return the rows of all numbers of workflows."""
    rows: list[Row] = []
    for count in effort.counts:
        ways = WAYS if count <= effort.all_ways_up_to else WAYS[:2]
        with warnings.catch_warnings():  # a pause of the collector within a node's step counts as the node's
            warnings.simplefilter("ignore", flow.errors.BlockingNodeWarning)
            rows += asyncio.run(completion(ways, count, effort.rounds if count < CROWD else effort.crowd_rounds))
            if count <= effort.memory_up_to:
                rows += asyncio.run(memory(ways, count))
    return rows
