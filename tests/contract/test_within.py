"""``ctx.run`` and ``ctx.execute``: another Dag as a part of the run around it."""

from __future__ import annotations

import asyncio
import gc
import threading
import traceback
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import anyio
import msgspec
import pytest
from conftest import MODES, modes

import flow
from flow import Config, Context, Retry, Status
from flow.errors import UsageError
from flow.run.hooks import NodeOutcome
from flow.testing import FakeClock, context

ALL = modes(*[name for name in MODES if name != "freeing"])


def plain() -> flow.Dag:
    """Sync nodes: doubled = 2 x, total = doubled + 1."""
    dag = flow.Dag("plain")
    dag.add("doubled", lambda x: 2 * x)
    dag.add("total", lambda doubled: doubled + 1)
    return dag


def waiting() -> flow.Dag:
    """As :func:`plain`, of async nodes that suspend."""
    dag = flow.Dag("waiting")

    @dag.node
    async def doubled(x: int) -> int:
        await anyio.sleep(0)
        return 2 * x

    @dag.node
    async def total(doubled: int) -> int:
        await anyio.sleep(0)
        return doubled + 1

    return dag


def ran(dag: flow.Dag, inputs: dict[str, Any] | None = None, **settings: Any) -> flow.Result:
    return flow.run(dag, inputs, config=Config(**settings))


def failure(dag: flow.Dag, **settings: Any) -> BaseException:
    """What the node of a run that fails has raised."""
    with pytest.raises(flow.RunError) as caught:
        ran(dag, **settings)
    return caught.value.exceptions[0]


class Declared(msgspec.Struct):
    x: int = 4


