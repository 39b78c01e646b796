"""ctx.system: what the run tells of itself, in every way to drive a run, by the run's own clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import msgspec
import pytest
from conftest import modes

import flow
from flow import Config, Context, Retry
from flow.data import System
from flow.testing import FakeClock, context

NEW_YEAR = datetime(2030, 1, 1, tzinfo=UTC)


def fake() -> FakeClock:
    return FakeClock(5.0, epoch=NEW_YEAR.timestamp() - 5.0)


class TestWhatItSays:
    @pytest.mark.parametrize("mode", modes())
    def test_of_a_sync_node(self, mode: dict[str, Any]) -> None:
        dag = flow.Dag("shop")
        clock = fake()

        @dag.node
        def one(ctx: Context) -> System:
            clock.sleep(2.5)
            return ctx.system

        found = flow.run(dag, config=Config(clock=clock, **mode), run_id="monday-1")["one"]
        later = NEW_YEAR + timedelta(seconds=2.5)
        assert found == System("shop", "monday-1", "one", 1, None, NEW_YEAR, later)

    @pytest.mark.parametrize("mode", modes("auto", "tasks", "workers-1"))
    def test_of_an_async_node_on_each_loop(self, mode: dict[str, Any], backend: str) -> None:
        dag = flow.Dag("shop")
        clock = fake()

        @dag.node
        async def one(ctx: Context) -> list[System]:
            before = ctx.system
            await clock.wait(3.0)
            return [before, ctx.system]

        before, after = flow.run(dag, config=Config(clock=clock, backend=backend, **mode))["one"]
        assert (before.start, before.timestamp) == (NEW_YEAR, NEW_YEAR)
        assert after == msgspec.structs.replace(before, timestamp=NEW_YEAR + timedelta(seconds=3))

    def test_of_a_run_on_a_loop_that_runs(self, on_loop: Callable[..., Any]) -> None:
        dag = flow.Dag("shop")
        dag.add("one", one_system)

        async def go() -> System:
            return (await flow.execute(dag, config=Config(clock=fake())))["one"]  # type: ignore[no-any-return]

        assert on_loop(go).start == NEW_YEAR

    def test_of_a_retry(self, mode: dict[str, Any], backend: str) -> None:
        clock = fake()
        seen = []

        def flaky(ctx: Context) -> None:
            seen.append(ctx.system)
            if ctx.attempt < 3:
                raise ConnectionError

        dag = flow.Dag("shop")
        dag.add("flaky", flaky, retry=Retry(3, delay=10.0, backoff="constant"))
        flow.run(dag, config=Config(clock=clock, backend=backend, **mode))  # type: ignore[arg-type]
        assert [s.attempt for s in seen] == [1, 2, 3]
        assert [s.timestamp - NEW_YEAR for s in seen] == [timedelta(seconds=k) for k in (0, 10, 20)]
        assert {s.start for s in seen} == {NEW_YEAR}

    def test_of_the_items_of_a_map(self, mode: dict[str, Any], backend: str) -> None:
        dag = flow.Dag("shop")
        dag.map("sold", item_system, over="basket", retry=Retry(2, delay=1.0))
        config = Config(clock=fake(), backend=backend, **mode)  # type: ignore[arg-type]
        found = flow.run(dag, {"basket": ["a", "b"]}, config=config, run_id="r")["sold"]
        assert [(s.workflow, s.run_id, s.node, s.index, s.attempt) for s in found] == [
            ("shop", "r", "sold", 0, 1),
            ("shop", "r", "sold", 1, 2),
        ]
        assert {s.start for s in found} == {NEW_YEAR}

    def test_of_a_dag_that_is_a_node(self, mode: dict[str, Any], backend: str) -> None:
        """All of it is that of the inner run, as the rest of its Context."""
        clock = fake()
        inner = flow.Dag("inner")

        @inner.node
        def deep(before: System, ctx: Context) -> tuple[System, str]:
            clock.sleep(1.0)
            return ctx.system, ctx.run_id

        dag = flow.Dag("outer")

        @dag.node
        def before(ctx: Context) -> System:
            clock.sleep(4.0)
            return ctx.system

        dag.add("nested", inner)
        result = flow.run(dag, config=Config(clock=clock, backend=backend, **mode), run_id="r")  # type: ignore[arg-type]
        system, run_id = result["nested"]["deep"]
        assert (system.workflow, system.node, system.run_id) == ("inner", "deep", run_id)
        assert run_id != "r"
        assert system.start == NEW_YEAR + timedelta(seconds=4)
        assert system.timestamp == NEW_YEAR + timedelta(seconds=5)

    def test_of_a_node_that_may_be_left_in_its_thread(self, backend: str) -> None:
        dag = flow.Dag("shop")
        dag.add("one", one_system, thread=True, timeout=60.0, abandon_on_timeout=True)
        found = flow.run(dag, config=Config(clock=fake(), backend=backend))["one"]  # type: ignore[arg-type]
        assert (found.node, found.start) == ("one", NEW_YEAR)

    def test_of_a_child(self) -> None:
        child = context(node="n", attempt=2).child("x", 7)
        assert (child.system.node, child.system.attempt, child.system.index) == ("n", 1, 7)


class TestDates:
    def test_are_aware_and_the_machines_with_its_clock(self) -> None:
        dag = flow.Dag("d")
        dag.add("one", one_system)
        before = datetime.now(UTC) - timedelta(minutes=1)
        system = flow.run(dag)["one"]
        after = datetime.now(UTC) + timedelta(minutes=1)
        assert before < system.start <= system.timestamp < after
        assert system.start.utcoffset() == system.timestamp.utcoffset() == timedelta(0)

    def test_a_run_has_one_start_whatever_the_machines_date_becomes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        dag = flow.Dag("d")
        dag.add("one", one_system)
        inner = flow.Dag("inner")
        inner.add("deep", one_system)

        @dag.node
        def two(one: System, ctx: Context) -> System:
            monkeypatch.setattr(time, "time", lambda: 0.0)
            return ctx.system

        dag.add("nested", inner, after="two")
        result = flow.run(dag)
        one, two_, deep = result["one"], result["two"], result["nested"]["deep"]
        assert one.start == two_.start <= one.timestamp <= two_.timestamp <= deep.start <= deep.timestamp

    def test_a_clock_of_ones_own_has_the_machines_date_or_its_epoch(self) -> None:
        class Mine:
            def now(self) -> float:
                return 100.0

            def sleep(self, seconds: float, /) -> None: ...

            async def wait(self, seconds: float, /) -> None: ...

        class Dated(Mine):
            epoch = 50

        dag = flow.Dag("d")
        dag.add("one", one_system)
        assert abs(flow.run(dag, config=Config(clock=Mine()))["one"].start - datetime.now(UTC)) < timedelta(minutes=1)
        assert flow.run(dag, config=Config(clock=Dated()))["one"].start == datetime(1970, 1, 1, 0, 2, 30, tzinfo=UTC)

    def test_a_fake_clock_is_of_1970_unless_told(self) -> None:
        assert context(clock=FakeClock()).system.start == datetime(1970, 1, 1, tzinfo=UTC)

    @pytest.mark.parametrize("epoch", ["now", True, float("nan"), 10**400])
    def test_an_epoch_that_is_none_is_refused(self, epoch: Any) -> None:
        clock = FakeClock()
        clock.epoch = epoch
        with pytest.raises(flow.errors.ConfigError, match="the clock's epoch must be a number of seconds, not "):
            Config(clock=clock)

    def test_an_epoch_that_raises_is_refused(self) -> None:
        class Broken(FakeClock):
            @property
            def epoch(self) -> float:  # type: ignore[override]
                raise ValueError("no time")

            @epoch.setter
            def epoch(self, value: float) -> None: ...

        with pytest.raises(flow.errors.ConfigError, match="epoch must be .*; asking for it raised ValueError: no time"):
            Config(clock=Broken())

    @pytest.mark.parametrize("start", [1e15, -1e15, float("inf"), float("nan")])
    def test_what_is_no_date_is_said_so(self, start: float) -> None:
        with pytest.raises(flow.UsageError, match="which is no date of the years 1 to 9999: set the clock's epoch"):
            context(clock=FakeClock(start)).system  # noqa: B018


class TestTheValue:
    def test_it_is_immutable_and_plain(self) -> None:
        system = context(clock=fake()).system
        with pytest.raises(AttributeError):
            system.node = "other"  # type: ignore[misc]
        assert msgspec.json.decode(msgspec.json.encode(system), type=System) == system
        assert hash(system)

    def test_a_context_is_no_larger_for_it(self) -> None:
        """It is made when it is asked for, and nothing of it is kept."""
        assert Context.__struct_fields__ == ("_scope", "attempt", "item", "index", "_parent", "_own")
        ctx = context(clock=fake())
        assert ctx.system == ctx.system
        assert ctx.system is not ctx.system

    def test_one_made_for_a_test(self) -> None:
        clock = fake()
        ctx = context(workflow="shop", run_id="r", node="n", attempt=2, item="x", index=3, clock=clock)
        clock.sleep(1.0)
        assert ctx.system == System("shop", "r", "n", 1 + 1, 3, NEW_YEAR, NEW_YEAR + timedelta(seconds=1))


def one_system(ctx: Context) -> System:
    return ctx.system


async def item_system(item: str, ctx: Context) -> System:
    await anyio.lowlevel.checkpoint()
    if item == "b" and ctx.attempt == 1:
        raise ConnectionError
    return ctx.system
