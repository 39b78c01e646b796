"""How the tests run a Dag: every way a user can, under one name each."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import anyio
import pytest

import flow

WAYS = ("asyncio", "uvloop", "trio")


def _installed(name: str) -> bool:
    try:
        __import__(name)
    except ImportError:
        return False
    return True


def loops() -> list[Any]:
    """The event loops to test on; the optional ones skip with a reason when absent."""
    return [
        pytest.param(name, marks=[] if _installed(name) else pytest.mark.skip(reason=f"{name} is not installed"))
        for name in WAYS
    ]


@pytest.fixture(params=loops())
def backend(request: pytest.FixtureRequest) -> str:
    """Each event loop in turn."""
    return str(request.param)


MODES = [
    pytest.param({"mode": "auto"}, id="auto"),
    pytest.param({"mode": "inline"}, id="inline"),
    pytest.param({"mode": "tasks"}, id="tasks"),
    pytest.param({"mode": "workers", "limit": 2}, id="workers-2"),
    pytest.param({"mode": "tasks", "limit": 1}, id="tasks-1"),
    pytest.param({"sync": "thread", "limit": 3}, id="threads"),
    pytest.param({"keep": "targets"}, id="freeing"),
    pytest.param({"observers": [lambda event: None]}, id="observed"),
]


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Each way to drive a run in turn, as settings of a Config."""
    return dict(request.param)


@pytest.fixture
def on_loop(backend: str) -> Callable[..., Any]:
    """Run an async function on the backend: ``on_loop(fn, *args)``."""

    def go(fn: Callable[..., Any], *args: Any) -> Any:
        if backend == "asyncio":
            return asyncio.run(fn(*args))
        name = "trio" if backend == "trio" else "asyncio"
        return anyio.run(fn, *args, backend=name, backend_options={"use_uvloop": True} if name == "asyncio" else {})

    return go


def collected(dag: flow.Dag | flow.Plan, backend: str = "asyncio", **settings: Any) -> flow.Result:
    """Run with ``on_error="collect"``."""
    return flow.run(dag, config=flow.Config(on_error="collect", backend=backend, **settings))  # type: ignore[arg-type]


def error_of(dag: flow.Dag | flow.Plan, inputs: Any = None, **settings: Any) -> flow.RunError:
    """Run and return the RunError that it must raise."""
    with pytest.raises(flow.RunError) as caught:
        flow.run(dag, inputs, config=flow.Config(**settings))
    return caught.value


class _JumpingSelector:
    """Wraps a selector: where it would wait, the loop's clock jumps instead."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.time = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = self.inner.select(0)
        if not ready and timeout:
            self.time += timeout
        elif not ready and timeout is None:  # only a thread can wake it
            return self.inner.select(None)
        return ready

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio loop on virtual time: exact, and no test waits."""

    def __init__(self) -> None:
        import selectors

        self.jumping = _JumpingSelector(selectors.DefaultSelector())
        super().__init__(self.jumping)

    def time(self) -> float:
        return self.jumping.time


@pytest.fixture(params=["asyncio", pytest.param("trio", marks=[] if _installed("trio") else pytest.mark.skip)])
def virtual(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Run an async function on virtual time: ``virtual(fn)``. ``anyio.current_time`` starts anywhere."""

    def go(fn: Callable[..., Any], *args: Any) -> Any:
        if request.param == "asyncio":
            with asyncio.Runner(loop_factory=VirtualLoop) as runner:
                return runner.run(fn(*args))
        import trio.testing

        return trio.run(fn, *args, clock=trio.testing.MockClock(autojump_threshold=0))

    go.name = request.param  # type: ignore[attr-defined]
    return go


class LoopClock:
    """The event loop's own (virtual) time as a run's clock."""

    def now(self) -> float:
        return float(anyio.current_time())

    def sleep(self, seconds: float) -> None:
        raise AssertionError("on a loop nobody blocks")

    async def wait(self, seconds: float) -> None:
        await anyio.sleep(seconds)


@pytest.fixture(scope="module")
def frozen() -> Iterator[None]:
    """Hide from the collector what all tests have made: for those that collect often, which would look at it all."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def dag_of(specs: Sequence[Any], function: Callable[[int, Any], Callable[..., Any]]) -> flow.Dag:
    """The Dag that specs (data, after, attempts, tolerant, priority) describe, of the nodes ``function`` makes."""
    dag = flow.Dag("world")
    for i, spec in enumerate(specs):
        dag.add(
            f"n{i}",
            function(i, spec),
            needs=[f"n{d}" for d in spec.data],
            after=[f"n{d}" for d in spec.after],
            retry=flow.Retry(spec.attempts, delay=0.0) if spec.attempts > 1 else None,
            continue_on_error=spec.tolerant,
            priority=spec.priority,
        )
    return dag
