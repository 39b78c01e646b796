"""``Config.keep``: outputs are freed when their last reader has ended, and not before; the rest stays as it is."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest
from conftest import DRIVERS, dag_of, examples, named
from hypothesis import given
from hypothesis import strategies as st

import flow
from flow import Config, Retry, Status
from flow.plan.resolver import Resolver
from flow.run.release import Freeing
from flow.types import MISSING

pytestmark = pytest.mark.usefixtures("frozen")


class Output:
    """An output that can be watched: it dies when nobody holds it."""

    __slots__ = ("__weakref__", "name")

    def __init__(self, name: str) -> None:
        self.name = name


class Watch:
    """Makes nodes whose outputs are watched, and notes which were alive at each call."""

    def __init__(self) -> None:
        self.dag = flow.Dag("watched")
        self.refs: dict[str, weakref.ref[Output]] = {}
        self.seen: dict[str, set[str]] = {}

    def node(self, name: str, *needs: str, waits: bool = False, fails: int = 0, **options: Any) -> None:
        calls = 0

        def call(*values: Output) -> Output:
            nonlocal calls
            calls += 1
            assert [value.name for value in values] == list(needs)
            self.seen[name] = self.alive
            del values  # a traceback would keep them
            if calls <= fails:
                raise ValueError(name)
            output = Output(name)
            self.refs[name] = weakref.ref(output)
            return output

        async def acall(*values: Output) -> Output:
            for _ in range(2):
                await anyio.lowlevel.checkpoint()
            try:
                return call(*values)
            finally:
                del values

        self.dag.add(name, acall if waits else call, needs=needs, **options)

    @property
    def alive(self) -> set[str]:
        return {name for name, ref in self.refs.items() if ref() is not None}

    def run(self, **options: Any) -> flow.Result:
        targets = options.pop("targets", None)
        return flow.run(self.dag, targets=targets, config=Config(**{"keep": "targets", **options}))


@pytest.fixture(autouse=True)
def without_collector() -> Iterator[None]:
    """What is freed is freed by its last reference, not by the collector some time later."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(params=[(False, "inline"), (False, "tasks"), (True, "inline"), (True, "tasks"), (True, "workers")])
def style(request: pytest.FixtureRequest) -> tuple[bool, str]:
    """Whether nodes wait, and the mode."""
    return request.param  # type: ignore[no-any-return]


