"""One contract for every way to run: each test goes through inline, tasks and workers, on each event loop."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import Any

import anyio
import pytest
from conftest import MODES, collected, error_of, modes

import flow
from flow import Config, Context, Retry, Status


@pytest.fixture(params=modes(*[name for name in MODES if name not in ("freeing", "observed")]))
def mode(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Every way that keeps all outputs and leaves the observers to the test."""
    return dict(request.param)


def mixed() -> flow.Dag:
    """Sync and async nodes, some suspending, that pass arguments and record their calls."""
    dag = flow.Dag("mixed")

    @dag.node
    def one() -> int:
        return 1

    @dag.node
    async def two(one: int) -> int:
        await anyio.sleep(0)
        return one + 1

    @dag.node
    async def three(one: int, two: int) -> int:
        return one + two

    @dag.node
    def six(one: int, two: int, three: int) -> int:
        return one + two + three

    @dag.node(after=six)
    async def late() -> str:
        await anyio.lowlevel.checkpoint()
        return "late"

    return dag


def test_outputs_and_statuses_are_the_same_everywhere(mode: dict[str, Any], backend: str) -> None:
    result = flow.run(mixed(), config=Config(backend=backend, **mode))  # type: ignore[arg-type]
    assert dict(result) == {"one": 1, "two": 2, "three": 3, "six": 6, "late": "late"}
    assert set(result.status.values()) == {Status.COMPLETED}
    assert (result.ok, result.counts, result.errors) == (True, {Status.COMPLETED: 5}, {})
    assert dict(result.attempts) == dict.fromkeys(result.plan.names, 1)


def test_collect_skips_exactly_the_descendants(mode: dict[str, Any], backend: str) -> None:
    dag = mixed()
    boom = ValueError("boom")

    @dag.node
    async def bad(one: int) -> int:
        await anyio.sleep(0)
        raise boom

    @dag.node
    def child(bad: int, two: int) -> int:
        return bad + two

    @dag.node(after=child)
    async def grandchild() -> None: ...

    result = collected(dag, backend, **mode)
    assert {n: str(s) for n, s in result.status.items()} == {
        "one": "completed", "two": "completed", "three": "completed", "six": "completed", "late": "completed",
        "bad": "failed", "child": "skipped", "grandchild": "skipped",
    }  # fmt: skip
    assert result.errors == {"bad": boom}
    assert (result.ok, sum(result.counts.values())) == (False, 8)
    with pytest.raises(
        flow.errors.MissingOutput, match=r"node 'grandchild' has no output: it is skipped because 'bad'"
    ):
        result["grandchild"]
    with pytest.raises(flow.errors.MissingOutput, match=r"node 'bad' has no output: it is failed: ValueError: boom"):
        result["bad"]


def test_fail_fast_raises_the_original_exception(mode: dict[str, Any], backend: str) -> None:
    dag = flow.Dag("d")
    boom = KeyError("mine")

    @dag.node
    async def first() -> int:
        await anyio.sleep(0)
        return 1

    @dag.node
    def bad(first: int) -> int:
        raise boom

    @dag.node
    async def child(bad: int) -> None: ...

    @dag.node(after="bad")
    async def other() -> None: ...

    error = error_of(dag, backend=backend, **mode)
    assert error.exceptions == (boom,)
    assert (error.nodes, error.timed_out) == (("bad",), False)
    assert "dag 'd': 1 of 4 nodes failed: 'bad'" in str(error)
    assert boom.__notes__ == [f"in node 'bad' ({__file__}:{bad.__code__.co_firstlineno})"]
    assert boom.__traceback__ is not None
    assert boom.__traceback__.tb_frame.f_code is bad.__code__, "the traceback begins in the user's function"
    assert {n: str(s) for n, s in error.result.status.items()} == {
        "first": "completed", "bad": "failed", "child": "skipped", "other": "skipped",
    }  # fmt: skip
    assert error.result["first"] == 1


def test_retry_calls_exactly_and_numbers_attempts(mode: dict[str, Any], backend: str) -> None:
    clock = flow.testing.FakeClock()
    seen: list[tuple[str, int]] = []
    dag = flow.Dag("d")

    def flaky(ctx: Context) -> int:
        seen.append((ctx.node, ctx.attempt))
        if ctx.attempt < 3:
            raise OSError(ctx.attempt)
        return ctx.attempt

    async def aflaky(ctx: Context) -> int:
        await anyio.sleep(0)
        return flaky(ctx)

    dag.add("s", flaky, retry=Retry(3, delay=1.0, multiplier=3.0))
    dag.add("a", aflaky, retry=Retry(4, delay=1.0, multiplier=3.0), after="s")
    dag.add("never", flaky, retry=Retry(2, delay=10.0), after="a")
    result = collected(dag, backend, clock=clock, **mode)
    assert seen == [("s", 1), ("s", 2), ("s", 3), ("a", 1), ("a", 2), ("a", 3), ("never", 1), ("never", 2)]
    assert dict(result.attempts) == {"s": 3, "a": 3, "never": 2}
    assert clock.slept == [1.0, 3.0, 1.0, 3.0, 10.0]
    assert result.errors["never"].__notes__[0].endswith(", attempt 2")


