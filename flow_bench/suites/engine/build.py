"""What defining a graph costs: building a Dag and compiling it, beside a dict of lists and graphlib."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from graphlib import TopologicalSorter
from typing import Any

import flow
from flow_bench.harness.contender import Contender, Operation
from flow_bench.harness.interleave import interleave, repeat_of
from flow_bench.harness.rows import JUDGED, US, Row, Target, ratios
from flow_bench.harness.work import Work, noop

DICT, BUILD, COMPILE = "dict of lists", "Dag.add of every node", "compile"
WITH_SUCCESSORS, GRAPHLIB, AGAIN = "compile + plan.descendants", "graphlib add + prepare", "recompile after 1 more node"


def build_rows(work: Work, topology: str, rounds: int) -> list[Row]:
    """Time six ways to define ``work``'s graph, interleaved."""
    nodes = len(work.names)
    samples = interleave(CONTENDERS, rounds, work, repeat=repeat_of(nodes))
    targets = {BUILD: Target(1.0, 0.5, of="figure"), COMPILE: Target(1.0, 0.5, of="figure")}
    judged = targets if nodes == JUDGED else {}
    place: dict[str, Any] = {"nodes": nodes, "topology": topology}
    found = samples.rows("build", "us", DICT, per=nodes, targets=judged, **place)
    both = [build + compiled for build, compiled in zip(samples[BUILD], samples[COMPILE], strict=True)]
    found.append(Row("build", "  build + compile / graphlib", "x", ratios(both, samples[GRAPHLIB]), **place))
    found.append(Row("build", "  recompile, us in all", "us", [s * US for s in samples[AGAIN]], **place))
    return found


def _dict_of_lists(work: Work) -> Operation:
    names, needs = work.names, work.needs

    def build() -> dict[str, list[str]]:
        graph = {}
        for name, upstream in zip(names, needs, strict=True):
            graph[name] = list(upstream)
        return graph

    return build


def _sorter(work: Work) -> Operation:
    names, needs = work.names, work.needs

    def build() -> Sequence[str]:
        graph: TopologicalSorter[str] = TopologicalSorter()
        for name, upstream in zip(names, needs, strict=True):
            graph.add(name, *upstream)
        graph.prepare()
        return names

    return build


def _with_successors(work: Work) -> Operation:
    dag = work.dag("sync")

    def compiled() -> flow.Plan:
        plan = dag.compile()
        assert not plan.descendants(work.names[-1])  # finding who waits for whom is most of it
        return plan

    return compiled


def _one_more(work: Work) -> Operation:
    dag = work.dag("sync")
    dag.compile()
    dag.add("one-more", noop, needs=[work.names[-1]])
    return dag.compile


def _has_all(more: int, made: Any, work: Work) -> str | None:
    count = len(work.names) + more
    return None if len(made) == count else f"it made {len(made)} nodes, not {count}"


CONTENDERS = (
    Contender(DICT, _dict_of_lists, partial(_has_all, 0)),
    Contender(GRAPHLIB, _sorter, partial(_has_all, 0)),
    Contender(BUILD, lambda work: partial(work.dag, "sync"), partial(_has_all, 0)),
    Contender(COMPILE, lambda work: work.dag("sync").compile, partial(_has_all, 0)),
    Contender(WITH_SUCCESSORS, _with_successors, partial(_has_all, 0)),
    Contender(AGAIN, _one_more, partial(_has_all, 1)),
)