class TestWhatIsKept:
    def test_chain(self, style: tuple[bool, str]) -> None:
        waits, mode = style
        watch = Watch()
        watch.node("a", waits=waits)
        watch.node("b", "a", waits=waits)
        watch.node("c", "b", waits=waits)
        watch.node("d", "c", waits=waits)
        result = watch.run(mode=mode)
        assert watch.seen == {"a": set(), "b": {"a"}, "c": {"b"}, "d": {"c"}}
        assert watch.alive == {"d"} == set(result) == set(result.outputs)
        assert result.counts == {Status.COMPLETED: 4} and result.ok

    def test_diamond(self, style: tuple[bool, str]) -> None:
        waits, mode = style
        watch = Watch()
        watch.node("a", waits=waits)
        watch.node("left", "a", waits=waits)
        watch.node("right", "a", waits=waits)
        watch.node("end", "left", "right", waits=waits)
        watch.run(mode=mode, limit=1)
        assert watch.seen == {"a": set(), "left": {"a"}, "right": {"a", "left"}, "end": {"left", "right"}}
        assert watch.alive == set()  # the result has gone, and nothing else holds anything

    def test_fan_in(self, style: tuple[bool, str]) -> None:
        waits, mode = style
        watch = Watch()
        names = [f"n{k}" for k in range(5)]
        for name in names:
            watch.node(name, waits=waits)
        watch.node("all", *names, waits=waits)
        watch.node("last", "all", "n2", waits=waits)
        result = watch.run(mode=mode)
        assert watch.seen["all"] == set(names)
        assert watch.seen["last"] == {"all", "n2"}
        assert watch.alive == {"last"} == set(result)

    def test_a_node_that_reads_an_output_twice(self, style: tuple[bool, str]) -> None:
        waits, mode = style
        watch = Watch()
        watch.node("a", waits=waits)
        watch.node("b", "a", "a", waits=waits)
        watch.node("c", "b", "b", waits=waits)
        result = watch.run(mode=mode)
        assert watch.seen == {"a": set(), "b": {"a"}, "c": {"b"}}
        assert watch.alive == {"c"} == set(result)

    def test_an_edge_that_only_orders_reads_nothing(self, style: tuple[bool, str]) -> None:
        waits, mode = style
        watch = Watch()
        watch.node("a", waits=waits)
        watch.node("b", after="a", waits=waits)
        result = watch.run(mode=mode)
        assert watch.seen["b"] == set()  # nobody reads a: freed at once
        assert set(result) == {"b"}  # but something depends on it, so it is no sink

    def test_targets_are_kept_even_between_others(self) -> None:
        watch = Watch()
        watch.node("a")
        watch.node("b", "a")
        watch.node("c", "b")
        watch.node("d", "c")
        result = watch.run(targets=iter(["b", "c"]))
        assert set(result) == {"b", "c"} == watch.alive
        assert watch.seen["c"] == {"b"}

    @pytest.mark.parametrize("container", [list, tuple])
    def test_a_list_keeps_exactly_those(self, container: Callable[[Any], Any]) -> None:
        dag = flow.Dag("refs")

        @dag.node
        def a() -> int:
            return 1

        b = dag.add("b", lambda a: a + 1)
        dag.add("c", lambda b: b + 1)
        dag.add("d", lambda c: c + 1)
        result = flow.run(dag, config=Config(keep=container([a, b, "c", "c"])))
        assert dict(result) == {"a": 1, "b": 2, "c": 3}
        assert (result[a], result[b]) == (1, 2)

    def test_an_empty_list_keeps_nothing(self, style: tuple[bool, str]) -> None:
        waits, mode = style
        watch = Watch()
        watch.node("a", waits=waits)
        watch.node("b", "a", waits=waits)
        result = watch.run(mode=mode, keep=[])
        assert watch.alive == set() == set(result)
        assert result.status["b"] == "completed" and len(result) == 0

    def test_all_is_the_default(self) -> None:
        watch = Watch()
        watch.node("a")
        watch.node("b", "a")
        result = watch.run(keep="all")
        assert set(result) == {"a", "b"} == watch.alive
        assert Config().keep == "all"

    def test_run_inputs_stay(self) -> None:
        dag = flow.Dag("inputs")
        dag.add("a", lambda x, y=5: x + y)
        dag.add("b", lambda a, x: a * x)
        dag.add("c", lambda b, y=5: b + y)
        result = flow.run(dag, {"x": 2}, config=Config(keep="targets"))
        assert dict(result) == {"c": 19} and dict(result.inputs) == {"x": 2}
        assert dict(flow.run(dag, {"x": 2})) == {"a": 7, "b": 14, "c": 19}  # the plan's defaults are untouched

    def test_an_output_that_is_none(self) -> None:
        dag = flow.Dag("none")
        dag.add("a", lambda: None)
        dag.add("b", lambda a: a)
        assert dict(flow.run(dag, config=Config(keep="targets"))) == {"b": None}

    @pytest.mark.parametrize("waits", [False, True])
    def test_a_nested_dag_keeps_what_it_returns(self, waits: bool) -> None:
        inner = flow.Dag("inner")

        async def one() -> int:
            return 1

        inner.add("one", one if waits else lambda: 1)
        inner.add("two", lambda one: one + 1)
        dag = flow.Dag("outer")
        dag.add("sub", inner)
        dag.add("total", lambda sub: sum(sub.values()))
        result = flow.run(dag, config=Config(keep="targets"))
        assert dict(result) == {"total": 3}
        kept = flow.run(dag, config=Config(keep=["sub"]))
        assert dict(kept["sub"]) == {"one": 1, "two": 2}


