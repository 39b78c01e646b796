"""The option ``store`` of nodes: where it is said, what is refused, and that each copy of a plan has it."""

from __future__ import annotations

import enum
import re
from typing import Any

import pytest
from conftest import named

import flow
from flow.graph.options import NodeOptions, WaitOptions


def one(item: int = 1) -> int:
    return item


def body() -> flow.Dag:
    dag = flow.Dag("body")
    dag.add("x", lambda a=0: a)
    return dag


WAYS: dict[str, Any] = {
    "add": lambda d, **o: d.add("it", one, **o),
    "add a dag": lambda d, **o: d.add("it", body(), **o),
    "node": lambda d, **o: d.node(name="it", **o)(one),
    "map": lambda d, **o: d.map("it", one, "items", **o),
    "filter": lambda d, **o: d.filter("it", one, "items", **o),
    "flat_map": lambda d, **o: d.flat_map("it", lambda item: [item], "items", **o),
    "reduce": lambda d, **o: d.reduce("it", lambda so_far, item: so_far, "items", start=0, **o),
    "loop": lambda d, **o: d.loop("it", one, until=lambda it: True, max_iterations=1, **o),
    "loop of a dag": lambda d, **o: d.loop("it", body(), until=lambda x: True, max_iterations=1, **o),
    "route": lambda d, **o: d.route("it", one, to={1: "users"}, **o),
    "merge": lambda d, **o: d.merge("it", of=["users"], **o),
    "teardown": lambda d, **o: d.teardown("it", one, of="users", **o),
    "cleanup": lambda d, **o: d.add("it", one, cleanup=True, **o),
}
everywhere = pytest.mark.parametrize("add", WAYS.values(), ids=WAYS)


def dag_of(add: Any, **options: Any) -> flow.Dag:
    dag = flow.Dag("d")
    dag.add("users", lambda: 1)
    add(dag, **options)
    return dag


def storing(graph: flow.Dag | flow.Plan) -> dict[str, Any]:
    """By name, what nodes say that do not say True."""
    plan = graph.compile() if isinstance(graph, flow.Dag) else graph
    return {plan.names[i]: how for i, how in plan._nodes.storing.items()}


@everywhere
@pytest.mark.parametrize(("options", "found"), [
    ({}, {}), ({"store": True}, {}), ({"store": False}, {"it": False}), ({"store": "pickle"}, {"it": "pickle"}),
])  # fmt: skip
def test_every_way_to_add_a_node_takes_it(add: Any, options: dict[str, Any], found: dict[str, Any]) -> None:
    assert storing(dag_of(add, **options)) == found


@everywhere
@pytest.mark.parametrize("store", [None, 0, 1, "yes", "", "Pickle", b"pickle", ["pickle"], object], ids=named)
def test_what_is_refused(add: Any, store: Any) -> None:
    with pytest.raises(flow.DefinitionError) as caught:
        dag_of(add, store=store).compile()
    (fault,) = caught.value.faults
    assert re.match(r"node 'it' \(.+\): store must be True, False or 'pickle', not ", fault)


def test_all_faults_at_once() -> None:
    dag = flow.Dag("d")
    dag.add("a", one, store="json", cost=-1)
    dag.map("b", one, "items", store=None, priority="high")  # type: ignore[call-overload]
    dag.signal("c", store=False)  # type: ignore[call-overload]
    with pytest.raises(flow.DefinitionError) as caught:
        dag.compile()
    assert [re.sub(r" \(.*?\)", "", fault) for fault in caught.value.faults] == [
        "node 'a': cost must be a number of seconds >= 0, not -1",
        "node 'a': store must be True, False or 'pickle', not 'json'",
        "node 'b': priority must be an integer, not 'high'",
        "node 'b': store must be True, False or 'pickle', not None",
        "node 'c': store is about calls of a function, and a signal makes none: drop it",
    ]


def test_a_member_of_a_str_enum_is_its_value() -> None:
    class How(enum.StrEnum):
        BY_PICKLE = "pickle"

    found = storing(dag_of(WAYS["add"], store=How.BY_PICKLE))["it"]
    assert (found, type(found)) == ("pickle", str)


def test_nodes_that_wait_have_none() -> None:
    assert "store" in NodeOptions.__annotations__
    assert "store" not in WaitOptions.__annotations__


def test_an_unknown_option_of_a_merge_names_it() -> None:
    with pytest.raises(flow.UsageError, match=r"takes no option 'stor' \(did you mean 'store'\?\)"):
        flow.Dag().merge("it", of=["a"], stor=False)  # type: ignore[call-overload]


@pytest.mark.parametrize("way", ["add", "map", "reduce", "loop"])
def test_names_that_ask_for_the_contrary(way: str) -> None:
    with pytest.raises(flow.UsageError, match=r"takes no option 'ephemeral' \(.*store=False"):
        dag_of(WAYS[way], ephemeral=True)


