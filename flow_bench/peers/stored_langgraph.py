"""LangGraph with its SqliteSaver, as it is by default: a checkpoint a step, written behind the next step.

What the steps gave is one dict in the state, and a checkpoint is the whole state: the chain is short, so that this is
little.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Literal

from langgraph.checkpoint.sqlite import SqliteSaver

from flow_bench.peers.graph import Graph, Node
from flow_bench.peers.langgraph_state import built_with, prepare
from flow_bench.peers.stored import new_file, new_id

__all__ = ["build", "prepare", "run", "stored"]


class Built:
    """A graph, its saver, and the thread that was made last."""

    def __init__(self, prepared: tuple[Graph, list[Node]], durability: Literal["sync", "async"]) -> None:
        self.path, self.durability = new_file(), durability
        saver = SqliteSaver(sqlite3.connect(self.path, check_same_thread=False))
        self.graph, self.config = built_with(prepared, saver)
        self.last: dict[str, Any] = {}


def build(prepared: tuple[Graph, list[Node]]) -> Built:
    return Built(prepared, "async")


def run(built: Built) -> Any:
    built.last = {**built.config, "configurable": {"thread_id": new_id()}}
    return built.graph.invoke({"outputs": {}}, built.last, durability=built.durability)["outputs"]


def stored(built: Built) -> int:
    connection = sqlite3.connect(built.path)
    found: Any = SqliteSaver(connection).get_tuple(built.last)
    connection.close()
    return len(found.checkpoint["channel_values"]["outputs"])
