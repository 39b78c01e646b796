"""Random runs read at random paces: what a reader of ``flow.stream`` puts together is what was emitted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from random import Random
from typing import Any

import anyio
import pytest

import flow
from flow import Context, events
from flow.clock import on_asyncio

KINDS = ("plain", "thread", "async", "run", "execute", "map", "fails")
SEEDS = 40


def inner_of(random: Random) -> flow.Dag:
    times, dag = random.randrange(4), flow.Dag("inner")

    def node(ctx: Context) -> None:
        for _ in range(times):
            ctx.emit("text", "ab", append=True)

    dag.add("node", node)
    return dag


def function_of(kind: str, random: Random) -> Callable[..., Any]:
    """What a node does that emits in this way; which is decided before the run."""
    inner, times, fails = inner_of(random), random.randrange(30), random.random() < 0.5

    def emits(ctx: Context) -> None:
        for k in range(times):
            ctx.emit("text", str(k), append=True)
            ctx.emit("count", k)

    def runs(ctx: Context) -> None:
        for _ in range(times % 4):
            ctx.run(inner)

    async def awaits(ctx: Context) -> None:
        for k in range(times % 6):
            ctx.emit("text", str(k), append=True)
            await anyio.sleep(0)

    async def executes(ctx: Context) -> None:
        async with anyio.create_task_group() as group:
            for _ in range(times % 4):
                group.start_soon(ctx.execute, inner)

    async def breaks(ctx: Context) -> None:
        ctx.emit("text", f"attempt {ctx.attempt}", append=True)
        await anyio.sleep(0)
        if fails or ctx.attempt == 1:
            raise ValueError(ctx.node)

    return {"run": runs, "async": awaits, "execute": executes, "fails": breaks}.get(kind, emits)


def dag_of(random: Random) -> flow.Dag:
    dag = flow.Dag("outer")
    for i in range(random.randint(1, 10)):
        kind = random.choice(KINDS)
        function, after = function_of(kind, random), [f"n{j}" for j in range(i) if random.random() < 0.2]
        if kind == "map":

            def each(item: int, ctx: Context, emit: Callable[..., Any] = function) -> None:
                emit(ctx)

            dag.add(f"items{i}", lambda: range(5), after=after)
            dag.map(f"n{i}", each, over=f"items{i}")
        else:
            retry = flow.Retry(2, delay=0.0) if kind == "fails" else None
            dag.add(f"n{i}", function, after=after, thread=kind == "thread", retry=retry)
    return dag


Texts = dict[tuple[Any, ...], str]


def take_in(texts: Texts, event: object) -> None:
    if isinstance(event, events.NodeEmitted) and event.append:
        place = (event.run_id, event.node, event.key, event.index)
        before = texts.get(place, "")
        assert event.offset <= len(before)
        texts[place] = before[: event.offset] + event.value


async def one_run(seed: int) -> None:
    random = Random(seed)
    dag, pace, leaves = dag_of(random), random.choice([None, 0.0, 0.001]), random.random() < 0.3
    seen: list[events.Event] = []
    on_error = random.choice(["collect", "fail_fast"])
    config = flow.Config(observers=(seen.append,), limit=random.choice([None, 1, 2]), on_error=on_error)  # type: ignore[arg-type]
    read: list[Any] = []
    try:
        async with flow.stream(dag, config=config) as stream:
            async for event in stream:
                read.append(event)
                if leaves and len(read) == 7:
                    return
                if pace is not None:
                    await anyio.sleep(pace)
    except flow.RunError as error:
        if leaves and len(read) == 7:
            return
        read.append(error.result)
    got, truth = Texts(), Texts()
    for event in read:
        take_in(got, event)
    for event in seen:
        take_in(truth, event)
    assert got == truth
    assert isinstance(read[0], events.RunStarted)
    assert isinstance(read[-2], events.RunFinished)
    assert isinstance(read[-1], flow.Result)
    last = {(e.run_id, e.node, type(e)): e for e in seen if isinstance(e, events.NodeFinished | events.NodeFailed)}
    assert [e for e in read if isinstance(e, events.NodeFinished | events.NodeFailed)] == sorted(
        last.values(), key=seen.index
    )


@pytest.mark.parametrize("block", range(4))
def test_at_any_pace(block: int, on_loop: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "flow")

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for seed in range(block * SEEDS, (block + 1) * SEEDS):
                group.start_soon(one_run, seed)
        if on_asyncio():
            assert len(asyncio.all_tasks()) == 1

    on_loop(main)
