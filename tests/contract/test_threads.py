"""Nodes in threads: which time counts, whose error is told, what is left behind at a limit, what the system refuses."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from importlib import import_module
from typing import Any

import anyio
import pytest
from conftest import ROOT, collected, error_of, loops

import flow
from flow import Config, Context, Retry, Status, Timeout

pytestmark = pytest.mark.slow  # the times of threads are real

THREADS = import_module("flow.run.drive.threads")


@pytest.fixture(params=loops(long="uvloop"))
def backend(request: pytest.FixtureRequest) -> str:
    """Each event loop in turn. The times of most tests here are real, and asyncio and uvloop share the code of ours."""
    return str(request.param)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a node in a thread waits for; opened at the end, so that no thread stays behind."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def none_idle() -> Iterator[None]:
    """As in a process that has started no thread yet."""
    idle = THREADS._idle
    aside = [idle.pop() for _ in range(len(idle))]
    yield
    idle.extendleft(aside)


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that a thread does."""
    ends = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.001)


async def auntil(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not condition():
            await anyio.sleep(0.001)


class TestLimits:
    def test_queueing_for_a_thread_is_not_part_of_an_attempt(self, backend: str) -> None:
        dag = flow.Dag("d")
        dag.add("slow", lambda: time.sleep(0.4), thread=True)
        for i in range(3):
            dag.add(f"quick{i}", lambda: 1, thread=True, timeout=0.2)
        result = collected(dag, backend, threads=1)
        assert (result.ok, result["quick0"], result["quick2"]) == (True, 1, 1)

    def test_nor_of_an_items(self, backend: str) -> None:
        dag = flow.Dag("d")
        dag.map("m", lambda item: time.sleep(0.1), over="items", thread=True, timeout=0.25)
        assert flow.run(dag, {"items": range(5)}, config=Config(threads=1, backend=backend)).ok  # type: ignore[arg-type]

    def test_after_queueing_the_limit_is_a_whole_one(self, backend: str) -> None:
        dag = flow.Dag("d")
        dag.add("slow", lambda: time.sleep(0.3), thread=True)
        dag.add("late", lambda: time.sleep(0.2), thread=True, timeout=0.05)
        result = collected(dag, backend, threads=1)
        message = str(result.errors["late"])
        assert message == (
            "node 'late' exceeded its attempt limit of 0.05 s; "
            "it ran in a thread, which cannot be interrupted, and was waited for"
        )

    def test_time_in_middleware_outside_of_the_thread_counts(self, backend: str) -> None:
        async def slow(next: Any, ctx: Context) -> Any:
            await anyio.sleep(0.15)
            return await next()

        dag = flow.Dag("d")
        dag.add("other", lambda: time.sleep(0.5), thread=True)
        dag.add("n", lambda: time.sleep(0.15), thread=True, timeout=0.25, middleware=[slow])
        dag.add("fits", lambda: None, thread=True, timeout=0.25, middleware=[slow])
        result = collected(dag, backend, threads=1)
        assert list(result.errors) == ["n"]

    def test_the_overall_limit_begins_with_the_first_attempt(self, backend: str) -> None:
        dag = flow.Dag("d")
        dag.add("slow", lambda: time.sleep(0.4), thread=True)
        dag.add("quick", lambda: 1, thread=True, timeout=Timeout(node=0.2))
        dag.add("both", lambda: 2, thread=True, timeout=Timeout(attempt=0.2, node=0.2))
        assert collected(dag, backend, threads=1).ok

    def test_and_from_then_on_covers_queueing_as_well(self, backend: str, gate: threading.Event) -> None:
        """Its second attempt queues behind a call that lasts: it gives up at its overall limit, and never runs."""
        calls: list[int] = []

        def flaky(ctx: Context) -> None:
            calls.append(ctx.attempt)
            raise OSError

        async def opens() -> None:
            await auntil(lambda: bool(calls))
            await anyio.sleep(0.3)
            gate.set()

        dag = flow.Dag("d")
        dag.add("flaky", flaky, thread=True, retry=Retry(2, delay=0.02), timeout=Timeout(attempt=5.0, node=0.1))
        dag.add("long", lambda: gate.wait(20), thread=True)
        dag.add("opens", opens)
        result = collected(dag, backend, threads=1)
        error = result.errors["flaky"]
        assert str(error) == "node 'flaky' exceeded its overall limit of 0.1 s; it was waiting for a free thread"
        assert (calls, error.overall) == ([1], True)  # type: ignore[attr-defined]

    def test_the_runs_own_limit_covers_queueing(self, backend: str) -> None:
        ran: list[str] = []
        dag = flow.Dag("d")
        dag.add("slow", lambda: time.sleep(0.3), thread=True)
        dag.add("queued", lambda: ran.append("queued"), thread=True, timeout=5.0)
        error = error_of(dag, threads=1, timeout=0.1, backend=backend)
        assert (error.timed_out, ran) == (True, [])
        assert error.result.status["queued"] is Status.CANCELLED

    def test_a_call_that_kept_its_limit_while_the_loop_was_held(self, backend: str) -> None:
        """It ended in time; the loop saw it late."""
        done = threading.Event()

        def quick() -> int:
            time.sleep(0.02)
            done.set()
            return 1

        async def holds() -> None:
            await anyio.sleep(0.01)
            time.sleep(0.4)  # noqa: ASYNC251

        dag = flow.Dag("d")
        dag.add("quick", quick, thread=True, timeout=0.2)
        dag.add("holds", holds)
        assert collected(dag, backend, blocking_after=None)["quick"] == 1


    def test_a_limit_that_has_passed_is_the_one_that_is_told(self) -> None:
        """Though the call gets to queue, or begins, before its task hears of it."""
        from types import SimpleNamespace

        from flow.policy.bind import ThreadLimit

        run: Any = SimpleNamespace(time_left=lambda i: None, postpone=lambda i, seconds: None, name_of=str)
        limit = ThreadLimit(run, 0, Timeout(attempt=1.0), False)
        limit.scope = SimpleNamespace(cancel_called=False, deadline=0.0)
        limit.restart(10.0)
        assert (limit.scope.deadline, limit.overall) == (11.0, False)
        limit.scope.cancel_called = True
        limit.pause(12.0)
        limit.resume(13.0, 14.0)
        assert (limit.scope.deadline, limit.overall, limit.detail) == (11.0, False, "")


class TestErrorsWhileTheRunEnds:
    @pytest.mark.parametrize("options", [{}, {"timeout": 5.0}])
    def test_a_failing_run_tells_of_the_thread_that_it_waited_for(self, backend: str, options: Any) -> None:
        failed = threading.Event()

        def late() -> None:
            failed.wait(20)
            raise LookupError("half written")

        dag = flow.Dag("d")
        dag.add("late", late, thread=True, **options)
        dag.add("first", failing_first(failed))
        error = error_of(dag, backend=backend)
        assert set(error.nodes) == {"late", "first"}
        late_error = error.result.errors["late"]
        assert str(late_error) == "half written"
        traceback = late_error.__traceback__
        assert traceback is not None
        assert traceback.tb_frame.f_code.co_name == "late"
        assert traceback.tb_next is None

    @pytest.mark.parametrize("kind", [SystemExit, LookupError])
    @pytest.mark.parametrize("within", ["map", "pipeline", "dag", "map of dags"])
    def test_of_one_in_a_run_within_the_run(self, backend: str, kind: type[BaseException], within: str) -> None:
        failed = threading.Event()

        def late(item: int) -> None:
            failed.wait(20)
            raise kind(3)

        inner = flow.Dag("inner")
        inner.add("late", late, thread=True)
        dag = flow.Dag("d")
        if within == "map":
            dag.map("n", late, over="items", thread=True)
        elif within == "pipeline":
            dag.map("n", lambda item: item, over="items", thread=True)
            dag.map("later", late, over="n", thread=True, pipelined=True)
        elif within == "dag":
            dag.add("n", inner, needs={"item": "one"})
            dag.add("one", lambda: 1)
        else:
            dag.map("n", inner, over="items")
        dag.add("first", failing_first(failed))
        inputs = {} if within == "dag" else {"items": [1, 2]}
        config = Config(backend=backend)  # type: ignore[arg-type]
        if kind is SystemExit:
            with pytest.raises(SystemExit):
                flow.run(dag, inputs, config=config)
            return
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, inputs, config=config)
        assert set(caught.value.nodes) == {"n", "first"}
        assert caught.group_contains(LookupError)

    def test_of_an_item_too(self, backend: str) -> None:
        failed = threading.Event()

        def work(item: int) -> None:
            failed.wait(20)
            raise LookupError(item)

        dag = flow.Dag("d")
        dag.map("m", work, over="items", thread=True)
        dag.add("first", failing_first(failed))
        error = error_of(dag, {"items": [1, 2]}, backend=backend)
        assert set(error.nodes) == {"m", "first"}

    @pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
    def test_an_exit_is_raised(self, backend: str, kind: type[BaseException]) -> None:
        failed = threading.Event()

        def leaves() -> None:
            failed.wait(20)
            raise kind(3)

        dag = flow.Dag("d")
        dag.add("leaves", leaves, thread=True)
        dag.add("first", failing_first(failed))
        with pytest.raises(kind):
            flow.run(dag, config=Config(backend=backend))  # type: ignore[arg-type]

    def test_at_its_own_limit_its_own_error_says_more(self, backend: str) -> None:
        """As of an async function that raises while it is cancelled there."""

        def late() -> None:
            time.sleep(0.1)
            raise LookupError("own")

        dag = flow.Dag("d")
        dag.add("late", late, thread=True, timeout=0.02)
        assert str(collected(dag, backend).errors["late"]) == "own"

    def test_at_the_runs_limit(self, backend: str) -> None:
        def late() -> None:
            time.sleep(0.15)
            raise LookupError("own")

        dag = flow.Dag("d")
        dag.add("late", late, thread=True)
        error = error_of(dag, backend=backend, timeout=0.02)
        assert error.nodes == ("late",)
        assert [str(e) for e in error.exceptions] == ["own", "run limit of 0.02 s"]  # nothing stands after a colon

    def test_a_cancelled_caller_hears_of_it_as_from_a_task_group(self, on_loop: Any) -> None:
        ended = threading.Event()

        def late() -> None:
            time.sleep(0.1)
            ended.set()
            raise LookupError

        dag = flow.Dag("d")
        dag.add("late", late, thread=True)

        async def main() -> None:
            with pytest.raises(flow.RunError) as caught, anyio.move_on_after(0.02):
                await flow.execute(dag)
            assert [type(error) for error in caught.value.exceptions] == [LookupError]
            assert ended.is_set()
            await anyio.sleep(0)

        on_loop(main)

    def test_what_is_left_of_the_cancellation(self) -> None:
        """On asyncio a cancellation is counted: no count of the run's or of a limit's stays in the caller's task."""

        def late() -> None:
            time.sleep(0.05)
            raise LookupError

        dag = flow.Dag("d")
        dag.add("late", late, thread=True, timeout=0.01)

        async def main() -> int:
            with pytest.raises(flow.RunError):
                await flow.execute(dag)
            task = asyncio.current_task()
            assert task is not None
            return task.cancelling()

        assert asyncio.run(main()) == 0


