"""What is refused before anything runs says who, what and what to do: known choices, merges, and all faults at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flow


def one() -> int:
    return 1


def router() -> flow.Dag:
    dag = flow.Dag("desk")
    dag.route("triage", lambda: 1 / 0, to={"spam": "drop", "bill": "pay", 3: "pay"})
    dag.add("drop", one)
    dag.add("pay", one)
    return dag


class TestKnownChoices:
    @pytest.mark.parametrize("value", ["bil", ("drop", "nobody"), ["bill", "nobody"], None, [], 4, [[]], {}])
    def test_a_wrong_one_is_refused(self, value: Any) -> None:
        with pytest.raises(flow.UsageError) as caught:
            flow.run(router(), known={"triage": value})
        text = str(caught.value)
        assert text.startswith(f"known is refused: router 'triage' cannot have chosen {value!r}")
        assert text.endswith(
            "give a key, or several ('spam', 'bill', 3), or the tuple of the nodes chosen ('drop', 'pay')"
        )
        assert ("(did you mean 'bill'?)" in text) == (value == "bil")

    @pytest.mark.parametrize("value", ["bill", 3, ["bill"], ("pay",)])
    def test_a_right_one(self, value: Any) -> None:
        result = flow.run(router(), known={"triage": value})
        assert result["triage"] == ("pay",) and result.status["drop"] == "bypassed"

    def test_of_an_outcome_and_of_a_result(self) -> None:
        with pytest.raises(flow.UsageError, match="router 'triage' cannot have chosen 'x'"):
            flow.run(router(), known={"triage": flow.Outcome(value="x")})
        known = {"triage": flow.Outcome("failed", error=ValueError())}
        failed = flow.run(router(), known=known, config=flow.Config(on_error="collect"))
        assert failed.status["triage"] == "failed"
        former = flow.Dag("desk")
        former.route("triage", lambda: "old", to={"old": "gone"})
        former.add("gone", one)
        with pytest.raises(flow.UsageError, match=r"router 'triage' cannot have chosen \('gone',\)"):
            flow.run(router(), known=flow.run(former))

    def test_several_are_listed_and_targets_do_not_hide_them(self) -> None:
        dag = router()
        dag.route("other", one, to={k: "pay" for k in range(20)}, default="drop")
        with pytest.warns(flow.DefinitionWarning), pytest.raises(flow.UsageError) as caught:
            flow.run(dag, known={"triage": "x", "other": "y"}, targets=["pay"])
        text = str(caught.value)
        assert text.count("\n") == 2 and "router 'other' cannot have chosen 'y'" in text
        assert "5, 6, 7 and 12 more" in text and "('pay', 'drop')" in text

    def test_a_value_that_is_not_to_be_shown(self) -> None:
        with pytest.raises(flow.UsageError, match="router 'triage' cannot have chosen a str: give"):
            flow.run(router(), known={"triage": "secret"}, config=flow.Config(show_values=False))


@pytest.mark.parametrize("of", ["ab", one, flow.Dag("d").add("a", one)])
def test_a_merge_of_what_is_no_list(of: Any) -> None:
    dag = flow.Dag("d")
    with pytest.raises(flow.UsageError, match=r"is a list of nodes, not .*: give a list, even of one node"):
        dag.merge("m", of=of)
    dag.add("ab", one)
    dag.merge("m", of=(name for name in ["ab"]))  # type: ignore[call-overload]
    assert flow.run(dag)["m"] == 1


def unknown_need(dag: flow.Dag) -> None:
    dag.add("wrong", lambda x: x, needs=["nobody"])


def unreadable(dag: flow.Dag) -> None:
    dag.add("wrong", 3)  # type: ignore[call-overload]


def wrong_policy(dag: flow.Dag) -> None:
    dag.add("wrong", one, retry=3)  # type: ignore[arg-type]


def wrong_join(dag: flow.Dag) -> None:
    dag.add("wrong", one, join="al")


def twice(dag: flow.Dag) -> None:
    dag.add("x", one)
    dag.add("x", one)


def cycle(dag: flow.Dag) -> None:
    dag.add("x", lambda y: y)
    dag.add("y", lambda x: x)


@pytest.mark.parametrize("other", [unknown_need, unreadable, wrong_policy, wrong_join, twice, cycle])
def test_faults_of_joins_and_readers_come_beside_all_others(other: Callable[[flow.Dag], None]) -> None:
    dag = flow.Dag("d")
    dag.add("a", one)
    dag.add("b", one)
    dag.add("k", one, after=["a", "b"], join=3)
    dag.add("some", one, join="some")
    dag.add("reader", lambda a: a, join="done")
    dag.add("condition", lambda a: a, after={"a": "done"})
    dag.add("asked", one, join="done", when=lambda b: True)
    dag.add("outcome", lambda a, b: 1, after={"b": "failed"})
    other(dag)
    with pytest.raises(flow.DefinitionError) as caught:
        dag.compile()
    text = "\n".join(caught.value.faults)
    assert len(caught.value.faults) == 7, text
    for expected in (
        "join=3 waits for 3 live edges, and 2 lead to this node",
        "join='some' looks at the nodes before this one",
        "node 'reader'",
        "node 'condition'",
        "node 'outcome'",
        "when takes the output of 'b', which may not come",
    ):
        assert expected in text


def test_what_is_wrong_itself_has_no_faults_that_only_follow_from_that() -> None:
    dag = flow.Dag("d")
    dag.add("a", one)
    dag.add("k", one, after=["a", "nobody"], join=2)
    dag.add("reader", lambda a: a, needs=["a", "a"], join="done")
    dag.add("unreadable", 3, needs=["a"], join="done")  # type: ignore[call-overload]
    dag.add("waits", one, join="some")
    dag.edge("nobody", "waits")
    with pytest.raises(flow.DefinitionError) as caught:
        dag.compile()
    assert sorted(fault.partition("): ")[2] or fault for fault in caught.value.faults) == [
        "3 is not callable: give a function, a callable object or a Dag",
        "after names 'nobody', which is no node of this dag",
        "edge('nobody', 'waits') names 'nobody', which is no node of this dag",
        "needs passes 2 outputs by position, but its function takes 1: drop some, or use after=... for pure ordering",
    ]


def test_a_route_that_leads_nowhere_may_have_led_anywhere() -> None:
    dag = flow.Dag("d")
    dag.route("r", one, to={1: "py"})
    dag.add("pay", one, join="some")
    with pytest.raises(flow.DefinitionError) as caught:
        dag.compile()
    (fault,) = caught.value.faults
    assert "to names 'py', which is no node of this dag (did you mean 'pay'?)" in fault


class TestToleratedAndHandled:
    @staticmethod
    def run(*, handler: bool) -> flow.Result:
        def fails() -> int:
            raise ValueError("no")

        dag = flow.Dag("d")
        dag.add("ads", fails, continue_on_error=True)
        dag.add("strict", lambda ads: ads)
        if handler:
            dag.add("alarm", one, after={"ads": "failed"})
        return flow.run(dag)

    def test_what_it_skipped_is_in_order(self) -> None:
        result = self.run(handler=True)
        assert result.ok and result.status["strict"] == "skipped" and result.error() is None
        assert result.why("ads").endswith("this is tolerated, and handled by 'alarm'")

    def test_only_tolerated_it_is_not(self) -> None:
        assert not self.run(handler=False).ok


REFS: list[Any] = ["n0", "n1", "n2", "n3", "nobody", one, 3, None]


def reads_some(n0: int, n1: int = 0) -> int:
    return n0


def takes_an_outcome(n1: flow.Outcome[int], n2: int = 5) -> int:
    return n2


@pytest.mark.filterwarnings("ignore::flow.DefinitionWarning")
@settings(max_examples=300)
@given(st.data())
def test_whatever_is_wrong_is_a_definition_error(data: st.DataObject) -> None:
    draw = data.draw
    fns: list[Any] = [one, reads_some, takes_an_outcome, lambda *args: 1, 3, None, flow.topologies.linear(1)]
    joins: list[Any] = ["all", "some", "failed", "done", "none_failed", 1, 2, 9, "al", None, True, []]
    conditions: list[Any] = ["completed", "failed", "done", "ended", 3, None]
    dag = flow.Dag("d")
    for k in range(draw(st.integers(1, 5))):
        name, fn = draw(st.sampled_from([f"n{k}", "n1", ""])), draw(st.sampled_from(fns))
        after = {ref: draw(st.sampled_from(conditions)) for ref in draw(st.lists(st.sampled_from(REFS), max_size=2))}
        options: dict[str, Any] = {"after": after, "join": draw(st.sampled_from(joins))}
        when = draw(st.sampled_from([None, None, lambda: True, reads_some, takes_an_outcome, 3]))
        options["when"] = when
        if draw(st.booleans()):
            to = {key: draw(st.sampled_from(REFS)) for key in range(draw(st.integers(0, 2)))}
            dag.route(name, fn, to=to, default=draw(st.sampled_from([None, "n0", 3])), **options)
        else:
            needs = draw(st.sampled_from([None, ["n0"], {"n0": "n2"}, ["n0", "n1", "nobody"]]))
            dag.add(name, fn, needs=needs, **options)
    if draw(st.booleans()):
        dag.edge(draw(st.sampled_from(REFS)), draw(st.sampled_from(REFS)))
    try:
        plan = dag.compile()
    except flow.DefinitionError as error:
        assert error.faults
    else:
        assert len(plan) == len(dag)