class TestRun:
    @pytest.mark.parametrize("mode", ALL)
    def test_in_every_mode(self, mode: dict[str, Any], backend: str) -> None:
        inner, dag = plain(), flow.Dag("outer")
        found: list[Any] = []

        @dag.node
        def node(ctx: Context) -> int:
            result = ctx.run(inner, {"x": 3})
            found.append(result)
            return int(result["total"])

        assert ran(dag, backend=backend, **mode)["node"] == 7
        (result,) = found
        assert isinstance(result, flow.Result)
        assert (dict(result), result.ok, result.plan.name) == ({"doubled": 6, "total": 7}, True, "plain")

    @pytest.mark.parametrize("executor", ["inline", "thread"])
    def test_beside_an_event_loop_it_runs_in_the_nodes_own_thread(self, executor: str, backend: str) -> None:
        inner, dag = flow.Dag("inner"), flow.Dag("outer")
        inner.add("ident", threading.get_ident)

        @dag.node(executor=executor)
        def node(ctx: Context) -> tuple[int, int]:
            return threading.get_ident(), ctx.run(inner)["ident"]

        @dag.node
        async def loop() -> int:
            return threading.get_ident()

        result = ran(dag, backend=backend)
        mine, inside = result["node"]
        assert mine == inside
        assert (mine == result["loop"]) is (executor == "inline")

    def test_a_plan_and_targets(self) -> None:
        plan, dag = plain().compile(), flow.Dag("outer")

        @dag.node
        def node(ctx: Context) -> list[str]:
            return list(ctx.run(plan, {"x": 1}, targets="doubled"))

        assert ran(dag)["node"] == ["doubled"]

    def test_of_items_and_in_threads_at_once(self, backend: str) -> None:
        inner, dag = plain(), flow.Dag("outer")

        def one(item: int, ctx: Context) -> int:
            return int(ctx.run(inner, {"x": item})["total"])

        dag.map("inline", one, over="numbers")
        dag.map("threads", one, over="numbers", thread=True)
        result = ran(dag, {"numbers": range(50)}, backend=backend)
        assert result["inline"] == result["threads"] == [2 * n + 1 for n in range(50)]

    def test_nodes_see_the_nodes_contextvars_and_leak_none(self) -> None:
        var: ContextVar[str] = ContextVar("var")
        inner, dag = flow.Dag("inner"), flow.Dag("outer")
        inner.add("seen", lambda: var.get())
        inner.add("set", lambda: var.set("inner"), after="seen")

        @dag.node
        def node(ctx: Context) -> tuple[str, str]:
            var.set("node")
            return ctx.run(inner)["seen"], var.get()

        assert ran(dag)["node"] == ("node", "node")

    def test_data_is_an_overlay(self) -> None:
        inner, dag = flow.Dag("inner"), flow.Dag("outer")

        def write(ctx: Context) -> Any:
            ctx.data["mine"] = ctx.data["theirs"] + 1
            return ctx.data["mine"]

        inner.add("write", write)

        @dag.node
        def node(ctx: Context) -> tuple[int, bool, int]:
            ctx.data["theirs"] = 1
            result: Any = ctx.run(inner)
            return result["write"], "mine" in ctx.data, result.data["mine"]

        assert ran(dag)["node"] == (2, False, 2)

    def test_an_event_loop_is_needed(self) -> None:
        inner, dag = waiting(), flow.Dag("outer")
        calls: list[int] = []

        def node(ctx: Context) -> None:
            calls.append(ctx.attempt)
            ctx.run(inner, {"x": 1})

        dag.add("node", node, retry=Retry(3, delay=0.0))
        assert str(failure(dag)) == (
            "ctx.run runs plain functions in the thread of the node, and dag 'waiting' needs an event loop (async "
            "functions, threads or executors): use 'await ctx.execute(...)' in an async node"
        )
        assert calls == [1], "another attempt would find the same"

    def test_an_async_hook_is_refused(self) -> None:
        async def hook(record: NodeOutcome) -> None: ...

        inner, dag = plain(), flow.Dag("outer")

        @dag.node
        def node(ctx: Context) -> None:
            ctx.run(inner, {"x": 1})

        error = failure(dag, on_outcome=lambda: hook, mode="tasks")
        assert isinstance(error, UsageError)
        assert "a hook of this run is async" in str(error)

    @pytest.mark.parametrize("target", [None, "plain", plain])
    def test_what_is_no_dag(self, target: Any) -> None:
        dag = flow.Dag("outer")

        @dag.node
        def node(ctx: Context) -> None:
            ctx.run(target)

        assert "ctx.run takes a flow.Dag or a flow.Plan, not" in str(failure(dag))

    def test_inputs_are_checked_as_those_of_a_run(self) -> None:
        inner, dag = plain(), flow.Dag("outer")

        @dag.node
        def node(ctx: Context) -> None:
            ctx.run(inner, {"y": 1})

        error = failure(dag)
        assert isinstance(error, flow.InputError)
        assert [fault[:20] for fault in error.faults] == ["input 'x' is missing", "input 'y' is no para"]

    def test_declared_inputs(self) -> None:
        inner, dag = flow.Dag("inner", inputs=Declared), flow.Dag("outer")
        inner.add("doubled", lambda x: 2 * x)

        @dag.node
        def node(ctx: Context) -> int:
            return int(ctx.run(inner)["doubled"])

        @dag.node
        def wrong(ctx: Context, node: int) -> None:
            ctx.run(inner, {"x": "2"})

        assert ran(dag, {}, on_error="collect")["node"] == 8
        error = failure(dag)
        assert isinstance(error, flow.InputError)
        assert "input 'x' is not of its declared type int" in str(error)

    def test_the_time_limit_of_the_run_leads_out(self) -> None:
        clock, done = FakeClock(), []
        inner, dag = flow.Dag("inner"), flow.Dag("outer")

        def step(ctx: Context) -> None:
            clock.sleep(1.0)
            done.append(ctx.node)

        for k in range(5):
            inner.add(f"step{k}", step)

        @dag.node
        def node(ctx: Context) -> None:
            try:
                ctx.run(inner)
            except Exception:  # which the end of time is not
                done.append("no")
            done.append("after")

        with pytest.raises(flow.RunError) as caught:
            ran(dag, clock=clock, timeout=2.5)
        assert caught.value.timed_out
        assert done == ["step0", "step1", "step2"]
        assert caught.value.result.status == {"node": Status.CANCELLED}


