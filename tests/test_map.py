"""Dag.map, flat_map, filter and reduce: what they go over, pass on, return, refuse and raise, on every way to run."""

from __future__ import annotations

import gc
import operator
import subprocess
import sys
import threading
import tracemalloc
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from conftest import LoopClock, collected, error_of

import flow
from flow import Config, Context, MapResult, Retry, Status, Timeout

MODES = [
    pytest.param({"mode": "auto"}, id="auto"),
    pytest.param({"mode": "inline"}, id="inline"),
    pytest.param({"mode": "tasks"}, id="tasks"),
    pytest.param({"mode": "workers", "limit": 2}, id="workers-2"),
    pytest.param({"mode": "tasks", "limit": 1}, id="tasks-1"),
    pytest.param({"sync": "thread", "limit": 3}, id="threads"),
    pytest.param({"keep": "targets"}, id="freeing"),
    pytest.param({"observers": [lambda event: None]}, id="observed"),
]


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(request.param)


def double(x: int) -> int:
    return 2 * x


async def adouble(x: int) -> int:
    return 2 * x


async def slow_double(x: int) -> int:
    await anyio.lowlevel.checkpoint()
    return 2 * x


async def sometimes(x: int) -> int:
    if x % 2:
        await anyio.lowlevel.checkpoint()
    return 2 * x


FUNCTIONS = [double, adouble, slow_double, sometimes]


async def stream(count: int) -> AsyncIterator[int]:
    for k in range(count):
        if k % 3 == 0:
            await anyio.lowlevel.checkpoint()
        yield k


class Stream:
    """An asynchronous iterator that is no generator."""

    def __init__(self, count: int) -> None:
        self.left = list(range(count))

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> int:
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop(0)


SOURCES: dict[str, Callable[[int], Any]] = {
    "list": lambda n: list(range(n)),
    "tuple": lambda n: tuple(range(n)),
    "range": range,
    "generator": lambda n: (k for k in range(n)),
    "iterator": lambda n: iter(range(n)),
    "map": lambda n: map(int, range(n)),
    "dict keys": lambda n: dict.fromkeys(range(n)).keys(),
    "async generator": stream,
    "async iterator": Stream,
}


def mapped(fn: Any, source: Any, *more: Any, **options: Any) -> flow.Dag:
    """A Dag of one map ``m`` over a node that returns ``source`` (or calls it, if it is a function)."""
    dag = flow.Dag("d")
    for k, one in enumerate((source, *more)):
        dag.add("xs" if not k else f"xs{k}", one if callable(one) else lambda one=one, /: one)
    dag.map("m", fn, ["xs", *[f"xs{k}" for k in range(1, len(more) + 1)]] if more else "xs", **options)
    return dag


def go(fn: Any, source: Any, *more: Any, config: Config | None = None, inputs: Any = None, **options: Any) -> Any:
    """The output of a map run alone."""
    return flow.run(mapped(fn, source, *more, **options), inputs, config=config)["m"]


def failure_of(fn: Any, source: Any, *more: Any, settings: Any = None, **options: Any) -> Exception:
    """The one exception that the map's node raises."""
    error = error_of(mapped(fn, source, *more, **options), **(settings or {}))
    assert error.nodes == ("m",)
    (only,) = error.exceptions
    return only


class TestSources:
    """What can be gone over, on every event loop and in every mode."""

    @pytest.mark.parametrize("source", SOURCES)
    def test_every_kind_of_source(self, mode: dict[str, Any], backend: str, source: str) -> None:
        config = Config(backend=backend, **mode)  # type: ignore[arg-type]
        for fn in FUNCTIONS:
            for count in (0, 1, 7):
                dag = flow.Dag("d")
                if source == "async generator":

                    async def made(count: int = count) -> AsyncIterator[int]:
                        async for k in stream(count):
                            yield k

                    dag.add("xs", made)
                elif source == "async iterator":

                    async def amade(count: int = count) -> Any:
                        return Stream(count)

                    dag.add("xs", amade)
                else:
                    dag.add("xs", lambda count=count: SOURCES[source](count))
                dag.map("m", fn, over="xs", concurrency=3)
                dag.add("last", lambda m: m)
                result = flow.run(dag, config=config)
                assert result["last"] == [2 * k for k in range(count)]
                assert set(result.status.values()) == {Status.COMPLETED}

    def test_a_run_input_is_a_source(self, backend: str) -> None:
        dag = flow.Dag("d")
        dag.map("m", double, over="numbers")
        dag.map("a", slow_double, over="numbers")
        result = flow.run(dag, {"numbers": [1, 2]}, config=Config(backend=backend))  # type: ignore[arg-type]
        assert (result["m"], result["a"]) == ([2, 4], [2, 4])
        with pytest.raises(flow.InputError, match="input 'numbers' is missing"):
            flow.run(dag)

    def test_mappings_give_values_and_a_dict_of_results(self, mode: dict[str, Any], backend: str) -> None:
        config = Config(backend=backend, **mode)  # type: ignore[arg-type]
        for fn in FUNCTIONS:
            assert go(fn, {"a": 1, "b": 2}, config=config) == {"a": 2, "b": 4}
            assert go(fn, {}, config=config) == {}
        assert go(lambda x, key, index: (key, index, x), {"a": 1, "b": 2}, config=config) == {
            "a": ("a", 0, 1),
            "b": ("b", 1, 2),
        }
        assert go(lambda x: 1 // x, {"a": 1, "b": 0, "c": 1}, on_error="skip", config=config) == {"a": 1, "c": 1}

    def test_zipped_sources(self, mode: dict[str, Any], backend: str) -> None:
        config = Config(backend=backend, **mode)  # type: ignore[arg-type]

        async def pair(a: int, b: str) -> str:
            await anyio.lowlevel.checkpoint()
            return f"{a}{b}"

        assert go(lambda item: item, [1, 2], "ab".split("x"), take=1, config=config) == [(1, "ab")]
        assert go(lambda item: item, [1, 2], ["a", "b"], config=config) == [(1, "a"), (2, "b")]
        assert go(pair, [1, 2], ["a", "b"], config=config) == ["1a", "2b"]
        assert go(pair, (k for k in (1, 2)), {"x": "a", "y": "b"}, config=config) == ["1a", "2b"]
        assert go(lambda a, *rest: (a, rest), [1, 2], [3, 4], [5, 6], config=config) == [(1, (3, 5)), (2, (4, 6))]
        assert go(max, [1, 9], [3, 4], config=config) == [3, 9]
        assert go(operator.add, [1, 9], [3, 4], config=config) == [4, 13]
        assert go(operator.add, [], [], config=config) == []

    def test_zipped_with_itself(self) -> None:
        dag = flow.Dag("d")

        @dag.node
        def xs() -> list[int]:
            return [1, 2]

        dag.map("names", operator.mul, over=["xs", "xs"])
        dag.map("functions", operator.mul, over=[xs, xs])
        assert dict(flow.run(dag)) == {"xs": [1, 2], "names": [1, 4], "functions": [1, 4]}

    @pytest.mark.parametrize("lazy", [False, True])
    def test_unequal_lengths_say_which_ended_first(self, lazy: bool, backend: str) -> None:
        def of(count: int) -> Any:
            return (k for k in range(count)) if lazy else list(range(count))

        for sources, ended in (((2, 3), "'xs' ended before 'xs1'"), ((3, 2, 3), "'xs1' ended before 'xs', 'xs2'")):
            error = failure_of(lambda *parts: sum(parts), *map(of, sources), settings={"backend": backend})
            assert isinstance(error, flow.UsageError)
            assert str(error) == f"map 'm' goes over sources of different lengths: {ended}"

        async def one() -> AsyncIterator[int]:
            yield 1

        error = failure_of(lambda a, b: a, one, [1, 2], settings={"backend": backend})
        assert str(error) == "map 'm' goes over sources of different lengths: 'xs' ended before 'xs1'"

    def test_async_sources_zipped_batched_keyed_and_taken(self, mode: dict[str, Any], backend: str) -> None:
        config = Config(backend=backend, **mode)  # type: ignore[arg-type]

        async def letters() -> AsyncIterator[str]:
            for k in "abcde":
                await anyio.lowlevel.checkpoint()
                yield k

        assert go(lambda a, b: (a, b), letters, range(5), config=config)[1:3] == [("b", 1), ("c", 2)]
        assert go(lambda a, b: (a, b), {"x": 1}, letters, take=1, config=config) == [(1, "a")]
        assert go(lambda batch: ["".join(batch)] * len(batch), letters, batch_size=2, config=config) == [
            "ab", "ab", "cd", "cd", "e",
        ]  # fmt: skip
        assert go(str.upper, letters, key=str.title, take=2, config=config) == {"A": "A", "B": "B"}
        assert go(str.upper, letters, take=0, config=config) == []

    @pytest.mark.parametrize(
        ("value", "what"),
        [
            ("text", "it is a str, 'text': to go over its parts, make it a list"),
            (b"bytes", "it is a bytes, b'bytes': to go over its parts, make it a list"),
            (5, "it is an int, 5"),
            (None, "it is a NoneType, None"),
        ],
    )
    def test_what_is_nothing_to_go_over_is_refused(self, value: Any, what: str, backend: str) -> None:
        for fn in (double, slow_double):
            error = failure_of(fn, value, settings={"backend": backend})
            assert isinstance(error, flow.UsageError)
            assert str(error) == f"map 'm' cannot go over 'xs': {what}"
        dag = flow.Dag("d")

        @dag.node
        def users() -> Any:
            return value

        dag.map("m", double, over=users)  # a function is called as its node is
        dag.reduce("r", operator.add, over="value", start=0)
        result = flow.run(dag, {"value": value}, config=Config(on_error="collect"))
        assert str(result.errors["m"]) == f"map 'm' cannot go over 'users': {what}"
        assert str(result.errors["r"]) == f"reduce cannot go over 'value': {what}"

    def test_an_asynchronous_source_needs_a_loop(self) -> None:
        dag = flow.Dag("d")
        dag.map("m", double, over="numbers")
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, {"numbers": stream(3)})
        assert str(caught.value.exceptions[0]) == (
            "map 'm' goes over an asynchronous iterator, and this run has no event loop: make its function async, "
            "or use 'await flow.execute(...)'"
        )
        dag.map("n", double, over="m", pipelined=True)
        with pytest.raises(flow.RunError, match="dag 'd': 1 of 2 nodes failed: 'm'"):
            flow.run(dag, {"numbers": stream(3)})

    def test_a_list_that_grows_meanwhile_is_gone_over_to_its_end(self) -> None:
        xs = [1]

        def grow(x: int) -> int:
            if x < 5:
                xs.append(x + 1)
            return x

        assert go(grow, lambda: xs) == [1, 2, 3, 4, 5]