def freeing(plan: flow.Plan, values: list[Any], kept: list[int]) -> Resolver:
    """The Resolver of a run that frees."""
    nodes = plan._nodes
    return Resolver.resumed(nodes, (), None, [Freeing(nodes, values, kept).ended])


class TestResult:
    @pytest.fixture
    def plan(self) -> flow.Plan:
        dag = flow.Dag("steps")
        dag.add("a", lambda: 1)
        dag.add("b", lambda a: a + 1)
        dag.add("c", lambda b: b + 1)
        return dag.compile()

    def test_a_freed_output_is_absent(self, plan: flow.Plan) -> None:
        result = flow.run(plan, config=Config(keep="targets"))
        assert list(result) == ["c"] and len(result) == 1 and len(result.outputs) == 1
        assert "a" not in result and "c" in result
        assert result.get("a") is None
        assert list(result.items()) == [("c", 3)] and list(result.values()) == [3]
        nodes = result.to_dict()["nodes"]
        assert nodes["a"] == {"status": "completed"} and nodes["c"] == {"status": "completed", "output": 3}
        assert result.to_dict()["counts"] == {"completed": 3}
        assert dict(result.attempts) == {"a": 1, "b": 1, "c": 1}
        with pytest.raises(KeyError):
            result.outputs["a"]

    def test_the_error_says_how_to_keep_it(self, plan: flow.Plan) -> None:
        with pytest.raises(flow.errors.MissingOutput) as caught:
            flow.run(plan, config=Config(keep="targets"))["a"]
        assert str(caught.value) == (
            "node 'a' completed, and its output was freed under Config(keep='targets'); to keep it, "
            "make it one of the targets, or list what to keep: keep=['a', ...]"
        )
        with pytest.raises(flow.errors.MissingOutput) as caught:
            flow.run(plan, config=Config(keep=["b"]))["a"]
        assert str(caught.value) == (
            "node 'a' completed, and its output was freed under Config(keep=[...]); to keep it, add 'a' to that list"
        )

    def test_other_reasons_stay_as_they_are(self) -> None:
        dag = flow.Dag("mixed")
        dag.add("bad", lambda: 1 / 0)
        dag.add("next", lambda bad: bad)
        dag.add("fine", lambda: 1)
        result = flow.run(dag, config=Config(on_error="collect", keep="targets"))
        assert dict(result) == {"fine": 1}
        with pytest.raises(flow.errors.MissingOutput, match="'bad' has no output: it is failed: ZeroDivisionError"):
            result["bad"]
        with pytest.raises(flow.errors.MissingOutput, match="'next' has no output: it is skipped because 'bad' failed"):
            result["next"]

    def test_timing_and_observers(self, plan: flow.Plan) -> None:
        events: list[Any] = []
        result = flow.run(plan, config=Config(keep="targets", timing=True, observers=(events.append,)))
        assert sorted(result.durations) == ["a", "b", "c"]
        assert [type(event).__name__ for event in events].count("NodeFinished") == 3
        assert result.timeline().startswith("gantt")


