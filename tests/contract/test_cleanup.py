"""Cleanup and teardowns in every mode and on every loop: what they run after, what ends a run, how long they take."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import anyio
import pytest
import trio
from conftest import ROOT

import flow
from flow.errors import ConfigError, DefinitionError, UsageError
from flow.run import events
from flow.types import Status

MODES: Mapping[str, dict[str, Any]] = {
    "inline": {},
    "asyncio": {"mode": "async"},
    "bounded": {"mode": "async", "limit": 1},
    "workers": {"mode": "workers", "limit": 2},
    "threads": {"executor": "thread"},
    "trio": {"mode": "async", "backend": "trio"},
    "uvloop": {"mode": "async", "backend": "uvloop"},
}
LOOPS = ("asyncio", "uvloop", "trio")


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(MODES[request.param])


def run(
    dag: flow.Dag, mode: Mapping[str, Any], inputs: Any = None, known: Any = None, targets: Any = None, **settings: Any
) -> flow.Result:
    """Run it; a run that is not ok gives its Result as well."""
    if mode.get("mode") == "async":
        mode = {key: value for key, value in mode.items() if key != "mode"}
        if "waits" not in dag:
            dag.add("waits", _waits, cleanup=True)
    try:
        return flow.run(dag, inputs, known=known, targets=targets, config=flow.Config(**mode, **settings))
    except flow.RunError as error:
        return error.result


async def _waits() -> None:
    await anyio.sleep(0)


def on(loop: str, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    """Call an async function on an event loop."""
    if loop == "trio":
        return trio.run(function, *args)
    return anyio.run(function, *args, backend_options={"use_uvloop": loop == "uvloop"})


def statuses(result: flow.Result) -> dict[str, str]:
    return {name: str(status) for name, status in result.status.items() if name != "waits"}


class Log:
    """Functions that note their calls."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def __call__(self, name: str, raises: BaseException | None = None) -> Callable[[], str]:
        def called() -> str:
            self.calls.append(name)
            if raises is not None:
                raise raises
            return name

        return called


def job(log: Log, raises: BaseException | None = None) -> flow.Dag:
    """connect -> work, a teardown, and cleanup that is defined first."""
    dag = flow.Dag("job")

    def close(work: flow.Outcome[str]) -> Status | str:
        log.calls.append("close")
        return work.status

    def disconnect(connect: str) -> str:
        log.calls.append("disconnect")
        return connect

    dag.add("close", close, cleanup=True)
    dag.add("connect", log("connect"))
    dag.teardown("disconnect", disconnect, of="connect")
    dag.add("work", log("work", raises), after=["connect"])
    dag.add("other", log("other"), after=["work"])
    return dag


class TestOrder:
    def test_cleanup_runs_last_and_a_teardown_after_its_setup(self, mode: dict[str, Any]) -> None:
        log = Log()
        result = run(job(log), mode)
        assert log.calls == ["connect", "work", "other", "disconnect", "close"] and result.ok
        assert (result["close"], result["disconnect"]) == ("completed", "connect")
        assert result.why("close") == "node 'close' completed: it runs whatever happened (cleanup)"
        assert result.why("disconnect") == (
            "node 'disconnect' completed: it is the teardown of node 'connect', which completed"
        )

    @pytest.mark.parametrize("on_error", ["fail_fast", "collect"])
    def test_after_a_failure(self, mode: dict[str, Any], on_error: str) -> None:
        """A cleanup that does not run when a run has failed (airflow PR#45530)."""
        log = Log()
        result = run(job(log, OSError("down")), mode, on_error=on_error)
        assert log.calls == ["connect", "work", "disconnect", "close"]
        assert statuses(result) == {
            "close": "completed", "connect": "completed", "disconnect": "completed", "work": "failed",
            "other": "skipped",
        }  # fmt: skip
        assert result["close"] == "failed" and not result.ok

    def test_a_teardown_of_what_did_not_complete_is_bypassed(self, mode: dict[str, Any]) -> None:
        dag = flow.Dag("d")
        dag.add("bad", Log()("bad", OSError("down")), fallback=None)
        dag.add("worse", Log()("worse", OSError("down")), continue_on_error=True)
        dag.add("never", lambda: 1, when=lambda: False)
        dag.add("skipped", lambda worse: worse)
        for setup in ("bad", "worse", "never", "skipped"):
            dag.teardown(f"after_{setup}", lambda: "torn down", of=setup)
        result = run(dag, mode)
        found = {name: status for name, status in statuses(result).items() if name.startswith("after")}
        assert found == {
            "after_bad": "completed",  # its fallback stands in: it has completed
            "after_worse": "bypassed", "after_never": "bypassed", "after_skipped": "bypassed",
        }  # fmt: skip
        assert result.why("after_worse") == "node 'after_worse' was bypassed: node 'worse', its setup, failed"
        assert result.why("after_never") == "node 'after_never' was bypassed: node 'never', its setup, was bypassed"

    def test_a_teardown_waits_for_all_descendants_of_its_setup_and_for_no_other(self) -> None:
        order: list[str] = []
        gate = asyncio.Event()

        async def slow() -> None:
            await gate.wait()
            order.append("slow")

        async def teardown(server: str) -> None:
            order.append("teardown")
            gate.set()

        dag = flow.Dag("d")
        dag.add("server", lambda: "server")
        dag.add("a", lambda server: order.append("a"))
        dag.add("b", lambda a: order.append("b"))
        dag.add("slow", slow)
        dag.teardown("teardown", teardown, of="server")
        assert flow.run(dag).ok
        assert order == ["a", "b", "teardown", "slow"]

    def test_a_skipped_descendant_does_not_let_it_begin_early(self) -> None:
        """``both`` is skipped at once, and ``slow``, which it also waits for, still uses the setup."""
        order: list[str] = []

        async def slow(server: str) -> None:
            await anyio.sleep(0.02)
            order.append("slow")

        async def bad(server: str) -> None:
            raise OSError("down")

        dag = flow.Dag("d")
        dag.add("server", lambda: "server")
        dag.add("slow", slow)
        dag.add("bad", bad)
        dag.add("both", lambda slow, bad: None)
        dag.teardown("teardown", lambda server: order.append("teardown"), of="server")
        flow.run(dag, config=flow.Config(on_error="collect"))
        assert order == ["slow", "teardown"]

    def test_cleanup_depends_on_cleanup_and_teardowns_on_teardowns(self, mode: dict[str, Any]) -> None:
        log = Log()
        dag = flow.Dag("d")
        dag.add("c", lambda b=None: log("c")() + str(b), cleanup=True)
        dag.add("b", log("b"), cleanup=True)
        dag.teardown("u", log("u"), of="s", after=["t"])
        dag.teardown("t", log("t"), of="s")
        dag.add("s", log("s"))
        result = run(dag, mode)
        assert log.calls == ["s", "t", "u", "b", "c"] and result["c"] == "cb"
        order = [name for name in dag.compile().topological_order() if name != "waits"]
        assert order == ["s", "t", "u", "b", "c"]

    def test_a_dag_of_cleanup_alone(self, mode: dict[str, Any]) -> None:
        dag = flow.Dag("d")
        dag.add("a", lambda: 1, cleanup=True)
        assert run(dag, mode)["a"] == 1


