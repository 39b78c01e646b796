"""Random Dags, failures, retries, limits and modes against a brute-force account of what must happen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import anyio.lowlevel
import msgspec
import pytest
from conftest import DRIVERS, LoopClock, dag_of, examples
from hypothesis import given
from hypothesis import strategies as st

import flow
from flow import Config, Retry, Status


class Spec(msgspec.Struct):
    """One node: what it waits for, how it is made, and after how many failing calls it succeeds."""

    data: tuple[int, ...]
    after: tuple[int, ...]
    style: str
    fails: int  # calls that fail first; 99 is always
    attempts: int
    tolerant: bool
    priority: int


@st.composite
def dags(draw: st.DrawFn, most: int = 200) -> list[Spec]:
    random = Random(draw(st.integers(0, 2**32)))  # a seed: fast, and still replayed by hypothesis
    count = random.randint(1, draw(st.sampled_from([3, 10, 40, most])))
    density = draw(st.sampled_from([0, 1, 2, 4]))
    trouble = draw(st.sampled_from([0.0, 0.05, 0.3]))
    styles = draw(st.sampled_from([("sync",), ("async",), ("sync", "async", "waits"), ("waits",)]))
    specs = []
    for i in range(count):
        wanted = random.sample(range(i), min(i, random.randint(0, density)))
        cut = random.randint(0, len(wanted))
        failing = random.random() < trouble
        specs.append(
            Spec(
                data=tuple(sorted(wanted[:cut])),
                after=tuple(sorted(wanted[cut:])),
                style=random.choice(styles),
                fails=random.choice([1, 2, 99]) if failing else 0,
                attempts=random.choice([1, 2, 3]),
                tolerant=random.random() < 0.2,
                priority=random.choice([0, 0, 0, 1, -1]),
            )
        )
    return specs



class World:
    """Builds the Dag of a Spec list and watches it run."""

    def __init__(self, specs: list[Spec]) -> None:
        self.specs = specs
        self.calls = [0] * len(specs)
        self.started: list[int] = []
        self.ended: set[int] = set()
        self.dag = dag_of(specs, self._function)

    def _function(self, i: int, spec: Spec) -> Callable[..., Any]:
        def call(*values: Any) -> Any:
            if not self.calls[i]:
                self.started.append(i)
            self.calls[i] += 1
            for d, value in zip(spec.data, values, strict=True):
                assert value == ("out", d), f"n{i} was passed {value!r} for n{d}"
            for d in spec.after:
                assert d in self.ended or self.specs[d].tolerant, f"n{i} ran before n{d} ended"
            if self.calls[i] <= spec.fails:
                raise ValueError(i)
            self.ended.add(i)
            return ("out", i)

        async def acall(*values: Any) -> Any:
            if spec.style == "waits":
                for _ in range(i % 3):
                    await anyio.lowlevel.checkpoint()
            return call(*values)

        return call if spec.style == "sync" else acall

    def outcome(self, i: int) -> Status:
        spec = self.specs[i]
        return Status.COMPLETED if spec.fails < spec.attempts else Status.FAILED

    def expected(self) -> list[Status]:
        """What collect must end with, node by node in definition order (which is topological)."""
        status: list[Status] = []
        for i, spec in enumerate(self.specs):
            blocked = any(status[d] is not Status.COMPLETED for d in spec.data)
            for d in spec.after:
                passed = status[d] is Status.COMPLETED or (status[d] is Status.FAILED and self.specs[d].tolerant)
                blocked = blocked or not passed
            status.append(Status.SKIPPED if blocked else self.outcome(i))
        return status

    def expected_calls(self, status: list[Status]) -> list[int]:
        return [
            0 if s is Status.SKIPPED else min(spec.fails + 1, spec.attempts)
            for s, spec in zip(status, self.specs, strict=True)
        ]


settings_of = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(DRIVERS),
        "limit": st.sampled_from([None, 1, 2, 5, 1000]),
        "timing": st.sampled_from([False, False, True]),
        "optimize": st.sampled_from(["at_once", "at_once", True]),
        "order": st.sampled_from(["definition", "definition", "critical_path"]),
    }
)
many = examples(500)


@many
@given(dags(), settings_of)
def test_collect_matches_the_oracle(specs: list[Spec], options: dict[str, Any]) -> None:
    world = World(specs)
    result = flow.run(world.dag, config=Config(on_error="collect", **options))
    status = world.expected()
    assert [result.status[f"n{i}"] for i in range(len(specs))] == status
    assert world.calls == world.expected_calls(status)
    done = [i for i, s in enumerate(status) if s is Status.COMPLETED]
    assert dict(result.outputs) == {f"n{i}": ("out", i) for i in done}
    failed = [i for i, s in enumerate(status) if s is Status.FAILED]
    assert {name: error.args for name, error in result.errors.items()} == {f"n{i}": (i,) for i in failed}
    assert sum(result.counts.values()) == len(specs)
    assert result.ok == (all(specs[i].tolerant for i in failed) and Status.SKIPPED not in status)
    if options["limit"] == 1 or options["mode"] == "inline":
        check_order(world, result, options)


def check_order(world: World, result: flow.Result, options: dict[str, Any]) -> None:
    """With one node at a time and no retry in between, the plan's order is the order of starts."""
    if any(0 < spec.fails for spec in world.specs):
        return
    plan = result.plan
    order = plan._nodes.critical_order()[0] if options["order"] == "critical_path" else plan._nodes.order
    assert world.started == list(order)


