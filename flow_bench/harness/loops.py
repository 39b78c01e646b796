"""What is compared: ways to run the same graph of no-op nodes, each a small function with a label.

``prepare(work)`` is not timed and returns the operation that is. The operation calls every node
once, after its dependencies, stores its output and passes it to its dependents; the two "bare loops" only call,
and are the floor. Hand-written loops have their index lists (successors, in-degrees) made in ``Work``, outside
the timing, as a plan has.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from graphlib import TopologicalSorter
from typing import Any

import anyio

import flow
from flow_bench.harness.contender import Contender, Floor, Operation
from flow_bench.harness.work import Work

EAGER = sys.version_info >= (3, 12)
"""Whether asyncio can start a task eagerly."""
LOOP = flow.Config(optimize=False)
HOT = flow.Config(optimize="at_once")


def eager(body: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Start a task within this call where asyncio can."""
    loop = asyncio.get_running_loop()
    if EAGER:
        return asyncio.Task(body, loop=loop, eager_start=True)  # type: ignore[call-arg,unused-ignore]
    return loop.create_task(body)


Prepare = Callable[[Work], Operation]


def on_graph(label: str, prepare: Prepare, outputs: Callable[[Any], Sequence[Any]] = lambda raw: raw) -> Contender:
    """Return a contender for a :class:`Work`, which calls every node once and passes every output on.

    :param prepare: makes the operation.
    :param outputs: all outputs in node order, from what the operation returned; not timed.
    """

    def check(raw: Any, work: Work) -> str | None:
        found = list(outputs(raw))
        if found == work.outputs:
            return None
        right = sum(one == wanted for one, wanted in zip(found, work.outputs, strict=False))
        return f"a run left {right} outputs, not {len(work.outputs)}"

    return Contender(label, prepare, check)


def calls_only(label: str, prepare: Prepare) -> Floor:
    """Return a floor for such contenders: it passes nothing and returns the last output alone."""

    def check(raw: Any, work: Work) -> str | None:
        return None if raw == [work.outputs[-1]] else f"it left {raw!r}, not the last output"

    return Floor(label, prepare, check)


def bare_loop(work: Work) -> Operation:
    """Call every function without arguments; keep only the last output."""
    fns = work.kinds["sync"]

    def run() -> list[Any]:
        output = None
        for fn in fns:
            output = fn()
        return [output]

    return run


def ordered_loop(work: Work) -> Operation:
    """Call in a known order with the dependencies' outputs: what remains if nothing is ever counted or checked."""
    fns, dependencies = work.kinds["sync"], work.dependencies

    def run() -> list[Any]:
        outputs: list[Any] = [None] * len(fns)
        for i in range(len(fns)):
            outputs[i] = fns[i](*[outputs[d] for d in dependencies[i]])
        return outputs

    return run


def counter_loop(work: Work) -> Operation:
    """Count down in-degrees, call what is ready with its dependencies' outputs."""
    fns, dependencies, successors = work.kinds["sync"], work.dependencies, work.successors
    in_degrees, roots = work.in_degrees, work.roots

    def run() -> list[Any]:
        waiting, ready = in_degrees.copy(), roots.copy()
        outputs: list[Any] = [None] * len(fns)
        for i in ready:  # grows meanwhile
            outputs[i] = fns[i](*[outputs[d] for d in dependencies[i]])
            for s in successors[i]:
                if still := waiting[s] - 1:
                    waiting[s] = still
                else:
                    ready.append(s)
        return outputs

    return run


def graphlib_drive(work: Work, *, build: bool) -> Operation:
    """Ask a TopologicalSorter what is ready and tell it what is done; with ``build``, make and prepare it too."""
    fns, dependencies = work.kinds["sync"], work.dependencies
    graph = dict(enumerate(dependencies))

    def prepared() -> TopologicalSorter[int]:
        sorter = TopologicalSorter(graph)
        sorter.prepare()
        return sorter

    ready_made = None if build else prepared()

    def run() -> list[Any]:
        sorter = ready_made or prepared()
        outputs: list[Any] = [None] * len(fns)
        while sorter.is_active():
            ready = sorter.get_ready()
            for i in ready:
                outputs[i] = fns[i](*[outputs[d] for d in dependencies[i]])
            sorter.done(*ready)
        return outputs

    return run


