"""Thousands of runs that wait for a signal: what each of them holds, and the processor time that they take.

A run is that of a signal and of a node that takes what is sent. Beside it stands the least that can wait and be told: a
task that awaits a future, with nothing around it.
"""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from time import process_time
from typing import Any, TypeAlias

import flow
from flow_bench.harness.contender import require
from flow_bench.harness.rows import Row, Target

SECTION = "waiting"
CROWD = 10_000
OURS = "flow.start"
BARE = "a task and a future"
MS = 1e3
TURNS = 20

Look: TypeAlias = Callable[[], Awaitable[float]]


def approval() -> flow.Plan:
    """Return the plan of the runs."""
    dag = flow.Dag("approval")
    dag.signal("approve", type=int)
    dag.add("pay", lambda approve: approve + 1)
    return dag.compile()


async def of_runs(count: int, look: Look) -> float:
    """Return what ``look`` finds while so many runs wait. :raises Refused: if one did not wait, or ended otherwise."""
    plan = approval()
    async with AsyncExitStack() as stack:
        runs = [await stack.enter_async_context(flow.start(plan)) for _ in range(count)]
        await _turn()
        waiting = sum(run.waiting == ("approve",) for run in runs)
        require(waiting == count, OURS, f"{waiting} of {count} runs waited")
        found = await look()
        for k, run in enumerate(runs):
            run.send("approve", k)
        results = [(await run.result())["pay"] for run in runs]
        require(results == list(range(1, count + 1)), OURS, "a run did not get what was sent to it")
    return found


async def of_tasks(count: int, look: Look) -> float:
    """As :func:`of_runs`, of bare tasks."""
    futures: list[asyncio.Future[int]] = []

    async def wait() -> int:
        future = asyncio.get_running_loop().create_future()
        futures.append(future)
        return int(await future) + 1

    tasks = [asyncio.ensure_future(wait()) for _ in range(count)]
    await _turn()
    require(len(futures) == count, BARE, f"{len(futures)} of {count} tasks waited")
    found = await look()
    for k, future in enumerate(futures):
        future.set_result(k)
    await asyncio.gather(*tasks)
    return found


WAYS: dict[str, Callable[[int, Look], Awaitable[float]]] = {OURS: of_runs, BARE: of_tasks}


async def _turn() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def bytes_each(label: str, count: int) -> float:
    """Python memory that each holds while all wait, garbage collected."""
    await WAYS[label](1, _nothing)  # what is imported and made once
    gc.collect()
    tracemalloc.start(1)
    before = tracemalloc.get_traced_memory()[0]

    async def look() -> float:
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before

    try:
        return await WAYS[label](count, look) / count
    finally:
        tracemalloc.stop()


async def _nothing() -> float:
    return 0.0


async def processor(label: str, count: int, seconds: float) -> float:
    """Processor milliseconds in a second of waiting."""

    async def look() -> float:
        gc.collect()
        began = process_time()
        await asyncio.sleep(seconds)
        return (process_time() - began) / seconds

    return await WAYS[label](count, look) * MS


@dataclass(frozen=True)
class Effort:
    """How much to measure."""
    count: int = CROWD
    rounds: int = 3
    seconds: float = 1.0


QUICK = Effort(1_000, 1, 0.2)


def run(effort: Effort) -> list[Row]:
    """Return the rows."""
    rows: list[Row] = []
    measures: dict[str, tuple[str, Target, Callable[[str], Any]]] = {
        "memory of each": ("bytes", Target(6_144, of="figure"), lambda label: bytes_each(label, effort.count)),
        "processor time in a second": (
            "ms", Target(10, of="figure"), lambda label: processor(label, effort.count, effort.seconds),
        ),
    }  # fmt: skip
    for what, (unit, target, measure) in measures.items():
        samples: dict[str, list[float]] = {label: [] for label in WAYS}
        for _ in range(effort.rounds):
            for label, found in samples.items():
                found.append(asyncio.run(measure(label)))
        for label, found in samples.items():
            goal = target if label == OURS else None
            rows.append(Row(SECTION, f"{what} while all wait, {label}", unit, found, nodes=effort.count, target=goal))
    return rows