def failing_first(failed: threading.Event) -> Callable[[], Awaitable[None]]:
    """A node that fails, and sets ``failed`` when the run is surely being ended for that."""

    async def first() -> None:
        await anyio.sleep(0.02)
        threading.Timer(0.1, failed.set).start()
        raise ValueError

    return first


class TestAbandoned:
    def test_the_node_fails_at_its_limit_and_nobody_waits(self, backend: str, gate: threading.Event) -> None:
        dag = flow.Dag("d")
        dag.add("stuck", lambda: gate.wait(20), thread=True, timeout=0.05, abandon_on_timeout=True)
        dag.add("after", lambda: 1, thread=True)
        result = collected(dag, backend)
        assert result["after"] == 1
        assert str(result.errors["stuck"]) == (
            "node 'stuck' exceeded its attempt limit of 0.05 s; "
            "it ran in a thread, which cannot be interrupted, and was abandoned there"
        )
        assert result.abandoned == 1
        assert not gate.is_set()
        gate.set()
        until(lambda: result.abandoned == 0)

    def test_one_that_is_in_time_is_as_any(self, backend: str) -> None:
        dag = flow.Dag("d")
        dag.add("n", lambda: 1, thread=True, timeout=5.0, abandon_on_timeout=True)
        result = collected(dag, backend)
        assert (result["n"], result.abandoned) == (1, 0)

    def test_a_sync_run_abandons_nothing(self) -> None:
        dag = flow.Dag("d")
        dag.add("n", lambda: 1)
        assert flow.run(dag).abandoned == 0

    def test_per_item(self, backend: str, gate: threading.Event) -> None:
        def work(item: int) -> int:
            if item == 1:
                gate.wait(20)
            return item

        dag = flow.Dag("d")
        dag.map("m", work, over="items", thread=True, timeout=0.2, abandon_on_timeout=True, on_error="collect")
        result = flow.run(dag, {"items": range(4)}, config=Config(backend=backend))  # type: ignore[arg-type]
        found = result["m"]
        assert isinstance(found.errors[1], flow.NodeTimeout)
        assert list(found.errors) == [1]
        assert result.abandoned == 1

    def test_within_a_nested_dag(self, backend: str, gate: threading.Event) -> None:
        """Threads are the outermost run's."""
        inner = flow.Dag("inner")
        inner.add("stuck", lambda: gate.wait(20), thread=True, timeout=0.05, abandon_on_timeout=True)
        dag = flow.Dag("d")
        dag.add("inner", inner, continue_on_error=True)
        dag.add("quick", lambda: 1, after="inner", thread=True)
        result = collected(dag, backend)
        assert (result["quick"], result.abandoned) == (1, 1)

    def test_it_holds_a_thread_and_no_place_of_the_limit(self, backend: str, gate: threading.Event) -> None:
        names: list[str] = []
        dag = flow.Dag("d")
        dag.add("stuck", lambda: gate.wait(20), thread=True, timeout=0.05, abandon_on_timeout=True)
        for i in range(3):
            dag.add(f"n{i}", lambda: names.append(threading.current_thread().name), thread=True)
        result = collected(dag, backend, limit=1, threads=2)
        assert (len(names), len(set(names)), result.abandoned) == (3, 1, 1)

    def test_when_all_threads_are_held(self, backend: str, gate: threading.Event) -> None:
        dag = flow.Dag("d")
        for i in range(2):
            dag.add(f"stuck{i}", lambda: gate.wait(20), thread=True, timeout=0.05, abandon_on_timeout=True)
        dag.add("queued", lambda: 1, thread=True)
        dag.add("queued_timed", lambda: 1, thread=True, timeout=0.01)
        result = collected(dag, backend, threads=2)
        for name in ("queued", "queued_timed"):
            error = result.errors[name]
            assert isinstance(error, flow.errors.ThreadsExhausted)
            assert (error.threads, set(error.nodes)) == (2, {"stuck0", "stuck1"})
            assert "Config.threads=2" in str(error)
            assert "'stuck0'" in str(error)
        assert result.abandoned == 2

    def test_and_for_those_that_come_later(self, backend: str, gate: threading.Event) -> None:
        dag = flow.Dag("d")
        dag.add(
            "stuck", lambda: gate.wait(20), thread=True, timeout=0.05, abandon_on_timeout=True, continue_on_error=True
        )
        dag.add("later", lambda: 1, after="stuck", thread=True)
        error = collected(dag, backend, threads=1).errors["later"]
        assert isinstance(error, flow.errors.ThreadsExhausted)

    def test_a_thread_that_comes_back_is_used_again(self, backend: str, gate: threading.Event) -> None:
        async def waits() -> None:
            await anyio.sleep(0.1)
            gate.set()
            await anyio.sleep(0.1)

        dag = flow.Dag("d")
        dag.add("stuck", lambda: gate.wait(20), thread=True, timeout=0.02, abandon_on_timeout=True)
        dag.add("waits", waits)
        dag.add("later", threading.get_ident, after="waits", thread=True)
        result = collected(dag, backend, threads=1)
        assert result.status["later"] is Status.COMPLETED
        assert result.abandoned == 0

    def test_what_it_returns_or_raises_is_dropped(self, backend: str, gate: threading.Event) -> None:
        class Big:
            pass

        refs: list[Any] = []

        def returns() -> Big:
            gate.wait(20)
            big = Big()
            refs.append(weakref.ref(big))
            return big

        def exits() -> None:
            gate.wait(20)
            raise SystemExit(3)

        async def waits() -> None:
            await anyio.sleep(0.1)
            gate.set()
            await auntil(lambda: bool(refs))
            await anyio.sleep(0.05)

        dag = flow.Dag("d")
        dag.add("returns", returns, thread=True, timeout=0.02, abandon_on_timeout=True)
        dag.add("exits", exits, thread=True, timeout=0.02, abandon_on_timeout=True)
        dag.add("waits", waits)
        result = collected(dag, backend)
        assert set(result.errors) == {"returns", "exits"}
        until(lambda: result.abandoned == 0)
        until(lambda: gc.collect() >= 0 and refs[0]() is None)

    def test_a_retry_waits_until_it_has_returned(self, backend: str) -> None:
        going, most, calls = [0], [0], [0]

        def slow(ctx: Context) -> int:
            going[0] += 1
            calls[0] += 1
            most[0] = max(most[0], going[0])
            time.sleep(0.5 if ctx.attempt == 1 else 0.0)
            going[0] -= 1
            return ctx.attempt

        dag = flow.Dag("d")
        dag.add("slow", slow, thread=True, timeout=0.3, abandon_on_timeout=True, retry=Retry(2, delay=0.0))
        result = collected(dag, backend)
        assert (result["slow"], most, calls) == (2, [1], [2])
        assert result.abandoned == 0

    def test_but_no_longer_than_its_own_limit(self, backend: str, gate: threading.Event) -> None:
        calls: list[int] = []

        def stuck(ctx: Context) -> None:
            calls.append(ctx.attempt)
            gate.wait(20)

        dag = flow.Dag("d")
        dag.add("stuck", stuck, thread=True, timeout=0.05, abandon_on_timeout=True, retry=Retry(3, delay=0.0))
        result = collected(dag, backend)
        assert calls == [1]
        assert result.attempts["stuck"] == 3
        assert str(result.errors["stuck"]) == (
            "node 'stuck' exceeded its attempt limit of 0.05 s; "
            "the call that an earlier attempt abandoned in its thread has not returned"
        )

    def test_a_run_that_ends_early_waits_until_the_limit(self, backend: str, gate: threading.Event) -> None:
        async def bad() -> None:
            await anyio.sleep(0.02)
            raise ValueError

        dag = flow.Dag("d")
        dag.add("stuck", lambda: gate.wait(20), thread=True, timeout=0.3, abandon_on_timeout=True)
        dag.add("short", lambda: time.sleep(0.1), thread=True, timeout=0.3, abandon_on_timeout=True)
        dag.add("bad", bad)
        started = time.monotonic()
        error = error_of(dag, backend=backend)
        assert 0.2 < time.monotonic() - started < 10
        assert error.result.abandoned == 1

    def test_a_cancelled_caller_waits_until_the_limit(self, on_loop: Any, gate: threading.Event) -> None:
        dag = flow.Dag("d")
        dag.add("stuck", lambda: gate.wait(20), thread=True, timeout=0.2, abandon_on_timeout=True)

        async def main() -> None:
            with anyio.move_on_after(0.02) as scope:
                await flow.execute(dag)
            assert scope.cancelled_caught

        on_loop(main)
        assert not gate.is_set()

    def test_its_function_is_not_stopped(self, backend: str, gate: threading.Event) -> None:
        """And its thread serves other runs when it has returned, though the run and its loop are long gone."""
        threads: list[threading.Thread] = []
        ended: list[int] = []

        def stuck() -> None:
            threads.append(threading.current_thread())
            gate.wait(20)
            ended.append(1)

        dag = flow.Dag("d")
        dag.add("stuck", stuck, thread=True, timeout=0.1, abandon_on_timeout=True)
        result = collected(dag, backend)
        assert threads[0].daemon
        assert not ended
        gate.set()
        until(lambda: result.abandoned == 0)
        assert ended
        next_one = flow.Dag("next")
        next_one.add("n", threading.current_thread, thread=True)
        until(lambda: flow.run(next_one)["n"] is threads[0])


