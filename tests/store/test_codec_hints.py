"""What the outputs of nodes are decoded by, and which of them a store changes."""

from __future__ import annotations

import dataclasses
import datetime as dt
import gc
import weakref
from collections.abc import Awaitable, Iterator, Mapping
from functools import partial
from typing import Annotated, Any, NamedTuple

import pytest

import flow
from flow.data.mapresult import MapResult
from flow.errors import RunError, StoreError
from flow.store.codec import Codecs, Hints, decoder_of, item_decoder_of
from flow.store.codec.fidelity import differences, roundtrip

CODECS = Codecs()


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    at: dt.date = dt.date(2020, 1, 1)


class Pair(NamedTuple):
    a: int
    b: str


def numbers() -> list[int]:
    return [1, 2, 3]


def named() -> dict[str, int]:
    return {"a": 1, "b": 2}


def point(item: int) -> Point:
    return Point(item)


def failing(item: int) -> Point:
    if item == 2:
        raise ValueError("two")
    return Point(item)


def points(item: int) -> list[Point]:
    return [Point(item)] * item


def batch(items: list[int]) -> list[Point]:
    return [Point(item) for item in items]


def pair() -> Pair:
    return Pair(1, "x")


async def later() -> tuple[Point, ...]:
    return (Point(1), Point(2))


def inner() -> flow.Dag:
    dag = flow.Dag("inner")
    dag.add("pair", pair)
    dag.add("later", later)
    return dag


def item_dag() -> flow.Dag:
    dag = flow.Dag("each")
    dag.add("point", lambda item: item + 1)
    dag.add("typed", point)
    return dag


def checked(dag: flow.Dag, inputs: Any = None, same: bool = True) -> dict[str, Any]:
    """Run a Dag; return what comes back of its outputs, which is what they were."""
    plan = dag.compile()
    hints = Hints(plan)
    outputs = flow.run(plan, inputs).outputs
    found = {}
    for i, name in enumerate(plan.names):
        if name in outputs:
            data = CODECS.encode(outputs[name])
            found[name] = hints.of(i).decode(CODECS, data)
            again = decoder_of(plan, i).decode(CODECS, memoryview(data))
            assert not [d for d in differences(found[name], again, CODECS) if not isinstance(d[1], Exception)]
            if same:
                assert found[name] == outputs[name], name
                assert not list(differences(outputs[name], found[name], CODECS)), name
    return found


def test_functions() -> None:
    dag = flow.Dag("d")
    dag.add("pair", pair)
    dag.add("later", later)
    dag.add("of_method", Holder().method)
    dag.add("part", partial(point, 3))
    dag.add("lying", lying)
    found = checked(dag)
    assert type(found["pair"]) is Pair
    assert found["later"] == (Point(1), Point(2))
    assert found["lying"] == "no int"


class Holder:
    def method(self) -> tuple[int]:
        return (1,)


def lying() -> int:
    return "no int"  # type: ignore[return-value]


def test_maps() -> None:
    dag = flow.Dag("d")
    dag.add("numbers", numbers)
    dag.add("named", named)
    dag.map("points", point, over="numbers")
    dag.map("by_key", point, over="numbers", key=str)
    dag.map("by_name", point, over="named")
    dag.map("batches", batch, over="numbers", batch_size=2)
    dag.flat_map("flat", points, over="numbers")
    dag.filter("odd", lambda item: item % 2, over="numbers")
    dag.map("dags", item_dag(), over="numbers")
    found = checked(dag)
    assert found["by_name"] == {"a": Point(1), "b": Point(2)}
    assert found["dags"][1]["typed"] == Point(2)


def test_a_map_that_collects() -> None:
    dag = flow.Dag("d")
    dag.add("numbers", numbers)
    dag.map("points", failing, over="numbers", on_error="collect", key=lambda item: (item, "k"))
    found = checked(dag, same=False)["points"]
    assert type(found) is MapResult
    assert found.items() == [((1, "k"), Point(1)), ((3, "k"), Point(3))]
    assert found.errors[1].text == "two"


