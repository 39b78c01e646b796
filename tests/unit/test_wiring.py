"""Where arguments come from: parameter names, needs, Context, defaults, every kind of callable."""

from __future__ import annotations

import functools
import sys
from functools import partial
from typing import Any, Optional, Union
from unittest import mock

import pytest

import flow
from flow.plan.arity import Usual
from flow.plan.plan import Plan
from flow.signature import is_async_callable, location_of, shape_of
from flow.types import MISSING

EARLIER_CONTEXT = flow.Context


def nothing() -> None: ...


def wired(fn: Any, *, nodes: str = "a b c", **options: Any) -> tuple[Plan, list[str], Any]:
    """Compile ``fn`` after nodes a, b, c; return the plan, its argument sources spelt out, and its binder.

    A node's output is spelt as its name, a required input as ``in:x``, an optional one as ``in:x=default``.
    """
    dag = flow.Dag()
    for name in nodes.split():
        dag.add(name, nothing)
    dag.add("it", fn, **options)
    plan = dag.compile()
    return plan, sources(plan, "it"), plan._nodes.binders.get(plan.find("it"))


def sources(plan: Plan, name: str) -> list[str]:
    inputs = {slot: label for label, slots in plan._nodes.inputs.items() for slot in slots}

    def spelt(slot: int) -> str:
        if slot >= 0:
            return plan.names[slot]
        default = plan._nodes.input_defaults[slot]
        return f"in:{inputs[slot]}" + ("" if default is MISSING else f"={default!r}")

    return [spelt(slot) for slot in plan._nodes.arguments[plan.find(name)]]


class TestInference:
    def test_a_parameter_named_after_a_node_gets_its_output(self) -> None:
        plan, args, binder = wired(lambda b, a: None)
        assert args == ["b", "a"]
        assert binder is None
        assert plan._nodes.dependencies[3] == (1, 0)

    def test_order_of_definition_does_not_matter(self) -> None:
        dag = flow.Dag()
        dag.add("last", lambda first, mid: None)
        dag.add("mid", lambda first: None)
        dag.add("first", nothing)
        plan = dag.compile()
        assert sources(plan, "last") == ["first", "mid"]
        assert plan.topological_order() == ["first", "mid", "last"]
        assert plan.inputs == ()

    def test_any_other_parameter_is_a_run_input(self) -> None:
        plan, args, _ = wired(lambda a, x, y=5: None)
        assert args == ["a", "in:x", "in:y=5"]
        assert plan.required_inputs == ("x",)
        assert set(plan.inputs) == {"x", "y"}
        assert plan._nodes.dependencies[3] == (0,)

    def test_a_node_wins_over_a_default(self) -> None:
        _, args, _ = wired(lambda a=1, z=2: None)
        assert args == ["a", "in:z=2"]

    def test_each_function_keeps_its_own_default(self) -> None:
        dag = flow.Dag()
        dag.add("p", lambda x=[1]: None)
        dag.add("q", lambda x=[2]: None)
        dag.add("r", lambda x: None)
        plan = dag.compile()
        assert [sources(plan, n) for n in "pqr"] == [["in:x=[1]"], ["in:x=[2]"], ["in:x"]]
        assert plan.required_inputs == ("x",)
        assert len(plan._nodes.inputs["x"]) == 3

    def test_one_slot_per_required_input_however_many_take_it(self) -> None:
        dag = flow.Dag()
        for i in range(50):
            dag.add(f"n{i}", lambda x, y=0: None)
        plan = dag.compile()
        assert len(plan._nodes.input_defaults) == 2

    def test_keyword_only(self) -> None:
        def fn(a: Any, *, c: Any, y: int = 1, b: Any) -> None: ...

        _, args, binder = wired(fn)
        assert args == ["a", "c", "in:y=1", "b"]
        assert binder is not None and binder.keywords == ("c", "y", "b")

    def test_positional_only(self) -> None:
        def fn(a: Any, /, b: Any, x: int = 2) -> None: ...

        assert wired(fn)[1:] == (["a", "b", "in:x=2"], None)

    def test_star_args_infer_nothing(self) -> None:
        def fn(a: Any, *rest: Any, **more: Any) -> None: ...

        assert wired(fn)[1:] == (["a"], None)
        assert wired(lambda *rest: None)[1:] == ([], None)

    def test_a_parameter_named_after_its_own_node_is_a_self_edge(self) -> None:
        dag = flow.Dag()
        dag.add("it", lambda it: None)
        with pytest.raises(flow.errors.CycleError) as caught:
            dag.compile()
        assert caught.value.cycle == ("it", "it")

    def test_a_node_named_like_a_keyword(self) -> None:
        dag = flow.Dag()
        dag.add("class", nothing)
        dag.add("b", lambda x: None, needs={"x": "class"})
        assert sources(dag.compile(), "b") == ["class"]