def test_without_a_durable_run_it_does_nothing() -> None:
    plain, said = flow.Dag("d"), flow.Dag("d")
    for dag, options in ((plain, {}), (said, {"store": False})):
        dag.add("a", one, **options)  # type: ignore[call-overload]
        dag.add("b", lambda a: object, **options)  # type: ignore[call-overload]
        dag.map("c", one, "xs", **options)
    assert flow.run(said, {"xs": [1, 2]}).outputs == flow.run(plain, {"xs": [1, 2]}).outputs
    assert said.compile()._nodes.binders.keys() == plain.compile()._nodes.binders.keys()  # and costs nothing


class TestCopies:
    """A plan that is made of another one has what its nodes say."""

    def some(self) -> flow.Dag:
        dag = flow.Dag("some")
        dag.add("dropped", one, store="pickle")
        dag.add("plain", one)
        dag.add("conn", lambda plain: plain, store=False)
        dag.add("query", lambda conn: conn, store="pickle")
        dag.add("tidy", lambda conn=None: conn, cleanup=True, store=False)
        dag.teardown("close", lambda conn: conn, of="conn", store="pickle")
        return dag

    KEPT: dict[str, Any] = {"conn": False, "query": "pickle", "tidy": False, "close": "pickle"}

    def test_a_plan_that_grows(self) -> None:
        dag = flow.Dag("d")
        dag.add("a", one, store=False)
        first = dag.compile()
        dag.add("b", one, store="pickle")
        assert storing(dag) == {"a": False, "b": "pickle"}
        assert storing(first) == {"a": False}

    def test_subgraph_of_a_plan(self) -> None:
        assert storing(self.some().compile().subgraph("query")) == self.KEPT

    def test_subgraph_of_a_dag(self) -> None:
        assert storing(self.some().subgraph("query")) == self.KEPT

    def test_a_part_of_which_some_is_known(self) -> None:
        from flow.run.known import part_with

        part = part_with(self.some().compile(), {"plain": flow.Outcome(value=1)}, ("query",))
        assert {name: how for name, how in storing(part).items() if name in ("conn", "query")} == {
            "conn": False, "query": "pickle",
        }  # fmt: skip

    def test_include(self) -> None:
        whole = flow.Dag("whole")
        whole.add("before", one)
        whole.include(self.some(), prefix="p")
        wanted = {f"p.{name}": how for name, how in {"dropped": "pickle", **self.KEPT}.items()}
        assert storing(whole) == wanted
        assert storing(whole.subgraph("p.query")) == {name: wanted[name] for name in wanted if name != "p.dropped"}

    def test_a_dag_as_a_node_keeps_its_own(self) -> None:
        whole = flow.Dag("whole")
        whole.add("inner", self.some(), store="pickle")
        assert storing(whole) == {"inner": "pickle"}
        assert storing(whole.compile()._nodes.fns[0].plan) == {"dropped": "pickle", **self.KEPT}  # type: ignore[attr-defined]

    def test_redefined_in_a_notebook(self) -> None:
        dag = self.some()
        dag.compile()
        dag.add("conn", lambda plain: plain, replace=True)
        assert storing(dag) == {"dropped": "pickle", **{name: self.KEPT[name] for name in ("query", "tidy", "close")}}
        dag.add("plain", one, store=False, replace=True)
        dag.merge("query", of=["conn"], store=False, replace=True)
        assert storing(dag) == {
            "dropped": "pickle", "plain": False, "query": False, "tidy": False, "close": "pickle",
        }  # fmt: skip

    def test_removed_nodes_leave_the_others(self) -> None:
        dag = self.some()
        dag.remove("dropped")
        assert storing(dag) == self.KEPT


class TestFiles:
    TEXT = """\
flow: 1
defaults: {store: pickle}
nodes:
  a: {set: {x: 1}, store: false}
  b: {set: {x: 2}}
  way: {route: "'a2'", to: {a2: a2, b2: b2}, store: true}
  a2: {set: {x: 3}, store: true}
  b2: {set: {x: 4}}
  one: {merge: [a2, b2]}
  two: {merge: [a2, b2], store: false}
  ask: {signal: {}, fallback: 1, timeout: 1}
  pause: {timer: 0}
  tidy: {set: {x: 1}, cleanup: true}
"""

    def test_nodes_and_defaults(self) -> None:
        assert storing(flow.spec.loads(self.TEXT)) == {
            "a": False, "b": "pickle", "b2": "pickle", "one": "pickle", "two": False, "tidy": "pickle",
        }  # fmt: skip

    def test_what_is_refused(self) -> None:
        text = "flow: 1\nnodes:\n  a: {set: {x: 1}, store: pickel}\n  b: {merge: [a], store: 1}\n"
        text += "  c: {timer: 1, store: false}\n  d: {set: {}, persist: true}\n"
        with pytest.raises(flow.errors.SpecError) as caught:
            flow.spec.loads(text, name="w")
        kinds = "call, map, route, merge, loop, set, file, llm, agent"
        assert [fault.partition(": ")[2] for fault in caught.value.faults] == [
            "store of node 'a': expected one of pickle, or true or false, not 'pickel' (did you mean 'pickle'?)",
            "store of node 'b': expected true or false or text, not 1",
            f"node 'c' has no key 'store': only {kinds} have it, and this is a timer",
            "node 'd' has no key 'persist': write store",
        ]
