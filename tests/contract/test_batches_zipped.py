"""Batches of zipped items: one list of tuples, for one parameter, and the rest wired as of any map."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import flow
from flow import Config, Context

PAIRS = {"xs": [1, 2, 3], "ys": [7, 8, 9]}


def zipped(kind: str, fn: Any, **options: Any) -> flow.Dag:
    dag = flow.Dag("d")
    getattr(dag, kind)("m", fn, ["xs", "ys"], batch_size=2, **options)
    return dag


def given(fn: Any, backend: str = "asyncio", kind: str = "map", inputs: Any = PAIRS, **options: Any) -> Any:
    return flow.run(zipped(kind, fn, **options), inputs, config=Config(backend=backend))["m"]  # type: ignore[arg-type]


def sums(pairs: list[tuple[int, int]]) -> list[int]:
    return [x + y for x, y in pairs]


async def asums(pairs: list[tuple[int, int]]) -> list[int]:
    return sums(pairs)


@pytest.mark.parametrize("fn", [sums, asums])
class TestTheFirstParameterGetsTheTuples:
    def test_map(self, fn: Any, backend: str) -> None:
        seen: list[Any] = []

        def noted(pairs: list[Any]) -> list[Any]:
            seen.append(pairs)
            return pairs

        assert given(noted, backend) == [(1, 7), (2, 8), (3, 9)]
        assert seen == [[(1, 7), (2, 8)], [(3, 9)]]
        assert given(fn, backend) == [8, 10, 12]

    def test_waits_keys_and_threads(self, fn: Any, backend: str) -> None:
        assert given(fn, backend, batch_wait=0.5) == [8, 10, 12]
        assert given(fn, backend, key=lambda pair: pair[1]) == {7: 8, 8: 10, 9: 12}
        assert list(given(fn, backend, on_error="collect").values) == [8, 10, 12]
        if fn is sums:
            assert given(fn, backend, thread=True) == [8, 10, 12]

    def test_filter_and_flat_map(self, fn: Any, backend: str) -> None:
        def odd(pairs: list[tuple[int, int]]) -> list[bool]:
            return [x % 2 == 1 for x, _ in pairs]

        def both(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
            return pairs

        assert given(odd, backend, "filter") == [(1, 7), (3, 9)]
        assert given(both, backend, "flat_map") == [1, 7, 2, 8, 3, 9]

    def test_lazy_and_async_sources(self, fn: Any, backend: str) -> None:
        def lazy() -> Iterator[int]:
            yield from PAIRS["xs"]

        async def awaited() -> AsyncIterator[int]:
            for y in PAIRS["ys"]:
                yield y

        for wait in (None, 0.5):
            assert given(fn, backend, inputs={"xs": lazy(), "ys": PAIRS["ys"]}, batch_wait=wait) == [8, 10, 12]
            if fn is asums:
                assert given(fn, backend, inputs={"xs": lazy(), "ys": awaited()}, batch_wait=wait) == [8, 10, 12]

    def test_a_pipelined_map_after_it(self, fn: Any, backend: str) -> None:
        """The map with batches comes last: zipped items, then batches of what is made of them."""
        dag = flow.Dag("d")
        dag.map("pairs", lambda x, y: (x, y), ["xs", "ys"])
        dag.map("m", fn, "pairs", batch_size=2, pipelined=True)
        assert flow.run(dag, PAIRS, config=Config(backend=backend))["m"] == [8, 10, 12]  # type: ignore[arg-type]


class TestOtherParameters:
    def test_are_wired_as_of_any_map(self) -> None:
        def fn(pairs: list[Any], index: int, scale: int, ctx: Context, more: int = 5) -> list[Any]:
            return [(pair, index, scale, ctx.index, more) for pair in pairs]

        dag = zipped("map", fn)
        dag.add("scale", lambda: 10)
        assert flow.run(dag, PAIRS)["m"] == [((1, 7), 0, 10, 0, 5), ((2, 8), 0, 10, 0, 5), ((3, 9), 2, 10, 2, 5)]
        assert given(lambda pairs, ys: [(pair, ys) for pair in pairs])[0] == ((1, 7), [7, 8, 9])

    def test_item_args_and_keyword_only(self) -> None:
        assert given(lambda scale, item: item, inputs={**PAIRS, "scale": 1}) == [(1, 7), (2, 8), (3, 9)]
        assert given(lambda *batches: batches[0] if len(batches) == 1 else batches) == [(1, 7), (2, 8), (3, 9)]
        assert given(lambda pairs, *, b: [b] * len(pairs), inputs={**PAIRS, "b": 4}) == [4, 4, 4]

    def test_a_function_of_parts_misses_an_input_before_anything_runs(self) -> None:
        called: list[Any] = []
        with pytest.raises(flow.InputError, match="input 'b' is missing: node 'm'"):
            given(lambda a, b: called.append(a))
        assert called == []


def nothing() -> list[int]:
    return []


class TestRefusals:
    def test_parameters_called_as_the_sources(self) -> None:
        def typed(xs: list[int], ys: list[int]) -> list[int]:
            return xs

        for kind in ("map", "filter", "flat_map"):
            with pytest.raises(flow.DefinitionError) as caught:
                zipped(kind, typed).compile()
            assert "with batch_size the function of this map gets one list of tuples, and not its parts" in str(
                caught.value
            )
            assert "'xs', 'ys' name sources" in str(caught.value)

    def test_no_parameter_for_the_batch(self) -> None:
        with pytest.raises(flow.DefinitionError, match="no parameter for its item: call one 'item', or let the first"):
            zipped("map", nothing).compile()

    def test_a_dag_gets_the_batch_at_its_only_input(self) -> None:
        inner, seen = flow.Dag("inner"), []
        inner.add("sums", lambda pairs: seen.append(pairs))
        given(inner, on_error="collect")  # (what a Dag gives is no list of results)
        assert seen == [[(1, 7), (2, 8)], [(3, 9)]]