class TestSize:
    def test_gates_are_linear(self) -> None:
        """A chain of which each node has a teardown: all of them wait for its end, and the first for all nodes."""
        count = 6_000
        order: list[int] = []
        dag = flow.Dag("d")
        dag.add("close", lambda: order.append(-1), cleanup=True)
        for i in range(count):
            dag.teardown(f"t{i}", partial(order.append, i), of=f"n{i}")
            dag.add(f"n{i}", int, after=[f"n{i - 1}"] if i else [])
        assert flow.run(dag).ok
        assert sorted(order) == list(range(-1, count)) and order[-1] == -1
        assert dag.compile().topological_order()[-1] == "close"

    def test_a_copied_plan_and_one_that_grows(self) -> None:
        dag = flow.Dag("d")
        dag.add("a", len, needs=["b"])
        dag.add("b", str)
        assert not dag.compile()._nodes.cleans
        dag.teardown("t", len, of="b", needs=["b"])
        dag.add("c", int, cleanup=True)
        plan = pickle.loads(pickle.dumps(dag.compile()))
        assert flow.run(plan).ok and flow.run(plan).ok  # gates are each run's own
        assert plan.topological_order() == ["b", "a", "t", "c"]

    def test_cancelled_as_a_whole(self) -> None:
        count = 6_000
        order: list[int] = []
        dag = flow.Dag("d")
        dag.add("n0", int)
        dag.add("n1", Log()("n1", KeyboardInterrupt()), after=["n0"])
        for i in range(2, count):
            dag.add(f"n{i}", int, after=[f"n{i - 1}"])
        for i in range(count):
            dag.teardown(f"t{i}", partial(order.append, i), of=f"n{i}")
        with pytest.raises(KeyboardInterrupt):
            flow.run(dag)
        assert order == [0]


class TestOptions:
    def test_conditions_and_joins(self, mode: dict[str, Any]) -> None:
        dag = flow.Dag("d")
        dag.add("good", lambda: 1)
        dag.add("bad", Log()("bad", OSError("down")), continue_on_error=True)
        for name, after, join in (
            ("plain", ["good", "bad"], "all"),
            ("if_failed", {"bad": "failed"}, "all"),
            ("if_good_failed", {"good": "failed"}, "all"),
            ("if_completed", {"good": "completed"}, "all"),
            ("one_failed", {"good": "completed", "bad": "done"}, "failed"),
            ("two", ["good", "bad"], 2),
            ("some", ["good"], "some"),
        ):
            dag.add(name, lambda: None, after=after, join=join, cleanup=True)
        found = statuses(run(dag, mode))
        assert {name: found[name] for name in list(found)[2:]} == {
            "plain": "completed", "if_failed": "completed", "if_good_failed": "bypassed", "if_completed": "completed",
            "one_failed": "bypassed", "two": "completed", "some": "completed",
        }  # fmt: skip

    def test_when_retry_timeout_and_defaults(self, mode: dict[str, Any]) -> None:
        tries: list[int] = []

        def flaky(ctx: flow.Context, work: int = 7) -> tuple[int, int]:
            tries.append(ctx.attempt)
            if len(tries) < 3:
                raise OSError("not yet")
            return ctx.attempt, work

        dag = flow.Dag("d")
        dag.add("work", Log()("work", OSError("down")))
        dag.add("flaky", flaky, cleanup=True, retry=flow.Retry(3, delay=0.0), timeout=10.0)
        dag.add("asked", lambda: 1, cleanup=True, when=lambda work=0: work > 0)
        result = run(dag, mode)
        assert result["flaky"] == (3, 7) and statuses(result)["asked"] == "bypassed"

    def test_a_condition_of_a_teardown_takes_the_setup(self, mode: dict[str, Any]) -> None:
        dag = flow.Dag("d")
        dag.add("setup", lambda: 3)
        dag.teardown("t", lambda setup: setup, of="setup", when=lambda setup: setup == 3)
        dag.teardown("u", lambda setup: setup, of="setup", when=lambda setup: setup == 4)
        assert statuses(run(dag, mode)) == {"setup": "completed", "t": "completed", "u": "bypassed"}

    def test_maps_folds_and_dags_clean_up(self, mode: dict[str, Any]) -> None:
        inner = flow.Dag("inner")
        inner.add("x", lambda: 1)
        dag = flow.Dag("d")
        dag.add("paths", lambda: [1, 2])
        dag.map("remove", lambda path: -path, over="rest", cleanup=True)
        dag.add("sub", inner, cleanup=True)
        dag.add("bad", Log()("bad", OSError("down")))
        result = run(dag, mode, inputs={"rest": [1, 2]})
        assert result["remove"] == [-1, -2] and result["sub"]["x"] == 1

    def test_its_failure_stops_nothing_and_comes_last(self, mode: dict[str, Any]) -> None:
        log = Log()
        dag = flow.Dag("d")
        dag.add("setup", log("setup"))
        dag.teardown("t", log("t", KeyError("teardown")), of="setup")
        dag.add("c", log("c", ValueError("cleanup")), cleanup=True)
        dag.add("d", log("d"), cleanup=True, after=["c"])
        dag.add("later", log("later"), priority=-1)
        result = run(dag, mode)
        assert set(log.calls) == {"setup", "t", "later", "c", "d"} and not result.ok
        error = result.error()
        assert error is not None and error.nodes == ("t", "c")

    def test_the_errors_of_cleanup_come_after_the_nodes_own(self, mode: dict[str, Any]) -> None:
        """Though the teardown fails first."""
        dag = flow.Dag("d")
        dag.add("setup", lambda: 1)
        dag.teardown("t", Log()("t", KeyError("teardown")), of="setup", priority=5)
        dag.add("bad", Log()("bad", OSError("down")), priority=-5)
        result = run(dag, mode, on_error="collect")
        error = result.error()
        assert error is not None and error.nodes == ("bad", "t")

    def test_it_handles_no_failure(self, mode: dict[str, Any]) -> None:
        log = Log()
        dag = flow.Dag("d")
        dag.add("bad", log("bad", OSError("down")), priority=5)
        dag.add("c", log("c"), after={"bad": "failed"}, cleanup=True)
        dag.add("next", log("next"), after=["bad"])
        result = run(dag, mode)
        assert statuses(result)["c"] == "completed" and not result.ok
        assert list(result.error().nodes) == ["bad"]  # type: ignore[union-attr]

    def test_tolerated(self, mode: dict[str, Any]) -> None:
        dag = flow.Dag("d")
        dag.add("a", lambda: 1)
        dag.add("c", Log()("c", OSError("down")), cleanup=True, continue_on_error=True)
        assert run(dag, mode).ok

    def test_observers_hooks_and_times_see_it_as_any_node(self, mode: dict[str, Any]) -> None:
        seen: list[Any] = []
        told: list[Any] = []
        log = Log()
        result = run(
            job(log, OSError("down")), mode, observers=(seen.append,), timing=True, on_outcome=lambda: told.append
        )
        started = [event.node for event in seen if isinstance(event, events.NodeStarted)]
        assert [name for name in started if name != "waits"] == ["connect", "work", "disconnect", "close"]
        assert {record.node: str(record.status) for record in told if record.node != "waits"} == statuses(result)
        assert {"close", "disconnect"} <= result.durations.keys()
        assert sum(result.counts.values()) == len(result.plan)

    def test_what_is_left_out_is_told_with_its_setup(self, mode: dict[str, Any]) -> None:
        seen: list[Any] = []
        dag = flow.Dag("d")
        dag.add("never", lambda: 1, when=lambda: False)
        dag.teardown("t", lambda: 1, of="never")
        run(dag, mode, observers=(seen.append,))
        causes = {event.node: event.cause for event in seen if isinstance(event, events.NodeBypassed)}
        assert causes == {"never": "never", "t": "never"}

    def test_freed_outputs(self, mode: dict[str, Any]) -> None:
        """A node that only cleanup reads is one without dependants."""
        dag = flow.Dag("d")
        dag.add("first", lambda: 1)
        dag.add("report", lambda first: first + 1)
        dag.add("c", lambda first=0, report=0: (first, report), cleanup=True)
        result = run(dag, mode, keep="targets")
        assert result["c"] == (1, 2) and result["report"] == 2 and "first" not in result