def test_contexts_say_who_and_where(mode: dict[str, Any], backend: str) -> None:
    dag = flow.Dag("d")

    @dag.node
    def a(ctx: Context, x: int, y: int = 5) -> Context:
        ctx.data["a"] = x + y
        return ctx

    @dag.node
    async def b(a: Any, *, me: Context) -> Context:
        me.data["b"] = me.data["a"] + 1
        return me

    result = flow.run(dag, {"x": 2}, config=Config(backend=backend, **mode), run_id="r-1")  # type: ignore[arg-type]
    first, second = result[a], result["b"]
    assert (first.run_id, first.node, first.attempt, dict(first.inputs)) == ("r-1", "a", 1, {"x": 2})
    assert (second.node, dict(second.data.items())) == ("b", {"a": 7, "b": 8})
    assert first.data is second.data
    with pytest.raises(TypeError):
        first.inputs["x"] = 3  # type: ignore[index]


VAR: ContextVar[str] = ContextVar("VAR", default="unset")


def test_nodes_see_the_callers_contextvars_and_leak_none(mode: dict[str, Any], backend: str) -> None:
    dag = flow.Dag("d")

    async def setter(ctx: Context) -> str:
        seen = VAR.get()
        VAR.set(ctx.node)
        await anyio.sleep(0)
        assert VAR.get() == ctx.node
        return seen

    async def quick(ctx: Context) -> str:
        seen = VAR.get()
        VAR.set(ctx.node)
        return seen

    for i in range(4):
        dag.add(f"s{i}", setter)
        dag.add(f"q{i}", quick, after=f"s{i}")
        dag.add(f"t{i}", lambda: VAR.get(), thread=True, after=f"q{i}")
    VAR.set("caller")
    result = flow.run(dag, config=Config(backend=backend, **mode))  # type: ignore[arg-type]
    assert set(result.values()) == {"caller"}
    assert VAR.get() == "caller"


def test_limit_bounds_nodes_in_flight(backend: str) -> None:
    for limit in (1, 3, 10**9):
        now, most = 0, 0

        async def node() -> None:
            nonlocal now, most
            now += 1
            most = max(most, now)
            for _ in range(4):  # trio turns the order round by chance
                await anyio.sleep(0)
            now -= 1

        dag = flow.Dag("d")
        for i in range(12):
            dag.add(f"n{i}", node, after=[f"n{i - 6}"] if i >= 6 else ())
        result = flow.run(dag, config=Config(backend=backend, limit=limit))  # type: ignore[arg-type]
        assert result.counts == {Status.COMPLETED: 12}
        assert most == min(limit, 6) if limit != 3 else most == 3


def test_limit_one_takes_ready_nodes_by_priority_then_definition(mode: dict[str, Any], backend: str) -> None:
    order: list[str] = []

    async def node(ctx: Context) -> None:
        order.append(ctx.node)
        await anyio.sleep(0)

    dag = flow.Dag("d")
    dag.add("a", node)
    dag.add("b", node, after="a")
    dag.add("c", node, priority=-1)
    dag.add("d", node, priority=7, after="a")
    dag.add("e", node)
    dag.add("f", node, after="e", priority=1)
    flow.run(dag, config=Config(backend=backend, mode="workers", limit=1))  # type: ignore[arg-type]
    assert order == ["a", "d", "b", "e", "f", "c"]
    order.clear()
    flow.run(dag, config=Config(backend=backend, mode="inline"))  # type: ignore[arg-type]
    assert order == ["a", "d", "b", "e", "f", "c"]
    assert dag.compile().topological_order() == order


def test_critical_path_first_when_asked(backend: str) -> None:
    order: list[str] = []

    async def node(ctx: Context) -> None:
        order.append(ctx.node)

    dag = flow.Dag("d")
    dag.add("short", node, cost=5)
    dag.add("long", node, cost=1)
    dag.add("tail", node, cost=9, after="long")
    dag.add("first", node, priority=1, cost=0)
    config = Config(backend=backend, limit=1, order="critical_path")  # type: ignore[arg-type]
    flow.run(dag, config=config)
    assert order == ["first", "long", "tail", "short"]


