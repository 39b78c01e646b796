"""The items of a map: every one is counted, every failure is told, any value goes through."""

from __future__ import annotations

import math
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio.lowlevel
import pytest
from conftest import collected, error_of

import flow
from flow import Config, Status


async def awaited(x: int) -> int:
    return x + 1


async def waits(x: int) -> int:
    await anyio.lowlevel.checkpoint()
    return x + 1


def plain(x: int) -> int:
    return x + 1


def map_of(fn: Any, **options: Any) -> flow.Dag:
    dag = flow.Dag("d")
    dag.map("m", fn, over="xs", **options)
    dag.add("after", lambda m: len(m))
    return dag


class TestCollect:
    """One of 100 fails: its descendants are skipped, others done, counts add up."""

    @pytest.mark.parametrize("fn", [plain, awaited, waits])
    def test_one_of_a_hundred_items(self, backend: str, fn: Callable[[int], Any]) -> None:
        boom = ValueError(50)

        def bad(x: int) -> Any:
            if x == 50:
                raise boom
            return fn(x)

        async def abad(x: int) -> Any:
            return await bad(x)

        dag = map_of(bad if fn is plain else abad)
        dag.add("beside", lambda: 1)
        result = collected(flow_with_items(dag, 100), backend)
        assert result.errors == {"m": boom}
        assert result.counts == {Status.COMPLETED: 2, Status.FAILED: 1, Status.SKIPPED: 1}
        kept = map_of(bad if fn is plain else abad, on_error="collect")
        result = collected(flow_with_items(kept, 100), backend)
        assert (result["m"].completed, list(result["m"].errors), result["after"]) == (99, [50], 100)
        assert result.counts == {Status.COMPLETED: 3}

    def test_joins_after_a_failing_map(self, backend: str) -> None:
        dag = map_of(lambda x: 1 // x, continue_on_error=True)
        dag.add("join", lambda: "ran", after="m")
        dag.add("needs", lambda m: "never")
        result = collected(flow_with_items(dag, 3), backend)
        assert (result["join"], result.status["needs"], result.ok) == ("ran", Status.SKIPPED, False)


def flow_with_items(dag: flow.Dag, count: int) -> flow.Dag:
    dag.add("xs", lambda: range(count))
    return dag


class TestItems:
    """0, 1, 100,000 items, a generator, failures first, last, all; concurrency 1, k, n: order kept, the run ends."""

    @pytest.mark.parametrize("concurrency", [1, 7, None])
    @pytest.mark.parametrize("fn", [plain, awaited, waits])
    def test_counts(self, backend: str, fn: Any, concurrency: int | None) -> None:
        for count in (0, 1, 1_000):
            for lazy in (False, True):
                xs = (x for x in range(count)) if lazy else range(count)
                config = Config(backend=backend)  # type: ignore[arg-type]
                result = flow.run(map_of(fn, concurrency=concurrency), {"xs": xs}, config=config)
                assert result["m"] == list(range(1, count + 1))
                assert result["after"] == count

    @pytest.mark.parametrize("fn", [plain, awaited])
    @pytest.mark.parametrize("concurrency", [1, 50, 100_000])
    @pytest.mark.slow
    def test_a_hundred_thousand(self, fn: Any, concurrency: int) -> None:
        result = flow.run(map_of(fn, concurrency=concurrency), {"xs": (x for x in range(100_000))})
        assert result["m"] == list(range(1, 100_001))

    @pytest.mark.slow
    def test_many_that_wait_or_fail(self) -> None:
        result = flow.run(map_of(waits, concurrency=100), {"xs": range(20_000)})
        assert result["m"] == list(range(1, 20_001))

        def odd(x: int) -> int:
            if x % 2:
                raise ValueError(x)
            return x

        result = flow.run(map_of(odd, on_error="collect"), {"xs": range(100_000)})
        assert (result["m"].completed, result["m"].failed) == (50_000, 50_000)
        assert result["m"].values == list(range(0, 100_000, 2))

    def test_many_from_an_asynchronous_source(self) -> None:
        async def xs() -> AsyncIterator[int]:
            for x in range(20_000):
                yield x

        dag = map_of(plain)
        dag.add("xs", xs)
        assert flow.run(dag)["m"] == list(range(1, 20_001))

    @pytest.mark.parametrize("bad", [[0], [9], list(range(10))], ids=["first", "last", "all"])
    @pytest.mark.parametrize("concurrency", [1, 3, 10])
    @pytest.mark.parametrize("style", ["sync", "async", "waits"])
    @pytest.mark.parametrize("lazy", [False, True])
    def test_failures(self, backend: str, bad: list[int], concurrency: int, style: str, lazy: bool) -> None:
        def fn(x: int) -> int:
            if x in bad:
                raise ValueError(x)
            return x

        async def afn(x: int) -> int:
            if style == "waits":
                await anyio.lowlevel.checkpoint()
            return fn(x)

        function: Any = fn if style == "sync" else afn

        def xs() -> Iterator[int]:
            return (x for x in range(10)) if lazy else iter(list(range(10)))

        dag = map_of(function, concurrency=concurrency)
        error = error_of(dag, {"xs": xs()}, backend=backend).exceptions[0]
        several = isinstance(error, flow.errors.MapError)
        first = error.exceptions[0] if several else error
        assert first.args == (bad[0],)
        assert first.__notes__[0] == f"in item {bad[0]} ({bad[0]}) of map 'm'"
        good = [x for x in range(10) if x not in bad]
        result = flow.run(map_of(function, concurrency=concurrency, on_error="skip"), {"xs": xs()})
        assert (result["m"], result["after"]) == (good, len(good))
        result = flow.run(map_of(function, concurrency=concurrency, on_error="collect"), {"xs": xs()})
        assert (result["m"].values, list(result["m"].errors)) == (good, bad)


class Unpicklable:
    def __reduce__(self) -> Any:
        raise RuntimeError("no")


class Custom(Exception):
    def __init__(self, code: int, *, why: str) -> None:
        super().__init__(f"{code}: {why}")


class Unequal:
    """Refuses every comparison."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise RuntimeError("no")


def recursive() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


class TestValues:
    """What cannot be stored or compared goes through maps by reference; an error's type and text are never masked."""

    def test_any_value_as_item_and_as_result(self, backend: str) -> None:
        with socket.socket() as sock:
            values = [lambda: 1, sock, Unpicklable(), recursive(), math.nan, b"bytes", None, Unequal(), ...,
                      NotImplemented, bytearray(1_000_000), ValueError("a value"), StopIteration()]  # fmt: skip

            async def same(x: Any) -> Any:
                await anyio.lowlevel.checkpoint()
                return x

            for fn in (lambda x: x, same):
                for options in ({}, {"on_error": "collect"}, {"on_error": "skip"}, {"concurrency": 1}):
                    dag = flow.Dag("d")
                    dag.map("m", fn, over="xs", **options)
                    dag.map("again", fn, over="m")
                    config = Config(backend=backend)  # type: ignore[arg-type]
                    result = flow.run(dag, {"xs": values}, config=config)
                    for name in ("m", "again"):
                        assert [id(x) for x in result[name]] == [id(x) for x in values]

    @pytest.mark.parametrize(
        "error",
        [
            Custom(3, why="because"),
            StopIteration(1),
            RecursionError("deep"),
            MemoryError(),
            AssertionError("no"),
            ExceptionGroup("several", [ValueError(1), KeyError(2)]),
            StopAsyncIteration(),
        ],
    )
    def test_any_exception(self, backend: str, error: Exception) -> None:
        def fails(x: int) -> None:
            if x == 1:
                raise error

        for options in ({}, {"thread": True}, {"retry": flow.Retry(2, delay=0.0)}):
            if options.get("thread") and isinstance(error, StopIteration):
                continue  # no future can hold one
            caught = error_of(map_of(fails, **options), {"xs": range(3)}, backend=backend).exceptions[0]
            assert caught is error
            collected_one = flow.run(map_of(fails, on_error="collect", **options), {"xs": range(3)})["m"]
            assert collected_one.errors == {1: error}
            with pytest.raises(type(error)):
                collected_one[1]

    def test_an_item_whose_repr_never_ends(self) -> None:
        value: Any = []
        for _ in range(100_000):
            value = [value]

        def fails(x: Any) -> None:
            raise ValueError("mine")

        error = error_of(map_of(fails), {"xs": [value, recursive()]}).exceptions[0]
        assert str(error) == "mine"
        assert error.__notes__[0] == f"in item 0 ({'[' * 60}...) of map 'm'"
        while value:  # freed step by step
            value = value.pop()
