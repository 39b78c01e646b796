"""What is most likely wrong in a plan that compiles: ``Plan.warnings``, ``compile(check_types=True)``."""

from __future__ import annotations

import functools
import io
import warnings
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import IO, TYPE_CHECKING, Annotated, Any, BinaryIO, Literal, TextIO

import msgspec
import pytest

import flow
from flow.data.mapresult import MapResult

if TYPE_CHECKING:
    from decimal import Decimal


def ints() -> list[int]:
    return [1]


def texts() -> list[str]:
    return ["a"]


def number() -> int:
    return 1


def by_name() -> dict[str, int]:
    return {"a": 1}


def doubled(x: int) -> int:
    return 2 * x


def shout(x: str) -> str:
    return x.upper()


def _float(x: float) -> float:
    return x


def _whole(item: tuple[int, str]) -> int:
    return 1


def _three(a: int, b: int) -> int:
    return a + b


def bool_of(x: int) -> bool:
    return True


def several(x: int) -> list[str]:
    return []


def several_lists(x: list[int]) -> list[list[str]]:
    return []


def add_up(so_far: int, x: int) -> int:
    return so_far + x


def typed_for_checkers() -> Decimal:
    raise NotImplementedError


@functools.wraps(number)
def wrapped() -> str:
    return "x"


class Made:
    def __init__(self, number: int = 1) -> None: ...

    def method(self) -> int:
        return 1


class Meta:
    def __new__(cls) -> Any:
        return b""