class TestParts:
    def dag(self, log: Log) -> flow.Dag:
        def close(work: flow.Outcome[str], other: str = "none", *, connect: str = "none") -> tuple[str, str, str]:
            log.calls.append("close")
            return str(work.status), other, connect

        dag = job(log)
        dag.add("close", close, cleanup=True, replace=True)
        return dag

    def test_targets(self, mode: dict[str, Any]) -> None:
        log = Log()
        result = run(self.dag(log), mode, targets=["connect"])
        assert log.calls == ["connect", "disconnect", "close"]
        assert result["close"] == ("pending", "none", "connect")

    def test_a_target_without_the_setup_has_no_teardown(self, mode: dict[str, Any]) -> None:
        log = Log()
        dag = self.dag(log)
        dag.add("alone", log("alone"))
        result = run(dag, mode, targets=["alone"])
        assert log.calls == ["alone", "close"] and "disconnect" not in result.status
        assert result["close"] == ("pending", "none", "none")

    @pytest.mark.parametrize("target", ["disconnect", "close"])
    def test_cleanup_as_the_target_brings_what_it_depends_on(self, target: str) -> None:
        log = Log()
        result = flow.run(self.dag(log), targets=[target])
        assert "disconnect" in result and "close" in result
        assert ("other" in result) == (target == "close")

    def test_a_condition_reads_a_node_that_is_left_out(self) -> None:
        dag = flow.Dag("d")
        dag.add("a", lambda: 1)
        dag.add("b", lambda: 2)
        dag.add("c", lambda: 3, cleanup=True, when=lambda b=0, a=0: (a, b) == (1, 0))
        assert flow.run(dag, targets=["a"])["c"] == 3

    def test_a_subgraph_is_a_dag_with_its_cleanup(self) -> None:
        log = Log()
        dag = self.dag(log)
        dag.add("asked", lambda: "asked", cleanup=True, when=lambda other="none": other == "none")
        part = dag.subgraph("connect")
        assert set(part.names) == {"close", "connect", "disconnect", "asked"}
        result = flow.run(part)
        assert result["close"] == ("pending", "none", "connect") and result["asked"] == "asked"
        assert flow.run(dag.subgraph("other"))["close"] == ("completed", "other", "connect")

    def test_included_cleanup_belongs_to_the_whole_run(self, mode: dict[str, Any]) -> None:
        log = Log()
        outer = flow.Dag("outer")
        outer.add("before", log("before"))
        outer.include(self.dag(log), prefix="in", after="before")
        outer.add("after", log("after"), after=["in.other"], priority=-1)
        result = run(outer, mode)
        assert log.calls == ["before", "connect", "work", "other", "after", "disconnect", "close"]
        assert result["in.disconnect"] == "connect" and result["in.close"] == ("completed", "other", "connect")

    def test_included_conditions_stay(self) -> None:
        inner = flow.Dag("inner")
        inner.add("a", lambda: 1)
        inner.add("bad", lambda: 1, after={"a": "failed"}, cleanup=True)
        inner.add("good", lambda a=0: a, after={"a": "completed"}, cleanup=True)
        inner.add("some", lambda: 2, after=["a"], join="some", cleanup=True)
        outer = flow.Dag("outer")
        outer.include(inner, prefix="in")
        assert statuses(flow.run(outer)) == {
            "in.a": "completed", "in.bad": "bypassed", "in.good": "completed", "in.some": "completed",
        }  # fmt: skip


