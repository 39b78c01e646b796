"""tawazi: functions decorated with ``xn``, called in the function that ``dag`` decorates, which returns all outputs.

``Resource.main_thread`` is its fastest way for functions that do not wait; it awaits no async functions.
"""

from __future__ import annotations

from typing import Any

from tawazi import Resource, dag, xn

from flow_bench.peers.graph import Graph


def build(graph: Graph) -> Any:
    nodes = [xn(function, resource=Resource.main_thread) for function in graph.functions]

    @dag  # type: ignore[untyped-decorator]
    def pipeline() -> Any:
        made: dict[str, Any] = {}
        for name, node, needs in zip(graph.names, nodes, graph.needs, strict=True):
            made[name] = node(*[made[need] for need in needs])
        return made

    return pipeline


def run(pipeline: Any) -> Any:
    return pipeline()
