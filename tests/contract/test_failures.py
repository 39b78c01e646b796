"""Nodes that fail, are tried again or run out of time: what is raised, kept and cancelled; nothing is masked.

Times are virtual (see conftest): exact, and nothing waits.
"""

from __future__ import annotations

import asyncio
import gc
import math
import time
from typing import Any

import anyio
import pytest
from conftest import LoopClock, collected, error_of, modes

import flow
from flow import Config, Context, Retry, Status, Timeout

pytestmark = pytest.mark.usefixtures("frozen")


async def anothing(*values: Any) -> int:
    return len(values)


class TestFailFast:
    """One of 100 fails: siblings are cancelled and awaited, nothing is lost, nothing warns."""

    @pytest.mark.parametrize("failing", [1, 3])
    @pytest.mark.parametrize("limit", [None, 100])
    def test_siblings_are_cancelled_and_awaited(self, virtual: Any, failing: int, limit: int | None) -> None:
        cleaned: list[str] = []
        gone = ValueError("gone wrong")

        async def sibling(ctx: Context) -> None:
            try:
                await anyio.sleep(60)
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0.001)  # a clean-up that takes time is waited for
                cleaned.append(ctx.node)

        async def bad(ctx: Context) -> None:
            await anyio.sleep_until(start + 0.010)
            raise gone if ctx.node == "n0" else ValueError(ctx.node)

        dag = flow.Dag("d")
        for i in range(100):
            dag.add(f"n{i}", bad if i < failing else sibling)
        dag.add("tail", sibling, after="n0")
        start = 0.0

        async def main() -> tuple[flow.RunError, float]:
            nonlocal start
            start = anyio.current_time()
            try:
                await flow.execute(dag, config=Config(limit=limit))
            except flow.RunError as error:
                return error, anyio.current_time() - start
            raise AssertionError("must fail")

        error, took = virtual(main)
        assert took == pytest.approx(0.011)
        assert sorted(error.nodes) == [f"n{i}" for i in range(failing)]
        assert gone in error.exceptions
        assert gone.__traceback__.tb_frame.f_code is bad.__code__
        assert len(cleaned) == 100 - failing
        status = error.result.status
        assert [n for n in status if status[n] is Status.CANCELLED] == [f"n{i}" for i in range(failing, 100)]
        assert status["tail"] is Status.SKIPPED
        gc.collect()  # "exception was never retrieved" would be a warning, and so an error

    def test_except_star_reaches_the_users_type(self) -> None:
        dag = flow.Dag("d")
        dag.add("a", lambda: {}["missing"])
        seen: list[Any] = []
        try:
            flow.run(dag)
        except* KeyError as group:
            seen.append(group)
        assert isinstance(seen[0], flow.RunError)
        assert (seen[0].nodes, seen[0].exceptions[0].args) == (("a",), ("missing",))
        assert seen[0].result.status["a"] is Status.FAILED

    def test_errors_while_being_cancelled_are_kept(self, virtual: Any) -> None:
        async def stubborn() -> None:
            try:
                await anyio.sleep(60)
            finally:
                raise RuntimeError("clean-up failed")

        async def bad() -> None:
            await anyio.sleep(0.01)
            raise ValueError

        dag = flow.Dag("d")
        dag.add("stubborn", stubborn)
        dag.add("bad", bad)

        async def main() -> Any:
            with pytest.raises(flow.RunError) as caught:
                await flow.execute(dag)
            return caught.value

        error = virtual(main)
        assert [type(e) for e in error.exceptions] == [ValueError, RuntimeError]

    def test_a_node_that_cancels_itself_has_failed(self, backend: str) -> None:
        async def odd() -> None:
            raise asyncio.CancelledError

        dag = flow.Dag("d")
        dag.add("odd", odd)
        dag.add("child", anothing, after="odd")
        if backend == "trio":
            return
        result = collected(dag, backend)
        assert isinstance(result.errors["odd"], flow.errors.NodeCancelled)
        assert result.status["child"] is Status.SKIPPED

    def test_cancelled_from_outside(self, virtual: Any) -> None:
        ended: list[str] = []

        async def node(ctx: Context) -> None:
            try:
                await anyio.sleep(60)
            finally:
                ended.append(ctx.node)

        dag = flow.Dag("d")
        for i in range(10):
            dag.add(f"n{i}", node)

        async def main() -> float:
            start = anyio.current_time()
            with anyio.move_on_after(1.5):
                await flow.execute(dag)
            return float(anyio.current_time() - start)

        assert virtual(main) == pytest.approx(1.5)
        assert len(ended) == 10


