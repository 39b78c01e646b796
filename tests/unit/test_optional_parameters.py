"""A parameter that nobody fills is left out of the call; only what the function itself has for it counts."""

from __future__ import annotations

import copy
import functools
import pickle
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from conftest import collected

import flow
from flow.types import ABSENT, MISSING

NOTHING = object()


class Recording:
    """A callable that shows other defaults than it has, and tells what it was called with."""

    def __init__(self, *parameters: str) -> None:
        import inspect

        namespace: dict[str, Any] = {}
        exec(f"def shown({', '.join(parameters)}): ...", {"flow": flow}, namespace)
        self.__signature__ = inspect.signature(namespace["shown"])
        self.calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls.append((args, kwargs))
        return args, kwargs


def called(fn: Any, inputs: Any = None, settings: Any = None, **options: Any) -> Any:
    """Run ``fn`` after nodes ``a`` (1) and ``b`` (2); return what it returned."""
    dag = flow.Dag()
    dag.add("a", lambda: 1)
    dag.add("b", lambda: 2)
    dag.add("it", fn, **options)
    return flow.run(dag, inputs, config=flow.Config(**settings or {}))["it"]


def test_it_is_left_out_in_every_mode(mode: dict[str, Any]) -> None:
    assert called(Recording("a", "x=5"), settings=mode) == ((1,), {})


