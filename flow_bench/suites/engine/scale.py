"""The scale suite: every phase at 100,000 and 1,000,000 nodes, each graph and size in a process of its own.

A further process at the larger size only builds, compiles and runs; its peak memory is what is reported.
The garbage collector is left as it is. Child processes print one JSON object.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any, TypeAlias

import flow
from flow_bench.harness.child import answer, child
from flow_bench.harness.contender import require
from flow_bench.harness.processes import peak_mb
from flow_bench.harness.rows import Row, Target
from flow_bench.harness.work import noop, noop_async

Seconds: TypeAlias = dict[str, float]
PHASES = ("build", "compile", "run sync", "run async", "fail at the first node", "cancel", "render Mermaid")
TOTAL = "all phases"
WIDE, DEEP = "a route to all nodes bypasses all but one", "a route bypasses a chain"
YARDSTICK = "yardstick: a dict of all names"
"""Grows with no target: what the machine's caches alone make of ten times as many names."""

COLLECT = flow.Config(on_error="collect")


@dataclass(frozen=True)
class Effort:
    """The two sizes, and how many processes to take the medians over."""
    small: int = 100_000
    large: int = 1_000_000
    small_rounds: int = 3
    large_rounds: int = 3


QUICK = Effort(small=10_000, large=100_000)


def topologies() -> Mapping[str, Callable[..., flow.Dag]]:
    """The three graphs."""
    made = flow.topologies
    return {"chain": made.linear, "diamond": made.diamond, "sparse random": made.sparse_random}


def phases(topology: str, nodes: int) -> Seconds:
    """Seconds of each phase, each checked for what it left."""
    make = topologies()[topology]
    seconds: Seconds = {}
    _sync_phases(make, nodes, seconds)
    asyncio.run(_async_phases(make, nodes, seconds))
    first = [True]

    def fails_first(*values: object) -> None:
        if first and first.pop():
            raise ValueError("the first node fails")

    failing = make(nodes, fn=fails_first).compile()
    result = _timed(seconds, "fail at the first node", lambda: flow.run(failing, config=COLLECT))
    skipped = len(failing.descendants("n0"))
    expected = {flow.Status.FAILED: 1, flow.Status.SKIPPED: skipped, flow.Status.COMPLETED: nodes - 1 - skipped}
    _require(result.counts == {status: n for status, n in expected.items() if n}, "fail at the first node")
    return seconds


def _sync_phases(make: Callable[..., flow.Dag], nodes: int, seconds: Seconds) -> None:
    dag = _timed(seconds, "build", lambda: make(nodes, fn=noop))
    plan = _timed(seconds, "compile", dag.compile)
    found = _timed(seconds, YARDSTICK, lambda: _look_all_up([f"x{i}" for i in range(nodes)]))
    _require(found == nodes, YARDSTICK)
    result = _timed(seconds, "run sync", lambda: flow.run(plan))
    _require(result.ok and result.counts == {flow.Status.COMPLETED: nodes}, "run sync")
    text = _timed(seconds, "render Mermaid", lambda: flow.render.to_mermaid(plan))
    _require(text.count("\n") == 1 + nodes + plan.edge_count, "render Mermaid")


async def _async_phases(make: Callable[..., flow.Dag], nodes: int, seconds: Seconds) -> None:
    plan = make(nodes, fn=noop_async).compile()
    began = perf_counter()
    result = await flow.execute(plan)
    seconds["run async"] = perf_counter() - began
    _require(result.ok and result.counts == {flow.Status.COMPLETED: nodes}, "run async")
    del plan, result

    entered = asyncio.Event()

    async def waits_first(*values: object) -> None:
        if not entered.is_set():
            entered.set()
            await asyncio.get_running_loop().create_future()

    plan = make(nodes, fn=waits_first).compile()
    began = perf_counter()
    task = asyncio.create_task(flow.execute(plan))  # type: ignore[arg-type,unused-ignore]
    await entered.wait()
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    seconds["cancel"] = perf_counter() - began
    _require(task.cancelled(), "cancel")


def routed(nodes: int) -> Seconds:
    """Seconds of runs in which a router bypasses all nodes but one: those it leads to, or a chain behind one."""
    seconds: Seconds = {}
    for phase, make, left_out in ((WIDE, _wide, nodes - 1), (DEEP, _deep, nodes)):
        plan = make(nodes).compile()
        result = _timed(seconds, phase, partial(flow.run, plan))
        _require(result.counts == {flow.Status.COMPLETED: 2, flow.Status.BYPASSED: left_out}, phase)
        del plan, result
    return seconds


