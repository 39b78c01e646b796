"""A node that holds the event loop is warned of where somebody waits for the loop, and only there."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from conftest import loops

import flow
from flow import Config
from flow.errors import BlockingNodeWarning
from flow.run.drive.loop import LoopDriver

pytestmark = [
    pytest.mark.parametrize("backend", loops()),
    pytest.mark.filterwarnings("always::flow.errors.BlockingNodeWarning"),
]
Busy = Callable[[float], None]


def warned(dag: flow.Dag, backend: str, inputs: Any = None, *, ours: bool = True, **config: Any) -> list[str]:
    """The nodes that were warned of; of a run by ``flow.run`` (``ours``), or in the caller's loop."""
    settings = Config(blocking_after=0.1, mode="tasks", backend=backend, **config)  # type: ignore[arg-type]
    options = {"use_uvloop": True} if backend == "uvloop" else {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if ours:
            flow.run(dag, inputs, config=settings)
        else:
            loop = "trio" if backend == "trio" else "asyncio"
            anyio.run(lambda: flow.execute(dag, inputs, config=settings), backend=loop, backend_options=options)
    return [str(one.message).split("'")[1] for one in caught if one.category is BlockingNodeWarning]


def chain(busy: Busy, style: str) -> flow.Dag:
    async def anode(*values: Any) -> None:
        if style == "after a wait":
            await anyio.sleep(0)
        busy(0.2)

    dag = flow.Dag("chain")
    for i in range(3):
        dag.add(f"n{i}", anode if style != "sync" else lambda *values: busy(0.2), needs=[f"n{i - 1}"] if i else [])
    return dag


@pytest.mark.parametrize("style", ["sync", "async", "after a wait"])
def test_nobody_waits_in_a_chain_on_a_loop_of_its_own(backend: str, style: str, busy: Busy) -> None:
    assert warned(chain(busy, style), backend) == []


@pytest.mark.parametrize("style", ["sync", "async", "after a wait"])
def test_the_caller_may_on_a_loop_of_the_callers(backend: str, style: str, busy: Busy) -> None:
    assert warned(chain(busy, style), backend, ours=False) == ["n0", "n1", "n2"]


@pytest.mark.parametrize("style", ["sync", "async"])
def test_another_node_that_is_ready(backend: str, style: str, busy: Busy) -> None:
    async def anode() -> None:
        busy(0.2)

    dag = flow.Dag("two")
    dag.add("blocker", anode if style == "async" else lambda: busy(0.2))
    dag.add("ready", lambda: None)
    assert warned(dag, backend) == ["blocker"]


def test_one_that_waits_for_something_else(backend: str, busy: Busy) -> None:
    dag = flow.Dag("two")

    async def waits() -> None:
        await anyio.sleep(0.02)

    dag.add("waits", waits)
    dag.add("first", lambda: None)
    dag.add("blocker", lambda first: busy(0.2), needs=["first"])
    assert warned(dag, backend) == ["blocker"]


def test_in_a_dag_within_and_in_a_map(backend: str, busy: Busy) -> None:
    async def blocks() -> None:
        busy(0.2)

    inner = flow.Dag("inner")
    inner.add("blocker", blocks)

    async def waits() -> None:
        await anyio.sleep(0.02)

    dag = flow.Dag("outer")
    dag.add("inner", inner)
    assert warned(dag, backend) == []
    dag.add("beside", waits)
    assert warned(dag, backend)[0] == "blocker"
    mapped = flow.Dag("mapped")
    mapped.map("m", lambda x: busy(0.2), over="xs")
    assert warned(mapped, backend, {"xs": [1]}) == []
    assert warned(mapped, backend, {"xs": [1, 2]}) == ["m[0]"]


def test_limit_one_lets_nothing_else_run_anyway(backend: str, busy: Busy) -> None:
    dag = flow.Dag("two")
    dag.add("blocker", lambda: busy(0.2))
    dag.add("next", lambda: None)
    assert warned(dag, backend, limit=1) == []


@pytest.mark.parametrize("how", ["node", "run", "map", "run's map", "pipeline"])
def test_a_thread_that_computes_holds_no_loop(
    backend: str, how: str, busy: Busy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop may wait for the interpreter meanwhile, however long: here it always seems to have waited."""
    monkeypatch.setattr(LoopDriver, "held_up", lambda self, i: True)
    real = LoopDriver.leave

    def late(self: Any, me: Any, i: int, failed: Any, before: float) -> None:
        me.resumed, before = me.resumed - 1, before - 1
        real(self, me, i, failed, before)

    monkeypatch.setattr(LoopDriver, "leave", late)
    dag, config = flow.Dag("threads"), {"executor": "thread"} if how.startswith("run") else {}
    thread = None if how.startswith("run") else True
    if how in ("node", "run"):
        for name in ("one", "two"):
            dag.add(name, lambda: None, **({"thread": True} if thread else {}))
    else:
        options = {"thread": True} if thread else {}
        dag.map("items", lambda item: item, over="given", **options)
        if how == "pipeline":
            dag.map("more", lambda item: item, over="items", pipelined=True, **options)
    inputs = {} if how in ("node", "run") else {"given": [1, 2, 3]}
    assert [name for name in warned(dag, backend, inputs, **config) if name != "items"] == []


@pytest.mark.parametrize("executor", ["inline", "thread"])
def test_an_async_function_holds_it_wherever_others_run(backend: str, executor: str, busy: Busy) -> None:
    async def blocker() -> None:
        busy(0.2)

    dag = flow.Dag("two")
    dag.add("blocker", blocker)
    dag.add("ready", lambda: None)
    assert warned(dag, backend, executor=executor) == ["blocker"]
