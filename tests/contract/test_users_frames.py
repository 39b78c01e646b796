"""Tracebacks of failed nodes and items: the user's frames, and none of what led there."""

from __future__ import annotations

import asyncio
import functools
import operator
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import anyio.to_thread
import pytest
from conftest import collected, loops

import flow
from flow import Context, Retry
from flow.run.frames import MAX_RAISES


@pytest.fixture(params=loops(long="uvloop"))
def backend(request: pytest.FixtureRequest) -> str:
    """Each event loop in turn; asyncio and uvloop share the code of ours."""
    return str(request.param)


def names(error: BaseException | None) -> list[str]:
    assert error is not None
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


def inner() -> None:
    raise ValueError("no")


def bad(*values: Any) -> None:
    inner()


async def abad(*values: Any) -> None:
    await anyio.lowlevel.checkpoint()
    inner()


async def at_once(*values: Any) -> None:
    inner()


class Callable_:
    def __call__(self, *values: Any) -> None:
        inner()


def decorated(fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    def wrapper(*values: Any) -> Any:
        return fn(*values)

    return wrapper


def with_context(ctx: Context) -> None:
    inner()


def with_keyword(*, region: str = "all") -> None:
    inner()


FUNCTIONS: dict[str, tuple[Any, list[str]]] = {
    "def": (bad, ["bad", "inner"]),
    "async def": (abad, ["abad", "inner"]),
    "async def that never waits": (at_once, ["at_once", "inner"]),
    "partial": (functools.partial(bad, 1), ["bad", "inner"]),
    "partial of an async def": (functools.partial(abad, 1), ["abad", "inner"]),
    "object": (Callable_(), ["__call__", "inner"]),
    "wrapper": (decorated(bad), ["wrapper", "bad", "inner"]),
    "lambda that returns an awaitable": (decorated(abad), ["wrapper", "abad", "inner"]),
    "context": (with_context, ["with_context", "inner"]),
    "keyword": (with_keyword, ["with_keyword", "inner"]),
    "C": (functools.partial(int, "x"), []),
    "C with Python beneath": (functools.partial(operator.call, bad), ["bad", "inner"]),
}
FUNCTIONS["lambda that returns an awaitable"] = (functools.wraps(abad)(lambda: abad()), ["abad", "inner"])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_of_a_node(name: str, mode: dict[str, Any], backend: str) -> None:
    fn, expected = FUNCTIONS[name]
    dag = flow.Dag("d")
    dag.add("x", fn)
    if "async" in name and mode.get("mode") == "inline":
        mode = {}
    assert names(collected(dag, backend, **mode).errors["x"]) == expected


def plainly(next: Any, ctx: Context) -> Any:
    return next()


async def awaiting(next: Any, ctx: Context) -> Any:
    return await next()


ALL_OF_OURS = [flow.middleware.logged(), flow.middleware.timed(lambda *_: None), flow.middleware.validated(int)]


@pytest.mark.parametrize("thread", [False, True])
@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([plainly], ["plainly", "bad", "inner"]),
        ([plainly, awaiting, plainly], None),
        ([awaiting], ["awaiting", "bad", "inner"]),
        (ALL_OF_OURS, ["bad", "inner"]),
        ([*ALL_OF_OURS, awaiting, *ALL_OF_OURS], ["awaiting", "bad", "inner"]),
    ],
)
def test_through_middleware(layers: list[Any], expected: list[str] | None, thread: bool, backend: str) -> None:
    dag = flow.Dag("d")
    dag.add("x", bad, middleware=layers, thread=thread, timeout=60.0)
    found = names(collected(dag, backend).errors["x"])
    if expected is None:  # the outer plain one only hands an awaitable on
        expected = [*["plainly"] * found.count("plainly"), "bad", "inner"]
        expected.insert(1 if found[0] == "plainly" and found.count("plainly") > 1 else 0, "awaiting")
    assert found == expected


