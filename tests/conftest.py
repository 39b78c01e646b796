"""How the tests run a Dag: every way a user can, under one name each."""

from __future__ import annotations

import asyncio
import gc
import os
import pkgutil
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, settings

import flow

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests" / "data"
WAYS = ("asyncio", "uvloop", "trio")
LAST = ("docs", "bench")
_ADDRESS = re.compile(r" at 0x[0-9a-f]*")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell makes what it starts in the background ignore Ctrl-C, programs that tests start included.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _installed(name: str) -> bool:
    try:
        __import__(name)
    except ImportError:
        return False
    return True


def loops(*names: str, long: str = "") -> list[Any]:
    """These event loops to test on, or all; the optional ones skip with a reason when absent.

    ``--fast`` takes asyncio alone; the loop ``long`` is added by ``--long``.
    """

    def marks(name: str) -> list[pytest.MarkDecorator]:
        found = [] if _installed(name) else [pytest.mark.skip(reason=f"{name} is not installed")]
        found += [pytest.mark.slow] if name != "asyncio" else []
        return found + ([pytest.mark.long] if name == long else [])

    return [pytest.param(name, marks=marks(name)) for name in names or WAYS]


def _anyio_backends() -> list[Any]:
    options = {"asyncio": ("asyncio", {}), "uvloop": ("asyncio", {"use_uvloop": True}), "trio": ("trio", {})}
    return [pytest.param(options[loop.values[0]], id=loop.values[0], marks=loop.marks) for loop in loops()]


@pytest.fixture(params=_anyio_backends())
def anyio_backend(request: pytest.FixtureRequest) -> object:
    """The event loops on which tests run that are coroutines (``pytest.mark.anyio``)."""
    return request.param


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("flow")
    group.addoption(
        "--fast",
        action="store_true",
        help="only asyncio, few random cases; without tests/bench, tests/docs and what is marked slow",
    )
    group.addoption("--long", action="store_true", help="add what is marked long, and many more random cases")


_share = 1.0  # of the usual number of random cases


def pytest_configure(config: pytest.Config) -> None:
    """Say how many random cases there are, before modules of tests are imported."""
    if config.option.fast and config.option.long:
        raise pytest.UsageError("--fast and --long are opposites: give one of them")
    global _share
    _share = 0.1 if config.option.fast else 2.0 if config.option.long else 1.0
    os.environ.pop("PYTEST_XDIST_WORKER", None)  # sessions of pytest that tests begin are alone: they do measure
    # How fast a machine is says nothing of what is tested.
    slow = [HealthCheck.too_slow]
    settings.register_profile("flow", max_examples=int(100 * _share), deadline=None, suppress_health_check=slow)
    settings.load_profile("flow")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With ``--fast``, do not even import tests of the benchmarks and of the docs."""
    left_out = config.option.fast and collection_path.parent == ROOT / "tests" and collection_path.name in LAST
    return True if left_out else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the options say. The benchmarks go last: they thaw what is frozen below."""
    left_out = {name for name, run in (("slow", not config.option.fast), ("long", config.option.long)) if not run}
    gone = [item for item in items if any(item.get_closest_marker(name) for name in left_out)]
    if gone:
        config.hook.pytest_deselected(items=gone)
        dropped = set(gone)
        items[:] = [item for item in items if item not in dropped]
    items.sort(key=lambda item: item.path.parent.name in LAST)


def named(value: object) -> str:
    """Return the id of a test's parameter: without addresses, since processes that share the tests must agree on it."""
    return _ADDRESS.sub("", str(value))


def share() -> float:
    """Return the share of the usual number of random cases that this session has."""
    return _share


def examples(count: int) -> settings:
    """Settings for so many random cases: a tenth of them with ``--fast``, twice as many with ``--long``."""
    return settings(max_examples=max(1, int(count * _share)), deadline=None, suppress_health_check=[*HealthCheck])


