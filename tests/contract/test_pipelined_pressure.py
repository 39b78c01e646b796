"""Back-pressure of pipelined maps: a source is asked for nothing while enough results wait for a later map."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio.lowlevel
import pytest

import flow
from flow import Config, Context, Retry
from flow.testing import FakeClock

COUNT = 400


class Flow:
    """Counts the items between the source and the end of the last map, on a clock of its own."""

    def __init__(self, backend: str) -> None:
        self.clock = FakeClock()
        self.backend = backend
        self.pulled = self.ended = self.most = 0

    def _came(self, k: int) -> int:
        self.pulled += 1
        self.most = max(self.most, self.pulled - self.ended)
        return k

    def lazy(self) -> Iterator[int]:
        for k in range(COUNT):
            yield self._came(k)

    async def stream(self) -> AsyncIterator[int]:
        for k in range(COUNT):
            yield self._came(k)

    def quick(self, x: int) -> int:
        return x

    async def soon(self, x: int) -> int:
        await anyio.lowlevel.checkpoint()
        return x

    async def slow(self, x: int) -> int:
        await self.clock.wait(1.0)
        self.ended += 1
        return x

    def run(self, dag: flow.Dag, **settings: Any) -> flow.Result:
        config = Config(backend=self.backend, clock=self.clock, **settings)  # type: ignore[arg-type]
        return flow.run(dag, config=config)


@pytest.fixture
def items(backend: str) -> Flow:
    return Flow(backend)


def dag_of(source: Callable[..., Any], first: Any, last: Any, **options: Any) -> flow.Dag:
    dag = flow.Dag("d")
    dag.add("xs", source)
    dag.map("first", first, over="xs", concurrency=4)
    dag.map("last", last, over="first", pipelined=True, **{"concurrency": 2, **options})
    return dag


ALL = list(range(COUNT))


class TestBound:
    """At most 4 + 2 results wait, 4 items are in the first map and 2 in the last, and one is at hand."""

    @pytest.mark.parametrize("source", ["lazy", "stream"])
    @pytest.mark.parametrize("first", ["quick", "soon"])
    def test_sources_and_functions(self, items: Flow, source: str, first: str) -> None:
        result = items.run(dag_of(getattr(items, source), getattr(items, first), items.slow))
        assert result["last"] == ALL
        assert 2 < items.most <= 18

    @pytest.mark.parametrize("settings", [{"limit": 1}, {"limit": 3}, {"limit": "auto"}, {"executor": "thread"}])
    def test_limits_of_the_run(self, items: Flow, settings: dict[str, Any]) -> None:
        assert items.run(dag_of(items.stream, items.quick, items.slow), **settings)["last"] == ALL
        assert items.most <= 18

    def test_concurrency_that_adapts(self, items: Flow) -> None:
        dag = dag_of(items.stream, items.soon, items.slow, concurrency="auto")
        assert items.run(dag, limit=8)["last"] == ALL
        assert items.most <= 40

    def test_three_maps_in_a_row_and_a_branch(self, items: Flow) -> None:
        dag = dag_of(items.lazy, items.soon, items.soon)
        dag.map("end", items.slow, over="last", pipelined=True, concurrency=2)
        dag.map("beside", items.soon, over="first", pipelined=True, concurrency=1)
        result = items.run(dag)
        assert result["end"] == result["beside"] == ALL
        assert items.most <= 30

    def test_batches(self, items: Flow) -> None:
        async def store(batch: list[int]) -> list[int]:
            await items.clock.wait(1.0)
            items.ended += len(batch)
            return batch

        for wait in (None, 0.5):
            items.pulled = items.ended = items.most = 0
            dag = dag_of(items.stream, items.soon, store, batch_size=7, batch_wait=wait)
            assert items.run(dag)["last"] == ALL
            assert 7 < items.most <= 60

    def test_a_slow_map_that_is_tried_again(self, items: Flow) -> None:
        async def flaky(x: int, ctx: Context) -> int:
            await items.clock.wait(1.0)
            if x % 3 == 0 and ctx.attempt == 1:
                raise OSError
            items.ended += 1
            return x

        retry = Retry(2, delay=3.0, jitter=0.0)
        assert items.run(dag_of(items.lazy, items.soon, flaky, retry=retry))["last"] == ALL
        assert items.most <= 40  # (what waits for another attempt holds no slot)

    def test_slots_given_back(self, items: Flow) -> None:
        async def released(x: int, ctx: Context) -> int:
            async with ctx.released():
                await items.clock.wait(1.0)
            return await items.slow(x)

        assert items.run(dag_of(items.stream, items.soon, released))["last"] == ALL

    def test_the_first_map_is_not_held_while_the_last_keeps_up(self, items: Flow) -> None:
        """Its four slots are all in use: 100 rounds of a second, whatever the last one does meanwhile."""

        async def late(x: int) -> int:
            await items.clock.wait(1.0)
            return x

        async def brief(x: int) -> int:
            await items.clock.wait(0.4)
            return x

        assert items.run(dag_of(items.lazy, late, brief))["last"] == ALL
        assert items.clock.now() == pytest.approx(COUNT / 4 + 0.8, abs=1.0)


class TestEnds:
    def test_a_later_map_that_fails_lets_the_first_go_on(self, items: Flow) -> None:
        async def fails(x: int) -> int:
            await items.clock.wait(1.0)
            raise ValueError("last")

        with pytest.raises(flow.RunError) as caught:
            items.run(dag_of(items.stream, items.soon, fails))
        assert items.pulled == COUNT
        assert caught.value.result.status["first"] == "completed"

    @pytest.mark.parametrize("source", ["lazy", "stream"])
    def test_the_run_is_over_while_the_source_is_held(self, items: Flow, source: str) -> None:
        async def fails() -> None:
            await items.clock.wait(5.5)
            raise ValueError("beside")

        dag = dag_of(getattr(items, source), items.quick, items.slow)
        dag.add("fails", fails)
        with pytest.raises(flow.RunError) as caught:
            items.run(dag)
        assert caught.value.result.status["first"] == "cancelled"
        assert 8 <= items.ended <= 12
        assert items.most <= 18

    def test_without_a_loop_each_item_goes_through(self) -> None:
        items = Flow("asyncio")

        def last(x: int) -> int:
            items.ended += 1
            return x

        assert items.run(dag_of(items.lazy, items.quick, last), mode="inline")["last"] == ALL
        assert items.most == 1
