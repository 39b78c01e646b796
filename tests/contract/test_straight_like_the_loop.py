"""Generated code tells all as the loop does: builtins, copies, signals, cancellation, and over random Dags."""

from __future__ import annotations

import asyncio
import copy
import datetime
import pickle
import time
import traceback
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

import pytest

import flow
from flow import Config, Retry
from flow.run import pacing
from flow.run.codegen import stretches
from flow.types import MISSING

HOT = Config(optimize="at_once", on_error="collect")
COLD = Config(optimize=False, on_error="collect")


def timeless() -> Config:
    """No run is slow by this clock, whatever else the machine does; for slow ones no code is generated."""
    return Config(clock=flow.testing.FakeClock())


def one() -> int:
    return 1


def total(*values: Any) -> int:
    return len(values)


def run(target: flow.Dag | flow.Plan, config: Config) -> flow.Result:
    return flow.run(target, config=config)


def execute(target: flow.Dag | flow.Plan, config: Config) -> flow.Result:
    return asyncio.run(flow.execute(target, config=config))


both = pytest.mark.parametrize("go", [run, execute])
Go = Callable[[Any, Config], flow.Result]


def row(count: int = 6, fn: Callable[..., Any] = total) -> flow.Dag:
    return flow.topologies.linear(count, fn=fn)


# -- what builtins need of the frame that calls them -----------------------------------------


@both
@pytest.mark.parametrize(
    ("builtin", "expected"),
    [
        (partial(time.strptime, "2020", "%Y"), time.strptime("2020", "%Y")),  # imports, in C
        (partial(datetime.datetime.strptime, "2020", "%Y"), datetime.datetime(2020, 1, 1)),
        (partial(eval, "len('abc')"), 3),
    ],
)
def test_a_builtin_that_imports_or_evaluates_finds_the_builtins(go: Go, builtin: Any, expected: Any) -> None:
    dag = row()
    dag.add("builtin", builtin)
    result = go(dag, HOT)
    assert result.errors == {}
    assert result["builtin"] == expected


# -- copies ----------------------------------------------------------------------------------


@pytest.mark.parametrize("copied", [lambda plan: pickle.loads(pickle.dumps(plan)), copy.copy, copy.deepcopy])
def test_a_hot_plan_can_be_pickled_and_copied_and_the_copy_gets_hot(copied: Any) -> None:
    plan = row(6, total).compile()
    fresh = (plan._kept.inline.runs_left, plan._kept.on_loop.runs_left)
    expected = dict(run(plan, HOT).outputs)
    execute(plan, HOT)
    twin = copied(plan)
    inline, on_loop = twin._kept.inline, twin._kept.on_loop
    assert (inline.made, on_loop.made, (inline.runs_left, on_loop.runs_left)) == (None, None, fresh)
    assert dict(run(twin, HOT).outputs) == dict(execute(twin, HOT).outputs) == expected
    assert inline.made is not None
    assert on_loop.made
    assert plan._kept.inline.made is not None  # the one copied keeps its own
    assert dict(pickle.loads(pickle.dumps(run(plan, HOT))).outputs) == expected


def test_the_copy_of_a_plan_too_short_for_guards_stays_without() -> None:
    assert copy.copy(row(2).compile())._kept.on_loop.runs_left == 0


# -- which node it was -----------------------------------------------------------------------


@both
@pytest.mark.parametrize("stretch", [1, 3, 500])
@pytest.mark.parametrize("config", [COLD, HOT], ids=["cold", "hot"])
def test_a_node_whose_output_is_our_own_mark_is_not_blamed_for_the_next_failure(
    go: Go, stretch: int, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stretches, "STRETCH", stretch)
    called: list[str] = []

    def fails() -> None:
        raise ValueError("it was me")

    dag = flow.Dag("marks")
    dag.add("mark", lambda: MISSING)
    for name in ("a", "b", "c"):
        dag.add(name, partial(called.append, name))
    dag.add("fails", fails)
    dag.add("after", partial(called.append, "after"))
    result = go(dag, config)
    assert {name: str(error) for name, error in result.errors.items()} == {"fails": "it was me"}
    assert called == ["a", "b", "c", "after"]  # once each


def test_an_exception_of_a_signal_handler_after_the_last_node_is_that_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = row(3).compile()
    run(plan, HOT)
    assert plan._kept.inline.made is not None
    stretch = plan._kept.inline.made.calls[0]

    def late() -> None:
        raise TimeoutError("late")

    class Calls(tuple[Any, ...]):
        """Raises between the last stretch and the end, as a handler may."""

        def __iter__(self) -> Any:
            yield stretch
            late()

    monkeypatch.setattr(plan._kept.inline.made, "calls", Calls((stretch,)))
    result = run(plan, HOT)
    assert [(name, str(error)) for name, error in result.errors.items()] == [("n2", "late")]