class TestNeeds:
    def test_a_list_passes_by_position(self) -> None:
        assert wired(lambda x, y: None, needs=["c", "a"])[1] == ["c", "a"]

    def test_the_rest_is_inferred(self) -> None:
        assert wired(lambda x, b, q=3: None, needs=["c"])[1] == ["c", "b", "in:q=3"]

    def test_one_reference_alone(self) -> None:
        assert wired(lambda x: None, needs="b")[1] == ["b"]
        assert wired(lambda x: None, needs=flow.types.NodeRef("b"))[1] == ["b"]

    def test_a_mapping_passes_by_parameter(self) -> None:
        assert wired(lambda x, a, y: None, needs={"y": "b", "x": "c"})[1] == ["c", "a", "b"]

    def test_a_mapping_fills_keyword_only_and_double_star(self) -> None:
        def fn(x: Any, *, k: Any, **more: Any) -> None: ...

        _, args, binder = wired(fn, needs={"z": "a", "k": "b", "x": "c"})
        assert args == ["c", "b", "a"]
        assert binder is not None and binder.keywords == ("k", "z")

    def test_star_args_take_any_number(self) -> None:
        assert wired(lambda *v: None, needs=["a", "b", "c", "a"])[1] == ["a", "b", "c", "a"]
        assert wired(lambda x, *v: None, needs=["a", "b", "c"])[1] == ["a", "b", "c"]
        assert wired(lambda *v: None, needs=[])[1] == []

    @pytest.mark.parametrize(
        "needs", [["a", "a"], ["a", "b", "a"], ["b", "a", "a"], ["a", "a", "b"], ["a", "b", "c", "b", "a"]]
    )
    def test_one_output_passed_twice_is_one_dependency(self, needs: list[str]) -> None:
        plan, args, _ = wired(lambda *v: None, needs=needs)
        assert args == needs
        assert [plan.names[d] for d in plan._nodes.dependencies[3]] == list(dict.fromkeys(needs))

    @pytest.mark.parametrize("count", range(6))
    def test_every_fan_in(self, count: int) -> None:
        names = [f"m{i}" for i in range(6)]
        _, args, _ = wired(lambda *v: None, nodes=" ".join(names), needs=names[:count][::-1])
        assert args == names[:count][::-1]

    def test_a_list_changed_afterwards_changes_nothing(self) -> None:
        dag = flow.Dag()
        dag.add("a", nothing)
        dag.add("b", nothing)
        needs, mapping, after = ["a"], {"x": "a"}, ["a"]
        dag.add("by_list", lambda x: None, needs=needs)
        dag.add("by_map", lambda x: None, needs=mapping)
        dag.add("later", nothing, after=after)
        needs[0] = mapping["x"] = after[0] = "b"
        plan = dag.compile()
        assert [plan._nodes.dependencies[i] for i in (2, 3, 4)] == [(0,)] * 3

    @pytest.mark.parametrize("kind", [list, tuple, iter, lambda refs: (r for r in refs), dict.fromkeys])
    def test_after_takes_any_iterable(self, kind: Any) -> None:
        plan, args, _ = wired(nothing, after=kind(["c", "a"]))
        assert args == []
        assert plan._nodes.dependencies[3] == (2, 0)

    def test_data_comes_before_pure_ordering_and_each_once(self) -> None:
        plan, args, _ = wired(lambda x: None, needs=["b"], after=["a", "b", "c", "a"])
        assert args == ["b"]
        assert plan._nodes.dependencies[3] == (1, 0, 2)

    def test_references_by_noderef_and_function(self) -> None:
        dag = flow.Dag()
        ref = dag.add("one", lambda: 1)

        @dag.node
        def two() -> int:
            return 2

        assert isinstance(ref, flow.types.NodeRef) and str(ref) == "one"
        dag.add("both", lambda x, y: None, needs=[two, ref], after=two)
        dag.add("named", lambda x, y: None, needs={"x": ref, "y": two})
        dag.edge(two, ref)
        plan = dag.compile()
        assert sources(plan, "both") == ["two", "one"]
        assert sources(plan, "named") == ["one", "two"]
        assert next(plan.edges) == ("two", "one")

    def test_a_method_is_the_same_reference_at_every_access(self) -> None:
        class Steps:
            def one(self) -> int:
                return 1

        steps, others = Steps(), Steps()
        dag = flow.Dag()
        dag.add("one", steps.one)
        dag.add("other", others.one)
        dag.add("two", lambda x: x, needs=[steps.one])
        plan = dag.compile()
        assert sources(plan, "two") == ["one"]
        assert plan.find(steps.one) == 0 and plan.find(others.one) == 1

    def test_edge_runs_from_first_to_second(self) -> None:
        dag = flow.Dag()
        dag.add("late", nothing)
        dag.add("early", nothing)
        dag.edge("early", "late")
        plan = dag.compile()
        assert plan.topological_order() == ["early", "late"]
        assert list(plan.edges) == [("early", "late")]
        assert plan._nodes.dependencies == [(1,), ()]
        assert plan._nodes.arguments == [(), ()]

    def test_an_edge_by_function_is_not_lost(self) -> None:
        dag = flow.Dag()

        @dag.node
        def a() -> None: ...

        @dag.node
        def b() -> None: ...

        dag.edge(a, b)
        assert dag.compile()._nodes.dependencies == [(), (0,)]


