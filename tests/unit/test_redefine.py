"""A notebook's cell runs again: nodes are redefined and removed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import pytest
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st

import flow


def _one() -> int:
    return 1


def _two() -> int:
    return 2


def _plus(a: int) -> int:
    return a + 10


@pytest.fixture
def dag() -> flow.Dag:
    dag = flow.Dag("book")
    dag.add("a", _one)
    dag.add("b", _plus)
    return dag


def test_a_cell_run_twice_does_no_harm() -> None:
    dag = flow.Dag("book")

    def cell(factor: int) -> None:
        @dag.node(replace=True)
        def rows() -> list[int]:
            return [1, 2]

        @dag.node(replace=True)
        def scaled(rows: list[int]) -> list[int]:
            return [factor * row for row in rows]

        dag.map("shown", str, over=scaled, replace=True)
        dag.flat_map("twice", lambda item: [item, item], over="shown", replace=True)
        dag.filter("some", lambda item: item != "6", over="twice", replace=True)
        dag.reduce("joined", lambda so_far, item: so_far + item, over="some", start="", replace=True)
        dag.edge(rows, "joined")

    cell(2)
    first = dag.compile()
    assert flow.run(dag)["joined"] == "2244"
    cell(3)
    assert dag.names == ("rows", "scaled", "shown", "twice", "some", "joined") == tuple(first.names)
    assert flow.run(dag)["joined"] == "33"
    assert flow.run(first)["joined"] == "2244", "a plan stays as it was compiled"


def test_without_replace_the_fault_says_what_to_do(dag: flow.Dag) -> None:
    dag.add("a", _two)
    with pytest.raises(flow.DefinitionError, match=r"'a' is defined twice.*replace=True"):
        dag.compile()
    dag.add("a", _two, replace=True)
    assert dag.names == ("a", "b") and flow.run(dag)["b"] == 12, "one is left of the two"


def test_place_and_edges_stay_all_else_is_new() -> None:
    dag = flow.Dag("book")
    dag.add("first", _one)
    dag.add("a", _one, retry=flow.Retry(2), priority=3, after="first")
    dag.add("last", _one)
    dag.edge("last", "a")
    assert dag.compile().topological_order() == ["first", "last", "a"]
    dag.add("a", _two, replace=True)
    plan = dag.compile()
    assert plan.names == ["first", "a", "last"]
    assert plan._nodes.dependencies == [(), (2,), ()], "the edge stays, after= is gone"
    assert not plan._nodes.retries and not plan._nodes.priorities
    dag.add("a", _two, replace=True, cost=2.5)
    assert dag.compile().costs == {"a": 2.5}


def test_a_new_name_is_appended_and_keeps_the_compiled_prefix(dag: flow.Dag) -> None:
    old = dag.compile()
    assert dag.compile() is old
    assert dag.add("c", _two, replace=True, priority=1) == flow.types.NodeRef("c")
    assert dag._plan is old
    assert dag.compile().names == ["a", "b", "c"] and dag.compile()._nodes.priorities == {2: 1}


def test_a_new_definition_may_need_what_stands_after_it(dag: flow.Dag) -> None:
    dag.add("c", _two)
    dag.add("a", lambda c: c * 100, replace=True)
    assert flow.run(dag)["b"] == 210
    dag.add("a", _plus, needs="b", replace=True)
    with pytest.raises(flow.errors.CycleError):
        dag.compile()


def test_names_of_other_kinds() -> None:
    class Names(StrEnum):
        a = "a"

    dag = flow.Dag("book")
    dag.add(Names.a, _one)
    dag.add("a", _two, replace=True)
    assert dag.names == ("a",)
    dag.add(Names.a, _one, replace=True)
    assert flow.run(dag)["a"] == 1 and len(dag) == 1
    dag.add(3, _one, replace=True)  # type: ignore[call-overload]
    with pytest.raises(flow.DefinitionError, match="of type int"):
        dag.compile()


def test_many_are_replaced_in_one_pass() -> None:
    """Each lookup of a place indexes no name twice."""
    dag = flow.Dag("book")
    for _ in range(2):
        for i in range(5_000):
            dag.add(f"n{i}", _one, replace=True)
    assert len(dag) == len(dag.compile()) == 5_000
    assert dag._definition._indexed == 5_000


def test_a_wrong_option_changes_nothing(dag: flow.Dag) -> None:
    with pytest.raises(flow.UsageError, match="retri"):
        dag.add("a", _two, replace=True, retri=1)  # type: ignore[call-overload]
    assert flow.run(dag)["b"] == 11


# -- references to the function that there was -----------------------------------------------


def _old_references(dag: flow.Dag, old: Callable[..., Any], how: str) -> None:
    if how == "needs":
        dag.add("reader", lambda value: value, needs=[old])
    elif how == "after":
        dag.add("reader", _one, after=old)
    elif how == "edge":
        dag.add("reader", _one)
        dag.edge(old, "reader")
    else:
        dag.map("reader", str, over=old)


@pytest.mark.parametrize("how", ["needs", "after", "edge", "over"])
def test_older_references_mean_the_node_of_that_name(how: str) -> None:
    dag = flow.Dag("book")

    @dag.node
    def a() -> list[int]:
        return [1]

    old = a
    _old_references(dag, old, how)
    for value in (2, 3):

        @dag.node(replace=True, name="a")
        def again() -> list[int]:
            return [value]

    plan = dag.compile()
    assert plan._nodes.dependencies == [(), (0,)]
    if how in ("needs", "over"):
        assert flow.run(dag)["reader"] == ([3] if how == "needs" else ["3"])
    assert dag.subgraph("reader").compile()._nodes.dependencies == [(), (0,)]


def test_a_function_means_the_node_that_runs_it_now() -> None:
    dag = flow.Dag("book")
    dag.add("a", _one)
    dag.add("a", _two, replace=True)
    dag.add("b", _one)
    dag.add("c", _two, after=_one)
    assert dag.compile()._nodes.dependencies == [(), (), (1,)]
    assert dag.subgraph("c").names == ("b", "c")


# -- remove ----------------------------------------------------------------------------------


@pytest.mark.parametrize("ref", ["a", flow.types.NodeRef("a"), _one])
def test_removed_by_name_reference_or_function(dag: flow.Dag, ref: Any) -> None:
    dag.compile()
    dag.remove(ref)
    assert dag.names == ("b",) and "a" not in dag
    plan = dag.compile()
    assert plan.required_inputs == ("a",), "what read it takes a run input"
    assert flow.run(dag, {"a": 5})["b"] == 15


def test_removed_and_added_as_often_compiles_anew(dag: flow.Dag) -> None:
    dag.compile()
    dag.remove("b")
    dag.add("c", _two)
    assert dag.compile().names == ["a", "c"]


def test_who_names_a_removed_node_is_told() -> None:
    dag = flow.Dag("book")
    dag.add("a", _one)
    dag.add("by_needs", _plus, needs=["a"])
    dag.add("by_after", _two, after=["a"])
    dag.remove("a")
    with pytest.raises(flow.DefinitionError) as caught:
        dag.compile()
    assert len(caught.value.faults) == 2
    assert all("'a', which is no node of this dag" in fault for fault in caught.value.faults)


def test_edges_go_with_the_node_and_policies_move_up() -> None:
    dag = flow.Dag("book")
    for name, cost in (("a", None), ("b", 2.0), ("c", 3.0), ("d", None)):
        dag.add(name, lambda: 1, cost=cost)
    dag.add("e", _one)
    dag.edge("a", "d")
    dag.edge(flow.types.NodeRef("b"), "d")
    dag.edge("c", _one)
    dag.remove("b")
    dag.remove("e")
    plan = dag.compile()
    assert plan.names == ["a", "c", "d"] and plan.costs == {"c": 3.0}
    assert list(plan.edges) == [("a", "d")]


def test_an_edge_of_a_former_function_goes_too_one_of_a_shared_function_stays() -> None:
    dag = flow.Dag("book")
    dag.add("a", _one)
    dag.add("b", _plus)
    dag.edge(_one, "b")
    dag.add("a", _two, replace=True)
    dag.remove("a")
    assert dag._definition.edges == [] and dag._definition.former == {}
    dag.add("x", _one)
    dag.add("y", _one)
    dag.edge(_one, "b")
    dag.remove("x")
    assert list(dag.compile().edges) == [("y", "b")], "it names the one node left that runs the function"


def test_all_of_one_name_are_removed(dag: flow.Dag) -> None:
    dag.add("a", _two)
    dag.remove("a")
    assert dag.names == ("b",)


def test_removed_by_the_function_that_it_had(dag: flow.Dag) -> None:
    dag.add("a", _two, replace=True)
    dag.remove(_one)
    assert dag.names == ("b",)


def test_what_cannot_be_removed(dag: flow.Dag) -> None:
    with pytest.raises(flow.UsageError, match=r"dag 'book' has no node 'bb' \(did you mean 'b'\?\)"):
        dag.remove("bb")
    with pytest.raises(flow.UsageError, match=r"'_two' is no node's name, and no node runs it"):
        dag.remove(_two)
    dag.add("c", _one)
    with pytest.raises(flow.UsageError, match="2 nodes run '_one': say which one"):
        dag.remove(_one)
    with pytest.raises(flow.UsageError, match="no node runs it"):
        dag.remove(None)  # type: ignore[arg-type]
    assert len(dag) == 3


@examples(100)
@given(
    st.lists(
        st.tuples(st.sampled_from("+=-!"), st.integers(0, 5), st.sets(st.integers(0, 5), max_size=2), st.booleans())
    )
)
def test_any_sequence_comes_to_what_a_new_dag_says(steps: list[tuple[str, int, set[int], bool]]) -> None:
    """Adding, redefining, removing and compiling in between leave what is defined in the end, and nothing else."""
    dag = flow.Dag("book")
    expected: dict[str, tuple[list[str], float | None]] = {}
    for what, i, upstream, has_cost in steps:
        name, after, cost = f"n{i}", [f"n{d}" for d in sorted(upstream) if d < i], float(i) if has_cost else None
        if what == "!":
            with contextlib.suppress(flow.DefinitionError):
                dag.compile()
        elif what == "-":
            if expected.pop(name, None) is None:
                with pytest.raises(flow.UsageError):
                    dag.remove(name)
            else:
                dag.remove(name)
        elif what == "=" or name not in expected:
            dag.add(name, _one, after=after, cost=cost, replace=what == "=")
            expected[name] = (after, cost)
    new = flow.Dag("book")
    for name, (after, cost) in expected.items():
        new.add(name, _one, after=after, cost=cost)
    assert dag.names == new.names
    outcomes = []
    for each in (dag, new):
        try:
            plan = each.compile()
            outcomes.append((plan.names, plan._nodes.dependencies, plan.costs, plan.topological_order()))
        except flow.DefinitionError as error:
            outcomes.append(error.faults)
    assert outcomes[0] == outcomes[1]


# -- include ---------------------------------------------------------------------------------


def test_an_include_run_twice() -> None:
    dag = flow.Dag("book")
    dag.add("start", _one)

    def cell(*names: str) -> None:
        other = flow.Dag("part")
        for name in names:
            other.add(name, _two)
        dag.include(other, prefix="part", replace=True)

    cell("x", "y")
    dag.add("end", lambda value: value, needs=["part.x"])
    dag.edge("start", "part.x")
    dag.compile()
    cell("x")
    assert dag.names == ("start", "end", "part.x")
    assert set(dag.compile().edges) == {("part.x", "end"), ("start", "part.x")}
    assert flow.run(dag)["end"] == 2


def test_a_refused_include_removes_nothing() -> None:
    dag, other = flow.Dag("book"), flow.Dag("part")
    other.add("x", _one)
    dag.include(other, prefix="part", replace=True)
    with pytest.raises(flow.UsageError, match="no run input"):
        dag.include(other, prefix="part", inputs={"nope": "part.x"}, replace=True)
    assert dag.names == ("part.x",)


def test_a_function_whose_node_runs_another_by_now() -> None:
    """A cell that ran again has made another function of that name; an older Result knows the older one."""
    made: list[Any] = []
    for number in (1, 2):
        exec(f"def b(): return {number}", names := {})
        made.append(names["b"])
    dag = flow.Dag("book")
    dag.add("b", made[0])
    told = r"no node runs it \(node 'b' runs another function: name it by 'b'\)"
    with pytest.raises(flow.errors.MissingOutput, match=told):
        flow.run(dag)[made[1]]
    with pytest.raises(flow.UsageError, match=told):
        dag.remove(made[1])
    dag.add("c", lambda: 1, after=made[1])
    with pytest.raises(flow.DefinitionError, match=r"no node of this dag \(node 'b' runs another function"):
        dag.compile()
