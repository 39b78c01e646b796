"""anyio by hand: ``start_soon`` per node in a task group; a node waits for the Events of the nodes it needs."""

from __future__ import annotations

from typing import Any

import anyio

from flow_bench.peers.graph import Graph, Node


def build(graph: Graph) -> Graph:
    return graph


async def run_async(graph: Graph) -> dict[str, Any]:
    done = {name: anyio.Event() for name in graph.names}
    found: dict[str, Any] = {}

    async def node(name: str, function: Node, needs: list[str]) -> None:
        for need in needs:
            await done[need].wait()
        found[name] = await function(*[found[need] for need in needs])
        done[name].set()

    async with anyio.create_task_group() as group:
        for name, function, needs in graph.nodes():
            group.start_soon(node, name, function, needs)
    return found
