"""``ctx.emit``: what nodes tell observers while they run."""

from __future__ import annotations

import threading
from typing import Any, get_args

import anyio
import pytest
from conftest import MODES, modes

import flow
from flow import Config, Context, Retry, UsageError
from flow.run.events import NodeEmitted
from flow.testing import Emission, FakeClock, context, emitted

WATCHED = modes(*[name for name in MODES if name != "observed"])


class Seen:
    """An observer that keeps what was emitted."""

    def __init__(self) -> None:
        self.events: list[flow.events.Event] = []

    def __call__(self, event: flow.events.Event) -> None:
        self.events.append(event)

    @property
    def emitted(self) -> list[NodeEmitted]:
        return [event for event in self.events if isinstance(event, NodeEmitted)]

    @property
    def brief(self) -> list[tuple[Any, ...]]:
        return [(e.node, e.key, e.value, e.append, e.offset, e.index) for e in self.emitted]


def ran(dag: flow.Dag, inputs: dict[str, Any] | None = None, **settings: Any) -> tuple[flow.Result, Seen]:
    seen = Seen()
    return flow.run(dag, inputs, config=Config(observers=(seen,), **settings)), seen


def test_it_is_an_event() -> None:
    assert NodeEmitted in get_args(flow.events.Event)
    event = NodeEmitted("r", "node", "key", 1, False, 0, 0.5)
    assert event.index is None
    with pytest.raises(AttributeError):
        event.value = 2  # type: ignore[misc]


@pytest.mark.parametrize("mode", WATCHED)
def test_in_every_mode(mode: dict[str, Any], backend: str) -> None:
    dag = flow.Dag("d")

    @dag.node
    def plain(ctx: Context) -> int:
        ctx.emit("progress", 0.5)
        ctx.emit("text", "a\u00e9", append=True)
        ctx.emit("text", "bc", append=True)
        ctx.emit("progress", 1.0)
        return 1

    @dag.node
    async def waits(plain: int, ctx: Context) -> None:
        ctx.emit("text", "x", append=True)
        await anyio.sleep(0)
        ctx.emit("text", "yz", append=True)

    result, seen = ran(dag, backend=backend, **mode)
    assert seen.brief == [
        ("plain", "progress", 0.5, False, 0, None),
        ("plain", "text", "a\u00e9", True, 0, None),
        ("plain", "text", "bc", True, 2, None),
        ("plain", "progress", 1.0, False, 0, None),
        ("waits", "text", "x", True, 0, None),
        ("waits", "text", "yz", True, 1, None),
    ]
    assert {event.run_id for event in seen.emitted} == {result.run_id}
    names = [type(event).__name__ for event in seen.events if getattr(event, "node", "") == "plain"]
    assert names == ["NodeStarted", *["NodeEmitted"] * 4, "NodeFinished"]


def test_the_time_is_the_runs() -> None:
    clock, dag = FakeClock(5.0), flow.Dag("d")
    dag.add("n", emits_later(clock))
    _, seen = ran(dag, clock=clock)
    assert [event.at for event in seen.emitted] == [5.0, 7.0]


def emits_later(clock: FakeClock) -> Any:
    def node(ctx: Context) -> None:
        ctx.emit("k", 1)
        clock.sleep(2.0)
        ctx.emit("k", 2)

    return node


def test_a_value_takes_the_place_of_a_text() -> None:
    dag = flow.Dag("d")

    @dag.node
    def node(ctx: Context) -> None:
        ctx.emit("k", "abc", append=True)
        ctx.emit("k", "xy")
        ctx.emit("k", "z", append=True)
        ctx.emit("k", 5)
        ctx.emit("k", "new", append=True)

    _, seen = ran(dag)
    assert [(e.value, e.append, e.offset) for e in seen.emitted] == [
        ("abc", True, 0), ("xy", False, 0), ("z", True, 2), (5, False, 0), ("new", True, 0),
    ]  # fmt: skip


def test_each_attempt_begins_its_texts_anew() -> None:
    dag = flow.Dag("d")

    @dag.node(retry=Retry(3, delay=0.0))
    def node(ctx: Context) -> None:
        ctx.emit("k", "ab", append=True)
        ctx.emit("k", "cd", append=True)
        if ctx.attempt < 3:
            raise OSError

    _, seen = ran(dag)
    assert [event.offset for event in seen.emitted] == [0, 2] * 3


@pytest.mark.parametrize("thread", [False, True])
def test_items_say_which(thread: bool, backend: str) -> None:
    dag = flow.Dag("d")

    def one(item: str, ctx: Context) -> None:
        for letter in item:
            ctx.child("mine", 7).emit("k", letter, append=True)
        ctx.emit("done", True)

    dag.map("each", one, over="words", thread=thread)
    _, seen = ran(dag, {"words": ["abc", "", "de"]}, backend=backend)
    texts = {i: [(e.value, e.offset) for e in seen.emitted if e.index == i and e.append] for i in range(3)}
    assert texts == {0: [("a", 0), ("b", 1), ("c", 2)], 1: [], 2: [("d", 0), ("e", 1)]}
    assert sorted(e.index for e in seen.emitted if e.key == "done" and e.index is not None) == [0, 1, 2]