@pytest.mark.parametrize("fn", [bad, abad, at_once])
@pytest.mark.parametrize("options", [{"thread": True}, {"retry": Retry(3, delay=0.0)}, {"timeout": 60.0}, {}])
def test_of_nodes_with_policies(fn: Any, options: dict[str, Any], backend: str) -> None:
    dag = flow.Dag("d")
    if not (options.get("thread") and fn is not bad):
        dag.add("x", fn, **options)
        assert names(collected(dag, backend).errors["x"]) == [fn.__name__, "inner"]


@pytest.mark.parametrize("options", [{}, {"thread": True}, {"retry": Retry(3, delay=0.0)}, {"timeout": 60.0},
                                     {"batch_size": 2}, {"concurrency": 1}])  # fmt: skip
@pytest.mark.parametrize("fn", [bad, abad, at_once])
@pytest.mark.parametrize("on_error", ["fail", "collect"])
def test_of_items(fn: Any, on_error: Any, options: dict[str, Any], backend: str) -> None:
    if options.get("thread") and fn is not bad:
        return
    dag = flow.Dag("d")
    dag.add("x", lambda: [1, 2, 3])
    dag.map("m", fn, over="x", on_error=on_error, **options)
    result = collected(dag, backend)
    if on_error == "collect":
        errors: Any = result["m"].errors.values()
    else:
        whole = result.errors["m"]
        errors = whole.exceptions if isinstance(whole, flow.errors.MapError) else [whole]
        if isinstance(whole, flow.errors.MapError):
            assert names(whole) == []
    assert [names(error) for error in errors] == [[fn.__name__, "inner"]] * len(errors) and errors


def test_of_one_item_through_middleware(backend: str) -> None:
    dag = flow.Dag("d")
    dag.add("x", lambda: [1])
    dag.map("m", bad, over="x", middleware=[plainly])
    assert names(collected(dag, backend).errors["m"]) == ["plainly", "bad", "inner"]
    dag = flow.Dag("d")
    dag.add("x", lambda: [1])
    dag.map("m", abad, over="x", middleware=[awaiting])
    assert names(collected(dag, backend).errors["m"]) == ["awaiting", "abad", "inner"]


@pytest.mark.parametrize("fn", [bad, abad])
def test_of_a_stage(fn: Any, backend: str) -> None:
    dag = flow.Dag("d")
    dag.add("x", lambda: [1, 2])
    dag.map("m", lambda item: item, over="x")
    dag.map("n", fn, over="m", pipelined=True)
    whole = collected(dag, backend).errors["n"]
    errors = whole.exceptions if isinstance(whole, flow.errors.MapError) else [whole]
    assert [names(error) for error in errors] == [[fn.__name__, "inner"]] * len(errors)


@pytest.mark.parametrize("fn", [bad, abad])
def test_of_a_dag_within(fn: Any, backend: str) -> None:
    within = flow.Dag("within")
    within.add("x", fn)
    middle = flow.Dag("middle")
    middle.add("w", within)
    dag = flow.Dag("d")
    dag.add("m", middle)
    dag.add("i", lambda: [1])
    outer: Any = collected(dag, backend).errors["m"]
    inner_: Any = outer.exceptions[0]
    assert (names(outer), names(inner_), names(inner_.exceptions[0])) == ([], [], [fn.__name__, "inner"])


def test_of_a_map_of_dags(backend: str) -> None:
    within = flow.Dag("within")
    within.add("x", lambda item: inner())
    dag = flow.Dag("d")
    dag.add("i", lambda: [1])
    dag.map("m", within, over="i")
    outer: Any = collected(dag, backend).errors["m"]
    assert (names(outer), names(outer.exceptions[0])) == ([], ["<lambda>", "inner"])


def source() -> Iterator[int]:
    yield 1
    inner()


async def asource() -> AsyncIterator[int]:
    yield 1
    inner()