@examples(400)
@given(dags(), settings_of)
def test_fail_fast_invariants(specs: list[Spec], options: dict[str, Any]) -> None:
    world = World(specs)
    wanted = world.expected()
    fatal = [i for i, s in enumerate(wanted) if s is Status.FAILED and not specs[i].tolerant]
    try:
        result = flow.run(world.dag, config=Config(**options))
    except flow.RunError as error:
        result = error.result
        assert error.exceptions
        assert any(int(name[1:]) in fatal for name in error.nodes)
        # A node that still had attempts left when the run ended has failed as well.
        assert all(specs[int(name[1:])].fails and not specs[int(name[1:])].tolerant for name in error.nodes)
        assert [e.args[0] for e in error.exceptions] == [int(name[1:]) for name in error.nodes]
    else:
        assert not fatal
        assert [result.status[f"n{i}"] for i in range(len(specs))] == wanted
    counts = result.counts
    assert sum(counts.values()) == len(specs)
    assert not counts.keys() & {Status.PENDING, Status.READY, Status.RUNNING}
    for i, spec in enumerate(specs):
        status = result.status[f"n{i}"]
        if status in (Status.COMPLETED, Status.FAILED):
            assert status is wanted[i] or (fatal and status is Status.FAILED and spec.fails)
            assert all(result.status[f"n{d}"] is Status.COMPLETED for d in spec.data)
        elif status is Status.SKIPPED:
            assert any(result.status[f"n{d}"] in (Status.FAILED, Status.SKIPPED) for d in spec.data + spec.after)
        else:
            assert fatal, "cancelled only when something failed"


@pytest.mark.parametrize("backend", ["asyncio", "trio", "uvloop"])
def test_backends_agree_with_the_oracle(backend: str) -> None:
    pytest.importorskip(backend)

    @examples(60)
    @given(dags(most=60), settings_of)
    def check(specs: list[Spec], options: dict[str, Any]) -> None:
        world = World(specs)
        config = Config(on_error="collect", backend=backend, **options)  # type: ignore[arg-type]
        result = flow.run(world.dag, config=config)
        assert list(result.status.values()) == world.expected()

    check()


@examples(100)
@given(dags(most=60), settings_of, st.integers(0, 30))
def test_cancellation_from_outside_leaves_nothing_behind(
    specs: list[Spec], options: dict[str, Any], turns: int
) -> None:
    world = World([msgspec.structs.replace(spec, style="waits") for spec in specs])

    async def main() -> None:
        before = asyncio.all_tasks()
        config = Config(on_error="collect", **options)
        task = asyncio.ensure_future(flow.execute(world.dag, config=config))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        try:
            result = await task
        except asyncio.CancelledError:
            pass
        except flow.RunError as error:  # nodes that have failed since, as a TaskGroup would tell
            assert all(isinstance(one, ValueError) for one in error.exceptions)
        else:
            assert list(result.status.values()) == world.expected()
        assert asyncio.all_tasks() == before

    asyncio.run(main())


class StormyWorld(World):
    """The same, with nodes that take (virtual) time, retries that wait, and a count of what is in flight."""

    def __init__(self, specs: list[Spec], seed: int) -> None:
        self.random = Random(seed)
        self.in_flight = self.most = 0
        super().__init__(specs)
        waits = [round(self.random.random() / 50, 4) for _ in specs]
        dag, self.dag = self.dag, flow.Dag("storm")
        for i, spec in enumerate(specs):
            self.dag.add(
                f"n{i}",
                self._waiting(dag._definition.fns[i], spec.style, waits[i]),
                needs=[f"n{d}" for d in spec.data],
                after=[f"n{d}" for d in spec.after],
                retry=Retry(spec.attempts, delay=0.003, multiplier=1.5) if spec.attempts > 1 else None,
                timeout=5.0 if i % 7 == 0 else None,
                continue_on_error=spec.tolerant,
                priority=spec.priority,
            )

    def _waiting(self, inner: Callable[..., Any], style: str, seconds: float) -> Callable[..., Any]:
        async def waits(*values: Any) -> Any:
            self.in_flight += 1
            self.most = max(self.most, self.in_flight)
            try:
                await anyio.sleep(seconds)
                return await inner(*values)
            finally:
                self.in_flight -= 1

        return waits if style == "waits" else inner


def test_storms_on_virtual_time(virtual: Any) -> None:
    """Waiting nodes, waiting retries, limits and cancellation: the oracle's end, the limit kept, nothing left."""

    @examples(300)
    @given(dags(most=60), settings_of, st.integers(0, 2**32), st.sampled_from([None, None, 0.005, 0.02]))
    def check(specs: list[Spec], options: dict[str, Any], seed: int, cancel_after: float | None) -> None:
        world = StormyWorld(specs, seed)
        config = Config(on_error="collect", clock=LoopClock(), **options)

        async def main() -> None:
            result = None
            with anyio.move_on_after(cancel_after) as scope:
                try:
                    result = await flow.execute(world.dag, config=config)
                except flow.RunError:  # of nodes that have failed since the cancellation
                    assert scope.cancel_called
            assert world.in_flight == 0
            if result is not None:
                assert list(result.status.values()) == world.expected()
                assert world.calls == world.expected_calls(world.expected())
            if virtual.name == "asyncio":
                assert asyncio.all_tasks() == {asyncio.current_task()}

        virtual(main)
        limit = 1 if options["mode"] == "inline" else options["limit"] or (8 if options["mode"] == "workers" else 1000)
        assert world.most <= limit

    check()
