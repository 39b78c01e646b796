"""What a node leaves pending on its asyncio task hits neither the next node nor the next item."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import pytest
import trio
from conftest import loops

import flow
from flow import Config

ASYNCIO = loops("asyncio", "uvloop")


def task() -> asyncio.Task[Any]:
    found = asyncio.current_task()
    assert found is not None
    return found


def watchdog() -> None:
    asyncio.get_running_loop().call_later(0.01, task().cancel)  # that nobody stops


async def unclosed_timeout() -> None:
    await asyncio.timeout(0.01).__aenter__()


async def unclosed_scope() -> None:
    anyio.move_on_after(0.01).__enter__()


def cancels_itself() -> None:
    task().cancel()


def takes_it_back() -> None:
    task().cancel()
    task().uncancel()


async def of_async(act: Callable[[], Any]) -> None:
    made = act()
    if made is not None:
        await made


LEFT = [watchdog, unclosed_timeout, unclosed_scope, cancels_itself, takes_it_back]


@pytest.mark.parametrize("backend", ASYNCIO)
@pytest.mark.parametrize("suspends", [False, True], ids=["at-once", "after-a-wait"])
@pytest.mark.parametrize("act", LEFT)
@pytest.mark.parametrize("between", [False, True], ids=["next", "after-a-sync-node"])
@pytest.mark.slow
def test_the_next_node_is_not_hit(backend: str, suspends: bool, act: Any, between: bool) -> None:
    seen: list[object] = []

    async def first() -> None:
        if suspends:
            await asyncio.sleep(0)
        await of_async(act)
        seen.append(task())

    async def second(*values: Any) -> str:
        seen.append(task())
        await asyncio.sleep(0.03)
        return "whole"

    dag = flow.Dag("left")
    dag.add("first", first)
    if between:
        dag.add("between", lambda first: None)
    dag.add("second", second, needs=["between" if between else "first"])
    result = flow.run(dag, config=Config(on_error="collect", backend=backend))  # type: ignore[arg-type]
    assert result.get("second") == "whole", result.errors
    assert seen[0] is not seen[1]


@pytest.mark.parametrize("backend", ASYNCIO)
def test_a_sync_node_leaves_as_little(backend: str) -> None:
    async def slow(watch: Any) -> str:
        await asyncio.sleep(0.03)
        return "whole"

    dag = flow.Dag("left")
    dag.add("watch", watchdog)
    dag.add("slow", slow)
    assert flow.run(dag, config=Config(backend=backend, mode="tasks"))["slow"] == "whole"  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", ASYNCIO)
@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("suspends", [False, True], ids=["at-once", "after-a-wait"])
@pytest.mark.slow
def test_the_next_item_is_not_hit(backend: str, concurrency: int, suspends: bool) -> None:
    async def work(item: int) -> int:
        if item == 0:
            watchdog()
            if suspends:
                await asyncio.sleep(0)
        else:
            await asyncio.sleep(0.03)
        return item

    dag = flow.Dag("items")
    dag.map("m", work, over="xs", concurrency=concurrency, on_error="collect")
    result = flow.run(dag, {"xs": range(5)}, config=Config(backend=backend))  # type: ignore[arg-type]
    assert result["m"].ok
    assert result["m"].values == [0, 1, 2, 3, 4]


def test_a_callback_on_a_nodes_task_is_called_when_the_node_is_over() -> None:
    ended: list[str] = []

    async def first() -> None:
        task().add_done_callback(lambda _: ended.append("first over"))
        await asyncio.sleep(0)

    async def second(first: None) -> None:
        await asyncio.sleep(0.005)
        ended.append("second over")

    dag = flow.Dag("callbacks")
    dag.node(first)
    dag.node(second)
    flow.run(dag)
    assert ended == ["first over", "second over"]


def test_a_node_that_is_cancelled_while_it_runs_fails_alone() -> None:
    async def victim() -> None:
        asyncio.get_running_loop().call_soon(task().cancel)
        await asyncio.sleep(1)

    async def other() -> int:
        await asyncio.sleep(0.01)
        return 1

    dag = flow.Dag("cancelled")
    dag.node(victim)
    dag.node(other)
    result = flow.run(dag, config=Config(on_error="collect"))
    assert isinstance(result.errors["victim"], flow.errors.NodeCancelled)
    assert result["other"] == 1


def test_an_unclosed_scope_does_not_surround_the_next_node_on_trio() -> None:
    async def first() -> None:
        scope = trio.CancelScope()
        scope.__enter__()
        scope.cancel()

    async def second(first: None) -> str:
        await trio.sleep(0)
        return "whole"

    dag = flow.Dag("scopes")
    dag.node(first)
    dag.node(second)
    assert flow.run(dag, config=Config(backend="trio"))["second"] == "whole"


def test_nodes_that_leave_nothing_share_a_task() -> None:
    tasks: list[int] = []

    async def node(*values: Any) -> None:
        tasks.append(id(task()))  # no reference: who keeps the task means it

    dag = flow.Dag("shared")
    for i in range(5):
        dag.add(f"n{i}", node, needs=[f"n{i - 1}"] if i else [])
    flow.run(dag)
    assert len(set(tasks)) == 1


def test_a_node_takes_a_lock_of_its_event_loop(backend: str) -> None:
    """Trio's asks for the state of the coroutine of the task that takes it."""
    import anyio

    lock: list[anyio.Lock] = []
    within: list[int] = []

    async def holds(n: int) -> int:
        if not lock:
            lock.append(anyio.Lock())
        async with lock[0]:
            within.append(len(within))
            await anyio.sleep(0)
            assert within.pop() == 0
        return n

    dag = flow.Dag("locks")
    dag.add("numbers", lambda: list(range(5)))
    dag.map("held", holds, over="numbers", concurrency=3)
    assert flow.run(dag, config=flow.Config(backend=backend))["held"] == list(range(5))