class TestAbandonedContext:
    def left_behind(self, backend: str, gate: threading.Event, act: Callable[[Context], object]) -> tuple[Any, Any]:
        """Let a node act on its Context after it was abandoned; return what that raised, and the Result."""
        raised: list[Any] = []

        def stuck(ctx: Context) -> None:
            ctx.data["before"] = 1
            store = ctx.data
            assert store is ctx.data
            gate.wait(20)
            try:
                act(ctx)
                raised.append(None)
            except Exception as error:
                raised.append(error)

        dag = flow.Dag("d")
        dag.add("stuck", stuck, thread=True, timeout=0.15, abandon_on_timeout=True)
        result = collected(dag, backend)
        gate.set()
        until(lambda: bool(raised))
        return raised[0], result

    @pytest.mark.parametrize(
        "act",
        [
            lambda ctx: ctx.data.set("k", 1),
            lambda ctx: ctx.data.__setitem__("k", 1),
            lambda ctx: ctx.data.delete("before"),
            lambda ctx: ctx.data.__delitem__("before"),
            lambda ctx: ctx.data.increment("k"),
            lambda ctx: ctx.data.update("k", lambda old: 1, 0),
            lambda ctx: ctx.data.clear(),
            lambda ctx: ctx.data.reset(),
            lambda ctx: ctx.data.restore(ctx.data.snapshot()),
            lambda ctx: ctx.publish("k", 1),
            lambda ctx: ctx.publish("k", 1, "append"),
            lambda ctx: ctx.child(1).publish("k", 1),
            lambda ctx: ctx.child(1).data.set("k", 1),
        ],
    )
    def test_writes_are_refused(self, gate: threading.Event, act: Callable[[Context], object]) -> None:
        error, result = self.left_behind("asyncio", gate, act)
        assert isinstance(error, flow.UsageError)
        assert "node 'stuck' was abandoned at its time limit" in str(error)
        assert dict(result.data.items()) == {"before": 1}

    def test_on_every_loop(self, backend: str, gate: threading.Event) -> None:
        error, result = self.left_behind(backend, gate, lambda ctx: ctx.data.set("k", 1))
        assert isinstance(error, flow.UsageError)
        assert "k" not in result.data

    def test_reading_goes_on(self, gate: threading.Event) -> None:
        def reads(ctx: Context) -> None:
            data = ctx.data
            assert isinstance(data, flow.WorkflowData)
            assert (data["before"], data.get("none", 2), "before" in data, len(data)) == (1, 2, True, 1)
            assert (data.keys(), data.items(), list(data)) == (["before"], [("before", 1)], ["before"])
            assert dict(data.snapshot()) == dict(data.clone().items()) == dict(data.child().items()) == {"before": 1}
            assert data.statuses["stuck"] is Status.FAILED
            assert ctx.child(5, 0).data["before"] == 1
            assert data.get_int("before") == 1
            data.statistics()

        assert self.left_behind("asyncio", gate, reads)[0] is None

    def test_an_update_that_is_going_on_is_refused(self, backend: str, gate: threading.Event) -> None:
        raised: list[Any] = []

        def stuck(ctx: Context) -> None:
            try:
                ctx.data.update("k", lambda old: gate.wait(20), 0)
            except flow.UsageError as error:
                raised.append(error)

        dag = flow.Dag("d")
        dag.add("stuck", stuck, thread=True, timeout=0.03, abandon_on_timeout=True)
        result = collected(dag, backend)
        gate.set()
        until(lambda: bool(raised))
        assert "k" not in result.data

    def test_before_its_limit_it_writes_as_any(self, backend: str) -> None:
        def writes(ctx: Context) -> None:
            ctx.data["a"] = 1
            ctx.data.increment("n", 2)
            ctx.data.update("n", lambda n: n + 1)
            ctx.publish("p", 1, "append")
            child = ctx.child(0, 0)
            child.data["own"] = 1
            child.publish("q", 5)
            ctx.gather([child])
            assert isinstance(ctx, Context)

        dag = flow.Dag("d")
        dag.add("n", writes, thread=True, timeout=5.0, abandon_on_timeout=True)
        result = flow.run(dag, config=Config(backend=backend))  # type: ignore[arg-type]
        assert dict(result.data.items()) == {"a": 1, "n": 3, "p": [1], "q": 5}

    def test_the_next_attempts_takes_writes(self, backend: str) -> None:
        def flaky(ctx: Context) -> int:
            time.sleep(0.5 if ctx.attempt == 1 else 0.0)
            ctx.data["attempt"] = ctx.attempt
            return ctx.attempt

        dag = flow.Dag("d")
        dag.add("n", flaky, thread=True, timeout=0.3, abandon_on_timeout=True, retry=Retry(2, delay=0.0))
        assert collected(dag, backend).data["attempt"] == 2

    def test_an_items(self, backend: str, gate: threading.Event) -> None:
        raised: list[Any] = []

        def work(item: int, ctx: Context) -> int:
            ctx.data["mine"] = item
            ctx.publish("early", item, "append")
            if item == 1:
                gate.wait(20)
                for act in (lambda: ctx.publish("k", 1), lambda: ctx.data.set("mine", 5)):
                    try:
                        act()
                    except flow.UsageError as error:
                        raised.append(str(error))
            return item

        dag = flow.Dag("d")
        dag.map("m", work, over="items", thread=True, timeout=0.2, abandon_on_timeout=True, on_error="skip")
        result = flow.run(dag, {"items": range(3)}, config=Config(backend=backend))  # type: ignore[arg-type]
        assert (result["m"], result.data["early"], result.abandoned) == ([0, 2], [0, 2], 1)
        gate.set()
        until(lambda: len(raised) == 2)
        assert all("node 'm[1]' was abandoned" in text for text in raised)
        assert "k" not in result.data

    def test_middleware_gets_one_as_well(self, backend: str, gate: threading.Event) -> None:
        raised: list[Any] = []

        def after(next: Any, ctx: Context) -> Any:
            value = next()
            try:
                ctx.data["k"] = 1
            except flow.UsageError as error:
                raised.append(error)
            return value

        async def outer(next: Any, ctx: Context) -> Any:
            ctx.data["outer"] = 1
            return await next()

        dag = flow.Dag("d")
        dag.add(
            "n", lambda: gate.wait(20), thread=True, timeout=0.03, abandon_on_timeout=True, middleware=[outer, after]
        )
        result = collected(dag, backend)
        gate.set()
        until(lambda: bool(raised))
        assert dict(result.data.items()) == {"outer": 1}


