"""``flow.stream``: a run as an iterator of its events, with its Result at the end, on every event loop."""

from __future__ import annotations

import asyncio
import gc
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import aclosing, suppress
from contextvars import ContextVar
from typing import Any

import anyio
import pytest
from conftest import modes

import flow
from flow import Config, Context, Status, events
from flow.clock import on_asyncio
from flow.run import streaming
from flow.run.streaming import IN_A_ROW, StreamStatistics


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield
    gc.collect()
    assert streaming._LEFT == {}


def names_of(read: list[Any]) -> list[tuple[str, str]]:
    return [(type(event).__name__, getattr(event, "node", "")) for event in read]


def steps() -> flow.Dag:
    """Two nodes after each other that suspend, so that a reader keeps up."""
    dag = flow.Dag("steps")

    @dag.node
    async def first(ctx: Context) -> int:
        ctx.emit("progress", 0.5)
        await anyio.sleep(0)
        return 1

    @dag.node
    async def second(first: int) -> int:
        await anyio.sleep(0)
        return first + 1

    return dag


class Lasting:
    """A Dag of one node that waits for ever, and what has become of that."""

    def __init__(self, error: Exception | None = None) -> None:
        self.log: list[str] = []
        self.dag = flow.Dag("lasting")

        @self.dag.node
        async def node() -> None:
            self.log.append("begun")
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0)
                self.log.append("cleared")
                if error is not None:
                    raise error

    async def over(self) -> None:
        while self.log[-1] != "cleared":
            await anyio.sleep(0.001)


async def all_of(stream: streaming.Stream) -> list[Any]:
    return [event async for event in stream]


class TestEvents:
    def test_all_then_the_result(self, on_loop: Callable[..., Any]) -> None:
        seen: list[events.Event] = []

        async def main() -> list[Any]:
            config = Config(observers=(seen.append,))
            return [event async for event in flow.stream(steps(), config=config, run_id="r-1")]

        *read, result = on_loop(main)
        assert read == seen, "a reader that keeps up gets all that observers get"
        assert names_of(read) == [
            ("RunStarted", ""), ("NodeStarted", "first"), ("NodeEmitted", "first"), ("NodeFinished", "first"),
            ("NodeStarted", "second"), ("NodeFinished", "second"), ("RunFinished", ""),
        ]  # fmt: skip
        assert isinstance(result, flow.Result)
        assert (dict(result), result.run_id) == ({"first": 1, "second": 2}, "r-1")

    @pytest.mark.parametrize("mode", modes("auto", "inline", "workers-1", "tasks-1", "threads", "timed", "freeing"))
    def test_in_every_mode(self, mode: dict[str, Any], on_loop: Callable[..., Any]) -> None:
        dag = steps()
        dag.add("plain", lambda second: 2 * second)

        async def main() -> list[Any]:
            return [event async for event in flow.stream(dag, config=Config(**mode))]

        *read, result = on_loop(main)
        assert result["plain"] == 4
        assert isinstance(read[0], events.RunStarted)
        assert isinstance(read[-1], events.RunFinished)

    def test_arguments_are_those_of_execute(self, on_loop: Callable[..., Any]) -> None:
        dag, data = flow.Dag("d"), flow.WorkflowData()
        dag.add("a", lambda x: x)
        dag.add("b", lambda a: a + 1)

        def write(ctx: Context, b: int) -> None:
            ctx.data["b"] = b

        dag.add("c", write)
        dag.add("d", lambda c: c)

        async def main() -> list[Any]:
            stream = flow.stream(dag, {}, targets=["c"], known={"a": 5}, data=data)
            return [event async for event in stream]

        *read, result = on_loop(main)
        assert (data["b"], result.known) == (6, ("a",))
        assert ("NodeKnown", "a") in names_of(read)
        assert ("NodeStarted", "d") not in names_of(read)

    def test_match(self, on_loop: Callable[..., Any]) -> None:
        async def main() -> list[Any]:
            found: list[Any] = []
            async for event in flow.stream(steps()):
                match event:
                    case flow.events.NodeEmitted(key="progress", value=value):
                        found.append(value)
                    case flow.Result():
                        found.append(event["second"])
            return found

        assert on_loop(main) == [0.5, 2]

    def test_nodes_see_the_readers_contextvars(self, on_loop: Callable[..., Any]) -> None:
        var: ContextVar[str] = ContextVar("var")
        dag = flow.Dag("d")
        dag.add("seen", lambda: var.get())

        async def main() -> str:
            var.set("reader")
            return str((await all_of(flow.stream(dag)))[-1]["seen"])

        assert on_loop(main) == "reader"

    def test_two_streams_at_once(self, on_loop: Callable[..., Any]) -> None:
        async def main() -> list[int]:
            found: list[int] = []

            async def read(k: int) -> None:
                found.append((await all_of(flow.stream(steps())))[-1]["second"] + k)

            async with anyio.create_task_group() as group:
                for k in range(10):
                    group.start_soon(read, k)
            return sorted(found)

        assert on_loop(main) == list(range(2, 12))


