"""``limit="auto"``: the search on simulated backends, and in runs on virtual time."""

from __future__ import annotations

import math
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from random import Random
from typing import Any

import anyio
import pytest
from conftest import LoopClock, error_of
from limit_sim import Aimd, Fixed, Gradient2, Vegas, World, best, power, simulate, worlds

import flow
from flow.run.adaptive import CAREFUL, GROWTH, START, LimitSearch, call_kind

AUTO = flow.Config(limit="auto", clock=LoopClock())


class TestSearch:
    """The algorithm alone."""

    @pytest.mark.parametrize("steepness", [1, 1.5, 2])
    @pytest.mark.parametrize("shared", [False, True])
    @pytest.mark.parametrize("seed", [1, 2, 3])
    def test_within_a_tenth_of_the_best_fixed_limit(self, steepness: float, shared: bool, seed: int) -> None:
        world = World([[0]] * 2_000, power(32, steepness), shared=shared)
        assert simulate(LimitSearch(), world, seed) <= 1.12 * simulate(Fixed(32), world, seed)
        long = World([[0]] * 4_000, power(32, steepness), shared=shared)
        assert simulate(LimitSearch(), long, seed) <= 1.10 * simulate(Fixed(32), long, seed)

    def test_the_next_run_begins_where_this_one_ended(self) -> None:
        world = World([[0]] * 1_000, power(32, 2))
        first = LimitSearch()
        took = simulate(first, world)
        again = first.again(1 << 62)
        assert 27 <= again.limit <= 40
        assert again.seen().changes == 0
        assert simulate(again, world) <= min(took, 1.10 * best(world))

    @pytest.mark.slow
    def test_it_is_the_best_of_those_compared(self) -> None:
        def mean(make: Callable[[], Any]) -> float:
            return math.exp(sum(math.log(simulate(make(), world) / least) for world, least in found) / len(found))

        found = [(world, best(world)) for name, world in worlds(1_000).items() if "100" not in name]
        ours = mean(LimitSearch)
        assert ours < 1.21
        assert all(mean(other) > 1.15 * ours for other in (Gradient2, Vegas, Aimd))

    def test_grows_without_end_where_nothing_gets_slower(self) -> None:
        climb = LimitSearch()
        took = simulate(climb, World([[0]] * 2_000, lambda n: 1.0))
        assert climb.limit > 400
        assert took < 0.01 * 13  # round trips; 8 doublings of 16 would be the least

    def test_a_slow_function_is_no_crowd(self) -> None:
        """Slow calls come in the second half alone: nothing about them says that fewer should be in flight."""
        climb = LimitSearch()
        simulate(climb, World([[0]] * 300 + [[1]] * 300, lambda n: 1.0, (0.01, 1.0)))
        assert climb.seen().lowest == START
        assert climb.limit > START * GROWTH**2

    def test_a_chain_says_nothing_about_a_limit_it_does_not_reach(self) -> None:
        climb = LimitSearch()
        simulate(climb, World([[0] * 100] * 4, power(2, 2)))
        assert climb.seen() == (climb.again(99).seen())
        assert climb.limit == START

    def test_it_follows_a_backend_that_changes(self) -> None:
        climb = LimitSearch()
        simulate(climb, World([[0]] * 2_000, power(32, 2)))
        later = climb.again(1 << 62)
        simulate(later, World([[0]] * 6_000, power(8, 2)))
        assert later.best <= 10
        last = later.again(1 << 62)
        simulate(last, World([[0]] * 6_000, power(64, 2)))
        assert 50 <= last.best <= 76

    @pytest.mark.parametrize("seed", range(30))
    def test_within_its_bounds_whatever_the_latencies(self, seed: int) -> None:
        random = Random(seed)
        bound = random.choice([1, 2, 7, 40, 1 << 62])
        climb = LimitSearch(random.choice([1, 16, 100]), bound)
        calls: list[Any] = []
        now = 0.0
        for _ in range(3_000):
            now += random.choice([0.0, 1e-9, random.expovariate(1), 1e6 * random.random()])
            while len(calls) < climb.limit and len(calls) < 300:
                calls.append(climb.began(len(calls) + 1, now))
            call = calls.pop(random.randrange(len(calls)))
            if call is not None:
                climb.ended(call, random.choice("abc"), now)
            seen = climb.seen()
            assert 1 <= seen.lowest <= min(climb.limit, seen.limit)
            assert max(climb.limit, seen.limit) <= seen.highest <= bound
            if random.random() < 0.001:
                climb = climb.again(bound)
                calls.clear()

    def test_kinds(self) -> None:
        def make(i: int) -> Any:
            async def fetch() -> int:
                return i

            return fetch

        class Call:
            def method(self) -> None: ...
            def __call__(self) -> None: ...

        assert call_kind(make(1)) is call_kind(partial(make(2)))
        assert call_kind(Call().method) is call_kind(Call().method)
        assert call_kind(Call()) is call_kind(Call()) is not call_kind(Call().method)
        assert CAREFUL < GROWTH