def found(dag: flow.Dag) -> list[tuple[str, str, str, str]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", flow.DefinitionWarning)
        plan = dag.compile()
    return [(w.kind, w.node, w.parameter, w.source) for w in plan.warnings()]


def reader(dag: flow.Dag, source: Any, fn: Any) -> flow.Dag:
    dag.add("reader", fn, needs=[source])
    return dag


def dag_of(**fns: Any) -> flow.Dag:
    dag = flow.Dag("d")
    for name, fn in fns.items():
        dag.add(name, fn)
    return dag


class TestNames:
    def test_a_parameter_named_nearly_as_a_node(self) -> None:
        dag = dag_of(customers=lambda: 1, a=lambda custmers: custmers, b=lambda custmers=1: custmers)
        assert found(dag) == [("name", "a", "custmers", "customers")], "told once, of the first"
        (warning,) = dag.compile().warnings()
        assert str(warning) == warning.text
        assert warning.text.startswith("node 'a' (") and "is node 'customers' (" in warning.text

    def test_two_run_inputs(self) -> None:
        dag = dag_of(a=lambda threshold: threshold, b=lambda treshold=1: treshold)
        assert found(dag) == [("name", "a", "threshold", "treshold")]
        assert "is the run input 'treshold' meant?" in dag.compile().warnings()[0].text

    def test_who_takes_both_means_both(self) -> None:
        assert found(dag_of(customers=lambda: 1, a=lambda customers, custmers=0: 1)) == []

    def test_a_parameter_that_a_node_fills_is_none(self) -> None:
        dag = dag_of(customers=lambda: 1, a=lambda custmers: custmers)
        assert found(dag) != []
        dag = dag_of(customers=lambda: 1)
        dag.add("a", lambda custmers: custmers, needs={"custmers": "customers"})
        assert found(dag) == []

    def test_an_item_of_a_map_is_none_and_what_it_goes_over_is(self) -> None:
        dag = dag_of(customers=lambda: [1])
        dag.map("each", lambda custmers: custmers, over="customers")
        assert found(dag) == []
        dag.map("more", lambda item: item, over="custmers")
        assert found(dag) == [("name", "more", "custmers", "customers")]

    def test_within_a_dag_that_is_a_node_and_one_for_each_item(self) -> None:
        inner = dag_of(customers=lambda: 1, a=lambda item, custmers=2: item)
        outer = flow.Dag("outer")
        outer.add("item", ints)
        outer.add("inner", inner)
        outer.map("each", inner, over="item")
        assert ("name", "a", "custmers", "customers") in found(outer)
        assert "in dag 'd': node 'a'" in outer.compile().warnings()[0].text

    def test_compile_says_nothing_of_undeclared_inputs(self) -> None:
        dag_of(customers=lambda: 1, a=lambda custmers: 1).compile()  # (warnings are errors here)

    def test_only_new_nodes_of_a_declared_dag_are_warned_of(self) -> None:
        dag = flow.Dag("d", inputs=["customers"])
        dag.add("a", lambda custmers=1: 1)
        with pytest.warns(flow.DefinitionWarning) as first:
            dag.compile()
        dag.add("b", lambda custommers=1: 1)
        with pytest.warns(flow.DefinitionWarning) as second:
            flow.run(dag, {"customers": 1})
        assert len(first) == len(second) == 1
        assert "'b'" in str(second[0].message)
        assert second[0].filename == __file__


class TestTypes:
    def test_both_places_are_told(self) -> None:
        dag = reader(dag_of(number=number), "number", shout)
        with pytest.warns(flow.DefinitionWarning) as caught:
            dag.compile(check_types=True)
        (text,) = [str(w.message) for w in caught]
        places = [f"test_findings.py:{fn.__code__.co_firstlineno}" for fn in (shout, number)]
        assert "node 'reader' (" in text and "takes 'x' as str, but node 'number' (" in text and "gives int" in text
        assert all(place in text for place in places)
        assert caught[0].filename == __file__

    def test_asked_again_of_the_same_plan(self) -> None:
        dag = reader(dag_of(number=number), "number", shout)
        plan = dag.compile()
        with pytest.warns(flow.DefinitionWarning):
            assert dag.compile(check_types=True) is plan

    def test_what_fits_is_silent(self) -> None:
        dag = reader(dag_of(number=number), "number", lambda x: x)
        dag.add("float", _float, needs=["number"])
        dag.compile(check_types=True)

    def test_an_async_function_gives_what_it_returns(self) -> None:
        async def later() -> int:
            return 1

        assert found(reader(dag_of(later=later), "later", shout)) == [("type", "reader", "x", "later")]
        assert found(reader(dag_of(later=later), "later", doubled)) == []

    def test_generators(self) -> None:
        def rows() -> Iterator[int]:
            yield 1

        async def lines() -> AsyncIterator[int]:
            yield 1

        def takes_list(x: list[int]) -> None: ...

        for source in (rows, lines):
            assert found(reader(dag_of(source=source), "source", takes_list)) != []
            dag = dag_of(source=source)
            dag.map("each", doubled, over="source")
            assert found(dag) == []
            dag.map("more", shout, over="source") if source is rows else None
        assert ("type", "more", "x", "source") not in found(dag)

    @pytest.mark.parametrize(
        ("source", "fn", "silent"),
        [(ints, doubled, True), (ints, shout, False), (texts, shout, True), (by_name, doubled, True),
         (by_name, shout, False), (lambda: [1], shout, True)],
    )  # fmt: skip
    def test_items_of_maps(self, source: Any, fn: Any, silent: bool) -> None:
        dag = dag_of(source=source)
        dag.map("each", fn, over="source")
        assert (found(dag) == []) is silent

    def test_parts_of_zipped_items(self) -> None:
        def both(a: int, b: int) -> int:
            return a + b

        dag = dag_of(ints=ints, texts=texts)
        dag.map("each", both, over=["ints", "texts"])
        assert found(dag) == [("type", "each", "b", "texts")]
        dag = dag_of(ints=ints, texts=texts)
        dag.map("each", _whole, over=["ints", "texts"])
        assert found(dag) == []

    def test_batches(self) -> None:
        def batch(x: list[str]) -> list[int]:
            return [1]

        dag = dag_of(ints=ints)
        dag.map("each", batch, over="ints", batch_size=2)
        assert found(dag) == [("type", "each", "x", "ints")]
        dag = dag_of(texts=texts)
        dag.map("each", batch, over="texts", batch_size=2)
        dag.map("more", shout, over="each")
        assert found(dag) == [("type", "more", "x", "each")]

    @pytest.mark.parametrize(
        ("add", "fits", "fails"),
        [
            (lambda d: d.map("m", doubled, over="ints"), list[int], list[str]),
            (lambda d: d.map("m", doubled, over="ints", on_error="skip"), list[int], int),
            (lambda d: d.map("m", doubled, over="ints", on_error="collect"), MapResult, list[int]),
            (lambda d: d.map("m", doubled, over="ints", key=str), dict[str, int], list[int]),
            (lambda d: d.map("m", doubled, over="by_name"), dict[str, int], str),
            (lambda d: d.filter("m", bool_of, over="ints"), list[int], list[str]),
            (lambda d: d.flat_map("m", several, over="ints"), list[str], list[int]),
            (lambda d: d.flat_map("m", several_lists, over="ints", batch_size=2), list[bytes], bytes),
            (lambda d: d.reduce("m", add_up, over="ints", start=0), int, str),
            (lambda d: d.reduce("m", add_up, over="ints", start=None), None, str),
            (lambda d: d.add("m", number, fallback="none"), str, bytes),
            (lambda d: d.map("m", doubled, over="ints", fallback="x"), list[str], list[bytes]),
            (lambda d: d.add("m", dag_of(a=number)), Mapping[str, Any], str),
            (lambda d: d.add("m", Made), Made, str),
            (lambda d: d.add("m", functools.partial(_three, b=2, a=1)), int, str),
            (lambda d: d.add("m", Made(1).method), int, str),
        ],
    )  # fmt: skip
    def test_what_nodes_give(self, add: Any, fits: Any, fails: Any) -> None:
        for wanted, silent in ((fits, True), (fails, False)):
            dag = dag_of(ints=ints, by_name=by_name)
            add(dag)

            def read(x: Any) -> None: ...

            read.__annotations__["x"] = wanted
            assert (found(reader(dag, "m", read)) == []) is silent

    @pytest.mark.parametrize(
        "add",
        [
            lambda d: d.add("m", number, fallback=lambda error: "x"),
            lambda d: d.add("m", number, middleware=[lambda next, ctx: "x"]),
            lambda d: d.add("m", wrapped),
            lambda d: d.add("m", typed_for_checkers),
            lambda d: d.add("m", lambda: 1),
            lambda d: d.add("m", len, needs=["ints"]),
            lambda d: d.add("m", Meta),
        ],
    )  # fmt: skip
    def test_what_is_not_certain_is_silent(self, add: Any) -> None:
        def read(x: bytes) -> None: ...

        dag = dag_of(ints=ints)
        add(dag)
        assert [each for each in found(reader(dag, "m", read)) if each[1] == "reader"] == []

    def test_the_dags_middleware_may_make_anything_of_it(self) -> None:
        dag = flow.Dag("d", middleware=[lambda next, ctx: "x"])
        dag.add("number", number)
        assert found(reader(dag, "number", shout)) == []

    def test_a_default_of_none_takes_none(self) -> None:
        def nothing() -> None: ...

        def read(x: int = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013

        assert found(reader(dag_of(nothing=nothing), "nothing", read)) == []

    def test_further_parameters_of_a_map(self) -> None:
        def each(x: int, number: str) -> int:
            return x

        dag = dag_of(ints=ints, number=number)
        dag.map("each", each, over="ints")
        assert found(dag) == [("type", "each", "number", "number")]

    def test_the_item_of_a_fold(self) -> None:
        dag = dag_of(texts=texts)
        dag.reduce("sum", add_up, over="texts", start=0)
        assert found(dag) == [("type", "sum", "x", "texts")]

    def test_declared_inputs(self) -> None:
        class Inputs(msgspec.Struct):
            count: int

        Inputs.__annotations__["count"] = int
        dag = flow.Dag("d", inputs=Inputs)
        dag.add("a", lambda count: count)
        assert found(reader(dag, "a", shout)) == []

        def takes(count: str) -> None: ...

        dag.add("b", takes)
        (warning,) = dag.compile().warnings()
        assert "takes 'count' as str, but the declared input 'count' (" in warning.text
        assert warning.text.endswith("is int") and warning.source == "count"
        outer = dag_of(count=texts)
        inner = flow.Dag("inner", inputs=Inputs)
        inner.add("a", lambda count: count)
        outer.add("inner", inner)
        assert found(outer) == [("type", "inner", "count", "count")]

    def test_an_item_that_goes_to_a_dag(self) -> None:
        dag = dag_of(ints=ints)
        dag.map("each", dag_of(a=lambda item: item), over="ints")
        assert found(dag) == []

    def test_annotations_that_cannot_be_hashed(self) -> None:
        def read(x: Annotated[int, []]) -> None: ...

        assert found(reader(dag_of(texts=texts), "texts", read)) == [("type", "reader", "x", "texts")]
        read.__annotations__["x"] = Literal[[]]  # type: ignore[valid-type]
        assert found(reader(dag_of(number=number), "number", read)) != []

    def test_variadic_parameters(self) -> None:
        def read(*args: int, **more: str) -> None: ...

        dag = dag_of(texts=texts)
        dag.add("reader", read, needs=["texts"])
        assert found(dag) == []

    def test_a_function_whose_annotations_raise(self) -> None:
        class Odd:
            def __call__(self) -> int:
                return 1

            def __getattr__(self, name: str) -> Any:
                raise RuntimeError(name)

        assert found(reader(dag_of(odd=number), "odd", doubled)) == []


@pytest.mark.parametrize("asked", [IO, IO[bytes], BinaryIO, TextIO, "list of them"])
def test_files_are_of_the_types_that_typing_has_for_them(asked: Any) -> None:
    """Type checkers say so; no class that is loaded is of both."""
    is_list = isinstance(asked, str)

    def source() -> Any: ...

    def read(x: Any) -> None: ...

    plain = io.TextIOWrapper if asked is TextIO else io.BytesIO
    source.__annotations__["return"] = list[io.BytesIO] if is_list else plain
    read.__annotations__["x"] = list[IO[bytes]] if is_list else asked
    assert found(reader(dag_of(source=source), "source", read)) == []


class TestConditions:
    """A condition that asks whether a node has failed, of a node that is skipped then."""

    @staticmethod
    def dag(when: str, **options: Any) -> flow.Dag:
        dag = flow.Dag("desk")
        dag.add("restart", ints, **options.pop("restart", {}))
        dag.add("health", lambda restart=(): {"bad": not restart}, **options.pop("health", {"after": "restart"}))
        dag.add("ticket", number, when=flow.expr(when), **options)
        return dag

    @pytest.mark.parametrize("when", [
        "failed(restart) or health.bad", "timed_out(restart) and default(health.bad, true)",
        "failed(nodes['restart']) or not health.bad",
    ])  # fmt: skip
    def test_it_is_found(self, when: str) -> None:
        (found,) = self.dag(when).compile().warnings()
        assert (found.kind, found.node, found.parameter, found.source) == ("route", "ticket", "", "health")
        assert found.text.endswith(
            "asks whether 'restart' has failed, and is skipped then, since 'health' before it is: is join='done' meant?"
        )

    @pytest.mark.parametrize("when, options", [
        ("failed(restart) or default(health.bad, false)", {"join": "done"}),
        ("failed(restart)", {}),
        ("succeeded(restart) and health.bad", {}),
        ("failed(restart) or failed(health)", {}),
        ("failed(restart) or health.bad", {"restart": {"continue_on_error": True}}),
        ("failed(restart) or health.bad", {"health": {"join": "done"}}),
        ("failed(restart) or health.bad", {"health": {"after": {"restart": "done"}}}),
    ])  # fmt: skip
    def test_others_are_not(self, when: str, options: dict[str, Any]) -> None:
        assert self.dag(when, **options).compile().warnings() == ()

    def test_that_is_what_happens(self) -> None:
        def broken() -> list[int]:
            raise ConnectionError("no answer")

        dag = self.dag("failed(restart) or health.bad")
        dag.add("restart", broken, replace=True)
        result = flow.run(dag, config=flow.Config(on_error="collect"))
        assert str(result.status["ticket"]) == "skipped"
