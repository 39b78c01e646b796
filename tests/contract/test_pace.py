"""Runs share the thread of their event loop: by turns of the loop, and by count under a clock of one's own."""

from __future__ import annotations

from itertools import count
from typing import Any

import anyio
import pytest
from conftest import loops

import flow
from flow import Config
from flow.run import pacing
from flow.run.pacing import YIELD_EVERY
from flow.testing import FakeClock

LOOK = 0.00001
"""Seconds that pass at each look at the clock, about one per node."""


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "perf_counter", count(1.0, LOOK).__next__)


def on(backend: str, fn: Any) -> Any:
    options = {"use_uvloop": True} if backend == "uvloop" else {}
    return anyio.run(fn, backend="trio" if backend == "trio" else "asyncio", backend_options=options)


def chain(size: int, fn: Any) -> flow.Plan:
    dag = flow.Dag("chain")
    for i in range(size):
        dag.add(f"n{i}", fn, needs=[f"n{i - 1}"] if i else [])
    return dag.compile()


@pytest.mark.parametrize("backend", loops())
@pytest.mark.parametrize("style", ["sync", "async"])
def test_many_runs_hold_the_loop_no_longer_than_one(backend: str, style: str, ticking: None) -> None:
    done = 0

    def node(*values: Any) -> None:
        nonlocal done
        done += 1

    async def anode(*values: Any) -> None:
        node()

    plan = chain(2_000, node if style == "sync" else anode)
    runs, turns = 50, [0]

    async def ticker() -> None:
        while done < runs * 2_000:
            await anyio.sleep(0)
            turns.append(done)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(ticker)
            for _ in range(runs):
                group.start_soon(flow.execute, plan)

    on(backend, main)
    most = max(b - a for a, b in zip(turns, turns[1:], strict=False))
    # A burst is 500 looks. With one of its own for each run, a turn of the loop would be 25,000 of them.
    assert most < 3 * YIELD_EVERY / LOOK


@pytest.mark.parametrize("backend", loops())
def test_a_short_run_is_not_queued_behind_long_ones(backend: str, ticking: None) -> None:
    done = 0

    def node(*values: Any) -> None:
        nonlocal done
        done += 1

    long, short = chain(5_000, node), chain(10, lambda *values: None)
    seen: list[int] = []

    async def late() -> None:
        await flow.execute(short)
        seen.append(done)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(40):
                group.start_soon(flow.execute, long)
            group.start_soon(late)

    on(backend, main)
    assert seen[0] < 40 * 5_000 / 10


@pytest.mark.parametrize("backend", loops())
def test_bursts_go_by_count_under_a_fake_clock(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same replay on a machine of any speed: how often other tasks get their turn is the same."""

    def replay(seconds: float) -> list[int]:
        monkeypatch.setattr(pacing, "perf_counter", count(1.0, seconds).__next__)
        done = 0

        def node(*values: Any) -> None:
            nonlocal done
            done += 1

        async def waits(*values: Any) -> None:
            node()
            await anyio.sleep(0)

        dag = flow.Dag("replay")
        for i in range(900):
            dag.add(f"n{i}", waits if i % 300 == 0 else node, needs=[f"n{i - 1}"] if i else [])
        turns: list[int] = []

        async def ticker() -> None:
            while done < 900:
                await anyio.sleep(0)
                turns.append(done)

        async def main() -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(ticker)
                await flow.execute(dag, config=Config(clock=FakeClock()))

        on(backend, main)
        return sorted(set(turns))

    first = replay(0.0)
    if backend == "trio":  # which turns the order of tasks round by chance
        assert len(first) > 4
        assert len(replay(1.0)) > 4
    else:
        assert first == replay(1.0) == replay(0.0001)


def test_a_cancelled_rest_is_no_rest(ticking: None) -> None:
    plan = chain(5_000, lambda *values: None)

    async def main() -> int:
        with anyio.move_on_after(0):
            await flow.execute(plan)
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(flow.execute, plan)
            await anyio.sleep(0)
            group.cancel_scope.cancel()
        import asyncio

        return pacing.pace_of(asyncio.get_running_loop(), Config().clock).resting

    assert anyio.run(main) == 0
