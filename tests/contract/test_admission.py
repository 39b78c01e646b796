"""``admission=`` and ``ctx.released()``: what waits to be let in, or gives its slot back, holds no slot."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from conftest import examples, loops
from hypothesis import given
from hypothesis import strategies as st

import flow
from flow import Config, Context, Retry, Timeout

pytestmark = pytest.mark.parametrize("backend", loops())


def run(dag: flow.Dag, backend: str, inputs: Any = None, **settings: Any) -> flow.Result:
    return flow.run(dag, inputs, config=Config(backend=backend, mode="tasks", **settings))  # type: ignore[arg-type]


class Slots:
    """Counts who holds a slot."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def __enter__(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)

    def __exit__(self, *_: object) -> None:
        self.now -= 1


async def turns(count: int) -> None:
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


def test_while_it_is_released_another_node_runs(backend: str) -> None:
    order: list[str] = []
    dag = flow.Dag("released")

    @dag.node
    async def first(ctx: Context) -> None:
        order.append("first begins")
        async with ctx.released():
            await done.wait()
        order.append("first ends")

    @dag.node
    async def second() -> None:
        order.append("second begins")
        done.set()
        await turns(20)
        order.append("second ends")

    done = anyio.Event()
    run(dag, backend, limit=1)
    assert order == ["first begins", "second begins", "second ends", "first ends"]


def test_awaiting_admission_holds_no_slot(backend: str) -> None:
    order: list[str] = []
    dag = flow.Dag("admission")
    opened = anyio.Event()

    async def gate(ctx: Context) -> None:
        order.append(f"{ctx.node} asks")
        await opened.wait()

    async def opens() -> None:
        await turns(3)
        order.append("opens")
        opened.set()

    async def work() -> str:
        order.append("works")
        return "done"

    dag.add("a", work, admission=gate)
    dag.add("plain", lambda: order.append("sync works"), admission=gate)
    dag.add("opener", opens)
    result = run(dag, backend, limit=1)
    assert order.index("opens") < min(order.index("works"), order.index("sync works"))
    assert result["a"] == "done"


def test_each_attempt_and_each_item_is_let_in(backend: str) -> None:
    asked: list[tuple[str, int, int | None]] = []

    async def gate(ctx: Context) -> None:
        asked.append((ctx.node, ctx.attempt, ctx.index))

    tries = iter([True, False])
    dag = flow.Dag("attempts")

    @dag.node(retry=Retry(2, delay=0), admission=gate)
    async def flaky() -> None:
        if next(tries):
            raise ValueError

    dag.map("items", lambda x: x + 1, over="xs", admission=gate)
    result = run(dag, backend, {"xs": [1, 2]})
    assert sorted(asked, key=str) == [
        ("flaky", 1, None), ("flaky", 2, None), ("items", 1, 0), ("items", 1, 1),
    ]  # fmt: skip
    assert result["items"] == [2, 3]


def test_whoever_is_not_let_in_fails(backend: str) -> None:
    async def closed(ctx: Context) -> None:
        raise PermissionError(ctx.node)

    def broken(ctx: Context) -> None:
        raise LookupError(ctx.node)

    dag = flow.Dag("closed")
    dag.add("a", lambda: 1, admission=closed)
    dag.add("b", lambda: 1, admission=broken, fallback=5)
    result = run(dag, backend, on_error="collect")
    assert isinstance(result.errors["a"], PermissionError) and result["b"] == 5


def test_waiting_to_be_let_in_is_no_part_of_the_time_limit(backend: str) -> None:
    async def gate(ctx: Context) -> None:
        await anyio.sleep(0.05)

    async def quick() -> int:
        return 1

    dag = flow.Dag("limits")
    dag.add("a", quick, admission=gate, timeout=Timeout(attempt=0.02))
    assert run(dag, backend)["a"] == 1


def test_twice_at_a_time_it_gives_back_one_slot(backend: str) -> None:
    slots = Slots()
    dag = flow.Dag("twice")

    async def node(ctx: Context) -> None:
        async with ctx.released(), ctx.released():
            await turns(3)
        with slots:
            await turns(3)

    for i in range(5):
        dag.add(f"n{i}", node)
    run(dag, backend, limit=2)
    assert slots.most == 2


@pytest.mark.parametrize("over", ["exception", "timeout"])
def test_however_it_ends_the_slot_is_there_for_others(backend: str, over: str) -> None:
    slots = Slots()
    dag = flow.Dag("ends")

    async def node(ctx: Context) -> None:
        async with ctx.released():
            if over == "exception":
                raise ValueError
            await anyio.sleep(60)

    async def worker() -> None:
        with slots:
            await turns(4)

    for i in range(4):
        dag.add(f"bad{i}", node, continue_on_error=True, timeout=0.01 if over == "timeout" else None)
        dag.add(f"n{i}", worker, after=f"bad{i}")
    run(dag, backend, limit=1)
    assert slots.most == 1