class TestKnown:
    def test_a_known_outcome_of_cleanup_is_not_taken(self, mode: dict[str, Any]) -> None:
        log = Log()
        result = run(job(log), mode, known={"close": "known", "disconnect": "known", "connect": "socket"})
        assert log.calls == ["work", "other", "disconnect", "close"]
        assert result["disconnect"] == "socket" and result.known == ("connect",)

    def test_a_retry_after_a_teardown_runs_the_setup_again(self, mode: dict[str, Any]) -> None:
        log = Log()
        earlier = run(job(log, OSError("down")), mode)
        assert log.calls == ["connect", "work", "disconnect", "close"]
        log.calls.clear()
        result = run(job(log), mode, known=earlier)
        assert log.calls == ["connect", "work", "other", "disconnect", "close"] and result.known == ()

    def test_a_setup_whose_teardown_was_left_out_stays_known(self) -> None:
        log = Log()

        def dag(raises: Exception | None) -> flow.Dag:
            made = flow.Dag("d")
            made.add("s", log("s"))
            made.teardown("t", log("t"), of="s", when=lambda: raises is None)
            made.add("work", log("work", raises), after=["s"])
            return made

        earlier = run(dag(OSError("down")), {})
        log.calls.clear()
        assert flow.run(dag(None), known=earlier).ok and log.calls == ["work", "t"]

    def test_a_known_failure(self, mode: dict[str, Any]) -> None:
        log = Log()
        down = flow.Outcome("failed", error=OSError("known"))
        result = run(job(log), mode, known={"work": down, "connect": "c"})
        assert log.calls == ["disconnect", "close"] and not result.ok