@pytest.fixture(params=loops())
def backend(request: pytest.FixtureRequest) -> str:
    """Each event loop in turn."""
    return str(request.param)


MODES: dict[str, dict[str, Any]] = {
    "auto": {"mode": "auto"},
    "inline": {"mode": "inline"},
    "tasks": {"mode": "tasks"},
    "workers-2": {"mode": "workers", "limit": 2},
    "workers-1": {"mode": "workers", "limit": 1},
    "tasks-1": {"mode": "tasks", "limit": 1},
    "threads": {"executor": "thread", "limit": 3},
    "critical": {"order": "critical_path"},
    "timed": {"timing": True},
    "freeing": {"keep": "targets"},
    "observed": {"observers": [lambda event: None]},
}
"""Every way to drive a run, as settings of a Config. A test that takes a part of them names those: ``modes(...)``."""

DRIVERS = tuple(dict.fromkeys(settings["mode"] for settings in MODES.values() if "mode" in settings))
"""The values of ``Config.mode``."""


def modes(*names: str) -> list[Any]:
    """These ways to drive a run, or all, for ``parametrize``."""
    return [pytest.param(MODES[name], id=name) for name in names or MODES]


def configs(**settings: Any) -> list[Any]:
    """Configs with these settings: one that chooses by itself how to run, and tasks on each event loop."""
    by_itself = pytest.param(flow.Config(**MODES["auto"], **settings), id="auto")
    tasks = flow.Config(**MODES["tasks"], **settings)
    return [by_itself] + [
        pytest.param(tasks.replace(backend=loop.values[0]), id=loop.values[0], marks=loop.marks) for loop in loops()
    ]


@pytest.fixture(params=modes("auto", "inline", "tasks", "workers-2", "tasks-1", "threads", "freeing", "observed"))
def mode(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Ways to drive a run that differ for nodes and maps, each in turn, as settings of a Config."""
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


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run in a folder of its own, and forget what targets imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def collected(dag: flow.Dag | flow.Plan, backend: str = "asyncio", **settings: Any) -> flow.Result:
    """Run with ``on_error="collect"``."""
    return flow.run(dag, config=flow.Config(on_error="collect", backend=backend, **settings))  # type: ignore[arg-type]


def error_of(dag: flow.Dag | flow.Plan, inputs: Any = None, **settings: Any) -> flow.RunError:
    """Run and return the RunError that it must raise."""
    with pytest.raises(flow.RunError) as caught:
        flow.run(dag, inputs, config=flow.Config(**settings))
    return caught.value


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """``busy(seconds)`` holds the event loop for so long, in a time that nothing else moves.

    By that time runs tell who holds the loop, and when to let it turn: on a slow machine too it does so where told.
    """
    now = 1.0

    def hold(seconds: float) -> None:
        nonlocal now
        now += seconds

    for found in pkgutil.walk_packages(import_module("flow.run").__path__, "flow.run."):
        module = import_module(found.name)
        if hasattr(module, "perf_counter"):
            monkeypatch.setattr(module, "perf_counter", lambda: now)
    return hold


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


@pytest.fixture(params=loops("asyncio", "trio"))
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


def pytest_collection_finish() -> None:
    """Hide what collecting made from the collector: thousands of tests, which it would look at again and again."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Show it again what is left: plugins may be looking for something in it."""
    gc.unfreeze()


@pytest.fixture(scope="module")
def frozen() -> Iterator[None]:
    """Hide from the collector what all tests have made: for those that collect often, which would look at it all.

    The benchmarks freeze and thaw too, and would thaw this. It stays hidden: looking at all once more takes long.
    """
    thaw, gc.unfreeze = gc.unfreeze, lambda: None
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze = thaw
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where Python is told to keep no compiled code, keep it here: the processes that tests start would all compile."""
    with pytest.MonkeyPatch.context() as patch:
        if sys.dont_write_bytecode:
            patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
            patch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.mktemp("compiled")))
        yield


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