class TestTheEnd:
    def test_a_failed_run_raises_after_its_last_event(self, on_loop: Callable[..., Any]) -> None:
        dag, boom = flow.Dag("d"), ValueError("boom")

        @dag.node
        async def bad() -> None:
            await anyio.sleep(0)
            raise boom

        async def main() -> tuple[list[Any], flow.RunError, bool]:
            read: list[Any] = []
            stream = flow.stream(dag)
            with pytest.raises(flow.RunError) as caught:
                async for event in stream:
                    read.append(event)
            return read, caught.value, [event async for event in stream] == []

        read, error, over = on_loop(main)
        assert names_of(read)[-2:] == [("NodeFailed", "bad"), ("RunFinished", "")]
        assert (error.exceptions, error.result.status) == ((boom,), {"bad": Status.FAILED})
        files = {frame.filename for frame in traceback.extract_tb(error.__traceback__)}
        assert files == {__file__}, "no frame of ours"
        assert over

    def test_collected_failures_are_in_the_result(self, on_loop: Callable[..., Any]) -> None:
        dag = flow.Dag("d")
        dag.add("bad", lambda: 1 / 0)

        async def main() -> Any:
            return (await all_of(flow.stream(dag, config=Config(on_error="collect"))))[-1]

        assert not on_loop(main).ok

    def test_the_time_limit_of_the_run(self, on_loop: Callable[..., Any]) -> None:
        async def main() -> bool:
            with pytest.raises(flow.RunError) as caught:
                await all_of(flow.stream(Lasting().dag, config=Config(timeout=0.05)))
            return caught.value.timed_out

        assert on_loop(main)

    def test_a_hook_that_raises(self, on_loop: Callable[..., Any]) -> None:
        async def hook(record: Any) -> None:
            raise OSError("disk full")

        async def main() -> None:
            with pytest.raises(OSError, match="disk full"):
                await all_of(flow.stream(steps(), config=Config(on_outcome=lambda: hook)))

        on_loop(main)

    def test_no_hook(self, on_loop: Callable[..., Any]) -> None:
        async def main() -> None:
            with pytest.raises(flow.UsageError, match="makes a hook"):
                await all_of(flow.stream(steps(), config=Config(on_outcome=lambda: 5)))  # type: ignore[arg-type, return-value]

        on_loop(main)

    def test_an_exit_reaches_the_caller(self, on_loop: Callable[..., Any]) -> None:
        dag = flow.Dag("d")

        @dag.node
        async def leaves() -> None:
            await anyio.sleep(0)
            raise SystemExit(3)

        async def main() -> None:
            await all_of(flow.stream(dag))

        with pytest.raises(SystemExit):
            on_loop(main)


class TestWrongCalls:
    """Refused at once, with the user's line."""

    @pytest.mark.parametrize(
        ("call", "kind", "message"),
        [
            (lambda dag: flow.stream(dag, {"x": 1}), flow.InputError, "input 'x' is no parameter"),
            (lambda dag: flow.stream(dag, targets="no"), flow.UsageError, "no node 'no'"),
            (lambda dag: flow.stream("steps"), flow.UsageError, "takes a flow.Dag or a flow.Plan"),
            (lambda dag: flow.stream(dag, config="fast"), flow.UsageError, "config must be a flow.Config"),
            (lambda dag: flow.stream(dag, run_id="a b"), flow.errors.ConfigError, "run id is not valid"),
            (lambda dag: flow.stream(dag, confg=Config()), flow.UsageError, "did you mean 'config'"),
        ],
    )
    def test_refused(self, call: Callable[[flow.Dag], Any], kind: type[Exception], message: str) -> None:
        with pytest.raises(kind, match=message) as caught:
            call(steps())
        assert {frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)} == {__file__}

    def test_two_readers(self, on_loop: Callable[..., Any]) -> None:
        lasting = Lasting()

        async def main() -> None:
            async with flow.stream(lasting.dag) as stream, anyio.create_task_group() as group:

                async def read() -> None:
                    assert [event async for event in stream][:1] == []

                async for event in stream:
                    if isinstance(event, events.NodeStarted):
                        break
                group.start_soon(read)
                while not stream._reading:
                    await anyio.sleep(0)
                with pytest.raises(flow.UsageError, match="read by one task at a time"):
                    await anext(stream)
                await stream.aclose()  # the reader ends, too

        on_loop(main)
        assert lasting.log == ["begun", "cleared"]


