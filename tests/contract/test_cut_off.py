"""A run that is cut off: by its caller, its limit, Ctrl-C, an exit. Nothing starts any more, and no error is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextvars import ContextVar
from typing import Any

import anyio
import pytest
import trio
from conftest import loops

import flow
from flow import Config, Retry

pytestmark = pytest.mark.parametrize("backend", loops())
unix_signals = pytest.mark.skipif(os.name != "posix", reason="os.kill ends the process at once there")


class CleanUp(Exception):
    pass


async def breaks_in_clean_up() -> None:
    try:
        await anyio.sleep(30)
    except BaseException:
        raise CleanUp("disk full") from None


def on(backend: str, fn: Any) -> Any:
    options = {"use_uvloop": True} if backend == "uvloop" else {}
    return anyio.run(fn, backend="trio" if backend == "trio" else "asyncio", backend_options=options)


class TestCleanUpErrors:
    @pytest.mark.parametrize("on_error", ["fail_fast", "collect"])
    @pytest.mark.parametrize("retry", [None, Retry(3, delay=0)])
    def test_after_a_cancellation_from_outside(self, backend: str, on_error: Any, retry: Any) -> None:
        dag = flow.Dag("d")
        dag.add("node", breaks_in_clean_up, retry=retry)
        dag.add("other", lambda: anyio.sleep(30), middleware=[])
        seen: list[str] = []

        async def main() -> None:
            with anyio.move_on_after(0.2):
                config = Config(on_error=on_error, observers=(lambda event: seen.append(type(event).__name__),))
                await flow.execute(dag, config=config)

        dag = flow.Dag("d")
        dag.add("node", breaks_in_clean_up, retry=retry)
        with pytest.raises(flow.RunError) as caught:
            on(backend, main)
        assert [str(error) for error in caught.value.exceptions] == ["disk full"]
        assert caught.value.nodes == ("node",)
        assert "NodeRetried" not in seen

    def test_at_the_runs_limit(self, backend: str) -> None:
        dag = flow.Dag("d")
        dag.add("node", breaks_in_clean_up, retry=Retry(3, delay=0))
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, config=Config(timeout=0.2, backend=backend))  # type: ignore[arg-type]
        assert {type(error) for error in caught.value.exceptions} == {CleanUp, TimeoutError}

    def test_of_items_and_inner_dags(self, backend: str) -> None:
        inner = flow.Dag("inner")
        inner.add("node", breaks_in_clean_up)
        dag = flow.Dag("d")
        dag.add("inner", inner)

        async def item(x: int) -> None:
            await breaks_in_clean_up()

        dag.map("items", item, over="xs", on_error="collect")

        async def main() -> None:
            with anyio.move_on_after(0.2):
                await flow.execute(dag, {"xs": [1, 2]})

        with pytest.raises(flow.RunError) as caught:
            on(backend, main)
        assert set(caught.value.nodes) == {"inner", "items"}
        found = caught.value.subgroup(CleanUp)
        assert found is not None

    def test_a_failure_that_was_ending_the_run(self, backend: str) -> None:
        async def fails() -> None:
            await anyio.sleep(0.005)
            raise ValueError("first")

        async def lingers() -> None:
            try:
                await anyio.sleep(30)
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0.5)

        dag = flow.Dag("d")
        dag.node(fails)
        dag.node(lingers)

        async def main() -> None:
            with anyio.move_on_after(0.2):  # while the run waits for the second
                await flow.execute(dag)

        with pytest.raises(flow.RunError, match="'fails'"):
            on(backend, main)

    def test_without_one_the_cancellation_goes_on(self, backend: str) -> None:
        async def fails_and_is_tolerated() -> None:
            raise ValueError

        dag = flow.Dag("d")
        dag.add("early", fails_and_is_tolerated, continue_on_error=True)
        dag.add("collected", fails_and_is_tolerated)

        async def forever() -> None:
            await anyio.sleep(30)

        dag.node(forever)

        async def main() -> bool:
            with anyio.move_on_after(0.2) as scope:
                await flow.execute(dag, config=Config(on_error="collect"))
            return scope.cancelled_caught

        assert on(backend, main)


class TestNothingStarts:
    @pytest.mark.parametrize("how", ["outside", "limit"])
    def test_after_it(self, backend: str, how: str) -> None:
        log: list[str] = []

        async def first() -> None:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.05)

        async def last(*values: Any) -> None:
            log.append("async")
            await anyio.sleep(0)

        dag = flow.Dag("d")
        dag.node(first)
        dag.add("sync", lambda first: log.append("sync"))
        dag.add("then", last, needs=["sync"])
        dag.add("also", last, needs=["first"])

        async def main() -> None:
            if how == "outside":
                with anyio.move_on_after(0.01):
                    await flow.execute(dag)
                return
            with pytest.raises(flow.RunError):
                await flow.execute(dag, config=Config(timeout=0.01))

        on(backend, main)
        assert log == []

    def test_in_the_turn_in_which_the_caller_is_cancelled(self, backend: str) -> None:
        if backend == "trio":
            pytest.skip("there a cancellation is at once")
        log: list[str] = []
        mains: list[asyncio.Task[Any]] = []

        async def cancels() -> None:
            await asyncio.sleep(0)
            mains[0].cancel()

        dag = flow.Dag("d")
        dag.node(cancels)
        dag.add("after", lambda cancels: log.append("after"))

        async def main() -> None:
            mains.append(asyncio.ensure_future(flow.execute(dag)))
            with pytest.raises(asyncio.CancelledError):
                await mains[0]

        on(backend, main)
        assert log == []


def test_items_that_leave_a_mark_and_a_cancellation(backend: str) -> None:
    var: ContextVar[int] = ContextVar("var", default=0)

    async def marks(item: int, index: int) -> None:
        var.set(item + 1)

    dag = flow.Dag("d")
    dag.map("m", marks, over="xs")

    async def main() -> None:
        for turns in range(6):
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(flow.execute, dag, {"xs": range(9)})
                    for _ in range(turns):
                        await anyio.sleep(0)
                    scope.cancel()

    on(backend, main)


@pytest.mark.parametrize("style", ["sync", "async"])
def test_nothing_starts_under_a_cancelled_scope(backend: str, style: str) -> None:
    if backend != "trio":
        pytest.skip("there the caller's next await meets it")
    ran: list[int] = []

    async def node() -> None:
        ran.append(1)

    dag = flow.Dag("d")
    for i in range(3):
        dag.add(f"n{i}", node if style == "async" else lambda: ran.append(1))

    async def main() -> bool:
        with trio.CancelScope() as scope:
            scope.cancel()
            await flow.execute(dag)
        return scope.cancelled_caught

    assert on(backend, main)
    assert ran == []


class TestExits:
    @pytest.mark.parametrize("exit_", [SystemExit, KeyboardInterrupt])
    @pytest.mark.parametrize("where", ["node", "after a wait", "retry_if", "item", "thread", "inner", "stream"])
    def test_leave_bare(self, backend: str, exit_: type[BaseException], where: str) -> None:
        def stop(*values: Any) -> Any:
            raise exit_("stop")

        async def waits() -> None:
            await anyio.sleep(0)
            stop()

        async def fails() -> None:
            await anyio.sleep(0)
            raise ValueError

        async def stream() -> Any:
            yield 1
            stop()

        async def beside() -> None:
            await anyio.sleep(30)

        dag = flow.Dag("d")
        if where == "item":
            dag.map("m", lambda x: stop(), over="xs", on_error="collect")
        elif where == "stream":
            dag.add("xs", stream)
            dag.map("m", beside, over="xs", needs={}) if False else dag.map("m", lambda item: item, over="xs")
        elif where == "retry_if":
            dag.add("n", fails, retry=Retry(3, delay=0, retry_if=stop))
        elif where == "inner":
            inner = flow.Dag("inner")
            inner.add("n", waits)
            dag.add("inner", inner)
        else:
            dag.add("n", waits if where == "after a wait" else stop, thread=where == "thread")
        dag.node(beside)
        inputs = {"xs": [1, 2]} if where == "item" else {}
        with pytest.raises(exit_, match="stop"):
            flow.run(dag, inputs, config=Config(backend=backend, on_error="collect"))  # type: ignore[arg-type]

    def test_what_nodes_raise_meanwhile_is_attached(self, backend: str) -> None:
        async def stops() -> None:
            await anyio.sleep(0.01)
            raise SystemExit(3)

        dag = flow.Dag("d")
        dag.add("node", breaks_in_clean_up)
        dag.node(stops)
        with pytest.raises(SystemExit) as caught:
            flow.run(dag, config=Config(backend=backend))  # type: ignore[arg-type]
        assert caught.value.__notes__ == ["while the run ended, node 'node' raised CleanUp: disk full"]

    @pytest.mark.slow
    @unix_signals
    def test_so_it_is_to_ctrl_c(self, backend: str) -> None:
        program = f"""