@pytest.mark.parametrize(
    ("parameters", "inputs", "expected"),
    [
        (["a", "x=5"], {"x": 7}, ((1, 7), {})),
        (["x=5", "a=6"], {}, ((), {"a": 1})),
        (["x=5", "/", "a=6"], {}, ((), {"a": 1})),
        (["x=5", "a=6", "/"], {}, ((5, 1), {})),  # only that way can a be passed
        (["x=5", "a=6", "/", "y=7", "b=8"], {}, ((5, 1), {"b": 2})),
        (["x=5", "a=6", "/", "y=7", "b=8"], {"y": 9}, ((5, 1, 9, 2), {})),
        (["a", "x=5", "*", "k=6"], {}, ((1,), {})),
        (["a", "x=5", "*", "k=6"], {"k": 7}, ((1,), {"k": 7})),
        (["a", "*", "b", "k=6"], {}, ((1,), {"b": 2})),
        (["x=5", "ctx: flow.Context = None"], {}, ((), {"ctx": mock.ANY})),
        (["a", "ctx: flow.Context", "x=5"], {}, ((1, mock.ANY), {})),
        (["a", "x=5", "*", "ctx: flow.Context"], {"x": 3}, ((1, 3), {"ctx": mock.ANY})),
        (["x=5", "ctx: flow.Context = None", "/"], {}, ((5, mock.ANY), {})),
        (["x=5"], {}, ((), {})),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_filled_arrives_as_it_must(parameters: list[str], inputs: dict[str, Any], expected: Any) -> None:
    fn = Recording(*parameters)
    assert called(fn, inputs) == expected
    assert len(fn.calls) == 1


def test_values_for_star_args_come_after_all_others() -> None:
    assert called(Recording("x=5", "*rest", "k=6"), needs=["a", "b", "b"]) == ((1, 2, 2), {})


def test_one_plan_serves_runs_with_the_input_and_without() -> None:
    dag = flow.Dag()
    dag.add("it", Recording("x=5"))
    plan = dag.compile()
    assert plan.required_inputs == ()
    for _ in range(2):
        assert flow.run(plan)["it"] == ((), {})
        assert flow.run(plan, {"x": None})["it"] == ((None,), {})


def test_a_required_input_of_the_same_name_stays_required() -> None:
    dag = flow.Dag()
    dag.add("it", Recording("x=5"))
    dag.add("other", lambda x: x)
    with pytest.raises(flow.InputError, match="'x' is missing"):
        flow.run(dag)
    assert flow.run(dag, {"x": 1}).outputs == {"it": ((1,), {}), "other": 1}


def test_a_plain_function_gets_its_own_default_object() -> None:
    def fn(a: Any, x: Any = NOTHING, *, k: Any = NOTHING) -> bool:
        return x is k is NOTHING

    assert called(fn) is True
    assert called(functools.partial(fn, k=NOTHING)) is True


def test_filled_throughout_it_is_called_as_it_is() -> None:
    dag = flow.Dag()
    dag.add("a", lambda: 1)
    dag.add("it", Recording("x=5"), needs=["a"])
    plan = dag.compile()
    assert plan._nodes.binders == {}
    assert flow.run(plan)["it"] == ((1,), {})


def test_wrappers_that_take_no_keywords_get_the_default_before_what_is_filled() -> None:
    def shown(x: int = 5, a: int = 6) -> Any: ...

    @functools.wraps(shown)
    def wrapper(*args: Any) -> Any:
        return args

    assert called(wrapper) == (5, 1)


def load(path: str, encoding: str | None = None) -> str:
    return path


def test_a_deprecated_parameter_is_not_used_for_the_caller() -> None:
    @functools.wraps(load)
    def deprecating(*args: Any, **kwargs: Any) -> str:
        if len(args) > 1 or "encoding" in kwargs:
            raise DeprecationWarning("encoding is deprecated")
        return load(*args, **kwargs)

    assert called(deprecating, {"path": "p"}) == "p"
    assert called(functools.partial(deprecating, "q")) == "q"


def test_an_autospec_is_called_with_what_the_node_has() -> None:
    spec = mock.create_autospec(load)
    called(spec, {"path": "p"})
    spec.assert_called_once_with("p")


def test_a_cache_is_asked_for_what_a_plain_call_has_put_there() -> None:
    @functools.lru_cache
    def cached(a: int, factor: int = 2) -> int:
        return a * factor

    cached(1)
    assert called(cached) == 2
    assert cached.cache_info().hits == 1


def test_builtins_and_classes() -> None:
    class Model:
        def __new__(cls, a: int = 0, *rest: int) -> Any:
            return a, rest

    assert called(complex, needs=["a"]) == 1 + 0j
    dag = flow.Dag()
    dag.add("text", lambda: "1")
    dag.add("it", complex, needs=["text"])
    assert flow.run(dag)["it"] == 1 + 0j  # complex("1", 0) is refused
    assert called(Model) == (1, ())


@pytest.mark.parametrize("over", [[1, 2], (n for n in (1, 2))], ids=["list", "generator"])
def test_a_maps_function(over: Any) -> None:
    fn = Recording("item", "x=5", "*", "k=6")
    dag = flow.Dag()
    dag.map("it", fn, over="items")
    assert flow.run(dag, {"items": over})["it"] == [((1,), {}), ((2,), {})]
    assert flow.run(dag, {"items": [3], "k": 1})["it"] == [((3,), {"k": 1})]


def test_a_maps_function_with_its_item_behind_what_is_missing() -> None:
    dag = flow.Dag()
    dag.map("it", Recording("x=5", "item=None", "index=None"), over="items")
    dag.map("only", Recording("x=5", "item=None", "/"), over="items")
    dag.map("spread", Recording("x", "y=5", "z=6"), over=["items", "more"])
    found = flow.run(dag, {"items": [7], "more": [8]})
    assert found["it"] == [((), {"item": 7, "index": 0})]
    assert found["only"] == [((5, 7), {})]
    assert found["spread"] == [((7, 8), {})]


def test_a_maps_function_in_threads_with_a_context(backend: str) -> None:
    dag = flow.Dag()
    dag.map("it", Recording("item", "x=5", "ctx: flow.Context = None"), over="items", thread=True, timeout=30)
    found = flow.run(dag, {"items": [7]}, config=flow.Config(backend=backend))  # type: ignore[arg-type]
    assert found["it"] == [((7,), {"ctx": mock.ANY})]


def test_a_fold_passes_its_two_values_alone() -> None:
    dag = flow.Dag()
    dag.reduce("it", Recording("so_far", "item", "x=5"), over="items", start=0)
    assert flow.run(dag, {"items": [7]})["it"] == ((0, 7), {})


def test_within_a_dag_that_runs_as_one_node() -> None:
    inner = flow.Dag("inner")
    inner.add("it", Recording("x=5"))
    outer = flow.Dag("outer")
    outer.add("inner", inner)
    assert flow.run(outer)["inner"]["it"] == ((), {})
    assert flow.run(outer, {"x": 1})["inner"]["it"] == ((1,), {})


def test_for_each_item_by_a_dag() -> None:
    inner = flow.Dag("inner")
    inner.add("it", Recording("item", "x=5"))
    outer = flow.Dag("outer")
    outer.map("each", inner, over="items")
    assert flow.run(outer, {"items": [1]})["each"] == [{"it": ((1,), {})}]
    assert flow.run(outer, {"items": [1], "x": 2})["each"] == [{"it": ((1, 2), {})}]


def test_included_nodes() -> None:
    inner = flow.Dag("inner")
    inner.add("it", Recording("x=5", "y=6"))
    outer = flow.Dag("outer")
    outer.add("a", lambda: 1)
    outer.include(inner, prefix="in", inputs={"y": "a"})
    assert flow.run(outer)["in.it"] == ((), {"y": 1})


def test_with_retry_middleware_and_an_async_wrapper(backend: str) -> None:
    async def shown(a: int, x: int = 5) -> Any: ...

    @functools.wraps(shown)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    dag = flow.Dag()
    dag.add("a", lambda: 1)
    dag.add("it", wrapper, retry=flow.Retry(2), timeout=30, middleware=[lambda next, ctx: next()])
    assert collected(dag, backend)["it"] == ((1,), {})


def test_what_stands_for_a_missing_input_stays_itself() -> None:
    for mark in (ABSENT, MISSING):
        assert copy.deepcopy(mark) is pickle.loads(pickle.dumps(mark)) is mark
    assert (repr(ABSENT), repr(MISSING)) == ("<absent>", "<missing>")


def numpys() -> list[tuple[str, Callable[[Any], Any], Any]]:
    np = pytest.importorskip("numpy")
    return [
        ("sin", np.sin, [0.0]),
        ("partial", functools.partial(np.multiply, 3), [1.0]),
        ("frompyfunc", np.frompyfunc(abs, 1, 1), [-1]),
    ]


def test_ufuncs() -> None:
    for name, fn, value in numpys():
        dag = flow.Dag()
        dag.add("a", lambda value=value: value)
        dag.add("it", fn, needs=["a"])
        dag.map("each", fn, over="a")
        found = collected(dag)
        assert found.ok, (name, found.errors)
        assert [float(x) for x in found["it"]] == [float(x) for x in found["each"]]
