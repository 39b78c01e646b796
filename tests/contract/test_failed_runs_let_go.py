"""What a failed run held is let go with its Result: no cycle leads from an error through our frames back to it."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import anyio
import pytest
from conftest import loops

import flow
from flow import Context

pytestmark = pytest.mark.slow  # each looks at what is left after a collection


@pytest.fixture(params=loops(long="uvloop"))
def backend(request: pytest.FixtureRequest) -> str:
    """Each event loop in turn; asyncio and uvloop share the code of ours."""
    return str(request.param)


ALIVE: Any = weakref.WeakSet()


class Output:
    """An output that can be watched."""

    def __init__(self) -> None:
        ALIVE.add(self)


class Boom(Exception):
    """An error that can be watched."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        ALIVE.add(self)


def make() -> Output:
    return Output()


async def amake() -> Output:
    await anyio.lowlevel.checkpoint()
    return Output()


def bad(a: Any) -> None:
    raise Boom


async def abad(a: Any) -> None:
    await anyio.lowlevel.checkpoint()
    raise Boom


def row(first: Callable[..., Any], second: Callable[..., Any], **options: Any) -> flow.Dag:
    dag = flow.Dag("row")
    dag.add("a", first)
    dag.add("b", second, needs=["a"], **options)
    return dag


def plain(is_async: bool, **options: Any) -> flow.Dag:
    return row(amake, abad, **options) if is_async else row(make, bad, **options)


def with_context(is_async: bool) -> flow.Dag:
    def asks(a: Any, ctx: Context) -> None:
        ctx.data["seen"] = 1
        raise Boom

    async def aasks(a: Any, ctx: Context) -> None:
        await anyio.lowlevel.checkpoint()
        asks(a, ctx)

    return row(make, aasks if is_async else asks)


def with_middleware(is_async: bool) -> flow.Dag:
    def asks(a: Any, *, ctx: Context) -> None:
        raise Boom

    async def aasks(a: Any, *, ctx: Context) -> None:
        raise Boom

    def plainly(next: Any, ctx: Context) -> Any:
        return next()

    async def awaiting(next: Any, ctx: Context) -> Any:
        return await next()

    layers = [plainly, flow.middleware.timed(lambda *_: None), flow.middleware.validated(int)]
    return row(make, aasks if is_async else asks, middleware=[*layers, awaiting] if is_async else layers)


def swallowed(is_async: bool) -> flow.Dag:
    """What a map raises is caught by a middleware; the node after it fails."""

    def catches(next: Any, ctx: Context) -> Any:
        try:
            return next()
        except Boom:
            return Output()

    async def acatches(next: Any, ctx: Context) -> Any:
        try:
            return await next()
        except Boom:
            return Output()

    dag = flow.Dag("swallowed")
    dag.add("x", lambda: [Output()])
    dag.map("a", abad if is_async else bad, over="x", middleware=[acatches if is_async else catches])
    dag.add("b", abad if is_async else bad, needs=["a"])
    return dag


def nested(is_async: bool) -> flow.Dag:
    inner = plain(is_async)
    outer = flow.Dag("outer")
    outer.add("c", make)
    outer.add("b", inner, after=["c"])
    return outer


def nested_with_context(is_async: bool) -> flow.Dag:
    outer = flow.Dag("outer")
    outer.add("c", make)
    outer.add("b", with_context(is_async), after=["c"])
    return outer


def mapped(is_async: bool, *, source: Any = None, fn: Any = None, **options: Any) -> flow.Dag:
    dag = flow.Dag("mapped")
    dag.add("x", source or (lambda: [Output() for _ in range(3)]))
    dag.map("b", fn or (abad if is_async else bad), over="x", **options)
    return dag


def map_then_failure(is_async: bool, **options: Any) -> flow.Dag:
    dag = mapped(is_async, **options)
    dag.add("c", abad if is_async else bad, needs=["b"])
    return dag


def asking(item: Any, ctx: Context) -> None:
    raise Boom


def pipelined(is_async: bool) -> flow.Dag:
    async def same(item: Any) -> Any:
        await anyio.lowlevel.checkpoint()
        return item

    dag = flow.Dag("chain")
    dag.add("x", lambda: [Output() for _ in range(3)])
    dag.map("m", same if is_async else lambda item: item, over="x")
    dag.map("b", abad if is_async else bad, over="m", pipelined=True)
    return dag


def bad_source(is_async: bool) -> flow.Dag:
    def source() -> Iterator[Output]:
        yield Output()
        raise Boom

    async def asource() -> AsyncIterator[Output]:
        yield Output()
        raise Boom

    return mapped(is_async, source=asource if is_async else source, fn=lambda item: item)