class TestParameters:
    """Which parameter gets what."""

    def extended(self, fn: Any, **options: Any) -> Any:
        dag = flow.Dag("d")
        dag.add("xs", lambda: [10, 20])
        dag.add("scale", lambda: 3)
        dag.map("m", fn, over="xs", **options)
        return flow.run(dag, {"base": 100} if options.get("needs") is None else None)["m"]

    def test_any_order(self) -> None:
        def one(index: int, scale: int, item: int, base: int, ctx: Context, more: int = 7) -> Any:
            return (index, scale, item, base, ctx.index, ctx.item, more)

        def two(x: int, *, base: int, index: int, ctx: Context, scale: int = 9, more: int = 7) -> Any:
            return (index, scale, x, base, ctx.index, ctx.item, more)

        def three(ctx: Context, x: int, base: int, scale: int, *, index: int) -> Any:
            return (index, scale, x, base, ctx.index, ctx.item, 7)

        expected = [(0, 3, 10, 100, 0, 10, 7), (1, 3, 20, 100, 1, 20, 7)]
        for fn in (one, two, three):
            assert self.extended(fn) == expected

    def test_key_is_the_index_where_there_are_no_keys(self) -> None:
        assert go(lambda x, key: (key, x), ["a", "b"]) == [(0, "a"), (1, "b")]
        assert go(lambda x, key: (key, x), ["a", "b"], key=str.upper) == {"A": ("A", "a"), "B": ("B", "b")}

    def test_needs_rename(self) -> None:
        assert self.extended(lambda x, factor: x * factor, needs={"factor": "scale"}) == [30, 60]

    def test_the_whole_source_under_its_own_name(self) -> None:
        assert go(lambda item, xs: (item, len(xs)), [5, 6]) == [(5, 2), (6, 2)]
        assert go(lambda xs: xs + 1, [5, 6]) == [6, 7]  # the first parameter gets the item, whatever its name

    def test_star_args_and_keyword_only(self) -> None:
        def fn(*parts: int, index: int, scale: int = 3, ctx: Context) -> Any:
            return parts, index, scale, ctx.index

        assert go(fn, [1, 2]) == [((1,), 0, 3, 0), ((2,), 1, 3, 1)]
        assert go(fn, [1, 2], [3, 4]) == [((1, 3), 0, 3, 0), ((2, 4), 1, 3, 1)]
        assert go(lambda *, item: item, [1]) == [1]

    def test_positional_only_and_defaults(self) -> None:
        def fn(x: int, y: int = 5, /, z: int = 6) -> tuple[int, int, int]:
            return x, y, z

        assert go(fn, [1]) == [(1, 5, 6)]
        assert go(fn, [1], inputs={"z": 0}) == [(1, 5, 0)]
        assert go(fn, [1], [2]) == [(1, 2, 6)]

    def test_builtins_methods_partials_callables(self, backend: str) -> None:
        class Scale:
            def __init__(self, by: int) -> None:
                self.by = by

            def times(self, x: int) -> int:
                return self.by * x

            async def atimes(self, x: int) -> int:
                return self.by * x

            def __call__(self, x: int) -> int:
                return self.by * x

        config = Config(backend=backend)  # type: ignore[arg-type]
        five = Scale(5)
        plain: list[Any] = [five.times, five.atimes, five, partial(operator.mul, 5), partial(five.times)]
        for fn in plain:
            assert go(fn, [1, 2], config=config) == [5, 10], fn
        assert go(len, ["a", "bcd"], config=config) == [1, 3]
        assert go(str, [1, None], config=config) == ["1", "None"]
        assert go(int, ["7"], config=config) == [7]
        assert go(str.upper, ["a"], config=config) == ["A"]
        assert go(partial(pow, exp=2), [3], config=config) == [9]

    def test_a_wrapper_of_an_async_function(self) -> None:
        import functools

        @functools.wraps(adouble)
        def wrapped(x: int) -> Any:
            return adouble(x)

        assert go(wrapped, [1, 2]) == [2, 4]

    def test_no_parameter_for_the_item(self) -> None:
        def nothing() -> None: ...
        def one(x: int) -> None: ...

        for fn, sources, what in (
            (nothing, [[1]], "no parameter for its item: call one 'item', or let the first one be it"),
            (
                one,
                [[1], [2]],
                "no parameter for the 2 parts of its item: call one 'item', or let the first 2 be them",
            ),
            (lambda index: 0, [[1]], "no parameter for its item"),
            (7, [[1]], "7 is not callable: give the function that is called with each item"),
        ):
            with pytest.raises(flow.DefinitionError, match=what):
                mapped(fn, *sources).compile()
        dag = flow.Dag("d")
        dag.reduce("r", 7, over="xs", start=0)  # type: ignore[arg-type]
        dag.reduce("two", operator.add, over=["xs", "ys"], start=0)  # type: ignore[arg-type]
        with pytest.raises(flow.DefinitionError) as caught:
            dag.compile()
        assert "reduce goes over one source, not 2" in str(caught.value)
        assert "7 is not callable: give a function of what was folded so far and an item" in str(caught.value)