class TestEnds:
    """What ends a run: it cleans up all the same."""

    @pytest.mark.parametrize("loop", LOOPS)
    def test_a_time_limit(self, loop: Any) -> None:
        log = Log()
        dag = job(log)
        dag.add("hangs", anyio.sleep_forever)
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, config=flow.Config(timeout=0.2, backend=loop))
        assert caught.value.timed_out and log.calls[-2:] == ["disconnect", "close"]
        assert statuses(caught.value.result)["hangs"] == "cancelled"

    def test_a_time_limit_inline(self) -> None:
        log, clock = Log(), flow.testing.FakeClock()
        dag = job(log)
        dag.add("work", lambda: clock.sleep(5.0), after=["connect"], replace=True)
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, config=flow.Config(timeout=3.0, clock=clock))
        assert caught.value.timed_out and log.calls == ["connect", "disconnect", "close"]

    def test_a_limit_that_passes_while_it_cleans_up_cuts_nothing_off(self) -> None:
        clock = flow.testing.FakeClock()
        dag = flow.Dag("d")
        dag.add("a", lambda: 1)
        for name in ("b", "c"):
            dag.add(name, lambda: clock.sleep(4.0), cleanup=True)
        dag.map("items", lambda item: clock.sleep(4.0), over="paths", cleanup=True)
        result = flow.run(dag, {"paths": [1, 2, 3]}, config=flow.Config(timeout=3.0, clock=clock))
        assert result.ok and not result.timed_out

    @pytest.mark.parametrize("loop", LOOPS)
    def test_a_limit_that_passes_in_cleanup_on_a_loop(self, loop: Any) -> None:
        dag = flow.Dag("d")
        dag.add("a", lambda: 1)
        dag.add("slow", lambda: None, cleanup=True, admission=_for_a_moment)
        dag.add("after", lambda: 1, cleanup=True, after=["slow"])
        assert flow.run(dag, config=flow.Config(timeout=0.01, backend=loop)).ok

    @pytest.mark.parametrize("loop", LOOPS)
    def test_a_cancellation(self, loop: str) -> None:
        """A cleanup that does not run when a run is cancelled by hand (airflow PR#45530)."""
        log, cancels = Log(), Cancels()
        dag = job(log)
        dag.add("hangs", cancels.hangs, after=["other"])
        dag.add("slow", _for_a_moment_and(log), cleanup=True)

        async def cancelled() -> None:
            with cancels:
                await flow.execute(dag)
            assert cancels.scope.cancelled_caught

        on(loop, cancelled)
        assert log.calls[-3:] == ["disconnect", "close", "slow"]

    def test_a_second_cancellation_does_not_end_cleanup(self) -> None:
        log, begun = Log(), asyncio.Event()
        dag = job(log)

        async def hangs() -> None:
            begun.set()
            await anyio.sleep_forever()

        dag.add("hangs", hangs, after=["other"])
        dag.add("slow", _for_a_moment_and(log), cleanup=True)
        dag.add("last", log("last", KeyError("cleanup")), after=["slow"], cleanup=True)

        async def cancelled() -> None:
            task = asyncio.create_task(flow.execute(dag))
            await begun.wait()
            for _ in range(5):
                task.cancel()
                await asyncio.sleep(0.004)
            with pytest.raises(asyncio.CancelledError) as caught:
                await task
            assert caught.value.__notes__ == ["while the run ended, node 'last' raised KeyError: 'cleanup'"]

        asyncio.run(cancelled())
        assert log.calls[-2:] == ["slow", "last"]

    @pytest.mark.parametrize("loop", LOOPS)
    def test_a_cancellation_while_it_cleans_up_after_a_failure(self, loop: str) -> None:
        """The failure is raised, as it would have been without the cancellation."""
        log, cancels = Log(), Cancels()
        dag = job(log, OSError("down"))
        dag.add("slow", cancels.slow(log), cleanup=True)

        async def cancelled() -> None:
            with cancels, pytest.raises(flow.RunError) as caught:
                await flow.execute(dag)
            assert caught.value.nodes == ("work",)

        on(loop, cancelled)
        assert log.calls[-1] == "slow"

    def test_a_task_that_is_cancelled_while_it_cleans_up_after_a_failure(self) -> None:
        """As from a TaskGroup: the failure is raised, and the next await gets the cancellation (Python 3.13)."""
        log, begun = Log(), asyncio.Event()
        dag = job(log, OSError("down"))

        async def slow() -> None:
            begun.set()
            await anyio.sleep(0.01)
            log.calls.append("slow")

        dag.add("slow", slow, cleanup=True)
        ends: list[str] = []

        async def caller() -> None:
            try:
                await flow.execute(dag, config=flow.Config(on_error="fail_fast"))
            except flow.RunError:
                ends.append("failed")
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                ends.append("cancelled")

        async def cancelled() -> None:
            task = asyncio.create_task(caller())
            await begun.wait()
            task.cancel()
            await task

        asyncio.run(cancelled())
        assert log.calls[-1] == "slow"
        assert ends == (["failed", "cancelled"] if sys.version_info >= (3, 13) else ["failed"])

    @pytest.mark.parametrize("loop", LOOPS)
    def test_a_cancellation_while_it_cleans_up_after_success(self, loop: str) -> None:
        """What runs goes to its end, what is left runs, and the cancellation goes on."""
        log, cancels = Log(), Cancels()
        dag = job(log)
        dag.add("slow", cancels.slow(log), cleanup=True)
        dag.add("then", log("then"), cleanup=True, after=["slow"])

        async def cancelled() -> None:
            with cancels:
                await flow.execute(dag)
            assert cancels.scope.cancelled_caught

        on(loop, cancelled)
        assert log.calls[-2:] == ["slow", "then"]

    @pytest.mark.parametrize("loop", LOOPS)
    @pytest.mark.parametrize("begun", [True, False])
    def test_cancelling_ends_the_run_within_cleanup_timeout(self, loop: str, begun: bool) -> None:
        """``always()`` that defeats cancelling (actions/runner#491)."""
        log, cancels = Log(), Cancels()
        dag = flow.Dag("d")
        dag.add("first", cancels.hangs if not begun else log("first"))
        dag.add("hangs", cancels.hangs if begun else anyio.sleep_forever, cleanup=True)
        dag.add("never", log("never"), after=["hangs"], cleanup=True)
        seen: dict[str, type] = {}
        config = flow.Config(cleanup_timeout=0.05, observers=(lambda event: _note(seen, event),))

        async def cancelled() -> float:
            began = time.monotonic()
            with cancels:
                await flow.execute(dag, config=config)
            assert cancels.scope.cancelled_caught
            return time.monotonic() - began

        assert on(loop, cancelled) < 20
        assert seen["hangs"] is seen["never"] is events.NodeCancelled and "never" not in log.calls

    @pytest.mark.parametrize("loop", LOOPS)
    def test_cleanup_that_hangs_after_a_failure(self, loop: Any) -> None:
        dag = flow.Dag("d")
        dag.add("bad", Log()("bad", OSError("down")))
        dag.add("hangs", anyio.sleep_forever, cleanup=True)
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, config=flow.Config(cleanup_timeout=0.02, backend=loop))
        assert statuses(caught.value.result) == {"bad": "failed", "hangs": "cancelled"}
        assert caught.value.nodes == ("bad",) and not caught.value.timed_out

    def test_cleanup_that_takes_too_long_inline(self) -> None:
        """The limit is looked at between calls: of nodes, and of a map's items."""
        log, clock = Log(), flow.testing.FakeClock()
        dag = flow.Dag("d")
        dag.add("bad", log("bad", OSError("down")))

        def slow(path: int) -> None:
            log.calls.append(path)
            clock.sleep(3.0)

        dag.map("slow", slow, over="paths", cleanup=True)
        dag.add("never", log("never"), after=["slow"], cleanup=True)
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, {"paths": range(9)}, config=flow.Config(cleanup_timeout=5.0, clock=clock))
        assert log.calls == ["bad", 0, 1]
        assert statuses(caught.value.result) == {"bad": "failed", "slow": "cancelled", "never": "cancelled"}

    def test_a_retry_that_waits_when_the_run_ends(self) -> None:
        """A teardown waits for its second attempt, and the run ends meanwhile."""
        tries: list[int] = []
        failing = asyncio.Event()

        async def teardown(setup: int) -> str:
            tries.append(setup)
            if len(tries) == 1:
                failing.set()
                raise OSError("not yet")
            return "torn down"

        async def bad() -> None:
            await failing.wait()
            raise ValueError("ends the run")

        dag = flow.Dag("d")
        dag.add("setup", lambda: 1)
        dag.teardown("t", teardown, of="setup", retry=flow.Retry(2, delay=60.0, jitter=0.0))
        dag.add("bad", bad)
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag)
        assert caught.value.result["t"] == "torn down" and tries == [1, 1]

    def test_an_attempt_that_fails_while_the_run_ends_is_tried_again(self) -> None:
        tries: list[int] = []
        begun = asyncio.Event()

        async def teardown(setup: int) -> str:
            tries.append(setup)
            if len(tries) == 1:
                begun.set()
                await anyio.sleep(0.01)
                raise OSError("not yet")
            return "torn down"

        async def bad() -> None:
            await begun.wait()
            raise ValueError("ends the run")

        dag = flow.Dag("d")
        dag.add("setup", lambda: 1)
        dag.teardown("t", teardown, of="setup", retry=flow.Retry(2, delay=0.0))
        dag.add("bad", bad)
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag)
        assert caught.value.result["t"] == "torn down" and tries == [1, 1]

    @pytest.mark.parametrize("loop", LOOPS)
    def test_an_exit_in_a_node(self, loop: Any) -> None:
        log = Log()
        dag = job(log, KeyboardInterrupt())
        dag.add("slow", _for_a_moment_and(log), cleanup=True)
        with pytest.raises(KeyboardInterrupt):
            flow.run(dag, config=flow.Config(backend=loop))
        assert log.calls == ["connect", "work", "disconnect", "close", "slow"] or log.calls[-1] in ("slow", "close")

    def test_an_exit_inline(self) -> None:
        log = Log()
        dag = job(log, KeyboardInterrupt())
        dag.add("bad", log("bad", KeyError("cleanup")), cleanup=True)
        with pytest.raises(KeyboardInterrupt) as caught:
            flow.run(dag)
        assert log.calls == ["connect", "work", "disconnect", "close", "bad"]
        result = caught.value.result  # type: ignore[attr-defined]
        assert statuses(result)["work"] == "cancelled" and result["close"] == "cancelled"
        assert caught.value.__notes__ == ["while the run ended, node 'bad' raised KeyError: 'cleanup'"]

    @pytest.mark.parametrize("first", [True, False])
    def test_a_second_exit_ends_cleanup_inline(self, first: bool) -> None:
        """Where the first one comes in a cleanup node, that one is not called again, and the others are."""
        log = Log()
        dag = job(log, KeyboardInterrupt() if first else None)
        dag.add("exits", log("exits", KeyboardInterrupt()), cleanup=True)
        dag.add("last", log("last"), cleanup=True, after=["exits"])
        with pytest.raises(KeyboardInterrupt):
            flow.run(dag)
        assert log.calls.count("exits") == 1
        assert ("last" in log.calls) == (not first)

    @pytest.mark.parametrize("backend", [None, *LOOPS])
    def test_a_hook_that_fails(self, backend: Any) -> None:
        log = Log()

        def hook(record: Any) -> None:
            if record.node == "work":
                raise RuntimeError("hook")

        dag = job(log)
        if backend is not None:
            dag.add("slow", _for_a_moment_and(log), cleanup=True)
        config = flow.Config(on_outcome=lambda: hook, **({} if backend is None else {"backend": backend}))
        with pytest.raises(RuntimeError, match="hook"):
            flow.run(dag, config=config)
        assert {"disconnect", "close"} <= set(log.calls) and "other" not in log.calls

    @pytest.mark.parametrize("loop", LOOPS)
    def test_a_cancellation_while_it_cleans_up_after_the_time_limit(self, loop: str) -> None:
        """As after a failure: what has ended the run is raised."""
        log, cancels = Log(), Cancels()
        dag = job(log)
        dag.add("hangs", anyio.sleep_forever)
        dag.add("slow", cancels.slow(log), cleanup=True)

        async def cancelled() -> None:
            with cancels, pytest.raises(flow.RunError) as caught:
                await flow.execute(dag, config=flow.Config(timeout=0.01))
            assert caught.value.timed_out

        on(loop, cancelled)
        assert log.calls[-1] == "slow"

    @pytest.mark.parametrize("way", ["inline", *LOOPS])
    @pytest.mark.parametrize("what", ["exit", "hook"])
    @pytest.mark.parametrize("original", [False, True])
    def test_what_ends_cleanup_is_raised_unless_something_goes_on(self, way: str, what: str, original: bool) -> None:
        """The other nodes still clean up, but not after a second exit."""
        log = Log()
        dag = job(log, SystemExit(3) if original else OSError("down"))
        dag.add("ends", log("ends", KeyboardInterrupt() if what == "exit" else None), after=["close"], cleanup=True)
        dag.add("last", log("last"), after=["ends"], cleanup=True)
        if way != "inline":
            dag.add("waits", _waits, cleanup=True)

        def hook(record: Any) -> None:
            if what == "hook" and record.node == "ends":
                raise LookupError("hook")

        settings: Any = {} if way == "inline" else {"backend": way}
        config = flow.Config(on_outcome=lambda: hook, **settings)
        with pytest.raises(SystemExit if original else KeyboardInterrupt if what == "exit" else LookupError) as caught:
            flow.run(dag, config=config)
        assert "ends" in log.calls
        assert ("last" in log.calls) is not (original and what == "exit")
        if original:
            ended = [note for note in caught.value.__notes__ if note.startswith("cleanup ended early")]
            assert len(ended) == 1

    @pytest.mark.parametrize("loop", LOOPS)
    def test_an_async_hook_is_told_of_it(self, loop: Any) -> None:
        """Also of what a teardown without its setup comes to, while the run ends."""
        log, told = Log(), list[Any]()

        async def hook(record: Any) -> None:
            await anyio.sleep(0)
            told.append((record.node, str(record.status)))

        dag = job(log, OSError("down"))
        dag.add("slow", _for_a_moment_and(log), cleanup=True)
        dag.teardown("of_other", log("of_other"), of="other")
        with pytest.raises(flow.RunError):
            flow.run(dag, config=flow.Config(on_outcome=lambda: hook, backend=loop))
        assert told[0] == ("connect", "completed")
        assert sorted(told[1:]) == [
            ("close", "completed"), ("disconnect", "completed"), ("of_other", "bypassed"), ("other", "skipped"),
            ("slow", "completed"), ("work", "failed"),
        ]  # fmt: skip

    @pytest.mark.parametrize("way", ["inline", *LOOPS])
    def test_a_run_that_has_ended_holds_nothing(self, way: str) -> None:
        """No garbage collector is needed for what its nodes had."""
        gone: list[bool] = []

        class Held:
            def __del__(self) -> None:
                gone.append(True)

        def work() -> None:
            held = Held()
            raise OSError("down", held)

        dag = flow.Dag("d")
        dag.add("setup", lambda: Held())
        dag.teardown("t", lambda setup: Held(), of="setup")
        dag.add("work", work)
        dag.add("bad", work, cleanup=True)
        if way != "inline":
            dag.add("slow", _for_a_moment_and(Log()), cleanup=True)
        gc.collect()
        gc.disable()
        try:
            with pytest.raises(flow.RunError):
                flow.run(dag, config=None if way == "inline" else flow.Config(backend=way))  # type: ignore[arg-type]
            assert len(gone) == 4
        finally:
            gc.enable()

    def test_a_coroutine_that_is_closed_does_not_hang(self) -> None:
        log = Log()
        dag = job(log)
        dag.add("hangs", anyio.sleep_forever)

        async def closed() -> None:
            coroutine: Any = flow.execute(dag)
            coroutine.send(None)
            coroutine.close()
            for _ in range(5):
                await asyncio.sleep(0)

        asyncio.run(closed())
        assert "close" not in log.calls

    def test_a_run_that_cannot_begin_cleans_nothing(self) -> None:
        log = Log()
        dag = job(log)
        dag.add("elsewhere", log("elsewhere"), executor="none")
        with pytest.raises(UsageError):
            flow.run(dag)
        assert log.calls == []


