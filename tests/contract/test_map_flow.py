"""A map in time: order, bounds, back-pressure, and how it ends."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from conftest import LoopClock, collected, error_of
from map_cases import FUNCTIONS, double, go, mapped, slow_double

import flow
from flow import Config, Context, Retry, Status

pytestmark = pytest.mark.usefixtures("frozen")


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
        assert isinstance(result.errors[1], flow.errors.NodeCancelled)
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
            assert isinstance(error, flow.errors.NodeCancelled)

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