class TestContext:
    def test_real_annotation(self) -> None:
        def fn(a: Any, ctx: Any, b: Any) -> None: ...

        fn.__annotations__ = {"ctx": flow.Context}
        plan, args, binder = wired(fn)
        assert args == ["a", "b"]
        assert binder is not None and binder.context == 1
        assert plan.inputs == ()

    def test_string_annotations(self) -> None:  # this module imports annotations from __future__
        def dotted(ctx: flow.Context, a: Any) -> None: ...

        def renamed(c: EARLIER_CONTEXT) -> None: ...

        def union(a: Any, c: flow.Context | None = None) -> None: ...

        def optional(c: Optional[flow.Context] = None) -> None: ...  # noqa: UP045

        def quoted(c: "flow.Context") -> None: ...  # noqa: UP037

        for fn, place in ((dotted, 0), (renamed, 0), (union, 1), (optional, 0), (quoted, 0)):
            binder = wired(fn)[2]
            assert binder is not None and binder.context == place, fn

    def test_real_union(self) -> None:
        def fn(c: Any = None, d: Any = None) -> None: ...

        fn.__annotations__ = {"c": Union[flow.Context, None], "d": list[flow.Context]}  # noqa: UP007
        _, args, binder = wired(fn)
        assert binder is not None and binder.context == 0
        assert args == ["in:d=None"]

    def test_a_name_only_type_checkers_know(self) -> None:
        def fn(c: Any) -> None: ...

        for text, is_context in (("Context", True), ("unknown.Context", True), ("unknown.Thing", False)):
            fn.__annotations__ = {"c": text}
            assert (wired(fn)[2] is not None) is is_context, text

    def test_another_class_of_that_name_is_not_it(self) -> None:
        namespace: dict[str, Any] = {}
        exec("class Context: ...\ndef fn(x: 'Context'): ...\ndef other(decimal: 'd.Context'): ...\n"
             "import decimal as d", namespace)  # fmt: skip
        assert wired(namespace["fn"])[1] == ["in:x"]
        assert wired(namespace["other"])[1] == ["in:decimal"]

    def test_keyword_only_and_by_method(self) -> None:
        class Steps:
            def fn(self, a: Any, *, ctx: flow.Context) -> None: ...

        _, args, binder = wired(Steps().fn)
        assert args == ["a"]
        assert binder is not None and binder.context == "ctx" and binder.keywords == ()

    def test_given_explicitly_it_is_data(self) -> None:
        def fn(ctx: flow.Context) -> None: ...

        assert wired(fn, needs={"ctx": "b"})[1:] == (["b"], None)

    def test_before_star_args(self) -> None:
        def fn(a: Any, ctx: flow.Context, *rest: Any) -> None: ...

        _, args, binder = wired(fn, needs=["b", "c", "a"])
        assert args == ["b", "c", "a"]
        assert binder is not None and binder.context == 1