async def _for_a_moment(ctx: flow.Context) -> None:
    await anyio.sleep(0.03)


class Cancels:
    """A scope that is cancelled by a node, once so many have begun."""

    def __init__(self, after: int = 1) -> None:
        self.left = after
        self.scope: Any = None

    def __enter__(self) -> Cancels:
        self.scope = anyio.CancelScope()
        self.scope.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        return self.scope.__exit__(*error)

    def begins(self) -> None:
        self.left -= 1
        if not self.left:
            self.scope.cancel()

    async def hangs(self, setup: Any = None) -> None:
        self.begins()
        await anyio.sleep_forever()

    def slow(self, log: Log) -> Any:
        async def slow() -> None:
            self.begins()
            await anyio.sleep(0.01)
            log.calls.append("slow")

        return slow


def _for_a_moment_and(log: Log) -> Any:
    async def slow() -> None:
        await anyio.sleep(0.03)
        log.calls.append("slow")

    return slow


def _note(seen: dict[str, type], event: Any) -> None:
    if hasattr(event, "node"):
        seen[event.node] = type(event)


class TestNested:
    def inner(self, log: Log, cancels: Cancels | None) -> flow.Dag:
        async def slow(setup: str) -> None:
            await anyio.sleep(0.02)
            log.calls.append("slow")

        dag = flow.Dag("inner")
        dag.add("setup", log("setup"))
        if cancels is not None:
            dag.add("hangs", cancels.hangs, needs=["setup"])
            dag.teardown("slow", slow, of="setup")
        dag.add("inner_close", log("inner_close"), cleanup=True)
        return dag

    @pytest.mark.parametrize("loop", LOOPS)
    def test_cancelled_from_outside(self, loop: str) -> None:
        log, cancels = Log(), Cancels()
        dag = flow.Dag("outer")
        dag.add("sub", self.inner(log, cancels))
        dag.add("close", log("close"), cleanup=True)

        async def cancelled() -> None:
            with cancels:
                await flow.execute(dag)
            assert cancels.scope.cancelled_caught

        on(loop, cancelled)
        assert log.calls == ["setup", "slow", "inner_close", "close"]

    @pytest.mark.parametrize("loop", LOOPS)
    def test_items_of_a_map(self, loop: str) -> None:
        log, cancels = Log(), Cancels(3)
        inner = self.inner(log, cancels)
        inner.add("item_of", lambda item: item)
        dag = flow.Dag("outer")
        dag.map("subs", inner, over="numbers")
        dag.add("close", log("close"), cleanup=True)

        async def cancelled() -> None:
            with cancels:
                await flow.execute(dag, {"numbers": [1, 2, 3]})
            assert cancels.scope.cancelled_caught

        on(loop, cancelled)
        assert sorted(log.calls) == sorted([*["setup", "slow", "inner_close"] * 3, "close"])
        assert log.calls[-1] == "close"

    def test_inline_exit(self) -> None:
        log = Log()
        inner = self.inner(log, None)
        inner.add("exits", log("exits", KeyboardInterrupt()), after=["setup"])
        dag = flow.Dag("outer")
        dag.add("sub", inner)
        dag.add("close", log("close"), cleanup=True)
        with pytest.raises(KeyboardInterrupt):
            flow.run(dag)
        assert log.calls == ["setup", "exits", "inner_close", "close"]

    def test_runs_that_nest_share_the_time_inline(self) -> None:
        """An exit ends them all: what the inner one takes, the outer one has less."""
        log, clock = Log(), flow.testing.FakeClock()
        inner = flow.Dag("inner")
        inner.add("exits", log("exits", KeyboardInterrupt()))
        inner.add("slow", lambda: clock.sleep(6.0), cleanup=True)
        dag = flow.Dag("outer")
        dag.add("sub", inner)
        dag.add("never", log("never"), cleanup=True)
        with pytest.raises(KeyboardInterrupt):
            flow.run(dag, config=flow.Config(cleanup_timeout=5.0, clock=clock))
        assert log.calls == ["exits"]

    def test_a_time_limit_that_passes_in_a_nested_run_inline(self) -> None:
        log, clock = Log(), flow.testing.FakeClock()
        inner = flow.Dag("inner")
        inner.add("slow", lambda: clock.sleep(6.0))
        inner.add("never", log("never"), after=["slow"])
        inner.add("inner_close", log("inner_close"), cleanup=True)
        dag = flow.Dag("outer")
        dag.add("sub", inner)
        dag.add("close", log("close"), cleanup=True)
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, config=flow.Config(timeout=3.0, clock=clock))
        assert caught.value.timed_out and log.calls == ["inner_close", "close"]

    @pytest.mark.parametrize("loop", LOOPS)
    def test_runs_that_nest_share_the_time_on_a_loop(self, loop: str) -> None:
        """Both hang in their cleanup; together they take what one may."""
        cancels = Cancels()
        inner = flow.Dag("inner")
        inner.add("hangs", cancels.hangs)
        inner.add("inner_close", anyio.sleep_forever, cleanup=True)
        dag: flow.Dag = inner
        for _ in range(4):
            outer = flow.Dag("outer")
            outer.add("sub", dag)
            outer.add("close", anyio.sleep_forever, cleanup=True)
            dag = outer

        async def cancelled() -> float:
            began = time.monotonic()
            with cancels:
                await flow.execute(dag, config=flow.Config(cleanup_timeout=1.0))
            return time.monotonic() - began

        assert on(loop, cancelled) < 4.0  # not 5 times 1 s

    @pytest.mark.parametrize("loop", LOOPS)
    def test_a_nested_run_in_cleanup_is_not_cancelled(self, loop: str) -> None:
        log, cancels = Log(), Cancels()
        inner = flow.Dag("inner")
        inner.add("slow", cancels.slow(log))
        inner.add("then", log("then"), after=["slow"])
        dag = flow.Dag("outer")
        dag.add("a", lambda: 1)
        dag.add("sub", inner, cleanup=True)

        async def cancelled() -> None:
            with cancels:
                await flow.execute(dag)

        on(loop, cancelled)
        assert log.calls == ["slow", "then"]