class TestOption:
    @pytest.mark.parametrize(
        ("options", "fault"),
        [
            ({"timeout": 1.0}, "abandon_on_timeout=True needs thread=True"),
            ({"thread": True}, "abandon_on_timeout=True needs a timeout"),
            ({"thread": True, "timeout": Timeout()}, "abandon_on_timeout=True needs a timeout"),
            ({"thread": True, "timeout": 1.0, "abandon_on_timeout": 1}, "abandon_on_timeout must be True or False"),
        ],
    )
    @pytest.mark.parametrize("kind", ["add", "map", "node"])
    def test_refused(self, kind: str, options: Any, fault: str) -> None:
        dag = flow.Dag("d")
        options = {"abandon_on_timeout": True, **options}
        if kind == "map":
            dag.map("n", lambda item: 1, over="items", **options)
        elif kind == "node":
            dag.node(name="n", **options)(lambda: 1)
        else:
            dag.add("n", lambda: 1, **options)
        with pytest.raises(flow.DefinitionError, match=fault):
            dag.compile()

    @pytest.mark.parametrize("kind", ["add", "map"])
    def test_refused_on_async_functions(self, kind: str) -> None:
        async def fn(item: int) -> int:
            return item

        dag = flow.Dag("d")
        if kind == "map":
            dag.map("n", fn, over="items", timeout=1.0, abandon_on_timeout=True)
        else:
            dag.add("n", fn, timeout=1.0, abandon_on_timeout=True)
        with pytest.raises(flow.DefinitionError, match="an async function is cancelled at its limit: drop it"):
            dag.compile()

    def test_both_that_are_missing_in_one_go(self) -> None:
        dag = flow.Dag("d")
        dag.add("n", lambda: 1, abandon_on_timeout=True)
        with pytest.raises(flow.DefinitionError) as caught:
            dag.compile()
        assert len(caught.value.faults) == 2

    def test_it_is_included_and_cut_out_with_its_node(self, gate: threading.Event) -> None:
        dag = flow.Dag("d")
        dag.add("stuck", lambda: gate.wait(20), thread=True, timeout=0.02, abandon_on_timeout=True)
        whole = flow.Dag("whole")
        whole.include(dag, prefix="p")
        assert collected(whole).abandoned == 1
        assert collected(dag.subgraph("stuck")).abandoned == 1

    def test_the_error_travels(self) -> None:
        import pickle

        error = pickle.loads(pickle.dumps(flow.errors.ThreadsExhausted(2, ["a", "b"])))
        assert (type(error), error.threads, error.nodes) == (flow.errors.ThreadsExhausted, 2, ("a", "b"))
        assert isinstance(error, flow.errors.FlowError)


