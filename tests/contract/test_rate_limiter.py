"""``flow.RateLimiter``: attempts begin at a rate, first come, first served."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from conftest import examples, loops
from hypothesis import given
from hypothesis import strategies as st

import flow
from flow import Config, RateLimiter, Retry
from flow.clock import SYSTEM_CLOCK
from flow.errors import ConfigError, UsageError
from flow.policy.limiter import RateStatistics
from flow.testing import FakeClock, context

ONLY = pytest.mark.parametrize("backend", loops())


def on(backend: str, main: Callable[[], Any]) -> Any:
    if backend == "trio":
        return anyio.run(main, backend="trio")
    return anyio.run(main, backend="asyncio", backend_options={"use_uvloop": backend == "uvloop"})


def begun(limiter: RateLimiter, items: int, backend: Any, clock: FakeClock, takes: float = 0.0) -> list[float]:
    """The times at which the items of a map begin, in the order in which they begin."""
    at: list[float] = []

    async def item(item: int) -> None:
        at.append(round(clock.now(), 6))
        if takes:
            await clock.wait(takes)

    dag = flow.Dag("d")
    dag.map("n", item, "xs", admission=limiter)
    flow.run(dag, {"xs": range(items)}, config=Config(backend=backend, clock=clock))
    return at


@ONLY
def test_a_burst_and_then_one_each_interval(backend: str) -> None:
    clock = FakeClock(100.0)
    assert begun(RateLimiter(4, 2.0), 7, backend, clock) == [100.0] * 4 + [100.5, 101.0, 101.5]


@ONLY
def test_evenly_spaced(backend: str) -> None:
    clock = FakeClock()
    limiter = RateLimiter(4, 2.0, burst=1)
    assert begun(limiter, 4, backend, clock) == [0.0, 0.5, 1.0, 1.5]
    clock.sleep(0.2)  # what was not used is no more than one
    assert begun(limiter, 2, backend, clock) == [2.0, 2.5]
    clock.sleep(60.0)
    assert begun(limiter, 2, backend, clock) == [62.5, 63.0]


@ONLY
def test_a_bound_of_those_in_flight(backend: str) -> None:
    clock, limiter = FakeClock(), RateLimiter(1_000, 1.0, concurrency=2)
    assert begun(limiter, 5, backend, clock, takes=3.0) == [0.0, 0.0, 3.0, 3.0, 6.0]
    assert limiter.statistics() == RateStatistics(0, 0, 5, 12.0)


@ONLY
def test_of_plain_functions_and_threads_and_retries(backend: Any) -> None:
    clock, at = FakeClock(), list[float]()
    limiter = RateLimiter(1, 1.0, burst=1)
    dag = flow.Dag("d")

    def fails() -> None:
        at.append(clock.now())
        if len(at) < 3:
            raise OSError

    dag.add("n", fails, admission=limiter, retry=Retry(3, delay=0.25, backoff="constant"))
    assert flow.run(dag, config=Config(backend=backend, clock=clock)).ok
    assert at == [0.0, 1.0, 2.0]
    assert limiter.statistics().in_flight == 0


@ONLY
def test_one_limiter_of_several_runs_and_maps(backend: str) -> None:
    clock, limiter = FakeClock(), RateLimiter(1, 1.0, burst=1)
    assert begun(limiter, 2, backend, clock) == [0.0, 1.0]
    assert begun(limiter, 2, backend, clock) == [2.0, 3.0]


@ONLY
def test_waiting_holds_no_slot(backend: Any) -> None:
    order: list[str] = []
    clock, limiter = FakeClock(), RateLimiter(1, 10.0, burst=1)
    dag = flow.Dag("d")

    def node(name: str) -> Callable[[], Any]:
        async def call() -> None:
            order.append(name)

        return call

    dag.add("a", node("a"), admission=limiter)
    dag.add("b", node("b"), admission=limiter)
    dag.add("free", node("free"))
    flow.run(dag, config=Config(backend=backend, clock=clock, limit=1))
    assert order == ["a", "free", "b"]


def test_it_needs_an_event_loop() -> None:
    inner, dag = flow.Dag("inner"), flow.Dag("d")
    inner.add("n", lambda: 1, admission=RateLimiter(1))
    assert not inner.compile().all_sync

    @dag.node
    def starts(ctx: flow.Context) -> None:
        ctx.run(inner)

    with pytest.raises(flow.RunError) as caught:
        flow.run(dag)
    assert "dag 'inner' needs an event loop" in str(caught.value.exceptions[0])


@ONLY
def test_first_come_first_served(backend: str) -> None:
    clock, limiter, order = FakeClock(), RateLimiter(1, 1.0, burst=1, concurrency=2), list[int]()

    async def main() -> None:
        async def one(number: int) -> None:
            ctx = context(clock=clock)
            await limiter(ctx)
            order.append(number)
            await clock.wait(random.random() * 3)
            limiter.settled(ctx, None)

        async with anyio.create_task_group() as tasks:
            for number in range(30):
                tasks.start_soon(one, number)
                for _ in range(3):
                    await anyio.lowlevel.checkpoint()

    on(backend, main)
    # trio starts tasks in any order, and so do several that come at once
    assert order == sorted(order) or backend == "trio"


class Model:
    """What a limiter is to do, written plainly: all that come, in order, each with the earliest time it may begin."""

    def __init__(self, count: int, seconds: float, burst: int) -> None:
        self.interval, self.ahead = seconds / count, (burst - 1) * seconds / count
        self.arrival = float("-inf")
        self.last = float("-inf")

    def begins(self, comes: float) -> float:
        at = max(comes, self.last, self.arrival - self.ahead)  # nobody overtakes
        self.arrival = max(self.arrival, at) + self.interval
        self.last = at
        return at


Steps = st.lists(st.tuples(st.floats(0, 3), st.booleans()), min_size=1, max_size=25)


@examples(60)
@given(steps=Steps, count=st.integers(1, 4), seconds=st.floats(0.5, 4), burst=st.integers(1, 5))
def test_it_does_what_the_model_says(steps: Any, count: int, seconds: float, burst: int) -> None:
    """Each comes some time after the one before. Those that are cancelled at the next instant leave no gap."""
    clock = FakeClock()
    limiter = RateLimiter(count, seconds, burst)
    found: dict[int, float] = {}

    async def main() -> None:
        async def one(number: int, scope: anyio.CancelScope) -> None:
            ctx = context(clock=clock)
            with scope:
                await limiter(ctx)
                found[number] = clock.now()
                limiter.settled(ctx, None)

        async with anyio.create_task_group() as tasks:
            for number, (gap, cancelled) in enumerate(steps):
                if gap:
                    await clock.wait(gap)
                scope = anyio.CancelScope()
                tasks.start_soon(one, number, scope)
                for _ in range(4):
                    await anyio.lowlevel.checkpoint()
                if cancelled:
                    scope.cancel()
                    for _ in range(4):
                        await anyio.lowlevel.checkpoint()

    anyio.run(main)
    model, now, wanted = Model(count, seconds, burst), 0.0, dict[int, float]()
    for number, (gap, _) in enumerate(steps):
        now += gap
        if number in found:
            wanted[number] = model.begins(now)
    assert found == pytest.approx(wanted, abs=seconds / count / 300)
    assert {number for number, (_, cancelled) in enumerate(steps) if not cancelled} <= found.keys()
    assert limiter.statistics().waiting == limiter.statistics().in_flight == 0


@ONLY
def test_a_storm_of_cancellations_leaves_no_hole(backend: str) -> None:
    clock, limiter, at = FakeClock(), RateLimiter(1, 1.0, burst=1, concurrency=1), list[float]()

    async def main() -> None:
        async def one(leaves: bool) -> None:
            ctx = context(clock=clock)
            with anyio.CancelScope() as scope:
                if leaves:
                    scopes.append(scope)
                await limiter(ctx)
                at.append(clock.now())
                limiter.settled(ctx, None)

        scopes: list[anyio.CancelScope] = []
        async with anyio.create_task_group() as tasks:
            for number in range(300):
                tasks.start_soon(one, number % 50 != 0)
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            random.Random(7).shuffle(scopes)
            for scope in scopes:
                scope.cancel()
                await anyio.lowlevel.checkpoint()

    on(backend, main)
    assert at == sorted(at) and 6 <= len(at) <= 8
    gaps = [later - earlier for earlier, later in zip(at, at[1:], strict=False)]
    assert all(abs(gap - 1.0) < 0.01 for gap in gaps)  # no gap for those that have gone
    assert (limiter.statistics().waiting, limiter.statistics().in_flight) == (0, 0)


def test_the_first_is_cancelled_in_the_step_in_which_there_is_room() -> None:
    """It was woken, and does not go on: the next one does."""
    limiter, order = RateLimiter(1_000_000, concurrency=1), list[str]()

    async def main() -> None:
        async def one(name: str) -> None:
            await limiter(context())
            order.append(name)

        ctx = context()
        await limiter(ctx)
        first, second = asyncio.create_task(one("a")), asyncio.create_task(one("b"))
        await anyio.wait_all_tasks_blocked()
        limiter.settled(ctx, None)
        first.cancel()
        await asyncio.wait_for(second, 10)
        assert first.cancelled()

    asyncio.run(main())
    assert order == ["b"]
    assert limiter.statistics().waiting == 0


def test_threads_and_event_loops_share_one() -> None:
    limiter, running, most, done = RateLimiter(1_000_000, concurrency=3), [0], [0], [0]
    lock = threading.Lock()

    async def item(item: int) -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        await anyio.lowlevel.checkpoint()
        with lock:
            running[0] -= 1
            done[0] += 1

    dag = flow.Dag("d")
    dag.map("n", item, "xs", admission=limiter)
    plan = dag.compile()

    def run(backend: Any) -> None:
        flow.run(plan, {"xs": range(60)}, config=Config(backend=backend))

    threads = [threading.Thread(target=run, args=(backend,)) for backend in ("asyncio", "trio", "asyncio", "trio")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (done[0], running[0]) == (240, 0)
    assert most[0] <= 3
    assert limiter.statistics() == RateStatistics(0, 0, 240, limiter.statistics().waited)


def abandon(limiter: RateLimiter) -> tuple[asyncio.AbstractEventLoop, Any]:
    """Let two attempts come on an event loop that then stops: the second waits there, and is never stepped again."""
    loop = asyncio.new_event_loop()

    async def come() -> Any:
        await limiter(context(clock=SYSTEM_CLOCK))
        waits = limiter(context(clock=SYSTEM_CLOCK)).__await__()
        return waits, next(waits)

    return loop, loop.run_until_complete(come())


@pytest.mark.parametrize("elsewhere", [False, True], ids=["same thread", "other thread"])
def test_who_waits_on_a_loop_that_is_closed_keeps_nobody_waiting(elsewhere: bool) -> None:
    limiter, kept = RateLimiter(1, 0.05), list[Any]()
    if elsewhere:
        thread = threading.Thread(target=lambda: kept.append(abandon(limiter)))
        thread.start()
        thread.join()
    else:
        kept.append(abandon(limiter))
    ((loop, (waits, _)),) = kept
    assert limiter.statistics().waiting == 1
    loop.close()
    asyncio.run(asyncio.wait_for(limiter(context(clock=SYSTEM_CLOCK)), 5))
    assert limiter.statistics() == RateStatistics(0, 2, 2, limiter.statistics().waited)
    waits.close()


def test_who_waits_behind_another_loop_sees_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flow.policy.limiter.LOOK_SECONDS", 0.01)
    limiter = RateLimiter(1, 0.05)
    loop, (waits, _) = abandon(limiter)

    async def come() -> None:
        task = asyncio.ensure_future(limiter(context(clock=SYSTEM_CLOCK)))
        await asyncio.sleep(0)
        assert limiter.statistics().waiting == 2
        loop.close()
        await asyncio.wait_for(task, 5)

    asyncio.run(come())
    assert limiter.statistics().waiting == 0
    waits.close()


def test_names_are_shared() -> None:
    one, other = RateLimiter(5, 2.0, name="api"), RateLimiter(5, 2.0, burst=5, name="api")
    anyio.run(one, context())
    assert other.statistics().admitted == 1
    assert RateLimiter(5, 2.0).statistics().admitted == 0
    assert flow.Breaker(name="api").state == "closed"  # which is none of its kind
    with pytest.raises(UsageError) as caught:
        RateLimiter(6, 2.0, concurrency=1, name="api")
    text = str(caught.value)
    assert text.startswith("flow.RateLimiter(name='api') is there already, with other settings (count=5, burst=5, ")
    del one, other, caught
    gc.collect()
    assert RateLimiter(6, name="api").statistics().admitted == 0  # nothing of it is left


def test_its_own_clock_comes_before_that_of_the_run() -> None:
    mine, of_run = FakeClock(), FakeClock()
    begun(RateLimiter(1, 1.0, burst=1, clock=mine), 3, "asyncio", of_run)
    assert (mine.time, of_run.time) == (2.0, 0.0)


@pytest.mark.parametrize(
    ("arguments", "faults"),
    [
        ({"count": 0}, ["count must be an integer from 1 to"]),
        ({"count": 10**400}, ["count must be an integer from 1 to"]),
        ({"count": 1.5, "seconds": 0, "burst": 0, "concurrency": True}, ["count", "seconds", "burst", "concurrency"]),
        ({"count": 1, "seconds": float("inf")}, ["seconds must be a number of seconds > 0, not inf"]),
        ({"count": 1, "name": "no name"}, ["name 'no name' is refused: a name is"]),
        ({"count": 1, "clock": 3}, ["clock must be a flow.clock.Clock or None, not 3"]),
    ],
)
def test_wrong_settings(arguments: Any, faults: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        RateLimiter(**arguments)
    assert len(caught.value.faults) == len(faults)
    assert all(fault.startswith(start) for fault, start in zip(caught.value.faults, faults, strict=True))
    assert str(caught.value).startswith("flow.RateLimiter is not valid")


def test_its_repr() -> None:
    assert repr(RateLimiter(5, 2.0)) == "RateLimiter(5, 2)"
    assert repr(RateLimiter(5, name="r")) == "RateLimiter(5, 1, name='r')"