class Backend:
    """Calls of a second each, slower by the square past ``knee`` in flight."""

    def __init__(self, knee: int = 32) -> None:
        self.knee = knee
        self.now = self.peak = 0
        self.calls: list[int] = []

    async def call(self, i: int = 0) -> int:
        self.now += 1
        self.peak = max(self.peak, self.now)
        self.calls.append(i)
        try:
            await anyio.sleep(max(1.0, self.now / self.knee) ** 2)
        finally:
            self.now -= 1
        return i

    def nodes(self, count: int, **options: Any) -> flow.Dag:
        dag = flow.Dag("nodes")
        for i in range(count):
            dag.add(f"n{i}", partial(self.call, i), **options)
        return dag

    def map(self, **options: Any) -> flow.Dag:
        dag = flow.Dag("mapped")
        dag.map("m", self.call, over="items", **options)
        return dag


async def seconds(*args: Any, **options: Any) -> tuple[float, flow.Result]:
    began = anyio.current_time()
    result = await flow.execute(*args, **options)
    return anyio.current_time() - began, result


@pytest.mark.usefixtures("busy")
class TestRuns:
    def test_nodes_reach_the_best_limit(self, virtual: Any) -> None:
        backend = Backend()
        plan = backend.nodes(2_000).compile()
        least, _ = virtual(partial(seconds, plan, config=flow.Config(limit=32)))
        backend.calls.clear()
        backend.peak = 0
        took, result = virtual(partial(seconds, plan, config=AUTO))
        assert sorted(backend.calls) == list(range(2_000)) == list(result.values())
        assert took <= 1.15 * least
        (limit,) = result.limits.values()
        assert 24 <= limit.limit <= 42
        assert limit.lowest <= START < limit.highest == backend.peak
        assert limit.changes >= 3
        again, result = virtual(partial(seconds, plan, config=AUTO))
        assert again <= 1.15 * least
        assert result.limits[""].lowest > START

    def test_maps_have_limits_of_their_own(self, virtual: Any) -> None:
        backend = Backend()
        items = {"items": range(1_000)}
        config = flow.Config(clock=LoopClock())
        least, _ = virtual(partial(seconds, backend.map(concurrency=32), items, config=config))
        took, result = virtual(partial(seconds, backend.map(concurrency="auto"), items, config=config))
        assert took <= 1.2 * least
        assert result["m"] == list(range(1_000))
        assert [*result.limits] == ["m"]
        assert 24 <= result.limits["m"].limit <= 42
        _, result = virtual(partial(seconds, backend.map(concurrency=20), items, config=AUTO))
        assert [*result.limits] == ["", "m"]
        assert result.limits["m"].highest == 20

    def test_a_stream_is_asked_for_no_more_than_may_be_open(self, virtual: Any) -> None:
        backend = Backend(knee=8)
        ended = most = 0

        async def items() -> AsyncIterator[int]:
            nonlocal most
            for i in range(400):
                most = max(most, i - ended)
                yield i

        async def call(i: int) -> int:
            nonlocal ended
            await backend.call(i)
            ended += 1
            return i

        dag = flow.Dag("stream")
        dag.map("m", call, over="items", concurrency="auto")
        result = virtual(partial(flow.execute, dag, {"items": items()}, config=AUTO))
        assert result["m"] == list(range(400))
        assert 8 <= most <= result.limits["m"].highest < 100
        assert backend.peak <= result.limits["m"].highest

    def test_pipelined_maps(self, virtual: Any) -> None:
        backend = Backend()
        dag = backend.map(concurrency="auto")
        dag.map("second", backend.call, over="m", concurrency="auto", pipelined=True)
        result = virtual(partial(flow.execute, dag, {"items": range(500)}, config=flow.Config(clock=LoopClock())))
        assert result["second"] == list(range(500))
        assert [*result.limits] == ["m"]
        assert result.limits["m"].highest == backend.peak

    def test_in_flight_falls_to_a_limit_that_shrinks(self, virtual: Any) -> None:
        backend = Backend(knee=4)
        seen: list[tuple[int, int]] = []

        async def call(i: int) -> None:
            await backend.call(i)
            seen.append((len(backend.calls), backend.now))

        dag = flow.Dag("shrinks")
        for i in range(600):
            dag.add(f"n{i}", partial(call, i))
        result = virtual(partial(flow.execute, dag, config=AUTO))
        assert result.limits[""].limit <= 7
        assert max(n for at, n in seen if at > 500) <= 8
        assert len(backend.calls) == 600

    def test_nothing_is_learned_where_nothing_waits(self, backend: str) -> None:
        async def noop() -> int:
            return 1

        dag = flow.Dag("noop")
        for i in range(200):
            dag.add(f"n{i}", noop, after=[f"n{i - 1}"] if i % 7 else [])
        result = flow.run(dag, config=flow.Config(limit="auto", backend=backend))  # type: ignore[arg-type]
        assert result.limits[""].changes == 0
        assert flow.run(dag).limits == {}

    def test_one_at_a_time_inline(self, virtual: Any) -> None:
        backend = Backend()
        result = virtual(partial(flow.execute, backend.nodes(50), config=AUTO.replace(mode="inline")))
        assert (backend.peak, result.limits) == (1, {})
        dag = flow.Dag("sync")
        dag.add("one", lambda: 1)
        assert flow.run(dag, config=flow.Config(limit="auto"))["one"] == 1
        virtual(partial(flow.execute, backend.nodes(50), config=AUTO.replace(mode="workers")))
        assert START <= backend.peak < 50

    def test_threads(self, backend: str) -> None:
        threads: set[int] = set()
        dag = flow.Dag("threads")
        for i in range(60):
            dag.add(f"n{i}", lambda: threads.add(threading.get_ident()), thread=True)
        result = flow.run(dag, config=flow.Config(limit="auto", threads=4, backend=backend))  # type: ignore[arg-type]
        assert result.ok
        assert 1 <= len(threads) <= 4 * 2  # a worker may be replaced by another
        assert "" in result.limits

    def test_a_dag_as_a_node_has_a_limit_of_its_own(self, virtual: Any) -> None:
        inner = Backend()
        dag = flow.Dag("outer")
        dag.add("sub", inner.nodes(200))
        result = virtual(partial(flow.execute, dag, config=AUTO))
        assert len(result["sub"]) == 200
        assert START < inner.peak < 200
        assert result.limits[""].highest == START


