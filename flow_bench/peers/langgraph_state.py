"""LangGraph: a StateGraph whose state has one dict of outputs, merged by a reducer; edges from lists of nodes join.

A key of the state per node, and an input schema per node, were tried as well; both are slower.
"""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

from langgraph.graph import START, StateGraph

from flow_bench.peers.graph import Graph, Node

Outputs = dict[str, Any]
Built = tuple[Any, dict[str, int]]


def merge(left: Outputs, right: Outputs) -> Outputs:
    left.update(right)
    return left


class State(TypedDict):
    outputs: Annotated[Outputs, merge]


def _node(name: str, function: Node, needs: list[str]) -> Node:
    def node(state: State) -> State:
        found = state["outputs"]
        return {"outputs": {name: function(*[found[need] for need in needs])}}

    return node


def _async_node(name: str, function: Node, needs: list[str]) -> Node:
    async def node(state: State) -> State:
        found = state["outputs"]
        return {"outputs": {name: await function(*[found[need] for need in needs])}}

    return node


def prepare(graph: Graph) -> tuple[Graph, list[Node]]:
    make = _async_node if graph.is_async else _node
    return graph, [make(*node) for node in graph.nodes()]


def build(prepared: tuple[Graph, list[Node]]) -> Built:
    return built_with(prepared, None)


def built_with(prepared: tuple[Graph, list[Node]], saver: Any) -> Built:
    """Build it with what keeps checkpoints, or None."""
    graph, nodes = prepared
    builder: Any = StateGraph(State)
    for name, node in zip(graph.names, nodes, strict=True):
        builder.add_node(name, node)
    for name, needs in zip(graph.names, graph.needs, strict=True):
        builder.add_edge(needs if len(needs) > 1 else needs[0] if needs else START, name)
    return builder.compile(checkpointer=saver), {"recursion_limit": len(nodes) + 1}


def run(built: Built) -> Any:
    made, config = built
    return made.invoke({"outputs": {}}, config)["outputs"]


async def run_async(built: Built) -> Any:
    made, config = built
    return (await made.ainvoke({"outputs": {}}, config))["outputs"]
