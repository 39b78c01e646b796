"""Streams and odd sources under a map: lengths that lie, items nobody may compare, who closes what, what is let go."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from conftest import error_of
from map_cases import failure_of, go, mapped

import flow
from flow import Config, Context


class Vague:
    """Like an array: comparing gives something that is neither true nor false."""

    def __eq__(self, other: object) -> Any:
        return self

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise ValueError("ambiguous")


class Equal:
    """Equal to all, as ``mock.ANY`` is."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


class Sized:
    """Says that it is of another length than it is."""

    def __init__(self, length: int | None) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length  # type: ignore[return-value]  # None is the TypeError of a wrapper around a generator

    def __iter__(self) -> Iterator[int]:
        return iter(range(4))


def streamed(items: Any, log: list[str] | None = None, closing: BaseException | None = None) -> Any:
    """An async generator function over ``items`` whose clearing up awaits, and may raise."""

    async def stream() -> AsyncIterator[Any]:
        try:
            for item in items:
                await anyio.lowlevel.checkpoint()
                yield item
        finally:
            if log is not None:
                with anyio.CancelScope(shield=True):
                    await anyio.lowlevel.checkpoint()
                log.append("closed")
            if closing is not None:
                raise closing

    return stream


@pytest.mark.parametrize("kind", [Vague, Equal])
def test_zipped_and_awaited_items_are_never_compared(kind: type, backend: str) -> None:
    items = [kind(), kind()]
    zipped = flow.Dag("d")
    zipped.map("m", lambda x, y: (x, y), over=["xs", "ys"])
    found = flow.run(zipped, {"xs": items, "ys": [1, 2]})["m"]
    assert [x is item and y == k for k, ((x, y), item) in enumerate(zip(found, items), 1)] == [True, True]
    awaited = flow.Dag("d")
    awaited.add("xs", streamed(items))
    awaited.map("m", lambda x: x, over="xs")
    found = flow.run(awaited, config=Config(backend=backend))["m"]  # type: ignore[arg-type]
    assert [x is item for x, item in zip(found, items, strict=True)] == [True, True]


def test_keys_of_a_stream_reach_the_maps_pipelined_after_it(backend: str) -> None:
    dag = flow.Dag("d")
    dag.add("xs", streamed([1, 2]))
    dag.map("first", lambda x: x, over="xs", key=lambda x: f"k{x}")
    dag.map("second", lambda x, key: (key, x), over="first", pipelined=True)
    result = flow.run(dag, config=Config(backend=backend))  # type: ignore[arg-type]
    assert result["second"] == {"k1": ("k1", 1), "k2": ("k2", 2)}


def test_a_length_that_raises_is_no_length() -> None:
    assert go(lambda x: x, Sized(None)) == [0, 1, 2, 3]


@pytest.mark.parametrize("length", [0, 1, 2])
def test_a_length_that_is_too_small_holds_no_item_back(virtual: Any, length: int) -> None:
    met = 0

    async def meet(x: int) -> int:  # all of them must be under way at once
        nonlocal met
        met += 1
        with anyio.fail_after(60):
            while met < 4:
                await anyio.sleep(1)
        return x

    async def main() -> Any:
        return (await flow.execute(mapped(meet, Sized(length))))["m"]

    assert virtual(main) == [0, 1, 2, 3]


def test_a_stream_that_never_suspends_lets_the_loop_turn(on_loop: Callable[..., Any]) -> None:
    turned = False

    async def stream() -> AsyncIterator[int]:
        for k in range(1_000_000):
            if turned:
                return
            yield k

    async def turn() -> None:
        nonlocal turned
        for _ in range(9):
            await anyio.sleep(0)
        turned = True

    async def main() -> int:
        dag = flow.Dag("d")
        dag.add("xs", stream)
        dag.map("m", lambda x: x, over="xs")
        async with anyio.create_task_group() as group:
            group.start_soon(turn)
            return len((await flow.execute(dag))["m"])

    assert on_loop(main) < 1_000_000