class TestThreads:
    def test_contextvars_are_the_callers_and_changes_go_nowhere(self, backend: str) -> None:
        var: ContextVar[int] = ContextVar("var", default=0)
        var.set(1)

        def changes() -> int:
            found = var.get()
            var.set(found + 1)
            return found

        dag = flow.Dag("d")
        dag.add("a", changes, thread=True)
        dag.add("b", changes, thread=True, after="a")
        result = flow.run(dag, config=Config(threads=1, backend=backend))  # type: ignore[arg-type]
        assert (result["a"], result["b"], var.get()) == (1, 1, 1)

    @pytest.mark.parametrize("inner", ["asyncio", "trio"])
    def test_a_thread_has_no_event_loop_of_its_own_yet(self, backend: str, inner: str) -> None:
        """A node may start one there, whatever the run is on."""

        async def main() -> int:
            await anyio.sleep(0)
            return 1

        dag = flow.Dag("d")
        dag.add("n", lambda: anyio.run(main, backend=inner), thread=True)
        assert flow.run(dag, config=Config(backend=backend))["n"] == 1  # type: ignore[arg-type]

    def test_the_loop_can_be_called_from_a_thread(self, on_loop: Any) -> None:
        """With its token: only anyio's own threads know it without."""

        async def here() -> int:
            await anyio.sleep(0)
            return threading.get_ident()

        async def main() -> None:
            if "token" not in anyio.from_thread.run.__kwdefaults__:
                pytest.skip("this anyio has no token=")
            token = anyio.lowlevel.current_token()
            dag = flow.Dag("d")
            dag.add("n", lambda: anyio.from_thread.run(here, token=token), thread=True)
            assert (await flow.execute(dag))["n"] == threading.get_ident()

        on_loop(main)

    @pytest.mark.usefixtures("none_idle")
    def test_as_many_as_the_run_may_use(self, backend: str) -> None:
        dag = flow.Dag("d")
        for i in range(20):
            dag.add(f"n{i}", lambda: (time.sleep(0.01), threading.current_thread())[1], thread=True)
        threads = set(flow.run(dag, config=Config(threads=3, backend=backend)).values())  # type: ignore[arg-type]
        assert len(threads) == 3
        assert all(thread.daemon and thread.name.startswith("flow-thread-") for thread in threads)

    @pytest.mark.usefixtures("none_idle")
    def test_one_that_is_idle_is_used_again(self, backend: str) -> None:
        """By the next node, and by the next run."""
        dag = flow.Dag("d")
        dag.add("n0", threading.current_thread, thread=True)
        for i in range(1, 30):
            dag.add(f"n{i}", threading.current_thread, thread=True, after=f"n{i - 1}")
        config = Config(backend=backend)  # type: ignore[arg-type]
        assert len({*flow.run(dag, config=config).values(), *flow.run(dag, config=config).values()}) == 1

    @pytest.mark.usefixtures("none_idle")
    def test_one_that_has_long_been_idle_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(THREADS, "IDLE_SECONDS", 0.02)
        dag = flow.Dag("d")
        for i in range(3):
            dag.add(f"n{i}", lambda: (time.sleep(0.01), threading.current_thread())[1], thread=True)
        threads = list(flow.run(dag).values())
        until(lambda: not any(thread.is_alive() for thread in threads))
        assert not THREADS._idle
        assert flow.run(dag).ok

    @pytest.mark.usefixtures("none_idle")
    def test_one_that_is_taken_while_it_gives_up(self) -> None:
        """Whoever took its inbox has a job for it."""
        taken, found = THREADS.SimpleQueue(), []
        job = object()
        waits = threading.Thread(target=lambda: found.append(THREADS._given(taken)))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(THREADS, "IDLE_SECONDS", 0.01)
            waits.start()
            time.sleep(0.05)
        taken.put(job)
        waits.join(20)
        assert found == [job]

    def test_it_holds_on_to_nothing(self, backend: str) -> None:
        class Big:
            pass

        refs: list[Any] = []

        def make() -> Big:
            refs.append(weakref.ref(big := Big()))
            return big

        def take(big: Big, error: bool = False) -> None:
            assert isinstance(big, Big)

        dag = flow.Dag("d")
        dag.add("big", make, thread=True)
        dag.add("take", take, thread=True, timeout=5.0)
        flow.run(dag, config=Config(backend=backend))  # type: ignore[arg-type]
        until(lambda: gc.collect() >= 0 and refs[0]() is None)

    def test_two_runs_at_once_use_so_many_each(self) -> None:
        most, going = [0, 0], [0, 0]
        lock = threading.Lock()
        together = threading.Barrier(4, timeout=20)

        def node(k: int) -> Callable[[], None]:
            def work() -> None:
                with lock:
                    going[k] += 1
                    most[k] = max(most[k], going[k])
                together.wait()
                with lock:
                    going[k] -= 1

            return work

        async def main() -> None:
            async with anyio.create_task_group() as group:
                for k in range(2):
                    dag = flow.Dag("d")
                    for i in range(8):
                        dag.add(f"n{i}", node(k), thread=True)
                    group.start_soon(lambda dag=dag: flow.execute(dag, config=Config(threads=2)))

        anyio.run(main)
        assert most == [2, 2]

    def test_all_that_may_run_side_by_side_do(self, backend: str) -> None:
        together = threading.Barrier(40, timeout=20)
        dag = flow.Dag("d")
        for i in range(40):
            dag.add(f"n{i}", together.wait, thread=True)
        assert sorted(flow.run(dag, config=Config(backend=backend)).values()) == [*range(40)]  # type: ignore[arg-type]

    def test_one_that_is_closed_from_outside_does_not_wait(self, gate: threading.Event) -> None:
        """Nobody drives its coroutine any more: what queues is withdrawn, and nothing is said of what goes on."""
        ran: list[int] = []
        dag = flow.Dag("d")
        dag.add("long", lambda: gate.wait(20), thread=True)
        dag.add("queued", lambda: ran.append(1), thread=True)

        async def main() -> None:
            running = flow.execute(dag, config=Config(threads=1))
            running.send(None)
            await anyio.sleep(0.05)
            running.close()
            await anyio.sleep(0.05)
            gate.set()
            await anyio.sleep(0.05)

        asyncio.run(main())
        assert ran == []

    def test_a_loop_that_goes_on_hears_of_late_calls(self, on_loop: Any, gate: threading.Event) -> None:
        """An abandoned call returns after its run, on a loop that lives on: nothing happens."""
        dag = flow.Dag("d")
        dag.add("stuck", lambda: gate.wait(20), thread=True, timeout=0.02, abandon_on_timeout=True)

        async def main() -> None:
            result = await flow.execute(dag, config=Config(on_error="collect"))
            assert result.abandoned == 1
            gate.set()
            await auntil(lambda: result.abandoned == 0)
            await anyio.sleep(0.02)

        on_loop(main)