@pytest.mark.parametrize("fn", [source, asource])
@pytest.mark.parametrize("kind", ["map", "reduce"])
def test_of_a_source(fn: Any, kind: str, backend: str) -> None:
    dag = flow.Dag("d")
    dag.add("x", fn)
    if kind == "map":
        dag.map("y", lambda item: item, over="x")
    else:

        async def add(a: Any, b: Any) -> Any:
            return a

        dag.reduce("y", add, over="x", start=0)
    assert names(collected(dag, backend).errors["y"]) == [fn.__name__, "inner"]


@pytest.mark.parametrize("fn", [bad, abad])
def test_of_a_fold(fn: Any, backend: str) -> None:
    dag = flow.Dag("d")
    dag.add("x", lambda: [1])
    dag.reduce("y", fn, over="x", start=0)
    assert names(collected(dag, backend).errors["y"]) == [fn.__name__, "inner"]


def test_of_a_key_and_of_what_is_merged(backend: str) -> None:
    def key(item: Any) -> Any:
        inner()

    dag = flow.Dag("d")
    dag.add("x", lambda: [1])
    dag.map("m", lambda item: item, over="x", key=key)
    assert names(collected(dag, backend).errors["m"]) == ["key", "inner"]

    def merged(a: Any, b: Any) -> Any:
        inner()

    def publishes(item: Any, ctx: Context) -> None:
        ctx.publish("k", item, merge=merged)

    dag = flow.Dag("d")
    dag.add("x", lambda: [1, 2])
    dag.map("m", publishes, over="x")
    assert names(collected(dag, backend).errors["m"]) == ["merged", "inner"]


def test_libraries_that_the_function_calls_itself_stay(backend: str) -> None:
    async def calls() -> None:
        await anyio.to_thread.run_sync(inner)

    dag = flow.Dag("d")
    dag.add("x", calls)
    found = names(collected(dag, backend).errors["x"])
    assert found[0] == "calls" and found[-1] == "inner" and len(found) > 2


def test_a_library_that_is_the_node_stays(backend: str) -> None:
    dag = flow.Dag("d")
    dag.add("x", functools.partial(anyio.to_thread.run_sync, inner))
    found = names(collected(dag, backend).errors["x"])
    assert found[0] == "run_sync" and found[-1] == "inner"


def test_errors_of_ours_have_no_frames_but_the_users(backend: str) -> None:
    async def waits() -> None:
        await anyio.sleep(60)

    def asks(ctx: Context) -> None:
        ctx.data["missing"]

    dag = flow.Dag("d")
    dag.add("late", waits, timeout=0.001)
    dag.add("wrong", lambda: 1, middleware=[flow.middleware.validated(str)])
    dag.add("asks", asks)
    dag.add("number", lambda: 1)
    dag.map("over", bad, over="number")
    errors = collected(dag, backend).errors
    assert {name: names(error) for name, error in errors.items()} == {
        "wrong": [], "asks": ["asks"], "over": [], "late": []
    }  # fmt: skip


def test_causes_begin_with_the_users_frames_too() -> None:
    async def cancels() -> None:
        raise asyncio.CancelledError

    dag = flow.Dag("d")
    dag.add("x", cancels)
    assert names(collected(dag).errors["x"].__cause__) == ["cancels"]

    def records(*_: Any) -> None:
        raise KeyError

    dag = flow.Dag("d")
    dag.add("x", bad, middleware=[flow.middleware.timed(records)])
    error = collected(dag).errors["x"]
    assert (names(error), names(error.__context__)) == (["records"], ["bad", "inner"])