def flow_run(work: Work, *, fresh: bool = False, config: flow.Config = LOOP) -> Operation:
    """``flow.run`` of a compiled all-sync plan: its first run ever, or one of many (hot: code exists already)."""
    return partial(flow.run, work.plan("sync", fresh=fresh), config=config)


def bare_await_loop(work: Work) -> Operation:
    """Await every function without arguments; keep only the last output."""
    fns = work.kinds["async"]

    async def run() -> list[Any]:
        output = None
        for fn in fns:
            output = await fn()
        return [output]

    return run


def eager_tasks(work: Work, *, kind: str = "async") -> Operation:
    """An eagerly started task per node (asyncio, 3.12+), in-degrees counted down.

    What a task makes ready waits in a list: starting it within would nest a thousand deep.
    """
    fns, dependencies, successors = work.kinds[kind], work.dependencies, work.successors
    in_degrees, roots = work.in_degrees, work.roots

    async def run() -> list[Any]:
        loop = asyncio.get_running_loop()
        waiting, ready = in_degrees.copy(), roots.copy()
        outputs: list[Any] = [None] * len(fns)
        pending: set[asyncio.Task[None]] = set()
        joined: asyncio.Future[None] = loop.create_future()

        async def node(i: int) -> None:
            outputs[i] = await fns[i](*[outputs[d] for d in dependencies[i]])
            for s in successors[i]:
                if still := waiting[s] - 1:
                    waiting[s] = still
                else:
                    ready.append(s)

        def start_ready(ended: asyncio.Task[None] | None = None) -> None:
            if ended is not None:
                pending.discard(ended)
            while ready:
                task = asyncio.Task(node(ready.pop()), loop=loop, eager_start=True)  # type: ignore[call-arg,unused-ignore]
                if not task.done():
                    pending.add(task)
                    task.add_done_callback(start_ready)
            if not pending and not joined.done():
                joined.set_result(None)

        start_ready()
        await joined
        return outputs

    return run


def task_per_node(work: Work, *, kind: str = "async") -> Operation:
    """``asyncio.create_task`` per node as it becomes ready; the last node wakes the caller."""
    fns, dependencies, successors = work.kinds[kind], work.dependencies, work.successors
    in_degrees, roots = work.in_degrees, work.roots

    async def run() -> list[Any]:
        loop = asyncio.get_running_loop()
        waiting = in_degrees.copy()
        outputs: list[Any] = [None] * len(fns)
        tasks: list[asyncio.Task[None]] = []  # the loop itself holds them weakly
        left = len(fns)
        joined: asyncio.Future[None] = loop.create_future()

        async def node(i: int) -> None:
            nonlocal left
            outputs[i] = await fns[i](*[outputs[d] for d in dependencies[i]])
            for s in successors[i]:
                if still := waiting[s] - 1:
                    waiting[s] = still
                else:
                    tasks.append(loop.create_task(node(s)))
            left -= 1
            if not left:
                joined.set_result(None)

        tasks += [loop.create_task(node(i)) for i in roots]
        await joined
        return outputs

    return run


def start_soon_per_node(work: Work, *, open_group: Callable[[], Any] = anyio.create_task_group) -> Operation:
    """``start_soon`` per node as it becomes ready, in an anyio task group or a trio nursery, which joins them."""
    fns, dependencies, successors = work.kinds["async"], work.dependencies, work.successors
    in_degrees, roots = work.in_degrees, work.roots

    async def run() -> list[Any]:
        waiting = in_degrees.copy()
        outputs: list[Any] = [None] * len(fns)

        async def node(i: int) -> None:
            outputs[i] = await fns[i](*[outputs[d] for d in dependencies[i]])
            for s in successors[i]:
                if still := waiting[s] - 1:
                    waiting[s] = still
                else:
                    group.start_soon(node, s)

        async with open_group() as group:
            for i in roots:
                group.start_soon(node, i)
        return outputs

    return run


def flow_execute(
    work: Work, *, kind: str = "async", fresh: bool = False, config: flow.Config | None = None
) -> Operation:
    """``await flow.execute`` of a compiled plan: its first run ever, or one of many."""
    return partial(flow.execute, work.plan(kind, fresh=fresh), config=config)


def outputs_of(result: flow.Result) -> Sequence[Any]:
    """All outputs of a flow result, in node order."""
    return list(result.outputs.values())
