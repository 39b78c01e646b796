"""Random batches that end by time: against a model where nothing holds them up, by rules where slots do."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest
from conftest import examples, loops
from hypothesis import given
from hypothesis import strategies as st

import flow
from flow import Config
from flow.testing import FakeClock


class Case(msgspec.Struct):
    """A stream: seconds before each item and before its end; and the map over it."""

    gaps: list[int]
    end: int
    size: int
    wait: float
    concurrency: int | None
    work: list[float]


cases = st.builds(
    Case,
    gaps=st.lists(st.sampled_from([0, 0, 0, 1, 1, 2, 3, 5, 20]), max_size=25),
    end=st.sampled_from([0, 1, 30]),
    size=st.sampled_from([1, 2, 3, 4, 100]),
    wait=st.sampled_from([0.5, 1.5, 2.5, 7.5, 1000.5]),  # (never due just when an item comes, which has no order)
    concurrency=st.sampled_from([1, 1, 2, 3]),
    work=st.lists(st.sampled_from([0, 0, 1.25, 4.25, 30.25]), min_size=1, max_size=5),
)


async def worked(world: World | PipelineWorld, batch: list[int]) -> list[int]:
    """Note when the batch starts and ends, and work on it as long as the case says."""
    number = len(world.started)
    world.started.append((world.clock.now(), batch))
    seconds = world.case.work[number % len(world.case.work)]
    if seconds:
        await world.clock.wait(seconds)
    world.ended[number] = world.clock.now()
    return [10 * item for item in batch]


class World:
    """Runs a case, and notes when each item comes and when each batch starts and ends."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.clock = FakeClock()
        self.came: list[float] = []
        self.started: list[tuple[float, list[int]]] = []
        self.ended: dict[int, float] = {}
        self.over = 0.0

    async def source(self) -> AsyncIterator[int]:
        for k, gap in enumerate(self.case.gaps):
            if gap:
                await self.clock.wait(gap)
            self.came.append(self.clock.now())
            yield k
        if self.case.end:
            await self.clock.wait(self.case.end)
        self.over = self.clock.now()

    async def fn(self, batch: list[int], index: int) -> list[int]:
        assert index == batch[0]
        return await worked(self, batch)

    def run(self, backend: str) -> None:
        case = self.case
        dag = flow.Dag("world")
        dag.add("xs", self.source)
        dag.map(
            "m", self.fn, over="xs", batch_size=case.size, batch_wait=case.wait, concurrency=case.concurrency
        )
        result = flow.run(dag, config=Config(backend=backend, clock=self.clock))  # type: ignore[arg-type]
        items = list(range(len(case.gaps)))
        assert result["m"] == [10 * item for item in items]
        assert [item for _, batch in self.started for item in batch] == items, "each once, in order"


def expected(case: Case) -> list[tuple[float, list[int]]]:
    """When each batch is given, and its items, if nothing holds it up."""
    given: list[tuple[float, list[int]]] = []
    batch: list[int] = []
    now = due = 0.0
    for item, gap in enumerate(case.gaps):
        now += gap
        if batch and due < now:
            given.append((due, batch))
            batch = []
        if not batch:
            due = now + case.wait
        batch.append(item)
        if len(batch) == case.size:
            given.append((now, batch))
            batch = []
    if batch:
        given.append((min(due, now + case.end), batch))
    return given


@pytest.mark.parametrize("backend", loops())
@given(case=cases)
@examples(60)
def test_batches_that_nothing_holds_up(backend: str, case: Case) -> None:
    case.concurrency = None
    world = World(case)
    world.run(backend)
    assert world.started == expected(case)


@pytest.mark.parametrize("backend", loops())
@given(case=cases)
@examples(60)
def test_batches_that_wait_for_a_slot(backend: str, case: Case) -> None:
    assert case.concurrency is not None
    world = World(case)
    world.run(backend)
    ends = sorted(world.ended.values())
    for number, (at, batch) in enumerate(world.started):
        open_now = sum(1 for k in range(number) if world.ended[k] > at)
        assert open_now < case.concurrency
        assert len(batch) <= case.size
        full = world.came[batch[-1]] if len(batch) == case.size else float("inf")
        ready = min(full, world.came[batch[0]] + case.wait, max(world.over, world.came[batch[-1]]))
        assert at >= ready, "no sooner than it is full, its time is up or the source has ended"
        assert at == ready or at in ends, "and at once then, or when a slot gets free"
    for number, (_, batch) in enumerate(world.started):  # it is filled while others run, and no more than it
        asked_at = world.came[batch[-1]]
        unfinished = sum(1 for k in range(number) if world.ended[k] > asked_at)
        assert unfinished <= case.concurrency