def test_thread_nodes_run_elsewhere_and_inline_ones_here(backend: str) -> None:
    dag = flow.Dag("d")
    dag.add("here", threading.get_ident)
    dag.add("there", threading.get_ident, thread=True)
    result = flow.run(dag, config=Config(backend=backend))  # type: ignore[arg-type]
    assert result["here"] == threading.get_ident()
    assert result["there"] != threading.get_ident()
    both = flow.run(dag, config=Config(backend=backend, executor="thread"))  # type: ignore[arg-type]
    assert threading.get_ident() not in both.values()


def test_threads_are_bounded(backend: str) -> None:
    lock = threading.Lock()
    gate = threading.Barrier(2, timeout=10)
    now, most = 0, 0

    def work() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        gate.wait()  # passes only in pairs: proves that two do run at once
        with lock:
            now -= 1

    dag = flow.Dag("d")
    for i in range(6):
        dag.add(f"n{i}", work, thread=True)
    flow.run(dag, config=Config(backend=backend, threads=2))  # type: ignore[arg-type]
    assert most == 2


def test_one_plan_many_runs_at_once(on_loop: Any) -> None:
    dag = flow.Dag("d")

    @dag.node
    async def double(x: int) -> int:
        await anyio.sleep(0)
        return 2 * x

    @dag.node
    def text(double: int) -> str:
        return str(double)

    plan = dag.compile()

    async def main() -> list[str]:
        found: list[Any] = [None] * 50

        async def one(k: int) -> None:
            found[k] = (await flow.execute(plan, {"x": k}))["text"]

        async with anyio.create_task_group() as group:
            for k in range(50):
                group.start_soon(one, k)
        return found

    assert on_loop(main) == [str(2 * k) for k in range(50)]


def test_continue_on_error(mode: dict[str, Any], backend: str) -> None:
    dag = flow.Dag("d")

    @dag.node(continue_on_error=True)
    async def optional() -> int:
        await anyio.sleep(0)
        raise LookupError("no matter")

    @dag.node
    def user(optional: int) -> int:
        return optional

    @dag.node(after="optional")
    def later() -> str:
        return "ran"

    result = flow.run(dag, config=Config(backend=backend, **mode))  # type: ignore[arg-type]
    assert {n: str(s) for n, s in result.status.items()} == {
        "optional": "failed", "user": "skipped", "later": "completed",
    }  # fmt: skip
    assert (result.ok, result["later"], str(result.errors["optional"])) == (False, "ran", "no matter")


def test_targets_run_only_what_they_need(mode: dict[str, Any], backend: str) -> None:
    dag = mixed()
    dag.add("needs_input", lambda missing: missing)
    config = Config(backend=backend, **mode)  # type: ignore[arg-type]
    result = flow.run(dag, targets=["three"], config=config)
    assert dict(result) == {"one": 1, "two": 2, "three": 3}
    with pytest.raises(flow.UsageError, match="no node 'thre'.*did you mean 'three'"):
        flow.run(dag, targets=["thre"], config=config)


def test_a_dag_as_a_node(mode: dict[str, Any], backend: str) -> None:
    inner = flow.Dag("inner")

    @inner.node
    async def doubled(x: int, scale: int = 2) -> int:
        await anyio.sleep(0)
        return x * scale

    @inner.node
    def checked(doubled: int) -> int:
        if doubled < 0:
            raise ValueError("negative")
        return doubled + 1

    outer = flow.Dag("outer")
    outer.add("x", lambda start: start)
    outer.add("sub", inner)
    outer.add("out", lambda sub: sub["checked"])
    config = Config(backend=backend, **mode)  # type: ignore[arg-type]
    assert flow.run(outer, {"start": 5}, config=config)["out"] == 11
    assert flow.run(outer, {"start": 5, "scale": 3}, config=config)["out"] == 16
    with pytest.raises(flow.RunError) as caught:
        flow.run(outer, {"start": -5}, config=config)
    inside = caught.value.exceptions[0]
    assert isinstance(inside, flow.RunError)
    assert (caught.value.nodes, inside.nodes, str(inside.exceptions[0])) == (("sub",), ("checked",), "negative")

    inlined = flow.Dag("outer")
    inlined.add("x", lambda start: start)
    inlined.include(inner, prefix="in", inputs={"x": "x"})
    inlined.add("out", lambda v: v, needs=["in.checked"])
    result = flow.run(inlined, {"start": 5}, config=config)
    assert dict(result) == {"x": 5, "in.doubled": 10, "in.checked": 11, "out": 11}


