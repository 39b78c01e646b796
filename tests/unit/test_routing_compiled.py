"""What compiling says of routing: faults, all in one go, and what a plan without routing does not get."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import flow
from flow.plan.resolver import Resolver
from flow.plan.tokens import TokenResolver
from flow.run.state import PlanRun


def one() -> int:
    return 1


async def aone() -> bool:
    return True


def faults_of(make: Callable[[flow.Dag], Any]) -> list[str]:
    dag = flow.Dag("d")
    dag.add("a", one)
    dag.add("b", one)
    make(dag)
    with pytest.raises(flow.DefinitionError) as caught:
        dag.compile()
    return [fault.partition("): ")[2] for fault in caught.value.faults]


FAULTS: list[tuple[Callable[[flow.Dag], Any], str]] = [
    (
        lambda d: d.add("x", one, after="a", join="al"),
        "join must be one of 'all', 'some', 'none_failed', 'done', 'failed' or an integer >= 1, not 'al' "
        "(did you mean 'all'?)",
    ),
    (lambda d: d.add("x", one, after="a", join=0), "or an integer >= 1, not 0"),
    (lambda d: d.add("x", one, after="a", join=True), "or an integer >= 1, not True"),
    (lambda d: d.add("x", one, after=["a", "b"], join=3), "join=3 waits for 3 live edges, and 2 lead to this node"),
    (lambda d: d.add("x", one, join="some"), "join='some' looks at the nodes before this one, and there is none"),
    (lambda d: d.add("x", one, join="failed"), "join='failed' looks at the nodes before this one, and there is none"),
    (
        lambda d: d.add("x", one, after={"a": "failure"}),
        "after maps 'a' to one of 'completed', 'failed', 'done', not 'failure'",
    ),
    (lambda d: d.add("x", one, after={"a": 3}), "after maps 'a' to one of 'completed', 'failed', 'done', not 3"),
    (lambda d: d.add("x", one, after={"ax": "failed"}), "after names 'ax', which is no node of this dag"),
    (lambda d: d.add("x", one, when=3), "when must be a sync function that returns True or False, not 3"),
    (lambda d: d.add("x", one, when=aone), "not an async function, and nothing would await it"),
    (
        lambda d: d.add("x", lambda a, b=0: 1, join="some"),
        "parameter 'a' takes the output of 'a', which may not come under join='some': "
        "give it a default, or annotate it flow.Outcome",
    ),
    (
        lambda d: d.add("x", lambda a: 1, after={"a": "done"}),
        "parameter 'a' takes the output of 'a', which may not come under 'done'",
    ),
    (
        lambda d: d.add("x", one, after="a", join="done", when=lambda b: True),
        "when takes the output of 'b', which may not come: give its parameter a default",
    ),
    (lambda d: d.route("x", one, to={}), "a route's to= maps each key to a node, and has one at least; got {}"),
    (lambda d: d.route("x", one, to={1: "c"}), "to names 'c', which is no node of this dag"),
    (lambda d: d.route("x", one, to={1: "a"}, default="c"), "default names 'c', which is no node of this dag"),
    (
        lambda d: d.route("x", flow.topologies.linear(2), to={1: "a"}),
        "a route takes a function that returns a key; a Dag, map or fold returns none",
    ),
]


@pytest.mark.parametrize(("make", "text"), FAULTS)
def test_faults(make: Callable[[flow.Dag], Any], text: str) -> None:
    found = faults_of(make)
    assert any(text in fault for fault in found), found


def test_all_faults_in_one_go() -> None:
    def make(dag: flow.Dag) -> None:
        dag.add("x", one, after="a", join="never", retry=3)
        dag.add("y", one, after={"a": "ended"}, when=5)

    assert len(faults_of(make)) == 4


def test_outcomes_of_conditions_and_unreadable_ones() -> None:
    def when(a: flow.Outcome[int]) -> bool:
        return True

    def conditions(**options: Any) -> Any:
        dag = flow.Dag("d")
        dag.add("a", one)
        dag.add("x", one, when=when, **options)
        return dag.compile()._nodes.routes.conditions.get(1)  # type: ignore[union-attr]

    assert conditions() == {0: "done"}
    assert conditions(after={"a": "failed"}) == {0: "failed"}
    (fault,) = faults_of(lambda d: d.add("x", lambda a: a, when=when))
    assert "parameter 'a' takes the output of 'a', which may not come under 'done': give it a default" in fault
    (fault,) = faults_of(lambda d: d.add("x", one, when=when, join=1))
    assert fault.endswith("when asks how 'a' ended, and join=1 may start this node before: join otherwise, or ask in a "
                          "function whose parameter has a default")  # fmt: skip

    class Odd:
        __signature__ = 5

        def __call__(self) -> bool:
            return True

    dag = flow.Dag("d")
    dag.add("x", one, when=Odd())
    assert flow.run(dag)["x"] == 1


def test_an_outcome_that_a_join_of_k_need_not_wait_for() -> None:
    def strict(a: flow.Outcome[int], b: flow.Outcome[int]) -> None: ...
    def lenient(a: flow.Outcome[int] | None = None, b: flow.Outcome[int] | None = None) -> Any:
        return a, b

    found = faults_of(lambda d: d.add("x", strict, join=1))
    assert len(found) == 2 and "parameter 'b' takes the output of 'b', which may not come under join=1" in found[1]
    dag = flow.Dag("d")
    dag.add("a", one)
    dag.add("b", one, priority=-1)
    dag.add("x", lenient, join=1)
    assert flow.run(dag)["x"] == (flow.Outcome(value=1), None)


def test_a_condition_that_nothing_fills() -> None:
    dag = flow.Dag("d", inputs=["known"])
    dag.add("x", one, when=lambda unknown: True)
    with pytest.raises(flow.DefinitionError, match="takes 'unknown', which is neither a node nor a declared input"):
        dag.compile()
    other = flow.Dag("d")
    other.add("x", one, when=lambda missing: True)
    with pytest.raises(flow.InputError, match="'missing'"):
        flow.run(other)


def test_a_cycle_through_a_condition() -> None:
    dag = flow.Dag("d")
    dag.add("a", one, when=lambda b: True)
    dag.add("b", lambda a: 1)
    with pytest.raises(flow.errors.CycleError, match="a -> b -> a|b -> a -> b"):
        dag.compile()


def test_a_condition_on_a_later_node_changes_the_order() -> None:
    dag = flow.Dag("d")
    dag.add("a", one, when=lambda b: b == 1)
    dag.add("b", one)
    assert dag.compile().topological_order() == ["b", "a"]
    assert flow.run(dag)["a"] == 1


@pytest.mark.parametrize(
    "options", [{"when": lambda: True}, {"join": "done"}, {"after": {"late": "done"}}, {"needs": {"extra": "late"}}]
)
def test_routing_inside_a_pipelined_stage(options: dict[str, Any]) -> None:
    def fn(x: int, extra: int = 0) -> int:
        return x + extra

    dag = flow.Dag("d")
    dag.add("late", one, when=lambda: True)
    dag.map("first", fn, over="xs")
    dag.map("second", fn, over="first", pipelined=True, **options)
    with pytest.raises(flow.DefinitionError, match="a pipelined map runs with the map before it"):
        dag.compile()


def test_the_first_map_of_a_pipeline_may_be_routed() -> None:
    dag = flow.Dag("d")
    dag.add("xs", lambda: [1, 2])
    dag.map("first", lambda x: x + 1, over="xs", when=lambda go: go)
    dag.map("second", lambda x: x + 1, over="first", pipelined=True)
    assert flow.run(dag, {"go": True})["second"] == [3, 4]
    assert flow.run(dag, {"go": False}).counts == {"completed": 1, "bypassed": 2}


class TestArguments:
    def test_of_merge(self) -> None:
        dag = flow.Dag("d")
        with pytest.raises(flow.UsageError, match="'first' or None, not 'last'"):
            dag.merge("m", of=["a"], pick="last")  # type: ignore[call-overload]
        with pytest.raises(flow.UsageError, match="one at least"):
            dag.merge("m", of=[])
        with pytest.raises(flow.UsageError, match="has no order"):
            dag.merge("m", of={"a"})  # type: ignore[call-overload]
        assert len(dag) == 0

    def test_routing_is_no_option(self) -> None:
        with pytest.raises(flow.UsageError, match="takes no option 'routing'"):
            flow.Dag("d").add("a", one, routing=1)  # type: ignore[call-overload]

    def test_a_merge_of_functions(self) -> None:
        dag = flow.Dag("d")
        a = dag.node(one)
        made = dag.merge("m", of=[a])
        assert flow.run(dag)[made] == 1
        assert "merge of one" in repr(dag._definition.fns[1])

    def test_edges_may_be_said_again(self) -> None:
        dag = flow.Dag("d")
        dag.route("r", lambda: 1, to={1: "a", 2: "b", 3: "a"})
        dag.add("a", one, after="r")
        dag.add("b", lambda r: r)
        dag.edge("r", "b")
        assert dag.compile().edge_count == 2
        assert {name: str(s) for name, s in flow.run(dag).status.items()} == {
            "r": "completed", "a": "completed", "b": "bypassed",
        }  # fmt: skip


    def test_a_route_that_is_defined_again_has_the_new_edges_only(self) -> None:
        dag = flow.Dag("d")
        dag.add("a", one)
        dag.add("b", one)
        dag.route("r", lambda: 1, to={1: "a", 2: "b"})
        assert dag.compile().dependencies["b"] == ("r",)
        dag.route("r", lambda: 1, to={1: "a"}, replace=True)
        assert dag.compile().dependencies == {"a": ("r",), "b": (), "r": ()}


    def test_a_warning_of_routers_that_must_agree(self) -> None:
        dag = flow.Dag("d")
        dag.route("r", lambda: 1, to={1: "a", 2: "b"})
        dag.route("s", lambda: 1, to={1: "a", 2: "b"})
        dag.add("a", one)
        dag.add("b", one, join="some")
        with pytest.warns(flow.DefinitionWarning, match=r"'a' .* all of its 2 routers .*'r', 's'.* join='some' meant"):
            plan = dag.compile()
        (found,) = plan.warnings()
        assert (found.kind, found.node, found.source) == ("route", "a", "r")


class TestPaysNothing:
    def test_a_plan_without_routing_has_the_plain_resolver(self) -> None:
        dag = flow.topologies.linear(3)
        assert dag.compile()._nodes.routes is None
        run = PlanRun(dag.compile(), None, flow.Config(), None)
        assert run.resolver is None and type(run.resolve()) is Resolver

    def test_defaults_are_no_routing(self) -> None:
        dag = flow.Dag("d")
        dag.add("a", one, join="all", when=None)
        dag.add("b", one, after={"a": "completed"})
        assert dag.compile()._nodes.routes is None and dag._definition.policies == {}
        dag.add("c", one, after={"b": None})  # type: ignore[dict-item]
        assert dag.compile()._nodes.routes is None

    def test_a_plan_that_grows_into_one(self) -> None:
        dag = flow.Dag("d")
        dag.add("a", one)
        dag.compile()
        dag.add("b", lambda a=5: a, when=lambda: False)
        assert dag.compile()._nodes.routes is not None
        dag.add("c", lambda b=5: b, join="done")
        assert flow.run(dag)["c"] == 5


class TestTokenResolver:
    @staticmethod
    def resolver(dag: flow.Dag) -> TokenResolver:
        run = PlanRun(dag.compile(), None, flow.Config(), None)
        assert isinstance(run.resolver, TokenResolver)
        return run.resolver

    def test_misuse(self) -> None:
        dag = flow.Dag("d")
        dag.add("a", one)
        dag.add("b", one, after="a", join="done")
        resolver = self.resolver(dag)
        with pytest.raises(flow.UsageError, match="cannot be done: it is ready"):
            resolver.done(0)
        with pytest.raises(flow.UsageError, match="cannot be failed"):
            resolver.failed(0)
        assert resolver.take() == 0
        with pytest.raises(flow.UsageError, match="can be left out"):
            resolver.skip(0)
        assert resolver.advance(0) == 1

    def test_a_failure_skips_at_once_where_no_join_could_take_it(self) -> None:
        dag = flow.Dag("d")
        for name in "ab":
            dag.add(name, one)
        dag.add("all", one, after=["a", "b"])
        dag.add("after_all", one, after="all")
        dag.add("handler", one, after=["a", "b"], join="failed")
        resolver = self.resolver(dag)
        assert resolver.take() == 0
        assert resolver.failed(0) == [2, 3]
        assert [str(resolver.status(i)) for i in range(5)] == ["failed", "ready", "skipped", "skipped", "pending"]
        assert resolver.goes_on_after(0) and not resolver.is_handled(0)
        assert (resolver.take(), resolver.advance(1)) == (1, 4)
        resolver.done(4)
        assert resolver.is_handled(0) and resolver.handlers(0) == [4]

    def test_advance_passes_over_what_was_left_out_while_it_was_ready(self) -> None:
        dag = flow.Dag("d")
        for name in "abcd":
            dag.add(name, one)
        dag.add("after", one, after=["a", "b"], join="none_failed")
        resolver = self.resolver(dag)
        assert resolver.take() == 0
        resolver.bypass(1)
        resolver.claim(2)
        assert resolver.advance(0) == 3
        assert [str(resolver.status(i)) for i in range(5)] == [
            "completed", "bypassed", "running", "running", "ready",
        ]  # fmt: skip
        assert resolver.advance(3) == 4

    def test_advance_after_the_rest_was_cancelled(self) -> None:
        dag = flow.Dag("d")
        dag.add("a", one)
        dag.add("b", one, after="a", when=lambda: True)
        resolver = self.resolver(dag)
        assert resolver.take() == 0
        resolver.cancel_rest()
        assert resolver.advance(0) == -1
        assert [str(resolver.status(i)) for i in range(2)] == ["completed", "cancelled"]

    def test_a_condition_is_asked_once_though_its_node_is_put_back(self) -> None:
        asked = []
        dag = flow.Dag("d")
        dag.add("a", one)
        dag.add("b", one, after="a", when=lambda: asked.append(1) is None)
        resolver = self.resolver(dag)
        assert (resolver.take(), resolver.advance(0)) == (0, 1)
        resolver.put_back(1)
        assert (resolver.take(), asked) == (1, [1])

    def test_cancelled_nodes_stay_so(self) -> None:
        dag = flow.Dag("d")
        dag.add("a", one)
        dag.add("b", one, after="a")
        dag.add("c", one, after="a", join="done")
        resolver = self.resolver(dag)
        assert resolver.take() == 0
        resolver.cancel_rest()
        resolver.done(0)
        assert [str(resolver.status(i)) for i in range(3)] == ["completed", "cancelled", "cancelled"]


def test_a_merge_of_a_node_twice_is_refused() -> None:
    dag = flow.Dag("twice")
    a = dag.add("a", lambda: 1)
    with pytest.raises(flow.errors.UsageError, match="names 'a' more than once"):
        dag.merge("m", of=["a", a])


def test_a_map_whose_function_takes_an_outcome_is_refused() -> None:
    """It got the plain output, and was skipped like any reader."""

    def item(row: int, before: flow.Outcome[int]) -> int:
        return row

    dag = flow.Dag("rows")
    dag.add("before", lambda: 1)
    dag.map("each", item, over="rows")
    with pytest.raises(flow.DefinitionError, match="takes 'before' as a flow.Outcome, and a map gives outputs"):
        dag.compile()


def test_a_map_over_outcomes_is_no_fault() -> None:
    def of(item: flow.Outcome[int]) -> int | None:
        return item.value

    dag = flow.Dag("outcomes")
    dag.map("each", of, over="rows")
    assert flow.run(dag, {"rows": [flow.Outcome("completed", 3)]})["each"] == [3]