def test_a_run_that_is_cancelled_meanwhile_ends(backend: str) -> None:
    dag = flow.Dag("cancelled")

    @dag.node
    async def waits(ctx: Context) -> None:
        async with ctx.released():
            await anyio.sleep(60)

    @dag.node
    async def fails() -> None:
        await turns(3)
        raise ValueError

    with pytest.raises(flow.RunError) as caught:
        run(dag, backend, limit=1)
    assert caught.value.result.status["waits"] == "cancelled"


def test_items_of_maps_and_of_pipelines(backend: str) -> None:
    first, second = Slots(), Slots()

    def stage(slots: Slots) -> Callable[..., Any]:
        async def item(x: int, ctx: Context) -> int:
            with slots:
                await turns(2)
            async with ctx.released():
                await turns(x % 3)
            with slots:
                await turns(1)
            return x

        return item

    dag = flow.Dag("maps")
    dag.map("first", stage(first), over="xs", concurrency=2)
    dag.map("second", stage(second), over="first", pipelined=True, concurrency=1)
    result = run(dag, backend, {"xs": range(12)})
    assert result["second"] == list(range(12))
    assert (first.most, second.most) == (2, 1)


@examples(40)
@given(seed=st.integers(0, 2**32), limit=st.integers(1, 4))
def test_the_limit_holds_whoever_leaves_and_comes_back(backend: str, seed: int, limit: int) -> None:
    slots, random = Slots(), Random(seed)
    dag = flow.Dag("random")

    def node(steps: list[tuple[bool, int]]) -> Callable[..., Any]:
        async def call(ctx: Context) -> None:
            for leaves, count in steps:
                if leaves:
                    async with ctx.released():
                        await turns(count)
                else:
                    with slots:
                        await turns(count)

        return call

    async def gate(ctx: Context) -> None:
        await turns(random.randint(0, 3))

    for i in range(random.randint(1, 25)):
        steps = [(random.random() < 0.5, random.randint(0, 4)) for _ in range(random.randint(1, 4))]
        needs = [f"n{random.randrange(i)}"] if i and random.random() < 0.4 else []
        dag.add(f"n{i}", node(steps), after=needs, admission=gate if random.random() < 0.3 else None)
    assert run(dag, backend, limit=limit).ok
    assert slots.most <= limit


def test_without_an_event_loop_there_is_no_slot_to_give_back(backend: str) -> None:
    kept: list[Context] = []
    dag = flow.Dag("sync")
    @dag.node
    def a(ctx: Context) -> None:
        kept.append(ctx)

    flow.run(dag)

    async def late() -> None:
        async with kept[0].released():
            raise AssertionError

    with pytest.raises(flow.UsageError, match="this run has no event loop, or has ended"):
        anyio.run(late)


def test_in_a_test_of_a_function_it_does_nothing(backend: str) -> None:
    async def go() -> None:
        async with flow.testing.context().released():
            await turns(1)

    anyio.run(go)


def test_a_plain_admission_needs_no_event_loop(backend: str) -> None:
    asked: list[str] = []
    dag = flow.Dag("plain")
    dag.add("a", lambda: 1, admission=lambda ctx: asked.append(ctx.node))
    assert flow.run(dag, config=Config(mode="inline"))["a"] == 1 and asked == ["a"]


def test_others_start_after_the_step_in_which_a_node_leaves_not_within_it(backend: str) -> None:
    order: list[str] = []
    dag = flow.Dag("step")

    @dag.node
    async def leaves(ctx: Context) -> None:
        await turns(1)
        async with ctx.released():
            order.append("left")  # time that others take is not blamed on this node
            await turns(5)

    dag.add("other", lambda: order.append("other"))
    assert run(dag, backend, limit=1).ok
    assert order == ["left", "other"]


@pytest.mark.parametrize("limit", [1, 3, "auto"])
def test_a_node_that_is_to_follow_does_not_keep_one_out_that_comes_back(backend: str, limit: Any) -> None:
    pauses = {0: 1, 1: 3, 2: 0}
    dag = flow.Dag("pipeline")

    async def first(x: int, ctx: Context) -> int:
        await turns(1)
        async with ctx.released():
            await turns(pauses[x])
        await turns(1)
        return x

    async def second(x: int) -> int:
        await turns(1)
        return x

    dag.map("first", first, over="xs", concurrency=1)
    dag.map("second", second, over="first", pipelined=True)
    assert run(dag, backend, {"xs": [0, 1, 2]}, limit=limit)["second"] == [0, 1, 2]