@pytest.mark.usefixtures("none_idle")
class TestRefusedBySystem:
    def test_no_thread(self, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
        def start(self: Any) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(THREADS.Thread, "start", start)
        dag = flow.Dag("d")
        dag.add("n", lambda: 1, thread=True, timeout=1.0)
        dag.add("other", lambda: 1, thread=True)
        error = collected(dag, backend).errors
        assert {str(e) for e in error.values()} == {"can't start new thread"}
        assert "not finished: " not in "".join(str(e) for e in error_of(dag, backend=backend).exceptions)

    def test_no_further_thread(self, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Those that there are go on."""
        thread = THREADS.Thread
        start, started = thread.start, []

        def once(self: Any) -> None:
            if started:
                raise RuntimeError("can't start new thread")
            started.append(self)
            start(self)

        monkeypatch.setattr(thread, "start", once)
        dag = flow.Dag("d")
        dag.add("first", lambda: time.sleep(0.1), thread=True)
        dag.add("second", lambda: 1, thread=True)
        dag.add("third", lambda: 1, thread=True, after="first")
        result = collected(dag, backend)
        assert str(result.errors["second"]) == "can't start new thread"
        assert result["third"] == 1

    @pytest.mark.skipif(sys.platform == "win32", reason="descriptors are bounded otherwise there")
    def test_no_descriptor(self, backend: str) -> None:
        code = f"""
import warnings, resource, os
warnings.simplefilter("error")
import asyncio, anyio, flow, {"asyncio" if backend == "asyncio" else backend}
async def node(): pass
dag = flow.Dag("d")
dag.add("n", node)
flow.run(dag, config=flow.Config(backend={backend!r}))
import sys
unraisable = []
sys.unraisablehook = lambda hook: unraisable.append(str(hook.exc_value))
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) - 1, hard))
try:
    flow.run(dag, config=flow.Config(backend={backend!r}))
