"""An ``async def`` where nothing would await it is refused where it is given."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from conftest import error_of
from memories import Values

import flow
from flow.policy.middleware import timed


async def asynchronous(*values: Any) -> Any:
    return None


async def generating(*values: Any) -> Any:
    yield None


class ByCall:
    async def __call__(self, *values: Any) -> Any: ...

    async def method(self, *values: Any) -> Any: ...


@functools.wraps(asynchronous)
def wrapping(*values: Any) -> Any:
    return asynchronous(*values)


def marked() -> Any:
    def plain(*values: Any) -> Any:
        return asynchronous(*values)

    if sys.version_info < (3, 12):
        return asynchronous
    return inspect.markcoroutinefunction(plain)


ASYNC: dict[str, Any] = {
    "def": asynchronous,
    "generator": generating,
    "partial": functools.partial(asynchronous, 1),
    "call": ByCall(),
    "method": ByCall().method,
    "partial of method": functools.partial(ByCall().method, 1),
    "wrapper": wrapping,
    "mock": mock.AsyncMock(),
    "marked": marked(),
}


def compiled(**options: Any) -> None:
    dag = flow.Dag()
    dag.add("it", lambda: 1, **options)
    dag.compile()


def mapped(fn: Any) -> None:
    dag = flow.Dag()
    dag.map("it", lambda item: 1, over="items", key=fn)
    dag.compile()


def published(fn: Any) -> None:
    flow.testing.context().publish("key", 1, merge=fn)


def tuned(**options: Any) -> None:
    dag = flow.Dag()
    dag.add("it", lambda: 1)
    flow.tune(dag, budget=0.01, **options)


def clock_with(**methods: Any) -> Any:
    clock = flow.testing.FakeClock()
    for name, fn in methods.items():
        setattr(clock, name, fn)
    return clock


def plan() -> flow.Plan:
    dag = flow.Dag()
    dag.add("it", lambda: 1)
    return dag.compile()


PLACES: dict[str, Callable[[Any], Any]] = {
    "retry_if": lambda fn: compiled(retry=flow.Retry(3, retry_if=fn)),
    "observer": lambda fn: flow.Config(observers=(fn,)),
    "clock's now": lambda fn: flow.Config(clock=clock_with(now=fn)),
    "clock's sleep": lambda fn: flow.Config(clock=clock_with(sleep=fn)),
    "key": mapped,
    "merge": published,
    "for_each": lambda fn: flow.WorkflowData().for_each(fn),
    "factory": lambda fn: flow.memory.ObjectPool(fn),
    "reset": lambda fn: flow.memory.ObjectPool(list, reset=fn),
    "record": timed,
    "callback": lambda fn: flow.plan.StatusTracker(["a"]).subscribe(fn),
    "StatusTracker": lambda fn: flow.plan.StatusTracker(["a"], clock=fn),
    "durations": lambda fn: plan().critical_path(fn),
    "work": lambda fn: flow.traces.load("nowhere.json", work=fn),
    "inputs": lambda fn: tuned(inputs=fn),
    "timer": lambda fn: tuned(timer=fn),
    "memory": lambda fn: flow.DataConfig(memory=fn),
    "say": lambda fn: tuned(say=fn),
}


@pytest.mark.parametrize("kind", ASYNC)
@pytest.mark.parametrize("place", PLACES)
def test_it_is_refused_where_it_is_given(place: str, kind: str) -> None:
    with pytest.raises(flow.FlowError) as caught:
        PLACES[place](ASYNC[kind])
    text = str(caught.value)
    assert place in text
    assert "plain function" in text


@pytest.mark.parametrize(
    "config",
    [flow.DataConfig(), flow.DataConfig(metrics="sampled"), flow.DataConfig(memory="slots"),
     flow.DataConfig(memory="arena"), flow.DataConfig(memory=Values), flow.DataConfig.preset("read_optimized")],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("child", [False, True])
@pytest.mark.parametrize("kind", [k for k in ASYNC if k != "generator"])
def test_an_update_keeps_the_value(config: flow.DataConfig, child: bool, kind: str) -> None:
    data = flow.WorkflowData(config)
    data.set("n", 1)
    data = data.child() if child else data
    with pytest.raises(flow.UsageError, match="update.'n'.: its function is async, and nothing awaits"):
        data.update("n", ASYNC[kind])
    with pytest.raises(flow.UsageError, match="async_generator"):
        data.update("n", generating)
    with pytest.raises(flow.UsageError, match="is async"):
        data.update("n", lambda old: asynchronous(old))
    assert data["n"] == 1


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_what_middleware_does_around_a_node(is_async: bool, fails: bool) -> None:
    def node() -> int:
        return 1 // (not fails)

    async def anode() -> int:
        return node()

    def layer(next: Any, ctx: flow.Context) -> Any:
        return flow.middleware.around(next, asynchronous, asynchronous)

    dag = flow.Dag()
    dag.add("it", anode if is_async else node, middleware=[layer])
    (error,) = error_of(dag).exceptions
    assert isinstance(error, flow.UsageError)
    assert "is async, and nothing awaits" in str(error)


def test_other_faults_are_listed_beside_it() -> None:
    with pytest.raises(flow.errors.ConfigError) as caught:
        flow.Config(observers=(asynchronous, print, ByCall()), mode="nope")  # type: ignore[arg-type]
    assert len(caught.value.faults) == 3


def test_plain_callables_are_taken() -> None:
    class Plain:
        def __call__(self, *values: Any) -> Any:
            return 1

    plain = Plain()
    compiled(retry=flow.Retry(3, retry_if=plain))
    mapped(plain)
    published(plain)
    flow.Config(observers=(plain, mock.Mock(), len))
    flow.WorkflowData().for_each(plain)
    flow.memory.ObjectPool(Plain, reset=plain)
    timed(plain)
    flow.plan.StatusTracker(["a"], clock=plain).subscribe(plain)
    assert plan().critical_path(plain).length == 1


def test_what_records_times_must_be_a_function() -> None:
    with pytest.raises(flow.UsageError, match="record must be a function of node and seconds, not 3"):
        timed(3)  # type: ignore[arg-type]
    with pytest.raises(flow.UsageError, match="subscribe takes a function"):
        flow.plan.StatusTracker(["a"]).subscribe(3)  # type: ignore[arg-type]
