"""Generators that are left halfway: those of nested Dags, of several readers, of iterables; waiting ones; cancelled."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import anyio
import pytest
from source_cases import CONFIGS, VAR, Closed, afails, amade, fails, made

import flow
from flow import Config


def numbers(closed: list[str]) -> Iterator[int]:
    generator: Iterator[int] = made(closed)()
    return generator


def anumbers(closed: list[str]) -> AsyncIterator[int]:
    generator: AsyncIterator[int] = amade(closed)()
    return generator


@pytest.mark.parametrize("config", CONFIGS)
class TestWhose:
    @pytest.mark.parametrize("deep", [1, 2])
    @pytest.mark.parametrize("make", [numbers, anumbers])
    def test_a_dag_within_closes_what_a_node_around_it_has_made(self, config: Config, make: Any, deep: int) -> None:
        closed: list[str] = []

        def made() -> Any:
            return make(closed)

        dag = flow.Dag("inner")
        dag.map("m", afails, over="numbers", take=2)
        for level in range(deep):
            outer = flow.Dag(f"outer{level}")
            outer.add("m", dag)
            dag = outer
        dag.add("numbers", made)
        result = flow.run(dag, config=config)
        assert result.ok
        assert len(closed) == 1

    def test_a_dag_within_leaves_the_callers_open(self, config: Config) -> None:
        closed: list[str] = []
        inner = flow.Dag("inner")
        inner.map("m", fails, over="numbers", take=2)
        dag = flow.Dag("outer")
        dag.add("inner", inner)
        given = numbers(closed)
        assert flow.run(dag, {"numbers": given}, config=config)["inner"]["m"] == [0, 1]
        assert closed == []
        assert next(given) == 2

    def test_so_does_a_dag_per_item(self, config: Config) -> None:
        closed: list[str] = []
        inner = flow.Dag("inner")
        inner.map("m", fails, over="item", take=2)
        dag = flow.Dag("outer")
        dag.map("each", inner, over="items")
        given = [numbers(closed), numbers(closed)]
        result = flow.run(dag, {"items": given}, config=config)
        assert [one["m"] for one in result["each"]] == [[0, 1], [0, 1]]
        assert closed == []
        assert [next(one) for one in given] == [2, 2]

    def test_another_reader_goes_on_with_it(self, config: Config) -> None:
        closed: list[str] = []
        dag = flow.Dag("d")
        dag.add("lines", lambda: numbers(closed))
        dag.map("head", fails, over="lines", take=2)
        dag.map("rest", lambda line: line, over="lines", take=3, after="head")
        result = flow.run(dag, config=config)
        assert (result["head"], result["rest"]) == ([0, 1], [2, 3, 4])
        assert closed == []

    def test_what_iter_makes_is_closed_and_runs_in_one_context(self, config: Config) -> None:
        log: list[Any] = []

        class Numbers:
            def __iter__(self) -> Iterator[int]:
                try:
                    for i in range(100):
                        log.append(VAR.get())
                        VAR.set(i)
                        yield i
                finally:
                    log.append(f"closed in {VAR.get()}")

        given = Numbers()
        dag = flow.Dag("d")
        dag.map("m", afails, over="numbers", take=3)
        assert flow.run(dag, {"numbers": given}, config=config)["m"] == [0, 1, 2]
        assert log == ["unset", 0, 1, "closed in 2"]

    def test_what_iter_hands_out_again_is_not_closed(self, config: Config) -> None:
        closed: list[str] = []

        class Stream:
            def __init__(self) -> None:
                self.rest = numbers(closed)

            def __iter__(self) -> Iterator[int]:
                return self.rest

        given = Stream()
        dag = flow.Dag("d")
        dag.map("m", fails, over="numbers", take=2)
        assert flow.run(dag, {"numbers": given}, config=config)["m"] == [0, 1]
        assert closed == []
        assert next(given.rest) == 2


@pytest.mark.parametrize("how", ["map", "reduce"])
def test_an_async_iterable_that_hands_out_its_iterator_keeps_it(on_loop: Callable[..., Any], how: str) -> None:
    closed: list[str] = []

    async def fold(so_far: int, item: int) -> int:
        return fails(item)

    class Stream:
        def __init__(self) -> None:
            self.rest = anumbers(closed)

        def __aiter__(self) -> AsyncIterator[int]:
            return self.rest

    async def main() -> None:
        given: Any = Stream()
        dag = flow.Dag("d")
        if how == "map":
            dag.map("m", fails, over="numbers", concurrency=1, take=3)
        else:
            dag.reduce("m", fold, over="numbers", start=0)
        await flow.execute(dag, {"numbers": given}, config=Config(on_error="collect"))
        assert closed == []
        assert await anext(given.rest) == (3 if how == "map" else 4)
        await given.rest.aclose()

    on_loop(main)


def waiting(log: list[str], error: BaseException | None = None) -> Any:
    """A generator that has given two items, and waits when the second one fails."""

    async def pages() -> AsyncIterator[int]:
        try:
            yield 2
            yield 3
            await anyio.sleep_forever()
        finally:
            log.append("closing")
            if error is not None:
                raise error

    return pages


class TestCutShort:
    @pytest.mark.parametrize("kind", ["one", "zip", "pipelined"])
    def test_what_a_waiting_generator_raises_is_noted_on_the_items_error(self, backend: str, kind: str) -> None:
        log: list[str] = []
        dag = flow.Dag("d")
        dag.add("pages", waiting(log, Closed("broken")))
        if kind == "zip":
            dag.map("m", lambda page, x: fails(page), over=["pages", "xs"])
        else:
            dag.map("m", afails, over="pages")
            if kind == "pipelined":
                dag.map("n", lambda x: x, over="m", pipelined=True)
        inputs = {"xs": [1, 2, 3]} if kind == "zip" else {}
        result = flow.run(dag, inputs, config=Config(on_error="collect", backend=backend))  # type: ignore[arg-type]
        assert log == ["closing"]
        assert str(result.errors["m"]) == "item 3"
        assert "its source raised Closed: broken when it was closed" in result.errors["m"].__notes__

    def test_what_one_raises_in_another_nodes_failure_is_the_maps(self, backend: str) -> None:
        async def other() -> None:
            await anyio.sleep(0.01)
            raise ValueError("other")

        async def waits(item: int) -> None:
            await anyio.sleep_forever()

        dag = flow.Dag("d")
        dag.add("pages", waiting([], Closed("broken")))
        dag.map("m", waits, over="pages")
        dag.add("other", other)
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, config=Config(backend=backend))  # type: ignore[arg-type]
        errors = caught.value.result.errors
        assert {name: str(error) for name, error in errors.items()} == {"other": "other", "m": "broken"}
        assert "raised by the source of the items, when it was closed" in errors["m"].__notes__

    @pytest.mark.parametrize("over", ["stream", "list"])
    def test_items_that_fail_while_the_caller_cancels_take_its_place(
        self, on_loop: Callable[..., Any], over: str
    ) -> None:
        async def breaks(item: int) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0.01)  # what awaits the stream is cancelled first
                raise ValueError(f"clearing up {item}")

        async def main() -> None:
            dag = flow.Dag("d")
            if over == "stream":
                dag.add("items", waiting([]))
            dag.map("m", breaks, over="items")
            with anyio.move_on_after(0.02):
                await flow.execute(dag, {} if over == "stream" else {"items": [2, 3]})

        with pytest.raises(flow.RunError) as caught:
            on_loop(main)
        group = caught.value.result.errors["m"]
        assert isinstance(group, flow.errors.MapError)
        assert [str(error) for error in group.exceptions] == ["clearing up 2", "clearing up 3"]

    def test_an_exit_in_closing_ends_the_run(self, backend: str) -> None:
        dag = flow.Dag("d")
        dag.add("pages", waiting([], KeyboardInterrupt()))
        dag.map("m", afails, over="pages")
        with pytest.raises(KeyboardInterrupt):
            flow.run(dag, config=Config(on_error="collect", backend=backend))  # type: ignore[arg-type]

    def test_what_it_has_raised_is_let_go(self, backend: str) -> None:
        raised: list[weakref.ref[Closed]] = []

        async def pages() -> AsyncIterator[int]:
            try:
                yield 2
                yield 3
                await anyio.sleep_forever()
            finally:
                error = Closed("broken")
                raised.append(weakref.ref(error))
                try:
                    raise error
                finally:
                    del error

        dag = flow.Dag("d")
        dag.add("pages", pages)
        dag.map("m", afails, over="pages")
        gc.collect()
        gc.disable()
        try:
            flow.run(dag, config=Config(on_error="collect", backend=backend))  # type: ignore[arg-type]
            assert raised[0]() is None
        finally:
            gc.enable()

    @pytest.mark.parametrize("how", ["map", "reduce", "zip"])
    def test_its_clearing_up_awaits_while_the_run_is_cancelled(self, backend: str, how: str) -> None:
        closed: list[str] = []

        async def waits(*values: Any) -> None:
            await anyio.sleep_forever()

        async def other() -> None:
            await anyio.sleep(0.01)
            raise ValueError("other")

        dag = flow.Dag("d")
        dag.add("numbers", partial(anumbers, closed))
        dag.add("pages", waiting([]))
        if how == "reduce":
            dag.reduce("m", waits, over="numbers", start=0)
        else:  # zipped, one is waiting when the other is closed
            dag.map("m", waits, over=["numbers", "pages"] if how == "zip" else "numbers", concurrency=3)
        dag.add("other", other)
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, config=Config(backend=backend))  # type: ignore[arg-type]
        assert closed == ["async"]
        assert caught.value.result.status["m"] is flow.Status.CANCELLED

    @pytest.mark.parametrize("pipelined", [False, True])
    def test_a_sync_runs_time_limit(self, pipelined: bool) -> None:
        closed: list[str] = []
        made: list[Any] = []
        clock = flow.testing.FakeClock()

        def source() -> Any:
            made.append(numbers(closed))
            return made[0]

        def slow(item: int) -> int:
            clock.sleep(1)
            return item

        dag = flow.Dag("d")
        dag.add("numbers", source)
        dag.map("m", slow, over="numbers")
        if pipelined:
            dag.map("n", fails, over="m", pipelined=True)
        with pytest.raises(flow.RunError):
            flow.run(dag, config=Config(timeout=2.5, clock=clock))
        assert closed == ["sync"]


def test_errors_of_closing_are_logged_where_items_failures_are_skipped(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Iterator[int]:
        try:
            yield from range(100)
        finally:
            raise Closed("broken")

    dag = flow.Dag("d")
    dag.add("numbers", broken)
    dag.map("m", fails, over="numbers", take=5, on_error="skip")
    assert flow.run(dag)["m"] == [0, 1, 2, 4]
    assert "the source of map 'm' raised when it was closed" in caplog.text


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("how", ["map", "zip", "reduce", "pipelined"])
def test_a_generator_runs_in_one_context_to_its_end(config: Config, kind: str, how: str) -> None:
    ended: list[Any] = []

    def numbers() -> Iterator[Any]:
        try:
            for i in range(5):
                seen = VAR.get()
                VAR.set(i)
                yield seen
        finally:
            ended.append(VAR.get())

    async def anumbers() -> AsyncIterator[Any]:
        try:
            for i in range(5):
                seen = VAR.get()
                VAR.set(i)
                await anyio.sleep(0)
                yield seen
        finally:
            ended.append(VAR.get())

    async def waits(first: Any, *rest: Any) -> Any:
        await anyio.sleep(0)
        return first

    async def fold(so_far: list[Any], item: Any) -> list[Any]:
        await anyio.sleep(0)
        if len(so_far) == 3:
            raise ValueError(so_far)
        return [*so_far, item]

    dag = flow.Dag("d")
    dag.add("numbers", numbers if kind == "sync" else anumbers)
    if how == "reduce":
        dag.reduce("m", fold, over="numbers", start=[])
    else:
        over = ["numbers", "xs"] if how == "zip" else "numbers"
        dag.map("m", waits, over=over, take=3, concurrency=2)
    if how == "pipelined":
        dag.map("n", waits, over="m", pipelined=True)
    token = VAR.set("the caller's")
    try:
        result = flow.run(dag, {"xs": range(9)} if how == "zip" else {}, config=config)
    finally:
        VAR.reset(token)
    if how == "reduce":
        assert result.errors["m"].args == (["the caller's", 0, 1],)
        assert ended == [3]
    else:
        assert result["m"] == ["the caller's", 0, 1]
        assert ended == [2]
