"""Calls to a provider are let in at a rate, in the order of their coming, on any event loop and from any thread."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from random import Random
from threading import Barrier, Thread
from time import sleep
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from conftest import examples, loops
from hypothesis import given
from hypothesis import strategies as st

import flow
from flow.ai.errors import LimitExceeded
from flow.ai.meter import Meter
from flow.ai.rates import RateLimiter, enter
from flow.errors import ConfigError, UsageError
from flow.testing import FakeClock, context

Entry = tuple[float, float]


def most_in_a_minute(entries: Sequence[Entry]) -> float:
    """The most that came in any half-open minute."""
    most = total = 0.0
    first = 0
    for at, amount in entries:
        total += amount
        while entries[first][0] + 60.0 <= at + 1e-6:
            total -= entries[first][1]
            first += 1
        most = max(most, total)
    return most


def on(backend: str, fn: Callable[..., Any], *args: Any) -> Any:
    return anyio.run(fn, *args, backend=backend)


BACKENDS = loops("asyncio", "trio")


@pytest.mark.parametrize(
    ("count", "choice", "over"),
    [(1_000, (50, 300, 2_000), 1.02), (200, (50, 300, 2_000, 30_000), 1.2)],
    ids=["small", "large"],
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_thousand_calls_at_once(backend: str, count: int, choice: tuple[int, ...], over: float) -> None:
    """Where some take a large part of the limit, a minute has room left that the next one does not fit into."""
    limiter, clock, random = RateLimiter(tokens_per_minute=100_000), FakeClock(), Random(17)
    sizes = [random.choice(choice) for _ in range(count)]
    came, entries = list[int](), list[tuple[float, int, int]]()

    async def call(k: int) -> None:
        came.append(k)
        async with enter(context(clock=clock), limiter, sizes[k]) as entered:
            entries.append((clock.now(), sizes[k], k))
            await clock.wait(random.random() * 3)
            entered.settle(sizes[k])

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for k in range(count):
                group.start_soon(call, k)

    on(backend, main)
    assert [k for _, _, k in entries] == came and len(came) == count
    assert most_in_a_minute([(at, size) for at, size, _ in entries]) <= 100_000
    needed = sum(sizes) / 100_000 * 60.0
    assert entries[-1][0] <= needed * over
    assert limiter.statistics().in_flight == limiter.statistics().waiting == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_who_comes_first_goes_first(backend: str) -> None:
    """On trio too, where tasks come one after the other; a large request is not overtaken by small ones."""
    limiter, clock = RateLimiter(requests_per_minute=600, tokens_per_minute=1_000), FakeClock()
    order: list[int] = []

    async def call(k: int) -> None:
        async with enter(context(clock=clock), limiter, 900 if k == 3 else 1) as entered:
            order.append(k)
            entered.settle(900 if k == 3 else 1)

    async def main() -> None:
        async with enter(context(clock=clock), limiter, 160) as entered:
            entered.settle(160)
        async with anyio.create_task_group() as group:
            for k in range(20):
                group.start_soon(call, k)
                await anyio.wait_all_tasks_blocked()

    on(backend, main)
    assert order == list(range(20))
    assert clock.now() > 40.0


def test_a_pause_lets_in_a_burst_and_the_rest_evenly() -> None:
    clock, limiter = FakeClock(), RateLimiter(requests_per_minute=60)
    times: list[float] = []

    async def main() -> None:
        for _ in range(70):
            async with enter(context(clock=clock), limiter, 0) as entered:
                times.append(round(clock.now(), 3))
                entered.settle(0)

    asyncio.run(main())
    assert times[:12] == [0.0] * 10 + [1.0, 2.0]
    assert times[59] == 50.0  # 60 in the first minute
    assert times[60:70] == [60.0] * 10


def test_estimates_are_corrected_by_what_was_taken() -> None:
    clock, limiter = FakeClock(), RateLimiter(tokens_per_minute=6_000)

    async def call(asked: int, taken: int | None) -> float:
        async with enter(context(clock=clock), limiter, asked) as entered:
            if taken is not None:
                entered.settle(taken)
        return clock.now()

    async def main() -> None:
        for _ in range(20):
            assert await call(600, 10) == 0.0  # each gives back what it has not taken
        for _ in range(20):
            assert await call(600, None) == 0.0  # was not made
        assert limiter.statistics().tokens == 200
        assert await call(100, 1_900) == 0.0
        assert await call(100, 100) == pytest.approx((200 + 1_900 + 100 - 1_000) / 100)  # taken, asked, a burst
        assert limiter.statistics().tokens == 2_200

    asyncio.run(main())


def test_what_the_provider_says_is_left_counts() -> None:
    clock, limiter = FakeClock(), RateLimiter(requests_per_minute=600, tokens_per_minute=6_000)

    async def call(headroom: dict[str, float] | None, tokens: int = 10) -> float:
        async with enter(context(clock=clock), limiter, tokens) as entered:
            at = clock.now()
            entered.settle(tokens, headroom)
        return at

    async def main() -> None:
        assert await call({"tokens": 90_000.0, "requests": 90.0}) == 0.0  # more than ours: ours counts
        assert await call({"tokens": 0.0}) == 0.0  # somebody else uses the key
        assert await call({}) == pytest.approx(0.1)  # 10 tokens are there again
        assert await call({"requests": 0.0}, 0) == pytest.approx(0.1)
        assert await call({"requests_limit": 60.0}, 0) == pytest.approx(0.2)
        start = clock.now()
        for _ in range(200):
            await call({"requests_limit": 60.0}, 0)
        assert (clock.now() - start) / 200 > 0.9  # a lower limit of the provider is kept
        await call({"requests_limit": 6_000.0}, 0)
        start = clock.now()
        for _ in range(1_200):
            await call(None, 0)
        assert 50.0 < clock.now() - start < 130.0  # a higher one is not taken

    asyncio.run(main())


@pytest.mark.parametrize("backend", BACKENDS)
def test_after_a_refusal_nobody_is_let_in(backend: str) -> None:
    clock, limiter = FakeClock(), RateLimiter(requests_per_minute=600)
    times: list[float] = []

    async def call(refused: bool) -> None:
        async with enter(context(clock=clock), limiter, 10) as entered:
            times.append(round(clock.now(), 6))
            entered.settle(0)
            if refused:
                entered.refused(20.0)

    async def main() -> None:
        await call(True)
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(call, False)

    on(backend, main)
    assert times == [0.0, 20.0, 20.1, 20.2, 20.3, 20.4]  # and no burst then
    assert limiter.statistics().refused == 1


def test_a_refusal_without_a_time_holds_for_a_second() -> None:
    clock, limiter = FakeClock(), RateLimiter(concurrency=5)

    async def main() -> None:
        for after, expected in ((None, 1.0), (float("nan"), 2.0), (-5.0, 2.0)):
            async with enter(context(clock=clock), limiter, 10) as entered:
                entered.refused(after)
            async with enter(context(clock=clock), limiter, 10):
                assert clock.now() == expected

    asyncio.run(main())


@pytest.mark.parametrize("backend", BACKENDS)
def test_concurrency(backend: str) -> None:
    clock, limiter = FakeClock(), RateLimiter(concurrency=3)
    now = most = 0

    async def call() -> None:
        nonlocal now, most
        async with enter(context(clock=clock), limiter, 10):
            now += 1
            most = max(most, now)
            await clock.wait(1.0)
            now -= 1

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(call)

    on(backend, main)
    assert most == 3 and clock.now() == 4.0


def test_what_never_fits_is_refused_at_once() -> None:
    limiter = RateLimiter(tokens_per_minute=1_000, name="small")

    async def main() -> None:
        with pytest.raises(LimitExceeded, match="1,001 tokens, and rate limiter 'small' lets in 1,000 per minute"):
            async with enter(context(clock=FakeClock()), limiter, 1_001):
                raise AssertionError
        async with enter(context(clock=FakeClock()), limiter, 1_000):
            pass

    asyncio.run(main())


@pytest.mark.parametrize("backend", BACKENDS)
def test_waiting_holds_no_slot(backend: str) -> None:
    clock, limiter, order = FakeClock(), RateLimiter(requests_per_minute=1), list[str]()
    dag = flow.Dag("slots")

    @dag.node
    async def first(ctx: flow.Context) -> None:
        for k in range(2):
            async with enter(ctx, limiter, 1) as entered:
                order.append(f"first {k}")
                entered.settle(1)

    @dag.node
    async def second() -> None:
        order.append("second")

    flow.run(dag, config=flow.Config(limit=1, clock=clock, backend=backend, mode="tasks"))  # type: ignore[arg-type]
    assert order == ["first 0", "second", "first 1"]


def test_threads_and_loops_share_a_limiter() -> None:
    limiter, barrier = RateLimiter(requests_per_minute=60_000, concurrency=2), Barrier(4)
    now, over, done = [0], list[int](), list[str]()

    async def call(backend: str) -> None:
        async with enter(context(), limiter, 1) as entered:
            now[0] += 1
            over.append(now[0])
            await anyio.sleep(0.001)
            now[0] -= 1
            entered.settle(1)
            done.append(backend)

    async def main(backend: str) -> None:
        async with anyio.create_task_group() as group:
            for _ in range(25):
                group.start_soon(call, backend)

    def work(backend: str) -> None:
        barrier.wait()
        anyio.run(main, backend, backend=backend)

    threads = [Thread(target=work, args=(name,)) for name in ("asyncio", "trio", "asyncio", "trio")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30.0)
    assert len(done) == 100 and max(over) <= 2
    assert limiter.statistics().let_in == 100


async def once(limiter: RateLimiter, refused: float | None = None) -> None:
    with anyio.fail_after(20):
        async with enter(context(), limiter, 1) as entered:
            entered.settle(1)
            if refused is not None:
                entered.refused(refused)


@contextmanager
def left_behind(limiter: RateLimiter, meanwhile: Callable[[], Any] = lambda: None) -> Iterator[None]:
    """A call waits on an event loop that is closed without cancelling it."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(once(limiter))
    loop.run_until_complete(asyncio.sleep(0.01))
    assert limiter.statistics().waiting == 1
    meanwhile()
    loop.close()
    try:
        yield
    finally:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        with suppress(RuntimeError):  # as the garbage collector would
            task.get_coro().close()  # type: ignore[union-attr]
        del task
        gc.collect(1)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a coroutine without its loop
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("in_thread", [False, True])
def test_who_waits_on_a_loop_that_was_closed_is_forgotten(backend: str, in_thread: bool) -> None:
    limiter = RateLimiter(requests_per_minute=6_000)
    on("asyncio", once, limiter, 0.2)
    with left_behind(limiter):
        if in_thread:
            thread = Thread(target=on, args=(backend, once, limiter))
            thread.start()
            thread.join(30)
        else:
            on(backend, once, limiter)
        assert (limiter.statistics().waiting, limiter.statistics().let_in) == (0, 2)
    on(backend, once, limiter)
    assert (limiter.statistics().in_flight, limiter.statistics().let_in) == (0, 3)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a coroutine without its loop