def test_one_item_that_does_not_fit_leaves_the_others() -> None:
    plan = flow.Dag("d")
    plan.add("numbers", numbers)
    plan.map("points", point, over="numbers")
    hint = Hints(plan.compile()).named("points")
    value = [Point(1), "other", Point(2**70)]
    assert hint.decode(CODECS, CODECS.encode(value)) == value
    assert hint.decode(CODECS, CODECS.encode("x")) == "x"
    assert hint.decode(CODECS, CODECS.encode(b"x")) == b"x"
    with pytest.raises(StoreError):
        hint.decode(CODECS, b"m\x92\x01")


def test_items_of_maps() -> None:
    dag = flow.Dag("d")
    dag.add("numbers", numbers)
    dag.map("one", point, over="numbers")
    dag.map("batches", batch, over="numbers", batch_size=2)
    dag.flat_map("flat", points, over="numbers")
    dag.filter("odd", lambda item: item % 2, over="numbers")
    dag.map("dags", item_dag(), over="numbers")
    plan = dag.compile()
    for name, value in {
        "one": Point(1), "batches": [Point(1), Point(2)], "flat": [Point(1)], "odd": True, "numbers": 3,
        "dags": {"point": 1, "typed": Point(2)},
    }.items():  # fmt: skip
        assert item_decoder_of(plan, plan.find(name)).decode(CODECS, CODECS.encode(value)) == value, name


def test_dags_as_nodes() -> None:
    middle = flow.Dag("middle")
    middle.add("low", inner())
    dag = flow.Dag("d")
    dag.add("sub", middle)
    found = checked(dag)
    assert type(found["sub"]["low"]["pair"]) is Pair


def test_loops_and_folds() -> None:
    dag = flow.Dag("d")
    dag.add("numbers", numbers)
    dag.reduce("sum", lambda total, item: total + item, over="numbers", start=0)
    dag.reduce("typed", widest, over="numbers", start=Point(0))
    found = checked(dag)
    assert found["typed"] == Point(3)


def widest(so_far: Point, item: int) -> Point:
    return Point(max(so_far.x, item))


def advance(n: int = 0) -> Pair:
    return Pair(n + 1, "x")


def body() -> flow.Dag:
    dag = flow.Dag("body")
    dag.add("out", advance)
    dag.add("pair", pair)
    return dag


def test_loops() -> None:
    dag = flow.Dag("d")
    dag.loop("fn", advance, until=lambda: True, max_iterations=3)
    dag.loop("fns", advance, until=lambda: True, max_iterations=3, history=True)
    dag.loop("dag", body(), until=lambda out: True, max_iterations=3)
    dag.loop("all", body(), until=lambda out: True, max_iterations=3, history=True)
    found = checked(dag)
    assert type(found["fn"]) is type(found["fns"][0]) is Pair
    assert type(found["dag"]["out"]) is Pair
    assert type(found["all"]) is tuple
    assert type(found["all"][0]["pair"]) is Pair


def test_routes_and_merges() -> None:
    dag = flow.Dag("d")
    dag.add("a", pair)
    dag.add("b", pair)
    dag.add("c", numbers)
    dag.route("choose", lambda: ["x", "y"], to={"x": "a", "y": "b"})
    dag.merge("one", of=["a", "b"], pick="first")
    dag.merge("mixed", of=["a", "c"], pick="first")
    found = checked(dag, same=False)
    assert found["choose"] == ("a", "b")
    assert type(found["one"]) is Pair
    assert found["mixed"] == [1, "x"]


def test_waits() -> None:
    dag = flow.Dag("d")
    dag.signal("go", type=Point)
    plan = dag.compile()
    assert decoder_of(plan, 0).decode(CODECS, CODECS.encode(Point(3))) == Point(3)


class Odd:
    def __class_getitem__(cls, item: Any) -> Any:
        raise RuntimeError


