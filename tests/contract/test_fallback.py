"""``fallback=``: a value, or a function of the exception, that becomes the output after the last attempt."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import pytest
from conftest import collected, modes

import flow
from flow import Config, Retry
from flow.testing import FakeClock


def down(*values: Any) -> Any:
    raise OSError("down")


async def down_later(*values: Any) -> Any:
    await anyio.lowlevel.checkpoint()
    raise OSError("down")


def one(fn: Callable[..., Any] = down, **options: Any) -> flow.Dag:
    """A Dag of the node ``price``, and ``shop`` that takes its output."""
    dag = flow.Dag("shop")
    dag.add("price", fn, needs=[], **options)
    dag.add("shop", lambda price: ("shop", price))
    return dag


@pytest.mark.parametrize("fn", [down, down_later])
@pytest.mark.parametrize("fallback", [7, None, [], lambda error: 7, str, LookupError, partial(max, 3)])
def test_stands_in_for_the_output(fn: Any, fallback: Any, mode: dict[str, Any], backend: str) -> None:
    if fallback == partial(max, 3) or isinstance(fallback, partial):
        fallback = partial(lambda three, error: three, 3)
    result = flow.run(one(fn, fallback=fallback), config=Config(backend=backend, **mode))  # type: ignore[arg-type]
    error = result.fallbacks["price"]
    assert isinstance(error, OSError) and error.args == ("down",)
    wanted = fallback(error) if callable(fallback) else fallback
    assert repr(result["shop"]) == repr(("shop", wanted))
    assert (result.ok, result.errors, str(result.status["price"])) == (True, {}, "completed")
    assert list(result.fallbacks) == ["price"]
    assert error.__notes__[0].startswith("in node 'price' (")


def test_decorated_nodes_take_it() -> None:
    dag = flow.Dag("d")

    @dag.node(fallback=[])
    def ads() -> list[str]:
        raise OSError("down")

    @dag.node
    def page(ads: list[str]) -> int:
        return len(ads)

    result = flow.run(dag)
    assert result[page] == 0 and result.ok and "ads" in result.fallbacks


def test_comes_after_the_last_attempt_once() -> None:
    calls: list[int] = []
    told: list[Exception] = []

    def flaky() -> None:
        calls.append(len(calls))
        raise OSError(len(calls))

    def stand_in(error: Exception) -> str:
        told.append(error)
        return "stand-in"

    dag = one(flaky, retry=Retry(3, delay=1.0), fallback=stand_in)
    result = flow.run(dag, config=Config(clock=FakeClock()))
    assert (calls, result["price"], result.attempts["price"]) == ([0, 1, 2], "stand-in", 3)
    assert told == [result.fallbacks["price"]] and told[0].args == (3,)
    fine = one(lambda: 1, retry=Retry(3), fallback=stand_in)
    assert flow.run(fine).fallbacks == {} and len(told) == 1


def test_a_time_limit_passed_is_a_failure_like_others() -> None:
    dag = one(partial(anyio.sleep, 60), timeout=0.01, fallback=0)
    result = flow.run(dag)
    assert result["price"] == 0 and isinstance(result.fallbacks["price"], flow.NodeTimeout)


def test_what_cancels_itself_on_asyncio_falls_back() -> None:
    async def odd() -> None:
        raise asyncio.CancelledError

    result = flow.run(one(odd, fallback=0))
    assert result["price"] == 0 and isinstance(result.fallbacks["price"], flow.errors.NodeCancelled)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_run_has_no_fallback(is_async: bool, kind: type[BaseException]) -> None:
    told: list[BaseException] = []

    async def waits() -> None:
        await anyio.sleep(0)
        raise kind

    def raises() -> None:
        raise kind

    with pytest.raises(kind):
        flow.run(one(waits if is_async else raises, fallback=told.append))
    assert told == []


def test_the_runs_own_limit_has_no_fallback() -> None:
    with pytest.raises(flow.RunError) as caught:
        flow.run(one(partial(anyio.sleep, 60), fallback=0), config=Config(timeout=0.01))
    result = caught.value.result
    assert (result.fallbacks, str(result.status["price"]), result.ok) == ({}, "cancelled", False)


class TestValue:
    def test_each_run_gets_a_copy_of_its_own(self) -> None:
        dag = flow.Dag("d")
        given = {"seen": [1]}
        dag.add("cache", down, needs=[], fallback=given)
        dag.add("other", down, needs=[], fallback=given)
        dag.add("grown", lambda cache: cache["seen"].append(2) or cache)
        plan = dag.compile()
        for _ in range(2):
            result = flow.run(plan)
            assert result["grown"] == {"seen": [1, 2]} and result["other"] == {"seen": [1]}
        assert given == {"seen": [1]}

    def test_each_item_gets_a_copy_of_its_own(self) -> None:
        dag = flow.Dag("d")
        dag.map("lists", down, over="numbers", fallback=[])
        result = flow.run(dag, {"numbers": [1, 2]})
        assert result["lists"] == [[], []] and result["lists"][0] is not result["lists"][1]

    def test_a_bare_object_keeps_its_identity(self) -> None:
        marker = object()
        assert flow.run(one(fallback=marker))["price"] is marker

    def test_a_callable_is_given_by_a_function(self) -> None:
        assert flow.run(one(fallback=lambda error: len))["price"] is len


class TestRefused:
    @pytest.mark.parametrize(
        ("options", "fault"),
        [
            ({"fallback": down_later}, "fallback is an async function, which nothing would await: make it sync"),
            ({"fallback": lambda: 1}, "fallback is a function of the exception, and <function .* one argument"),
            ({"fallback": 1, "continue_on_error": True}, "continue_on_error and fallback exclude each other"),
            ({"fallback": (i for i in ())}, "fallback is copied .*, and <generator .* give a function of the exc"),
        ],
    )
    @pytest.mark.parametrize("kind", ["add", "map", "filter", "flat_map", "reduce"])
    def test_before_anything_runs(self, options: dict[str, Any], fault: str, kind: str) -> None:
        dag = flow.Dag("d")
        if kind == "add":
            dag.add("price", lambda: 1, **options)
        elif kind == "reduce":
            dag.reduce("price", lambda so_far, item: 1, over="items", start=0, **options)
        else:
            getattr(dag, kind)("price", lambda item: [1], over="items", **options)
        with pytest.raises(flow.DefinitionError, match=f"node 'price' .*{fault}"):
            dag.compile()


class TestBroken:
    def broken(self, error: Exception) -> Any:
        raise KeyError("no\nstand-in")

    @pytest.mark.parametrize("fn", [down, down_later])
    def test_the_nodes_own_exception_stands(self, fn: Any) -> None:
        result = collected(one(fn, fallback=self.broken))
        error = result.errors["price"]
        assert isinstance(error, OSError) and (result.fallbacks, result.ok) == ({}, False)
        note = error.__notes__[1]
        assert note.startswith(f"its fallback ({__file__}:") and note.endswith(") raised KeyError: 'no\\nstand-in'")
        assert str(result.status["shop"]) == "skipped"

    def test_an_item(self) -> None:
        dag = flow.Dag("d")
        dag.map("pages", down, over="urls", fallback=self.broken, on_error="collect")
        result = flow.run(dag, {"urls": ["a"]})
        assert list(result["pages"].errors) == [0] and result.fallbacks == {}
        assert "its fallback (" in result["pages"].errors[0].__notes__[1]

    @pytest.mark.parametrize("mode", modes("inline", "tasks"))
    def test_an_interrupt_in_it_ends_the_run(self, mode: Any) -> None:
        def stand_in(error: Exception) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            flow.run(one(fallback=stand_in), config=Config(**mode))


class TestTold:
    @pytest.mark.parametrize("fn", [down, down_later])
    def test_events(self, fn: Any) -> None:
        seen: list[Any] = []
        tracker = flow.plan.StatusTracker(["price", "shop"])
        observers = [seen.append, flow.observe.tracking(tracker)]
        result = flow.run(one(fn, retry=Retry(2, delay=0.0), fallback=1), config=Config(observers=observers))
        kinds = [type(event).__name__ for event in seen if getattr(event, "node", "") == "price"]
        assert kinds == ["NodeStarted", "NodeRetried", "NodeStarted", "NodeFallback", "NodeFinished"]
        fallback, finished = seen[-5], seen[-4]
        assert isinstance(fallback, flow.events.NodeFallback) and isinstance(finished, flow.events.NodeFinished)
        assert (fallback.error, fallback.attempt, finished.attempt) == (result.fallbacks["price"], 2, 2)
        assert tracker["price"] == "completed"

    def test_duration_is_that_of_the_last_attempt(self) -> None:
        clock = FakeClock()

        def slow() -> None:
            clock.sleep(3.0)
            raise OSError

        seen: list[Any] = []
        dag = one(slow, retry=Retry(2, delay=10.0), fallback=1)
        result = flow.run(dag, config=Config(observers=[seen.append], clock=clock, timing=True))
        finished = [event for event in seen if isinstance(event, flow.events.NodeFinished)]
        assert finished[0].duration == pytest.approx(3.0)
        assert result.durations["price"] == pytest.approx(16.0)

    def test_repr_and_dict(self) -> None:
        dag = one(fallback=1)
        dag.map("pages", down, over="urls", fallback=None)
        result = flow.run(dag, {"urls": ["a", "b"]})
        assert "\n  price: fallback after OSError: down\n" in repr(result)
        assert "\n  pages: fallback for item 0 and 1 more item, after OSError: down>" in repr(result)
        nodes = result.to_dict()["nodes"]
        assert (nodes["price"]["status"], nodes["price"]["fallback"]) == ("completed", "OSError: down")
        assert nodes["pages"]["fallback"] == {"0": "OSError: down", "1": "OSError: down"}
        assert "fallback" not in nodes["shop"]


def test_others_go_on_and_outputs_are_freed(mode: dict[str, Any]) -> None:
    dag = one(fallback=1)
    dag.add("other", lambda: 2, after="price")
    settings = mode | {"keep": "targets"}
    result = flow.run(dag, config=Config(**settings))
    assert dict(result) == {"shop": ("shop", 1), "other": 2}
    part = flow.run(dag, targets="price")
    assert dict(part) == {"price": 1} and list(part.fallbacks) == ["price"]


def test_a_dag_as_a_node_and_a_fold_fall_back_as_a_whole() -> None:
    inner = flow.Dag("inner")
    inner.add("bad", down, needs=[])
    dag = flow.Dag("d")
    dag.add("sub", inner, fallback={})
    dag.reduce("sum", down, over="numbers", start=0, fallback=-1)
    result = flow.run(dag, {"numbers": [1]})
    assert (result["sub"], result["sum"], list(result.fallbacks)) == ({}, -1, ["sub", "sum"])
    assert isinstance(result.fallbacks["sub"], flow.RunError)


def test_a_node_within_a_dag_as_a_node() -> None:
    dag = flow.Dag("d")
    dag.add("sub", one(fallback=1))
    result = flow.run(dag)
    assert (result["sub"]["shop"], result.ok) == (("shop", 1), True)


def odd_only(item: int) -> int:
    if item % 2 == 0:
        raise ValueError(item)
    return 10 * item


async def odd_only_later(item: int) -> int:
    await anyio.lowlevel.checkpoint()
    return odd_only(item)


@pytest.mark.parametrize("fn", [odd_only, odd_only_later])
class TestItems:
    def run(self, kind: str, fn: Any, backend: str = "asyncio", over: Any = (1, 2, 3, 4), **options: Any) -> Any:
        dag = flow.Dag("d")
        getattr(dag, kind)("m", fn, over="numbers", **options)
        return flow.run(dag, {"numbers": over}, config=Config(backend=backend))  # type: ignore[arg-type]

    def test_map(self, fn: Any, backend: str) -> None:
        result = self.run("map", fn, backend, fallback=0, retry=Retry(2, delay=0.0))
        assert (result["m"], result.ok, result.errors) == ([10, 0, 30, 0], True, {})
        assert list(result.fallbacks) == ["m"]
        assert {i: error.args for i, error in result.fallbacks["m"].items()} == {1: (2,), 3: (4,)}
        assert "in item 1 (2) of map 'm', attempt 2" in result.fallbacks["m"][1].__notes__

    @pytest.mark.parametrize("on_error", ["fail", "skip"])
    def test_with_keys(self, fn: Any, on_error: str) -> None:
        over = {"a": 1, "b": 2}
        assert self.run("map", fn, over=over, on_error=on_error, fallback=str)["m"] == {"a": 10, "b": "2"}

    def test_collected(self, fn: Any) -> None:
        result = self.run("map", fn, on_error="collect", fallback=0)
        assert (result["m"].values, result["m"].ok, list(result.fallbacks["m"])) == ([10, 0, 30, 0], True, [1, 3])

    @pytest.mark.parametrize(("fallback", "kept"), [(False, [1, 3]), (True, [1, 2, 3, 4])])
    def test_filter(self, fn: Any, fallback: bool, kept: list[int]) -> None:
        result = self.run("filter", fn, fallback=fallback)
        assert result["m"] == kept and list(result.fallbacks["m"]) == [1, 3]

    def test_flat_map(self, fn: Any) -> None:
        async def several(item: int) -> list[int]:
            return [await odd_only_later(item)] * 2

        wrapped = several if fn is odd_only_later else lambda item: [odd_only(item)] * 2
        assert self.run("flat_map", wrapped, fallback=[])["m"] == [10, 10, 30, 30]
        assert self.run("flat_map", wrapped, fallback=lambda error: error.args)["m"] == [10, 10, 2, 30, 30, 4]
        result = self.run("flat_map", wrapped, on_error="skip", fallback=5)  # no list
        assert (result["m"], result.fallbacks) == ([10, 10, 30, 30], {})

    def test_batches(self, fn: Any) -> None:
        async def later(batch: list[int]) -> list[int]:
            return [await odd_only_later(item) for item in batch]

        batched = later if fn is odd_only_later else lambda batch: [odd_only(item) for item in batch]
        result = self.run("map", batched, over=[1, 3, 5, 2, 7], batch_size=2, fallback=[])
        assert result["m"] == [10, 30, [], [], 70] and result["m"][2] is not result["m"][3]
        assert list(result.fallbacks["m"]) == [2, 3]

    def test_pipelined(self, fn: Any, backend: str) -> None:
        dag = flow.Dag("d")
        dag.map("first", fn, over="numbers", fallback=0)
        dag.map("second", fn, over="first", pipelined=True, fallback=-1)
        result = flow.run(dag, {"numbers": [1, 2, 3]}, config=Config(backend=backend))  # type: ignore[arg-type]
        assert (result["first"], result["second"]) == ([10, 0, 30], [-1, -1, -1])
        assert {name: list(items) for name, items in result.fallbacks.items()} == {"first": [1], "second": [0, 1, 2]}

    def test_events_and_counts(self, fn: Any) -> None:
        seen: list[Any] = []
        dag = flow.Dag("d")
        dag.map("m", fn, over="numbers", fallback=0)
        result = flow.run(dag, {"numbers": [1, 2]}, config=Config(observers=[seen.append]))
        items = [(type(e).__name__, e.index) for e in seen if hasattr(e, "index")]
        assert sorted(items) == [("ItemFallback", 1), ("ItemFinished", 0), ("ItemFinished", 1)]
        assert items.index(("ItemFallback", 1)) < items.index(("ItemFinished", 1))
        told = next(e for e in seen if isinstance(e, flow.events.ItemFallback))
        assert (told.node, told.attempt, told.error) == ("m", 1, result.fallbacks["m"][1])

    def test_an_asynchronous_source(self, fn: Any) -> None:
        async def numbers() -> Any:
            for i in range(1, 5):
                yield i

        dag = flow.Dag("d")
        dag.add("numbers", numbers)
        dag.map("m", fn, over="numbers", concurrency=1, fallback=0)
        assert flow.run(dag)["m"] == [10, 0, 30, 0]

    def test_what_the_failed_attempt_published_is_dropped(self, fn: Any) -> None:
        def counted(item: int, ctx: flow.Context) -> int:
            ctx.publish("seen", item, merge="append")
            return odd_only(item)

        dag = flow.Dag("d")
        dag.map("m", counted, over="numbers", fallback=0)
        result = flow.run(dag, {"numbers": [1, 2, 3]})
        assert result.data["seen"] == [1, 3]

    def test_the_source_is_no_item(self, fn: Any) -> None:
        def numbers() -> Any:
            yield 2
            raise OSError("no more")

        dag = flow.Dag("d")
        dag.map("m", fn, over="numbers", fallback=0)
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, {"numbers": numbers()})
        assert caught.value.result.fallbacks == {}


def test_leaves_nothing_for_the_garbage_collector(frozen: None) -> None:
    dag = one(down_later, fallback=1)
    dag.map("m", down_later, over="numbers", fallback=0)
    plan = dag.compile()
    flow.run(plan, {"numbers": [1, 2]})
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            flow.run(plan, {"numbers": [1, 2]})
        found = [type(thing).__name__ for thing in _collected()]
        assert not {"PlanRun", "Items", "OSError", "Result"} & set(found)
    finally:
        gc.enable()


def _collected() -> list[Any]:
    """What the collector would free, saved from it for a look."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        return list(gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