class Pipeline(msgspec.Struct):
    """Items that a first map has after so many seconds each, and the batches of a map that is pipelined after it."""

    seconds: list[float]
    source: str
    first: int | None
    attempts: int
    size: int
    wait: float | None
    concurrency: int | None
    limit: int | None
    work: list[float]


pipelines = st.builds(
    Pipeline,
    seconds=st.lists(st.sampled_from([0, 0, 1, 2, 5, 30]), max_size=20),
    source=st.sampled_from(["list", "iterator", "stream"]),
    first=st.sampled_from([None, 1, 3]),
    attempts=st.sampled_from([1, 2]),
    size=st.sampled_from([1, 2, 3, 50]),
    wait=st.sampled_from([None, 0.5, 2.5, 7.5, 1000.5]),
    concurrency=st.sampled_from([None, 1, 1, 2]),
    limit=st.sampled_from([None, 1, 2, 5]),
    work=st.lists(st.sampled_from([0, 1.25, 4.25, 30.25]), min_size=1, max_size=4),
)


class PipelineWorld:
    """Runs a pipeline, and notes when each item comes to the second map and when its batches start and end."""

    def __init__(self, case: Pipeline) -> None:
        self.case = case
        self.clock = FakeClock()
        self.failed: set[float] = set()
        self.came: dict[int, float] = {}
        self.started: list[tuple[float, list[int]]] = []
        self.ended: dict[int, float] = {}

    async def stream(self) -> AsyncIterator[int]:
        for item in range(len(self.case.seconds)):
            if item % 4 == 1:
                await self.clock.wait(1)
            yield item

    async def fetch(self, item: int, ctx: flow.Context) -> int:
        if self.case.seconds[item]:
            await self.clock.wait(self.case.seconds[item])
        if item % 3 == 0 and ctx.attempt < self.case.attempts:
            self.failed.add(self.clock.now())
            raise OSError
        self.came[item] = self.clock.now()
        return item

    async def store(self, batch: list[int]) -> list[int]:
        return await worked(self, batch)

    def run(self, backend: str) -> None:
        case, items = self.case, range(len(self.case.seconds))
        sources = {"list": lambda: list(items), "iterator": lambda: iter(items), "stream": self.stream}
        dag = flow.Dag("world")
        dag.add("xs", sources[case.source])
        retry = flow.Retry(case.attempts, delay=3.0) if case.attempts > 1 else None
        dag.map("fetch", self.fetch, over="xs", concurrency=case.first, retry=retry)
        dag.map("store", self.store, over="fetch", pipelined=True, batch_size=case.size, batch_wait=case.wait,
                concurrency=case.concurrency)  # fmt: skip
        config = Config(backend=backend, clock=self.clock, limit=case.limit)  # type: ignore[arg-type]
        assert flow.run(dag, config=config)["store"] == [10 * item for item in items]
        assert sorted(item for _, batch in self.started for item in batch) == list(items), "each once"


@pytest.mark.parametrize("backend", loops())
@given(case=pipelines)
@examples(60)
def test_batches_in_a_pipeline(backend: str, case: Pipeline) -> None:
    world = PipelineWorld(case)
    world.run(backend)
    came, ended, never = world.came, world.ended, float("inf")
    over = max(came.values(), default=0.0)
    slot_free = {*ended.values(), *came.values(), *world.failed}
    for number, (at, batch) in enumerate(world.started):
        assert len(batch) <= case.size
        assert sum(1 for k in range(number) if ended[k] > at) < (case.concurrency or never)
        full = came[batch[-1]] if len(batch) == case.size else never
        due = never if case.wait is None else came[batch[0]] + case.wait
        ready = min(full, due, over)
        assert at >= ready, "no sooner than it is full, its time is up or nothing more can come"
        assert at == ready or at in slot_free, "and at once then, or when a slot gets free"
