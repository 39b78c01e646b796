"""A Dag of importable functions as a file, and back: the same plan, and the same results."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec
import pytest
import spec_functions as fs
from hypothesis import given, settings
from hypothesis import strategies as st

import flow
import flow.spec
import flow.spec.actions
from flow.plan.merging import Merge
from flow.plan.nodes import executor_of, fallback_of, function_of
from flow.plan.waits import Signal, Timer
from flow.policy.looping import Looped
from flow.policy.mapping import Mapped

pytest.importorskip("yaml")

ALLOW = ["spec_functions:*"]


def again(dag: flow.Dag) -> flow.Dag:
    return flow.spec.loads(flow.spec.dump(dag), allow=ALLOW)


def called(fn: Any) -> Any:
    """What a node calls in the end."""
    if isinstance(fn, (Mapped, Looped)):
        return called(fn.fn)
    if isinstance(fn, Signal):
        return fn.type, fn.timeout
    if isinstance(fn, Timer):
        return fn.delay, fn.at
    if isinstance(fn, Merge):
        return fn.names, fn.first
    return getattr(fn, "fn", fn) if type(fn).__module__.startswith("flow.spec") else fn


def retried(retry: Any) -> Any:
    if retry is None:
        return None
    wanted = retry.retry_if
    kinds = wanted if isinstance(wanted, tuple) else (wanted,)
    names = getattr(wanted, "names", None) or tuple(
        kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}:{kind.__qualname__}" for kind in kinds
    )
    return (*msgspec.structs.astuple(retry)[:-1], names)


def facts(dag: flow.Dag) -> dict[str, Any]:
    """All of a plan that a file is to keep."""
    plan = dag.compile()
    nodes, routes = plan._nodes, plan._nodes.routes
    found: dict[str, Any] = {}
    for i, name in enumerate(plan.names):
        fn = function_of(nodes, i)
        binder = nodes.binders.get(i)
        retry = fn.retry if isinstance(fn, Mapped) else nodes.retries.get(i)
        timeout = fn.timeout if isinstance(fn, Mapped) else None if binder is None else binder.timeout
        own: dict[str, Any] = {
            "calls": "expression" if routes is not None and i in routes.routers else called(fn),
            "retry": retried(retry),
            "timeout": timeout,
            "executor": executor_of(nodes, i),
            "fallback": fallback_of(nodes, i),
            "priority": nodes.priorities.get(i, 0),
            "cost": nodes.costs.get(i),
            "tolerated": i in nodes.may_fail,
            "stored": nodes.storing.get(i, True),
        }
        if isinstance(fn, Mapped):
            options = {field: getattr(fn.options, field) for field in fn.options.__struct_fields__ if field != "key"}
            own["map"] = {**options, "key": None if fn.options.key is None else repr(fn.options.key)}
        if isinstance(fn, Looped):
            own["loop"] = (fn.most, fn.returns, fn.history, fn.carried)
        if routes is not None:
            conditions = routes.conditions.get(i, {})
            own["join"] = routes.joins.get(i, "all")
            own["conditions"] = {plan.names[d]: condition for d, condition in conditions.items()}
            choice = routes.routers.get(i)
            if choice is not None:
                own["routes"] = ({str(key).lower(): to for key, to in choice.to.items()}, choice.default)
            own["cleanup"] = (i in routes.cleanup, routes.setups.get(i))
        found[name] = {key: value for key, value in own.items() if value not in (None, {}, "all", (False, None))}
    edges = {(plan.names[a], plan.names[b], data) for a, b, data in nodes.edges()}
    inputs = {name: name in plan.required_inputs for name in plan.inputs}
    return {"name": plan.name, "nodes": found, "edges": edges, "inputs": inputs, "config": plan.config}


def same(dag: flow.Dag) -> flow.Dag:
    """Check that a Dag survives being written; return the one that was read."""
    other = again(dag)
    assert facts(other) == facts(dag)
    assert list(other) == list(dag)
    return other


def outcome(dag: flow.Dag, **inputs: Any) -> Any:
    result = flow.run(dag, inputs, config=flow.Config(on_error="collect"))
    errors = {name: (type(error), str(error)) for name, error in result.errors.items()}
    outputs = {name: list(made) if hasattr(made, "gi_frame") else made for name, made in result.outputs.items()}
    return dict(result.status), outputs, errors


class TestWhatIsKept:
    def test_names_that_are_those_of_nodes(self) -> None:
        dag = flow.Dag("plain")
        dag.add("a", fs.give)
        dag.add("b", fs.later)
        dag.add("both", fs.add)
        assert "with" not in flow.spec.dump(dag)
        assert outcome(same(dag)) == outcome(dag)

    def test_needs_by_other_names(self) -> None:
        dag = flow.Dag("needs")
        dag.add("one", fs.give)
        dag.add("north.two", fs.give)
        dag.add("class", fs.words)
        dag.add("pair", fs.add, needs=["north.two", "one"])
        dag.add("named", fs.add, needs={"b": "class", "a": "pair"})
        text = flow.spec.dump(dag)
        assert """{a: '{{ nodes["north.two"] }}', b: "{{ one }}"}""" in text
        assert outcome(same(dag)) == outcome(dag)

    def test_context_generator_and_outcome(self) -> None:
        dag = flow.Dag("own")
        dag.add("give", fs.give)
        dag.add("how", fs.outcome)
        dag.add("place", fs.context, needs={"a": "how"})
        dag.add("twice", fs.generate, needs={"a": "give"})
        dag.map("each", fs.halve, over="twice")
        assert outcome(same(dag)) == outcome(dag)

    def test_options(self) -> None:
        dag = flow.Dag("options")
        dag.add("begin", fs.boom, retry=flow.Retry(2, delay=0.0, jitter=0.5), fallback={"x": ["{{ y }}", None, 1.5]})
        dag.add("b", fs.give, timeout=3, priority=2, cost=1.5, after="begin")
        dag.add("c", fs.give, timeout=flow.Timeout(2.5, 9), thread=True, abandon_on_timeout=True)
        dag.add("d", fs.boom, continue_on_error=True, retry=flow.Retry(retry_if=(OSError, fs.Odd), delay=0))
        dag.add("e", fs.collect, needs={"a": "begin"}, executor="inline", fallback=None)
        dag.edge("b", "c")
        other = same(dag)
        assert outcome(other) == outcome(dag)

    def test_what_durable_runs_store(self) -> None:
        dag = flow.Dag("storing")
        dag.add("a", fs.words, store=False)
        dag.add("b", fs.give, store="pickle")
        dag.add("c", fs.give, store=True)
        dag.map("each", fs.halve, over="a", store=False)
        dag.loop("loop", fs.step, until=flow.expr("made > 0"), max_iterations=2, on_limit="return", store="pickle")
        dag.route("way", flow.expr("b == 3"), to={True: "c", False: "left"}, store=False)
        dag.add("left", fs.give)
        dag.merge("one", of=["c", "left"], store=False)
        dag.add("tidy", fs.collect, cleanup=True, store="pickle")
        other = same(dag)
        storing = {"a": False, "b": "pickle", "each": False, "loop": "pickle", "way": False, "one": False,
                   "tidy": "pickle"}  # fmt: skip
        plan = other.compile()
        assert {plan.names[i]: how for i, how in plan._nodes.storing.items()} == storing
        assert flow.spec.dump(dag).count("store:") == 7

    def test_conditions_joins_and_ends(self) -> None:
        dag = flow.Dag("routing")
        dag.add("a", fs.give, when=flow.expr("level > 1"))
        dag.add("b", fs.boom)
        dag.add("c", fs.give, after={"b": "failed", "a": "done"})
        dag.add("d", fs.collect, needs=["a", "b"], join="none_failed", when=flow.expr("failed(b) or default(a, 0) > 2"))
        dag.add("e", fs.collect, join=1, needs={"a": "c", "b": "a"})
        dag.add("f", fs.give, when=flow.expr("default(a, 0) == 3 and inputs.level > 1"), join="done")
        dag.add("tidy", fs.collect, cleanup=True)
        dag.teardown("undo", fs.collect, of="a")
        dag.teardown("gone", fs.waits, of="a", after=["c"])
        for level in (1, 2):
            assert outcome(same(dag), level=level) == outcome(dag, level=level)

    def test_routes_and_merges(self) -> None:
        dag = flow.Dag("routes", inputs=["level"])
        dag.route("way", flow.expr("level > 1"), to={True: "up", False: "down"})
        dag.add("up", fs.give, join="some")
        dag.add("down", fs.words, join="some")
        dag.route("word", flow.expr("['x', 'y'] if inputs.level else null"), to={"x": "up", "y": "y"}, default="down")
        dag.add("y", fs.give)
        dag.merge("end", of=["up", "down"], pick="first", after="y")
        for level in (0, 1, 2):
            mine, theirs = outcome(dag, level=level), outcome(same(dag), level=level)
            assert mine == theirs

    def test_maps(self) -> None:
        dag = flow.Dag("maps")
        dag.add("numbers", fs.words)
        dag.add("x.y", fs.words)
        dag.add("by", fs.give)
        dag.map("squares", fs.square, over="numbers", concurrency=None, on_error="collect", take=2)
        dag.map("cubes", fs.square, over="x.y", concurrency="auto")
        dag.map("greeted", fs.greet, over="numbers", key=flow.expr("str(item)"))
        dag.map("other", fs.greet, over="x.y", needs={"by": "squares"}, retry=flow.Retry(2))
        dag.map("given", fs.halve, over="hosts", timeout=3, fallback="none", batch_size=None)
        dag.map("halves", fs.halve, over="numbers")
        dag.map("again", fs.halve, over="halves", pipelined=True)
        assert outcome(same(dag), hosts=["a", "b"]) == outcome(dag, hosts=["a", "b"])

    def test_loops(self) -> None:
        dag = flow.Dag("loops")
        dag.add("by", fs.give)
        dag.loop("steps", fs.step, until=flow.expr("state > 6"), max_iterations=9, carry="state", history=True)
        dag.loop("more", fs.step, until=flow.expr("x > 90"), max_iterations=2, on_limit="return", needs={"by": "by"})
        dag.loop("final", fs.step, until=flow.expr("x > 1"), max_iterations=2, needs={"by": "by", "state": "more"})
        assert outcome(same(dag), state=1) == outcome(dag, state=1)

    def test_nodes_that_wait(self) -> None:
        dag = flow.Dag("waits")
        dag.signal("approve", type=bool, timeout=30)
        dag.signal("anything")
        dag.signal("odd", type=fs.Odd, fallback=None)
        dag.timer("soon", seconds=0.5, after={"approve": "done"})
        dag.timer("date", at=datetime(2030, 1, 2, tzinfo=UTC), when=flow.expr("approve"))
        same_names = flow.spec.loads(
            flow.spec.dump(dag).replace("spec_functions:Odd", "integer"), allow=ALLOW
        )  # its module does not offer it
        assert list(same_names) == list(dag)
        assert called(function_of(same_names.compile()._nodes, 4)) == (None, datetime(2030, 1, 2, tzinfo=UTC))

    def test_actions(self) -> None:
        from flow.spec import actions

        dag = flow.Dag("actions")
        dag.add("thing", fs.words)
        dag.add("text", actions.json, needs={"value": "thing"})
        dag.add("wait", fs.waits, needs={"a": "text"})
        text = flow.spec.dump(dag)
        assert "call: json" in text
        assert "spec_functions:pause" in text
        assert outcome(same(dag)) == outcome(dag)

    def test_included_dags(self) -> None:
        part = flow.Dag("part")
        part.add("start", fs.halve, needs=[])
        part.add("one", fs.later, needs={"a": "start"})
        part.add("two", fs.give, when=flow.expr("one[0] == 'later' and value > 0"))
        part.route("way", flow.expr("'x' if one else 'y'"), to={"x": "two", "y": "two"})
        part.map("each", fs.halve, over="one")
        dag = flow.Dag("whole")
        dag.add("seed", fs.give)
        dag.include(part, prefix="north", after="seed")
        dag.include(part, prefix="south", inputs={"value": "seed"})
        assert outcome(same(dag), value=1) == outcome(dag, value=1)

    def test_a_config(self) -> None:
        dag = flow.Dag("config", config=flow.Config(limit=3, timeout=9.5, data=flow.DataConfig(metrics="off")))
        dag.add("a", fs.give)
        assert same(dag).compile().config == dag.compile().config

    def test_a_file_of_plain_calls(self) -> None:
        dag = flow.Dag("again")
        dag.add("a", fs.give)
        dag.add("b", fs.later)
        assert flow.spec.dump(again(dag)) == flow.spec.dump(dag)

    def test_modules_by_another_name(self) -> None:
        dag = flow.Dag("modules")
        dag.add("a", fs.give)
        assert "call: deploy.steps:give" in flow.spec.dump(dag, modules={"spec_functions": "deploy.steps"})


class Regions(msgspec.Struct):
    env: Literal["dev", "prod"]
    count: Annotated[int, msgspec.Meta(ge=1, le=9)]
    hosts: list[Annotated[str, msgspec.Meta(min_length=2)]] = []
    note: str | None = None
    limits: dict[str, Any] = {}
    token: Annotated[str, flow.Secret] = "x{{ y }}"
    level: Literal[1, "a"] = 1
    share: float = 0.5
    anything: Any = None
    flag: bool = True


class Loose(TypedDict):
    a: int
    factor: NotRequired[int]


class TestInputs:
    def test_of_a_class(self) -> None:
        dag = flow.Dag("inputs", inputs=Regions)
        dag.add("all_of_them", fs.regions)
        mine, theirs = dag.compile()._nodes.declared, again(dag).compile()._nodes.declared
        assert mine is not None and theirs is not None
        assert theirs.names == mine.names
        assert theirs.required == mine.required
        assert theirs.secret == {"token"}
        given = {"env": "prod", "count": 3}
        assert mine.filled(given, repr) == theirs.filled(given, repr)
        for wrong in ({"env": "x"}, {"count": 0}, {"hosts": ["a"]}, {"note": 3}, {"level": "b"}, {"share": "x"}):
            assert len(theirs.filled({**given, **wrong}, repr)[1]) == len(mine.filled({**given, **wrong}, repr)[1]) == 1

    def test_that_nothing_declares(self) -> None:
        dag = flow.Dag("inferred")
        dag.add("text", fs.options)
        assert outcome(same(dag), a=3) == outcome(dag, a=3)
        assert outcome(same(dag), a=3, factor=9) == outcome(dag, a=3, factor=9)

    def test_that_may_be_left_out(self) -> None:
        dag = flow.Dag("loose", inputs=Loose)
        dag.add("text", fs.options)
        assert outcome(again(dag), a=3) == outcome(dag, a=3)

    def test_defaults_that_differ(self) -> None:
        dag = flow.Dag("differ")
        dag.add("a1", fs.step)
        dag.add("a2", fs.regions)
        dag.add("a3", fs.options)
        dag.add("a4", fs.greeted)
        with pytest.raises(flow.errors.DumpError, match="input 'flag': several functions have different defaults"):
            flow.spec.dump(dag)


class Own:
    def __call__(self, a: Any = None) -> None: ...


class Checked(msgspec.Struct):
    a: int

    def __post_init__(self) -> None: ...


def test_all_that_cannot_be_said_is_told_at_once() -> None:
    inner = flow.Dag("inner")
    inner.add("x", fs.halve)

    def local() -> None: ...

    dag = flow.Dag("bad", middleware=[lambda call, ctx: call()], inputs=[..., "_x"])
    dag.add("numbers", fs.words)
    dag.add("lambda", lambda: 1)
    dag.add("local", local)
    dag.add("method", fs.Holder().method)
    dag.add("inclass", fs.Holder.method, needs={"self": "numbers"})
    dag.add("partial", partial(fs.collect, a=1))
    dag.add("object", Own())
    dag.add("builtin", len, needs=["numbers"])
    dag.add("nested", inner)
    dag.reduce("folded", fs.add, over="numbers", start=0)
    dag.filter("some", fs.halve, over="numbers")
    dag.flat_map("flat", fs.halve, over="numbers")
    dag.map("zipped", fs.add, over=["numbers", "local"])
    dag.map("each", inner, over="numbers")
    dag.map("keyed", fs.halve, over="numbers", key=str)
    dag.loop("rounds", fs.step, until=lambda x: True, max_iterations=2)
    dag.loop("body", inner, until=lambda x: True, max_iterations=2)
    dag.route("way", lambda: 1, to={1: "numbers2"})
    dag.add("numbers2", fs.words, join="some")
    dag.route("odd", flow.expr("1"), to={(1, 2): "numbers2"})
    dag.add("when", fs.give, when=lambda: True)
    dag.add("fallback", fs.give, fallback=lambda error: 1)
    dag.add("tuple", fs.give, fallback=(1, 2))
    dag.add("keys", fs.give, fallback={1: 2})
    dag.add("retry", fs.give, retry=flow.Retry(retry_if=lambda error: True))
    dag.add("around", fs.give, middleware=[lambda call, ctx: call()])
    dag.add("admitted", fs.give, admission=lambda ctx: None)
    dag.add("data", fs.give)
    dag.add("args", fs.rest, needs=["numbers"])
    dag.add("slash", fs.only, needs=["numbers"])
    dag.add("expression", flow.expr("numbers[0]"))
    dag.add("told", fs.outcome, needs={"give": "numbers"})
    dag.add("spared", fs.step, needs={"state": "numbers"}, join="none_failed")
    dag.route("tried", flow.expr("1"), to={1: "numbers2"}, retry=flow.Retry(2))
    with pytest.raises(flow.errors.DumpError) as caught:
        flow.spec.dump(dag)
    faults = caught.value.faults
    told = {fault.split("'")[1] for fault in faults if fault.startswith("node")}
    assert told == set(dag) - {"numbers", "numbers2"}
    assert [fault for fault in faults if not fault.startswith("node")] == [
        "middleware around all nodes: a file has none",
        "inputs: a run may give any other input (...), and a file declares each",
        "input '_x': its name is no letter followed by letters, digits and '_'",
        "input 'a': it may be left out, and what then holds is not known here: declare it with a default",
    ]
    assert all("test_spec_dump.py:" in fault for fault in faults if "'lambda'" in fault or "'local'" in fault)


FROM_FILES = {
    "call": "{call: 'spec_functions:halve', with: {value: '{{ start }}'}}",
    "publish": "{call: 'spec_functions:give', publish: {x: '{{ result }}'}}",
    "generator": "{call: 'spec_functions:generate', with: {a: 1}}",
    "map": "{map: 'spec_functions:halve', over: '{{ start }}', with: {value: '{{ item }}'}}",
    "over": "{map: 'spec_functions:halve', over: '{{ sort(start) }}'}",
    "set": "{set: {x: 1}}",
    "route": "{route: '1', to: {'1': other}}",
    "loop": "{loop: 'spec_functions:step', until: 'x > 3', max_iterations: 2, with: {by: '{{ len(start) }}'}}",
}


@pytest.mark.parametrize("node", FROM_FILES.values(), ids=FROM_FILES)
def test_what_comes_from_a_file_stays_there(node: str) -> None:
    start = "start: {call: 'spec_functions:words'}, other: {call: 'spec_functions:give'}"
    dag = flow.spec.loads(f"{{flow: 1, nodes: {{{start}, one: {node}}}}}", allow=ALLOW)
    with pytest.raises(flow.errors.DumpError, match=r"node 'one' \(.*\): it comes from a file") as caught:
        flow.spec.dump(dag)
    assert len(caught.value.faults) == 1


def deep(levels: int) -> list[Any]:
    made: list[Any] = []
    for _ in range(levels):
        made = [made]
    return made


@pytest.mark.parametrize(
    ("fallback", "why"),
    [
        (10**400, "digits"),
        (deep(100), "nest too deep"),
        ({"{{ x }}": 1}, "a key of a mapping"),
        ("\ud800", "half a character"),
        ({"\ud800": 1}, "a key of a mapping"),
        ("\\{{ x", "a backslash before two braces"),
        (b"x", "no plain data"),
        (float, "a function makes it"),
    ],
)
def test_values_without_words(fallback: Any, why: str) -> None:
    dag = flow.Dag("values")
    dag.add("one", fs.give, fallback=fallback)
    with pytest.raises(flow.errors.DumpError, match=why):
        flow.spec.dump(dag)


ODD = [float("inf"), float("-inf"), 1e300, -0.0, 1e-7, 10**300, "no", "1e3", "\0\x85", "- a"]


@pytest.mark.parametrize("value", ODD)
def test_values_with_words(value: Any) -> None:
    dag = flow.Dag("values")
    dag.add("one", fs.boom, fallback=[value])
    assert repr(flow.run(again(dag), {"a": 1})["one"]) == repr([value])


class TestFunctionsWithoutWords:
    def fault_of(self, fn: Any, **modules: str) -> str:
        dag = flow.Dag("one")
        dag.add("one", fn)
        with pytest.raises(flow.errors.DumpError) as caught:
            flow.spec.dump(dag, modules=modules)
        return caught.value.faults[0]

    def test_of_the_program_itself(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def start() -> None: ...

        monkeypatch.setattr(start, "__module__", "__main__")
        monkeypatch.setattr(start, "__qualname__", "start")
        monkeypatch.setattr(sys.modules["__main__"], "start", start, raising=False)
        assert "in the program that runs" in self.fault_of(start)
        dag = flow.Dag("one")
        dag.add("one", start)
        assert "call: deploy:start" in flow.spec.dump(dag, modules={"__main__": "deploy"})

    def test_that_another_one_has_replaced(self, monkeypatch: pytest.MonkeyPatch) -> None:
        give = fs.give
        monkeypatch.setattr(fs, "give", fs.words)
        assert "is not what module 'spec_functions' has by this name" in self.fault_of(give)

    def test_of_a_module_that_is_gone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delitem(sys.modules, "spec_functions")
        assert "is not what module" in self.fault_of(fs.give)

    def test_private_ones(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert "'_give' is private" in self.fault_of(fs._give)
        assert "is private" in self.fault_of(fs.give, spec_functions="_steps")


class Described(msgspec.Struct):
    a: Annotated[str, msgspec.Meta(description="what {{ it }} is")]
    b: Annotated[float, msgspec.Meta(gt=1)] = 2.0
    c: Literal["x", None] = None
    d: datetime | None = None


def test_types_of_inputs() -> None:
    dag = flow.Dag("types", inputs=Described)
    dag.add("one", fs.give)
    with pytest.raises(flow.errors.DumpError) as caught:
        flow.spec.dump(dag)
    told = {fault.split("'")[1]: fault for fault in caught.value.faults}
    assert set(told) == {"b", "c", "d"}
    assert "a file has no gt of inputs" in told["b"]
    assert "an enum of a file has texts and integers" in told["c"]
    assert "a file has no type" in told["d"]


def test_descriptions_of_inputs() -> None:
    class One(msgspec.Struct):
        a: Annotated[str, msgspec.Meta(description="what it is")]

    dag = flow.Dag("types", inputs=One)
    dag.add("one", fs.later)
    assert "a: {type: string, description: what it is}" in flow.spec.dump(dag)


def test_maps_that_cannot_be_pipelined() -> None:
    dag = flow.Dag("pipe")
    dag.add("numbers", fs.words)
    dag.map("x.y", fs.halve, over="numbers")
    dag.map("z", fs.halve, over="x.y", pipelined=True)
    with pytest.raises(flow.errors.DumpError, match="a pipelined map of a file goes over a node whose name"):
        flow.spec.dump(dag)


def test_names_that_mean_another_node_in_an_included_dag() -> None:
    part = flow.Dag("part", inputs=["value", "other"])
    part.add("one", fs.give, when=flow.expr("inputs.value > 0"))
    part.add("x.y", fs.give)
    part.add("two", fs.give, when=flow.expr("nodes['x.y'] > 0 and other"))
    dag = flow.Dag("whole")
    dag.add("seed", fs.give)
    dag.include(part, prefix="p", inputs={"value": "seed"})
    with pytest.raises(flow.errors.DumpError) as caught:
        flow.spec.dump(dag)
    assert [fault.split(" means ")[1] for fault in caught.value.faults] == [
        "seed here: write that", 'nodes["p.x.y"] here: write that',
    ]  # fmt: skip


def test_what_modules_do_not_offer() -> None:
    from flow.spec.dumping.dag import unoffered

    dag = flow.Dag("one")
    dag.add("a", fs.give)
    dag.add("b", fs.waits)
    dag.map("c", fs.hidden, over="a")
    dag.add("d", fs.rest)
    dag.add("e", flow.spec.actions.json)
    dag.add("f", len, needs=["a"])
    dag.signal("g", type=fs.Odd)
    dag.signal("h", type=bool)
    told = " does not offer hidden, rest, Odd to files yet: list them in its __all__, or mark them @flow.action"
    assert unoffered(dag) == [f"module spec_functions{told}"]
    assert unoffered(dag, {"spec_functions": "steps"}) == [f"module steps{told}"]


def test_what_is_no_dag() -> None:
    dag = flow.Dag("x")
    dag.add("a", fs.give)
    with pytest.raises(flow.UsageError, match="give the Dag"):
        flow.spec.dump(dag.compile())  # type: ignore[arg-type]
    with pytest.raises(flow.UsageError, match="takes a flow.Dag, not 3"):
        flow.spec.dump(3)  # type: ignore[arg-type]


def test_a_class_that_checks_inputs_together() -> None:
    dag = flow.Dag("x", inputs=Checked)
    dag.add("b", fs.later)
    with pytest.raises(flow.errors.DumpError, match="__post_init__"):
        flow.spec.dump(dag)


def test_a_config_with_objects() -> None:
    dag = flow.Dag("x", config=flow.Config(observers=(print,)))
    dag.add("b", fs.give)
    with pytest.raises(flow.errors.DumpError, match="config: observers cannot be written"):
        flow.spec.dump(dag)


# -- any Dag ------------------------------------------------------------------------------------

PLAIN = st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab{\\}: #'\"", max_size=6)
LITERALS = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=2),
    max_leaves=4,
)
RETRIES = st.builds(
    flow.Retry, st.integers(1, 2), delay=st.just(0.0), backoff=st.sampled_from(["constant", "linear"]),
    retry_if=st.sampled_from([Exception, ValueError, (OSError, ValueError), fs.Odd]),
)  # fmt: skip
OPTIONS = {
    "retry": RETRIES,
    "timeout": st.sampled_from([30, 30.5, flow.Timeout(30, 60), flow.Timeout(node=60)]),
    "continue_on_error": st.just(True),
    "store": st.sampled_from([False, "pickle"]),
    "priority": st.integers(-2, 2),
    "cost": st.sampled_from([0.5, 2]),
    "fallback": LITERALS,
    "executor": st.just("inline"),
    "join": st.sampled_from(["some", "none_failed", "done", 1]),
}
FUNCTIONS = [fs.collect, fs.boom, fs.odd, fs.waits, fs.later, fs.add, fs.context, fs.options, fs.outcome]


@st.composite
def dags(draw: Any) -> flow.Dag:
    dag = flow.Dag("any")
    names = ["give", *[f"n{k}" if k % 3 else f"x.{k}" for k in range(1, draw(st.integers(1, 7)))]]
    lists: list[str] = []
    for k, name in enumerate(names):
        before = names[:k]
        if before and (kind := draw(st.sampled_from(["", "", "list", "map", "merge", "loop", "tidy"]))):
            _add(draw, dag, kind, name, before, lists)
            continue
        chosen = {key: draw(how) for key, how in OPTIONS.items() if draw(st.integers(0, 5)) == 0}
        fn = draw(st.sampled_from(FUNCTIONS)) if before else fs.give
        wanted = {fs.add: 2, fs.later: 1, fs.context: 1, fs.options: 1, fs.outcome: 0}
        parameters = ["a", "b"][: wanted.get(fn, 0)]
        if fn in (fs.collect, fs.boom, fs.waits) and draw(st.booleans()):
            parameters = ["a"]
        needs: dict[str, str] = {p: draw(st.sampled_from(before)) for p in parameters} if before else {}
        if fn is fs.outcome:
            needs = {"give": draw(st.sampled_from(before))} if draw(st.booleans()) else {}
        if before and draw(st.booleans()):
            refs = draw(st.lists(st.sampled_from(before), max_size=2, unique=True))
            conditions = ["completed", "failed", "done"]
            mapped = draw(st.booleans())
            chosen["after"] = {ref: draw(st.sampled_from(conditions)) for ref in refs} if mapped else refs
        if before and draw(st.integers(0, 4)) == 0:
            ref = draw(st.sampled_from(before))
            read = ref if ref.isidentifier() else f'nodes["{ref}"]'
            text = draw(st.sampled_from(["{0} == 3", "default({0}, 0) != 3", "inputs.x > 1", "failed({0})", "x == 1"]))
            chosen["when"] = flow.expr(text.format(read))
        dag.add(name, fn, needs=needs or None, **chosen)
    return dag


def _add(draw: Any, dag: flow.Dag, kind: str, name: str, before: list[str], lists: list[str]) -> None:
    """Add a node that is no plain call."""
    any_node = st.sampled_from(before)
    if kind == "map" and lists:
        fn = draw(st.sampled_from([fs.halve, fs.square, fs.greet]))
        options = {"on_error": draw(st.sampled_from(["collect", "skip"])), "take": draw(st.sampled_from([None, 1]))}
        needs = {"by": draw(any_node)} if fn is fs.greet and draw(st.booleans()) else None
        key = flow.expr("item * 2") if options["on_error"] == "collect" and fn is not fs.square else None
        dag.map(name, fn, over=draw(st.sampled_from(lists)), needs=needs, key=key, **options)
    elif kind == "merge":
        dag.merge(name, of=draw(st.lists(any_node, min_size=1, max_size=3, unique=True)), pick="first")
    elif kind == "loop":
        carry = draw(st.sampled_from([None, "state"]))
        until = flow.expr("state > 3") if carry else flow.expr("made > 0")
        dag.loop(name, fs.step, until=until, max_iterations=2, carry=carry, on_limit="return")
    elif kind == "tidy":
        needs = {"a": draw(any_node)} if draw(st.booleans()) else None
        dag.add(name, fs.collect, needs=needs, cleanup=True, after=draw(st.sampled_from([(), (before[0],)])))
    else:
        dag.add(name, fs.words, after=[draw(any_node)])
        lists.append(name)


@settings(max_examples=300, deadline=None)
@given(dags())
def test_any_dag(dag: flow.Dag) -> None:
    try:
        dag.compile()
    except flow.DefinitionError:
        return
    try:
        text = flow.spec.dump(dag)
    except flow.errors.DumpError as error:
        assert all("default" in fault or "Outcome" in fault or "backslash" in fault for fault in error.faults), error
        return
    other = flow.spec.loads(text, allow=ALLOW)
    assert facts(other) == facts(dag), text
    assert flow.spec.dump(dag) == text
    needed = {name: 1 for name in dag.compile().required_inputs}
    assert outcome(other, **needed) == outcome(dag, **needed), text