def test_a_sync_dag_as_a_node_needs_no_loop() -> None:
    inner = flow.Dag("inner")
    inner.add("y", lambda x: x + 1)
    outer = flow.Dag("outer")
    outer.add("sub", inner)
    assert outer.compile().all_sync
    assert flow.run(outer, {"x": 1})["sub"]["y"] == 2


def test_middleware_wraps_in_order(mode: dict[str, Any], backend: str) -> None:
    log: list[str] = []

    async def outer(next: Any, ctx: Context) -> Any:
        log.append(f"outer {ctx.node}")
        result = await next()
        log.append(f"outer done {ctx.node}")
        return result

    def inner(next: Any, ctx: Context) -> Any:
        log.append(f"inner {ctx.node}")
        return next()

    dag = flow.Dag("d", middleware=[outer])
    dag.add("s", lambda: 1, middleware=[inner])

    async def a(s: int) -> int:
        await anyio.sleep(0)
        return s + 1

    dag.add("a", a, middleware=[inner])
    result = flow.run(dag, config=Config(backend=backend, **mode))  # type: ignore[arg-type]
    assert dict(result) == {"s": 1, "a": 2}
    assert log == [
        "outer s", "inner s", "outer done s", "outer a", "inner a", "outer done a",
    ]  # fmt: skip


def test_middleware_may_replace_and_refuse(mode: dict[str, Any], backend: str) -> None:
    def instead(next: Any, ctx: Context) -> Any:
        return "cached"

    def plus(next: Any, ctx: Context) -> Any:
        return next() + 1

    def refuse(next: Any, ctx: Context) -> Any:
        raise PermissionError(ctx.node)

    async def never() -> str:
        raise AssertionError("must not run")

    dag = flow.Dag("d")
    dag.add("a", never, middleware=[instead])
    dag.add("b", lambda: 1, middleware=[plus, plus])
    dag.add("c", lambda: 1, middleware=[refuse])
    result = collected(dag, backend, **mode)
    assert (dict(result), str(result.errors["c"])) == ({"a": "cached", "b": 3}, "c")


def test_events_tell_the_story(mode: dict[str, Any], backend: str) -> None:
    dag = flow.Dag("story")
    tries = iter([OSError("once"), None])

    @dag.node(retry=Retry(2, delay=0))
    async def a() -> int:
        await anyio.sleep(0)
        error = next(tries)
        if error:
            raise error
        return 1

    @dag.node
    def b(a: int) -> None:
        raise ValueError("no")

    @dag.node
    def c(b: None) -> None: ...

    seen: list[Any] = []

    def broken(event: Any) -> None:
        raise RuntimeError("observers harm nothing")

    result = collected(dag, backend, observers=(broken, seen.append), **mode)
    told = [(type(e).__name__, getattr(e, "node", e.__class__.__name__), getattr(e, "attempt", 0)) for e in seen]
    assert told == [
        ("RunStarted", "RunStarted", 0),
        ("NodeStarted", "a", 1), ("NodeRetried", "a", 1), ("NodeStarted", "a", 2), ("NodeFinished", "a", 2),
        ("NodeStarted", "b", 1), ("NodeFailed", "b", 1), ("NodeSkipped", "c", 0),
        ("RunFinished", "RunFinished", 0),
    ]  # fmt: skip
    assert seen[-1].counts == {"completed": 1, "failed": 1, "skipped": 1}
    assert seen[-1].ok is result.ok is False
    assert {e.run_id for e in seen} == {result.run_id}
    with pytest.raises(AttributeError):
        seen[0].dag = "other"


def test_timing_records_spans(backend: str) -> None:
    result = flow.run(mixed(), config=Config(backend=backend, timing=True))  # type: ignore[arg-type]
    spans = result.spans()
    assert list(spans) == ["one", "two", "three", "six", "late"]
    for name, (began, ended) in spans.items():
        assert 0 <= began <= ended <= result.wall_time
        assert result.durations[name] == pytest.approx(ended - began)
    for up, down in result.plan.edges:
        assert spans[up][1] <= spans[down][0]


@pytest.mark.parametrize("abort", [KeyboardInterrupt, SystemExit])
def test_base_exceptions_pass_through(mode: dict[str, Any], backend: str, abort: type[BaseException]) -> None:
    calls = 0
    dag = flow.Dag("d")

    @dag.node
    async def before() -> None:
        await anyio.sleep(0)

    @dag.node(retry=Retry(5, delay=0, retry_if=BaseException))
    def bad(before: None) -> None:
        nonlocal calls
        calls += 1
        raise abort

    dag.add("sibling", lambda: 1, after="bad")
    with pytest.raises(abort):
        collected(dag, backend, **mode)
    assert calls == 1
