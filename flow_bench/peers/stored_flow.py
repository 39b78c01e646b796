"""flow with a store, as it is by default: outcomes are stored behind the run."""

from __future__ import annotations

from typing import Any, Literal

import flow
from flow_bench.peers.flow_dag import build as build_dag
from flow_bench.peers.graph import Graph
from flow_bench.peers.stored import new_file, new_id


class Built:
    """A plan, its store, and the run that was made last."""

    def __init__(self, graph: Graph, durability: Literal["sync", "async"]) -> None:
        self.plan: Any = build_dag(graph)
        self.path = new_file()
        self.store = flow.store.open(self.path, durability)
        self.last = ""


def build(graph: Graph) -> Built:
    return Built(graph, "async")


def run(built: Built) -> Any:
    built.last = new_id()
    return flow.run(built.plan, run_id=built.last, store=built.store).outputs


def stored(built: Built) -> int:
    with flow.store.open(built.path) as other:
        if other.run(built.last).status != "completed":
            return 0
        return len(flow.run(built.plan, run_id=built.last, store=other).outputs)
