"""Random streams in batches that end by time: against a model where nothing holds them up, by rules where slots do."""

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
        number = len(self.started)
        assert index == batch[0]
        self.started.append((self.clock.now(), batch))
        seconds = self.case.work[number % len(self.case.work)]
        if seconds:
            await self.clock.wait(seconds)
        self.ended[number] = self.clock.now()
        return [10 * item for item in batch]

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