class TestThreads:
    @pytest.mark.parametrize("loop", LOOPS)
    def test_cleanup_in_threads_outlasts_the_run(self, loop: Any) -> None:
        log = Log()
        dag = flow.Dag("d")
        dag.add("setup", lambda: 1)
        dag.teardown("t", _in_a_thread(log, "t"), of="setup", thread=True)
        dag.add("c", _in_a_thread(log, "c"), cleanup=True, thread=True)
        dag.add("hangs", anyio.sleep_forever)
        with pytest.raises(flow.RunError):
            flow.run(dag, config=flow.Config(timeout=0.1, backend=loop))
        assert log.calls == ["t", "c"]


def _in_a_thread(log: Log, name: str) -> Any:
    def called() -> None:
        time.sleep(0.02)
        log.calls.append(name)

    return called


SCRIPT = """
import signal, sys, time
import anyio
import flow

def say(text):
    print(text, flush=True)

def work(connect):
    say("work")
    time.sleep(60)

async def awork(connect):
    say("work")
    await anyio.sleep(60)

def close(work: flow.Outcome):
    say(f"close {work.status}")

def slow():
    say("slow")
    time.sleep(60 if "twice" in sys.argv else 0.01)

async def aslow():
    say("slow")
    await anyio.sleep(60 if "twice" in sys.argv else 0.01)

on_loop = sys.argv[1] != "inline"
dag = flow.Dag("job")
dag.add("connect", lambda: "socket")
dag.add("work", awork if on_loop else work)
dag.teardown("disconnect", lambda connect: say(f"disconnect {connect}"), of="connect")
dag.add("close", close, cleanup=True)
dag.add("slow", aslow if on_loop else slow, cleanup=True, after=["close"])
dag.add("last", lambda: say("last"), cleanup=True, after=["slow"])
try:
    flow.run(dag, config=flow.Config(backend=sys.argv[1]) if on_loop else None)
except KeyboardInterrupt as error:
    say(f"interrupted {error.result.status['last']}")
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("way", ["inline", *LOOPS])
@pytest.mark.parametrize("twice", [False, True])
def test_a_real_interrupt(way: str, twice: bool) -> None:
    """Ctrl-C in another process; a second one while it cleans up ends that."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), way, *(["twice"] if twice else [])],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    assert process.stdout is not None
    said: list[str] = []
    try:
        while not said or said[-1] != "work":
            said.append(process.stdout.readline().strip())
        process.send_signal(signal.SIGINT)
        while twice and said[-1] != "slow":
            said.append(process.stdout.readline().strip())
        if twice:
            process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=50)
    finally:
        process.kill()
        process.wait()
    said += rest.split("\n")[:-1]
    said = [text.replace("close failed", "close cancelled") for text in said]  # on trio it may be raised in the node
    want = ["work", "disconnect socket", "close cancelled", "slow"]
    want += ["interrupted cancelled"] if twice else ["last", "interrupted completed"]
    assert said == want, errors