def test_a_nodes_child_speaks_for_the_node() -> None:
    dag = flow.Dag("d")

    @dag.node(retry=Retry(2, delay=0.0))
    def node(ctx: Context) -> None:
        ctx.child("mine", 7).emit("k", "a", append=True)
        ctx.emit("k", "b", append=True)
        if ctx.attempt == 1:
            raise OSError

    _, seen = ran(dag)
    assert seen.brief == [("node", "k", "a", True, 0, None), ("node", "k", "b", True, 1, None)] * 2


def test_nodes_of_nested_runs_emit_under_the_nested_id() -> None:
    inner, dag = flow.Dag("inner"), flow.Dag("outer")

    def one(ctx: Context) -> None:
        ctx.emit("k", 1)

    inner.add("one", one)
    dag.add("sub", inner)
    result, seen = ran(dag)
    assert [(e.node, e.run_id == result.run_id) for e in seen.emitted] == [("one", False)]


def test_threads_of_one_node_give_one_text_in_order(backend: str) -> None:
    dag = flow.Dag("d")

    @dag.node(thread=True)
    def node(ctx: Context) -> None:
        def emit(letter: str) -> None:
            for _ in range(200):
                ctx.emit("k", letter, append=True)
                ctx.emit("own", letter)

        threads = [threading.Thread(target=emit, args=(letter,)) for letter in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    _, seen = ran(dag, backend=backend)
    assert [event.offset for event in seen.emitted if event.append] == list(range(800))


def test_without_observers_the_arguments_are_checked_all_the_same() -> None:
    dag = flow.Dag("d")

    @dag.node
    def node(ctx: Context) -> None:
        ctx.emit("k", object())
        ctx.emit("no name", 1)

    with pytest.raises(flow.RunError) as caught:
        flow.run(dag)
    assert str(caught.value.exceptions[0]).startswith("emit: key 'no name' is refused: a name is 1 to 255 characters")


def test_after_the_end_of_the_run_it_is_dropped() -> None:
    dag = flow.Dag("d")

    @dag.node
    def node(ctx: Context) -> Context:
        return ctx

    result, seen = ran(dag)
    result["node"].emit("k", 1)
    assert seen.emitted == []


def test_a_broken_observer_harms_nothing() -> None:
    dag, seen = flow.Dag("d"), Seen()

    def broken(event: flow.events.Event) -> None:
        if isinstance(event, NodeEmitted):
            raise OSError

    @dag.node
    def node(ctx: Context) -> int:
        ctx.emit("k", "a", append=True)
        return 1

    assert flow.run(dag, config=Config(observers=(broken, seen)))["node"] == 1
    assert len(seen.emitted) == 1


@pytest.mark.parametrize(
    ("key", "value", "append", "message"),
    [
        ("", 1, False, "emit: key '' is refused: a name is"),
        (3, 1, False, "emit: key 3 is refused: a name is"),
        ("../x", 1, False, "emit: key '../x' is refused"),
        ("k", 1, 1, "emit('k'): append is True or False, not 1"),
        ("k", 1, True, "emit('k'): append=True goes on with a text, so the value is a str, not 1"),
        ("k", b"x", True, "emit('k'): append=True goes on with a text, so the value is a str, not b'x'"),
    ],
)
def test_wrong_arguments(key: Any, value: Any, append: Any, message: str) -> None:
    ctx = context()
    with pytest.raises(UsageError) as caught:
        ctx.emit(key, value, append=append)
    assert str(caught.value).startswith(message)
    assert emitted(ctx) == []


class TestByHand:
    def test_it_is_kept(self) -> None:
        ctx = context(node="n")
        ctx.emit("k", [1])
        ctx.emit("t", "ab", append=True)
        ctx.child().emit("t", "c", append=True)
        assert emitted(ctx) == [
            Emission("n", "k", [1], False, 0, None),
            Emission("n", "t", "ab", True, 0, None),
            Emission("n", "t", "c", True, 2, None),
        ]

    def test_an_item(self) -> None:
        ctx = context(node="m", item="x", index=4)
        ctx.emit("k", 1)
        assert emitted(ctx) == [Emission("m", "k", 1, False, 0, 4)]

    @pytest.mark.parametrize("of_run", [False, True])
    def test_of_nothing_else(self, of_run: bool) -> None:
        dag = flow.Dag("d")

        @dag.node
        def node(ctx: Context) -> Context:
            return ctx

        with pytest.raises(UsageError, match="in a run, observers get what is emitted"):
            emitted(flow.run(dag)["node"] if of_run else None)  # type: ignore[arg-type]
