"""flow as its quickstart has it: a parameter named after a node receives that node's output."""

from __future__ import annotations

import flow
from flow_bench.peers.flow_dag import run, run_async
from flow_bench.peers.graph import Graph

__all__ = ["build", "run", "run_async"]


def build(graph: Graph) -> flow.Plan:
    dag = flow.Dag("bench")
    for function in graph.functions:
        dag.node(function)
    return dag.compile()
