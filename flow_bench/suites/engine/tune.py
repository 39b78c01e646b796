"""``flow.tune`` on five given workloads: how much better than the default is what it finds, if anything is.

Each is measured by ``flow.tune`` itself: paired rounds of the best config and the default, taken after the search.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import flow
from flow_bench.harness.contender import require
from flow_bench.harness.rows import Row, Target

DEGRADES_PAST = 32
ENTRIES = 100
MEGABYTE = 1_000_000
SECTION = "flow.tune: what it finds, as a share of the default (seconds per run; memory-heavy: peak bytes)"
SECTIONS = ("wide", "backend", "blocking", "memory", "chain")


@dataclass(frozen=True)
class Effort:
    """How long each workload may be tuned, and which."""
    budget: float = 30.0
    sections: tuple[str, ...] = ()


QUICK = Effort(budget=6.0)


@dataclass(frozen=True)
class Workload:
    """A DAG, what is to be improved, and the output that tells that all of it ran."""
    label: str
    make: Callable[[], flow.Dag]
    total: int
    objective: Literal["throughput", "latency", "memory"] = "throughput"
    gains: bool = True


def wide() -> flow.Dag:
    """200 short sync nodes, each of which looks up 100 entries of a table that the first has put into the store."""
    dag = flow.Dag("wide")
    keys = [f"entry-{k}" for k in range(ENTRIES)]

    def table(ctx: flow.Context) -> int:
        for k, key in enumerate(keys):
            ctx.data[key] = k
        return 1

    def node(table: int, ctx: flow.Context) -> int:
        get = ctx.data.get
        found: int = sum([get(key) for key in keys])
        return table + found

    dag.add("table", table)
    return _joined(dag, [dag.add(f"node-{i}", node) for i in range(200)])


def backend() -> flow.Dag:
    """200 async calls of one service that answers in 2 ms, and ever later the more than 32 calls are in flight."""
    dag = flow.Dag("backend")
    in_flight = 0

    async def call() -> int:
        nonlocal in_flight
        in_flight += 1
        try:
            over = max(0, in_flight - DEGRADES_PAST) / DEGRADES_PAST
            await asyncio.sleep(0.002 * (1 + over**2))
        finally:
            in_flight -= 1
        return 1

    calls = [dag.add(f"call-{i}", call) for i in range(200)]

    async def total(*values: int) -> int:
        return sum(values)

    dag.add("total", total, needs=calls)
    return dag


def blocking() -> flow.Dag:
    """40 sync functions that block for 2 ms each, as a driver without async does."""
    dag = flow.Dag("blocking")

    def query() -> int:
        time.sleep(0.002)
        return 1

    return _joined(dag, [dag.add(f"query-{i}", query) for i in range(40)])


def memory() -> flow.Dag:
    """10 chains of 10 nodes that pass on 100 KB each."""
    dag = flow.Dag("memory")

    def first() -> bytearray:
        return bytearray(MEGABYTE // 10)

    def changed(before: bytearray) -> bytearray:
        return bytearray(before)

    def size(last: bytearray) -> int:
        return len(last)

    ends = []
    for i in range(10):
        last = dag.add(f"{i}.first", first)
        for k in range(9):
            last = dag.add(f"{i}.{k}", changed, needs=[last])
        ends.append(dag.add(f"{i}.size", size, needs=[last]))
    return _joined(dag, ends)


def chain() -> flow.Dag:
    """200 sync nodes, each of which adds one to the output of the one before."""

    def one_more(before: int = 0) -> int:
        return before + 1

    dag = flow.topologies.linear(200, fn=one_more)
    dag.add("total", lambda last: last, needs=[dag.compile().names[-1]])
    return dag


WORKLOADS = {
    "wide": Workload("CPU-light, wide: 200 nodes look up 100 entries of ctx.data", wide, 200 * 4951),
    "backend": Workload("I/O: 200 calls, backend degrades past 32 in flight", backend, 200),
    "blocking": Workload("40 sync functions that block for 2 ms", blocking, 40),
    "memory": Workload("memory-heavy: 10 chains of 10 x 100 KB", memory, MEGABYTE, objective="memory"),
    "chain": Workload("plain chain of 200 sync nodes", chain, 200, gains=False),
}


def run(effort: Effort) -> Iterator[list[Row]]:
    """Yield the one table."""
    chosen = [name for name in SECTIONS if not effort.sections or name in effort.sections]
    yield [row(WORKLOADS[name], effort.budget) for name in chosen]


def row(workload: Workload, budget: float) -> Row:
    """Tune one workload. :raises Refused: unless the best config does all of the work."""
    dag = workload.make()
    report = flow.tune(dag, objective=workload.objective, budget=budget)
    left = flow.run(dag, config=report.best)["total"]
    require(left == workload.total, workload.label, f"the best config left {left}, not {workload.total}")
    settings = ", ".join(f"{reason.setting}={reason.value}" for reason in report.why)
    gain = f"{report.gain.times:.2f} x by {settings}" if settings else "default is as good"
    target = Target(1 / 1.3, of="figure", binding=True) if workload.gains else None
    note, figures = f"{gain}; {report.runs:,} runs", {"gain": report.gain.times, "low": report.gain.low}
    return Row(SECTION, workload.label, "x", [1 / report.gain.times], target=target, note=note, figures=figures)


def _joined(dag: flow.Dag, nodes: list[flow.types.NodeRef[int]]) -> flow.Dag:
    dag.add("total", lambda *values: sum(values), needs=nodes)
    return dag
