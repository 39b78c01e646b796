"""flow with a store: a node begins once what its dependencies gave is safe from a loss of power."""

from __future__ import annotations

from flow_bench.peers.graph import Graph
from flow_bench.peers.stored_flow import Built, run, stored

__all__ = ["build", "run", "stored"]


def build(graph: Graph) -> Built:
    return Built(graph, "sync")
