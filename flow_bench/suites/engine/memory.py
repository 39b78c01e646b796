"""The memory suite: bytes per node built, compiled and run; what ``import flow`` takes (:mod:`.importing`).

Bytes are those that Python's allocator was asked for (tracemalloc), so the same in every run of one interpreter. Each
graph has a process of its own: what another one left in the interpreter's free lists would not be counted.
"""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import flow
from flow_bench.harness.child import answer, child
from flow_bench.harness.contender import Refused
from flow_bench.harness.rows import Row, chosen
from flow_bench.harness.work import DONE, noop, noop_async
from flow_bench.suites.engine import importing

Found: TypeAlias = dict[str, int]
SECTION = "bytes per node"
BUILT, COMPILED, RUN, PEAK = (
    "built: the Dag, with its names and needs",
    "compiled: the Plan, above the Dag",
    "run: the Result without the outputs, above both",
    "while it runs, at most, above Dag and Plan",
)
ASYNC = "async nodes, "
"""Before the labels that async nodes make a difference to: those of compiling and running."""
PHASES = (BUILT, COMPILED, RUN, PEAK, ASYNC + COMPILED, ASYNC + RUN, ASYNC + PEAK)


@dataclass(frozen=True)
class Effort:
    """What is measured how often."""
    sizes: tuple[int, ...] = (100, 1_000, 10_000, 100_000)
    topologies: tuple[str, ...] = ("linear", "diamond", "tree", "sparse_random")
    imports: importing.Effort = field(default_factory=importing.Effort)
    sections: tuple[str, ...] = ()  # all if empty


QUICK = Effort(sizes=(1_000, 10_000), topologies=("linear", "sparse_random"), imports=importing.QUICK)


def bytes_rows(effort: Effort) -> list[Row]:
    """One row per phase, size and topology."""
    found = {
        (nodes, topology): child("suites.engine.memory", "bytes_of", topology, nodes)
        for topology in effort.topologies
        for nodes in effort.sizes
    }
    return [
        Row(SECTION, phase, "bytes", figure=held[phase] / nodes, nodes=nodes, topology=topology.replace("_", " "))
        for phase in PHASES
        for (nodes, topology), held in found.items()
    ]


SECTIONS: Mapping[str, Callable[[Effort], Iterable[list[Row]]]] = {
    "bytes": lambda effort: [bytes_rows(effort)],
    "import": lambda effort: importing.run(effort.imports),
}
run = partial(chosen, SECTIONS)


def bytes_of(topology: str, nodes: int) -> Found:
    """Bytes of each phase, above those before it, for a graph of so many nodes."""
    make: Callable[..., flow.Dag] = getattr(flow.topologies, topology)
    for fn in (noop, noop_async):
        _ran(make(3, fn=fn).compile())  # what is imported or kept at first use
    was_tracing = tracemalloc.is_tracing()
    tracemalloc.start()
    try:
        found = _phases(make, nodes, noop)
        found |= {ASYNC + phase: held for phase, held in _phases(make, nodes, noop_async).items() if phase != BUILT}
    finally:
        if not was_tracing:
            tracemalloc.stop()
    return found


def _phases(make: Callable[..., flow.Dag], nodes: int, fn: Callable[..., Any]) -> Found:
    start = _held()
    dag = make(nodes, fn=fn)
    built = _held()
    plan = dag.compile()
    compiled = _held()
    tracemalloc.reset_peak()
    result = _ran(plan)
    peak = tracemalloc.get_traced_memory()[1]
    after = _held()
    if list(result.outputs.values()) != [DONE] * nodes or result.counts != {flow.Status.COMPLETED: nodes}:
        raise Refused(f"{dag.name}, {nodes} nodes", [f"a run left {result.counts} and {len(result.outputs)} outputs"])
    return {BUILT: built - start, COMPILED: compiled - built, RUN: after - compiled, PEAK: peak - compiled}


def _held() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def _ran(plan: flow.Plan) -> flow.Result:
    return flow.run(plan) if plan.all_sync else asyncio.run(_executed(plan))


async def _executed(plan: flow.Plan) -> flow.Result:
    return await flow.execute(plan)


if __name__ == "__main__":
    answer(bytes_of)
