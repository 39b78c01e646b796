"""DBOS without a workflow: its steps are called as the functions that they are."""

from __future__ import annotations

from dbos import DBOS

from flow_bench.peers.graph import Graph
from flow_bench.peers.plain_loop import Steps, run
from flow_bench.peers.stored_dbos import steps

__all__ = ["build", "run"]


def build(graph: Graph) -> Steps:
    made = steps(graph)
    DBOS.launch()
    return made