class TestCollect:
    """One of 100 fails; its descendants are skipped, all else is done, and the counts add up."""

    def test_counts_add_up(self, backend: str) -> None:
        dag = flow.Dag("d")

        async def maybe(ctx: Context) -> str:
            await anyio.sleep(0)
            if ctx.node == "n13":
                raise ValueError(ctx.node)
            return ctx.node

        for i in range(100):
            dag.add(f"n{i}", maybe)
        dag.add("child", maybe, after="n13")
        dag.add("grandchild", maybe, after="child")
        dag.add("join", maybe, after=["n1", "n2"])
        result = collected(dag, backend)
        assert result.counts == {Status.COMPLETED: 100, Status.FAILED: 1, Status.SKIPPED: 2}
        assert len(result) == 100
        assert "join" in result


class TestRetry:
    """Exact calls, exact delays, caps without overflow; exits and cancellation are never retried."""

    @pytest.mark.parametrize(
        ("retry", "delays"),
        [
            (Retry(4, delay=0.5, backoff="constant"), [0.5, 0.5, 0.5]),
            (Retry(4, delay=0.5, backoff="linear"), [0.5, 1.0, 1.5]),
            (Retry(4, delay=0.5), [0.5, 1.0, 2.0]),
            (Retry(4, delay=0.5, max_delay=0.75), [0.5, 0.75, 0.75]),
            (Retry(3, delay=0.0), [0.0, 0.0]),
            (Retry(1), []),
        ],
    )
    @pytest.mark.parametrize("kind", ["sync", "async", "thread"])
    def test_calls_and_delays(self, retry: Retry, delays: list[float], kind: str, backend: str) -> None:
        calls = 0

        def bad() -> None:
            nonlocal calls
            calls += 1
            raise OSError(calls)

        async def abad() -> None:
            bad()

        clock = flow.testing.FakeClock()
        dag = flow.Dag("d")
        dag.add("bad", abad if kind == "async" else bad, retry=retry, thread=kind == "thread")
        result = collected(dag, backend, clock=clock)
        assert calls == retry.attempts
        assert [s for s in clock.slept if s] == [s for s in delays if s]
        assert result.errors["bad"].args == (retry.attempts,)
        assert clock.time == pytest.approx(sum(delays))

    def test_real_delay_on_the_loop(self, virtual: Any) -> None:
        at: list[float] = []

        async def bad() -> None:
            at.append(anyio.current_time())
            raise OSError

        dag = flow.Dag("d")
        dag.add("bad", bad, retry=Retry(3, delay=0.1, multiplier=3))
        virtual(lambda: flow.execute(dag, config=Config(on_error="collect")))
        assert [b - a for a, b in zip(at, at[1:], strict=False)] == pytest.approx([0.1, 0.3])

    def test_jitter_stays_within_its_fraction(self) -> None:
        retry = Retry(10, delay=1.0, backoff="constant", jitter=0.1)
        delays = [retry.delay_after(1) for _ in range(200)]
        assert 0.9 <= min(delays) < 0.95
        assert 1.05 < max(delays) <= 1.1

    def test_attempt_2000_gives_the_cap(self) -> None:
        assert Retry(3000, delay=0.1, multiplier=2.0, max_delay=60).delay_after(2000) == 60.0

    @pytest.mark.parametrize(
        ("retry_if", "calls"),
        [(OSError, 3), ((OSError, KeyError), 3), (KeyError, 1), (lambda e: "yes" in str(e), 3), (lambda e: False, 1)],
    )
    def test_retry_if(self, retry_if: Any, calls: int, backend: str) -> None:
        made = 0

        def bad() -> None:
            nonlocal made
            made += 1
            raise OSError("yes")

        dag = flow.Dag("d")
        dag.add("bad", bad, retry=Retry(3, delay=0, retry_if=retry_if))
        collected(dag, backend)
        assert made == calls

    def test_a_broken_predicate_does_not_mask_the_error(self) -> None:
        dag = flow.Dag("d")
        dag.add("bad", lambda: 1 / 0, retry=Retry(3, delay=0, retry_if=lambda e: e.nope))  # type: ignore[attr-defined]
        error = collected(dag).errors["bad"]
        assert isinstance(error, ZeroDivisionError)
        assert "retry_if raised AttributeError" in error.__notes__[0]

    @pytest.mark.parametrize("kind", ["sync", "async"])
    def test_others_run_during_a_delay(self, kind: str) -> None:
        order: list[str] = []

        def a(ctx: Context) -> None:
            order.append(f"a{ctx.attempt}")
            if ctx.attempt == 1:
                raise OSError

        def b() -> None:
            order.append("b")

        async def later() -> None:
            order.append("c")

        dag = flow.Dag("d")
        dag.add("a", a, retry=Retry(2, delay=9))
        dag.add("b", b)
        if kind == "async":
            dag.add("c", later)
        flow.run(dag, config=Config(clock=flow.testing.FakeClock()))
        assert order[0] == "a1"
        assert order[-1] == "a2"


