"""Many threads and tasks on one store: nothing is lost, and what it costs by preset."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from threading import Barrier, Thread
from time import perf_counter
from typing import Any

import flow
from flow_bench.harness.contender import Refused, ready
from flow_bench.harness.interleave import Samples, interleave, schedule
from flow_bench.harness.rows import US, Row
from flow_bench.harness.stores import PRESETS, config_of, made

KINDS = (*PRESETS, "locked=True")
THREADS = 16
BATCH = 50
"""Turns of a thread between two looks at the clock."""


@dataclass(frozen=True)
class Effort:
    """How much to measure."""
    seconds: float = 0.4  # of 16 threads, per sample
    rounds: int = 5
    longest: float = 5.0  # one sample of this length, of default
    completions: int = 100
    completion_rounds: int = 9


QUICK = Effort(seconds=0.03, rounds=3, longest=0.2, completion_rounds=3)


def run(effort: Effort) -> Iterator[list[Row]]:
    """Yield the rows of two tables."""
    yield list(_throughput(effort))
    yield [*_completions("threads", effort), *_completions("tasks", effort)]


def together(data: flow.WorkflowData, seconds: float) -> tuple[int, float]:
    """Let 16 threads increment one key, set one of their own and get it back: operations, and seconds."""
    turns, wrong = [0] * THREADS, []
    barrier = Barrier(THREADS + 1)

    def work(mine: int) -> None:
        key, until, done = f"thread:{mine}", 0.0, 0
        barrier.wait()
        until = perf_counter() + seconds
        while perf_counter() < until:
            for number in range(done, done + BATCH):
                data.increment("total")
                data.set(key, number)
                if data.get(key) != number:
                    wrong.append(f"thread {mine} found another value than it had set")
            done += BATCH
        turns[mine] = done

    threads = [Thread(target=work, args=(i,)) for i in range(THREADS)]
    for thread in threads:
        thread.start()
    barrier.wait()
    began = perf_counter()
    for thread in threads:
        thread.join()
    took = perf_counter() - began
    if data.get("total") != sum(turns):
        wrong.append(f"the total is {data.get('total')} after {sum(turns)} increments")
    if wrong or not all(turns):
        raise Refused(f"{THREADS} threads", wrong or ["a thread did nothing"])
    return 3 * sum(turns), took


def _throughput(effort: Effort) -> Iterator[Row]:
    section = f"{THREADS} threads on one store (increment, set, get), us per operation of any, ratio to default"
    samples = Samples(KINDS)
    for turn, which in schedule(len(KINDS), effort.rounds):
        operations, took = together(made(KINDS[which]), effort.seconds if turn >= 0 else 0.02)
        if turn >= 0:
            samples[KINDS[which]].append(took / operations)
    for row in samples.rows(section, "us", "default"):
        yield replace(row, note=f"{1 / median(row.samples):.2f} million per s, exact total")
    operations, took = together(made("default"), effort.longest)
    note = f"{operations:,} operations, exact total"
    yield Row(section, f"default, {effort.longest:g} s without a pause", "us", [took / operations * US], note=note)


def completing(how: str, nodes: int) -> flow.Plan:
    """``nodes`` independent nodes that each write what they did, in threads all at once, or as tasks that wait once."""
    dag = flow.Dag("completing")
    gate = Barrier(nodes)

    def finish(i: int, ctx: flow.Context) -> int:
        data = ctx.data
        data.increment("done")
        data.update("nodes", lambda before: [*before, i], [])
        data.set(f"node:{i}", i)
        return i

    def in_thread(ctx: flow.Context, i: int) -> int:
        gate.wait()
        return finish(i, ctx)

    async def in_task(ctx: flow.Context, i: int) -> int:
        await asyncio.sleep(0)
        return finish(i, ctx)

    for i in range(nodes):
        fn: Any = partial(in_thread if how == "threads" else in_task, i=i)
        dag.add(f"n{i}", fn, thread=how == "threads")
    return dag.compile()


def nothing_lost(nodes: int, result: flow.Result) -> bool:
    """Tell whether every node's writes are there."""
    data = result.data
    own = all(data.get(f"node:{i}") == i for i in range(nodes))
    return result.ok and own and data.get("done") == nodes and sorted(data.get("nodes")) == list(range(nodes))


def _completions(how: str, effort: Effort) -> list[Row]:
    nodes = effort.completions
    section = f"{nodes} nodes that end at once and write to the store, ms per run, ratio to default"
    plan = completing(how, nodes)
    configs = {f"{how}, {kind}": flow.Config(data=config_of(kind), threads=nodes) for kind in KINDS}
    done = partial(nothing_lost, nodes)
    ways = [ready(label, partial(flow.run, plan, config=config), done) for label, config in configs.items()]
    samples = interleave(ways, effort.completion_rounds, memory=False)
    return samples.rows(section, "ms", note="nothing lost")
