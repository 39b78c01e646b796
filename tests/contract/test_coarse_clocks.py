"""Clocks that move in steps: before CPython 3.13 an event loop's clock on Windows has 64 of them a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from math import floor
from typing import Any

import pytest
from conftest import LoopClock, VirtualLoop

import flow

STEP = 1 / 64


class VirtualSteps(VirtualLoop):
    """Virtual time that moves in steps; a timer may go off up to a step early, as asyncio allows itself."""

    def __init__(self) -> None:
        super().__init__()
        self._clock_resolution = STEP

    def time(self) -> float:
        return floor(super().time() / STEP) * STEP


class RealSteps(asyncio.SelectorEventLoop):
    """The machine's time, in steps."""

    def __init__(self) -> None:
        super().__init__()
        self._clock_resolution = STEP

    def time(self) -> float:
        return floor(time.monotonic() / STEP) * STEP


def executed(dag: flow.Dag, loop: Callable[[], asyncio.AbstractEventLoop] = VirtualSteps, **settings: Any) -> Any:
    given = {"clock": LoopClock(), **settings}

    async def main() -> flow.Result:
        return await flow.execute(dag, config=flow.Config(on_error="collect", **given))

    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(main())


def sleeps(seconds: float) -> Callable[[], Any]:
    async def node() -> str:
        await asyncio.sleep(seconds)
        return "slept"

    return node


@pytest.mark.parametrize("timeout", [0.001, STEP, 0.02, 0.5])
def test_a_time_limit_of_any_size_ends_what_takes_longer_and_nothing_else(timeout: float) -> None:
    dag = flow.Dag("d")
    dag.add("long", sleeps(10), timeout=timeout)
    dag.add("short", sleeps(0), timeout=timeout)
    result = executed(dag)
    assert isinstance(result.errors["long"], flow.NodeTimeout)
    assert result["short"] == "slept"


@pytest.mark.parametrize("delay", [0.0, 0.001, 0.02])
def test_every_attempt_is_made_whatever_the_delay(delay: float) -> None:
    calls = []

    async def fails() -> None:
        calls.append(1)
        raise ValueError

    dag = flow.Dag("d")
    dag.add("fails", fails, retry=flow.Retry(4, delay=delay))
    result = executed(dag)
    assert (len(calls), result.attempts["fails"]) == (4, 4)


def test_attempts_share_the_limit_of_the_node() -> None:
    calls = []

    async def stuck() -> None:
        calls.append(1)
        await asyncio.sleep(10)

    dag = flow.Dag("d")
    timeout = flow.Timeout(attempt=0.05, node=0.12)
    dag.add("stuck", stuck, timeout=timeout, retry=flow.Retry(10, delay=0.001))
    error = executed(dag).errors["stuck"]
    assert isinstance(error, flow.NodeTimeout)
    assert 2 <= len(calls) <= 4  # of 0.05 s each, give or take a step


def test_the_limit_of_a_run() -> None:
    dag = flow.Dag("d")
    dag.add("short", sleeps(0))
    dag.add("stuck", sleeps(10), after="short")
    with pytest.raises(flow.RunError, match=r"the run exceeded its limit of 0\.03 s") as caught:
        executed(dag, timeout=0.03)
    assert caught.value.result["short"] == "slept"


def test_threads_whose_calls_take_no_time_by_such_a_clock() -> None:
    dag = flow.Dag("d")
    for number in range(20):  # more than there are threads: the others queue
        dag.add(f"n{number}", lambda: 1, thread=True, timeout=5)
    dag.add("stuck", lambda: time.sleep(0.3), thread=True, timeout=0.02, abandon_on_timeout=True)
    result = executed(dag, RealSteps, threads=2)
    assert sum(result[f"n{number}"] for number in range(20)) == 20
    assert isinstance(result.errors["stuck"], flow.NodeTimeout)


class Stopped:
    """A clock that does not move at all between two looks at it."""

    def now(self) -> float:
        return 7.0

    def sleep(self, seconds: float) -> None: ...

    async def wait(self, seconds: float) -> None: ...


def test_a_limit_that_adapts_where_nothing_takes_any_time() -> None:
    dag = flow.Dag("d")
    for number in range(200):
        dag.add(f"n{number}", sleeps(0))
    result = executed(dag, limit="auto", clock=Stopped())
    assert result.ok and len(result) == 200