class TestRefused:
    def fault(self, dag: flow.Dag) -> str:
        with pytest.raises(DefinitionError) as caught:
            dag.compile()
        assert len(caught.value.faults) == 1, caught.value.faults
        return caught.value.faults[0].partition("): ")[2]

    def test_an_ordinary_node_that_depends_on_cleanup(self) -> None:
        dag = flow.Dag("d")
        dag.add("close", lambda: 1, cleanup=True)
        dag.add("report", lambda close: close)
        assert self.fault(dag) == (
            "an ordinary node depends on the cleanup node 'close': cleanup runs after all ordinary nodes; "
            "make both cleanup=True, or drop this dependency"
        )

    def test_an_ordinary_node_that_depends_on_a_teardown(self) -> None:
        dag = flow.Dag("d")
        dag.add("s", lambda: 1)
        dag.teardown("t", lambda: 1, of="s")
        dag.add("report", lambda: 1, after=["t"])
        assert self.fault(dag).startswith("an ordinary node depends on the teardown 't'")

    def test_a_teardown_that_depends_on_cleanup(self) -> None:
        dag = flow.Dag("d")
        dag.add("s", lambda: 1)
        dag.add("close", lambda: 1, cleanup=True)
        dag.teardown("t", lambda: 1, of="s", after=["close"])
        assert self.fault(dag).startswith("a teardown depends on the cleanup node 'close'")

    def test_an_unknown_setup(self) -> None:
        dag = flow.Dag("d")
        dag.add("setup", lambda: 1)
        dag.teardown("t", lambda: 1, of="setpu")
        with pytest.raises(DefinitionError, match=r"of names 'setpu'.*setup"):
            dag.compile()

    def test_setups_that_clean_up_themselves(self) -> None:
        dag = flow.Dag("d")
        dag.add("s", lambda: 1)
        dag.add("c", lambda: 1, cleanup=True)
        dag.teardown("t", lambda: 1, of="s")
        dag.teardown("of_t", lambda: 1, of="t")
        dag.teardown("of_c", lambda: 1, of="c")
        with pytest.raises(DefinitionError) as caught:
            dag.compile()
        found = [fault.partition("): ")[2] for fault in caught.value.faults]
        assert found == [
            "a teardown is of= an ordinary node, and 't' is a teardown itself",
            "a teardown is of= an ordinary node, and 'c' is a cleanup node itself",
        ]

    def test_its_own_teardown(self) -> None:
        dag = flow.Dag("d")
        dag.add("s", lambda: 1)
        dag.teardown("t", lambda: 1, of="t")
        with pytest.raises(DefinitionError):
            dag.compile()

    def test_a_route_to_cleanup(self) -> None:
        dag = flow.Dag("d")
        dag.add("close", lambda: 1, cleanup=True)
        dag.add("a", lambda: 1)
        dag.route("r", lambda: "a", to={"a": "a"}, default="close")
        assert self.fault(dag).startswith("a route leads to the cleanup node 'close'")

    def test_parameters_without_defaults(self) -> None:
        dag = flow.Dag("d")
        dag.add("s", lambda: 1)
        dag.add("a", lambda: 1)
        dag.add("c", lambda a: a, cleanup=True)
        dag.teardown("t", lambda s, a: a, of="s", when=lambda a: a)
        with pytest.raises(DefinitionError) as caught:
            dag.compile()
        found = sorted(fault.partition("): ")[2] for fault in caught.value.faults)
        advice = "which may not come before cleanup: give it a default, or annotate it flow.Outcome"
        assert found == [
            *[f"parameter 'a' takes the output of 'a', {advice}"] * 2,
            "when takes the output of 'a', which may not come: give its parameter a default",
        ]

    def test_options(self) -> None:
        dag = flow.Dag("d")
        dag.add("s", lambda: 1)
        wrong: Any = "yes"
        dag.add("c", lambda: 1, cleanup=wrong)
        dag.teardown("t", lambda: 1, of="s", cleanup=True)
        with pytest.raises(DefinitionError) as caught:
            dag.compile()
        found = [fault.partition("): ")[2] for fault in caught.value.faults]
        assert found == [
            "cleanup must be True or False, not 'yes'",
            "a teardown runs after its setup's dependants, and cleanup=True after all nodes: choose one of them",
        ]

    def test_pipelined(self) -> None:
        dag = flow.Dag("d")
        dag.map("a", lambda item: item, over="items")
        dag.map("b", lambda item: item, over="a", pipelined=True, cleanup=True)
        with pytest.raises(DefinitionError, match="pipelined"):
            dag.compile()

    def test_unknown_keywords_of_a_teardown(self) -> None:
        wrong: Any = {"retires": None}
        with pytest.raises(UsageError, match="retry"):
            flow.Dag("d").teardown("t", lambda: 1, of="s", **wrong)

    @pytest.mark.parametrize("seconds", [0, -1.0, None, "30", True])
    def test_cleanup_timeout(self, seconds: Any) -> None:
        with pytest.raises(ConfigError, match="cleanup_timeout must be a number of seconds > 0"):
            flow.Config(cleanup_timeout=seconds)