class TestRefused:
    @pytest.mark.parametrize("value", ["", "ALL", "users", None, 5, {"a"}, {"a": 1}, [5], ["a", None], [[]]])
    def test_wrong_types(self, value: Any) -> None:
        with pytest.raises(flow.errors.ConfigError) as caught:
            Config(keep=value)
        (fault,) = caught.value.faults
        assert fault == f"keep must be 'all', 'targets' or a list of nodes (names, NodeRefs, functions), not {value!r}"

    def test_a_list_becomes_a_tuple(self) -> None:
        names = ["a"]
        config = Config(keep=names)
        names.append("b")
        assert config.keep == ("a",)
        assert config.replace(keep="all").keep == "all"
        assert hash(config) == hash(Config(keep=("a",)))

    def test_unknown_nodes_are_named_before_anything_runs(self) -> None:
        calls = []
        dag = flow.Dag("report")
        dag.add("users", lambda: calls.append(1))
        dag.add("scores", lambda users: calls.append(2))
        with pytest.raises(flow.UsageError) as caught:
            flow.run(dag, config=Config(keep=["user"]))
        assert str(caught.value) == (
            "Config.keep names what is no node: plan 'report' has no node 'user' (did you mean 'users'?)"
        )
        with pytest.raises(flow.UsageError) as caught:
            flow.run(dag, config=Config(keep=["user", "users", "score", print]))
        assert str(caught.value).splitlines() == [
            "Config.keep names what is no node: ",
            "  - plan 'report' has no node 'user' (did you mean 'users'?)",
            "  - plan 'report' has no node 'score' (did you mean 'scores'?)",
            "  - plan 'report': 'print' is no node's name, and no node runs it",
        ]
        assert calls == []

    def test_very_many_unknown_nodes(self) -> None:
        dag = flow.Dag("report")
        dag.add("users", lambda: 1)
        with pytest.raises(flow.UsageError) as caught:
            flow.run(dag, config=Config(keep=[f"x{k}" for k in range(10_000)]))
        lines = str(caught.value).splitlines()
        assert len(lines) == 52 and lines[-1] == "  - ... and maybe more"

    def test_on_a_loop_too(self) -> None:
        dag = flow.Dag("report")
        dag.add("users", lambda: 1)
        with pytest.raises(flow.UsageError, match="did you mean 'users'"):
            asyncio.run(flow.execute(dag, config=Config(keep=("user",))))  # type: ignore[arg-type]

    def test_a_node_that_is_not_part_of_this_run_may_be_named(self) -> None:
        dag = flow.Dag("parts")
        dag.add("a", lambda: 1)
        dag.add("b", lambda a: 2)
        dag.add("other", lambda: 3)
        config = Config(keep=["a", "other"])
        assert dict(flow.run(dag, targets="b", config=config)) == {"a": 1}
        assert dict(flow.run(dag, config=config)) == {"a": 1, "other": 3}


