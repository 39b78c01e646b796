"""What a Plan answers: orders, levels, paths, parts; against networkx and brute force."""

from __future__ import annotations

import copy
import pickle
import random
from itertools import pairwise
from typing import Any

import networkx as nx
import pytest
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st

import flow
from flow.plan.plan import MAX_SUBGRAPHS, Plan
from flow.types import MISSING


def nothing() -> None: ...
def anything(*values: Any) -> None: ...
async def waiting(*values: Any) -> None: ...


@pytest.fixture
def diamond() -> Plan:
    """
    ::

        a ─┬─ b ─┬─ d      e
           └─ c ─┘
    """
    dag = flow.Dag("diamond")
    dag.add("a", nothing, cost=1)
    dag.add("b", anything, needs=["a"], cost=5)
    dag.add("c", anything, needs=["a"], cost=2)
    dag.add("d", anything, needs=["b"], after="c")
    dag.add("e", nothing, cost=3)
    return dag.compile()


class TestLooking:
    def test_names(self, diamond: Plan) -> None:
        assert (len(diamond), list(diamond), diamond.name) == (5, list("abcde"), "diamond")
        assert ("a" in diamond, "z" in diamond, 5 in diamond, ["a"] in diamond) == (True, False, False, False)
        assert repr(diamond) == "Plan('diamond', nodes=5, edges=4)"

    def test_shape(self, diamond: Plan) -> None:
        assert diamond.levels() == [["a", "e"], ["b", "c"], ["d"]]
        assert (diamond.depth, diamond.width, diamond.edge_count) == (3, 2, 4)
        assert list(diamond.edges) == [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")]
        assert [list(s) for s in diamond._nodes.successors] == [[1, 2], [3], [3], [], []]
        assert diamond.topological_order() == list("abcde")

    def test_critical_path(self, diamond: Plan) -> None:
        path = diamond.critical_path()
        assert (path.nodes, path.length) == (("a", "b"), 6.0)  # d costs nothing
        assert diamond.serial_time() == 11.0
        measured = diamond.critical_path({"a": 1, "c": 4, "d": 1})
        assert (measured.nodes, measured.length) == (("a", "c", "d"), 6.0)
        alone = diamond.critical_path(lambda name: 100.0 if name == "e" else 1.0)
        assert (alone.nodes, alone.length) == (("e",), 100.0)

    def test_critical_path_counts_nodes_without_costs(self) -> None:
        dag = flow.Dag()
        dag.add("a", nothing)
        dag.add("b", anything, needs=["a"])
        plan = dag.compile()
        assert (plan.critical_path(), plan.serial_time()) == (flow.plan.CriticalPath(("a", "b"), 2.0), 2.0)

    def test_what_the_plan_tells_is_by_name(self) -> None:
        dag = flow.Dag("names")
        dag.add("late", lambda early, other: None, after="first")
        for name in ("early", "first", "other"):
            dag.add(name, lambda: None)
        plan = dag.compile()
        assert plan.dependencies == {"late": ("early", "other", "first"), "early": (), "first": (), "other": ()}
        assert plan.successors == {"late": (), "early": ("late",), "first": ("late",), "other": ("late",)}
        assert plan.level_of == {"late": 1, "early": 0, "first": 0, "other": 0}

    def test_relatives(self, diamond: Plan) -> None:
        assert diamond.ancestors("d") == ["a", "b", "c"]
        assert diamond.descendants("a") == ["b", "c", "d"]
        assert diamond.ancestors("a") == diamond.descendants("d") == diamond.ancestors("e") == []
        assert diamond.ancestors("b", "d") == ["a", "b", "c"]
        assert diamond.subgraph("b").names == ["a", "b"]

    def test_find(self, diamond: Plan) -> None:
        assert diamond.find("b") == diamond.find(flow.types.NodeRef("b")) == 1
        for ref, text in (
            ("bb", "has no node 'bb'"),
            (anything, "3 nodes run it"),
            (len, "no node runs it"),
            (5, "5 is no node's name"),
            (None, "None"),
            (["a"], "no node's name"),
            ("x" * 99_999, "characters"),
        ):
            with pytest.raises(flow.UsageError, match=text) as caught:
                diamond.find(ref)
            assert len(str(caught.value)) < 300

    def test_find_by_function(self) -> None:
        dag = flow.Dag()
        dag.add("n", nothing)
        assert dag.compile().find(nothing) == 0

    def test_order_by_critical_path(self, diamond: Plan) -> None:
        order, ranks = diamond._nodes.critical_order()
        assert [diamond.names[i] for i in order] == list("abecd")
        assert list(ranks) == list(diamond._nodes.critical_ranks()) == [0, 1, 3, 4, 2]
        assert diamond._nodes.critical_order()[0] is order

    def test_priorities(self) -> None:
        dag = flow.Dag()
        for name, priority in (("low", -1), ("usual", 0), ("high", 5), ("high2", 5)):
            dag.add(name, nothing, priority=priority)
        dag.add("first", lambda high: None, priority=9)
        plan = dag.compile()
        assert plan.topological_order() == ["high", "first", "high2", "usual", "low"]
        assert plan._nodes.ranks() == [4, 3, 1, 2, 0]

    def test_no_priorities_no_ranks(self, diamond: Plan) -> None:
        assert diamond._nodes.ranks() is None


class TestPart:
    def test_only_what_the_target_needs(self, diamond: Plan) -> None:
        part = diamond.subgraph("c")
        assert (part.names, part._nodes.dependencies, part._nodes.arguments, list(part._nodes.order)) == (
            ["a", "c"], [(), (0,)], [(), (0,)], [0, 1],
        )  # fmt: skip
        assert part.costs == {"a": 1.0, "c": 2.0}
        assert (len(part), part.find("c"), "b" in part, part.name) == (2, 1, False, "diamond")
        assert part.critical_path().length == 3.0

    def test_references_of_every_kind(self) -> None:
        dag = flow.Dag()
        ref = dag.add("a", nothing)
        dag.add("b", nothing)
        dag.add("c", waiting)
        plan = dag.compile()
        assert plan.subgraph("a").names == plan.subgraph(ref).names == plan.subgraph(ref, "a").names == ["a"]
        assert plan.subgraph(waiting).names == ["c"]
        assert (plan.all_sync, plan.subgraph("a").all_sync, plan.subgraph("c").all_sync) == (False, True, False)

    def test_kept_and_bounded(self) -> None:
        dag = flow.Dag()
        for i in range(MAX_SUBGRAPHS + 10):
            dag.add(f"n{i}", nothing)
        plan = dag.compile()
        first = plan.subgraph("n0")
        assert plan.subgraph("n0", "n0") is first
        for i in range(MAX_SUBGRAPHS + 10):
            plan.subgraph(f"n{i}")
        assert len(plan._parts) == MAX_SUBGRAPHS
        assert plan.subgraph("n0") is not first
        assert plan.subgraph("n0").names == ["n0"]

    def test_all_of_it_is_itself(self, diamond: Plan) -> None:
        assert diamond.subgraph("d", "e") is diamond
        assert diamond._parts == {}

    @pytest.mark.parametrize("targets", [[], ["nope"], [None], [5], [["a"]]])
    def test_targets_that_are_none(self, diamond: Plan, targets: Any) -> None:
        with pytest.raises(flow.UsageError):
            diamond.subgraph(*targets)

    def test_inputs_of_dropped_nodes_are_no_longer_required(self) -> None:
        dag = flow.Dag()
        dag.add("a", lambda x, o=1: None)
        dag.add("b", lambda x, y: None)
        dag.add("c", lambda y=2: None)
        plan = dag.compile()
        assert plan.required_inputs == ("x", "y")
        assert plan.subgraph("a").required_inputs == ("x",)
        assert plan.subgraph("c").required_inputs == ()
        part = plan.subgraph("c")
        (slot,) = part._nodes.arguments[0]
        assert part._nodes.input_defaults[slot] == 2 and slot in part._nodes.inputs["y"]

    def test_pure_ordering_moves_along(self) -> None:
        dag = flow.Dag()
        for name in ("dropped", "a", "b"):
            dag.add(name, nothing)
        dag.add("c", lambda b, x=1: None, after="a")
        part = dag.compile().subgraph("c")
        assert part._nodes.arguments == [(), (), (1, -1)]
        assert part._nodes.dependencies == [(), (), (1, 0)]

    def test_policies_move_along(self) -> None:
        dag = flow.Dag()
        dag.add("dropped", nothing, retry=flow.Retry(2), continue_on_error=True, timeout=1, priority=7, store=False)
        dag.add("a", nothing, retry=flow.Retry(5), continue_on_error=True, timeout=3, priority=4, store="pickle")
        dag.add("b", lambda a, *, k=1: None)
        plan = dag.compile()
        part = plan.subgraph("b")
        assert part._nodes.retries == {0: flow.Retry(5)}
        assert part._nodes.priorities == {0: 4}
        assert part._nodes.storing == {0: "pickle"}
        assert part._nodes.may_fail == {0}
        assert part._nodes.binders == {0: plan._nodes.binders[1], 1: plan._nodes.binders[2]}

    def test_it_can_be_parted_again(self, diamond: Plan) -> None:
        assert diamond.subgraph("d").subgraph("b").names == ["a", "b"]


# -- against networkx ------------------------------------------------------------------------


def random_plan(seed: int, count: int) -> tuple[Plan, nx.DiGraph]:
    rng = random.Random(seed)
    graph = nx.DiGraph()
    nodes = []
    for i in range(count):
        upstream = rng.sample(range(i), min(i, rng.choice((0, 1, 1, 2, 3))))
        graph.add_node(f"n{i}")
        graph.add_edges_from((f"n{u}", f"n{i}") for u in upstream)
        nodes.append((f"n{i}", [f"n{u}" for u in upstream]))
    if seed % 2:
        rng.shuffle(nodes)
    dag = flow.Dag()
    for name, needs in nodes:
        dag.add(name, anything, needs=needs, priority=rng.randint(0, 2) if seed % 3 == 0 else 0)
    return dag.compile(), graph


@examples(150)
@given(st.integers(0, 10**6), st.integers(1, 40))
def test_shape_paths_and_relatives(seed: int, count: int) -> None:
    plan, graph = random_plan(seed, count)
    levels = [sorted(level) for level in nx.topological_generations(graph)]
    assert [sorted(level) for level in plan.levels()] == levels
    assert (plan.depth, plan.width) == (len(levels), max(map(len, levels)))
    for name in plan:
        assert set(plan.ancestors(name)) == nx.ancestors(graph, name)
        assert set(plan.descendants(name)) == nx.descendants(graph, name)
    rng = random.Random(seed)
    seconds = {name: rng.randint(0, 9) + 0.5 for name in plan}
    weighted = nx.DiGraph()
    weighted.add_edges_from((("in", n), ("out", n), {"weight": seconds[n]}) for n in plan)
    weighted.add_edges_from((("out", u), ("in", v), {"weight": 0}) for u, v in graph.edges)
    path = plan.critical_path(seconds)
    assert path.length == pytest.approx(nx.dag_longest_path_length(weighted))
    assert sum(seconds[n] for n in path.nodes) == pytest.approx(path.length)
    assert all(graph.has_edge(u, v) for u, v in pairwise(path.nodes))


@examples(150)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 3))
def test_parts_are_what_compiling_the_subgraph_gives(seed: int, count: int, targets: int) -> None:
    plan, graph = random_plan(seed, count)
    chosen = random.Random(seed).sample(list(plan), min(targets, count))
    keep = set(chosen).union(*(nx.ancestors(graph, t) for t in chosen))
    part = plan.subgraph(*chosen)
    dag = flow.Dag()
    for i, name in enumerate(plan.names):
        if name in keep:
            needs = [plan.names[d] for d in plan._nodes.arguments[i]]
            dag.add(name, anything, needs=needs, priority=plan._nodes.priorities.get(i, 0))
    whole = dag.compile()
    for field in ("names", "arguments", "dependencies", "index", "priorities", "successors", "inputs"):
        assert getattr(part._nodes, field) == getattr(whole._nodes, field), field
    assert list(part._nodes.order) == list(whole._nodes.order)
    assert MISSING not in part._nodes.input_defaults