class TestExecute:
    @pytest.mark.parametrize("mode", ALL)
    def test_in_every_mode(self, mode: dict[str, Any], backend: str) -> None:
        inners, dag = [plain(), waiting()], flow.Dag("outer")

        @dag.node
        async def node(ctx: Context) -> list[int]:
            return [(await ctx.execute(inner, {"x": 3}))["total"] for inner in inners]

        assert ran(dag, backend=backend, **mode)["node"] == [7, 7]

    def test_many_at_once_in_one_node(self, backend: str) -> None:
        inner, dag = waiting(), flow.Dag("outer")

        @dag.node
        async def node(ctx: Context) -> list[int]:
            found = [0] * 20

            async def one(k: int) -> None:
                found[k] = (await ctx.execute(inner, {"x": k}))["total"]

            async with anyio.create_task_group() as group:
                for k in range(20):
                    group.start_soon(one, k)
            return found

        assert ran(dag, backend=backend, limit=2)["node"] == [2 * k + 1 for k in range(20)]

    def test_of_items(self, backend: str) -> None:
        inner, dag = waiting(), flow.Dag("outer")

        async def one(item: int, ctx: Context) -> int:
            return int((await ctx.execute(inner, {"x": item}))["total"])

        dag.map("each", one, over="numbers", concurrency=5)
        assert ran(dag, {"numbers": range(50)}, backend=backend)["each"] == [2 * n + 1 for n in range(50)]

    @pytest.mark.parametrize("limit", [1, 4])
    def test_nesting_at_the_limit_does_not_deadlock(self, limit: int, backend: str) -> None:
        """A7: five levels of three nodes each, and several parents at the bound."""
        now = most = 0

        async def leaf() -> int:
            nonlocal now, most
            now += 1
            most = max(most, now)
            await anyio.sleep(0)
            now -= 1
            return 1

        below = flow.Dag("level0")
        for k in range(3):
            below.add(f"n{k}", leaf)
        for depth in range(1, 6):
            dag = flow.Dag(f"level{depth}")

            async def total(ctx: Context, below: flow.Dag = below) -> int:
                result = await ctx.execute(below)
                return sum(result.values())

            for k in range(16 if depth == 5 else 1):
                dag.add(f"n{k}", total)
            below = dag
        assert sum(ran(below, backend=backend, limit=limit).values()) == 16 * 3
        assert most <= 3 * limit

    def test_without_an_event_loop(self) -> None:
        inner, dag = plain(), flow.Dag("outer")

        @dag.node
        def node(ctx: Context) -> None:
            ctx.execute(inner, {"x": 1}).send(None)

        assert str(failure(dag)) == (
            "ctx.execute: this run has no event loop, or has ended; dag 'plain' can run in an async node, or by "
            "ctx.run in a plain one"
        )

    def test_in_a_loop_of_a_thread(self, backend: str) -> None:
        inner, dag = waiting(), flow.Dag("outer")

        @dag.node(thread=True)
        def node(ctx: Context) -> None:
            if backend == "trio":
                import trio

                trio.run(ctx.execute, inner, {"x": 1})
            else:
                asyncio.run(ctx.execute(inner, {"x": 1}))  # type: ignore[arg-type]

        error = failure(dag, backend=backend)
        assert isinstance(error, UsageError)
        assert "this thread does not run the event loop of the run" in str(error)

    def test_after_the_run(self, backend: str, on_loop: Callable[..., Any]) -> None:
        inner, dag = waiting(), flow.Dag("outer")

        @dag.node
        async def node(ctx: Context) -> Context:
            return ctx

        async def main() -> None:
            ctx = (await flow.execute(dag))["node"]
            with pytest.raises(UsageError, match="no event loop, or has ended"):
                await ctx.execute(inner, {"x": 1})

        on_loop(main)

    def test_the_time_limits_reach_into_it(self, backend: str) -> None:
        cleared: list[str] = []
        inner, dag = flow.Dag("inner"), flow.Dag("outer")

        @inner.node
        async def long() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                cleared.append("inner")

        @dag.node(timeout=0.05)
        async def limited(ctx: Context) -> None:
            await ctx.execute(inner)

        error = failure(dag, backend=backend)
        assert isinstance(error, flow.NodeTimeout)
        assert cleared == ["inner"]

        dag = flow.Dag("outer")

        @dag.node
        async def node(ctx: Context) -> None:
            await ctx.execute(inner)

        with pytest.raises(flow.RunError) as caught:
            ran(dag, backend=backend, timeout=0.05)
        assert caught.value.timed_out
        assert cleared == ["inner", "inner"]


METHODS = ["run", "execute"]


def outer_of(inner: flow.Dag, method: str, times: int = 1, **options: Any) -> flow.Dag:
    """A Dag of one node that runs ``inner`` so often by this method of its Context."""
    dag = flow.Dag("outer")

    def run(ctx: Context) -> Any:
        return [ctx.run(inner) for _ in range(times)][-1]

    async def execute(ctx: Context) -> Any:
        return [await ctx.execute(inner) for _ in range(times)][-1]

    dag.add("node", run if method == "run" else execute, **options)
    return dag


