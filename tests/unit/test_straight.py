"""Generated code for hot plans: the same runs as the loop's, whatever happens in them."""

from __future__ import annotations

import bdb
import gc
import linecache
import sys
import threading
import traceback
import warnings
from contextvars import ContextVar
from types import FrameType
from typing import Any

import anyio
import pytest

import flow
from flow import Config, Retry, Status
from flow.run.codegen import stretches

HOT = Config(optimize="at_once")
COLD = Config(optimize=False)


def timeless() -> Config:
    """No run is slow by this clock, whatever else the machine does; for slow ones no code is generated."""
    return Config(clock=flow.testing.FakeClock())


def load() -> int:
    return 2


def double(value: int) -> int:
    return 2 * value


def total(*values: int) -> int:
    return sum(values)


def fails(*values: int) -> int:
    raise ValueError(f"cannot take {values}")


def calls_of(plan: flow.Plan) -> int:
    return 0 if plan._kept.inline.made is None else len(plan._kept.inline.made.calls)


def small() -> flow.Dag:
    dag = flow.Dag("small")
    dag.add("load", load)
    dag.add("twice", double, needs=["load"])
    dag.add("sum", total, needs=["load", "twice"])
    return dag


# -- when ------------------------------------------------------------------------------------


def test_code_is_generated_after_so_many_runs() -> None:
    plan = small().compile()
    assert plan._kept.inline.runs_left == stretches.HOT_AFTER == 2_000
    plan._kept.inline.runs_left = 3
    for runs, expected in ((1, 0), (2, 0), (3, 1), (4, 1)):
        assert flow.run(plan, config=timeless()).outputs == {"load": 2, "twice": 4, "sum": 6}
        assert calls_of(plan) == expected, f"after {runs} runs"
    assert plan._kept.inline.runs_left == 0


def test_one_stretch_is_generated_after_each_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stretches, "STRETCH", 3)
    dag = flow.topologies.sparse_random(10, max_in_degree=3, seed=4, fn=total)
    plan = dag.compile()
    expected = dict(flow.run(plan, config=COLD).outputs)
    plan._kept.inline.runs_left = 1
    for made in (1, 2, 3, 4, 4):
        assert flow.run(plan, config=timeless()).outputs == expected
        assert calls_of(plan) == made
    assert plan._kept.inline.made is not None
    assert not plan._kept.inline.made.rest


def test_optimize_false_generates_nothing() -> None:
    plan = small().compile()
    plan._kept.inline.runs_left = 1
    flow.run(plan, config=COLD)
    assert (calls_of(plan), plan._kept.inline.runs_left) == (0, 1)
    flow.run(plan, config=HOT)
    before = flow.run(plan, config=COLD)  # nor is it used
    assert before.outputs == {"load": 2, "twice": 4, "sum": 6}


def test_nothing_is_generated_for_slow_nodes() -> None:
    clock = flow.testing.FakeClock()
    dag = flow.Dag("slow")
    dag.add("wait", lambda: clock.sleep(0.001))
    plan = dag.compile()
    plan._kept.inline.runs_left = 1
    flow.run(plan, config=Config(clock=clock))
    assert (calls_of(plan), plan._kept.inline.runs_left) == (0, stretches.HOT_AFTER)  # and is asked again later


def test_what_cannot_use_it_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = small().compile()
    flow.run(plan, config=HOT)
    assert plan._kept.inline.made is not None

    def never(values: Any, fns: Any) -> None:
        raise AssertionError("generated code was called")

    never.__code__ = never.__code__.replace(co_firstlineno=1)  # its second line is the first node's
    monkeypatch.setattr(plan._kept.inline, "made", stretches.Straight((never,), ()))
    events: list[Any] = []
    for config in (
        COLD,
        HOT.replace(timing=True),
        HOT.replace(observers=(events.append,)),
        HOT.replace(timeout=60.0),
        HOT.replace(keep="targets"),
        HOT.replace(order="critical_path"),
    ):
        assert flow.run(plan, config=config)["sum"] == 6
    assert [type(e).__name__ for e in events].count("NodeFinished") == 3
    with pytest.raises(flow.RunError, match="1 of 3 nodes failed"):
        flow.run(plan, config=HOT)