except OSError as error:
    print(type(error).__name__, error.errno)
import gc
gc.collect()
print([text for text in unraisable if "never awaited" in text])
"""
        done = python(code)
        assert done.stdout.splitlines() == ["OSError 24", "[]"], done.stderr
        assert "never awaited" not in done.stderr


def python(code: str, seconds: float = 30) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, "PYTHONPATH": path}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=seconds, env=env)


class TestTheProcess:
    def test_ends_though_a_call_is_still_going_on(self, backend: str) -> None:
        done = python(
            "import logging, time, flow\n"
            "logging.getLogger('flow').setLevel('ERROR')\n"
            "dag = flow.Dag('d')\n"
            "dag.add('stuck', lambda: time.sleep(60), thread=True, timeout=0.05, abandon_on_timeout=True)\n"
            f"print(flow.run(dag, config=flow.Config(on_error='collect', backend={backend!r})).abandoned)\n",
        )
        assert (done.stdout, done.stderr, done.returncode) == ("1\n", "", 0)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
    def test_may_fork_after_a_run(self, backend: str) -> None:
        """A child runs Dags with threads of its own, also while a call of its parent is still going on."""
        done = python(
            "import os, sys, time, flow\n"
            f"config = flow.Config(on_error='collect', backend={backend!r})\n"
            "dag = flow.Dag('d')\n"
            "dag.add('stuck', lambda: time.sleep(60), thread=True, timeout=0.05, abandon_on_timeout=True)\n"
            "dag.add('n', lambda: 1, thread=True)\n"
            "flow.run(dag, config=config)\n"
            "child = os.fork()\n"
            "if not child:\n"
            "    result = flow.run(dag, config=config)\n"
            "    os._exit(result.abandoned + 2 * result['n'])\n"
            "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n",
        )
        assert (done.stdout, done.returncode) == ("3\n", 0), done.stderr
