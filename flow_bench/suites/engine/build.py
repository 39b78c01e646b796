"""What defining a graph costs: building a Dag and compiling it, beside a dict of lists and graphlib."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from graphlib import TopologicalSorter
from time import perf_counter, process_time
from typing import Any

import flow
from flow_bench.harness.contender import Refused
from flow_bench.harness.interleave import Samples, repeat_of, schedule
from flow_bench.harness.rows import JUDGED, US, Measured, Row, Target, ratios
from flow_bench.harness.work import Work, noop

DICT, BUILD, COMPILE = "dict of lists", "Dag.add of every node", "compile"
WITH_SUCCESSORS, GRAPHLIB, AGAIN = "compile + plan.descendants", "graphlib add + prepare", "recompile after 1 more node"


def build_rows(work: Work, topology: str, rounds: int) -> list[Row]:
    """Time six ways to define ``work``'s graph, interleaved."""
    nodes, operations = len(work.names), _build_operations(work)
    labels = list(operations)
    samples: Samples = {label: [] for label in labels}
    for turn, which in schedule(len(labels), rounds):
        prepare, operation = operations[labels[which]]
        runs = [prepare() for _ in range(repeat_of(nodes))]
        cpu, began = process_time(), perf_counter()
        made = [operation(subject) for subject in runs]
        took, cpu = perf_counter() - began, process_time() - cpu
        if any(count not in (nodes, nodes + 1) for count in map(len, made)):
            raise Refused(labels[which], [f"it made {len(made[0])} nodes, not {nodes}"])
        if turn >= 0:
            unit = US / nodes / len(runs)
            samples[labels[which]].append(Measured(took * unit, cpu * unit))
    targets = {BUILD: Target(1.0, 0.5, of="figure"), COMPILE: Target(1.0, 0.5, of="figure")}
    found = [
        Row("build", label, "us", samples[label], ratios=ratios(samples[label], samples[DICT]), nodes=nodes,
            topology=topology, target=targets.get(label) if nodes == JUDGED else None)
        for label in labels
    ]  # fmt: skip
    both = [build + compiled for build, compiled in zip(samples[BUILD], samples[COMPILE], strict=True)]
    to_graphlib = ratios(both, samples[GRAPHLIB])
    found.append(Row("build", "  build + compile / graphlib", "x", to_graphlib, nodes=nodes, topology=topology))
    again = [us * nodes for us in samples[AGAIN]]
    found.append(Row("build", "  recompile, us in all", "us", again, nodes=nodes, topology=topology))
    return found


def _build_operations(work: Work) -> Mapping[str, tuple[Callable[[], Any], Callable[[Any], Any]]]:
    """By label: what is prepared outside the timing, and what is timed; it returns something with a length."""
    names, needs = work.names, work.needs

    def dict_of_lists(_: object) -> dict[str, list[str]]:
        graph = {}
        for name, upstream in zip(names, needs, strict=True):
            graph[name] = list(upstream)
        return graph

    def sorter(_: object) -> Sequence[str]:
        graph: TopologicalSorter[str] = TopologicalSorter()
        for name, upstream in zip(names, needs, strict=True):
            graph.add(name, *upstream)
        graph.prepare()
        return names

    def with_successors(dag: flow.Dag) -> flow.Plan:
        plan = dag.compile()
        assert not plan.descendants(names[-1])  # finding who waits for whom is most of it
        return plan

    def one_more() -> flow.Dag:
        dag = work.dag("sync")
        dag.compile()
        dag.add("one-more", noop, needs=[names[-1]])
        return dag

    fresh = partial(work.dag, "sync")
    return {
        DICT: (lambda: None, dict_of_lists),
        GRAPHLIB: (lambda: None, sorter),
        BUILD: (lambda: "sync", work.dag),
        COMPILE: (fresh, flow.Dag.compile),
        WITH_SUCCESSORS: (fresh, with_successors),
        AGAIN: (one_more, flow.Dag.compile),
    }