class TestSlowReaders:
    @pytest.mark.parametrize("thread", [False, True])
    def test_ten_thousand_emits_stay_bounded(self, thread: bool, on_loop: Callable[..., Any]) -> None:
        dag, most = flow.Dag("d"), 0

        def emit(ctx: Context) -> None:
            nonlocal most
            for k in range(10_000):
                ctx.emit("count", k)
                ctx.emit("text", f"{k},", append=True)
                most = max(most, stream.statistics().unread)

        async def awaits(ctx: Context) -> None:
            emit(ctx)

        dag.add("node", emit if thread else awaits, thread=thread)
        stream = flow.stream(dag)

        async def main() -> tuple[list[Any], str]:
            read, text = [], ""
            async for event in stream:
                read.append(event)
                if isinstance(event, events.NodeEmitted) and event.append:
                    assert event.offset == len(text)
                    text += event.value
                await anyio.sleep(0.01)
            return read, text

        read, text = on_loop(main)
        assert most <= 4
        assert text == "".join(f"{k}," for k in range(10_000))
        values = [event.value for event in read if isinstance(event, events.NodeEmitted) and not event.append]
        assert values == sorted(values)
        assert values[-1] == 9_999
        statistics = stream.statistics()
        assert statistics == StreamStatistics(len(read) - 1, 0, 20_004 - (len(read) - 1))

    def test_a_reader_that_stops_does_not_hold_the_run_up(self, on_loop: Callable[..., Any]) -> None:
        dag = flow.Dag("d")

        async def main() -> Any:
            over = anyio.Event()

            async def last() -> str:
                for _ in range(1000):
                    await anyio.sleep(0)
                over.set()
                return "done"

            dag.add("last", last)
            stream = flow.stream(dag)
            assert isinstance(await anext(stream), events.RunStarted)
            await over.wait()  # while nobody reads
            return [event async for event in stream]

        *read, result = on_loop(main)
        assert names_of(read) == [("NodeStarted", "last"), ("NodeFinished", "last"), ("RunFinished", "")]
        assert result["last"] == "done"

    def test_a_reader_that_awaits_nothing_else_lets_the_loop_turn(self, on_loop: Callable[..., Any]) -> None:
        dag, turns = flow.Dag("d"), 0
        for k in range(3 * IN_A_ROW):
            dag.add(f"n{k}", lambda: None)

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await anyio.sleep(0)

        async def main() -> int:
            async with anyio.create_task_group() as group:
                stream = flow.stream(dag)
                await anext(stream)
                while stream.statistics().unread < 6 * IN_A_ROW:
                    await anyio.sleep(0)
                group.start_soon(count)
                async for _ in stream:
                    pass
                group.cancel_scope.cancel()
            return turns

        assert on_loop(main) >= 5

    def test_items_with_a_dag_each(self, on_loop: Callable[..., Any]) -> None:
        inner, dag = flow.Dag("inner"), flow.Dag("d")
        inner.add("square", lambda item: item * item)
        dag.map("each", inner, over="numbers")

        async def main() -> tuple[Any, int]:
            stream, most = flow.stream(dag, {"numbers": range(5_000)}), 0
            async for event in stream:
                most = max(most, stream.statistics().unread)
                await anyio.sleep(0.005)
                if isinstance(event, events.NodeFinished) and event.node == "each":
                    break
                if isinstance(event, events.RunFinished):
                    await anyio.sleep(0.1)
                if stream.statistics().read > 30:
                    break
            await stream.aclose()
            return event, most

        _, most = on_loop(main)
        assert most <= 5 * 1_000 + 50