@pytest.mark.parametrize("config", [COLD, HOT], ids=["cold", "hot"])
def test_an_exception_of_a_signal_handler_between_two_nodes_is_not_lost(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = row().compile()
    execute(plan, config)
    calls = iter(range(100))

    def clock() -> float:  # a handler is called when a function returns, as this one
        if next(calls) == 2:
            raise TimeoutError("late")
        return 0.0

    monkeypatch.setattr(pacing, "perf_counter", clock)
    result = execute(plan, config)
    assert [str(error) for error in result.errors.values()] == ["late"]


def test_a_cancellation_that_a_node_raises_shows_the_same_frames() -> None:
    def cancels(*values: Any) -> None:
        raise asyncio.CancelledError

    dag = row()
    dag.add("cancels", cancels, needs=["n5"])
    frames = []
    for config in (COLD, HOT):
        error = execute(dag, config).errors["cancels"]
        assert isinstance(error, flow.errors.NodeCancelled)
        assert error.__cause__ is not None
        frames.append([frame.name for frame in traceback.extract_tb(error.__cause__.__traceback__)])
    assert frames == [["cancels"], ["cancels"]]


# -- generating ------------------------------------------------------------------------------


def never(*_: Any, **__: Any) -> Any:
    raise RecursionError("no room to compile")


@both
def test_a_run_goes_well_where_code_cannot_be_generated(go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stretches, "generated", never)
    plan = row().compile()
    expected = dict(go(plan, COLD).outputs)
    plan._kept.inline.runs_left = plan._kept.on_loop.runs_left = 1
    assert go(plan, timeless()).outputs == expected
    assert stretches.HOT_AFTER in (plan._kept.inline.runs_left, plan._kept.on_loop.runs_left)  # asked again later
    assert go(plan, HOT).outputs == expected


def test_warming_what_is_all_there_is_harmless() -> None:
    plan = row().compile()
    run(plan, HOT)
    made = plan._kept.inline.made
    plan._kept.inline.runs_left = 1  # as when one thread has generated all while another was about to
    assert run(plan, timeless()).ok
    assert made is not None
    assert plan._kept.inline.made is not None
    assert (plan._kept.inline.made.calls, plan._kept.inline.runs_left) == (made.calls, 0)


def test_code_with_guards_is_generated_in_short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stretches, "GUARDED_STRETCH", 4)
    plan = row(12).compile()
    plan._kept.on_loop.runs_left = 1
    made = []
    for _ in range(4):
        assert execute(plan, timeless())["n11"] == 1
        made.append((sorted(plan._kept.on_loop.made or ()), plan._kept.on_loop.runs_left))
    assert made == [([0], 1), ([0, 4], 1), ([0, 4, 8], 0), ([0, 4, 8], 0)]


# -- tasks -----------------------------------------------------------------------------------


class Stop(BaseException):
    """No Exception, and no node's."""


@pytest.mark.parametrize("waits_first", [False, True])
def test_a_base_exception_of_a_retry_predicate_is_not_lost(waits_first: bool) -> None:
    def stops(error: BaseException) -> bool:
        raise Stop

    async def fails(*values: Any) -> None:
        await asyncio.sleep(0)
        raise ValueError

    async def waits() -> None:
        await asyncio.sleep(0)

    def fails_at_once() -> None:
        raise ValueError

    dag = flow.Dag("stops")
    dag.add("first", waits if waits_first else one)
    dag.add("fails", fails if waits_first else fails_at_once, retry=Retry(2, delay=0.0, retry_if=stops))
    with pytest.raises(Stop):
        execute(dag, HOT)


# -- random Dags -----------------------------------------------------------------------------


def world(seed: int) -> tuple[flow.Dag, list[str]]:
    """A Dag of sync nodes with all kinds of policies, and the log of its calls."""
    random = Random(seed)
    dag, log = flow.Dag("world"), list[str]()
    names: list[str] = []
    for i in range(random.choice([1, 4, 12, 40])):
        name = f"n{i}"
        fails = random.choice([1, 2, 99]) if random.random() < 0.15 else 0

        def call(*values: Any, name: str = name, left: list[int] = [fails]) -> Any:  # noqa: B006
            log.append(name)
            left[0] -= 1
            if left[0] >= 0:
                raise ValueError(name)
            return (name, len(values))

        def looks(ctx: flow.Context) -> Any:
            return dict(ctx.data.outputs), {k: str(v) for k, v in ctx.data.statuses.items()}

        def around(call: Any, ctx: flow.Context, *values: Any) -> Any:
            log.append(f"around {ctx.node}")
            return call(*values)

        def marks(*values: Any) -> Any:
            return MISSING

        inner = flow.Dag("inner")
        inner.add("a", partial(call))
        inner.add("b", total, needs=["a"])
        fn: Any = random.choice([call, call, call, call, looks, marks, inner])
        found = random.sample(names, min(len(names), random.choice([0, 1, 2, 3])))
        takes = fn not in (looks, inner)
        dag.add(
            name,
            fn,
            needs=found if takes else [],
            after=[] if takes else found,
            retry=random.choice([None, None, Retry(2, delay=0.0)]),
            middleware=random.choice([(), (), [around]]),
            continue_on_error=random.random() < 0.2,
            priority=random.choice([0, 0, 1]),
        )
        names.append(name)
    return dag, log


def told(seed: int, go: Go, config: Config, heat: int = 0) -> Any:
    dag, log = world(seed)
    plan = dag.compile()
    if heat:
        plan._kept.inline.runs_left, plan._kept.on_loop.runs_left = heat, min(heat, plan._kept.on_loop.runs_left)
    result = go(plan, config)
    errors = {name: (repr(error), error.__notes__) for name, error in result.errors.items()}
    return log, dict(result.outputs), dict(result.status), errors, dict(result.attempts)


@both
@pytest.mark.parametrize("seed", range(40))
def test_all_is_told_as_the_loop_tells_it(go: Go, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stretches, "STRETCH", 1 + seed % 5)
    monkeypatch.setattr(stretches, "GUARDED_STRETCH", 1 + seed % 5)
    monkeypatch.setattr(stretches, "LEAST", 1 + seed % 4)
    # or a slow machine lets the event loop turn at other places
    monkeypatch.setattr(pacing, "perf_counter", lambda: 0.0)
    expected = told(seed, go, COLD)
    assert told(seed, go, HOT) == expected
    assert told(seed, go, HOT.replace(optimize=True), heat=1) == expected