def test_a_stream_is_asked_no_more_after_a_failure(backend: str) -> None:
    asked = 0

    async def stream() -> AsyncIterator[int]:
        nonlocal asked
        for k in range(1_000_000):
            asked = k
            yield k

    dag = flow.Dag("d")
    dag.add("xs", stream)
    dag.map("m", lambda x: 1 // x, over="xs", concurrency=None)
    error = error_of(dag, backend=backend)
    assert isinstance(error.exceptions[0], ZeroDivisionError)
    assert asked < 999_999


@pytest.mark.parametrize("settings", [{"take": 2}, {"bad": 2}])
def test_what_aiter_made_is_closed(on_loop: Callable[..., Any], settings: dict[str, Any]) -> None:
    log: list[str] = []

    class Source:
        async def __aiter__(self) -> AsyncIterator[int]:
            try:
                for x in range(9):
                    yield x
            finally:
                log.append("closed")

    async def fn(x: int) -> int:
        if x == settings.get("bad"):
            raise ValueError("mine")
        return x

    async def main() -> None:
        try:
            await flow.execute(mapped(fn, Source(), take=settings.get("take")))
        except* ValueError:
            log.append("failed")
        assert log == (["closed"] if "take" in settings else ["closed", "failed"])

    on_loop(main)


def test_a_stream_that_a_reduce_leaves_is_closed(on_loop: Callable[..., Any]) -> None:
    log: list[str] = []
    dag = flow.Dag("d")
    dag.add("xs", streamed(range(9), log))
    dag.reduce("r", lambda so_far, x: 1 // (2 - x), over="xs", start=0)

    async def main() -> None:
        with pytest.raises(flow.RunError, match="'r'"):
            await flow.execute(dag)
        assert log == ["closed"]

    on_loop(main)


@pytest.mark.parametrize("concurrency", [1, 2, 50])
def test_what_clearing_up_a_stream_raises_masks_no_items_error(backend: str, concurrency: int) -> None:
    async def fn(x: int) -> int:
        await anyio.lowlevel.checkpoint()
        if x == 1:
            raise ValueError("mine")
        return x

    dag = flow.Dag("d")
    dag.add("xs", streamed(range(9), [], RuntimeError("clearing up")))
    dag.map("m", fn, over="xs", concurrency=concurrency)
    (error,) = error_of(dag, backend=backend).exceptions
    assert repr(error) == "ValueError('mine')"
    assert error.__notes__[0] == "in item 1 (1) of map 'm'"


@pytest.mark.usefixtures("busy")  # a pause of the driver may let one map come to the end first
def test_two_maps_over_one_stream_at_once(backend: str) -> None:
    dag = flow.Dag("d")
    dag.map("a", lambda x: x, over="xs")
    dag.map("b", lambda x: x, over="xs")
    dag.add("xs", streamed(range(5)), middleware=[lambda next, ctx: next()])  # of others it is known that both read it
    result = flow.run(dag, config=Config(backend=backend, on_error="collect"))  # type: ignore[arg-type]
    (name,) = result.errors
    assert str(result.errors[name]) == "anext(): asynchronous generator is already running"
    assert result["a" if name == "b" else "b"] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("pipelined", [False, True])
def test_a_pipelined_maps_results_are_freed(pipelined: bool) -> None:
    class Large:
        pass

    made: list[weakref.ref[Large]] = []

    def make(x: Any) -> Large:
        made.append(weakref.ref(large := Large()))
        return large

    dag = flow.Dag("d")
    dag.map("a", make, over="xs")
    dag.map("b", make, over="a", pipelined=pipelined)
    dag.add("count", lambda b: len(b))
    dag.add("alive", lambda count: sum(ref() is not None for ref in made))
    assert flow.run(dag, {"xs": [1, 2]}, config=Config(keep="targets"))["alive"] == 0


@pytest.mark.parametrize("key", [5, None, ["unhashable"]])
def test_a_published_key_is_looked_at_in_its_item(key: Any) -> None:
    def fn(x: int, ctx: Context) -> None:
        ctx.publish("fine", x)
        if x == 2:
            ctx.publish(key, x)

    data = flow.WorkflowData()
    with pytest.raises(flow.RunError) as caught:
        flow.run(mapped(fn, [1, 2]), data=data)
    (error,) = caught.value.exceptions
    assert isinstance(error, flow.errors.DataError)
    assert error.__notes__[0] == "in item 1 (2) of map 'm'"
    assert data.items() == []


def test_a_merge_that_fails_names_the_key() -> None:
    def refuse(so_far: int, value: int) -> int:
        raise ValueError("mine")

    def fn(x: int, ctx: Context) -> None:
        ctx.publish("total", x, merge=refuse)

    error = failure_of(fn, [1, 2])
    assert str(error) == "mine"
    assert error.__notes__[0] == "in the merge of what was published under 'total'"


def test_what_a_batchs_generator_raises_is_its_own() -> None:
    def fn(batch: list[Any]) -> Iterator[Any]:
        for x in batch:
            yield x + "!"

    error = failure_of(fn, [1, 2], batch_size=2)
    assert type(error) is TypeError
    assert error.__notes__[0] == "in the batch from item 0 ([1, 2]) of map 'm'"


def test_a_text_is_no_list_of_results() -> None:
    error = failure_of(lambda batch: "ab", [1, 2], batch_size=2)
    assert str(error) == "a map with batch_size needs one result per item: got 'ab'"


@pytest.mark.parametrize("what", ["node", "item", "source"])
@pytest.mark.parametrize("turns", [1, 2, 4])
def test_a_cancelled_run_cancels_once(what: str, turns: int) -> None:
    log: list[str] = []
    begun: list[int] = []

    async def work(x: int = 0) -> None:
        async for _ in stream():
            pass

    async def stream() -> AsyncIterator[int]:
        begun.append(1)
        try:
            while True:
                await asyncio.sleep(0)
        finally:
            for _ in range(3):
                await asyncio.sleep(0)
            log.append("closed")
        yield 0

    dag = flow.Dag("d")
    if what == "node":
        dag.add("m", work)
    else:
        dag.add("xs", stream if what == "source" else lambda: [1])
        dag.map("m", work, over="xs")

    async def main() -> None:
        run = asyncio.ensure_future(flow.execute(dag))
        for _ in range(turns):
            await asyncio.sleep(0)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert log == ["closed"] * len(begun)  # nothing starts any more once the run is cancelled
        assert begun or turns < 4

    asyncio.run(main())