@pytest.mark.parametrize("method", METHODS)
class TestAsPartOfTheRun:
    def test_a_failure_is_that_of_run(self, method: str) -> None:
        inner = flow.Dag("inner")
        boom = ValueError("boom")

        @inner.node
        def bad() -> None:
            raise boom

        dag = outer_of(inner, method)
        inside = failure(dag)
        assert isinstance(inside, flow.RunError)
        assert (inside.exceptions, inside.nodes) == ((boom,), ("bad",))
        assert dict(inside.result.status) == {"bad": Status.FAILED}
        own = [frame.filename for frame in traceback.extract_tb(inside.__traceback__)]
        assert own == [__file__] * len(own)
        result = ran(dag, on_error="collect")
        assert (result["node"].ok, result["node"].errors, result.ok) == (False, {"bad": boom}, True)

    def test_failures_that_it_collects_are_logged(self, method: str, caplog: pytest.LogCaptureFixture) -> None:
        inner = flow.Dag("inner")
        inner.add("bad", lambda: 1 / 0)
        ran(outer_of(inner, method), on_error="collect")
        assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
            "node/bad: failed, the run goes on: ZeroDivisionError: division by zero"
        ]

    def test_a_failure_may_be_caught(self, method: str) -> None:
        inner, dag = flow.Dag("inner"), flow.Dag("outer")
        inner.add("bad", lambda: 1 / 0)

        def run(ctx: Context) -> str:
            try:
                ctx.run(inner)
            except flow.RunError as error:
                return ", ".join(error.nodes)
            return "no"

        async def execute(ctx: Context) -> str:
            try:
                await ctx.execute(inner)
            except flow.RunError as error:
                return ", ".join(error.nodes)
            return "no"

        dag.add("node", run if method == "run" else execute)
        assert ran(dag)["node"] == "bad"

    def test_observers_see_it_under_its_own_id(self, method: str) -> None:
        inner, seen = flow.Dag("inner"), []
        inner.add("one", lambda: 1)
        result = ran(outer_of(inner, method), observers=(seen.append,))
        names = [(type(event).__name__, getattr(event, "node", "")) for event in seen]
        assert names == [
            ("RunStarted", ""), ("NodeStarted", "node"), ("RunStarted", ""), ("NodeStarted", "one"),
            ("NodeFinished", "one"), ("RunFinished", ""), ("NodeFinished", "node"), ("RunFinished", ""),
        ]  # fmt: skip
        ids = [event.run_id for event in seen]
        assert ids[0] == ids[1] == ids[-1] == result.run_id
        assert set(ids[2:6]) == {result["node"].run_id} != {result.run_id}

    def test_hooks_are_told_its_place(self, method: str) -> None:
        inner = flow.Dag("inner")
        inner.add("one", lambda: 1)
        told: list[tuple[tuple[str, ...], str]] = []

        def hook(record: NodeOutcome) -> None:
            told.append((record.path, record.node))

        ran(outer_of(inner, method, times=3), on_outcome=lambda: hook)
        assert told == [(("node",), "one"), (("node+2",), "one"), (("node+3",), "one"), ((), "node")]

    def test_each_attempt_counts_anew(self, method: str) -> None:
        inner = flow.Dag("inner")
        places: list[tuple[str, ...]] = []

        @inner.node
        def one() -> None:
            if len(places) < 3:
                raise OSError

        def hook(record: NodeOutcome) -> None:
            if record.node == "one":
                places.append(record.path)

        dag = outer_of(inner, method, times=2, retry=Retry(4, delay=0.0))
        ran(dag, on_outcome=lambda: hook)
        assert places == [("node",), ("node",), ("node",), ("node",), ("node+2",)]

    def test_a_place_is_no_other_nodes(self, method: str) -> None:
        inner = flow.Dag("inner")
        inner.add("one", lambda: 1)
        dag = outer_of(inner, method, times=3)
        dag.add("node+2", inner)
        places: set[tuple[str, ...]] = set()
        hook = lambda record: places.add(record.path)  # noqa: E731
        ran(dag, on_outcome=lambda: hook)
        assert places == {(), ("node",), ("node+3",), ("node+4",), ("node+2",)}

    def test_items_have_places(self, method: str) -> None:
        inner, dag = flow.Dag("inner"), flow.Dag("outer")
        inner.add("one", lambda: 1)

        def run(item: int, ctx: Context) -> None:
            for _ in range(item):
                ctx.run(inner)

        async def execute(item: int, ctx: Context) -> None:
            for _ in range(item):
                await ctx.child(item="mine", index=5).execute(inner)

        dag.map("each", run if method == "run" else execute, over="numbers")
        places: list[tuple[str, ...]] = []
        hook = lambda record: places.append(record.path)  # noqa: E731
        ran(dag, {"numbers": [2, 0, 1]}, on_outcome=lambda: hook)
        assert sorted(p for p in places if p) == [("each[0]",), ("each[0]+2",), ("each[2]",)]

    def test_timelines(self, method: str) -> None:
        """The outer timeline has the node, as for a Dag that stands as a node; the inner Result has its own."""
        inner = flow.Dag("inner")
        inner.add("one", lambda: 1)
        result = ran(outer_of(inner, method), timing=True)
        assert list(result.spans()) == ["node"]
        start, end = result.spans()["node"]
        assert 0 <= start <= end
        inside = result["node"]
        assert "one :done" in inside.timeline()
        assert inside.durations["one"] <= end - start

    def test_a_hook_that_raises_ends_the_outer_run(self, method: str) -> None:
        inner = flow.Dag("inner")
        inner.add("one", lambda: 1)
        error = OSError("disk full")

        def hook(record: NodeOutcome) -> None:
            raise error

        with pytest.raises(OSError, match="disk full"):
            ran(outer_of(inner, method), on_outcome=lambda: hook)

    def test_a_result_as_output_holds_nothing_of_the_outer_run(self, method: str) -> None:
        class Value:
            pass

        inner = flow.Dag("inner")
        inner.add("one", Value)
        gc.collect()
        gc.disable()
        try:
            result = ran(outer_of(inner, method))
            ref = weakref.ref(result["node"]["one"])
            del result
            assert ref() is None, "no cycle"
        finally:
            gc.enable()

    def test_a_context_by_hand_runs_it_by_itself(self, method: str) -> None:
        inner = flow.Dag("inner")
        inner.add("doubled", lambda x: 2 * x)
        ctx = context()
        if method == "run":
            result = ctx.run(inner, {"x": 2})
        else:

            async def main() -> Any:
                return await ctx.execute(inner, {"x": 2}, targets=["doubled"])

            result = asyncio.run(main())
        assert result["doubled"] == 4


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fails", [False, True])
def test_cleanup_nodes_of_a_started_run(method: str, fails: bool) -> None:
    log: list[str] = []
    inner = flow.Dag("inner")

    @inner.node
    def node() -> None:
        if fails:
            raise ValueError

    inner.add("close", lambda: log.append("closed"), cleanup=True)
    dag = outer_of(inner, method)
    if fails:
        assert isinstance(failure(dag), flow.RunError)
    else:
        ran(dag)
    assert log == ["closed"]