def test_what_was_raised_around_a_run_keeps_its_frames() -> None:
    dag = flow.Dag("d")
    dag.add("x", bad)
    with pytest.raises(flow.RunError) as first:
        flow.run(dag)
    before = names(first.value)
    assert before == ["test_what_was_raised_around_a_run_keeps_its_frames"]
    try:
        raise first.value
    except flow.RunError:
        error = collected(dag).errors["x"]
    assert error.__context__ is first.value
    assert names(first.value)[-len(before) :] == before


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("layers", [[], [plainly], ALL_OF_OURS])
def test_one_exception_object_raised_again_and_again(waits: bool, layers: list[Any], backend: str) -> None:
    error = ValueError("shared")

    def again() -> None:
        raise error

    async def awaits() -> None:
        await anyio.lowlevel.checkpoint()
        raise error

    dag = flow.Dag("d")
    dag.add("x", awaits if waits else again, retry=Retry(50, delay=0.0), middleware=layers)
    clock = flow.testing.FakeClock()
    expected = [*(["plainly"] if layers == [plainly] and not waits else []), "awaits" if waits else "again"]
    for _ in range(3):
        result = collected(dag, backend, clock=clock)
        assert result.errors["x"] is error
        assert names(error) == expected
        assert len(error.__notes__) == 1


@pytest.mark.slow
def test_one_exception_object_run_ten_thousand_times() -> None:
    error = ValueError("shared")

    def again() -> None:
        raise error

    plan = flow.Dag("d")
    plan.add("x", again)
    config = flow.Config(on_error="collect")
    for _ in range(10_000):
        flow.run(plan, config=config)
    assert names(error) == ["again"] and len(error.__notes__) == 1


def test_one_exception_object_of_many_items(backend: str) -> None:
    error = ValueError("shared")

    def again(item: int) -> None:
        raise error

    dag = flow.Dag("d")
    dag.add("i", lambda: range(100))
    dag.map("m", again, over="i", on_error="collect", retry=Retry(3, delay=0.0))
    result = collected(dag, backend, clock=flow.testing.FakeClock())
    assert len(result["m"].errors) == 100
    assert names(error) == ["again"]


def test_one_exception_object_raised_at_several_places_shows_each() -> None:
    error = ValueError("shared")

    def deep(depth: int) -> None:
        if depth:
            deep(depth - 1)
        raise error

    def first() -> None:
        raise error

    dag = flow.Dag("d")
    dag.add("a", first)
    dag.add("b", lambda: deep(2))
    for _ in range(3):
        collected(dag)
    assert names(error) == ["<lambda>", "deep", "deep", "deep", "first"]  # recursion is no repetition
    for depth in range(3 * MAX_RAISES):
        dag = flow.Dag("d")
        dag.add("c", lambda depth=depth: deep(depth))
        collected(dag)
    assert names(error).count("<lambda>") <= MAX_RAISES


def test_the_same_place_is_pointed_at() -> None:
    dag = flow.Dag("d")
    dag.add("x", bad)
    error = collected(dag).errors["x"]
    lines = "".join(traceback.format_exception(error))
    raised = [frame for frame in traceback.extract_tb(error.__traceback__)]
    assert [frame.line for frame in raised] == ["inner()", 'raise ValueError("no")']
    assert [(frame.colno, frame.end_colno) for frame in raised] == [(4, 11), (4, 26)]
    assert "flow/run" not in lines


def test_frozen_exceptions_and_groups() -> None:
    class Frozen(Exception):
        def __setattr__(self, name: str, value: Any) -> None:
            raise AttributeError(name)

        def with_traceback(self, tb: Any) -> Any:
            raise AssertionError

    def frozen() -> None:
        raise Frozen

    def group() -> None:
        try:
            inner()
        except ValueError as error:
            raise ExceptionGroup("several", [error]) from error

    dag = flow.Dag("d")
    dag.add("frozen", frozen)
    dag.add("group", group)
    errors: Any = collected(dag).errors
    assert names(errors["frozen"]) == ["frozen"]
    assert names(errors["group"]) == ["group"]
    assert names(errors["group"].exceptions[0]) == ["group", "inner"]
