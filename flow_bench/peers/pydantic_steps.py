"""pydantic-graph: a step per node, outputs in the run's state, a join where a node needs several.

A join waits for the tasks before it, but not for joins before it that have yet to go on. So it may go on too early in
graphs where nodes of different depth are joined, and such a run ends with :class:`JoinedEarly`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic_graph import GraphBuilder, StepContext, reduce_null

from flow_bench.peers.graph import Graph, Node


@dataclass
class State:
    outputs: dict[str, Any] = field(default_factory=dict)


class JoinedEarly(Exception):
    """A step was run before those it needs."""


def _step(name: str, function: Node, needs: list[str]) -> Node:
    async def step(ctx: StepContext[State, None, Any]) -> None:
        found = ctx.state.outputs
        try:
            values = [found[need] for need in needs]
        except KeyError as error:
            raise JoinedEarly(f"{name} was run before {error} was done") from None
        found[name] = await function(*values)

    return step


def prepare(graph: Graph) -> tuple[Graph, list[Node]]:
    return graph, [_step(*node) for node in graph.nodes()]


def build(prepared: tuple[Graph, list[Node]]) -> Any:
    graph, steps = prepared
    builder: Any = GraphBuilder(state_type=State)
    nodes = {name: builder.step(step, node_id=name) for name, step in zip(graph.names, steps, strict=True)}
    entries = dict(nodes)  # where a node is entered: itself, or the join before it
    for name, needs in zip(graph.names, graph.needs, strict=True):
        if len(needs) > 1:
            entries[name] = builder.join(reduce_null, initial=None, node_id=f"join_{name}")
            builder.add(builder.edge_from(entries[name]).to(nodes[name]))
    followers: dict[str, list[Any]] = {name: [] for name in graph.names}
    for name, needs in zip(graph.names, graph.needs, strict=True):
        for need in needs:
            followers[need].append(entries[name])
    last = builder.join(reduce_null, initial=None, node_id="last")
    roots = [entries[name] for name, needs in zip(graph.names, graph.needs, strict=True) if not needs]
    builder.add(builder.edge_from(builder.start_node).to(*roots))
    for name in graph.names:
        builder.add(builder.edge_from(nodes[name]).to(*(followers[name] or [last])))
    builder.add(builder.edge_from(last).to(builder.end_node))
    return builder.build()


async def run_async(graph: Any) -> dict[str, Any]:
    state = State()
    await graph.run(state=state)
    return state.outputs
