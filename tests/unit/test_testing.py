"""The fake clock: virtual time moves when nothing else can, however slow the machine, on every event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from conftest import loops

import flow
import flow.testing
from flow.testing import FakeClock

pytestmark = pytest.mark.filterwarnings("ignore::flow.errors.BlockingNodeWarning")


@pytest.fixture(params=[None, -1.0], ids=["usual", "a-pause-after-each-node"])
def speed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As fast as this machine is; and as on one so slow that the loop is let turn after every single node."""
    if request.param is not None:
        for name in ("queue", "pacing"):
            monkeypatch.setattr(import_module(f"flow.run.{name}"), "YIELD_EVERY", request.param)


def napping(clock: FakeClock, seconds: float) -> Callable[..., Awaitable[float]]:
    async def nap(*values: object) -> float:
        await clock.wait(seconds)
        return clock.now()

    return nap


@pytest.mark.usefixtures("speed")
class TestTimeDoesNotMove:
    """While something else can happen in the run."""

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    def run(self, dag: flow.Dag, clock: FakeClock, backend: str, inputs: Any = None, **settings: Any) -> flow.Result:
        return flow.run(dag, inputs, config=flow.Config(clock=clock, backend=backend, **settings))  # type: ignore[arg-type]

    def test_while_hosts_are_to_be_started(self, clock: FakeClock, backend: str) -> None:
        dag = flow.Dag("wide")
        for k in range(50):
            dag.add(f"n{k}", napping(clock, 1.0 + k / 8))
        result = self.run(dag, clock, backend)
        assert list(result.values()) == [1.0 + k / 8 for k in range(50)]

    def test_while_a_chain_of_nodes_goes_on(self, clock: FakeClock, backend: str) -> None:
        dag = flow.Dag("chain")
        dag.add("nap", napping(clock, 1.0))
        for k in range(20):
            dag.add(f"n{k}", lambda *values: None, needs=[f"n{k - 1}"] if k else [])
        dag.add("after", napping(clock, 1.0), needs=["n19"])
        result = self.run(dag, clock, backend)
        assert (result["nap"], result["after"], clock.time) == (1.0, 1.0, 1.0)

    def test_while_many_are_ready(self, clock: FakeClock, backend: str) -> None:
        dag = flow.Dag("many")
        dag.add("nap", napping(clock, 1.0))
        for k in range(50):
            dag.add(f"n{k}", lambda: None)
        dag.add("after", napping(clock, 0.5), needs=[f"n{k}" for k in range(50)])
        result = self.run(dag, clock, backend)
        assert (result["nap"], result["after"], clock.time) == (1.0, 0.5, 1.0)

    @pytest.mark.parametrize(("limit", "seconds"), [(1, 36.0), (2, 20.0), (3, 15.0), (None, 8.0)])
    def test_a_schedule_is_that_of_greedy_workers(
        self, clock: FakeClock, backend: str, limit: int | None, seconds: float
    ) -> None:
        dag = flow.Dag("schedule")
        for k in range(1, 9):
            dag.add(f"n{k}", napping(clock, float(k)))
        self.run(dag, clock, backend, limit=limit)
        assert clock.time == seconds

    def test_while_items_go_on(self, clock: FakeClock, backend: str) -> None:
        dag = flow.Dag("items")

        async def visit(item: int) -> float:
            if item % 10 == 0:
                await clock.wait(1.0 + item)
            return clock.now()

        dag.map("visit", visit, over="numbers")
        result = self.run(dag, clock, backend, {"numbers": range(50)})
        assert list(result["visit"]) == [1.0 + k if k % 10 == 0 else 0.0 for k in range(50)]

    def test_while_retries_fail_at_once(self, clock: FakeClock, backend: str) -> None:
        dag = flow.Dag("retries")

        def flaky(ctx: flow.Context) -> float:
            if ctx.attempt < 3:
                raise ConnectionError
            return clock.now()

        for k in range(1, 6):
            dag.add(f"n{k}", flaky, retry=flow.Retry(3, delay=float(k)))
        result = self.run(dag, clock, backend)
        assert list(result.values()) == [3.0 * k for k in range(1, 6)]
        assert clock.time == 15.0


