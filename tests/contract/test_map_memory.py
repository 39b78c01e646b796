"""What a map holds on to: results and items are let go when they are done."""

from __future__ import annotations

import gc
import sys
import tracemalloc
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from map_cases import mapped

import flow
from flow import Config, Context, Retry

pytestmark = pytest.mark.usefixtures("frozen")


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