class TestLeaving:
    def test_async_with_waits(self, on_loop: Callable[..., Any]) -> None:
        lasting = Lasting()

        async def main() -> list[str]:
            async with flow.stream(lasting.dag) as stream:
                async for event in stream:
                    if isinstance(event, events.NodeStarted):
                        break
            return list(lasting.log)

        assert on_loop(main) == ["begun", "cleared"]

    def test_aclose(self, on_loop: Callable[..., Any]) -> None:
        lasting = Lasting()

        async def main() -> list[str]:
            stream = flow.stream(lasting.dag)
            async with aclosing(stream):
                assert isinstance(await anext(stream), events.RunStarted)
            log = list(lasting.log)
            await stream.aclose()
            with pytest.raises(StopAsyncIteration):
                await anext(stream)
            return log

        assert on_loop(main) in (["begun", "cleared"], [])  # the first event may come before the node begins

    def test_a_bare_break_ends_it_in_the_background(self, on_loop: Callable[..., Any]) -> None:
        lasting = Lasting()

        async def main() -> None:
            async for event in flow.stream(lasting.dag):
                if isinstance(event, events.NodeStarted):
                    break
            del event
            await lasting.over()
            if on_asyncio():
                await asyncio.sleep(0.01)
                assert len(asyncio.all_tasks()) == 1

        on_loop(main)
        assert lasting.log == ["begun", "cleared"]

    def test_let_go_in_another_thread(self, on_loop: Callable[..., Any]) -> None:
        lasting = Lasting()

        async def main() -> None:
            held = [flow.stream(lasting.dag)]
            while not isinstance(await anext(held[0]), events.NodeStarted):
                pass
            thread = threading.Thread(target=held.clear)
            thread.start()
            thread.join()
            await lasting.over()

        on_loop(main)
        assert lasting.log == ["begun", "cleared"]

    def test_let_go_after_the_loop(self, on_loop: Callable[..., Any]) -> None:
        log, held, dag = list[str](), list[Any](), flow.Dag("d")

        @dag.node
        async def node() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                log.append("over")

        async def main() -> None:
            held.append(flow.stream(dag))
            while not isinstance(await anext(held[0]), events.NodeStarted):
                pass

        on_loop(main)
        assert log == ["over"], "the loop has cancelled it at its own end"
        held.clear()

    def test_a_cancelled_reader_waits_for_the_end(self, on_loop: Callable[..., Any]) -> None:
        lasting = Lasting()

        async def main() -> tuple[bool, list[str]]:
            with anyio.CancelScope() as scope:
                async for event in flow.stream(lasting.dag):
                    if isinstance(event, events.NodeStarted):
                        scope.cancel()
            return scope.cancelled_caught, list(lasting.log)

        assert on_loop(main) == (True, ["begun", "cleared"])

    @pytest.mark.parametrize("way", ["cancel", "close"])
    def test_nodes_that_fail_in_their_clearing_up(self, way: str, on_loop: Callable[..., Any]) -> None:
        boom = ValueError("boom")
        lasting = Lasting(boom)

        async def main() -> flow.RunError:
            with pytest.raises(flow.RunError) as caught, anyio.CancelScope() as scope:  # noqa: PT012
                async with flow.stream(lasting.dag) as stream:
                    async for event in stream:
                        if isinstance(event, events.NodeStarted):
                            if way == "close":
                                break
                            scope.cancel()
            return caught.value

        error = on_loop(main)
        assert error.exceptions == (boom,)
        files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
        assert files[0] == __file__
        assert not [file for file in files if file == streaming.__file__], "no frame of ours"

    @pytest.mark.parametrize("way", ["end", "close", "break", "cancel"])
    def test_cleanup_nodes_run_whatever_happens(self, way: str, on_loop: Callable[..., Any]) -> None:
        log: list[str] = []
        dag = flow.Dag("d")

        @dag.node
        async def node() -> None:
            await (anyio.sleep(0) if way == "end" else anyio.sleep_forever())

        @dag.node(cleanup=True)
        async def close(ctx: Context) -> None:
            await anyio.sleep(0)
            log.append("closed")

        async def main() -> None:
            with anyio.CancelScope() as scope:
                stream = flow.stream(dag)
                async for event in stream:
                    if way != "end" and isinstance(event, events.NodeStarted):
                        if way == "cancel":
                            scope.cancel()
                            continue
                        break
                if way == "close":
                    await stream.aclose()
                    assert log == ["closed"]
                del stream
            while not log:
                await anyio.sleep(0.001)

        on_loop(main)
        assert log == ["closed"]

    def test_a_run_that_has_failed_before(self, on_loop: Callable[..., Any]) -> None:
        """Who leaves does not hear of it: neither the RunError nor a warning that it was never retrieved."""
        dag = flow.Dag("d")
        dag.add("bad", lambda: 1 / 0)

        async def main() -> None:
            async with flow.stream(dag) as stream:
                await anext(stream)
                while stream.statistics().unread < 3:
                    await anyio.sleep(0)
                await anyio.sleep(0.01)
            del stream
            gc.collect()

        on_loop(main)

    def test_one_that_was_never_read(self, on_loop: Callable[..., Any]) -> None:
        dag, calls = flow.Dag("d"), list[int]()
        dag.add("node", lambda: calls.append(1))

        async def main() -> None:
            flow.stream(dag)
            async with flow.stream(dag):
                pass
            await anyio.sleep(0.01)

        on_loop(main)
        assert calls == []

    def test_a_closed_coroutine(self) -> None:
        """A task of the reader that is thrown away lets go of the run."""
        lasting = Lasting()

        async def main() -> None:
            stream = flow.stream(lasting.dag)
            while not isinstance(await anext(stream), events.NodeStarted):
                pass
            step = stream.__anext__()
            step.send(None)
            step.close()
            await lasting.over()

        asyncio.run(main())

    def test_a_closed_coroutine_as_the_run_begins(self) -> None:
        lasting = Lasting()

        async def main() -> None:
            step = flow.stream(lasting.dag).__anext__()
            step.send(None)
            step.close()
            del step
            await asyncio.sleep(0.01)

        asyncio.run(main())
        assert lasting.log in ([], ["begun", "cleared"])  # where tasks do not begin eagerly, the node has not begun

    def test_a_run_cancelled_from_elsewhere(self) -> None:
        lasting = Lasting()

        async def main() -> None:
            stream = flow.stream(lasting.dag)
            with pytest.raises(flow.UsageError, match="its task was cancelled, and not by the stream"):
                async for event in stream:
                    if isinstance(event, events.NodeStarted):
                        stream._background.cancel()  # type: ignore[union-attr]

        asyncio.run(main())

    def test_wait_for(self) -> None:
        """A time limit on one event is a cancellation of the reader."""
        lasting = Lasting()

        async def main() -> None:
            stream = flow.stream(lasting.dag)
            with suppress(TimeoutError):
                while True:
                    await asyncio.wait_for(anext(stream), 0.02)
            assert lasting.log == ["begun", "cleared"]

        asyncio.run(main())