def test_threads_may_warm_the_same_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stretches, "STRETCH", 7)
    plan = flow.topologies.sparse_random(100, max_in_degree=3, seed=1, fn=total).compile()
    expected = dict(flow.run(plan, config=COLD).outputs)
    wrong: list[Any] = []

    def runs() -> None:
        for _ in range(30):
            found = flow.run(plan, config=timeless()).outputs
            if found != expected:
                wrong.append(dict(found))

    plan._kept.inline.runs_left = 1
    threads = [threading.Thread(target=runs) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert calls_of(plan) == 15


# -- what ------------------------------------------------------------------------------------


def test_inputs_many_arguments_and_an_order_that_is_not_the_definitions() -> None:
    dag = flow.Dag("wide")
    dag.add("all", total, needs=[f"n{i}" for i in range(60)])  # before what it needs
    for i in range(60):
        dag.add(f"n{i}", lambda start, i=i: start + i)
    dag.add("backwards", lambda *values: values, needs=[f"n{i}" for i in reversed(range(60))])
    result = flow.run(dag, {"start": 100}, config=HOT)
    assert result["all"] == 60 * 100 + sum(range(60))
    assert result["backwards"] == tuple(range(159, 99, -1))
    assert list(result.outputs)[:2] == ["all", "n0"]


def test_parts_nested_dags_and_maps() -> None:
    inner = small()
    dag = flow.Dag("outer")
    dag.add("inner", inner)
    dag.add("items", lambda: [1, 2, 3])
    dag.map("twice", double, over="items")
    dag.add("end", lambda twice: sum(twice))
    for _ in range(2):
        result = flow.run(dag, config=HOT)
        assert result["inner"]["sum"] == 6
        assert result["end"] == 12
    part = flow.run(dag, targets="end", config=HOT)
    assert set(part.outputs) == {"items", "twice", "end"}


def test_policies_are_in_it() -> None:
    seen: list[str] = []

    def logged(call: Any, ctx: flow.Context, *values: Any) -> Any:
        seen.append(ctx.node)
        return call(*values)

    tries = iter([ValueError("once"), None])

    def flaky() -> int:
        error = next(tries)
        if error:
            raise error
        return 5

    dag = flow.Dag("policies")
    dag.add("flaky", flaky, retry=Retry(2, delay=0.0))
    dag.add("twice", double, needs=["flaky"], timeout=60.0)

    def look(twice: int, ctx: flow.Context) -> tuple[dict[str, Any], dict[str, str]]:
        return dict(ctx.data.outputs), {name: str(status) for name, status in ctx.data.statuses.items()}

    dag.add("look", look)
    dag.add("last", lambda look: None)
    result = flow.run(dag, config=HOT)
    outputs, statuses = result["look"]
    assert outputs == {"flaky": 5, "twice": 10}
    assert statuses == {"flaky": "completed", "twice": "completed", "look": "running", "last": "pending"}
    tries = iter([None])
    again = flow.run(dag, config=HOT)  # without a failure: straight through
    assert again["look"] == (outputs, statuses)


# -- failure ---------------------------------------------------------------------------------


def failing() -> flow.Dag:
    dag = small()
    dag.add("bad", fails, needs=["sum"])
    dag.add("skipped", total, needs=["bad"])
    dag.add("other", double, needs=["twice"])
    return dag


def frames_of(error: BaseException) -> list[tuple[str, str]]:
    return [(frame.filename, frame.name) for frame in traceback.extract_tb(error.__traceback__)]


@pytest.mark.parametrize("stretch", [1, 2, 4, 500])
def test_a_failure_goes_on_in_the_general_driver(stretch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stretches, "STRETCH", stretch)
    found = []
    for config in (COLD, HOT):
        result = flow.run(failing(), config=config.replace(on_error="collect"))
        error = result.errors["bad"]
        found.append((dict(result.status), dict(result.outputs), repr(error), error.__notes__, frames_of(error)))
    assert found[0] == found[1]
    assert found[1][0]["skipped"] == Status.SKIPPED
    assert found[1][1]["other"] == 8
    assert found[1][4][0][1] == "fails"  # the traceback begins with the user's function


def test_fail_fast_says_the_same() -> None:
    texts = []
    for config in (COLD, HOT):
        with pytest.raises(flow.RunError) as caught:
            flow.run(failing(), config=config)
        texts.append("".join(traceback.format_exception(caught.value)))
    assert "ValueError: cannot take (6,)" in texts[1]
    assert "<flow plan" not in texts[1]
    assert texts[0].count("File") == texts[1].count("File")


def test_an_interrupt_leaves_what_was_done() -> None:
    def interrupts(value: int) -> int:
        raise KeyboardInterrupt

    dag = small()
    dag.add("key", interrupts, needs=["twice"])
    dag.add("after", double, needs=["key"])
    stores = []
    for config in (COLD, HOT):
        data = flow.WorkflowData()
        with pytest.raises(KeyboardInterrupt):
            flow.run(dag, config=config, data=data)
        stores.append((dict(data.outputs), {k: str(v) for k, v in data.statuses.items()}))
    assert stores[0] == stores[1]
    assert stores[1][0] == {"load": 2, "twice": 4, "sum": 6}
    assert stores[1][1]["after"] == "cancelled"


# -- looking at it ---------------------------------------------------------------------------


def test_the_source_can_be_read_and_goes_with_the_plan() -> None:
    plan = small().compile()
    flow.run(plan, config=HOT)
    assert plan._kept.inline.made is not None
    file = plan._kept.inline.made.calls[0].__code__.co_filename
    assert file.startswith("<flow plan 'small'")
    assert linecache.getlines(file) == [
        "def stretch(values, fns, copy):\n",
        "    v0 = values[0] = copy().run(f0)  # load\n",
        "    v1 = values[1] = copy().run(f1, v0)  # twice\n",
        "    v2 = values[2] = copy().run(f2, v0, v1)  # sum\n",
    ]
    linecache.checkcache()
    assert linecache.getline(file, 2).endswith("# load\n")
    del plan
    gc.collect()
    assert file not in linecache.cache


class Debugger(bdb.Bdb):
    """Stops at one function, looks up one frame and goes on."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.stops: list[tuple[str, str]] = []

    def user_call(self, frame: FrameType, argument_list: Any) -> None:
        if frame.f_code.co_name == self.name:
            above = frame.f_back
            assert above is not None
            line = linecache.getline(above.f_code.co_filename, above.f_lineno, above.f_globals)
            self.stops.append((f"{frame.f_locals['value']}", line.strip()))
        self.set_step()

    def user_line(self, frame: FrameType) -> None:
        self.set_step()


def test_a_debugger_stops_in_a_node_and_sees_the_line_that_called_it() -> None:
    plan = small().compile()
    flow.run(plan, config=HOT)
    debugger = Debugger("double")
    outer = sys.gettrace()  # that of coverage
    try:
        debugger.runcall(flow.run, plan, config=HOT)
    finally:
        sys.settrace(outer)
    assert debugger.stops == [("2", "v1 = values[1] = copy().run(f1, v0)  # twice")]


def test_a_warning_of_the_callers_line_names_us_as_the_loop_does() -> None:
    def warns() -> None:
        warnings.warn("look", stacklevel=2)

    dag = flow.Dag("warns")
    dag.add("warns", warns)
    for config in (COLD, HOT):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore")
            warnings.filterwarnings("always", module=r"flow\.")
            flow.run(dag, config=config)
        assert [str(w.message) for w in caught] == ["look"]


# -- on an event loop ------------------------------------------------------------------------


def chain_of(count: int, fn: Any = double) -> flow.Dag:
    dag = flow.Dag("chain")
    dag.add("n0", load)
    for i in range(1, count):
        dag.add(f"n{i}", fn, needs=[f"n{i - 1}"])
    return dag


def test_stretches_of_sync_nodes_are_generated_for_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stretches, "GUARDED_STRETCH", 6)
    dag = chain_of(8)

    async def fetch(value: int) -> int:
        return value + 1

    dag.add("fetch", fetch, needs=["n7"])
    for i in range(3):  # too few
        dag.add(f"m{i}", double, needs=[f"m{i - 1}" if i else "fetch"])
    dag.add("fetch_more", fetch, needs=["m2"])
    for i in range(5):
        dag.add(f"k{i}", double, needs=[f"k{i - 1}" if i else "fetch_more"])
    plan = dag.compile()
    expected = dict(flow.run(plan, config=COLD).outputs)
    plan._kept.on_loop.runs_left = 1
    for heads, warmth in (([0], 1), ([0, 13], 0), ([0, 13], 0)):
        assert flow.run(plan, config=timeless()).outputs == expected
        assert (sorted(plan._kept.on_loop.made or ()), plan._kept.on_loop.runs_left) == (heads, warmth)
    assert [list(plan._kept.on_loop.made[head].part) for head in (0, 13)] == [[0, 1, 2, 3, 4, 5], [13, 14, 15, 16, 17]]


def test_execute_uses_it_and_says_the_same(on_loop: Any) -> None:
    async def main() -> None:
        results = []
        for config in (COLD, HOT):
            dag = failing()
            dag.add("more", double, needs=["other"])
            result = await flow.execute(dag, config=config.replace(on_error="collect"))
            error = result.errors["bad"]
            results.append((dict(result.status), dict(result.outputs), repr(error), error.__notes__, frames_of(error)))
            assert len(result.plan._kept.on_loop.made or ()) == (config is HOT)
        assert results[0] == results[1]

    on_loop(main)


def test_contextvars_stay_with_their_node(on_loop: Any) -> None:
    async def main() -> None:
        var: ContextVar[Any] = ContextVar("var", default="unset")

        class Odd:
            def __eq__(self, other: object) -> bool:
                raise ValueError("cannot be compared")

            __hash__ = None  # type: ignore[assignment]

        def reads(*values: int) -> Any:
            return var.get()

        def sets(*values: int) -> None:
            var.set("changed")

        def sets_odd(*values: int) -> None:
            var.set(Odd())

        for change in (sets, sets_odd):
            for place in range(1, 6):
                dag = flow.Dag("vars")
                for i in range(6):
                    dag.add(f"n{i}", change if i == place else reads)
                result = await flow.execute(dag, config=HOT)
                assert result.plan._kept.on_loop.made
                assert [v for k, v in result.outputs.items() if k != f"n{place}"] == ["unset"] * 5
                assert var.get() == "unset"

    on_loop(main)


def test_a_node_that_holds_the_loop_is_named(on_loop: Any, busy: Any) -> None:
    async def main() -> None:
        def holds(value: int) -> int:
            busy(0.25)
            return value

        dag = chain_of(4)
        dag.add("holds", holds, needs=["n3"])
        dag.add("after", double, needs=["holds"])
        plan = dag.compile()
        with pytest.warns(flow.errors.BlockingNodeWarning, match="node 'holds' held the event loop for 0.2"):
            await flow.execute(plan, config=HOT)
        assert plan._kept.on_loop.made

    on_loop(main)


def test_long_stretches_let_the_loop_turn(on_loop: Any, busy: Any) -> None:
    async def main() -> None:
        ticks = 0

        def works(value: int) -> int:
            busy(0.001)
            return value

        dag = chain_of(60, works)
        plan = dag.compile()

        async def tick() -> None:
            nonlocal ticks
            while True:
                await anyio.sleep(0)
                ticks += 1

        async with anyio.create_task_group() as group:
            group.start_soon(tick)
            result = await flow.execute(plan, config=HOT)
            group.cancel_scope.cancel()
        assert result["n59"] == 2
        assert ticks >= 5
        assert plan._kept.on_loop.made

    on_loop(main)
