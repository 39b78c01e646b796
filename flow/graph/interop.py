"""Graphs to and from networkx (the extra ``graph``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flow.errors import UsageError, shown
from flow.exports import only
from flow.graph.dag import Dag
from flow.graph.topologies import noop
from flow.plan.plan import Plan
from flow.tracebacks import ends_at_user
from flow.types import is_name


def plan_of(graph: Plan | Dag) -> Plan:
    """Return a plan as it is, and a Dag compiled.

    :raises DefinitionError: if the Dag cannot be compiled. :raises UsageError: for anything else.
    """
    if isinstance(graph, Plan):
        return graph
    if isinstance(graph, Dag):
        return graph.compile()
    raise UsageError(f"a Plan or a Dag is needed, not {shown(graph)} (a {type(graph).__name__})")


@ends_at_user
def to_networkx(graph: Plan | Dag) -> Any:
    """Return a ``networkx.DiGraph`` of the same nodes and edges. O(nodes + edges).

    Nodes are names, in definition order, with attributes ``fn``, ``priority`` and, where one is
    known, ``cost``. Edges run from a dependency to its dependant, with ``kind="data"`` or
    ``"order"``. The graph has only the shape: no retries, timeouts or middleware, and no mapping
    of outputs to parameters.

    :param graph: a plan, or a Dag to be compiled.
    :raises DefinitionError: if the Dag cannot be compiled. :raises UsageError: without networkx.
    """
    plan = plan_of(graph)
    result = _networkx().DiGraph(name=plan.name)
    names, costs, priorities = plan.names, plan._nodes.costs, plan._nodes.priorities
    for i, (name, fn) in enumerate(zip(names, plan._nodes.fns, strict=True)):
        cost = {"cost": costs[i]} if i in costs else {}
        result.add_node(name, fn=fn, priority=priorities.get(i, 0), **cost)
    for upstream, downstream, is_data in plan._nodes.edges():
        result.add_edge(names[upstream], names[downstream], kind="data" if is_data else "order")
    return result


@ends_at_user
def from_networkx(graph: Any, *, fn: Callable[..., Any] = noop, name: str | None = None, data: bool = True) -> Dag:
    """Make a Dag of a ``networkx.DiGraph``, its nodes in the graph's order. O(nodes + edges).

    Nodes that are strings keep their name; other nodes are named by their ``str()``.
    :meth:`flow.Dag.compile` reports illegal names (:data:`flow.types.NAME_PATTERN`) and cycles, with
    all other faults. ``networkx.relabel_nodes`` renames.

    :param fn: the function of nodes without an attribute ``fn``. The attributes ``cost`` and
        ``priority`` are taken too.
    :param name: the Dag's name; None takes the graph's if it is a legal one, else ``"networkx"``.
    :param data: whether an edge passes its output on, by position in the order the edges were
        added; otherwise, or with the edge attribute ``kind="order"``, it is pure ordering.
    :raises UsageError: without networkx, for undirected graphs, multigraphs, anything else that is
        no DiGraph, and where two nodes have the same name.
    """
    _check_directed(graph)
    names = _names(graph)
    if name is None:
        name = str(graph.name) if is_name(graph.name) else "networkx"
    dag = Dag(name)
    for node, attributes in graph.nodes(data=True):
        needs: list[str] = []
        after: list[str] = []
        for upstream, edge in graph.pred[node].items():
            passes = data and edge.get("kind") != "order"
            (needs if passes else after).append(names[upstream])
        dag.add(
            names[node],
            attributes.get("fn", fn),
            needs=needs,
            after=after,
            cost=attributes.get("cost"),
            priority=attributes.get("priority", 0),
        )
    return dag


def _check_directed(graph: Any) -> None:
    if not isinstance(graph, _networkx().Graph):
        raise UsageError(f"a networkx.DiGraph is needed, not {shown(graph)} (a {type(graph).__name__})")
    if not graph.is_directed():
        raise UsageError(f"{graph} is undirected: which end of an edge comes first? Make it a networkx.DiGraph")
    if graph.is_multigraph():
        raise UsageError(f"{graph} may hold parallel edges, a Dag has none: networkx.DiGraph(graph) merges them")


def _names(graph: Any) -> dict[Any, str]:
    names = {node: node if isinstance(node, str) else str(node) for node in graph}
    if len(set(names.values())) == len(names):
        return names
    first: dict[str, Any] = {}
    faults = []
    for node, name in names.items():
        if name in first:
            faults.append(f"{shown(first[name])} and {shown(node)} are both named {shown(name)}")
        else:
            first[name] = node
    raise UsageError(f"{graph} has nodes whose names are the same: {'; '.join(faults)}")


def _networkx() -> Any:
    try:
        import networkx  # type: ignore[import-untyped,unused-ignore]
    except ImportError as error:
        raise UsageError("networkx is not installed: pip install 'flow-dag[graph]'") from error
    return networkx


__all__ = ["from_networkx", "to_networkx"]
__dir__ = only(__all__)