class TestSleepers:
    def test_one_that_takes_many_turns_to_begin_is_waited_for(self, on_loop: Any) -> None:
        clock, woke = FakeClock(), []

        async def sleeper(turns: int, seconds: float) -> None:
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            await clock.wait(seconds)
            woke.append((seconds, clock.now()))

        async def main() -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(sleeper, 0, 2.0)
                group.start_soon(sleeper, 100, 1.0)

        on_loop(main)
        assert woke == [(1.0, 1.0), (2.0, 2.0)]

    def test_what_one_wakes_goes_on_before_the_next_wakes(self, on_loop: Any) -> None:
        clock, seen = FakeClock(), []

        async def first(event: anyio.Event) -> None:
            await clock.wait(1.0)
            event.set()

        async def woken(event: anyio.Event) -> None:
            await event.wait()
            for _ in range(50):
                await anyio.lowlevel.checkpoint()
            seen.append(("woken", clock.now()))

        async def later() -> None:
            await clock.wait(1.5)
            seen.append(("next", clock.now()))

        async def main() -> None:
            event = anyio.Event()
            async with anyio.create_task_group() as group:
                group.start_soon(woken, event)
                group.start_soon(first, event)
                group.start_soon(later)

        on_loop(main)
        assert seen == [("woken", 1.0), ("next", 1.5)]

    def test_a_cancelled_one_hands_on(self, on_loop: Any) -> None:
        clock, woke = FakeClock(), []

        async def sleeper(seconds: float, scope: anyio.CancelScope) -> None:
            with scope:
                await clock.wait(seconds)
                woke.append(clock.now())

        async def main() -> None:
            scopes = [anyio.CancelScope() for _ in range(4)]
            async with anyio.create_task_group() as group:
                for k, scope in enumerate(scopes):
                    group.start_soon(sleeper, 1.0 + k, scope)
                await anyio.lowlevel.checkpoint()
                scopes[0].cancel()
                scopes[2].cancel()

        on_loop(main)
        assert woke == [2.0, 4.0]

    def test_two_clocks_on_one_loop_do_not_wait_for_each_other(self, on_loop: Any) -> None:
        clocks = FakeClock(), FakeClock(100.0)

        async def sleeper(clock: FakeClock) -> None:
            for seconds in (1.0, 2.0, 3.0):
                await clock.wait(seconds)

        async def main() -> None:
            async with anyio.create_task_group() as group:
                for clock in clocks:
                    group.start_soon(sleeper, clock)

        on_loop(main)
        assert [clock.time for clock in clocks] == [6.0, 106.0]
        assert not flow.testing._watching

    def test_delays_may_be_forgotten_meanwhile(self, on_loop: Any) -> None:
        clock = FakeClock()

        async def sleeper() -> None:
            await clock.wait(1.0)
            clock.slept.clear()
            await clock.wait(1.0)

        async def main() -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(sleeper)
                group.start_soon(sleeper)

        on_loop(main)
        assert clock.time == 2.0

    @pytest.mark.parametrize("backend", loops()[:2])
    def test_a_task_that_polls_is_an_error_not_a_hang(self, on_loop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(flow.testing, "PATIENCE", 100)
        clock = FakeClock()

        async def poll() -> None:
            while clock.now() < 1.0:
                await anyio.lowlevel.checkpoint()

        async def main() -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(poll)
                with pytest.raises(flow.UsageError, match=r"cannot move: in 100 turns .* Does a task poll"):
                    await clock.wait(1.0)
                group.cancel_scope.cancel()

        on_loop(main)
        assert not flow.testing._watching