class TestFailure:
    def test_collect(self, style: tuple[bool, str]) -> None:
        waits, mode = style
        watch = Watch()
        watch.node("a", waits=waits)
        watch.node("bad", "a", waits=waits, fails=9)
        watch.node("skipped", "bad", "a", waits=waits)
        watch.node("skipped2", "skipped", "a", waits=waits)
        watch.node("fine", after="a", waits=waits)
        watch.node("fine2", "fine", waits=waits)
        result = watch.run(mode=mode, on_error="collect", limit=1)
        assert watch.seen["fine2"] == {"fine"}
        assert watch.alive == {"fine2"} == set(result)
        assert result.counts == {Status.COMPLETED: 3, Status.FAILED: 1, Status.SKIPPED: 2}

    def test_a_reader_skipped_before_its_input_is_made(self, style: tuple[bool, str]) -> None:
        waits, mode = style
        watch = Watch()
        watch.node("bad", waits=waits, fails=9)
        watch.node("late", waits=waits)
        watch.node("reader", "bad", "late", waits=waits)
        watch.node("other", after="late", waits=waits)
        result = watch.run(mode=mode, on_error="collect", limit=1)
        assert watch.seen["other"] == set()
        assert result.status["reader"] == "skipped" and set(result) == {"other"}

    def test_fail_fast(self, style: tuple[bool, str]) -> None:
        waits, mode = style
        watch = Watch()
        watch.node("a", waits=waits)
        watch.node("b", "a", waits=waits)
        watch.node("bad", "b", waits=waits, fails=9)
        watch.node("reader", "a", "b", after="bad", waits=waits)
        with pytest.raises(flow.RunError) as caught:
            watch.run(mode=mode, keep=["a"])
        result = caught.value.result
        assert watch.alive == {"a"} == set(result)
        assert result.counts == {Status.COMPLETED: 2, Status.FAILED: 1, Status.SKIPPED: 1}

    def test_continue_on_error(self, style: tuple[bool, str]) -> None:
        waits, mode = style
        watch = Watch()
        watch.node("a", waits=waits)
        watch.node("bad", "a", waits=waits, fails=9, continue_on_error=True)
        watch.node("reader", "bad", "a", waits=waits)
        watch.node("later", "a", after="bad", waits=waits)
        watch.node("last", after="later", waits=waits)
        result = watch.run(mode=mode)
        assert not result.ok and watch.seen["later"] == {"a"} and watch.seen["last"] == set()
        assert set(result) == {"last"} == watch.alive
        assert result.status["reader"] == "skipped"

    def test_a_retry_still_has_its_inputs(self, style: tuple[bool, str]) -> None:
        waits, mode = style
        watch = Watch()
        watch.node("a", waits=waits)
        watch.node("b", "a", waits=waits, fails=2, retry=Retry(3, delay=0.0))
        watch.node("c", "b", waits=waits)
        result = watch.run(mode=mode)
        assert watch.seen == {"a": set(), "b": {"a"}, "c": {"b"}}
        assert result.attempts["b"] == 3 and watch.alive == {"c"} == set(result)

    def test_a_traceback_holds_what_the_failed_function_was_given(self) -> None:
        made: list[weakref.ref[Output]] = []

        def a() -> Output:
            output = Output("a")
            made.append(weakref.ref(output))
            return output

        def bad(a: Output) -> None:
            raise ValueError("bad")

        dag = flow.Dag("trace")
        dag.add("a", a)
        dag.add("bad", bad)
        result = flow.run(dag, config=Config(on_error="collect", keep=[]))
        assert made[0]() is not None  # as in any Python program
        assert dict(result) == {}
        result.errors["bad"].__traceback__ = None
        assert made[0]() is None

    def test_time_limits(self) -> None:
        watch = Watch()
        clock = flow.testing.FakeClock()
        watch.node("a")
        watch.dag.add("slow", lambda: clock.sleep(10.0), after="a")
        watch.node("b", "a", after="slow")
        with pytest.raises(flow.RunError) as caught:
            watch.run(timeout=5.0, clock=clock, keep=["b"])
        assert watch.alive == set()
        assert caught.value.result.counts == {Status.COMPLETED: 2, Status.CANCELLED: 1}

    @pytest.mark.parametrize("backend", ["asyncio", "trio"])
    def test_cancelled_from_outside(self, backend: str) -> None:
        watch = Watch()
        watch.node("a", waits=True)
        watch.node("b", "a", waits=True)

        async def forever(b: Output) -> None:
            await anyio.sleep_forever()

        watch.dag.add("forever", forever)
        watch.node("never", "a", "b", after="forever")

        async def main() -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(go)
                while "b" not in watch.refs:
                    await anyio.lowlevel.checkpoint()
                for _ in range(5):
                    await anyio.lowlevel.checkpoint()
                assert watch.alive == {"a", "b"}
                group.cancel_scope.cancel()

        async def go() -> None:
            await flow.execute(watch.dag, config=Config(keep="targets"))

        anyio.run(main, backend=backend)
        assert watch.alive == set()

    @pytest.mark.parametrize("backend", ["asyncio", "trio"])
    def test_cancelled_by_a_failure(self, backend: str) -> None:
        watch = Watch()
        watch.node("a")

        async def forever(a: Output) -> None:
            await anyio.sleep_forever()

        watch.dag.add("forever", forever)
        watch.node("bad", waits=True, fails=9)
        with pytest.raises(flow.RunError) as caught:
            watch.run(backend=backend, keep=[])
        assert watch.alive == set()
        assert caught.value.result.counts == {Status.COMPLETED: 1, Status.FAILED: 1, Status.CANCELLED: 1}


