"""LangGraph with its SqliteSaver: a step begins once the checkpoint of the one before is written."""

from __future__ import annotations

from flow_bench.peers.graph import Graph, Node
from flow_bench.peers.langgraph_state import prepare
from flow_bench.peers.stored_langgraph import Built, run, stored

__all__ = ["build", "prepare", "run", "stored"]


def build(prepared: tuple[Graph, list[Node]]) -> Built:
    return Built(prepared, "sync")