class TestSignals:
    """A stream sends to the signals of its run."""

    @pytest.mark.anyio
    async def test_sent_when_it_waits(self) -> None:
        dag = flow.Dag("d")
        dag.signal("ask", type=int)
        dag.add("more", lambda ask: ask + 1)
        last: Any = None
        async with flow.stream(dag) as events:
            async for event in events:
                if isinstance(event, flow.events.NodeWaiting):
                    assert events.waiting == ("ask",)
                    events.send("ask", 41)
                last = event
        assert last["more"] == 42
        assert events.waiting == ()

    @pytest.mark.anyio
    async def test_sent_before_it_begins_and_twice(self) -> None:
        dag = flow.Dag("d")
        ref = dag.signal("ask", type=int)
        async with flow.stream(dag) as events:
            events.send(ref, 1)
            with pytest.raises(flow.errors.SignalError, match="sent before"):
                events.send("ask", 2)
            items = [event async for event in events]
        assert items[-1]["ask"] == 1  # type: ignore[index]
        with pytest.raises(flow.errors.SignalError):
            events.send("ask", 3)

    @pytest.mark.anyio
    async def test_left_while_it_waits(self) -> None:
        dag = flow.Dag("d")
        dag.signal("ask")
        async with flow.stream(dag) as events:
            async for event in events:
                if isinstance(event, flow.events.NodeWaiting):
                    break
        with pytest.raises(flow.errors.SignalError, match="nothing any more"):
            events.send("ask")
