"""The builder: adding, decorating, including, cutting out; what it refuses leaves it as it was."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

import flow
from flow.signature import Nested
from flow.types import ABSENT


def nothing() -> None: ...
def anything(*values: Any) -> None: ...
def around(next: Any, ctx: flow.Context) -> Any: ...
def around_too(next: Any, ctx: flow.Context) -> Any: ...
async def waiting() -> None: ...


def edges(dag: flow.Dag) -> set[tuple[str, str]]:
    return set(dag.compile().edges)


class TestDefining:
    def test_looking_at_it(self) -> None:
        dag = flow.Dag("report")
        assert dag.add("a", nothing) == flow.types.NodeRef("a")
        dag.add("b", nothing)
        assert (dag.name, dag.names, len(dag), list(dag)) == ("report", ("a", "b"), 2, ["a", "b"])
        assert ("a" in dag, "z" in dag, repr(dag)) == (True, False, "Dag('report', nodes=2)")

    def test_the_decorator_returns_the_function(self) -> None:
        dag = flow.Dag()

        @dag.node
        def users() -> list[int]:
            return [1]

        @dag.node(name="score.all", retry=flow.Retry(2), cost=3)
        async def scores(users: list[int]) -> int:
            return len(users)

        assert users() == [1]
        plan = dag.compile()
        assert plan.names == ["users", "score.all"]
        assert plan._nodes.fns == [users, scores]
        assert (plan._nodes.retries, plan.costs) == ({1: flow.Retry(2)}, {plan.names[1]: 3.0})

    @pytest.mark.parametrize("wrong", ["users", 5, ["a"], object()])
    def test_decorating_no_function(self, wrong: Any) -> None:
        dag = flow.Dag()
        with pytest.raises(flow.UsageError, match=r"dag\.node\(name="):
            dag.node(wrong)
        with pytest.raises(flow.UsageError):
            dag.node(name="x")(wrong)
        assert len(dag) == 0

    def test_decorating_what_has_no_name(self) -> None:
        dag = flow.Dag()
        with pytest.raises(flow.UsageError, match="has no name of its own"):
            dag.node(partial(nothing))
        dag.node(name="made")(partial(nothing))
        dag.node(name="")(nothing)
        dag.node(lambda: None)
        assert dag.names == ("made", "", "<lambda>")
        with pytest.raises(flow.DefinitionError) as caught:
            dag.compile()
        assert len(caught.value.faults) == 2

    def test_policies(self) -> None:
        dag = flow.Dag(middleware=around)  # type: ignore[arg-type]  # one callable alone will do
        dag.add("plain", nothing)
        dag.add("a", nothing, timeout=2, thread=True, continue_on_error=True, priority=3, middleware=[around_too])
        plan = dag.compile()
        assert (plan._nodes.may_fail, plan._nodes.priorities, list(plan._nodes.is_async)) == ({1}, {1: 3}, [0, 1])
        assert plan._nodes.binders[0].middleware == (around,)
        made = plan._nodes.binders[1]
        assert (made.middleware, made.executor) == ((around, around_too), "thread")
        assert made.timeout == flow.config.Timeout(2)

    def test_defaults_said_aloud_cost_nothing(self) -> None:
        dag = flow.Dag()
        dag.add("a", nothing, after=(), needs=None, retry=None, timeout=None, thread=False, continue_on_error=False,
                priority=0, middleware=(), cost=None, store=True)  # fmt: skip
        assert dag.compile()._nodes.binders == dag.compile()._nodes.storing == dag._definition.policies == {}

    def test_what_fails_while_adding_leaves_nothing_behind(self) -> None:
        def broken() -> Any:
            yield "a"
            raise LookupError

        dag = flow.Dag()
        with pytest.raises(flow.DefinitionError, match="dag 'inner'"):
            dag.add("b", flow.Dag("inner"))
        for option in ("after", "needs", "middleware"):
            with pytest.raises(LookupError):
                dag.add("b", nothing, priority=1, **{option: broken()})
        dag.add("a", nothing)
        plan = dag.compile()
        assert (plan.names, plan._nodes.priorities) == (["a"], {})

    def test_anything_may_stand_where_a_default_does(self) -> None:
        class Undecided:
            def __eq__(self, other: object) -> bool:
                raise ValueError("ambiguous")

            __hash__ = object.__hash__

        dag = flow.Dag()
        dag.add("a", nothing, priority=Undecided(), middleware=Undecided(), after=Undecided())  # type: ignore[arg-type]
        with pytest.raises(flow.DefinitionError) as caught:
            dag.compile()
        assert len(caught.value.faults) == 3


class TestNested:
    def inner(self) -> flow.Dag:
        inner = flow.Dag("inner")
        inner.add("one", lambda x, y=2: None)
        inner.add("two", lambda one: None)
        return inner

    def test_its_inputs_are_its_parameters(self) -> None:
        dag = flow.Dag()
        dag.add("x", nothing)
        dag.add("sub", self.inner())
        plan = dag.compile()
        nested = plan._nodes.fns[1]
        assert isinstance(nested, Nested)
        assert nested.inputs == ("x", "y")
        assert plan._nodes.dependencies[1] == (0,)
        assert (set(plan.inputs), plan.required_inputs, list(plan._nodes.is_async)) == ({"y"}, (), [0, 0])
        assert plan._nodes.input_defaults == (ABSENT,)
        assert plan._nodes.binders[1].fn is nested

    def test_needs_and_async(self) -> None:
        inner = self.inner()
        inner.add("three", waiting)
        dag = flow.Dag()
        dag.add("a", nothing)
        dag.add("sub", inner, needs={"x": "a"})
        dag.add("sub2", inner, needs=["sub", "a"])
        plan = dag.compile()
        assert plan._nodes.dependencies == [(), (0,), (1, 0)]
        assert list(plan._nodes.is_async) == [0, 1, 1]

    def test_it_is_taken_as_it_is_now(self) -> None:
        inner = self.inner()
        dag = flow.Dag()
        dag.add("sub", inner)
        inner.add("later", nothing)
        assert len(dag.compile()._nodes.fns[0].plan) == 2  # type: ignore[attr-defined]

    def test_a_subclass_and_itself(self) -> None:
        class Special(flow.Dag):
            __slots__ = ()

        special = Special("s")
        special.add("a", nothing)
        special.add("self", special)
        assert isinstance(special.compile()._nodes.fns[1], Nested)

    def test_a_thousand_deep(self) -> None:
        dag = flow.Dag()
        dag.add("a", lambda x: None)
        for _ in range(2_000):
            outer = flow.Dag()
            outer.add("a", dag)
            dag = outer
        assert dag.compile().required_inputs == ("x",)
        assert len(repr(dag.compile()._nodes.fns[0])) < 200


class TestInclude:
    def test_its_nodes_come_under_the_prefix(self) -> None:
        part = flow.Dag("part", middleware=(around,))
        part.add("load", lambda path, limit=5: None, retry=flow.Retry(4))
        part.add("clean", lambda load, users: None, after="check")
        part.add("check", lambda *, load: None)
        dag = flow.Dag()
        dag.add("users", nothing)
        dag.add("where", nothing)
        dag.include(part, prefix="p", inputs={"path": "where"}, after="users")
        dag.add("end", anything, needs=["p.clean"])
        plan = dag.compile()
        assert plan.names == ["users", "where", "p.load", "p.clean", "p.check", "end"]
        assert edges(dag) == {
            ("where", "p.load"), ("users", "p.load"), ("p.load", "p.clean"), ("users", "p.clean"),
            ("p.check", "p.clean"), ("p.load", "p.check"), ("p.clean", "end"),
        }  # fmt: skip
        assert plan.required_inputs == ()
        assert set(plan.inputs) == {"limit"}
        assert plan._nodes.retries == {2: flow.Retry(4)}
        binders = plan._nodes.binders
        assert [bool(binders.get(i) and binders[i].middleware) for i in range(6)] == [0, 0, 1, 1, 1, 0]

    def test_twice_and_into_itself(self) -> None:
        part = flow.Dag()
        part.add("a", nothing)
        part.add("b", lambda a: None)
        dag = flow.Dag()
        dag.include(part, prefix="x")
        dag.include(part, prefix="y", after="x.b")
        dag.include(dag, prefix="z")
        assert len(dag) == 8
        assert edges(dag) >= {("x.b", "y.a"), ("z.x.b", "z.y.a"), ("z.y.a", "z.y.b")}

    def test_context_stays_context_and_star_args_stay_in_order(self) -> None:
        part = flow.Dag()
        part.add("a", nothing)
        part.add("b", nothing)
        part.add("all", anything, needs=["b", "a", "b"])

        def fn(all: Any, ctx: flow.Context, a: Any) -> None: ...

        part.add("ctx", fn)
        dag = flow.Dag()
        dag.include(part, prefix="p")
        plan = dag.compile()
        assert plan._nodes.arguments[2:] == [(1, 0, 1), (2, 0)]
        assert plan._nodes.binders[3].context == 1

    def test_prefixed_dag_keeps_inner_wiring_where_the_outer_has_that_name(self) -> None:
        part = flow.Dag()
        part.add("a", nothing)
        part.add("b", lambda a: None)
        dag = flow.Dag()
        dag.add("a", nothing)
        dag.include(part, prefix="p")
        assert edges(dag) == {("p.a", "p.b")}

    def test_refused_before_anything_is_added(self) -> None:
        part = flow.Dag("part")
        part.add("a", nothing)
        part.add("star", lambda x, *rest: None, needs=["a", "a"])
        mixed = flow.Dag("mixed")
        mixed.add("a", nothing)
        mixed.add("star", lambda *rest, k=1: None, needs=["a", "a"])
        dag = flow.Dag()
        for other, options, kind in (
            (part, {"inputs": {"zz": "a"}}, flow.UsageError),
            (part, {"inputs": ["a"]}, flow.UsageError),
            (mixed, {}, flow.UsageError),
            (flow.Dag("empty"), {}, flow.DefinitionError),
            (5, {}, flow.UsageError),
        ):
            with pytest.raises(kind):
                dag.include(other, prefix="p", **options)  # type: ignore[arg-type]
            assert len(dag) == 0
        dag.include(part, prefix="p")
        assert dag.compile()._nodes.arguments == [(), (0, 0)]

    def test_a_bad_prefix_is_a_bad_name(self) -> None:
        part = flow.Dag()
        part.add("a", nothing)
        dag = flow.Dag()
        dag.include(part, prefix="../x")
        with pytest.raises(flow.DefinitionError, match="is refused"):
            dag.compile()


class TestSubgraph:
    def test_targets_and_all_they_need(self) -> None:
        dag = flow.Dag("d", middleware=(around,))
        dag.add("c", lambda b, x=1: None, priority=2)
        dag.add("other", nothing)
        dag.add("b", lambda a: None)
        dag.add("a", nothing)
        dag.add("before", nothing)
        dag.edge("before", "a")
        dag.edge("a", "other")
        part = dag.subgraph("b")
        assert (part.name, part.names) == ("d", ("b", "a", "before"))
        assert edges(part) == {("a", "b"), ("before", "a")}
        assert dag.subgraph("c").compile()._nodes.priorities == {0: 2}
        assert part.compile()._nodes.binders[0].middleware == (around,)
        assert len(dag) == 5

    def test_equals_the_part_of_the_plan(self) -> None:
        dag = flow.Dag()
        for i in range(30):
            dag.add(f"n{i}", anything, needs=[f"n{j}" for j in range(i + 1, 30) if j % (i + 2) == 0])
        for target in dag:
            plan, part = dag.subgraph(target).compile(), dag.compile().subgraph(target)
            one, other = plan._nodes, part._nodes
            assert (one.names, one.arguments, list(one.order)) == (other.names, other.arguments, list(other.order))

    def test_maps_keep_their_sources(self) -> None:
        dag = flow.Dag()
        dag.add("other", nothing)
        dag.add("numbers", lambda: [1, 2])
        dag.add("more", anything)
        dag.map("m", pow, over=["numbers", "exponents"])
        dag.reduce("total", max, over="m", start=0)
        part = dag.subgraph("total")
        assert part.names == ("numbers", "m", "total")
        outer = flow.Dag()
        outer.include(part, prefix="p")
        for made, name in ((part, "total"), (outer, "p.total")):
            assert flow.run(made, {"exponents": [5, 3]})[name] == 8

    def test_a_refused_map_stays_refused(self) -> None:
        dag = flow.Dag()
        dag.map("m", abs, over=["xs", "xs"])
        assert dag.names == ("m",)
        for _ in range(2):
            with pytest.raises(flow.DefinitionError, match="'m'.*: goes over 'xs' twice: name each source once"):
                dag.compile()

    def test_an_edge_by_function(self) -> None:
        dag = flow.Dag()
        dag.add("a", waiting)
        dag.add("b", nothing)
        dag.add("c", anything)
        dag.edge(waiting, nothing)
        assert edges(dag.subgraph(nothing)) == {("a", "b")}

    @pytest.mark.parametrize("targets", [(), ("nope",), (["a"],), (None,), (5,)])
    def test_targets_that_are_none(self, targets: tuple[Any, ...]) -> None:
        dag = flow.Dag()
        dag.add("a", nothing)
        with pytest.raises(flow.UsageError):
            dag.subgraph(*targets)
