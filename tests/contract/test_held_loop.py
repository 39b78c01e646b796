"""Nodes that hold the event loop: who is warned of, and that quick nodes and threads let the loop turn."""

from __future__ import annotations

import threading
import warnings
from typing import Any

import anyio
import pytest

import flow
from flow import Config

pytestmark = pytest.mark.usefixtures("frozen")


async def await_once(*values: Any) -> int:
    await anyio.sleep(0)
    return len(values)


class TestBlockingCode:
    """A node that holds the loop is named; thread nodes let others go on."""

    @pytest.mark.parametrize("where", ["first step", "later step", "sync", "waiting crowd", "after a wait"])
    def test_a_warning_names_the_node(self, backend: str, where: str, busy: Any) -> None:
        def block() -> None:
            busy(0.12)

        async def ablock() -> None:
            if where != "first step":
                await anyio.sleep(0.001)
            block()
            if where == "later step":
                await anyio.sleep(0)

        async def other() -> None:
            await anyio.sleep(0.05)

        dag = flow.Dag("d")
        if where == "waiting crowd":
            dag.add("first", await_once)
            for i in range(3):
                dag.add(f"w{i}", await_once, after="first")
        dag.add("blocker", block if where == "sync" else ablock)
        dag.add("other", other)  # is held up
        config = Config(backend=backend, blocking_after=0.1)  # type: ignore[arg-type]
        with pytest.warns(
            flow.errors.BlockingNodeWarning, match="node 'blocker' held the event loop for 0.1"
        ) as caught:
            flow.run(dag, config=config)
        named = [w for w in caught if issubclass(w.category, flow.errors.BlockingNodeWarning)]
        assert len(named) == 1
        assert named[0].filename == __file__

    def test_no_warning_without_a_loop_or_when_turned_off(self, busy: Any) -> None:
        dag = flow.Dag("d")
        dag.add("blocker", lambda: busy(0.02))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            flow.run(dag, config=Config(blocking_after=0.01))
            flow.run(dag, config=Config(blocking_after=None, mode="tasks"))

    def test_a_filter_that_makes_it_an_error_ends_the_run_cleanly(self, backend: str, busy: Any) -> None:
        dag = flow.Dag("d")
        dag.add("first", await_once)
        dag.add("blocker", lambda first: busy(0.02), needs=["first"])
        dag.add("waits", anyio.sleep_forever)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(flow.errors.BlockingNodeWarning, match="'blocker'"):
                flow.run(dag, config=Config(blocking_after=0.01, backend=backend))  # type: ignore[arg-type]

    def test_other_tasks_go_on_during_a_thread_node(self, on_loop: Any) -> None:
        release = threading.Event()
        dag = flow.Dag("d")
        dag.add("slow", lambda: release.wait(10), thread=True)

        async def main() -> bool:
            async with anyio.create_task_group() as group:
                group.start_soon(flow.execute, dag)
                await anyio.sleep(0.001)  # this task runs while the node blocks its thread
                release.set()
            return True

        assert on_loop(main)

    def test_a_long_run_of_quick_nodes_lets_the_loop_turn(self, on_loop: Any, busy: Any) -> None:
        """Nodes that take 1 ms each, 60 of them: another task gets its turn at least every few nodes."""
        turns: list[int] = []
        done = 0

        def node(*values: Any) -> None:
            nonlocal done
            busy(0.001)
            done += 1

        async def ticker() -> None:
            while done < 60:
                turns.append(done)
                await anyio.sleep(0)

        async def main() -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(ticker)
                await anyio.sleep(0)
                await flow.execute(flow.topologies.linear(60, fn=node))

        on_loop(main)
        assert len({*turns}) >= 5
        assert max(b - a for a, b in zip(turns, [*turns[1:], 60], strict=True)) <= 10


def test_only_the_blocking_node_is_blamed(backend: str, busy: Any) -> None:
    async def first() -> None:
        await anyio.sleep(0.001)

    async def quick() -> None: ...

    dag = flow.Dag("d")
    dag.add("first", first)
    dag.add("quick", quick)
    dag.add("blocker", lambda: busy(0.15), after="quick")
    dag.add("waits", first, after="first")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        flow.run(dag, config=Config(blocking_after=0.1, backend=backend))  # type: ignore[arg-type]
    assert [str(w.message).split("'")[1] for w in caught] == ["blocker"]