def test_middleware_and_function_count_together() -> None:
    inner, dag = flow.Dag("inner"), flow.Dag("outer")
    inner.add("one", lambda: 1)
    places: list[tuple[str, ...]] = []

    def around(next: Any, ctx: Context) -> Any:
        ctx.run(inner)
        return next()

    @dag.node(middleware=[around])
    def node(ctx: Context) -> None:
        ctx.run(inner)

    hook = lambda record: places.append(record.path)  # noqa: E731
    ran(dag, on_outcome=lambda: hook)
    assert places == [("node",), ("node+2",), ()]


def test_a_call_left_behind_in_its_thread_ends_its_run(backend: str) -> None:
    """An attempt is abandoned while it runs a Dag: of that no further node begins, and it may run no other."""
    inside, over = threading.Event(), threading.Event()
    calls: list[str] = []
    errors: list[BaseException] = []
    inner, dag = flow.Dag("inner"), flow.Dag("outer")

    def first() -> None:
        calls.append("first")
        inside.set()
        over.wait(10)

    inner.add("first", first)
    inner.add("second", lambda: calls.append("second"), after="first")
    left = threading.Event()

    def node(ctx: Context) -> None:
        try:
            ctx.run(inner)
        except BaseException as error:
            errors.append(error)
            try:
                ctx.run(inner)
            except UsageError as refused:
                errors.append(refused)
            try:
                ctx.emit("late", 1)
            except UsageError as refused:
                errors.append(refused)
            raise
        finally:
            left.set()

    dag.add("node", node, thread=True, timeout=0.1, abandon_on_timeout=True)
    error = failure(dag, backend=backend)
    assert isinstance(error, flow.NodeTimeout)
    assert inside.is_set()
    over.set()
    assert left.wait(10)
    assert calls == ["first"]
    assert [type(error).__name__ for error in errors] == ["OutOfTime", "UsageError", "UsageError"]