def reduced(is_async: bool) -> flow.Dag:
    async def folds(so_far: Any, item: Any) -> Any:
        await anyio.lowlevel.checkpoint()
        raise Boom

    def fold(so_far: Any, item: Any) -> Any:
        raise Boom

    dag = flow.Dag("reduced")
    dag.add("x", lambda: [Output()])
    dag.reduce("b", folds if is_async else fold, over="x", start=0)
    return dag


def timed_out(is_async: bool) -> flow.Dag:
    async def waits(a: Any) -> None:
        await anyio.sleep(60)

    return row(make, waits, timeout=0.001) if is_async else row(make, lambda a: time.sleep(0.002), timeout=0.001)


def beside(is_async: bool) -> flow.Dag:
    """One fails while another waits, is cancelled, and fails in its clean-up."""

    async def waits(a: Any) -> None:
        try:
            await anyio.sleep(60)
        finally:
            raise Boom

    dag = plain(is_async)
    if is_async:
        dag.add("w", waits, needs=["a"], timeout=0.05)
    return dag


def with_cause(is_async: bool) -> flow.Dag:
    def wraps(a: Any) -> None:
        try:
            bad(a)
        except Boom as error:
            raise Boom("other") from error

    async def awraps(a: Any) -> None:
        await anyio.lowlevel.checkpoint()
        wraps(a)

    return row(make, awraps if is_async else wraps)


DAGS: dict[str, Callable[[bool], flow.Dag]] = {
    "plain": plain,
    "tried again": lambda is_async: plain(is_async, retry=flow.Retry(3, delay=0.0)),
    "context": with_context,
    "middleware": with_middleware,
    "swallowed": swallowed,
    "nested": nested,
    "nested with context": nested_with_context,
    "map": mapped,
    "map of one": lambda is_async: mapped(is_async, source=lambda: [Output()]),
    "map with context": lambda is_async: mapped(is_async, fn=asking),
    "map, items tried again": lambda is_async: mapped(is_async, retry=flow.Retry(2, delay=0.0)),
    "map, collected": lambda is_async: mapped(is_async, on_error="collect"),
    "map, collected, with context": lambda is_async: mapped(is_async, fn=asking, on_error="collect"),
    "map, collected, then failed": lambda is_async: map_then_failure(is_async, on_error="collect"),
    "map, skipped, then failed": lambda is_async: map_then_failure(is_async, on_error="skip"),
    "map in batches": lambda is_async: mapped(is_async, batch_size=2),
    "pipelined": pipelined,
    "bad source": bad_source,
    "reduced": reduced,
    "timed out": timed_out,
    "cause": with_cause,
    "beside": beside,
}
FEATURES: dict[str, dict[str, Any]] = {
    "plainly": {},
    "collecting": {"on_error": "collect"},
    "observed": {"observers": [lambda event: None]},
    "freeing": {"keep": "targets"},
    "hot": {"optimize": "at_once"},
    "limited": {"limit": 1},
    "run limit": {"timeout": 60.0},
}


def let_gone(plan: flow.Plan, config: flow.Config) -> tuple[int, list[str]]:
    """Run twice; return how many things the second run still held with its Result, and those left after it."""

    def go() -> flow.Result:
        try:
            return flow.run(plan, config=config)
        except flow.RunError as error:
            ALIVE.add(error)
            return error.result  # type: ignore[no-any-return]  # a name for it would be in a frame below the error's

    go()  # imports and caches
    ALIVE.clear()
    gc.disable()
    try:
        result = go()
        for error in result.errors.values():
            ALIVE.add(error)
        held = len(ALIVE)
        error = None
        del result
        return held, sorted(type(thing).__name__ for thing in ALIVE)
    finally:
        gc.enable()


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("name", DAGS)
def test_without_an_event_loop(name: str, feature: str) -> None:
    held, left = let_gone(DAGS[name](False).compile(), flow.Config(**FEATURES[feature]))
    assert held and not left


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("name", DAGS)
@pytest.mark.parametrize("is_async", [False, True])
def test_on_an_event_loop(name: str, feature: str, is_async: bool, backend: str) -> None:
    config = flow.Config(**{"mode": "tasks", **FEATURES[feature]}, backend=backend)
    held, left = let_gone(DAGS[name](is_async).compile(), config)
    assert held and not left