class TestTimeouts:
    """Stopped at the limit, clean-up run, one state in the end."""

    @pytest.mark.parametrize("timeout", [0.2, Timeout(attempt=0.2), Timeout(node=0.2), Timeout(attempt=9, node=0.2)])
    def test_async_node_is_stopped_at_its_limit(self, virtual: Any, timeout: Any) -> None:
        cleaned: list[float] = []

        async def slow() -> None:
            try:
                await anyio.sleep(60)
            finally:
                cleaned.append(anyio.current_time())

        dag = flow.Dag("d")
        dag.add("slow", slow, timeout=timeout)

        async def main() -> tuple[float, flow.Result]:
            start = anyio.current_time()
            result = await flow.execute(dag, config=Config(on_error="collect"))
            assert cleaned[0] - start == pytest.approx(0.2)
            return anyio.current_time() - start, result

        took, result = virtual(main)
        assert took == pytest.approx(0.2)
        error = result.errors["slow"]
        assert isinstance(error, flow.NodeTimeout)
        assert isinstance(error, TimeoutError)
        which = "its overall limit" if isinstance(timeout, Timeout) and timeout.node else "its attempt limit"
        assert str(error) == f"node 'slow' exceeded {which} of 0.2 s"

    def test_each_attempt_has_its_own_limit(self, virtual: Any) -> None:
        at: list[float] = []

        async def slow(ctx: Context) -> int:
            at.append(anyio.current_time())
            await anyio.sleep(1.0 if ctx.attempt < 3 else 0.1)
            return ctx.attempt

        dag = flow.Dag("d")
        dag.add("slow", slow, timeout=0.5, retry=Retry(3, delay=0.25, backoff="constant"))
        result = virtual(lambda: flow.execute(dag))
        assert (result["slow"], [b - a for a, b in zip(at, at[1:], strict=False)]) == (3, pytest.approx([0.75, 0.75]))

    def test_the_overall_limit_covers_delays(self, virtual: Any) -> None:
        calls = 0

        async def bad() -> None:
            nonlocal calls
            calls += 1
            await anyio.sleep(0.1)
            raise OSError("mine")

        dag = flow.Dag("d")
        dag.add("bad", bad, timeout=Timeout(node=1.0), retry=Retry(10, delay=0.5, backoff="constant"))
        clock = LoopClock()
        result = virtual(lambda: flow.execute(dag, config=Config(on_error="collect", clock=clock)))
        assert calls == 2
        assert str(result.errors["bad"]) == "mine"
        assert "overall limit of 1 s leaves no time" in result.errors["bad"].__notes__[0]

    @pytest.mark.parametrize("limit", [None, 1])
    def test_run_limit_covers_queueing_and_retries(self, virtual: Any, limit: int | None) -> None:
        async def slow() -> None:
            await anyio.sleep(0.4)
            raise OSError

        dag = flow.Dag("d")
        for i in range(3):
            dag.add(f"n{i}", slow, retry=Retry(100, delay=0.01))
        dag.add("tail", slow, after="n2")

        async def main() -> tuple[float, flow.RunError]:
            start = anyio.current_time()
            with pytest.raises(flow.RunError) as caught:
                await flow.execute(dag, config=Config(timeout=1.0, limit=limit, on_error="collect"))
            return anyio.current_time() - start, caught.value

        took, error = virtual(main)
        assert took == pytest.approx(1.0)
        assert error.timed_out
        assert "the run exceeded its limit of 1 s" in str(error)
        assert error.result.counts == {Status.CANCELLED: 4}
        assert isinstance(error.exceptions[-1], TimeoutError)
        assert "not finished: 'n0', 'n1', 'n2', 'tail'" in str(error.exceptions[-1])

    def test_run_limit_of_a_sync_run_is_looked_at_between_nodes(self) -> None:
        clock = flow.testing.FakeClock()
        dag = flow.Dag("d")
        for i in range(5):
            dag.add(f"n{i}", lambda: clock.sleep(0.4), after=[f"n{i - 1}"] if i else ())
        error = error_of(dag, clock=clock, timeout=1.0)
        assert error.result.counts == {Status.COMPLETED: 3, Status.CANCELLED: 2}
        assert error.timed_out

    def test_limit_and_result_in_the_same_tick(self, virtual: Any) -> None:
        async def exact() -> str:
            await anyio.sleep(0.5)
            return "done"

        dag = flow.Dag("d")
        dag.add("exact", exact, timeout=0.5)
        result = virtual(lambda: flow.execute(dag, config=Config(on_error="collect")))
        state = (result.status["exact"], "exact" in result, "exact" in result.errors)
        assert state in [(Status.COMPLETED, True, False), (Status.FAILED, False, True)]

    def test_run_limit_and_end_in_the_same_tick(self, virtual: Any) -> None:
        dag = flow.Dag("d")
        dag.add("exact", lambda: anyio.sleep(0.5))
        dag.add("exact2", lambda: 1)

        async def sleeps() -> None:
            await anyio.sleep(0.5)

        dag = flow.Dag("d")
        dag.add("exact", sleeps)

        async def main() -> Any:
            try:
                return await flow.execute(dag, config=Config(timeout=0.5))
            except flow.RunError as error:
                return error.result

        result = virtual(main)
        state = (result.status["exact"], result.timed_out, result.ok)
        assert state in [(Status.COMPLETED, False, True), (Status.CANCELLED, True, False)]

    @pytest.mark.parametrize("thread", [False, True])
    def test_a_sync_function_cannot_be_interrupted_and_the_error_says_so(self, thread: bool, backend: str) -> None:
        dag = flow.Dag("d")
        dag.add("slow", lambda: time.sleep(0.05), timeout=0.01, thread=thread)
        error = collected(dag, backend).errors["slow"]
        assert isinstance(error, flow.NodeTimeout)
        assert "cannot be interrupted" in str(error)

    def test_nothing_outlives_a_timed_out_thread_node(self, backend: str) -> None:
        done: list[int] = []

        def slow() -> None:
            time.sleep(0.05)
            done.append(1)

        dag = flow.Dag("d")
        dag.add("slow", slow, thread=True)
        error = error_of(dag, timeout=0.01, backend=backend)
        assert done == [1], "the thread was joined"
        assert error.result.status["slow"] in (Status.CANCELLED, Status.COMPLETED)


