"""Admissions of a run that goes on: what is known is not called, so nothing is asked for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import flow
from flow.store.in_memory import MemoryBackend
from flow.store.store import Store
from flow.testing import FakeClock


class Work:
    """A dag of which some fail as long as they are told to."""

    def __init__(self, keyed: bool, late: bool, inner: bool) -> None:
        self.fails = True
        self.asked: list[Any] = []
        self.told: list[Any] = []
        self.called: list[int] = []
        self.dag = flow.Dag("work")

        def gate(ctx: flow.Context) -> None:
            self.asked.append(ctx.index if ctx.item is None else ctx.item)

        async def late_gate(ctx: flow.Context) -> None:
            gate(ctx)

        admission: Any = [self.Gate(self), late_gate] if late else [self.Gate(self), gate]
        key: Any = (lambda item: f"k{item}") if keyed else None
        fn: Any = self.one
        if inner:
            fn = flow.Dag("body")
            fn.add("one", self.one, admission=admission)
        self.dag.map("n", fn, "xs", key=key, concurrency=1, **({} if inner else {"admission": admission}))

    class Gate:
        def __init__(self, work: Work) -> None:
            self.work = work

        def __call__(self, ctx: flow.Context) -> None:
            return None

        def settled(self, ctx: flow.Context, error: BaseException | None) -> None:
            self.work.told.append(error)

    def one(self, item: int) -> int:
        self.called.append(item)
        if item == 3 and self.fails:
            raise OSError("not yet")
        return item

    def run(self, store: Store, xs: Any, **how: Any) -> Any:
        self.asked.clear()
        self.told.clear()
        self.called.clear()
        try:
            return flow.run(self.dag, {"xs": xs}, store=store, run_id="r", **how)
        except flow.RunError as error:
            return error.result


@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_what_is_known_asks_nothing(keyed: bool, late: bool, inner: bool, mode: Any) -> None:
    work = Work(keyed, late, inner)
    with Store(MemoryBackend(), durability=mode) as store:
        work.run(store, [1, 2, 3, 4])
        assert (len(work.asked), len(work.told), work.called) == (3, 3, [1, 2, 3])
        work.fails = False
        result = work.run(store, [1, 2, 3, 4], on_conflict="retry")
        assert result.ok
        assert work.called == [3, 4]
        assert len(work.asked) == len(work.told) == 2
        assert work.told == [None, None]


def test_an_item_that_has_changed_is_asked_for(tmp_path: Path) -> None:
    """Nothing slips by: what is called is asked for."""
    work = Work(keyed=False, late=False, inner=False)
    given: Any = [1, 2, 3, 4]
    dag = flow.Dag("work")
    dag.add("xs", lambda: given, store=False)
    dag.map("n", work.one, "xs", admission=lambda ctx: work.asked.append(ctx.item), concurrency=1)
    with flow.store.open(tmp_path / "runs.db") as store:
        with pytest.raises(flow.RunError):
            flow.run(dag, store=store, run_id="r")
        work.asked.clear()
        work.called.clear()
        work.fails = False
        given[0] = 10
        flow.run(dag, store=store, run_id="r", on_conflict="retry")
        assert work.called == work.asked == [10, 3, 4]


def test_a_rate_is_not_spent_on_what_is_known() -> None:
    clock, work = FakeClock(), Work(False, False, False)
    limiter = flow.RateLimiter(1, 10.0, burst=1)
    dag = flow.Dag("rated")
    dag.map("n", work.one, "xs", admission=limiter, concurrency=1)
    with Store(MemoryBackend()) as store:
        with pytest.raises(flow.RunError):
            flow.run(dag, {"xs": [1, 2, 3]}, store=store, run_id="r", config=flow.Config(clock=clock))
        assert clock.time == 20.0
        work.fails = False
        config = flow.Config(clock=clock)
        assert flow.run(dag, store=store, run_id="r", on_conflict="retry", config=config)["n"] == [1, 2, 3]
        assert clock.time == 30.0
        assert limiter.statistics().admitted == 4