@pytest.mark.usefixtures("busy")
class TestHowItEnds:
    def test_a_time_limit_counts_as_what_it_was(self, virtual: Any) -> None:
        """Calls that a crowd makes run into their time limit: that the rest is quick must not let it grow."""
        backend = Backend(knee=20)
        dag = backend.nodes(800, timeout=2.0, retry=flow.Retry(50, delay=0.0))
        result = virtual(partial(flow.execute, dag, config=AUTO))
        assert list(result.values()) == list(range(800))
        assert result.limits[""].limit <= 29

    def test_failures_say_nothing(self, virtual: Any) -> None:
        """Every second call fails at once, the others take longer the more there are."""
        backend = Backend(knee=20)

        async def call(i: int) -> None:
            if i % 2:
                await anyio.sleep(0.001)
                raise ValueError(i)
            await backend.call(i)

        dag = flow.Dag("fails")
        for i in range(1_000):
            dag.add(f"n{i}", partial(call, i))
        result = virtual(partial(flow.execute, dag, config=AUTO.replace(on_error="collect")))
        assert result.counts == {flow.Status.COMPLETED: 500, flow.Status.FAILED: 500}
        assert result.limits[""].limit <= 40

    def test_fail_fast_cancels_the_rest(self, virtual: Any) -> None:
        backend = Backend()
        dag = backend.nodes(300)

        async def fails() -> None:
            await anyio.sleep(2.5)
            raise ValueError("no")

        dag.add("fails", fails, priority=1)
        with pytest.raises(flow.RunError) as caught:
            virtual(partial(flow.execute, dag, config=AUTO))
        assert [str(error) for error in caught.value.exceptions] == ["no"]
        assert backend.now == 0
        counts = caught.value.result.counts
        assert counts[flow.Status.CANCELLED] > 100
        assert sum(counts.values()) == 301

    def test_the_runs_own_time_limit(self) -> None:
        async def forever() -> None:
            await anyio.sleep_forever()

        dag = flow.Dag("forever")
        for i in range(40):
            dag.add(f"n{i}", forever)
        error = error_of(dag, limit="auto", timeout=0.01)
        assert error.timed_out
        assert error.result.counts == {flow.Status.CANCELLED: 40}

    @pytest.mark.parametrize("seed", range(6))
    def test_every_node_runs_once_whatever_happens(self, virtual: Any, seed: int) -> None:
        random = Random(seed)
        ended: list[int] = []
        waits = [random.choice([0.0, 0.0, random.expovariate(1), 30 * random.random()]) for _ in range(300)]

        async def call(i: int) -> int:
            for _ in range(i % 3):
                await anyio.sleep(waits[i])
            ended.append(i)
            return i

        dag = flow.Dag("any")
        for i in range(300):
            after = [f"n{d}" for d in {random.randrange(i) for _ in range(random.choice([0, 0, 1, 2]))}] if i else []
            dag.add(f"n{i}", partial(call, i), after=after)
        for _ in range(3):
            ended.clear()
            result = virtual(partial(flow.execute, dag, config=AUTO))
            assert sorted(ended) == list(range(300)) == list(result.values())


class TestSettings:
    @pytest.mark.parametrize("limit", ["Auto", "", 0, -1, True, 1.5, [1]])
    def test_anything_else_is_refused(self, limit: Any) -> None:
        with pytest.raises(flow.errors.ConfigError, match="limit must be an integer of at least 1, 'auto', or None"):
            flow.Config(limit=limit)

    def test_of_a_map_as_well(self) -> None:
        dag = flow.Dag("d")
        dag.map("m", lambda x: x, over="items", concurrency="many")  # type: ignore[call-overload]
        with pytest.raises(flow.DefinitionError, match="concurrency must be an integer of at least 1, 'auto', or None"):
            dag.compile()