class TestNothingIsMasked:
    """Odd outputs and odd exceptions go through unchanged."""

    @pytest.mark.parametrize("mode", modes("inline", "tasks"))
    def test_outputs_are_kept_as_they_are(self, mode: Any) -> None:
        recursive: list[Any] = []
        recursive.append(recursive)

        class Raising:
            def __reduce__(self) -> Any:
                raise RuntimeError

            def __eq__(self, other: object) -> bool:
                raise RuntimeError

            __hash__ = None  # type: ignore[assignment]

        odd = [lambda: 1, recursive, math.nan, b"\0", Raising(), None, NotImplemented, ...]
        dag = flow.Dag("d")
        for i, value in enumerate(odd):
            dag.add(f"n{i}", lambda value=value: value)
            dag.add(f"m{i}", lambda v: v, needs=[f"n{i}"])
        result = flow.run(dag, config=Config(**mode))
        for i, value in enumerate(odd):
            assert result[f"m{i}"] is value

    def test_an_exception_with_its_own_init(self) -> None:
        class Odd(Exception):
            def __init__(self, *, code: int) -> None:
                self.code = code

            def __str__(self) -> str:
                return f"code {self.code}"

        def bad() -> None:
            raise Odd(code=7)

        dag = flow.Dag("d")
        dag.add("bad", bad)
        error = error_of(dag)
        assert isinstance(error.exceptions[0], Odd)
        assert error.exceptions[0].code == 7
        assert "Odd: code 7" in repr(error.result)

    def test_one_exception_object_raised_by_two_nodes(self) -> None:
        shared = ValueError("shared")

        def bad() -> None:
            raise shared

        dag = flow.Dag("d")
        dag.add("a", bad)
        dag.add("b", bad)
        result = collected(dag)
        assert result.errors == {"a": shared, "b": shared}
        assert result.error() is not None

    @pytest.mark.parametrize("mode", modes("inline", "tasks"))
    def test_stop_iteration_is_an_error_like_any_other(self, mode: Any) -> None:
        def bad() -> None:
            raise StopIteration(3)

        async def abad() -> None:
            await anyio.sleep(0)
            next(iter(()))

        dag = flow.Dag("d")
        dag.add("bad", bad)
        dag.add("abad", abad)
        result = collected(dag, **mode)
        assert isinstance(result.errors["bad"], StopIteration)
        assert isinstance(result.errors["abad"], RuntimeError), "Python's own rule for coroutines"
