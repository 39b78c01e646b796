"""What compiling a loop refuses, and what it knows of a loop before anything runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import flow
from flow.policy.looping import Looped


def body() -> flow.Dag:
    dag = flow.Dag("body")
    dag.add("better", lambda draft, tone="plain": draft + tone)
    dag.add("score", lambda better: len(better))
    return dag


def more(draft: str, tone: str = "plain") -> str:
    return draft + tone


FINE: dict[str, Any] = {"until": lambda score: score > 1, "max_iterations": 3, "carry": {"draft": "better"}}
OF_FUNCTION: dict[str, Any] = {"until": lambda draft: len(draft) > 9, "max_iterations": 3, "carry": "draft"}


def faults(what: Any = None, **options: Any) -> tuple[str, ...]:
    dag = flow.Dag("d")
    dag.loop("polish", body() if what is None else what, **{**(FINE if what is None else OF_FUNCTION), **options})
    with pytest.raises(flow.DefinitionError) as caught:
        dag.compile()
    return caught.value.faults


def fault(what: Any = None, **options: Any) -> str:
    (found,) = faults(what, **options)
    where, _, text = found.partition("): ")
    assert where.startswith("node 'polish' (")
    return text


def test_what_is_used_here_compiles() -> None:
    dag = flow.Dag("d")
    dag.loop("a", body(), **FINE)
    dag.loop("b", more, **OF_FUNCTION)
    assert dag.compile().inputs == ("draft", "tone")
    assert dag.compile().required_inputs == ("draft",)


async def later(score: int) -> bool:
    return True


def rows(score: int) -> Iterator[bool]:
    yield True


def outcome(score: flow.Outcome[int]) -> bool:
    return True


def contexts(a: flow.Context, b: flow.Context) -> bool:
    return True


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_iterations": None}, "a loop needs max_iterations=..., the most rounds: without it, it might never end"),
        ({"max_iterations": 0}, "max_iterations must be an integer of at least 1, not 0"),
        ({"max_iterations": True}, "max_iterations must be an integer of at least 1, not True"),
        ({"max_iterations": 2.5}, "max_iterations must be an integer of at least 1, not 2.5"),
        ({"on_limit": "returns"}, "on_limit must be one of 'fail', 'return', not 'returns' (did you mean 'return'?)"),
        ({"on_limit": []}, "on_limit must be one of 'fail', 'return', not []"),
        ({"history": 1}, "history must be True or False, not 1"),
        ({"until": None}, "a loop needs until=..., a function that returns True after the last round"),
        ({"until": 5}, "until must be a sync function that returns True or False, not 5"),
        ({"until": lambda scoer: True},
         "takes 'scoer', which is neither an output nor a run input of the body (did you mean 'score'?)"),
        ({"until": later}, "is async, and nothing would await it: make it a plain def"),
        ({"until": lambda *scores: True}, "takes *args: let it name the outputs that it looks at"),
        ({"until": outcome}, "takes outputs, not a flow.Outcome: drop that annotation"),
        ({"until": contexts}, "asks for the Context twice: one parameter is enough"),
        ({"carry": {"draft": "bettr"}},
         "carry names the output 'bettr', which is no node of the body (did you mean 'better'?)"),
        ({"carry": {"draf": "better"}},
         "carry names the input 'draf', which is no run input of the body (did you mean 'draft'?)"),
        ({"carry": {"score": "better"}}, "carry names the input 'score', which is no run input of the body"),
        ({"carry": {3: "better"}}, "carry names the input 3, which is no run input of the body"),
        ({"carry": {"draft": 3}}, "carry names the output 3, which is no node of the body"),
        ({"carry": "draft"}, "carry maps run inputs of the body to the nodes whose outputs they take, "
         "{'draft': 'better'}, and is no 'draft'"),
    ],
)  # fmt: skip
def test_faults_of_a_loop_of_a_dag(options: dict[str, Any], said: str) -> None:
    assert fault(**options).endswith(said)


@pytest.mark.parametrize(
    ("what", "options", "said"),
    [
        (more, {"carry": "drafft"},
         "carry names the input 'drafft', which is no parameter of the function (did you mean 'draft'?)"),
        (more, {"carry": {"draft": "draft"}},
         "carry names the parameter that takes the function's return value, not {'draft': 'draft'}"),
        (more, {"until": lambda text: True},
         "takes 'text', which is no parameter of the function; its return value is 'draft'"),
        (more, {"carry": None, "until": lambda text, other: True},
         "takes 'other', which is no parameter of the function; its return value is 'text'"),
        (5, {}, "a loop runs a flow.Dag or a function, not 5"),
        (5, {"until": 6}, None),
        (type("Odd", (), {"__call__": 3}), {}, None),
    ],
)  # fmt: skip
def test_faults_of_a_loop_of_a_function(what: Any, options: dict[str, Any], said: str | None) -> None:
    found = faults(what, **options) if said is None else [fault(what, **options)]
    assert said is None or found[0].endswith(said)


def test_all_faults_come_in_one_error() -> None:
    dag = flow.Dag("d")
    dag.loop("a", body(), until=lambda nope: True, max_iterations=0, carry={"x": "y"}, on_limit="stop", history=None)
    dag.loop("b", 5)  # type: ignore[call-overload]
    dag.loop("c", body())  # type: ignore[call-overload]
    with pytest.raises(flow.DefinitionError) as caught:
        dag.compile()
    assert len([f for f in caught.value.faults if f.startswith("node 'a'")]) == 6
    assert len([f for f in caught.value.faults if f.startswith("node 'b'")]) == 3
    assert len([f for f in caught.value.faults if f.startswith("node 'c'")]) == 2


def test_an_unreadable_function() -> None:
    class Unreadable:
        @property
        def __signature__(self) -> Any:
            raise RuntimeError("no")

        def __call__(self) -> int:
            return 1

    class Partial:
        pass

    from functools import partial

    found = faults(partial(more, 1, 2, 3), carry=None, until=lambda n: True)
    assert "its parameters cannot be read: TypeError: the partial binds 3 positional values" in found[0]
    assert "the parameters of until" in fault(until=partial(more, 1, 2, 3))


def test_a_dag_that_cannot_be_compiled_is_refused_at_once() -> None:
    wrong = flow.Dag("wrong")
    wrong.add("n", lambda: 1, after="nobody")
    dag = flow.Dag("d")
    with pytest.raises(flow.DefinitionError, match="'nobody'"):
        dag.loop("l", wrong, until=lambda n: True, max_iterations=1)
    assert len(dag) == 0


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"max_rounds": 3}, "did you mean max_iterations=3?"),
        ({"max_iteration": 3}, "did you mean 'max_iterations'?"),
        ({"retries": 3}, "did you mean retry=flow.Retry(attempts=4)?"),
        ({"limit": 3}, "max_iterations"),
    ],
)
def test_unknown_options(option: dict[str, Any], said: str) -> None:
    with pytest.raises(flow.UsageError, match="node 'l' takes no option") as caught:
        flow.Dag("d").loop("l", body(), **FINE, **option)
    if "limit" not in option:
        assert said in str(caught.value)


def test_options_of_a_loop_given_elsewhere() -> None:
    with pytest.raises(flow.UsageError, match=r"an option of a loop: dag.loop\(..., max_iterations=3\)"):
        flow.Dag("d").add("n", more, max_iterations=3)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("fn", "name"),
    [
        (more, "more"),
        (lambda draft: draft, "body"),
        (lambda body: body, "body_"),
        (lambda body, body_: body, "body__"),
    ],
)
def test_the_one_node_of_a_function(fn: Any, name: str) -> None:
    dag = flow.Dag("d")
    dag.loop("l", fn, until=lambda result: True, max_iterations=1)
    looped = dag.compile()._nodes.fns[0]
    assert isinstance(looped, Looped)
    assert looped.body is not None
    assert looped.body.plan.names == [name]
    assert flow.run(dag, {key: "x" for key in looped.body.inputs if key != "tone"})["l"] is not None


def test_a_function_with_the_name_of_its_parameter() -> None:
    def draft(draft: int) -> int:
        return draft + 1

    dag = flow.Dag("d")
    dag.loop("l", draft, carry="draft", until=lambda draft: draft > 2, max_iterations=5)
    assert flow.run(dag, {"draft": 1})["l"] == 3


def test_a_generator_that_each_round_would_read() -> None:
    def numbers() -> Iterator[int]:
        yield 1

    def summed(numbers: Any, n: int) -> int:
        return n + sum(numbers)

    dag = flow.Dag("d")
    dag.add("numbers", numbers)
    dag.loop("l", summed, carry="n", until=lambda n: True, max_iterations=2)
    with pytest.raises(flow.DefinitionError, match="but node 'l' reads it more than once"):
        dag.compile()
    dag.loop("l", summed, carry="n", until=lambda n: True, max_iterations=1, replace=True)
    assert flow.run(dag, {"n": 1})["l"] == 2


def test_contradicting_types_are_found() -> None:
    def number() -> int:
        return 1

    def text(draft: str) -> str:
        return draft

    def wants(polish: int) -> None: ...

    dag = flow.Dag("d")
    dag.add("draft", number)
    dag.loop("polish", text, carry="draft", until=lambda draft: True, max_iterations=1)
    dag.add("end", wants)
    dag.loop("all", text, carry="draft", until=lambda draft: True, max_iterations=1, history=True)
    dag.add("end2", wants, needs={"polish": "all"})
    found = [(f.node, f.source) for f in dag.compile().warnings() if f.kind == "type"]
    assert found == [("polish", "draft"), ("end", "polish"), ("all", "draft"), ("end2", "all")]


def test_findings_within_a_body() -> None:
    def number() -> int:
        return 1

    def text(number: str) -> str:
        return number

    inner = flow.Dag("inner")
    inner.add("number", number)
    inner.add("text", text)
    dag = flow.Dag("d")
    dag.loop("l", inner, until=lambda text: True, max_iterations=1)
    (found,) = dag.compile().warnings()
    assert found.text.startswith("in dag 'inner': ")


def test_outputs_are_named_in_three_ways() -> None:
    inner = flow.Dag("inner")

    @inner.node
    def better(draft: str) -> str:
        return draft + "!"

    score = inner.add("score", lambda better: len(better))
    for ref in ("better", better, flow.types.NodeRef[str]("better")):
        dag = flow.Dag("d")
        dag.loop("l", inner, carry={"draft": ref}, until=lambda score: score > 3, max_iterations=9)
        assert flow.run(dag, {"draft": "a"})["l"][score.name] == 4
    with pytest.raises(flow.DefinitionError, match="carry names the output <function more"):
        dag.loop("l", inner, carry={"draft": more}, until=lambda score: True, max_iterations=9, replace=True)
        dag.compile()


def test_a_function_that_no_node_can_call() -> None:
    assert fault(contexts, carry=None, until=lambda n: True).endswith(
        "asks for the Context twice: one parameter is enough"
    )
    assert fault(outcome, carry=None, until=lambda n: True).endswith(
        "the function of a loop takes outputs, not a flow.Outcome: drop that annotation"
    )


def test_plans_with_loops_are_copied_and_sent() -> None:
    import copy
    import pickle

    from pool_functions import square

    dag = flow.Dag("d")
    dag.loop("l", square, carry="x", until=is_large, max_iterations=9)
    plan = dag.compile()
    for twin in (copy.copy(plan), copy.deepcopy(plan), pickle.loads(pickle.dumps(plan))):
        assert flow.run(twin, {"x": 2})["l"] == 256


def is_large(x: int) -> bool:
    return x > 100


def test_a_loop_is_no_router() -> None:
    dag = flow.Dag("d")
    dag.add("a", lambda: 1)
    looped = Looped(more, None, 1, False, False)
    dag.route("r", looped, to={1: "a"})
    with pytest.raises(flow.DefinitionError, match="a route takes a function that returns a key"):
        dag.compile()