def without_collector(go: Callable[[], Any], backend: str = "asyncio") -> list[str]:
    """Call twice; return the names of the types of what the second call has left."""
    go()
    ALIVE.clear()
    gc.disable()
    try:
        go()
        ends = time.monotonic() + 5.0  # for a worker thread, which lets go when it comes to it
        while ALIVE and time.monotonic() < ends:
            time.sleep(0.001)
        return sorted(type(thing).__name__ for thing in ALIVE)
    finally:
        gc.enable()


def test_a_run_that_is_cancelled_from_outside(on_loop: Any) -> None:
    async def waits(a: Any) -> None:
        try:
            await anyio.sleep(60)
        finally:
            raise Boom

    async def main() -> None:
        dag = plain(True, retry=flow.Retry(2, delay=60.0))
        dag.add("w", waits, needs=["a"])
        dag.add("x", lambda: [Output()])
        dag.map("m", waits, over="x")
        with anyio.move_on_after(0.01), suppress(flow.RunError):
            await flow.execute(dag, config=flow.Config(on_error="collect"))

    assert without_collector(lambda: on_loop(main)) == []


@pytest.mark.parametrize("is_async", [False, True])
def test_a_run_that_exceeds_its_limit(is_async: bool, backend: str) -> None:
    async def waits(a: Any) -> None:
        await anyio.sleep(60)

    def go() -> None:
        dag = plain(is_async)
        dag.map("m", asking, over=dag.add("x", lambda: [Output()]), on_error="collect")
        dag.add("z", waits if is_async else lambda a: time.sleep(0.02), needs=["a"])
        dag.add("last", make, after=["z"])
        config = flow.Config(on_error="collect", timeout=0.01, backend=backend)  # type: ignore[arg-type]
        with pytest.raises(flow.RunError):
            flow.run(dag, config=config)

    assert without_collector(go) == []


class Ends(BaseException):
    """Ends a run, and can be watched."""

    def __init__(self) -> None:
        ALIVE.add(self)


def test_a_run_that_is_ended_without_an_event_loop() -> None:
    def ends(a: Any) -> None:
        raise Ends

    def go() -> None:
        try:
            flow.run(row(make, ends))
        except Ends:
            pass

    assert without_collector(go) == []


@pytest.mark.parametrize("backend", loops())
@pytest.mark.parametrize("kind", [plain, mapped])
def test_threads(backend: str, kind: Any) -> None:
    def go() -> None:
        try:
            flow.run(kind(False, thread=True), config=flow.Config(backend=backend))  # type: ignore[arg-type]
        except flow.RunError:
            pass

    assert without_collector(go) == []


def test_errors_raised_by_results() -> None:
    def go() -> None:
        result = flow.run(mapped(False, on_error="collect"))
        collected = result["b"]
        with pytest.raises(flow.errors.MapError):
            collected.raise_for_errors()
        with pytest.raises(Boom):
            collected[1]
        result = flow.run(plain(False), config=flow.Config(on_error="collect"))
        with pytest.raises(flow.RunError):
            result.raise_for_errors()
        del result, collected

    assert without_collector(go) == []


def test_the_store_of_a_failed_run_still_shows_it() -> None:
    contexts: list[Context] = []

    def keeps(a: Any, ctx: Context) -> None:
        contexts.append(ctx)
        raise Boom

    result = flow.run(row(make, keeps), config=flow.Config(on_error="collect"))
    assert result.data is contexts[0].data
    assert dict(result.data.statuses) == dict(result.status) == {"a": "completed", "b": "failed"}
    assert result.data.outputs["a"] is result["a"]


def test_a_run_around_goes_on(on_loop: Any) -> None:
    """Our frames that a failed run has left are cleared; those of runs that are under way are not."""
    inner = map_then_failure(True, on_error="collect")
    turns = []

    async def runs(item: int) -> int:
        for _ in range(3):
            result = await flow.execute(inner, config=flow.Config(on_error="collect"))
            assert len(result["b"].errors) == 3 and type(result.errors["c"]) is Boom
            await anyio.lowlevel.checkpoint()
            turns.append(item)
        return item

    def runs_sync() -> int:
        assert type(flow.run(plain(False), config=flow.Config(on_error="collect")).errors["b"]) is Boom
        return 1

    async def main() -> None:
        dag = flow.Dag("outer")
        dag.add("first", runs_sync)
        dag.add("items", lambda first: range(3), needs=["first"])
        dag.map("m", runs, over="items")
        dag.add("nested", plain(True), continue_on_error=True)
        dag.add("last", lambda m: m, needs=["m"])
        results = []

        async def one() -> None:
            results.append((await flow.execute(dag))["last"])

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(one)
        assert results == [[0, 1, 2]] * 3

    on_loop(main)
    assert sorted(turns) == [0] * 9 + [1] * 9 + [2] * 9
