"""Items that fail: what is raised, collected, skipped, tried again, limited in time and told to observers."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from conftest import LoopClock, collected, error_of
from map_cases import double, failure_of, go, mapped

import flow
from flow import Config, Context, MapResult, Retry, Status, Timeout


class TestErrors:
    def failing(self, *indices: int, waits: bool = False) -> Any:
        def fn(x: int) -> int:
            if x in indices:
                raise ValueError(x)
            return x

        async def afn(x: int) -> int:
            await anyio.lowlevel.checkpoint()
            return fn(x)

        return afn if waits else fn

    @pytest.mark.parametrize("bad", [0, 2, 4])
    def test_one_item_fails_with_its_own_exception(self, mode: dict[str, Any], backend: str, bad: int) -> None:
        boom = ValueError("mine")

        def fn(x: int) -> int:
            if x == bad:
                raise boom
            return x

        async def afn(x: int) -> int:
            await anyio.lowlevel.checkpoint()
            return fn(x)

        for f in (fn, afn):
            vars(boom).clear()
            error = error_of(mapped(f, range(5)), backend=backend, **mode)
            assert error.exceptions == (boom,)
            line = f.__code__.co_firstlineno
            assert boom.__notes__ == [f"in item {bad} ({bad}) of map 'm'", f"in node 'm' ({__file__}:{line})"]
            assert boom.__traceback__ is not None
            assert boom.__traceback__.tb_frame.f_code is f.__code__, "the traceback begins in the user's function"
            assert error.result.status["m"] is Status.FAILED

    def test_several_at_once_are_a_group(self, virtual: Any) -> None:
        async def fn(x: int) -> int:
            await anyio.sleep(1)
            raise (KeyError if x % 2 else ValueError)(x)

        with pytest.raises(flow.RunError) as caught:
            virtual(flow.execute, mapped(fn, range(3)))
        (error,) = caught.value.exceptions
        assert isinstance(error, flow.errors.MapError)
        assert str(error) == "3 items of map 'm' failed: 0, 1, 2 (3 sub-exceptions)"
        assert error.indices == (0, 1, 2)
        assert [type(e) for e in error.exceptions] == [ValueError, KeyError, ValueError]
        assert error.exceptions[1].__notes__ == ["in item 1 (1) of map 'm'"]
        seen = []
        try:
            raise error
        except* KeyError as group:
            seen.append((type(group), group.indices))  # type: ignore[attr-defined]
        except* ValueError as group:
            seen.append((type(group), group.indices))  # type: ignore[attr-defined]
        assert seen == [(flow.errors.MapError, (1,)), (flow.errors.MapError, (0, 2))]

    def test_many_failures_are_named_shortly(self) -> None:
        result = go(self.failing(*range(30)), range(30), on_error="collect")
        with pytest.raises(
            flow.errors.MapError, match="30 items of map 'm' failed: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 20 more"
        ):
            result.raise_for_errors()

    def test_nothing_more_is_started_after_a_failure(self, mode: dict[str, Any]) -> None:
        seen: list[int] = []

        def fn(x: int) -> None:
            seen.append(x)
            raise ValueError(x)

        settings = mode | {"limit": 1}
        assert isinstance(failure_of(fn, range(100), settings=settings), ValueError)
        assert seen == [0]

    def test_hostile_reprs(self) -> None:
        class Hostile:
            def __repr__(self) -> str:
                raise RuntimeError("no")

        def fn(x: Any) -> None:
            raise ValueError("boom")

        error = failure_of(fn, [Hostile()])
        assert error.__notes__[0] == "in item 0 (<Hostile without a usable repr>) of map 'm'"
        error = failure_of(fn, ["x" * 10_000])
        assert len(error.__notes__[0]) < 200
        assert "(10000 characters)" in error.__notes__[0]

    def test_exceptions_that_take_no_notes(self) -> None:
        class Frozen(Exception):
            def add_note(self, note: str) -> None:
                raise AttributeError

            def with_traceback(self, tb: Any) -> Any:
                raise AttributeError

        boom = Frozen()

        def fn(x: int) -> None:
            raise boom

        assert failure_of(fn, [1]) is boom
        assert go(fn, [1], on_error="collect").errors == {0: boom}

    def test_one_object_raised_by_many_items(self) -> None:
        boom = ValueError("shared")

        def fn(x: int) -> None:
            raise boom

        result = go(fn, range(100), on_error="collect")
        assert set(map(id, result.errors.values())) == {id(boom)}
        assert len(boom.__notes__) <= 20
        with pytest.raises(ValueError) as caught:
            result.raise_for_errors()
        assert caught.value is boom

    def test_collect(self, mode: dict[str, Any], backend: str) -> None:
        config = Config(backend=backend, **mode)  # type: ignore[arg-type]
        for waits in (False, True):
            result = go(self.failing(1, 3, waits=waits), range(5), on_error="collect", config=config)
            assert isinstance(result, MapResult)
            assert (result.values, list(result)) == ([0, 2, 4], [0, 2, 4])
            assert result.items() == [(0, 0), (2, 2), (4, 4)]
            assert list(result.errors) == [1, 3]
            assert (result.completed, result.failed, len(result), result.ok) == (3, 2, 5, False)
            assert (result[0], result[-1], result.keys) == (0, 4, None)
            with pytest.raises(ValueError) as caught:
                result[1]
            assert caught.value is result.errors[1]
            with pytest.raises(flow.errors.MapError) as group:
                result.raise_for_errors()
            assert group.value.indices == (1, 3)
            assert repr(result) == (
                "<MapResult of 'm': 3 of 5 items completed\n  item 1: ValueError: 1\n  item 3: ValueError: 3>"
            )

    def test_a_map_result(self) -> None:
        whole = go(double, range(3), on_error="collect")
        assert whole == go(double, range(3), on_error="collect")
        assert whole != go(double, range(4), on_error="collect")
        assert whole != [0, 2, 4]
        assert (whole.ok, whole.errors, repr(whole)) == (True, {}, "<MapResult of 'm': 3 of 3 items completed>")
        assert whole.raise_for_errors() is None
        with pytest.raises(TypeError, match="unhashable"):
            hash(whole)
        for index in (3, -4, True, "0", 1.0):
            with pytest.raises(flow.UsageError, match=f"by index from 0; there is none at {index!r}"):
                whole[index]
        many = go(self.failing(*range(9)), range(9), on_error="collect")
        assert repr(many).endswith("\n  ... and 4 more errors>")
        keyed = go(lambda x: 1 // x, {"a": 1, "b": 0}, on_error="collect")
        assert (keyed.keys, keyed.items(), list(keyed.errors)) == (["a", "b"], [("a", 1)], [1])

    def test_skip(self, mode: dict[str, Any], backend: str) -> None:
        config = Config(backend=backend, **mode)  # type: ignore[arg-type]
        for waits in (False, True):
            assert go(self.failing(0, 2, 4, waits=waits), range(5), on_error="skip", config=config) == [1, 3]
            assert go(self.failing(*range(5), waits=waits), range(5), on_error="skip", config=config) == []

    def test_a_batchs_error_is_that_of_its_items(self, mode: dict[str, Any], backend: str) -> None:
        config = Config(backend=backend, **mode)  # type: ignore[arg-type]

        def batch(items: list[int]) -> list[int]:
            if 2 in items or 6 in items:
                raise ValueError(items)
            return items

        result = go(batch, range(7), batch_size=2, on_error="collect", config=config)
        assert result.items() == [(0, 0), (1, 1), (4, 4), (5, 5)]
        assert {i: e.args for i, e in result.errors.items()} == {2: ([2, 3],), 3: ([2, 3],), 6: ([6],)}
        assert result.errors[2].__notes__ == ["in the batch from item 2 ([2, 3]) of map 'm'"]
        assert go(batch, range(7), batch_size=2, on_error="skip", config=config) == [0, 1, 4, 5]
        error = failure_of(batch, range(5), batch_size=3)
        assert error.args == ([0, 1, 2],)


class TestRetryAndTimeout:
    @pytest.mark.parametrize("options", [{}, {"thread": True}])
    def test_only_what_failed_is_tried_again(self, mode: dict[str, Any], backend: str, options: Any) -> None:
        clock = flow.testing.FakeClock()
        lock = threading.Lock()
        calls: dict[int, list[int]] = {}

        def flaky(x: int, ctx: Context) -> int:
            with lock:
                calls.setdefault(x, []).append(ctx.attempt)
            if ctx.attempt <= x % 3:
                raise OSError(x)
            return 10 * x

        async def aflaky(x: int, ctx: Context) -> int:
            await anyio.lowlevel.checkpoint()
            return flaky(x, ctx)

        config = Config(backend=backend, clock=clock, **mode)  # type: ignore[arg-type]
        retry = Retry(3, delay=1.0, multiplier=2.0)
        for fn in (flaky,) if options else (flaky, aflaky):
            calls.clear()
            assert go(fn, range(7), retry=retry, config=config, **options) == [10 * x for x in range(7)]
            assert calls == {x: list(range(1, x % 3 + 2)) for x in range(7)}
        calls.clear()
        result = go(flaky, range(4), retry=Retry(2, delay=1.0), on_error="collect", config=config, **options)
        assert (result.values, list(result.errors)) == ([0, 10, 30], [2])
        assert result.errors[2].__notes__ == ["in item 2 (2) of map 'm', attempt 2"]
        assert calls == {0: [1], 1: [1, 2], 2: [1, 2], 3: [1]}

    def test_delays_inline(self) -> None:
        clock = flow.testing.FakeClock()

        def flaky(x: int, ctx: Context) -> int:
            if ctx.attempt < 3:
                raise OSError
            return x

        assert go(flaky, [7], retry=Retry(3, delay=1.0, multiplier=3.0), config=Config(clock=clock)) == [7]
        assert clock.slept == [1.0, 3.0]

    def test_the_node_itself_is_not_tried_again(self) -> None:
        calls: list[int] = []

        def bad(x: int) -> None:
            calls.append(x)
            raise OSError(x)

        result = collected(mapped(bad, [1], retry=Retry(3, delay=0.0)))
        assert calls == [1, 1, 1]
        assert result.attempts["m"] == 1

    def test_limits_are_each_items(self, virtual: Any) -> None:
        async def work(x: int) -> int:
            await anyio.sleep(x)
            return x

        def run(**options: Any) -> Any:
            config = Config(clock=LoopClock())
            return virtual(lambda: flow.execute(mapped(work, [0.1, 5, 0.2], **options), config=config))["m"]

        result = run(timeout=1.0, on_error="collect", concurrency=1)
        assert result.values == [0.1, 0.2]
        assert str(result.errors[1]) == "node 'm[1]' exceeded its attempt limit of 1 s"
        assert isinstance(result.errors[1], flow.NodeTimeout)
        result = run(timeout=Timeout(node=2.5, attempt=1.0), retry=Retry(9, delay=0.0), on_error="collect")
        assert str(result.errors[1]) == "node 'm[1]' exceeded its overall limit of 2.5 s"
        assert result.errors[1].__notes__ == ["in item 1 (5) of map 'm', attempt 3"]

    def test_limits_of_sync_items(self) -> None:
        clock = flow.testing.FakeClock()

        def work(x: float) -> float:
            clock.sleep(x)
            return x

        result = go(work, [0.1, 5.0, 0.2], timeout=1.0, on_error="collect", config=Config(clock=clock))
        assert result.values == [0.1, 0.2]
        assert str(result.errors[1]).startswith("node 'm[1]' exceeded its attempt limit of 1 s: it took 5 s")

    @pytest.mark.parametrize("options", [{"thread": True}, {"config": {"executor": "thread"}}])
    def test_items_in_threads(self, backend: str, options: dict[str, Any]) -> None:
        here = threading.get_ident()
        both = threading.Barrier(2, timeout=20)

        def work(x: int) -> bool:
            both.wait()
            return threading.get_ident() != here

        config = Config(backend=backend, threads=2, **options.get("config", {}))  # type: ignore[arg-type]
        dag = mapped(work, range(4), timeout=20.0, thread="thread" in options)
        assert flow.run(dag, config=config)["m"] == [True] * 4


class TestWhatIsSeen:
    def test_events(self, backend: str) -> None:
        seen: list[Any] = []
        clock = flow.testing.FakeClock()

        def fn(x: int, ctx: Context) -> int:
            if x == 1 or (x == 2 and ctx.attempt == 1):
                raise ValueError(x)
            return x

        async def afn(x: int, ctx: Context) -> int:
            return fn(x, ctx)

        retry = Retry(2, delay=1.0, retry_if=lambda e: e.args == (2,))
        for f in (fn, afn):
            seen.clear()
            config = Config(observers=[seen.append], clock=clock, backend=backend)  # type: ignore[arg-type]
            go(f, range(4), on_error="skip", retry=retry, config=config)
            mine = [e for e in seen if type(e).__name__.startswith(("Map", "Item"))]
            assert (type(mine[0]).__name__, mine[0].node, mine[0].items) == ("MapStarted", "m", 4)
            ends = sorted((e.index, type(e).__name__, getattr(e, "attempt", None)) for e in mine[1:])
            assert ends == [
                (0, "ItemFinished", None), (1, "ItemFailed", 1), (2, "ItemFinished", None), (2, "ItemRetried", 1),
                (3, "ItemFinished", None),
            ]  # fmt: skip
            assert {e.run_id for e in seen} == {seen[0].run_id}
            assert next(e.delay for e in mine if type(e).__name__ == "ItemRetried") == 1.0

    def test_how_many_items_are_announced(self) -> None:
        seen: list[Any] = []
        config = Config(observers=[lambda e: seen.append(e) if type(e).__name__ == "MapStarted" else None])
        for source, options, count in (
            ([1, 2, 3], {}, 3), ([1, 2, 3], {"take": 2}, 2), ([1, 2, 3], {"batch_size": 2}, 2),
            (lambda: (x for x in [1]), {}, None), ({"a": 1}, {}, 1),
        ):  # fmt: skip
            seen.clear()
            go(lambda x: x, source, config=config, **options)
            assert [e.items for e in seen] == [count]
        dag = flow.Dag("d")
        dag.map("a", lambda x: 1 // x, over="xs", on_error="collect")
        dag.map("b", double, over="a")
        seen.clear()
        flow.run(dag, {"xs": [1, 0, 2]}, config=config)
        assert [e.items for e in seen] == [3, 2], "only what completed is gone over"

    def test_middleware_is_the_nodes(self) -> None:
        seen: list[Any] = []

        def layer(next: Any, ctx: Context) -> Any:
            value = next()
            seen.append((ctx.node, value))
            return value

        assert go(double, [1, 2], middleware=[layer]) == [2, 4]
        assert seen == [("m", [2, 4])]

    def test_the_plan_shows_maps(self) -> None:
        plan = mapped(double, [1]).compile()
        assert repr(plan._nodes.fns[1]).endswith(" for each of xs>")