class TestReleasing:
    """The machine alone."""

    @staticmethod
    def plan() -> flow.Plan:
        dag = flow.Dag("machine")
        dag.add("a", lambda x: 1)  # 0
        dag.add("b", lambda a, x: 1)  # 1
        dag.add("c", lambda a, b: 1)  # 2
        return dag.compile()

    def test_it_moves_as_a_resolver(self) -> None:
        plan = self.plan()
        values = ["A", "B", "C", "input"]
        plain, releasing = Resolver(plan), freeing(plan, values, [2])
        assert plain.take() == releasing.take() == 0
        assert plain.advance(0) == releasing.advance(0) == 1
        assert plain.state == releasing.state and values == ["A", "B", "C", "input"]
        assert plain.advance(1) == releasing.advance(1) == 2
        assert values == ["A", "B", "C", "input"]
        releasing.put_back(2)
        assert releasing.take() == 2 and values[:2] == ["A", "B"]
        releasing.done(2)
        assert values == [MISSING, MISSING, "C", "input"]

    def test_skip(self) -> None:
        values = ["A", "B", MISSING, "input"]
        releasing = freeing(self.plan(), values, [])
        releasing.done(releasing.take())
        assert releasing.skip(1) == [1, 2]
        assert values == [MISSING, "B", MISSING, "input"] or values == [MISSING, MISSING, MISSING, "input"]

    def test_cancel_rest(self) -> None:
        values = ["A", MISSING, MISSING, "input"]
        releasing = freeing(self.plan(), values, [])
        releasing.done(releasing.take())
        assert releasing.take() == 1
        releasing.cancel_rest()
        assert values[0] == "A"  # b is still at work
        releasing.cancelled(1)
        assert values == [MISSING, MISSING, MISSING, "input"]

    def test_order_by_rank(self) -> None:
        watch = Watch()
        watch.node("low")
        watch.node("high", priority=5)
        watch.node("after_low", "low", priority=9)
        watch.run(order="critical_path")
        assert list(watch.seen) == ["high", "low", "after_low"]


async def passes_through(next: Any, ctx: flow.Context) -> Any:
    return await next()


def passes_plainly(next: Any, ctx: flow.Context) -> Any:
    return next()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"timeout": 60.0},
        {"timeout": flow.Timeout(attempt=60.0, node=90.0), "retry": Retry(2, delay=0.0)},
        {"middleware": [passes_through]},
        {"middleware": [passes_plainly, passes_through], "timeout": 60.0},
        {"thread": True},
        {"thread": True, "timeout": 60.0, "middleware": [passes_plainly]},
    ],
    ids=named,
)
@pytest.mark.parametrize("watched", [False, True])
def test_bound_nodes_hold_nothing(backend: str, options: dict[str, Any], watched: bool) -> None:
    watch = Watch()
    for k in range(6):
        watch.node(f"n{k}", *([f"n{k - 1}"] if k else []), waits="thread" not in options and k % 2 == 0, **options)
    settings = {"timing": True, "observers": (lambda event: None,)} if watched else {}
    result = watch.run(backend=backend, **settings)
    assert result.ok and set(result) == {"n5"}
    # A worker thread lets go of a call's arguments some time after the call.
    late = {f"n{k}": {f"n{k - 2}"} if k > 1 and "thread" in options else set() for k in range(7)}
    wanted = {f"n{k}": {f"n{k - 1}"} if k else set() for k in range(7)}
    for name, alive in [*watch.seen.items(), ("n6", watch.alive)]:
        assert wanted[name] <= alive <= wanted[name] | late[name], name
    assert len(watch.seen) == 6


