"""asyncio by hand: a task per node in a TaskGroup, which first awaits the tasks of the nodes it needs."""

from __future__ import annotations

import asyncio
from typing import Any

from flow_bench.peers.graph import Graph, Node


def build(graph: Graph) -> Graph:
    return graph


async def run_async(graph: Graph) -> dict[str, Any]:
    tasks: dict[str, asyncio.Task[Any]] = {}

    async def node(function: Node, needs: list[str]) -> Any:
        return await function(*[await tasks[need] for need in needs])

    async with asyncio.TaskGroup() as group:
        for name, function, needs in graph.nodes():
            tasks[name] = group.create_task(node(function, needs))
    return {name: task.result() for name, task in tasks.items()}
