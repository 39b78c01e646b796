"""Maps with batches that are pipelined: filled by the items that the map before hands over, in whatever order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from conftest import collected, error_of

import flow
from flow import Config, Context, Retry, Status
from flow.testing import FakeClock

FAR = 1e6


class World:
    """Items that are there, which the first map has after so many seconds each; and what came in batches after it."""

    def __init__(self, backend: str, **seconds: float) -> None:
        self.clock = FakeClock()
        self.backend = backend
        self.seconds = {int(name[1:]): value for name, value in seconds.items()}
        self.calls: list[tuple[float, int, list[int]]] = []
        self.work = 0.0

    async def fetch(self, item: int) -> int:
        seconds = self.seconds.get(item, 0.0)
        if seconds:
            await self.clock.wait(seconds)
        return 10 * item

    async def store(self, batch: list[int], index: int) -> list[int]:
        self.calls.append((self.clock.now(), index, batch))
        if self.work:
            await self.clock.wait(self.work)
        return [item + 1 for item in batch]

    def dag(self, fn: Any = None, first: Any = None, **options: Any) -> flow.Dag:
        dag = flow.Dag("d")
        dag.map("fetch", self.fetch, over="xs", **(first or {}))
        options = {"batch_size": 3, "batch_wait": 2.5, **options}
        dag.map("store", fn or self.store, over="fetch", pipelined=True, **options)
        return dag

    def config(self, **settings: Any) -> Config:
        return Config(backend=self.backend, clock=self.clock, **settings)  # type: ignore[arg-type]

    def run(self, count: int, *args: Any, settings: Any = None, **options: Any) -> flow.Result:
        config = self.config(**(settings or {}))
        return flow.run(self.dag(*args, **options), {"xs": range(count)}, config=config)


@pytest.fixture
def world(backend: str) -> World:
    """Items 0 to 5: three at 0, then in the wrong order."""
    return World(backend, i0=1, i1=9, i2=2, i3=2, i4=8, i5=20)


class TestWhen:
    def test_by_size_by_time_and_at_the_end(self, world: World) -> None:
        result = world.run(6)
        assert result["store"] == [1, 11, 21, 31, 41, 51]
        assert world.calls == [(2, 0, [0, 20, 30]), (10.5, 4, [40, 10]), (20, 5, [50])]

    @pytest.mark.parametrize("wait", [None, FAR])
    def test_by_size_and_at_the_end_alone(self, world: World, wait: float | None) -> None:
        assert world.run(6, batch_wait=wait)["store"] == [1, 11, 21, 31, 41, 51]
        assert world.calls == [(2, 0, [0, 20, 30]), (20, 4, [40, 10, 50])]
        assert world.clock.now() == 20, "no time is waited for after the end"

    def test_no_items(self, world: World) -> None:
        result = world.run(0)
        assert (result["fetch"], result["store"], world.calls, world.clock.now()) == ([], [], [], 0)

    def test_while_all_of_its_slots_are_busy_the_next_batch_is_filled(self, world: World) -> None:
        world.work = 12.25
        world.run(6, concurrency=1, batch_size=10, batch_wait=0.5)
        assert world.calls == [(1.5, 0, [0]), (13.75, 2, [20, 30, 40, 10]), (26, 5, [50])]

    def test_inline_the_time_is_looked_at_when_an_item_comes(self) -> None:
        world = World("asyncio")
        clock = world.clock
        dag = flow.Dag("d")
        dag.map("fetch", lambda x: clock.sleep(1) or x, over="xs")
        seen: list[Any] = []
        dag.map("store", lambda batch: seen.append((clock.now(), batch)) or batch, over="fetch", pipelined=True,
                batch_size=4, batch_wait=1.5)  # fmt: skip
        result = flow.run(dag, {"xs": range(7)}, config=Config(mode="inline", clock=clock))
        assert result["store"] == list(range(7))
        assert seen == [(3, [0, 1, 2]), (6, [3, 4, 5]), (7, [6])]

    def test_after_a_stream(self, world: World) -> None:
        async def stream() -> AsyncIterator[int]:
            for item in range(5):
                await world.clock.wait(1)
                yield item
            await world.clock.wait(10)

        dag = world.dag()
        dag.add("xs", stream)
        assert flow.run(dag, config=world.config())["store"] == [1, 11, 21, 31, 41]
        # they are there at 2, 11, 5, 6, 13
        assert world.calls == [(4.5, 0, [0]), (7.5, 2, [20, 30]), (13.5, 1, [10, 40])]

    def test_after_two_maps_and_beside_another(self, world: World) -> None:
        dag = flow.Dag("d")
        dag.map("fetch", world.fetch, over="xs")
        dag.filter("some", lambda item: item != 20, over="fetch", pipelined=True)
        dag.map("store", world.store, over="some", pipelined=True, batch_size=2, batch_wait=2.5)
        dag.map("all", lambda batch: batch, over="fetch", pipelined=True, batch_size=100)
        result = flow.run(dag, {"xs": range(6)}, config=world.config())
        assert result["store"] == [1, 11, 31, 41, 51]
        assert result["all"] == [0, 10, 20, 30, 40, 50]
        assert world.calls == [(2, 0, [0, 30]), (9, 4, [40, 10]), (20, 5, [50])]

    def test_items_that_are_tried_again_are_waited_for(self, world: World) -> None:
        world.seconds.clear()

        async def flaky(item: int, ctx: Context) -> int:
            if item == 1 and ctx.attempt == 1:
                raise OSError
            return item

        dag = flow.Dag("d")
        dag.map("fetch", flaky, over="xs", retry=Retry(2, delay=5.0))
        dag.map("store", world.store, over="fetch", pipelined=True, batch_size=3)
        assert flow.run(dag, {"xs": range(4)}, config=world.config())["store"] == [1, 2, 3, 4]
        assert world.calls == [(0, 0, [0, 2, 3]), (5, 1, [1])]

    def test_items_that_have_given_their_slot_back_are_waited_for(self, world: World) -> None:
        async def released(item: int, ctx: Context) -> int:
            async with ctx.released():
                await world.clock.wait(1 + item)
            return item

        dag = flow.Dag("d")
        dag.map("fetch", released, over="xs", concurrency=2)
        dag.map("store", world.store, over="fetch", pipelined=True, batch_size=3)
        assert flow.run(dag, {"xs": range(4)}, config=world.config())["store"] == [1, 2, 3, 4]
        assert world.calls == [(3, 0, [0, 1, 2]), (4, 3, [3])]


class TestItems:
    """What goes by item, where the items of a batch are not in order: [0, 2, 3], [4, 1], [5]."""

    def two(self, batch: list[int], ctx: Context) -> list[int]:
        ctx.publish("batches", batch, merge="append")
        if 10 in batch:
            raise ValueError("ten")
        return batch

    def test_collected_errors_and_published_values(self, world: World) -> None:
        result = world.run(6, self.two, on_error="collect")
        assert result["store"].items() == [(0, 0), (2, 20), (3, 30), (5, 50)]
        assert list(result["store"].errors) == [1, 4]
        assert result["store"].errors[1].__notes__ == ["in the batch from item 4 ([40, 10]) of map 'store'"]
        assert result.data["batches"] == [[0, 20, 30], [50]]

    def test_skipped_and_fallen_back(self, world: World) -> None:
        assert world.run(6, self.two, on_error="skip")["store"] == [0, 20, 30, 50]
        result = world.run(6, self.two, fallback=-1)
        assert result["store"] == [0, -1, 20, 30, -1, 50]
        assert list(result.fallbacks["store"]) == [1, 4]

    def test_keys_and_dropped_items(self, world: World) -> None:
        result = world.run(6, None, {"key": lambda item: f"k{item}"})
        assert result["store"] == {"k0": 1, "k1": 11, "k2": 21, "k3": 31, "k4": 41, "k5": 51}
        dag = flow.Dag("d")
        dag.map("fetch", lambda x: 6 // x, over="xs", on_error="skip")
        dag.filter("store", lambda batch: [x != 3 for x in batch], over="fetch", pipelined=True, batch_size=2)
        dag.flat_map("flat", lambda batch: [[x, x] for x in batch], over="fetch", pipelined=True, batch_size=2)
        result = flow.run(dag, {"xs": [1, 0, 2, 3]}, config=world.config())
        assert (result["store"], result["flat"]) == ([6, 2], [6, 6, 3, 3, 2, 2])

    def test_a_wrong_number_of_results(self, world: World) -> None:
        error = error_of_run(world, world.dag(lambda batch: batch[:1], batch_wait=None), range(2))
        assert str(error) == "a map with batch_size needs one result per item: 1 came for 2 items"

    def test_a_dag_is_refused_as_ever(self, world: World) -> None:
        inner = flow.Dag("inner")
        inner.add("total", lambda item: sum(item))
        error = error_of_run(world, world.dag(inner, batch_wait=None), range(2))
        assert str(error) == "a map with batch_size needs one result per item: got {'total': 10}"


def error_of_run(world: World, dag: flow.Dag, items: Any) -> Exception:
    with pytest.raises(flow.RunError) as caught:
        flow.run(dag, {"xs": items}, config=world.config())
    (only,) = caught.value.exceptions
    return only


def with_items(dag: flow.Dag) -> flow.Dag:
    dag.add("xs", lambda: range(6))
    return dag


class TestEnds:
    def test_a_batch_that_fails_stops_its_map_alone(self, world: World) -> None:
        def bad(batch: list[int]) -> list[int]:
            raise ValueError(batch)

        result = collected(with_items(world.dag(bad)), world.backend, clock=world.clock)
        assert result["fetch"] == [0, 10, 20, 30, 40, 50]
        assert result.status["store"] is Status.FAILED
        assert result.errors["store"].args == ([0, 20, 30],)

    def test_a_map_in_between_that_fails(self, world: World) -> None:
        dag = flow.Dag("d")
        dag.map("fetch", world.fetch, over="xs")
        dag.map("check", lambda item: 1 // (item - 20), over="fetch", pipelined=True)
        dag.map("store", world.store, over="check", pipelined=True, batch_size=5, batch_wait=FAR)
        result = collected(with_items(dag), world.backend, clock=world.clock)
        assert {name: str(status) for name, status in result.status.items() if name != "xs"} == {
            "fetch": "completed", "check": "failed", "store": "skipped",
        }  # fmt: skip
        assert world.clock.now() == 20

    def test_the_first_map_fails_or_its_source(self, world: World) -> None:
        async def broken() -> AsyncIterator[int]:
            yield 0
            await world.clock.wait(5)
            raise KeyError("broken")

        dag = world.dag(batch_wait=FAR)
        dag.add("xs", broken)
        error = error_of(dag, backend=world.backend, clock=world.clock)
        assert [type(e) for e in error.exceptions] == [KeyError]
        assert (world.calls, world.clock.now()) == ([], 5)
        dag = flow.Dag("d")
        dag.map("fetch", lambda x: 1 // x, over="xs")
        dag.map("store", world.store, over="fetch", pipelined=True, batch_size=5, batch_wait=FAR)
        assert isinstance(error_of_run(world, dag, [1, 1, 0]), ZeroDivisionError)
        assert world.calls == []

    def test_cancelled_while_a_batch_waits(self, backend: str, on_loop: Callable[..., Any]) -> None:
        stored: list[Any] = []

        async def main() -> None:
            fetched = anyio.Event()

            async def fetch(item: int) -> int:
                if item:
                    fetched.set()
                    await anyio.sleep_forever()
                return item

            dag = flow.Dag("d")
            dag.map("fetch", fetch, over="xs")
            dag.map("store", lambda batch: stored.append(batch) or batch, over="fetch", pipelined=True, batch_size=5,
                    batch_wait=FAR)  # fmt: skip
            async with anyio.create_task_group() as group:
                group.start_soon(flow.execute, dag, {"xs": [0, 1]})
                with anyio.fail_after(60):
                    await fetched.wait()
                    await anyio.lowlevel.checkpoint()
                    group.cancel_scope.cancel()

        on_loop(main)
        assert stored == []

    def test_a_runs_time_limit(self, backend: str) -> None:
        async def fetch(item: int) -> int:
            if item:
                await anyio.sleep_forever()
            return item

        dag = flow.Dag("d")
        dag.add("xs", lambda: [0, 1])
        dag.map("fetch", fetch, over="xs")
        dag.map("store", lambda batch: batch, over="fetch", pipelined=True, batch_size=5, batch_wait=FAR)
        error = error_of(dag, backend=backend, timeout=0.01)
        assert error.result.status["fetch"] is Status.CANCELLED

    def test_what_the_clock_raises(self, backend: str) -> None:
        class Broken(FakeClock):
            async def wait(self, seconds: float) -> None:
                await anyio.lowlevel.checkpoint()
                raise RuntimeError("no time")

        async def fetch(item: int) -> int:
            if item:
                await anyio.sleep_forever()
            return item

        dag = flow.Dag("d")
        dag.map("fetch", fetch, over="xs")
        dag.map("store", lambda batch: batch, over="fetch", pipelined=True, batch_size=5, batch_wait=1)
        with pytest.raises(Exception) as caught:  # noqa: PT011
            flow.run(dag, {"xs": [0, 1]}, config=Config(backend=backend, clock=Broken()))  # type: ignore[arg-type]
        raised = caught.value
        while isinstance(raised, BaseExceptionGroup):
            (raised,) = raised.exceptions
        assert str(raised) == "no time"


def test_nothing_is_pipelined_after_batches() -> None:
    dag = flow.Dag("d")
    dag.map("a", lambda x: x, over="xs")
    dag.map("b", lambda batch: batch, over="a", pipelined=True, batch_size=2)
    dag.map("c", lambda x: x, over="b", pipelined=True)
    with pytest.raises(flow.DefinitionError, match="cannot be pipelined after 'b', which has batches"):
        dag.compile()