def test_a_node_with_a_context() -> None:
    watch = Watch()
    watch.node("a")

    def b(ctx: flow.Context, *, a: Output) -> Output:
        assert ctx.node == "b" and watch.alive == {"a"}
        return Output("b")

    watch.dag.add("b", b)
    watch.node("c", "b")
    result = watch.run()
    assert watch.alive == {"c"} == set(result)


# -- memory ----------------------------------------------------------------------------------


def megabyte(x: Any = None) -> bytearray:
    return bytearray(1_000_000)


async def async_megabyte(x: Any = None) -> bytearray:
    return bytearray(1_000_000)


async def waiting_megabyte(x: Any = None) -> bytearray:
    await anyio.lowlevel.checkpoint()
    return bytearray(1_000_000)


@pytest.mark.parametrize(
    ("fn", "options"),
    [
        (megabyte, {}),
        (megabyte, {"mode": "tasks"}),
        (megabyte, {"timing": True}),
        (async_megabyte, {}),
        (async_megabyte, {"backend": "trio"}),
        (waiting_megabyte, {}),
        (waiting_megabyte, {"backend": "trio"}),
        (waiting_megabyte, {"limit": 4}),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
@pytest.mark.slow
def test_a_long_chain_of_megabytes(fn: Any, options: dict[str, Any]) -> None:
    count = 3_000
    dag = flow.Dag("chain")
    for k in range(count):
        dag.add(f"n{k}", fn, needs=[f"n{k - 1}"] if k else None)
    plan = dag.compile()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        result = flow.run(plan, config=Config(keep="targets", **options))
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert list(result) == [f"n{count - 1}"] and result.counts == {Status.COMPLETED: count}
    assert peak < 20_000_000


# -- properties ------------------------------------------------------------------------------


class Spec(msgspec.Struct):
    """One node: what it reads (perhaps twice) and comes after, and how often it fails."""

    data: list[int]
    after: list[int]
    waits: bool
    fails: int
    attempts: int
    tolerant: bool
    priority: int


def specs_of(seed: int) -> list[Spec]:
    random = Random(seed)
    trouble = random.choice([0.0, 0.15, 0.4])
    waiting = random.choice([0.0, 0.5, 1.0])
    specs = []
    for i in range(random.randint(1, 25)):
        wanted = [random.randrange(i) for _ in range(random.randint(0, 3))] if i else []
        cut = random.randint(0, len(wanted))
        specs.append(
            Spec(
                data=wanted[:cut],
                after=wanted[cut:],
                waits=random.random() < waiting,
                fails=random.choice([1, 2, 99]) if random.random() < trouble else 0,
                attempts=random.choice([1, 2, 3]),
                tolerant=random.random() < 0.3,
                priority=random.choice([0, 0, 1, -1]),
            )
        )
    return specs


class World:
    """Runs a Spec list, and compares what is alive with what must be at every call."""

    def __init__(self, specs: list[Spec], kept: set[int], wrapped: bool) -> None:
        self.specs = specs
        self.kept = kept
        self.wrapped = wrapped  # a node's traceback then holds its inputs, in the frame that called it
        self.calls = [0] * len(specs)
        self.done: dict[int, weakref.ref[Output]] = {}
        self.failed: set[int] = set()
        self.over = False
        self.faults: list[tuple[str, set[int], set[int]]] = []
        self.dag = dag_of(specs, self._function)

    def _function(self, i: int, spec: Spec) -> Callable[..., Any]:
        def call(*values: Output) -> Output:
            self.calls[i] += 1
            if [value.name for value in values] != [str(d) for d in spec.data]:
                self.faults.append((f"n{i} was passed the wrong values", set(), set()))
            del values
            self.look(f"n{i}, call {self.calls[i]}")
            if self.calls[i] <= spec.fails:
                if self.calls[i] == spec.attempts:
                    self.failed.add(i)
                raise ValueError(i)
            output = Output(str(i))
            self.done[i] = weakref.ref(output)
            return output

        async def acall(*values: Output) -> Output:
            for _ in range(i % 3):
                await anyio.lowlevel.checkpoint()
            try:
                return call(*values)
            finally:
                del values

        return acall if spec.waits else call

    def alive(self) -> set[int]:
        return {i for i, ref in self.done.items() if ref() is not None}

    def look(self, where: str) -> None:
        """Note it if not exactly what is needed is alive. (Raising in a node would only fail the node.)"""
        needed, alive = self.needed(), self.alive()
        raised = [i for i, calls in enumerate(self.calls) if calls and i not in self.done]
        by_tracebacks = {d for i in raised for d in self.specs[i].data} if self.wrapped else set()
        # In a run that is ending, a node that raises has ended, whatever attempts it had left.
        ending = not self.over and any(not self.specs[i].tolerant for i in self.failed)
        if not (ending or needed <= alive) or not alive <= needed | by_tracebacks:
            self.faults.append((where, needed, alive))

    def ended(self) -> set[int]:
        """The nodes that will not be called again, by brute force."""
        if self.over:
            return set(range(len(self.specs)))
        ended = self.done.keys() | self.failed
        bad = set(self.failed)
        for i, spec in enumerate(self.specs):
            after = [d for d in spec.after if not (d in self.failed and self.specs[d].tolerant)]
            if bad.intersection(spec.data) or bad.intersection(after):
                bad.add(i)
        return ended | bad

    def needed(self) -> set[int]:
        """The outputs there are that somebody will read yet, or that are kept."""
        ended = self.ended()
        reads = {d for i, spec in enumerate(self.specs) if i not in ended for d in spec.data}
        return self.done.keys() & (reads | self.kept)


options_of = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(DRIVERS),
        "limit": st.sampled_from([None, 1, 2, 5]),
        "on_error": st.sampled_from(["collect", "collect", "fail_fast"]),
        "order": st.sampled_from(["definition", "critical_path"]),
        "timing": st.booleans(),
        "timeout": st.sampled_from([None, None, 60.0]),
    }
)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_exactly_what_is_needed_is_alive(backend: str) -> None:
    @examples(250 if backend == "asyncio" else 100)
    @given(st.integers(0, 2**32), options_of, st.sampled_from(["targets", "list", "part"]))
    def check(seed: int, options: dict[str, Any], keep: str) -> None:
        specs = specs_of(seed)
        random = Random(seed + 1)
        some = {i for i in range(len(specs)) if random.random() < 0.3}
        used = set(range(len(specs)))
        targets = None
        if keep == "targets":
            some = used - {d for spec in specs for d in spec.data + spec.after}
        elif keep == "part":
            some = some or {0}
            targets = [f"n{i}" for i in some]
            used = set(some)
            for i in reversed(range(len(specs))):
                used.update(specs[i].data + specs[i].after if i in used else ())
            specs = [spec if i in used else msgspec.structs.replace(spec, data=[]) for i, spec in enumerate(specs)]
        world = World(specs, some, options["timing"])
        kept = [f"n{i}" for i in some] if keep == "list" else "targets"
        config = Config(keep=kept, backend=backend, **options)  # type: ignore[arg-type]
        try:
            result = flow.run(world.dag, targets=targets, config=config)
        except flow.RunError as error:
            result = error.result
            assert options["on_error"] == "fail_fast"
            del error
        assert {int(name[1:]) for name in result} == world.done.keys() & some
        world.over = True
        world.look("the end")
        assert world.faults == []
        completed = {int(name[1:]) for name, status in result.status.items() if status is Status.COMPLETED}
        assert completed == set(world.done) <= used
        if options["on_error"] == "collect":
            again = World(specs, set(range(len(specs))), False)  # keeping all, everything is as it was
            whole = flow.run(again.dag, targets=targets, config=config.replace(keep="all"))
            assert dict(whole.status) == dict(result.status) and world.calls == again.calls

    check()
