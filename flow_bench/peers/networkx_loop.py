"""networkx: a DiGraph with the functions as attributes of its nodes, called in ``topological_sort`` order."""

from __future__ import annotations

from typing import Any

import networkx as nx

from flow_bench.peers.graph import Graph


def build(graph: Graph) -> Any:
    made = nx.DiGraph()
    for name, function in zip(graph.names, graph.functions, strict=True):
        made.add_node(name, function=function)
    for name, needs in zip(graph.names, graph.needs, strict=True):
        for need in needs:
            made.add_edge(need, name)
    return made


def run(made: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in nx.topological_sort(made):
        found[name] = made.nodes[name]["function"](*[found[need] for need in made.predecessors(name)])
    return found