class TestOptions:
    def test_all_faults_at_once(self) -> None:
        options: dict[str, Any] = {
            "concurrency": 0, "batch_size": True, "take": -1, "on_error": "raise", "key": 3, "pipelined": 1, "retry": 4,
        }  # fmt: skip
        with pytest.raises(flow.DefinitionError) as caught:
            mapped(double, [1], **options).compile()
        assert [fault.split(": ", 1)[1] for fault in caught.value.faults] == [
            "concurrency must be an integer of at least 1, or None, not 0",
            "batch_size must be an integer of at least 1, or None, not True",
            "take must be an integer of at least 0, or None for all items, not -1",
            "on_error must be one of 'fail', 'collect', 'skip', not 'raise'",
            "key must be a function of the item, or None, not 3",
            "pipelined must be True or False, not 1",
            "batch_size and pipelined exclude each other: a batch must be waited for",
            "key and pipelined exclude each other: give key to the first map",
            "pipelined goes over one other map; 'xs' is none",
            "retry must be a flow.Retry or None, not 4",
        ]

    def test_collect_is_for_map(self) -> None:
        dag = flow.Dag("d")
        dag.filter("f", bool, over="xs", on_error="collect")  # type: ignore[arg-type]
        with pytest.raises(flow.DefinitionError, match="on_error='collect' is for map: a filter or flat_map has no"):
            dag.compile()

    def test_an_unknown_option(self) -> None:
        with pytest.raises(TypeError, match="concurency"):
            mapped(double, [1], concurency=4)

    def test_thread_is_for_sync_functions(self) -> None:
        with pytest.raises(flow.DefinitionError, match="thread=True is for sync functions"):
            mapped(adouble, [1], thread=True).compile()

    def test_key(self, mode: dict[str, Any], backend: str) -> None:
        config = Config(backend=backend, **mode)  # type: ignore[arg-type]
        for fn in FUNCTIONS:
            assert go(fn, [1, 2, 3], key=str, config=config) == {"1": 2, "2": 4, "3": 6}
        assert go(double, {"a": 1}, key=str, config=config) == {"1": 2}  # instead of the mapping's own

    def test_keys_must_differ_and_be_hashable(self) -> None:
        error = failure_of(double, [1, 2, 11], key=lambda x: x % 10)
        assert isinstance(error, flow.UsageError)
        assert str(error) == "map 'm': items 0 and 2 (11) have the same key 1: keys must differ"
        assert isinstance(failure_of(double, [1], key=lambda x: [x]), TypeError)
        error = failure_of(double, [1, 0], key=lambda x: 1 // x)
        assert isinstance(error, ZeroDivisionError)
        assert error.__notes__[0] == "from the source of the items, after 1 of them"

    def test_batches(self, mode: dict[str, Any], backend: str) -> None:
        config = Config(backend=backend, **mode)  # type: ignore[arg-type]
        seen: list[tuple[int, list[int]]] = []

        def batch(items: list[int], index: int) -> Iterator[int]:
            seen.append((index, items))
            return (10 * x for x in items)

        async def abatch(items: list[int]) -> tuple[int, ...]:
            await anyio.lowlevel.checkpoint()
            return tuple(10 * x for x in items)

        assert go(batch, range(5), batch_size=2, config=config) == [0, 10, 20, 30, 40]
        assert sorted(seen) == [(0, [0, 1]), (2, [2, 3]), (4, [4])]
        assert go(abatch, (k for k in range(5)), batch_size=2, config=config) == [0, 10, 20, 30, 40]
        assert go(abatch, range(4), batch_size=4, config=config) == [0, 10, 20, 30]
        assert go(abatch, range(4), batch_size=3, take=2, config=config) == [0, 10]
        assert go(abatch, [], batch_size=3, config=config) == []
        assert go(abatch, {"a": 1, "b": 2, "c": 3}, batch_size=2, config=config) == {"a": 10, "b": 20, "c": 30}
        dag = flow.Dag("d")
        dag.filter("f", lambda items: [x % 2 == 0 for x in items], over="xs", batch_size=2)
        dag.flat_map("g", lambda items: [[x, x] for x in items], over="xs", batch_size=2)
        result = flow.run(dag, {"xs": [1, 2, 3, 4, 6]}, config=config)
        assert (result["f"], result["g"]) == ([2, 4, 6], [1, 1, 2, 2, 3, 3, 4, 4, 6, 6])

    def test_a_wrong_number_of_results(self) -> None:
        error = failure_of(lambda batch: batch[:1], [1, 2, 3], batch_size=2)
        assert isinstance(error, flow.UsageError)
        assert str(error) == "a map with batch_size needs one result per item: 1 came for 2 items"
        assert error.__notes__[0] == "in the batch from item 0 ([1, 2]) of map 'm'"
        error = failure_of(len, [1, 2, 3], batch_size=2)
        assert str(error) == "a map with batch_size needs one result per item: got 2"
        assert isinstance(error.__cause__, TypeError)

    def test_take(self, mode: dict[str, Any], backend: str) -> None:
        config = Config(backend=backend, **mode)  # type: ignore[arg-type]
        pulled: list[int] = []

        def endless() -> Iterator[int]:
            k = 0
            while True:
                pulled.append(k)
                yield k
                k += 1

        for fn in FUNCTIONS:
            pulled.clear()
            assert go(fn, endless, take=5, config=config) == [0, 2, 4, 6, 8]
            assert pulled == [0, 1, 2, 3, 4]
        pulled.clear()
        assert go(double, endless, take=0, config=config) == []
        assert pulled == []
        assert go(double, [1, 2], take=9, config=config) == [2, 4]


class TestShapes:
    """flat_map, filter, reduce, and maps in and of one another."""

    def test_flat_map(self, mode: dict[str, Any], backend: str) -> None:
        config = Config(backend=backend, **mode)  # type: ignore[arg-type]

        async def several(x: int) -> Any:
            await anyio.lowlevel.checkpoint()
            return (x for _ in range(x))

        dag = flow.Dag("d")
        dag.flat_map("a", several, over="xs")
        dag.flat_map("s", lambda x: [x] * x, over="xs")
        dag.flat_map("d", lambda x: [x] * x, over="mapping")
        dag.flat_map("skip", lambda x: [1 // x], over="xs", on_error="skip")
        result = flow.run(dag, {"xs": [2, 0, 3], "mapping": {"a": 1, "b": 2}}, config=config)
        assert (result["a"], result["s"], result["d"]) == ([2, 2, 3, 3, 3], [2, 2, 3, 3, 3], [1, 2, 2])
        assert result["skip"] == [0, 0]

    def test_flat_map_needs_several_results(self) -> None:
        for value in (3, "text", None):
            dag = flow.Dag("d")
            dag.flat_map("m", lambda x, value=value: value, over="xs")
            error = error_of(dag, {"xs": [1]}).exceptions[0]
            assert isinstance(error, flow.UsageError)
            assert str(error) == f"a flat_map needs a list of results per item: got {value!r}"
            assert error.__notes__[0] == "in item 0 (1) of map 'm'"

        def breaks(x: int) -> Iterator[int]:
            yield 1
            raise KeyError(x)

        dag = flow.Dag("d")
        dag.flat_map("m", breaks, over="xs")
        error = error_of(dag, {"xs": [1]}).exceptions[0]
        assert isinstance(error, KeyError)
        assert error.__notes__[0] == "in item 0 (1) of map 'm'"

    def test_filter(self, mode: dict[str, Any], backend: str) -> None:
        config = Config(backend=backend, **mode)  # type: ignore[arg-type]

        async def even(x: int) -> bool:
            await anyio.lowlevel.checkpoint()
            return x % 2 == 0

        dag = flow.Dag("d")
        dag.filter("a", even, over="xs")
        dag.filter("s", lambda x: x % 2, over="xs")
        dag.filter("d", lambda x: x, over="mapping")
        dag.filter("skip", lambda x: 1 % x == 1, over="xs", on_error="skip")
        dag.filter("none", lambda x: None, over="xs")
        result = flow.run(dag, {"xs": [0, 1, 2, 3, 4], "mapping": {"a": 1, "b": 0}}, config=config)
        assert dict(result) == {"a": [0, 2, 4], "s": [1, 3], "d": {"a": 1}, "skip": [2, 3, 4], "none": []}

    def test_reduce(self, mode: dict[str, Any], backend: str) -> None:
        config = Config(backend=backend, **mode)  # type: ignore[arg-type]

        async def add(so_far: int, x: int) -> int:
            await anyio.lowlevel.checkpoint()
            return so_far + x

        async def lifts(next: Any, ctx: Context) -> Any:
            return await next()

        async def four() -> AsyncIterator[int]:
            for k in range(4):
                await anyio.lowlevel.checkpoint()
                yield k

        dag = flow.Dag("d")
        dag.add("four", four)
        dag.add("again", four)
        dag.reduce("s", operator.add, over="xs", start=100)
        dag.reduce("a", add, over="xs", start=100)
        dag.reduce("lifted", operator.add, over="xs", start=100, middleware=[lifts])
        dag.reduce("thread", operator.add, over="xs", start=100, thread=True)
        dag.reduce("stream", operator.sub, over="four", start=0)
        dag.reduce("astream", add, over="again", start=0)
        dag.reduce("empty", operator.add, over="none", start=7)
        dag.reduce("values", operator.add, over="mapping", start=0)
        dag.reduce("avalues", add, over="mapping", start=0)
        dag.map("m", double, over="xs")
        dag.reduce("after", operator.add, over="m", start=0, retry=Retry(2))
        inputs = {"xs": [1, 2, 3], "none": [], "mapping": {"a": 1, "b": 2}}
        result = flow.run(dag, inputs, config=config)
        names = ["s", "a", "lifted", "thread", "stream", "astream", "empty", "values", "avalues", "after"]
        assert [result.get(name) for name in names] == [106, 106, 106, 106, -6, 6, 7, 3, 3, 12]

    def test_a_sync_fold_of_an_asynchronous_input(self) -> None:
        dag = flow.Dag("d")
        dag.reduce("r", operator.add, over="xs", start=0)
        error = error_of(dag, {"xs": stream(2)}).exceptions[0]
        assert str(error) == "reduce goes over an asynchronous iterator by a sync function: make that async"
        assert repr(dag.compile().fns[0]) == "<fold of xs by <built-in function add>>"

    def test_a_dag_as_function(self, mode: dict[str, Any], backend: str) -> None:
        config = Config(backend=backend, **mode)  # type: ignore[arg-type]
        inner = flow.Dag("inner")
        inner.add("twice", lambda item, scale=2: scale * item)
        inner.add("plus", lambda twice: twice + 1)
        anonymous = flow.Dag("other")
        anonymous.add("y", slow_double)
        dag = flow.Dag("d")
        dag.map("m", inner, over="xs")
        dag.map("n", anonymous, over="xs", concurrency=2)
        result = flow.run(dag, {"xs": [1, 2, 3]}, config=config)
        assert [r["plus"] for r in result["m"]] == [3, 5, 7]
        assert [dict(r) for r in result["n"]] == [{"y": 2}, {"y": 4}, {"y": 6}]
        scaled = flow.run(dag, {"xs": [1], "scale": 10}, config=config)
        assert scaled["m"][0]["plus"] == 11

    def test_a_dag_whose_input_for_the_item_is_unclear(self) -> None:
        inner = flow.Dag("inner")
        inner.add("a", lambda x, y: x + y)
        with pytest.raises(flow.DefinitionError, match="must call the input for its item 'item'; it requires 'x', 'y'"):
            mapped(inner, [1]).compile()
        none = flow.Dag("none")
        none.add("a", lambda: 1)
        with pytest.raises(flow.DefinitionError, match="'item'; it requires none"):
            mapped(none, [1]).compile()

    def test_a_map_in_a_dag_in_a_map(self, mode: dict[str, Any], backend: str) -> None:
        config = Config(backend=backend, **mode)  # type: ignore[arg-type]
        for fn in FUNCTIONS:
            inner = flow.Dag("inner")
            inner.map("cells", fn, over="item")
            inner.add("total", lambda cells: sum(cells))
            dag = flow.Dag("d")
            dag.map("rows", inner, over="matrix")
            dag.map("totals", lambda row: row["total"], over="rows")
            dag.reduce("sum", operator.add, over="totals", start=0)
            result = flow.run(dag, {"matrix": [[1, 2], [], [3]]}, config=config)
            assert result["sum"] == 12
            assert result.get("totals", [6, 0, 6]) == [6, 0, 6]

    def test_a_function_that_runs_a_map_itself(self, backend: str) -> None:
        inner = flow.Dag("inner")
        inner.map("m", slow_double, over="item")

        async def fan_out(x: int) -> list[int]:
            return list((await flow.execute(inner, {"item": range(x)}))["m"])

        assert go(fan_out, [0, 1, 3], config=Config(backend=backend)) == [[], [0], [0, 2, 4]]  # type: ignore[arg-type]

    def test_a_map_of_a_maps_output(self, mode: dict[str, Any], backend: str) -> None:
        config = Config(backend=backend, **mode)  # type: ignore[arg-type]
        dag = flow.Dag("d")
        dag.map("a", slow_double, over="xs")
        dag.filter("b", lambda x: x > 2, over="a")
        dag.flat_map("c", lambda x: [x, x], over="b")
        dag.map("d", double, over="c")
        dag.map("e", lambda x: 1 // x, over="xs", on_error="collect")
        dag.map("f", slow_double, over="e")
        result = flow.run(dag, {"xs": [1, 2, 0]}, config=config)
        assert result["d"] == [8, 8]
        assert result["f"] == [2, 0]

    def test_keys_are_handed_on(self) -> None:
        dag = flow.Dag("d")
        dag.map("a", lambda x: 6 // x, over="xs", on_error="collect")
        dag.map("b", double, over="a")
        assert flow.run(dag, {"xs": {"p": 1, "q": 0, "r": 3}})["b"] == {"p": 12, "r": 4}


class TestOrderAndConcurrency:
    def test_results_are_in_item_order_whatever_ends_first(self, virtual: Any) -> None:
        ended: list[int] = []

        async def wait(x: int) -> int:
            await anyio.sleep(x / 10)
            ended.append(x)
            return x

        items = [5, 1, 4, 2, 3]
        for source in (items, lambda: (x for x in items)):
            ended.clear()
            assert virtual(flow.execute, mapped(wait, source))["m"] == items
            assert ended == [1, 2, 3, 4, 5]

    @pytest.mark.parametrize("lazy", ["list", "generator", "async generator"])
    @pytest.mark.parametrize(
        ("concurrency", "config", "most"),
        [(1, {}, 1), (4, {}, 4), (None, {}, 20), (50, {}, 20), (4, {"limit": 2}, 2), (None, {"limit": 3}, 3),
         (4, {"mode": "inline"}, 1), (None, {"mode": "workers", "limit": 5}, 5)],
    )  # fmt: skip
    def test_bounded_and_the_bound_is_reached(
        self, virtual: Any, lazy: str, concurrency: Any, config: Any, most: int
    ) -> None:
        now = peak = 0

        async def wait(x: int) -> int:
            nonlocal now, peak
            now += 1
            peak = max(peak, now)
            await anyio.sleep(1)
            now -= 1
            return x

        async def agen() -> AsyncIterator[int]:
            for k in range(20):
                yield k

        source: Any = {"list": list(range(20)), "generator": lambda: (k for k in range(20)), "async generator": agen}
        took = -1.0

        async def main() -> Any:
            nonlocal took
            began = anyio.current_time()
            result = await flow.execute(mapped(wait, source[lazy], concurrency=concurrency), config=Config(**config))
            took = anyio.current_time() - began
            return result

        assert virtual(main)["m"] == list(range(20))
        assert (peak, now) == (most, 0)
        assert took == pytest.approx(-(-20 // most))

    @pytest.mark.parametrize("asynchronous", [False, True])
    def test_a_lazy_source_is_asked_as_slots_free_up(self, virtual: Any, asynchronous: bool) -> None:
        pulled = ended = widest = 0

        def pull() -> int:
            nonlocal pulled, widest
            pulled += 1
            widest = max(widest, pulled - ended)
            return pulled

        def endless() -> Iterator[int]:
            while True:
                yield pull()

        async def aendless() -> AsyncIterator[int]:
            while True:
                await anyio.sleep(0.001)
                yield pull()

        async def work(x: int) -> int:
            nonlocal ended
            await anyio.sleep(1 + x % 3)
            ended += 1
            return x

        dag = mapped(work, aendless if asynchronous else endless, concurrency=4, take=50)
        assert virtual(flow.execute, dag)["m"] == list(range(1, 51))
        assert (pulled, ended) == (50, 50)
        assert widest <= 4

    @pytest.mark.parametrize("asynchronous", [False, True])
    def test_items_that_wait_for_a_retry_bound_what_is_pulled(self, virtual: Any, asynchronous: bool) -> None:
        pulled, ended, widest = 0, 0, 0

        def pull() -> int:
            nonlocal pulled, widest
            pulled += 1
            widest = max(widest, pulled - ended)
            return pulled

        def endless() -> Iterator[int]:
            while True:
                yield pull()

        async def aendless() -> AsyncIterator[int]:
            while True:
                yield pull()

        async def work(x: int, ctx: Context) -> int:
            nonlocal ended
            await anyio.sleep(0.01)
            if ctx.attempt < 3:
                raise OSError(x)
            ended += 1
            return x

        source = aendless if asynchronous else endless
        dag = mapped(work, source, concurrency=4, take=500, retry=Retry(3, delay=100.0, jitter=0.0))
        result = virtual(lambda: flow.execute(dag, config=Config(clock=LoopClock())))
        assert result["m"] == list(range(1, 501))
        assert ended == 500
        assert widest <= (4 if asynchronous else 4 + 100)  # in flight, and the window of those that wait
        assert widest >= (4 if asynchronous else 100)

    def test_the_window_inline(self) -> None:
        pulled = ended = widest = 0

        def endless() -> Iterator[int]:
            nonlocal pulled, widest
            while True:
                pulled += 1
                widest = max(widest, pulled - ended)
                yield pulled

        def work(x: int, ctx: Context) -> int:
            nonlocal ended
            if ctx.attempt < 2:
                raise OSError(x)
            ended += 1
            return x

        clock = flow.testing.FakeClock()
        dag = mapped(work, endless, take=500, retry=Retry(2, delay=100.0))
        assert go(double, [1]) == [2]
        assert flow.run(dag, config=Config(clock=clock))["m"] == list(range(1, 501))
        assert 100 <= widest <= 102


class TestTheEnd:
    """Sources that raise, cancellation, time limits: everything awaited, nothing left, nothing lost silently."""

    @pytest.mark.parametrize("on_error", ["fail", "collect", "skip"])
    @pytest.mark.parametrize("asynchronous", [False, True])
    @pytest.mark.parametrize("after", [0, 3])
    def test_a_source_that_raises(
        self, mode: dict[str, Any], backend: str, on_error: Any, asynchronous: bool, after: int
    ) -> None:
        boom = KeyError("source")

        def gen() -> Iterator[int]:
            yield from range(after)
            raise boom

        async def agen() -> AsyncIterator[int]:
            for k in range(after):
                yield k
            await anyio.lowlevel.checkpoint()
            raise boom

        for fn in FUNCTIONS:
            vars(boom).clear()
            dag = mapped(fn, agen if asynchronous else gen, on_error=on_error)
            dag.add("next", lambda m: m)
            result = collected(dag, backend, **mode)
            assert result.errors == {"m": boom}
            assert boom.__notes__[0] == f"from the source of the items, after {after} of them"
            assert boom.__notes__[1].startswith("in node 'm' (")
            assert result.status["next"] is Status.SKIPPED
            assert boom.__traceback__ is not None
            assert boom.__traceback__.tb_frame.f_code.co_name in ("gen", "agen")

    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
    def test_a_source_or_an_item_that_ends_the_process(self, mode: dict[str, Any], backend: str, kind: Any) -> None:
        def gen() -> Iterator[int]:
            yield 1
            raise kind

        async def agen() -> AsyncIterator[int]:
            yield 1
            raise kind

        def exits(x: int) -> None:
            if x:
                raise kind

        async def aexits(x: int) -> None:
            await anyio.lowlevel.checkpoint()
            exits(x)

        config = Config(backend=backend, on_error="collect", **mode)  # type: ignore[arg-type]
        for fn, source in ((double, gen), (slow_double, gen), (double, agen), (slow_double, agen), (exits, [0, 1, 2]),
                           (aexits, [0, 1, 2])):  # fmt: skip
            for on_error in ("fail", "collect"):
                with pytest.raises(kind):
                    go(fn, source, config=config, on_error=on_error)

    def test_an_items_own_cancellation_is_its_failure(self, mode: dict[str, Any]) -> None:
        import asyncio

        async def cancels(x: int) -> int:
            await anyio.lowlevel.checkpoint()
            if x == 1:
                raise asyncio.CancelledError
            return x

        result = flow.run(mapped(cancels, [0, 1, 2], on_error="collect"), config=Config(**mode))["m"]
        assert (result.values, list(result.errors)) == ([0, 2], [1])
        assert isinstance(result.errors[1], flow.NodeCancelled)
        assert str(result.errors[1]) == "node 'm[1]' raised CancelledError by itself"

    def test_a_sources_own_cancellation_loses_nothing_silently(self, mode: dict[str, Any]) -> None:
        import asyncio

        def gen() -> Iterator[int]:
            yield 1
            raise asyncio.CancelledError

        async def agen() -> AsyncIterator[int]:
            yield 1
            raise asyncio.CancelledError

        for source in (gen, agen):
            error = collected(mapped(slow_double, source, on_error="skip"), **mode).errors["m"]
            assert isinstance(error, flow.NodeCancelled)

    @pytest.mark.parametrize("source", ["list", "generator", "async generator"])
    @pytest.mark.parametrize("how", ["cancelled", "timeout", "fail_fast"])
    def test_everything_is_awaited(self, virtual: Any, source: str, how: str) -> None:
        import asyncio

        started: list[int] = []
        cleaned: list[int] = []
        closed: list[str] = []

        async def work(x: int) -> None:
            started.append(x)
            try:
                await anyio.sleep(100)
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0.01)
                cleaned.append(x)

        def gen() -> Iterator[int]:
            try:
                yield from range(10)
            finally:
                closed.append("gen")

        async def agen() -> AsyncIterator[int]:
            try:
                for k in range(10):
                    yield k
                    await anyio.lowlevel.checkpoint()
            finally:
                closed.append("agen")

        async def bad() -> None:
            await anyio.sleep(1)
            raise ValueError

        sources: dict[str, Any] = {"list": range(10), "generator": gen, "async generator": agen}
        dag = mapped(work, sources[source], concurrency=4)
        if how == "fail_fast":
            dag.add("bad", bad)
        config = Config(timeout=1.0 if how == "timeout" else None)

        async def main() -> None:
            began = anyio.current_time()
            with anyio.move_on_after(1.0 if how == "cancelled" else None) as scope:
                with pytest.raises(flow.RunError) if how != "cancelled" else anyio.CancelScope() as caught:
                    await flow.execute(dag, config=config)
                if how != "cancelled":
                    error = caught.value
                    assert error.result.status["m"] is Status.CANCELLED
                    assert error.timed_out == (how == "timeout")
                    assert error.nodes == (("bad",) if how == "fail_fast" else ())
            assert scope.cancelled_caught == (how == "cancelled")
            assert anyio.current_time() - began == pytest.approx(1.01)
            assert started == sorted(cleaned) == [0, 1, 2, 3]
            if virtual.name == "asyncio":
                assert asyncio.all_tasks() == {asyncio.current_task()}

        virtual(main)
        gc.collect()
        assert closed == ({"list": [], "generator": ["gen"], "async generator": ["agen"]}[source])

    def test_an_asynchronous_source_left_halfway_is_closed(self, backend: str) -> None:
        closed: list[str] = []

        async def agen() -> AsyncIterator[int]:
            try:
                while True:
                    yield 1
            finally:
                await anyio.lowlevel.checkpoint()
                closed.append("closed")

        config = Config(backend=backend)  # type: ignore[arg-type]
        assert go(double, agen, take=3, config=config) == [2, 2, 2]
        assert closed == ["closed"]

        def bad(x: int) -> None:
            raise ValueError(x)

        with pytest.raises(flow.RunError):
            go(bad, agen, config=config)

    def test_no_sleep_for_retries_once_the_source_is_broken(self) -> None:
        def gen() -> Iterator[int]:
            yield 1
            raise KeyError

        def bad(x: int) -> None:
            raise OSError

        for pipelined in (False, True):
            clock = flow.testing.FakeClock()
            dag = mapped(bad, gen, retry=Retry(2, delay=60.0))
            if pipelined:
                dag.map("n", double, over="m", pipelined=True)
            assert isinstance(error_of(dag, clock=clock).exceptions[0], KeyError)
            assert clock.slept == []


class TestErrors:
    def failing(self, *indices: int, waits: bool = False) -> Any:
        def fn(x: int) -> int:
            if x in indices:
                raise ValueError(x)
            return x

        async def afn(x: int) -> int:
            await anyio.lowlevel.checkpoint()
            return fn(x)

        return afn if waits else fn

    @pytest.mark.parametrize("bad", [0, 2, 4])
    def test_one_item_fails_with_its_own_exception(self, mode: dict[str, Any], backend: str, bad: int) -> None:
        boom = ValueError("mine")

        def fn(x: int) -> int:
            if x == bad:
                raise boom
            return x

        async def afn(x: int) -> int:
            await anyio.lowlevel.checkpoint()
            return fn(x)

        for f in (fn, afn):
            vars(boom).clear()
            error = error_of(mapped(f, range(5)), backend=backend, **mode)
            assert error.exceptions == (boom,)
            line = f.__code__.co_firstlineno
            assert boom.__notes__ == [f"in item {bad} ({bad}) of map 'm'", f"in node 'm' ({__file__}:{line})"]
            assert boom.__traceback__ is not None
            assert boom.__traceback__.tb_frame.f_code is f.__code__, "the traceback begins in the user's function"
            assert error.result.status["m"] is Status.FAILED

    def test_several_at_once_are_a_group(self, virtual: Any) -> None:
        async def fn(x: int) -> int:
            await anyio.sleep(1)
            raise (KeyError if x % 2 else ValueError)(x)

        with pytest.raises(flow.RunError) as caught:
            virtual(flow.execute, mapped(fn, range(3)))
        (error,) = caught.value.exceptions
        assert isinstance(error, flow.MapError)
        assert str(error) == "3 items of map 'm' failed: 0, 1, 2 (3 sub-exceptions)"
        assert error.indices == (0, 1, 2)
        assert [type(e) for e in error.exceptions] == [ValueError, KeyError, ValueError]
        assert error.exceptions[1].__notes__ == ["in item 1 (1) of map 'm'"]
        seen = []
        try:
            raise error
        except* KeyError as group:
            seen.append((type(group), group.indices))  # type: ignore[attr-defined]
        except* ValueError as group:
            seen.append((type(group), group.indices))  # type: ignore[attr-defined]
        assert seen == [(flow.MapError, (1,)), (flow.MapError, (0, 2))]

    def test_many_failures_are_named_shortly(self) -> None:
        result = go(self.failing(*range(30)), range(30), on_error="collect")
        with pytest.raises(flow.MapError, match="30 items of map 'm' failed: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 20 more"):
            result.raise_for_errors()

    def test_nothing_more_is_started_after_a_failure(self, mode: dict[str, Any]) -> None:
        seen: list[int] = []

        def fn(x: int) -> None:
            seen.append(x)
            raise ValueError(x)

        settings = mode | {"limit": 1}
        assert isinstance(failure_of(fn, range(100), settings=settings), ValueError)
        assert seen == [0]

    def test_hostile_reprs(self) -> None:
        class Hostile:
            def __repr__(self) -> str:
                raise RuntimeError("no")

        def fn(x: Any) -> None:
            raise ValueError("boom")

        error = failure_of(fn, [Hostile()])
        assert error.__notes__[0] == "in item 0 (<Hostile without a usable repr>) of map 'm'"
        error = failure_of(fn, ["x" * 10_000])
        assert len(error.__notes__[0]) < 200
        assert "(10000 characters)" in error.__notes__[0]

    def test_exceptions_that_take_no_notes(self) -> None:
        class Frozen(Exception):
            def add_note(self, note: str) -> None:
                raise AttributeError

            def with_traceback(self, tb: Any) -> Any:
                raise AttributeError

        boom = Frozen()

        def fn(x: int) -> None:
            raise boom

        assert failure_of(fn, [1]) is boom
        assert go(fn, [1], on_error="collect").errors == {0: boom}

    def test_one_object_raised_by_many_items(self) -> None:
        boom = ValueError("shared")

        def fn(x: int) -> None:
            raise boom

        result = go(fn, range(100), on_error="collect")
        assert set(map(id, result.errors.values())) == {id(boom)}
        assert len(boom.__notes__) <= 20
        with pytest.raises(ValueError) as caught:
            result.raise_for_errors()
        assert caught.value is boom

    def test_collect(self, mode: dict[str, Any], backend: str) -> None:
        config = Config(backend=backend, **mode)  # type: ignore[arg-type]
        for waits in (False, True):
            result = go(self.failing(1, 3, waits=waits), range(5), on_error="collect", config=config)
            assert isinstance(result, MapResult)
            assert (result.values, list(result)) == ([0, 2, 4], [0, 2, 4])
            assert result.items() == [(0, 0), (2, 2), (4, 4)]
            assert list(result.errors) == [1, 3]
            assert (result.completed, result.failed, len(result), result.ok) == (3, 2, 5, False)
            assert (result[0], result[-1], result.keys) == (0, 4, None)
            with pytest.raises(ValueError) as caught:
                result[1]
            assert caught.value is result.errors[1]
            with pytest.raises(flow.MapError) as group:
                result.raise_for_errors()
            assert group.value.indices == (1, 3)
            assert repr(result) == (
                "<MapResult of 'm': 3 of 5 items completed\n  item 1: ValueError: 1\n  item 3: ValueError: 3>"
            )

    def test_a_map_result(self) -> None:
        whole = go(double, range(3), on_error="collect")
        assert whole == go(double, range(3), on_error="collect")
        assert whole != go(double, range(4), on_error="collect")
        assert whole != [0, 2, 4]
        assert (whole.ok, whole.errors, repr(whole)) == (True, {}, "<MapResult of 'm': 3 of 3 items completed>")
        assert whole.raise_for_errors() is None
        with pytest.raises(TypeError, match="unhashable"):
            hash(whole)
        for index in (3, -4, True, "0", 1.0):
            with pytest.raises(flow.UsageError, match=f"map 'm' has 3 items; there is none at {index!r}"):
                whole[index]
        many = go(self.failing(*range(9)), range(9), on_error="collect")
        assert repr(many).endswith("\n  ... and 4 more errors>")
        keyed = go(lambda x: 1 // x, {"a": 1, "b": 0}, on_error="collect")
        assert (keyed.keys, keyed.items(), list(keyed.errors)) == (["a", "b"], [("a", 1)], [1])

    def test_skip(self, mode: dict[str, Any], backend: str) -> None:
        config = Config(backend=backend, **mode)  # type: ignore[arg-type]
        for waits in (False, True):
            assert go(self.failing(0, 2, 4, waits=waits), range(5), on_error="skip", config=config) == [1, 3]
            assert go(self.failing(*range(5), waits=waits), range(5), on_error="skip", config=config) == []

    def test_a_batchs_error_is_that_of_its_items(self, mode: dict[str, Any], backend: str) -> None:
        config = Config(backend=backend, **mode)  # type: ignore[arg-type]

        def batch(items: list[int]) -> list[int]:
            if 2 in items or 6 in items:
                raise ValueError(items)
            return items

        result = go(batch, range(7), batch_size=2, on_error="collect", config=config)
        assert result.items() == [(0, 0), (1, 1), (4, 4), (5, 5)]
        assert {i: e.args for i, e in result.errors.items()} == {2: ([2, 3],), 3: ([2, 3],), 6: ([6],)}
        assert result.errors[2].__notes__ == ["in the batch from item 2 ([2, 3]) of map 'm'"]
        assert go(batch, range(7), batch_size=2, on_error="skip", config=config) == [0, 1, 4, 5]
        error = failure_of(batch, range(5), batch_size=3)
        assert error.args == ([0, 1, 2],)


class TestRetryAndTimeout:
    @pytest.mark.parametrize("options", [{}, {"thread": True}])
    def test_only_what_failed_is_tried_again(self, mode: dict[str, Any], backend: str, options: Any) -> None:
        clock = flow.testing.FakeClock()
        lock = threading.Lock()
        calls: dict[int, list[int]] = {}

        def flaky(x: int, ctx: Context) -> int:
            with lock:
                calls.setdefault(x, []).append(ctx.attempt)
            if ctx.attempt <= x % 3:
                raise OSError(x)
            return 10 * x

        async def aflaky(x: int, ctx: Context) -> int:
            await anyio.lowlevel.checkpoint()
            return flaky(x, ctx)

        config = Config(backend=backend, clock=clock, **mode)  # type: ignore[arg-type]
        retry = Retry(3, delay=1.0, multiplier=2.0)
        for fn in (flaky,) if options else (flaky, aflaky):
            calls.clear()
            assert go(fn, range(7), retry=retry, config=config, **options) == [10 * x for x in range(7)]
            assert calls == {x: list(range(1, x % 3 + 2)) for x in range(7)}
        calls.clear()
        result = go(flaky, range(4), retry=Retry(2, delay=1.0), on_error="collect", config=config, **options)
        assert (result.values, list(result.errors)) == ([0, 10, 30], [2])
        assert result.errors[2].__notes__ == ["in item 2 (2) of map 'm', attempt 2"]
        assert calls == {0: [1], 1: [1, 2], 2: [1, 2], 3: [1]}

    def test_delays_inline(self) -> None:
        clock = flow.testing.FakeClock()

        def flaky(x: int, ctx: Context) -> int:
            if ctx.attempt < 3:
                raise OSError
            return x

        assert go(flaky, [7], retry=Retry(3, delay=1.0, multiplier=3.0), config=Config(clock=clock)) == [7]
        assert clock.slept == [1.0, 3.0]

    def test_the_node_itself_is_not_tried_again(self) -> None:
        calls: list[int] = []

        def bad(x: int) -> None:
            calls.append(x)
            raise OSError(x)

        result = collected(mapped(bad, [1], retry=Retry(3, delay=0.0)))
        assert calls == [1, 1, 1]
        assert result.attempts["m"] == 1

    def test_limits_are_each_items(self, virtual: Any) -> None:
        async def work(x: int) -> int:
            await anyio.sleep(x)
            return x

        def run(**options: Any) -> Any:
            config = Config(clock=LoopClock())
            return virtual(lambda: flow.execute(mapped(work, [0.1, 5, 0.2], **options), config=config))["m"]

        result = run(timeout=1.0, on_error="collect", concurrency=1)
        assert result.values == [0.1, 0.2]
        assert str(result.errors[1]) == "node 'm[1]' exceeded its attempt limit of 1 s"
        assert isinstance(result.errors[1], flow.NodeTimeout)
        result = run(timeout=Timeout(node=2.5, attempt=1.0), retry=Retry(9, delay=0.0), on_error="collect")
        assert str(result.errors[1]) == "node 'm[1]' exceeded its overall limit of 2.5 s"
        assert result.errors[1].__notes__ == ["in item 1 (5) of map 'm', attempt 3"]

    def test_limits_of_sync_items(self) -> None:
        clock = flow.testing.FakeClock()

        def work(x: float) -> float:
            clock.sleep(x)
            return x

        result = go(work, [0.1, 5.0, 0.2], timeout=1.0, on_error="collect", config=Config(clock=clock))
        assert result.values == [0.1, 0.2]
        assert str(result.errors[1]).startswith("node 'm[1]' exceeded its attempt limit of 1 s: it took 5 s")

    @pytest.mark.parametrize("options", [{"thread": True}, {"config": {"sync": "thread"}}])
    def test_items_in_threads(self, backend: str, options: dict[str, Any]) -> None:
        here = threading.get_ident()
        both = threading.Barrier(2, timeout=20)

        def work(x: int) -> bool:
            both.wait()
            return threading.get_ident() != here

        config = Config(backend=backend, threads=2, **options.get("config", {}))  # type: ignore[arg-type]
        dag = mapped(work, range(4), timeout=20.0, thread="thread" in options)
        assert flow.run(dag, config=config)["m"] == [True] * 4


class TestWhatIsSeen:
    def test_events(self, backend: str) -> None:
        seen: list[Any] = []
        clock = flow.testing.FakeClock()

        def fn(x: int, ctx: Context) -> int:
            if x == 1 or (x == 2 and ctx.attempt == 1):
                raise ValueError(x)
            return x

        async def afn(x: int, ctx: Context) -> int:
            return fn(x, ctx)

        retry = Retry(2, delay=1.0, retry_if=lambda e: e.args == (2,))
        for f in (fn, afn):
            seen.clear()
            config = Config(observers=[seen.append], clock=clock, backend=backend)  # type: ignore[arg-type]
            go(f, range(4), on_error="skip", retry=retry, config=config)
            mine = [e for e in seen if type(e).__name__.startswith(("Map", "Item"))]
            assert (type(mine[0]).__name__, mine[0].node, mine[0].items) == ("MapStarted", "m", 4)
            ends = sorted((e.index, type(e).__name__, getattr(e, "attempt", None)) for e in mine[1:])
            assert ends == [
                (0, "ItemFinished", None), (1, "ItemFailed", 1), (2, "ItemFinished", None), (2, "ItemRetried", 1),
                (3, "ItemFinished", None),
            ]  # fmt: skip
            assert {e.run_id for e in seen} == {seen[0].run_id}
            assert next(e.delay for e in mine if type(e).__name__ == "ItemRetried") == 1.0

    def test_how_many_items_are_announced(self) -> None:
        seen: list[Any] = []
        config = Config(observers=[lambda e: seen.append(e) if type(e).__name__ == "MapStarted" else None])
        for source, options, count in (
            ([1, 2, 3], {}, 3), ([1, 2, 3], {"take": 2}, 2), ([1, 2, 3], {"batch_size": 2}, 2),
            (lambda: (x for x in [1]), {}, None), ({"a": 1}, {}, 1),
        ):  # fmt: skip
            seen.clear()
            go(lambda x: x, source, config=config, **options)
            assert [e.items for e in seen] == [count]
        dag = flow.Dag("d")
        dag.map("a", lambda x: 1 // x, over="xs", on_error="collect")
        dag.map("b", double, over="a")
        seen.clear()
        flow.run(dag, {"xs": [1, 0, 2]}, config=config)
        assert [e.items for e in seen] == [3, 2], "only what completed is gone over"

    def test_middleware_is_the_nodes(self) -> None:
        seen: list[Any] = []

        def layer(next: Any, ctx: Context) -> Any:
            value = next()
            seen.append((ctx.node, value))
            return value

        assert go(double, [1, 2], middleware=[layer]) == [2, 4]
        assert seen == [("m", [2, 4])]

    def test_the_plan_shows_maps(self) -> None:
        plan = mapped(double, [1]).compile()
        assert repr(plan.fns[1]).endswith(" for each of xs>")


class Big:
    pass


class TestMemory:
    @pytest.mark.parametrize("source", ["list", "generator", "async generator"])
    @pytest.mark.parametrize("kind", ["sync", "async", "waits", "context", "thread", "timeout", "observed", "chain"])
    def test_results_are_freed_without_the_garbage_collector(self, kind: str, source: str) -> None:
        refs: list[Any] = []

        def make(x: int) -> Big:
            big = Big()
            refs.append(weakref.ref(big))
            return big

        async def amake(x: int) -> Big:
            return make(x)

        async def waits(x: int) -> Big:
            await anyio.lowlevel.checkpoint()
            return make(x)

        def contexts(x: int, ctx: Context) -> Big:
            ctx.data["mine"] = make(x)
            ctx.publish("all", make(x), "append")
            return make(x)

        async def agen() -> AsyncIterator[int]:
            for k in range(4):
                yield k

        sources: dict[str, Any] = {"list": [1, 2, 3, 4], "generator": lambda: iter([1, 2, 3, 4])}
        fn: Any = {"async": amake, "waits": waits, "context": contexts}.get(kind, make)
        options: dict[str, Any] = {"thread": kind == "thread", "timeout": 5.0 if kind == "timeout" else None}
        dag = mapped(fn, sources.get(source, agen), **options)
        if kind == "chain":
            dag.map("n", waits, over="m", pipelined=True)
        config = Config(observers=[lambda e: None] if kind == "observed" else [])
        flow.run(dag, config=config)
        gc.collect()
        gc.disable()
        try:
            refs.clear()
            result = flow.run(dag, config=config)
            assert len(result["m"]) == 4
            del result
            alive = [ref for ref in refs if ref() is not None]
            if sys.version_info >= (3, 12):
                assert not alive
        finally:
            gc.enable()

    @pytest.mark.parametrize("backend", ["asyncio", "trio"])
    @pytest.mark.parametrize("options", [{"retry": Retry(2, delay=1.0)}, {"on_error": "skip"}], ids=["retry", "skip"])
    @pytest.mark.parametrize("waits", [False, True])
    def test_so_are_those_beside_failures(self, waits: bool, options: Any, backend: str) -> None:
        refs: list[Any] = []

        def fn(x: int, ctx: Context) -> Big:
            if x in (0, 3) and ctx.attempt == 1:
                raise ValueError
            big = Big()
            refs.append(weakref.ref(big))
            return big

        async def afn(x: int, ctx: Context) -> Big:
            await anyio.lowlevel.checkpoint()
            return fn(x, ctx)

        dag = mapped(afn if waits else fn, range(4), **options)
        config = Config(backend=backend, clock=flow.testing.FakeClock())  # type: ignore[arg-type]
        flow.run(dag, config=config)
        gc.collect()
        gc.disable()
        try:
            refs.clear()
            assert len(flow.run(dag, config=config)["m"]) == len(refs) == (4 if "retry" in options else 2)
            alive = [ref for ref in refs if ref() is not None]
            if sys.version_info >= (3, 12):
                assert not alive
        finally:
            gc.enable()

    @pytest.mark.parametrize("waits", [False, True])
    def test_items_are_let_go_when_they_are_done(self, waits: bool) -> None:
        def endless() -> Iterator[bytearray]:
            while True:
                yield bytearray(1_000_000)

        async def fn(item: bytearray) -> int:
            if waits:
                await anyio.lowlevel.checkpoint()
            return len(item)

        dag = mapped(fn, endless, concurrency=5, take=200)
        flow.run(dag)
        tracemalloc.start()
        try:
            assert sum(flow.run(dag)["m"]) == 200_000_000
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 9_000_000  # five in flight, one being pulled, and a little

    def test_inline_holds_one_item_at_a_time(self) -> None:
        def endless() -> Iterator[bytearray]:
            while True:
                yield bytearray(1_000_000)

        for options in ({}, {"timeout": 5.0}, {"batch_size": 1}):
            fn: Any = (lambda items: [len(items[0])]) if "batch_size" in options else len
            dag = mapped(fn, endless, take=100, **options)
            tracemalloc.start()
            try:
                assert sum(flow.run(dag)["m"]) == 100_000_000
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert peak < 4_000_000


TYPED = """
from __future__ import annotations
from typing import Any, assert_type
import flow

dag = flow.Dag("d")
def size(x: str) -> int: return len(x)
async def asize(x: str) -> int: return len(x)

assert_type(dag.map("a", size, over="xs"), flow.NodeRef[list[int]])
assert_type(dag.map("b", asize, over="xs"), flow.NodeRef[list[int]])
assert_type(dag.map("c", size, over="xs", on_error="skip", concurrency=3), flow.NodeRef[list[int]])
assert_type(dag.map("d", size, over="xs", on_error="collect"), flow.NodeRef[flow.MapResult[int]])
e = dag.map("e", asize, over="xs", on_error="collect", retry=flow.Retry(2))
assert_type(e, flow.NodeRef[flow.MapResult[int]])
assert_type(dag.reduce("f", lambda a, b: a + 1, over=e, start=0), flow.NodeRef[int])
assert_type(dag.flat_map("g", size, over=["xs", e]), flow.NodeRef[list[Any]])
assert_type(dag.filter("h", size, over=e), flow.NodeRef[list[Any]])
result = flow.run(dag)
assert_type(result[e], flow.MapResult[int])
assert_type(result[e].values, list[int])
assert_type(result[e][0], int)
"""


def test_types(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    file = tmp_path / "typed.py"
    file.write_text(TYPED, "utf-8")
    root = Path(__file__).parents[1]
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", str(file)],
        cwd=root, capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