class PlainCallable:
    def __call__(self, a: Any, x: int = 1) -> None: ...


class AsyncCallable:
    async def __call__(self, a: Any) -> None: ...


class Model:
    def __init__(self, a: Any, *, b: Any) -> None: ...


def traced(fn: Any) -> Any:
    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    return wrapper


class TestCallables:
    def test_methods_objects_classes_and_builtins(self) -> None:
        assert wired(PlainCallable())[1] == ["a", "in:x=<absent>"]
        assert wired(Model)[1] == ["a", "b"]
        assert wired(PlainCallable().__call__)[1] == ["a", "in:x=1"]
        assert wired(len, needs=["b"])[1] == ["b"]
        assert wired(max, needs=["b", "c"])[1] == ["b", "c"]  # has no readable signature
        assert wired(dict)[1] == []

    def test_wrapped_functions_show_what_they_wrap(self) -> None:
        def inner(b: Any, y: int = 4) -> None: ...

        assert wired(traced(inner))[1] == ["b", "in:y=<absent>"]
        assert location_of(traced(traced(inner))).endswith(f":{inner.__code__.co_firstlineno}")

    def test_static_and_class_methods(self) -> None:
        class Steps:
            @staticmethod
            def plain(a: Any) -> None: ...

            @classmethod
            def of(cls, b: Any) -> None: ...

        assert wired(Steps.plain)[1] == ["a"]
        assert wired(Steps.of)[1] == ["b"]

    def test_a_partials_values_are_settled(self) -> None:
        def fn(a: Any, b: Any, x: Any, *, k: int = 1) -> None: ...

        assert wired(partial(fn, 1))[1] == ["b", "in:x", "in:k=1"]
        _, args, binder = wired(partial(fn, b=1))  # what stands behind b can only go by keyword
        assert args == ["a", "in:x", "in:k=1"]
        assert binder is not None and binder.keywords == ("x", "k")
        assert wired(partial(fn, 1, x=2, k=3))[1] == ["b"]
        assert wired(partial(partial(fn, 1), 2), needs=["c"])[1] == ["c", "in:k=1"]
        assert wired(partial(max, 1), needs=["c"])[1] == ["c"]

    def test_a_partial_agrees_with_inspect(self) -> None:
        import inspect

        def fn(a: Any, /, b: Any, c: Any = 3, *rest: Any, d: Any, e: int = 5, **more: Any) -> None: ...

        for made in (partial(fn), partial(fn, 1), partial(fn, 1, 2, 3, 4), partial(fn, d=1), partial(fn, b=2, z=3)):
            settled = made.keywords
            expected = [
                (p.name, p.kind is p.KEYWORD_ONLY)
                for p in inspect.signature(made).parameters.values()
                if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name not in settled
            ]
            assert [(p.name, p.keyword_only) for p in shape_of(made).parameters] == expected

    def test_nothing_goes_by_position_behind_a_settled_parameter(self) -> None:
        def fn(a: Any, b: Any, *rest: Any) -> None: ...

        with pytest.raises(flow.DefinitionError, match="passes 2 outputs by position, but its function takes 1"):
            wired(partial(fn, b=1), needs=["a", "c"])
        assert wired(partial(fn, 1, 2), needs=["a", "c"])[1] == ["a", "c"]

    def test_many_partials_of_one_keyword_stay_linear(self) -> None:
        dag = flow.Dag()
        for i in range(20_000):
            dag.add(f"n{i}", lambda seconds=float(i): None)
        plan = dag.compile()
        assert len(plan._nodes.inputs["seconds"]) == 20_000

    @pytest.mark.parametrize(
        ("fn", "expected"),
        [
            (AsyncCallable(), True),
            (AsyncCallable().__call__, True),
            (partial(AsyncCallable(), 1), True),
            (PlainCallable(), False),
            (Model, False),
            (AsyncCallable, False),
            (len, False),
        ],
    )
    def test_async_is_seen_through_objects_methods_and_partials(self, fn: Any, expected: bool) -> None:
        assert is_async_callable(fn) is expected
        assert shape_of(fn).is_async is expected

    def test_kinds(self) -> None:
        async def fn() -> None: ...

        dag = flow.Dag()
        dag.add("a", nothing)
        dag.add("b", fn)
        plan = dag.compile()
        assert (list(plan._nodes.is_async), plan.all_sync) == ([0, 1], False)

    def test_hostile_objects_still_have_a_shape(self) -> None:
        class Lying:
            __signature__ = "none"

            def __call__(self) -> None: ...

        class Raising:
            def __getattr__(self, name: str) -> Any:
                raise RuntimeError(name)

            def __repr__(self) -> str:
                raise RuntimeError("repr")

            def __call__(self, a: Any) -> None: ...

        class Unhashable:
            __hash__ = None  # type: ignore[assignment]

            def __call__(self, a: Any) -> None: ...

        loop: Any = traced(nothing)
        loop.__wrapped__ = loop
        unhashable = Unhashable()
        for fn in (Lying(), Raising(), mock.MagicMock(), loop, unhashable):
            wired(fn)
            assert isinstance(location_of(fn), str)
        assert wired(nothing, after=[])[1] == []
        dag = flow.Dag()
        dag.add("a", nothing)
        dag.add("b", unhashable)
        dag.add("c", lambda x: None, needs=[unhashable])
        assert sources(dag.compile(), "c") == ["b"]


