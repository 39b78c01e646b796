"""Whatever cancels, delays, fails or will not be compared: no node is lost, no error is masked, no limit is passed."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import sys
import threading
import time
import weakref
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import anyio
import pytest
from conftest import MODES, collected, error_of, modes

import flow
from flow import Config, Context, Retry, Status, Timeout

pytestmark = pytest.mark.usefixtures("frozen")


async def wait_once(*values: Any) -> int:
    await anyio.sleep(0)
    return len(values)


def test_a_retry_does_not_take_the_place_of_a_task_that_lives_on(virtual: Any) -> None:
    """The task that ran the first attempt goes on as a host; execute returned while it still ran."""

    async def a() -> None:
        await anyio.sleep(0.02)

    async def flaky(ctx: Context) -> None:
        await anyio.sleep(0.01)
        if ctx.attempt == 1:
            raise OSError

    async def long() -> None:
        await anyio.sleep(0.3)

    dag = flow.Dag("d")
    dag.add("a", a)
    dag.add("flaky", flaky, retry=Retry(2, delay=0.03))
    dag.add("long", long)

    async def main() -> flow.Result:
        return await flow.execute(dag, config=Config(limit=2))

    assert virtual(main).counts == {Status.COMPLETED: 3}


def test_thread_nodes_that_wait_for_a_thread_are_cancelled(backend: str) -> None:
    ran: list[int] = []
    started, cancelled = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        ran.append(1)
        cancelled.wait(10)

    async def bad() -> None:
        while not started.is_set():
            await anyio.sleep(0.001)
        raise ValueError

    async def tells() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()

    dag = flow.Dag("d")
    for i in range(30):
        dag.add(f"n{i}", work, thread=True)
    dag.add("tells", tells)  # before the other, which may fail at once
    dag.add("bad", bad)
    error = error_of(dag, threads=1, backend=backend)
    assert len(ran) <= 3
    assert error.result.counts[Status.CANCELLED] >= 28


class Big:
    """An output that can be watched."""


@pytest.mark.parametrize("kind", ["sync", "async", "thread", "timeout", "context", "timing", "middleware"])
@pytest.mark.parametrize("fails", [False, True])
def test_outputs_are_freed_without_the_garbage_collector(kind: str, fails: bool, backend: str) -> None:
    refs: list[Any] = []

    def make() -> Big:
        big = Big()
        refs.append(weakref.ref(big))
        return big

    async def amake() -> Big:
        await anyio.sleep(0)
        return make()

    def with_context(ctx: Context) -> Big:
        return make()

    def bad(big: Big) -> None:
        raise ValueError

    fn: Any = {"async": amake, "context": with_context}.get(kind, make)
    dag = flow.Dag("d")
    options: dict[str, Any] = {"thread": kind == "thread", "timeout": 5.0 if kind == "timeout" else None}
    layers = [lambda next, ctx: next()] if kind == "middleware" else []
    dag.add("big", fn, middleware=layers, **options)
    if fails:
        dag.add("bad", bad)
    config = Config(backend=backend, timing=kind == "timing")  # type: ignore[arg-type]
    flow.run(dag, config=config) if not fails else None  # imports and caches made once
    gc.collect()
    gc.disable()
    try:
        refs.clear()
        if fails:
            try:
                flow.run(dag, config=config)
            except flow.RunError:
                pass
        else:
            result = flow.run(dag, config=config)
            del result
        ends = time.monotonic() + 5.0  # for a worker thread, which lets go when it comes to it
        while kind == "thread" and not fails and any(ref() for ref in refs) and time.monotonic() < ends:
            time.sleep(0.001)
        alive = [ref() for ref in refs if ref() is not None]
        if backend == "asyncio" and sys.version_info >= (3, 12) and not fails:
            assert not alive
        del alive
    finally:
        gc.enable()
    gc.collect()
    while kind == "thread" and any(ref() for ref in refs) and time.monotonic() < ends:
        time.sleep(0.001)
        gc.collect()
    assert [ref() for ref in refs] == [None]


def test_nodes_that_change_a_contextvar_let_the_loop_turn(on_loop: Any, busy: Any) -> None:
    var: ContextVar[object] = ContextVar("var")
    done = 0
    turns: list[int] = []

    async def node() -> None:
        nonlocal done
        var.set(object())
        busy(0.001)
        done += 1

    dag = flow.Dag("d")
    for i in range(60):
        dag.add(f"n{i}", node)

    async def ticker() -> None:
        while done < 60:
            turns.append(done)
            await anyio.sleep(0)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(ticker)
            await anyio.sleep(0)
            await flow.execute(dag)

    on_loop(main)
    assert len({*turns}) >= 4


def test_a_task_group_cancelled_within_a_node_that_fails_too(backend: str) -> None:
    async def stubborn() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise RuntimeError("clean-up")

    async def group() -> None:
        async with anyio.create_task_group() as tg:
            tg.start_soon(stubborn)
            tg.start_soon(anyio.sleep_forever)

    async def bad() -> None:
        await anyio.sleep(0.001)
        raise ValueError("first")

    dag = flow.Dag("d")
    dag.add("group", group)
    dag.add("bad", bad)
    error = error_of(dag, backend=backend)
    leaves = [e for e in error.exceptions if isinstance(e, ValueError)]
    assert [str(e) for e in leaves] == ["first"]
    assert set(error.nodes) == {"bad", "group"}
    assert "clean-up" in repr(error.exceptions)


@dataclass(frozen=True)
class Quota(Exception):
    code: int


@pytest.mark.parametrize("mode", modes("inline", "tasks"))
def test_an_exception_that_cannot_be_changed_is_not_masked(mode: Any) -> None:
    def bad() -> None:
        raise Quota(7)

    dag = flow.Dag("d")
    dag.add("bad", bad)
    assert collected(dag, **mode).errors == {"bad": Quota(7)}


@pytest.mark.parametrize("ending", ["raises", "returns"])
def test_a_run_limit_stands_however_the_nodes_end(ending: str, virtual: Any) -> None:
    async def node() -> str:
        try:
            await anyio.sleep(1)
        except anyio.get_cancelled_exc_class():
            if ending == "raises":
                raise RuntimeError("clean-up") from None
            if virtual.name == "trio":  # trio does not let a cancellation be swallowed
                raise
            return "partial"
        return "whole"

    dag = flow.Dag("d")
    dag.add("n", node)

    async def main() -> Any:
        with pytest.raises(flow.RunError) as caught:
            await flow.execute(dag, config=Config(timeout=0.02, on_error="collect"))
        return caught.value

    error = virtual(main)
    assert error.timed_out
    assert isinstance(error.exceptions[-1], TimeoutError)


class TestSelfCancellation:
    def run(self, a: Any, **config: Any) -> flow.Result:
        dag = flow.Dag("d")
        dag.add("a", a)
        dag.add("b", wait_once, after="a")
        dag.add("c", wait_once, after="b")
        return collected(dag, **config)

    def test_no_node_is_lost(self, busy: Any) -> None:
        async def a() -> int:
            current = asyncio.current_task()
            assert current is not None
            current.cancel()
            busy(0.01)  # long enough for the host to let the loop turn
            return 1

        result = self.run(a)
        assert result.counts == {Status.COMPLETED: 3}

    def test_a_run_that_only_cancels_says_so(self) -> None:
        async def a() -> int:
            raise asyncio.CancelledError

        result = self.run(a)
        assert [type(e) for e in result.errors.values()] == [flow.errors.NodeCancelled]
        with pytest.raises(flow.RunError, match="'a'"):
            result.raise_for_errors()


class TestThingsThatReturnAwaitables:
    async def inner(self, *values: Any) -> int:
        await anyio.sleep(0)
        return 5

    def check(self, fn: Any, expected: Any = 5) -> None:
        for mode in (MODES["auto"], MODES["tasks"]):
            dag = flow.Dag("d")
            dag.add("first", wait_once)
            dag.add("n", fn)
            dag.add("m", fn, after="first")
            dag.add("use", lambda v: v, needs=["m"])
            result = flow.run(dag, config=Config(**mode))  # type: ignore[arg-type]
            assert (result["n"], result["use"]) == (expected, expected)

    def test_a_plain_wrapper_around_an_async_function(self) -> None:
        async def inner() -> int:
            return await self.inner()

        @functools.wraps(inner)
        def wrapped() -> Any:
            return inner()

        self.check(wrapped)
        self.check(functools.partial(wrapped))

    def test_a_wrapper_that_runs_it_itself(self) -> None:
        async def inner() -> int:
            return 5

        @functools.wraps(inner)
        def wrapped() -> int:
            return 6

        self.check(wrapped, 6)

    def test_mocks(self) -> None:
        self.check(AsyncMock(return_value=5))
        mock = MagicMock(return_value=5)
        dag = flow.Dag("d")
        dag.add("n", mock)
        assert dag.compile().all_sync
        assert flow.run(dag)["n"] == 5

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="inspect.markcoroutinefunction is new in 3.12")
    def test_marked_functions_that_return_another_awaitable(self) -> None:
        self.check(inspect.markcoroutinefunction(lambda: asyncio.ensure_future(self.inner())))

    def test_methods_and_callable_objects(self) -> None:
        class Callable_:
            async def __call__(self) -> int:
                return 5

        self.check(Callable_())
        self.check(functools.partial(self.inner))


def test_a_value_that_cannot_be_compared_is_a_change(backend: str) -> None:
    class Odd:
        def __eq__(self, other: object) -> bool:
            raise ValueError("ambiguous")

        __hash__ = None  # type: ignore[assignment]

    var: ContextVar[object] = ContextVar("var", default=None)

    async def change() -> None:
        var.set(Odd())

    async def look() -> object:
        return var.get()

    outside = Odd()
    var.set(outside)
    dag = flow.Dag("d")
    dag.add("wait", wait_once)
    for i in range(3):
        dag.add(f"c{i}", change, after="wait" if i else ())
        dag.add(f"l{i}", look, after=f"c{i}")
    result = flow.run(dag, config=Config(backend=backend))  # type: ignore[arg-type]
    assert all(result[f"l{i}"] is outside for i in range(3))


def test_times_on_a_clock_that_starts_at_zero() -> None:
    dag = flow.Dag("d")
    dag.add("a", lambda: 1)
    dag.add("bad", lambda a: 1 / 0)
    dag.add("never", lambda bad: 1)
    result = collected(dag, timing=True, clock=flow.testing.FakeClock())
    assert dict(result.durations) == {"a": 0.0, "bad": 0.0}
    assert list(result.spans()) == ["a", "bad"]


def test_nothing_is_tried_after_the_overall_limit() -> None:
    calls: list[int] = []

    async def slow(ctx: Context) -> None:
        calls.append(ctx.attempt)
        await anyio.sleep(5)

    dag = flow.Dag("d")
    dag.add("slow", slow, timeout=Timeout(node=0.02), retry=Retry(4, delay=0))
    result = collected(dag, clock=flow.testing.FakeClock())
    assert calls == [1]
    assert isinstance(result.errors["slow"], flow.NodeTimeout)
    assert result.errors["slow"].overall


def test_attempts_of_a_node_that_was_never_tried_again(virtual: Any) -> None:
    async def bad() -> None:
        raise OSError

    async def fatal() -> None:
        await anyio.sleep(0.1)
        raise ValueError

    dag = flow.Dag("d")
    dag.add("bad", bad, retry=Retry(2, delay=60))
    dag.add("fatal", fatal)

    async def main() -> Any:
        with pytest.raises(flow.RunError) as caught:
            await flow.execute(dag)
        return caught.value.result

    result = virtual(main)
    assert result.status["bad"] is Status.CANCELLED
    assert "attempts" not in result.to_dict()["nodes"]["bad"]


def test_one_exception_for_a_thousand_nodes() -> None:
    shared = ValueError("shared")

    def bad() -> None:
        raise shared

    dag = flow.Dag("d")
    for i in range(1000):
        dag.add(f"n{i}", bad)
    assert len(collected(dag).errors) == 1000
    assert len(shared.__notes__) <= 20


def test_an_execute_that_is_closed_cancels_its_tasks() -> None:
    ended: list[str] = []

    async def node() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("node")

    dag = flow.Dag("d")
    dag.add("n", node)

    async def main() -> None:
        coroutine = flow.execute(dag)
        coroutine.send(None)
        coroutine.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    assert ended == (["node"] if sys.version_info >= (3, 12) else []), "before 3.12 it had not begun"


def test_a_retry_is_not_lost_when_starting_hosts_takes_long(busy: Any) -> None:
    """Starting ready nodes gives the loop a turn after 5 ms; a run was over if no task was alive in that turn."""
    calls = {"a": 0, "b": 0}

    def make(name: str) -> Any:
        def fn() -> str:
            calls[name] += 1
            if calls[name] == 1:
                raise ValueError(name)
            busy(0.006)
            return name

        return fn

    dag = flow.Dag("retries")
    for name in calls:
        dag.add(name, make(name), retry=flow.Retry(2, delay=0.0))
    result = flow.run(dag, config=flow.Config(mode="tasks"))
    assert dict(result.outputs) == {"a": "a", "b": "b"}
    assert calls == {"a": 2, "b": 2}


def test_threads_that_ask_first_get_one_store_and_one_run_id(monkeypatch: pytest.MonkeyPatch) -> None:
    from flow.run import state

    make_store, make_id, gate = state._new_store, state.new_run_id, threading.Barrier(8)

    def slow_store(config: Any) -> Any:
        time.sleep(0.005)
        return make_store(config)

    def slow_id() -> str:
        time.sleep(0.005)
        return make_id()

    monkeypatch.setattr(state, "_new_store", slow_store)
    monkeypatch.setattr(state, "new_run_id", slow_id)

    def asks(ctx: Context) -> tuple[int, str]:
        gate.wait()
        ctx.data.increment("asked")
        return id(ctx.data), ctx.run_id

    dag = flow.Dag("first")
    for i in range(8):
        dag.add(f"n{i}", asks, thread=True)
    result = flow.run(dag)
    assert len(set(result.outputs.values())) == 1
    assert result.data.get("asked") == 8
