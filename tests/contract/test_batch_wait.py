"""``batch_wait``: a batch is given so long after its first item at the latest, by the run's clock, on every loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from conftest import error_of, loops
from map_cases import mapped

import flow
from flow import Config, Context, Retry, Status, events
from flow.testing import FakeClock

FAR = 1e6


class World:
    """A source with gaps between its items, and a function that notes its batches: when, its first index, its items."""

    def __init__(self, backend: str = "asyncio", *gaps: float, work: float = 0.0, end: float = 0.0) -> None:
        self.clock = FakeClock()
        self.backend = backend
        self.gaps, self.work, self.end = gaps, work, end
        self.calls: list[tuple[float, int, list[int]]] = []
        self.given = 0
        self.asked: list[Any] = []  # an event of the loop's, once there is one
        self.closed = False

    async def source(self) -> AsyncIterator[int]:
        try:
            for k, gap in enumerate(self.gaps):
                if gap:
                    await self.clock.wait(gap)
                self.given += 1
                yield k
            if self.end:
                await self.clock.wait(self.end)
        finally:
            self.closed = True

    async def endless(self) -> AsyncIterator[int]:
        """Give one item, and say when another is asked for."""
        try:
            yield 0
            self.asked[0].set()
            await anyio.sleep_forever()
        finally:
            self.closed = True

    async def tens(self, batch: list[int], index: int) -> list[int]:
        self.calls.append((self.clock.now(), index, batch))
        if self.work:
            await self.clock.wait(self.work)
        return [10 * item for item in batch]

    def config(self, **settings: Any) -> Config:
        return Config(backend=self.backend, clock=self.clock, **settings)  # type: ignore[arg-type]

    def run(self, fn: Any = None, **options: Any) -> Any:
        dag = mapped(fn or self.tens, self.source, **{"batch_size": 3, "batch_wait": 2.5, **options})
        return flow.run(dag, config=self.config())["m"]


class TestWhen:
    def test_a_batch_ends_by_its_size_or_by_its_first_items_time(self, backend: str) -> None:
        world = World(backend, 0, 1, 1, 1, 1, 4, 0, 0, 0, end=0.5)
        assert world.run() == [10 * k for k in range(9)]
        assert world.calls == [(2, 0, [0, 1, 2]), (5.5, 3, [3, 4]), (8, 5, [5, 6, 7]), (8.5, 8, [8])]

    def test_each_batchs_time_begins_with_its_own_first_item(self, backend: str) -> None:
        """The clock is slept on for the first batch, which is full long before; the second has all its time."""
        world = World(backend, 0, 1, 1, 1, 100)
        world.run()
        assert world.calls == [(2, 0, [0, 1, 2]), (5.5, 3, [3]), (103, 4, [4])]

    def test_the_end_of_the_source_is_not_waited_beyond(self, backend: str) -> None:
        world = World(backend, 0, 1, end=1)
        world.run(batch_wait=FAR)
        assert world.calls == [(2, 0, [0, 1])]
        assert world.clock.now() == 2
        empty = World(backend, end=1)
        assert empty.run(batch_wait=FAR) == []
        assert (empty.calls, empty.clock.now()) == ([], 1)

    @pytest.mark.parametrize("method", ["map", "filter", "flat_map"])
    def test_every_method_and_a_sync_function(self, backend: str, method: str) -> None:
        world = World(backend, 0, 5, 0)
        seen: list[tuple[float, list[int]]] = []

        def fn(batch: list[int]) -> list[Any]:
            seen.append((world.clock.now(), batch))
            return [[x, x] if method == "flat_map" else x > 0 for x in batch]

        dag = flow.Dag("d")
        dag.add("xs", world.source)
        getattr(dag, method)("m", fn, over="xs", batch_size=3, batch_wait=1)
        result = flow.run(dag, config=world.config())["m"]
        assert result == {"map": [False, True, True], "filter": [1, 2], "flat_map": [0, 0, 1, 1, 2, 2]}[method]
        assert seen == [(1, [0]), (5, [1, 2])]

    def test_keys_take_and_zipped_sources(self, backend: str) -> None:
        world = World(backend, 0, 5, 0, 5, 0, 0)
        assert world.run(take=4, key=lambda x: f"k{x}") == {"k0": 0, "k1": 10, "k2": 20, "k3": 30}
        assert world.calls == [(2.5, 0, [0]), (7.5, 1, [1, 2]), (10, 3, [3])]
        world = World(backend, 0, 5, 0)
        seen: list[Any] = []
        dag = mapped(lambda item: seen.append(item) or item, world.source, [7, 8, 9], batch_size=3, batch_wait=1)
        assert flow.run(dag, config=world.config())["m"] == [(0, 7), (1, 8), (2, 9)]
        assert seen == [[(0, 7)], [(1, 8), (2, 9)]]

    def test_within_a_dag_that_is_a_node(self, backend: str) -> None:
        world = World(backend, 0, 5)
        outer = flow.Dag("outer")
        outer.add("inner", mapped(world.tens, world.source, batch_size=3, batch_wait=1))
        assert flow.run(outer, config=world.config())["inner"]["m"] == [0, 10]
        assert [call[0] for call in world.calls] == [1, 5]

    def test_a_source_that_never_suspends_fills_its_batches(self, backend: str) -> None:
        world = World(backend, *[0] * 7)
        world.run()
        assert world.calls == [(0, 0, [0, 1, 2]), (0, 3, [3, 4, 5]), (0, 6, [6])]


class TestSlots:
    def test_while_all_slots_are_busy_the_next_batch_is_filled(self, backend: str) -> None:
        world = World(backend, 0, 3, 2, 2, 10, work=8.25)
        world.run(concurrency=1, batch_size=10)
        # 2.5: the first is given; 3: the second begins; 5.5: its time is up; 10.75: a slot is free again;
        # 17: the source ends; 19: a slot is free again
        assert world.calls == [(2.5, 0, [0]), (10.75, 1, [1, 2, 3]), (19, 4, [4])]

    def test_a_waiting_batch_holds_no_slot(self, backend: str) -> None:
        """With one slot: a batch that is being filled is no obstacle to one that is tried again."""
        world = World(backend, 0, 4, 1, 100)
        tried: list[tuple[float, list[int]]] = []

        def fn(batch: list[int], ctx: Context) -> list[int]:
            tried.append((world.clock.now(), batch))
            if ctx.attempt == 1 and 0 in batch:
                raise OSError
            return batch

        assert world.run(fn, concurrency=1, retry=Retry(2, delay=2.0)) == [0, 1, 2, 3]
        assert tried == [(2.5, [0]), (4.5, [0]), (6.5, [1, 2]), (105, [3])]

    @pytest.mark.parametrize("size", [1, 4])
    @pytest.mark.parametrize("concurrency", [1, 2])
    def test_a_source_is_asked_for_one_batch_more_than_there_are_slots(
        self, backend: str, size: int, concurrency: int
    ) -> None:
        world = World(backend, *[1] * 50)
        ahead: list[int] = []
        done = 0

        async def fn(batch: list[int]) -> list[int]:
            nonlocal done
            await world.clock.wait(100)
            ahead.append(world.given - done)
            done += len(batch)
            return batch

        assert world.run(fn, batch_size=size, concurrency=concurrency) == list(range(50))
        assert max(ahead) <= (concurrency + 1) * size
        if size > 1:
            assert max(ahead) > concurrency * size

    def test_limits_of_the_run(self, backend: str) -> None:
        world = World(backend, *[1] * 12, work=20)
        most = 0

        async def fn(batch: list[int]) -> list[int]:
            nonlocal most
            open_now.append(batch)
            most = max(most, len(open_now))
            await world.clock.wait(20)
            open_now.remove(batch)
            return batch

        open_now: list[Any] = []
        dag = mapped(fn, world.source, batch_size=3, batch_wait=1.5)
        assert flow.run(dag, config=world.config(limit=2))["m"] == list(range(12))
        assert most == 2


class TestItems:
    """What goes by item is right where the batches have different lengths: 1, 3, 2."""

    GAPS = (0, 5, 0, 0, 1, 0)
    FIRSTS = (0, 1, 4)

    def world(self, backend: str) -> World:
        return World(backend, *self.GAPS, end=10)

    def test_errors_and_published_values(self, backend: str) -> None:
        world = self.world(backend)

        def fn(batch: list[int], ctx: Context) -> list[int]:
            ctx.publish("firsts", (ctx.index, batch), merge="append")
            ctx.publish("last", ctx.index)
            if 2 in batch:
                raise ValueError("two")
            return batch

        dag = mapped(fn, world.source, batch_size=3, batch_wait=2, on_error="collect")
        result = flow.run(dag, config=world.config())
        assert result["m"].items() == [(0, 0), (4, 4), (5, 5)]
        assert list(result["m"].errors) == [1, 2, 3]
        assert result["m"].errors[3].__notes__ == ["in the batch from item 1 ([1, 2, 3]) of map 'm'"]
        assert result.data["firsts"] == [(0, [0]), (4, [4, 5])]
        assert result.data["last"] == 4

    def test_fallbacks(self, backend: str) -> None:
        world = self.world(backend)

        def fn(batch: list[int]) -> list[int]:
            if 2 in batch:
                raise ValueError("two")
            return batch

        dag = mapped(fn, world.source, batch_size=3, batch_wait=2, fallback=-1)
        result = flow.run(dag, config=world.config())
        assert result["m"] == [0, -1, -1, -1, 4, 5]
        assert list(result.fallbacks["m"]) == [1, 2, 3]

    def test_events_and_hooks(self, backend: str) -> None:
        world = self.world(backend)
        seen: list[Any] = []
        asked: list[Any] = []
        told: list[Any] = []

        def before(call: Any) -> Any:
            if call.node == "m":
                asked.append((call.item, call.arguments.get("batch")))
                return flow.Outcome(Status.COMPLETED, [-1, -2, -3]) if call.item == 1 else None
            return None

        dag = mapped(lambda batch: batch, world.source, batch_size=3, batch_wait=2)
        settings: dict[str, Any] = {
            "observers": (seen.append,), "before_call": lambda: before,
            "on_outcome": lambda: lambda outcome: told.append((outcome.item, outcome.output)),
        }  # fmt: skip
        result = flow.run(dag, config=world.config(**settings))
        assert result["m"] == [0, -1, -2, -3, 4, 5]
        assert [one for one in asked if one[0] is not None] == [(0, [0]), (1, [1, 2, 3]), (4, [4, 5])]
        assert [item for item, _ in told if item is not None] == [0, 1, 4]
        assert [event.items for event in seen if isinstance(event, events.MapStarted)] == [None]
        assert [event.index for event in seen if isinstance(event, events.ItemFinished)] == [0, 1, 4]

    def test_a_dag_is_refused_as_ever(self, backend: str) -> None:
        inner = flow.Dag("inner")
        inner.add("total", lambda item: sum(item))
        world = self.world(backend)
        dag = mapped(inner, world.source, batch_size=3, batch_wait=2)
        (error,) = error_of(dag, backend=backend, clock=world.clock).exceptions
        assert str(error) == "a map with batch_size needs one result per item: got {'total': 0}"

    def test_each_attempt_has_the_same_batch(self, backend: str) -> None:
        world = self.world(backend)
        tried: list[list[int]] = []

        def fn(batch: list[int], ctx: Context) -> list[int]:
            tried.append(list(batch))
            kept = list(batch)
            batch.clear()
            if ctx.attempt < 3 and 1 in kept:
                raise OSError
            return kept

        assert world.run(fn, batch_wait=2, retry=Retry(3, delay=0.5)) == list(range(6))
        assert tried == [[0], [1, 2, 3], [1, 2, 3], [1, 2, 3], [4, 5]]


class TestSync:
    """Sources that do not await: their time is looked at when an item comes."""

    @pytest.mark.parametrize("settings", [{"mode": "inline"}, {"mode": "auto"}, {"mode": "tasks"}])
    def test_a_generator(self, backend: str, settings: dict[str, Any]) -> None:
        world = World(backend)

        def numbers() -> Iterator[int]:
            for k, gap in enumerate((0, 1, 1, 1, 4, 0, 0, 9)):
                if gap:
                    world.clock.sleep(gap)
                yield k

        seen: list[tuple[float, int, list[int]]] = []

        def fn(batch: list[int], index: int) -> list[int]:
            seen.append((world.clock.now(), index, batch))
            return batch

        dag = mapped(fn, numbers, batch_size=4, batch_wait=2.5)
        for _ in range(2):
            assert flow.run(dag, config=world.config(**settings))["m"] == list(range(8))
        assert seen[:3] == [(3, 0, [0, 1, 2, 3]), (16, 4, [4, 5, 6, 7]), (19, 0, [0, 1, 2, 3])]
        dag = mapped(fn, numbers, batch_size=10, batch_wait=2.5)
        del seen[:]
        world.clock.time = 0.0
        flow.run(dag, config=world.config(**settings))
        assert seen == [(3, 0, [0, 1, 2, 3]), (16, 4, [4, 5, 6, 7])]

    def test_a_generator_and_an_async_function(self, backend: str) -> None:
        world = World(backend, work=1)

        def numbers() -> Iterator[int]:
            for k in range(4):
                world.clock.sleep(1)
                yield k

        dag = mapped(world.tens, numbers, batch_size=4, batch_wait=0.5)
        assert flow.run(dag, config=world.config())["m"] == [0, 10, 20, 30]
        assert [batch for _, _, batch in world.calls] == [[0, 1], [2, 3]]

    @pytest.mark.parametrize("source", [range(5), dict.fromkeys(range(5), 1), [0] * 5])
    def test_all_is_there_where_the_source_has_a_length(self, backend: str, source: Any) -> None:
        class Running(FakeClock):
            """A clock on which time never stands still."""

            def now(self) -> float:
                self.time += 100.0
                return self.time

        seen: list[Any] = []
        clock = Running()
        for settings in ({"mode": "inline"}, {"mode": "tasks"}):
            sizes: list[int] = []
            dag = mapped(lambda batch: sizes.append(len(batch)) or batch, source, batch_size=2, batch_wait=0.1)
            flow.run(dag, config=Config(clock=clock, backend=backend, observers=(seen.append,), **settings))  # type: ignore[arg-type]
            assert sizes == [2, 2, 1]
        assert [event.items for event in seen if isinstance(event, events.MapStarted)] == [3, 3]
        assert clock.slept == []


class TestEnds:
    """How it ends otherwise: as with ``batch_size`` alone."""

    @pytest.mark.parametrize("on_error", ["fail", "collect", "skip"])
    def test_an_error_of_the_source(self, backend: str, on_error: str) -> None:
        def told(**options: Any) -> tuple[Any, ...]:
            world = World(backend)

            async def source() -> AsyncIterator[int]:
                for k in range(5):
                    await world.clock.wait(1)
                    yield k
                raise KeyError("broken")

            dag = mapped(world.tens, source, batch_size=3, on_error=on_error, **options)
            error = error_of(dag, backend=backend, clock=world.clock)
            (only,) = error.exceptions
            return type(only), only.__notes__, world.calls

        alone, waiting = told(), told(batch_wait=FAR)
        assert alone == waiting
        assert [batch for _, _, batch in alone[2]] == [[0, 1, 2]], "what is no whole batch is dropped"
        assert [batch for _, _, batch in told(batch_wait=0.5)[2]] == [[0], [1], [2], [3]]

    def test_a_failed_batch_ends_the_map_and_closes_the_source(self, backend: str) -> None:
        world = World(backend, 0, 5, 1, end=FAR)

        def fn(batch: list[int]) -> list[int]:
            raise ValueError(batch)

        dag = mapped(fn, world.source, batch_size=3, batch_wait=2.5)
        error = error_of(dag, backend=backend, clock=world.clock)
        assert [e.args for e in error.exceptions] == [([0],)]
        assert (world.given, world.closed, world.clock.now()) == (1, True, 2.5)

    def test_cancelled_while_a_batch_waits(self, backend: str, on_loop: Callable[..., Any]) -> None:
        world = World(backend, 0, 0)

        async def main() -> None:
            world.asked.append(anyio.Event())
            dag = mapped(world.tens, world.endless, batch_size=3, batch_wait=FAR)
            async with anyio.create_task_group() as group:

                async def runs() -> None:
                    await flow.execute(dag)  # the system's clock: nothing comes by itself

                group.start_soon(runs)
                with anyio.fail_after(60):
                    await world.asked[0].wait()
                    await anyio.lowlevel.checkpoint()
                    group.cancel_scope.cancel()

        on_loop(main)
        assert (world.calls, world.closed) == ([], True)

    @pytest.mark.parametrize("backend", loops("asyncio", "uvloop"))
    def test_a_cancelled_task(self, backend: str, on_loop: Callable[..., Any]) -> None:
        world = World(backend)

        async def main() -> None:
            world.asked.append(asyncio.Event())
            dag = mapped(world.tens, world.endless, batch_size=3, batch_wait=FAR)
            task = asyncio.ensure_future(flow.execute(dag))
            await asyncio.wait_for(world.asked[0].wait(), 60)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert asyncio.all_tasks() == {asyncio.current_task()}

        on_loop(main)
        assert (world.calls, world.closed) == ([], True)

    def test_what_a_cancelled_source_raises_is_noted(self, backend: str) -> None:
        """Another node fails while the batch waits; the source raises in its clearing up."""
        world = World(backend)

        async def source() -> AsyncIterator[int]:
            yield 0
            try:
                await world.clock.wait(FAR)
            finally:
                raise OSError("not closed")

        async def other() -> None:
            await world.clock.wait(1)
            raise ValueError("other")

        def told(**options: Any) -> list[str]:
            dag = mapped(world.tens, source, batch_size=3, **options)
            dag.add("other", other)
            error = error_of(dag, backend=backend, clock=world.clock)
            return sorted(f"{type(e).__name__} {e}" for e in error.exceptions)

        assert told(batch_wait=10.0) == told() == ["OSError not closed", "ValueError other"]

    def test_a_runs_time_limit(self, backend: str) -> None:
        world = World(backend)

        async def source() -> AsyncIterator[int]:
            try:
                yield 0
                await anyio.sleep_forever()
            finally:
                world.closed = True

        dag = mapped(world.tens, source, batch_size=3, batch_wait=FAR)
        error = error_of(dag, backend=backend, timeout=0.3)  # the source has begun by then
        assert error.result.status["m"] is Status.CANCELLED
        assert (world.calls, world.closed) == ([], True)

    def test_what_the_clock_raises(self, backend: str) -> None:
        class Broken(FakeClock):
            async def wait(self, seconds: float) -> None:
                await anyio.lowlevel.checkpoint()
                raise RuntimeError("no time")

        closed: list[bool] = []

        async def source() -> AsyncIterator[int]:
            try:
                yield 0
                await anyio.sleep_forever()
            finally:
                closed.append(True)

        dag = mapped(lambda batch: batch, source, batch_size=3, batch_wait=1)
        with pytest.raises(Exception) as caught:  # noqa: PT011
            flow.run(dag, config=Config(backend=backend, clock=Broken()))  # type: ignore[arg-type]
        raised = caught.value
        while isinstance(raised, BaseExceptionGroup):
            (raised,) = raised.exceptions
        assert str(raised) == "no time"
        assert closed == [True]


@pytest.mark.parametrize("wait", [0, -1, 0.0, float("nan"), float("inf"), True, "1", 10**400])
@pytest.mark.parametrize("method", ["map", "filter", "flat_map"])
def test_what_is_no_time(method: str, wait: Any) -> None:
    dag = flow.Dag("d")
    getattr(dag, method)("m", lambda batch: batch, over="xs", batch_size=3, batch_wait=wait)
    with pytest.raises(flow.DefinitionError) as caught:
        dag.compile()
    (fault,) = caught.value.faults
    assert ": batch_wait must be a number of seconds > 0, or None, not " in fault


def test_it_needs_batch_size() -> None:
    dag = mapped(lambda x: x, [1], batch_wait=-1)
    with pytest.raises(flow.DefinitionError) as caught:
        dag.compile()
    assert [fault.split(": ", 1)[1] for fault in caught.value.faults] == [
        "batch_wait must be a number of seconds > 0, or None, not -1",
        "batch_wait needs batch_size, the most items of a batch: give both",
    ]
    mapped(lambda x: x, [1], batch_wait=None).compile()
    mapped(lambda x: x, [1], batch_size=2, batch_wait=1).compile()