def ann(annotation: Any) -> Any:
    def fn() -> Any: ...

    fn.__annotations__ = {"return": annotation}
    return fn


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        ("nowhere", [1]), (3, 1), (..., 1), (Iterator[int], [1]), (Awaitable[tuple[int]], (1,)), (Mapping[str, Point],
        {}),
        (Annotated[tuple[int, ...], flow.Secret if hasattr(flow, "Secret") else 1], (1, 2)), (Odd, 1), (None, 3),
        (Annotated[int, []], 3), (list["nowhere"], [1]), (Point | Pair | dict, 3), (Any, 1), (object, 1),  # noqa: F821
    ],
)  # fmt: skip
def test_odd_annotations_never_raise(annotation: Any, value: Any) -> None:
    dag = flow.Dag("d")
    dag.add("n", ann(annotation))
    plan = dag.compile()
    assert decoder_of(plan, 0).decode(CODECS, CODECS.encode(value)) == value


def test_a_plan_is_let_go() -> None:
    def local() -> Point:
        return Point(1)

    dag = flow.Dag("d")
    dag.add("n", local)
    assert decoder_of(dag.compile(), 0).decode(CODECS, CODECS.encode(Point(1))) == Point(1)
    alive = weakref.ref(local)
    del dag, local
    gc.collect()
    assert alive() is None


# -- roundtrip ------------------------------------------------------------------------------


def test_roundtrip_finds_nothing_where_all_is_typed() -> None:
    dag = flow.Dag("d")
    dag.add("sub", inner())
    dag.add("numbers", numbers)
    dag.map("points", point, over="numbers")
    found = roundtrip(dag)
    assert not found
    assert str(found) == "every output comes back from a store as it was"


def untyped() -> Any:
    return {"a": [(1, 2)], "when": dt.datetime(2020, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1)))}


def test_roundtrip_tells_what_changes() -> None:
    low = flow.Dag("low")
    low.add("one", lambda: (1, 2))
    dag = flow.Dag("d")
    dag.add("sub", low)
    dag.add("untyped", untyped)
    dag.add("lock", lambda x: [x.__iter__()])
    dag.add("lying", lambda: b"x")
    found = roundtrip(dag.compile(), {"x": [1]})
    assert [(c.node, c.place, c.before, c.after) for c in found] == [
        ("sub/one", "value", "tuple", "list"),
        ("untyped", "value['a'][0]", "tuple", "list"),
        ("untyped", "value['when']", "datetime.datetime", "datetime.datetime"),
        ("lock", "value", "list", ""),
    ]
    text = str(found)
    for says in (
        "4 parts of outputs would come back from a store as something else:",
        "sub/one: value: tuple comes back as list",
        "untyped: value['when']: another datetime.datetime", "lock: value[0]: a list_iterator, which no codec is for",
    ):  # fmt: skip
        assert says in text


def test_roundtrip_lists_some_of_many() -> None:
    dag = flow.Dag("d")
    dag.add("many", lambda: [(1,)] * 1000)
    assert len(roundtrip(dag)) == 50


def test_roundtrip_of_a_run_that_fails() -> None:
    dag = flow.Dag("d")
    dag.add("bad", lambda: 1 / 0)
    with pytest.raises(RunError):
        roundtrip(dag)


def test_differences_see_what_equality_does_not() -> None:
    nan = float("nan")
    cases: list[tuple[Any, Any, int]] = [
        (1, True, 1), (1, 1.0, 1), ({1}, {True}, 1), ([nan], [nan], 0), ({1: (1,)}, {1: [1]}, 1), ((1, 2), (1, 3), 1),
        (Point(1), Point(2), 1), ({"a": 1}, {"b": 1}, 1), ({dt.date(2020, 1, 1): 1}, {"x": 1}, 1), ([1], [1, 2], 1),
        ({}, {}, 0), ({1, 2}, {1, 3}, 1),
        (MapResult("m", [(1,)], {}, None), MapResult("m", [[1]], {}, None), 1),
    ]  # fmt: skip
    for before, after, count in cases:
        assert len(list(differences(before, after, CODECS))) == count, (before, after)