def _wide(nodes: int) -> flow.Dag:
    dag = flow.Dag("wide")
    dag.route("router", lambda: 0, to={i: f"n{i}" for i in range(nodes)})
    for i in range(nodes):
        dag.add(f"n{i}", noop)
    return dag


def _deep(nodes: int) -> flow.Dag:
    dag = flow.Dag("deep")
    dag.route("router", lambda: 0, to={0: "chosen", 1: "n0"})
    dag.add("chosen", noop)
    for i in range(nodes):
        dag.add(f"n{i}", noop, needs=[f"n{i - 1}"] if i else [])
    return dag


def memory(topology: str, nodes: int, kind: str) -> Seconds:
    """Build, compile and run; return the process's peak memory in MB (10**6 bytes), and before anything was built."""
    before = peak_mb()
    plan = topologies()[topology](nodes, fn=noop_async if kind == "async" else noop).compile()
    result = flow.run(plan)
    _require(result.counts == {flow.Status.COMPLETED: nodes}, "run")
    return {"peak MB": peak_mb(), "before MB": before}


def _look_all_up(names: list[str]) -> int:
    """Index fresh names in a dict and look each one up, as the least that compiling can do."""
    index = {name: i for i, name in enumerate(names)}
    return len([index[name] for name in names])


def _timed(seconds: Seconds, phase: str, operation: Callable[[], Any]) -> Any:
    began = perf_counter()
    made = operation()
    seconds[phase] = perf_counter() - began
    return made


def _require(true: bool, label: str) -> None:
    require(true, label, "it left other counts than it should")


def run(effort: Effort) -> Iterator[list[Row]]:
    """Yield one table of phases per topology, then those of routing and of memory."""
    for topology in topologies():
        small = [child("suites.engine.scale", "phases", topology, effort.small) for _ in range(effort.small_rounds)]
        large = [child("suites.engine.scale", "phases", topology, effort.large) for _ in range(effort.large_rounds)]
        section = f"{topology}: {effort.large:,} nodes, ratio to {effort.small:,}"
        for seconds in (*small, *large):
            seconds[TOTAL] = sum(seconds[phase] for phase in PHASES)
        yield _grown(section, (*PHASES, TOTAL, YARDSTICK), small, large, effort)
    small = [child("suites.engine.scale", "routed", effort.small) for _ in range(effort.small_rounds)]
    large = [child("suites.engine.scale", "routed", effort.large) for _ in range(effort.large_rounds)]
    yield _grown(f"routing: {effort.large:,} nodes, ratio to {effort.small:,}", (WIDE, DEEP), small, large, effort)
    yield [_memory_row(kind, topology, effort.large) for topology in topologies() for kind in ("sync", "async")]


def _grown(
    section: str, phases: Sequence[str], small: Sequence[Seconds], large: Sequence[Seconds], effort: Effort
) -> list[Row]:
    """A row per phase: what it takes at the larger size, and how much more that is."""
    rows, factor = [], 1.1 * effort.large / effort.small
    for phase in phases:
        base = median(seconds[phase] for seconds in small)
        samples = [seconds[phase] for seconds in large]
        target = Target(round(factor, 2), binding=True) if phase != YARDSTICK else None
        growth = [sample / base for sample in samples]
        note = f"{effort.small:,}: {base:.3f} s"
        rows.append(Row(section, phase, "s", samples, ratios=growth, nodes=effort.large, target=target, note=note))
    return rows


def _memory_row(kind: str, topology: str, nodes: int) -> Row:
    found = child("suites.engine.scale", "memory", topology, nodes, kind)
    target = Target(900, of="figure", binding=True) if nodes >= 1_000_000 else None
    note = f"{(found['peak MB'] - found['before MB']) * 1e6 / nodes:,.0f} bytes per node"
    section = f"peak RSS of a process that builds, compiles and runs {nodes:,} nodes"
    return Row(section, f"{topology}, {kind}", "MB", [found["peak MB"]], nodes=nodes, target=target, note=note)


if __name__ == "__main__":
    answer(phases, routed, memory)
