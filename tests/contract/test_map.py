"""Dag.map, flat_map, filter and reduce: what they go over and return, on every way to run."""

from __future__ import annotations

import operator
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from conftest import error_of
from map_cases import FUNCTIONS, SOURCES, Stream, double, failure_of, go, mapped, slow_double, stream

import flow
from flow import Config, Context, Retry, Status


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
            (None, "it is a NoneType, None: does the node that provides it return it?"),
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
        assert repr(dag.compile()._nodes.fns[0]) == "<fold of xs by <built-in function add>>"

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