def defined(source: str, **scope: Any) -> Any:
    """The function ``fn`` that ``source`` defines in a module of its own."""
    exec(compile(source, "a_module", "exec", dont_inherit=True), scope)
    return scope["fn"]


TEXT = "from __future__ import annotations\n"


class TestUsual:
    """Most functions are wired by their number of parameters alone; it must come to what their Shape says."""

    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("def fn(): ...", 0),
            ("def fn(a, b): ...", 2),
            ("def fn(a, /, b=1): ...", 2),
            ("def fn(a: int, b: list[str] | None = None) -> str: ...", 2),
            ("def fn(a, **more): ...", 1),
            ("fn = lambda a: a", 1),
            ("def fn(a): yield a", 1),
            ("async def fn(): ...", -2),
            ("async def fn(a, b): ...", -4),
            ("async def fn(a): yield a", 1),
            ("def fn(*rest): ...", -1),
            ("def fn(a, *, b): ...", -1),
            ("def fn(a, *, b=1): ...", -1),
            ("def fn(a, ctx: Context): ...", -1),
            ("def fn(a, ctx: 'Context | None'): ...", -1),
            (TEXT + "def fn(a: list[str], ctx: Context) -> int: ...", -1),
            (TEXT + "def fn(a: list[str]) -> dict[str, int]: ...", 1),
        ],
    )
    def test_agrees_with_the_shape(self, source: str, expected: int) -> None:
        fn = defined(source, Context=flow.Context)
        usual, shape = Usual(), shape_of(fn)
        assert (usual.arity(fn), usual.arity(fn)) == (expected, expected)
        if expected != -1:
            assert (shape.exact, shape.is_async) == ((expected, False) if expected >= 0 else (-2 - expected, True))
            assert shape.inferred == fn.__code__.co_varnames[: shape.exact]
            assert not shape.lifted

    def test_the_same_text_may_mean_the_context_in_one_module_only(self) -> None:
        source = TEXT + "def fn(a: Alias): ..."
        usual = Usual()
        plain, context = defined(source, Alias=int), defined(source, Alias=flow.Context)
        other, more = defined(source, Alias=str), defined(source, Alias=flow.Context)
        assert [usual.arity(fn) for fn in (plain, context, other, more)] == [1, -1, 1, -1]

    def test_text_seen_to_be_plain_is_not_taken_for_the_context(self) -> None:
        scope: dict[str, Any] = {"Context": flow.Context}
        exec(TEXT + "def first(a: int): ...\ndef second(a: int, b: Context): ...\ndef third(b: int): ...", scope)
        usual = Usual()
        assert [usual.arity(scope[name]) for name in ("first", "second", "third")] == [1, -1, 1]

    def test_annotations_need_not_be_hashable(self) -> None:
        def fn(a: Any) -> None: ...

        fn.__annotations__ = {"a": ["unhashable"], "return": {}}
        assert wired(fn, needs=["a"])[1] == ["a"]

    def test_annotations_that_raise_are_refused_as_ever(self) -> None:
        class Hostile:
            @property
            def __origin__(self) -> Any:
                raise TypeError("no origin")

        def fn(a: Any) -> None: ...

        fn.__annotations__ = {"a": Hostile()}
        with pytest.raises(flow.DefinitionError, match="no origin"):
            wired(fn)

    def test_attributes_of_a_function_change_nothing(self) -> None:
        def fn(a: Any, b: int = 2) -> None: ...

        fn.owner = "me"  # type: ignore[attr-defined]
        assert Usual().arity(fn) == 2  # type: ignore[arg-type]
        assert wired(fn)[1] == ["a", "b"]

    @pytest.mark.parametrize("attribute", ["__wrapped__", "__signature__", "_is_coroutine_marker"])
    def test_but_those_that_say_something_else_do(self, attribute: str) -> None:
        def fn(a: Any) -> None: ...

        setattr(fn, attribute, None)
        assert Usual().arity(fn) == -1  # type: ignore[arg-type]

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="inspect.markcoroutinefunction")
    def test_a_marked_function_is_async(self) -> None:
        import inspect

        def fn() -> Any: ...

        inspect.markcoroutinefunction(fn)  # type: ignore[attr-defined, unused-ignore]
        dag = flow.Dag()
        dag.add("a", nothing)
        dag.add("b", fn)
        assert list(dag.compile()._nodes.is_async) == [0, 1]

    @pytest.mark.parametrize("nodes", ["b", "a d", "c", "a b c d"])
    def test_defaults_are_those_of_the_last_parameters(self, nodes: str) -> None:
        def fn(a: Any, b: Any, c: Any = 3, d: Any = 4) -> None: ...

        inputs = {"a": "in:a", "b": "in:b", "c": "in:c=3", "d": "in:d=4"}
        expected = [name if name in nodes else text for name, text in inputs.items()]
        assert wired(fn, nodes=nodes)[1] == expected

        class Holder:
            def method(self, a: Any, b: Any, c: Any = 3, d: Any = 4) -> None: ...

        assert wired(Holder().method, nodes=nodes)[1] == expected
        assert wired(partial(fn, 1), nodes=nodes)[1] == expected[1:]

    def test_functions_that_take_turns(self) -> None:
        async def double(a: Any) -> None: ...

        def join(*values: Any) -> None: ...

        def single(a: Any) -> None: ...

        dag = flow.Dag()
        dag.add("a", nothing)
        for i, fn in enumerate([double, join, single] * 3):
            dag.add(f"n{i}", fn, needs=["a"])
        plan = dag.compile()
        assert plan._nodes.arguments == [(), *[(0,)] * 9]
        assert list(plan._nodes.is_async) == [0, *[1, 0, 0] * 3]

    def test_a_wrong_number_of_needs_is_refused_as_ever(self) -> None:
        def fn(a: Any) -> None: ...

        with pytest.raises(flow.DefinitionError, match="passes 2 outputs by position, but its function takes 1"):
            wired(fn, needs=["a", "b"])
