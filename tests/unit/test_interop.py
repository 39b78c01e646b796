"""networkx in and out."""

from __future__ import annotations

import sys
from typing import Any

import networkx as nx  # type: ignore[import-untyped,unused-ignore]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.errors import CycleError, DefinitionError, UsageError
from flow.graph import topologies
from flow.graph.dag import Dag
from flow.graph.interop import from_networkx, to_networkx
from flow.graph.topologies import noop


def work(*values: object) -> int:
    return len(values)


def test_to_networkx() -> None:
    dag = Dag("report")
    dag.add("users", work, cost=1.5)
    dag.add("scores", noop, needs=["users"], priority=3)
    dag.add("publish", noop, needs=["users"], after=["scores", "users"])
    graph = to_networkx(dag)
    assert type(graph) is nx.DiGraph
    assert graph.name == "report"
    assert list(graph.nodes(data=True)) == [
        ("users", {"fn": work, "priority": 0, "cost": 1.5}),
        ("scores", {"fn": noop, "priority": 3}),
        ("publish", {"fn": noop, "priority": 0}),
    ]
    assert sorted(graph.edges(data="kind")) == [
        ("scores", "publish", "order"),
        ("users", "publish", "data"),
        ("users", "scores", "data"),
    ]


def test_from_networkx() -> None:
    graph = nx.DiGraph()
    graph.add_node(1)
    graph.add_node("b", fn=work, cost=2, priority=7)
    graph.add_edge("b", 1, kind="order")
    graph.add_edge(2.5, 1)
    graph.add_edge("a", 1)
    plan = from_networkx(graph, name="mixed").compile()
    assert plan.name == "mixed"
    assert list(plan.names) == ["1", "b", "2.5", "a"]
    assert plan._nodes.fns == [noop, work, noop, noop]
    assert tuple(plan._nodes.arguments[0]) == (2, 3)  # the order the edges were added in
    assert tuple(plan._nodes.dependencies[0]) == (2, 3, 1)  # data, then pure ordering
    assert (plan.costs, plan._nodes.priorities) == ({"b": 2.0}, {1: 7})


def test_without_data_all_edges_are_pure_ordering() -> None:
    plan = from_networkx(nx.path_graph(3, create_using=nx.DiGraph), data=False, fn=work).compile()
    assert [tuple(slots) for slots in plan._nodes.arguments] == [(), (), ()]
    assert [tuple(deps) for deps in plan._nodes.dependencies] == [(), (0,), (1,)]
    assert plan._nodes.fns == [work] * 3


@given(st.integers(1, 30), st.floats(0, 1), st.integers(0, 1000), st.integers(0, 1000))
def test_there_and_back(n: int, p: float, seed: int, ordering: int) -> None:
    dag = topologies.random_dag(n, p=p, seed=seed, fn=work)
    for i in range(1, n):
        if (ordering >> (i % 10)) & 1:
            dag.edge(f"n{i - 1}", f"n{i}")
    plan = dag.compile()
    back = from_networkx(to_networkx(plan)).compile()
    assert back.name == plan.name
    assert list(back.names) == list(plan.names)
    assert back._nodes.fns == plan._nodes.fns
    assert [tuple(slots) for slots in back._nodes.arguments] == [tuple(slots) for slots in plan._nodes.arguments]
    assert [tuple(deps) for deps in back._nodes.dependencies] == [tuple(deps) for deps in plan._nodes.dependencies]


def test_the_graphs_name_is_taken_if_it_is_legal() -> None:
    assert from_networkx(nx.DiGraph([(0, 1)], name="etl")).name == "etl"
    assert from_networkx(nx.DiGraph([(0, 1)], name="../etl")).name == "networkx"
    assert from_networkx(nx.DiGraph([(0, 1)])).name == "networkx"


def test_names_that_become_the_same_are_refused() -> None:
    graph = nx.DiGraph()
    graph.add_nodes_from([1, "1", "a"])
    with pytest.raises(UsageError, match="1 and '1' are both named '1'"):
        from_networkx(graph)


def test_other_faults_are_left_to_compile() -> None:
    with pytest.raises(CycleError) as caught:
        from_networkx(nx.DiGraph([("a", "b"), ("b", "a")])).compile()
    assert sorted(caught.value.cycle[1:]) == ["a", "b"]
    with pytest.raises(DefinitionError, match=r"node name '\(0, 1\)' .*is refused"):
        from_networkx(nx.DiGraph([((0, 1), (1, 1))])).compile()


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (nx.Graph([(0, 1)]), "undirected.*networkx.DiGraph"),
        (nx.MultiGraph([(0, 1)]), "undirected"),
        (nx.MultiDiGraph([(0, 1)]), "parallel edges.*merges them"),
        ({"a": ["b"]}, r"a networkx.DiGraph is needed, not .* \(a dict\)"),
    ],
)
def test_other_graphs_are_refused(graph: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        from_networkx(graph)


def test_without_networkx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "networkx", None)
    for call in (lambda: to_networkx(topologies.linear(2)), lambda: from_networkx(None)):
        with pytest.raises(UsageError, match=r"pip install 'flow-dag\[graph\]'"):
            call()