import os, signal, threading, anyio, flow
async def node():
    await anyio.sleep(0)  # which imports what it needs
    threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    try: await anyio.sleep(30)
    except BaseException: raise LookupError("disk full") from None
dag = flow.Dag("d"); dag.node(node)
try: flow.run(dag, config=flow.Config(backend={backend!r}))
except KeyboardInterrupt as error: print(error.__notes__)
"""
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
        assert done.stdout == "[\"while the run ended, node 'node' raised LookupError: disk full\"]\n", done.stderr

    @unix_signals
    def test_ctrl_c_during_a_retrys_delay(self, backend: str) -> None:
        if backend == "trio":
            import anyio._backends._trio  # noqa: F401  the signal is to find the delay

        def observer(event: Any) -> None:
            if type(event).__name__ == "NodeRetried":
                import threading

                threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()

        async def fails() -> None:
            raise ValueError

        dag = flow.Dag("d")
        dag.add("n", fails, retry=Retry(3, delay=5))
        with pytest.raises(KeyboardInterrupt):
            flow.run(dag, config=Config(backend=backend, observers=(observer,)))  # type: ignore[arg-type]


def test_flow_run_inside_a_loop_of_any_kind(backend: str) -> None:
    async def node() -> int:
        return 1

    dag = flow.Dag("d")
    dag.node(node)

    async def main() -> None:
        for inner in ("asyncio", "trio"):
            with pytest.raises(flow.UsageError, match=r"use 'await flow.execute\(...\)' here"):
                flow.run(dag, config=Config(backend=inner))  # type: ignore[arg-type]

    on(backend, main)


def test_an_outer_scope_of_the_loops_own(backend: str) -> None:
    """Not only anyio's: a TaskGroup, a nursery, asyncio.timeout."""
    dag = flow.Dag("d")
    dag.add("node", breaks_in_clean_up)

    async def main() -> None:
        with pytest.raises(flow.RunError):
            if backend == "trio":
                with trio.move_on_after(0.2):
                    await flow.execute(dag)
            else:
                async with asyncio.timeout(0.2):
                    await flow.execute(dag)
        await anyio.sleep(0)  # nothing is left of the cancellation

    on(backend, main)