@pytest.mark.parametrize("backend", BACKENDS)
def test_who_waits_behind_a_loop_that_is_closed_goes_on(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody comes or leaves then: who waits has to look."""
    monkeypatch.setattr("flow.ai.rates.LOOK_SECONDS", 0.01)
    limiter = RateLimiter(requests_per_minute=6_000)
    on("asyncio", once, limiter, 0.5)
    thread = Thread(target=on, args=(backend, once, limiter))

    def begin() -> None:
        thread.start()
        while limiter.statistics().waiting < 2:
            sleep(0.001)

    with left_behind(limiter, begin):
        thread.join(30)
        assert (limiter.statistics().waiting, limiter.statistics().let_in) == (0, 2)


@pytest.mark.parametrize("backend", BACKENDS)
@examples(30)
@given(st.data())
def test_with_cancellations_nothing_is_lost(backend: str, data: st.DataObject) -> None:
    """Whoever is cancelled, waiting or within, leaves no place taken, and nobody behind waits for ever."""
    calls = data.draw(
        st.lists(
            st.tuples(st.integers(1, 400), st.floats(0, 30), st.one_of(st.none(), st.floats(0, 90)), st.floats(0, 9)),
            max_size=30,
        )
    )  # fmt: skip
    limiter = RateLimiter(requests_per_minute=30, tokens_per_minute=1_000, concurrency=2)
    clock = FakeClock()
    entries: list[Entry] = []
    ended = 0

    async def call(tokens: int, begins: float, ends: float | None, takes: float) -> None:
        nonlocal ended
        await clock.wait(begins)
        async with anyio.create_task_group() as group:

            async def end() -> None:
                if ends is not None:
                    await clock.wait(ends)
                    group.cancel_scope.cancel()

            group.start_soon(end)
            try:
                async with enter(context(clock=clock), limiter, tokens) as entered:
                    try:
                        await clock.wait(takes)
                    finally:
                        entries.append((clock.now(), tokens))
                        entered.settle(tokens)
            finally:
                ended += 1
                group.cancel_scope.cancel()

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for one in calls:
                group.start_soon(call, *one)

    on(backend, main)
    found = limiter.statistics()
    assert ended == len(calls)
    assert (found.in_flight, found.waiting, found.let_in) == (0, 0, len(entries))
    on(backend, _one_more, limiter, clock)


async def _one_more(limiter: RateLimiter, clock: FakeClock) -> None:
    async with enter(context(clock=clock), limiter, 1_000):
        assert limiter.statistics().in_flight == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_when_the_first_in_the_queue_is_cancelled_the_next_one_waits_for_its_time(backend: str) -> None:
    limiter, clock = RateLimiter(requests_per_minute=1), FakeClock()

    async def call(scope: anyio.CancelScope) -> None:
        with scope:
            async with enter(context(clock=clock), limiter, 1) as entered:
                entered.settle(1)

    async def main() -> None:
        await call(anyio.CancelScope())
        first, second = anyio.CancelScope(), anyio.CancelScope()
        async with anyio.create_task_group() as group:
            group.start_soon(call, first)
            while limiter.statistics().waiting < 1:
                await anyio.sleep(0)
            group.start_soon(call, second)
            while limiter.statistics().waiting < 2:
                await anyio.sleep(0)
            first.cancel()
        assert clock.now() == 60.0 and limiter.statistics().let_in == 2

    with_limit(backend, main)


def with_limit(backend: str, main: Callable[..., Any]) -> None:
    """Fail where it would hang."""

    async def limited() -> None:
        with anyio.fail_after(20.0):
            await main()

    on(backend, limited)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_call_that_is_cancelled_before_it_has_a_slot_again_was_not_made(backend: str) -> None:
    limiter, clock = RateLimiter(requests_per_minute=1, concurrency=1), FakeClock()

    @asynccontextmanager
    async def released() -> AsyncIterator[None]:
        yield
        await anyio.sleep_forever()  # all slots are taken

    ctx: Any = SimpleNamespace(node="n", _scope=context(clock=clock)._scope, released=released)

    async def call() -> None:
        async with enter(ctx, limiter, 1):
            raise AssertionError

    async def main() -> None:
        async with enter(context(clock=clock), limiter, 1) as entered:
            entered.settle(1)
        async with anyio.create_task_group() as group:
            group.start_soon(call)
            while limiter.statistics().let_in < 2:
                await anyio.sleep(0.001)
            group.cancel_scope.cancel()
        found = limiter.statistics()
        assert (found.in_flight, found.waiting, found.requests, clock.now()) == (0, 0, 0, 60.0)

    on(backend, main)


@examples(200)
@given(st.lists(st.tuples(st.floats(0.0, 40.0), st.integers(1, 100), st.integers(0, 100)), max_size=60))
def test_no_minute_has_more_than_its_limit(calls: list[tuple[float, int, int]]) -> None:
    """Of amounts that are let in as soon as they may be, and corrected downwards, whatever comes when."""
    meter, now, entries = Meter(100), 0.0, list[Entry]()
    for pause, amount, less in calls:
        now += pause
        asked = now
        while (seconds := meter.wait(amount, now)) > 0.0:
            now += seconds
        assert now - asked <= 2 * 60.0  # it comes to its turn
        slot = meter.take(amount, now)
        back = min(less, amount)
        meter.correct(slot, -back)
        entries.append((now, amount - back))
    assert most_in_a_minute(entries) <= 100


def test_another_clock_goes_on_where_the_first_one_was() -> None:
    limiter, first, second = RateLimiter(requests_per_minute=1), FakeClock(start=500.0), FakeClock()

    async def main() -> None:
        for clock in (first, second):
            async with enter(context(clock=clock), limiter, 1) as entered:
                entered.settle(1)

    asyncio.run(main())
    assert (first.now(), second.now()) == (500.0, 60.0)


def test_without_a_limiter() -> None:
    async def main() -> None:
        async with enter(context(), None, 10**9) as entered:
            entered.refused(1.0)
            entered.settle(5, {})
            with pytest.raises(UsageError, match="settled once"):
                entered.settle(5)

    asyncio.run(main())


def test_all_faults_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        RateLimiter(0, 1.5, True, "a b/")  # type: ignore[arg-type]
    assert [fault.split()[0] for fault in caught.value.faults] == [
        "requests_per_minute", "tokens_per_minute", "concurrency", "name",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="it limits nothing"):
        RateLimiter()
    assert repr(RateLimiter(5, name="x")) == "RateLimiter(name='x', requests_per_minute=5)"
