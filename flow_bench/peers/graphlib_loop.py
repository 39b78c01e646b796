"""The loop of the standard library's documentation: ask the sorter what is ready, call it, tell it what is done.

A sorter is used up by one run, so a run begins with making one; "build" is the same without the loop.
"""

from __future__ import annotations

from graphlib import TopologicalSorter
from typing import Any

from flow_bench.peers.graph import Graph


def build(graph: Graph) -> Graph:
    _sorter(graph)
    return graph


def _sorter(graph: Graph) -> TopologicalSorter[str]:
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for name, needs in zip(graph.names, graph.needs, strict=True):
        sorter.add(name, *needs)
    sorter.prepare()
    return sorter


def run(graph: Graph) -> dict[str, Any]:
    functions = dict(zip(graph.names, graph.functions, strict=True))
    needs = dict(zip(graph.names, graph.needs, strict=True))
    found: dict[str, Any] = {}
    sorter = _sorter(graph)
    while sorter.is_active():
        ready = sorter.get_ready()
        for name in ready:
            found[name] = functions[name](*[found[need] for need in needs[name]])
        sorter.done(*ready)
    return found