@examples(100)
@given(st.integers(0, 10**6), st.integers(1, 30))
def test_critical_order_takes_the_longest_way_down_first(seed: int, count: int) -> None:
    plan, graph = random_plan(seed, count)
    below = {n: 1 + max((len(p) for p in [nx.dag_longest_path(graph.subgraph(nx.descendants(graph, n)))]), default=0)
             for n in plan}  # fmt: skip
    left = set(plan)
    for i in plan._nodes.critical_order()[0]:
        ready = [n for n in left if not set(graph.predecessors(n)) & left]
        best = min(ready, key=lambda n: (-plan._nodes.priorities.get(plan.find(n), 0), -below[n], plan.find(n)))
        assert plan.names[i] == best
        left.remove(best)
    assert not left


class TestSurface:
    def test_what_is_public_is_what_a_user_would_ask_of_a_graph(self) -> None:
        assert {name for name in dir(Plan) if not name.startswith("_")} == {
            "all_sync", "ancestors", "config", "costs", "critical_path", "dependencies", "depth", "descendants",
            "edge_count", "edges", "find", "inputs", "level_of", "levels", "name", "names", "required_inputs",
            "serial_time", "subgraph", "successors", "topological_order", "warnings", "width",
        }  # fmt: skip

    def test_nothing_of_it_can_be_set_or_deleted(self, diamond: Plan) -> None:
        for name in ("name", "names", "_nodes", "_kept", "new"):
            with pytest.raises(AttributeError, match="a Plan is immutable"):
                setattr(diamond, name, 1)
            with pytest.raises(AttributeError, match="a Plan is immutable"):
                delattr(diamond, name)

    def test_what_drivers_cache_lies_behind_one_slot_and_is_no_part_of_a_copy(self, diamond: Plan) -> None:
        for _ in range(3):
            flow.run(diamond, config=flow.Config(optimize="at_once"))
        assert diamond._kept.inline.made is not None
        for twin in (copy.copy(diamond), copy.deepcopy(diamond), pickle.loads(pickle.dumps(diamond))):
            assert twin._kept.inline.made is None and list(twin.edges) == list(diamond.edges)
