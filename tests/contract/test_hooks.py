"""``Config(on_outcome=...)`` and ``Config(before_call=...)``: told each outcome, asked before each call."""

from __future__ import annotations

import asyncio
import gc
import traceback
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest
from conftest import modes

import flow
from flow import Config, Outcome, Retry, Status
from flow.run.hooks import NodeCall, NodeOutcome

Record = tuple[tuple[str, ...], str, int | None, str, int, bool]


def brief(record: NodeOutcome) -> Record:
    return record.path, record.node, record.item, str(record.status), record.attempt, record.final


class Told:
    """An outcome hook that remembers; async ones take their time."""

    def __init__(self, is_async: bool = False) -> None:
        self.records: list[NodeOutcome] = []
        self.is_async = is_async
        self.made = 0

    def __call__(self) -> Callable[[NodeOutcome], Any]:
        self.made += 1
        if not self.is_async:
            return self.records.append

        async def hook(record: NodeOutcome) -> None:
            await anyio.sleep(0)
            self.records.append(record)

        return hook

    @property
    def all(self) -> set[Record]:
        found = [brief(record) for record in self.records]
        assert len(found) == len(set(found)), "told twice"
        return set(found)


# Where a hook may be async, and where it may not: (settings, is async).
PLACES = [
    *[pytest.param((mode.values[0], False), id=f"{mode.id}-sync") for mode in modes()],
    *[
        pytest.param(({"mode": "tasks", "backend": backend, **more}, True), id=f"{backend}-{name}async")
        for backend in ("asyncio", "trio")
        for name, more in (("", {}), ("limited-", {"limit": 1}), ("threads-", {"executor": "thread"}))
    ],
]


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> tuple[dict[str, Any], bool]:
    """Settings, and whether the hook is async."""
    settings, is_async = request.param
    return dict(settings), is_async


def test_every_kind_of_outcome_is_told_once(place: tuple[dict[str, Any], bool]) -> None:
    settings, is_async = place
    tries = iter([True, False])
    dag = flow.Dag("kinds")

    @dag.node(retry=Retry(2, delay=0))
    def flaky() -> int:
        if next(tries):
            raise ValueError("first")
        return 1

    dag.add("bad", lambda flaky: 1 / 0)
    dag.add("after", lambda bad: bad)
    dag.add("stood_in", lambda: 1 / 0, fallback=7)
    dag.map("halves", lambda x: 6 // x, over="xs", on_error="collect")
    told = Told(is_async)
    config = Config(on_outcome=told, on_error="collect", **settings)
    result = flow.run(dag, {"xs": [2, 0]}, config=config, run_id="r1")
    assert told.all == {
        ((), "flaky", None, "failed", 1, False),
        ((), "flaky", None, "completed", 2, True),
        ((), "bad", None, "failed", 1, True),
        ((), "after", None, "skipped", 0, True),
        ((), "stood_in", None, "completed", 1, True),
        ((), "halves", 0, "completed", 1, True),
        ((), "halves", 1, "failed", 1, True),
        ((), "halves", None, "completed", 1, True),
    }
    by_node = {(r.node, r.item, r.final): r for r in told.records}
    assert {r.run_id for r in told.records} == {"r1"}
    assert by_node["flaky", None, True].output == 1 and isinstance(by_node["flaky", None, False].error, ValueError)
    assert by_node["stood_in", None, True].output == 7
    assert isinstance(by_node["stood_in", None, True].error, ZeroDivisionError)
    assert by_node["bad", None, True].error is result.errors["bad"]
    assert by_node["halves", 0, True].output == 3 and told.made == 1


def test_nested_runs_and_the_paths_to_them(place: tuple[dict[str, Any], bool]) -> None:
    settings, is_async = place
    inmost = flow.Dag("inmost")
    inmost.add("deep", lambda x: x + 1)
    inner = flow.Dag("inner")
    inner.add("again", inmost)
    inner.add("q", lambda x: x)
    dag = flow.Dag("outer")
    dag.add("x", lambda: 1)
    dag.add("nest", inner)
    dag.map("each", inmost, over="xs")
    told = Told(is_async)
    flow.run(dag, {"xs": [5, 6]}, config=Config(on_outcome=told, **settings))
    assert {(r.path, r.node, r.item, r.output) for r in told.records if r.node not in ("nest", "each", "again")} == {
        ((), "x", None, 1),
        (("nest",), "q", None, 1),
        (("nest", "again"), "deep", None, 2),
        (("each[0]",), "deep", None, 6),
        (("each[1]",), "deep", None, 7),
    }
    assert told.made == 1 and len({r.run_id for r in told.records}) == 1


def test_filters_batches_and_flat_maps(place: tuple[dict[str, Any], bool]) -> None:
    settings, is_async = place
    dag = flow.Dag("items")
    dag.filter("odd", lambda x: x % 2, over="xs")
    dag.map("pairs", lambda batch: [2 * x for x in batch], over="xs", batch_size=2)
    dag.flat_map("twice", lambda x: [x, x], over="xs")
    told = Told(is_async)
    flow.run(dag, {"xs": [1, 2, 3]}, config=Config(on_outcome=told, **settings))
    items = {(r.node, r.item): r.output for r in told.records if r.item is not None}
    assert items == {
        ("odd", 0): True, ("odd", 1): False, ("odd", 2): True,
        ("pairs", 0): [2, 4], ("pairs", 2): [6],
        ("twice", 0): [1, 1], ("twice", 1): [2, 2], ("twice", 2): [3, 3],
    }  # fmt: skip


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_nothing_starts_before_the_hook_has_been_told(backend: str) -> None:
    log: list[str] = []

    def make() -> Callable[[NodeOutcome], Any]:
        async def hook(record: NodeOutcome) -> None:
            log.append(f"telling {record.node} {record.status}")
            for _ in range(5):
                await anyio.sleep(0)
            log.append(f"told {record.node}")

        return hook

    def node(name: str) -> Callable[..., str]:
        async def call(*_: str) -> str:
            log.append(f"begin {name}")
            await anyio.sleep(0)
            if name == "bad":
                raise ValueError
            return name

        return call

    dag = flow.Dag("order")
    dag.add("a", node("a"))
    dag.add("bad", node("bad"), continue_on_error=True)
    dag.add("needs_bad", node("needs_bad"), needs=["bad"])
    dag.add("after_bad", node("after_bad"), after="bad")
    dag.add("b", node("b"), needs=["a"])
    flow.run(dag, config=Config(mode="tasks", backend=backend, on_outcome=make))  # type: ignore[arg-type]
    for first, then in (("told a", "begin b"), ("told bad", "begin after_bad"), ("told needs_bad", "begin after_bad")):
        assert log.index(first) < log.index(then), log


BROKEN = OSError("the disk is full")


@pytest.mark.parametrize("fails", [False, True], ids=["completed", "failed"])
def test_a_hook_that_raises_ends_the_run_with_that(place: tuple[dict[str, Any], bool], fails: bool) -> None:
    settings, is_async = place
    called: list[str] = []

    def make() -> Callable[[NodeOutcome], Any]:
        def hook(record: NodeOutcome) -> None:
            raise BROKEN

        async def ahook(record: NodeOutcome) -> None:
            await anyio.sleep(0)
            raise BROKEN

        return ahook if is_async else hook

    dag = flow.Dag("broken")
    dag.add("a", lambda: called.append("a") or (1 / 0 if fails else 1), fallback=2, retry=Retry(3, delay=0))
    dag.add("b", lambda a: called.append("b"))
    with pytest.raises(OSError, match="the disk is full") as caught:
        flow.run(dag, config=Config(on_outcome=make, on_error="collect", **settings))
    assert caught.value is BROKEN and called == ["a"]
    frames = [frame.name for frame in traceback.extract_tb(BROKEN.__traceback__)]
    assert frames[-1] in ("hook", "ahook")
    BROKEN.__traceback__ = None


def test_it_ends_the_runs_around_a_nested_one(place: tuple[dict[str, Any], bool]) -> None:
    settings, is_async = place
    after: list[int] = []

    def make() -> Callable[[NodeOutcome], Any]:
        def hook(record: NodeOutcome) -> None:
            if record.node == "deep":
                raise BROKEN

        async def ahook(record: NodeOutcome) -> None:
            hook(record)

        return ahook if is_async else hook

    inner = flow.Dag("inner")
    inner.add("deep", lambda: 1)
    dag = flow.Dag("outer")
    dag.add("nest", inner, fallback={}, retry=Retry(3, delay=0))
    dag.add("then", lambda nest: after.append(1))
    with pytest.raises(OSError, match="the disk is full"):
        flow.run(dag, config=Config(on_outcome=make, on_error="collect", **settings))
    assert after == []
    BROKEN.__traceback__ = None


def test_exits_in_a_hook_pass_as_they_are() -> None:
    def make() -> Callable[[NodeOutcome], Any]:
        def hook(record: NodeOutcome) -> None:
            raise KeyboardInterrupt

        return hook

    dag = flow.topologies.linear(2)
    for mode in ("inline", "tasks"):
        with pytest.raises(KeyboardInterrupt):
            flow.run(dag, config=Config(mode=mode, on_outcome=make))  # type: ignore[arg-type]


def test_a_cancelled_node_has_no_outcome() -> None:
    told = Told()
    dag = flow.Dag("cancelled")

    async def waits() -> None:
        await asyncio.sleep(60)

    async def fails() -> None:
        await asyncio.sleep(0)
        raise ValueError

    dag.add("waits", waits)
    dag.add("fails", fails)
    dag.add("late", lambda waits: waits)
    with pytest.raises(flow.RunError):
        flow.run(dag, config=Config(on_outcome=told))
    assert told.all == {((), "fails", None, "failed", 1, True)}


def test_the_last_record_is_told_though_the_failure_ends_the_run() -> None:
    for backend in ("asyncio", "trio"):
        told = Told(is_async=True)
        dag = flow.Dag("fail_fast")
        dag.add("fails", lambda: 1 / 0)
        dag.add("skipped", lambda fails: fails)
        with pytest.raises(flow.RunError):
            flow.run(dag, config=Config(on_outcome=told, mode="tasks", backend=backend))  # type: ignore[arg-type]
        assert told.all == {((), "fails", None, "failed", 1, True), ((), "skipped", None, "skipped", 0, True)}


class TestRefused:
    def test_an_async_hook_without_an_event_loop(self) -> None:
        for setting in ("on_outcome", "before_call"):
            config = Config(**{setting: Told(is_async=True)})
            with pytest.raises(flow.UsageError, match=rf"the hook of {setting} is async, .* no event loop"):
                flow.run(flow.topologies.linear(2), config=config)

    def test_a_factory_that_makes_no_hook(self) -> None:
        with pytest.raises(flow.UsageError, match="makes a hook, a function of one record, not 5"):
            flow.run(flow.topologies.linear(2), config=Config(on_outcome=lambda: 5))

    def test_something_to_await_from_a_plain_hook_without_a_loop(self) -> None:
        async def later(record: NodeOutcome) -> None: ...

        with pytest.raises(flow.UsageError, match="the hook of on_outcome returned a coroutine"):
            flow.run(flow.topologies.linear(2), config=Config(on_outcome=lambda: lambda record: later(record)))

    def test_an_async_hook_and_a_dag_in_a_thread(self) -> None:
        dag = flow.Dag("outer")
        dag.add("nest", flow.topologies.linear(2), thread=True)
        with pytest.raises(flow.UsageError, match="node 'nest' .* runs a Dag in a thread"):
            flow.run(dag, config=Config(on_outcome=Told(is_async=True)))

    def test_none_is_no_hook(self) -> None:
        result = flow.run(flow.topologies.linear(2), config=Config(on_outcome=lambda: None, before_call=lambda: None))
        assert result.ok


class Cache:
    """A call hook that answers for some nodes."""

    def __init__(self, answers: dict[str, Outcome], is_async: bool = False) -> None:
        self.answers = answers
        self.is_async = is_async
        self.asked: list[NodeCall] = []

    def __call__(self) -> Callable[[NodeCall], Any]:
        def ask(call: NodeCall) -> Outcome | None:
            self.asked.append(call)
            return self.answers.get(call.node)

        async def later(call: NodeCall) -> Outcome | None:
            await anyio.sleep(0)
            return ask(call)

        return later if self.is_async else ask


class TestCallHook:
    def test_it_answers_in_the_place_of_a_call(self, place: tuple[dict[str, Any], bool]) -> None:
        settings, is_async = place
        dag = flow.Dag("cached")
        called: list[str] = []
        dag.add("slow", lambda n: called.append("slow"))
        dag.add("quick", lambda slow, k=3: slow + k)
        cache, told = Cache({"slow": Outcome(value=40)}, is_async), Told(is_async)
        config = Config(before_call=cache, on_outcome=told, **settings)
        result = flow.run(dag, {"n": 1}, config=config)
        assert result["quick"] == 43 and called == []
        assert {(c.node, tuple(c.arguments.items())) for c in cache.asked} == {
            ("slow", (("n", 1),)), ("quick", (("slow", 40), ("k", 3))),
        }  # fmt: skip
        assert told.all == {((), "slow", None, "completed", 1, True), ((), "quick", None, "completed", 1, True)}
        assert all(callable(c.fn) for c in cache.asked)

    def test_a_failure_is_one_of_the_node(self, place: tuple[dict[str, Any], bool]) -> None:
        settings, is_async = place
        dag = flow.Dag("failing")
        dag.add("a", lambda: 1, retry=Retry(2, delay=0))
        dag.add("b", lambda a: a)
        cache = Cache({"a": Outcome("failed", error=ValueError("cached"))}, is_async)
        result = flow.run(dag, config=Config(before_call=cache, on_error="collect", **settings))
        assert (result.status["a"], result.status["b"]) == ("failed", "skipped")
        assert [c.attempt for c in cache.asked] == [1, 2]

    def test_items_of_maps(self, place: tuple[dict[str, Any], bool]) -> None:
        settings, is_async = place
        dag = flow.Dag("items")
        dag.map("m", lambda x, factor: x * factor, over="xs")
        dag.filter("kept", lambda m: m > 2, over="m")

        def make() -> Callable[[NodeCall], Any]:
            def ask(call: NodeCall) -> Outcome | None:
                if call.item == 0 and call.node == "m":
                    assert dict(call.arguments) == {"x": 1, "factor": 3}
                    return Outcome(value=100)
                return Outcome(value=False) if call.item == 1 and call.node == "kept" else None

            async def later(call: NodeCall) -> Outcome | None:
                return ask(call)

            return later if is_async else ask

        result = flow.run(dag, {"xs": [1, 2, 3], "factor": 3}, config=Config(before_call=make, **settings))
        assert result["kept"] == [100, 9]  # of [100, 6, 9]

    @pytest.mark.parametrize("answer", [5, Outcome("skipped")])
    def test_an_answer_that_is_none(self, place: tuple[dict[str, Any], bool], answer: Any) -> None:
        settings, is_async = place
        dag = flow.Dag("garbage")
        dag.add("a", lambda: 1, retry=Retry(2, delay=0), fallback=0)
        with pytest.raises(flow.UsageError, match=r"before_call answers None or a flow.Outcome .* node 'a'"):
            flow.run(dag, config=Config(before_call=Cache({"a": answer}, is_async), **settings))


def test_arguments_by_their_names() -> None:
    def fn(a: int, b: int, *rest: int, c: int, d: int = 9) -> None: ...

    dag = flow.Dag("names")
    for name in "abxyc":
        dag.add(name, lambda: 1)
    dag.add("all", fn, needs=["a", "b", "x", "y"])
    cache = Cache({})
    flow.run(dag, config=Config(before_call=cache))
    (call,) = [c for c in cache.asked if c.node == "all"]
    assert dict(call.arguments) == {"a": 1, "b": 1, "args[0]": 1, "args[1]": 1, "c": 1, "d": 9}


def test_known_nodes_are_neither_asked_for_nor_told() -> None:
    told, cache = Told(), Cache({})
    dag = flow.topologies.linear(3)
    flow.run(dag, known={"n1": 1}, config=Config(on_outcome=told, before_call=cache))
    assert [r.node for r in told.records] == [c.node for c in cache.asked] == ["n2"]


def test_a_sync_hook_hears_of_nodes_in_threads() -> None:
    inner = flow.Dag("inner")
    inner.add("deep", lambda: 1)
    dag = flow.Dag("outer")
    dag.add("nest", inner, thread=True)
    dag.add("t", lambda: 2, thread=True)
    told = Told()
    flow.run(dag, config=Config(on_outcome=told))
    assert {(r.path, r.node, str(r.status)) for r in told.records} == {
        ((), "nest", "completed"), (("nest",), "deep", "completed"), ((), "t", "completed"),
    }  # fmt: skip


def test_status_of_records_is_a_status() -> None:
    told = Told()
    flow.run(flow.topologies.linear(1), config=Config(on_outcome=told))
    assert told.records[0].status is Status.COMPLETED


def test_observers_see_a_node_that_a_hook_has_answered_for() -> None:
    for mode in ("inline", "tasks"):
        seen: list[Any] = []
        dag = flow.topologies.linear(2)
        config = Config(mode=mode, before_call=Cache({"n0": Outcome(value=1)}), observers=(seen.append,))  # type: ignore[arg-type]
        result = flow.run(dag, config=config)
        assert [type(e).__name__ for e in seen if getattr(e, "node", "") == "n0"] == ["NodeStarted", "NodeFinished"]
        assert result["n0"] == 1


def test_an_answer_may_be_that_of_a_fallback(place: tuple[dict[str, Any], bool]) -> None:
    settings, is_async = place
    error = ValueError("before")
    dag = flow.Dag("stood_in")
    dag.add("a", lambda: 1)
    dag.map("m", lambda x: x, over="xs")
    cache = Cache({"a": Outcome("completed", 5, error)}, is_async)
    result = flow.run(dag, {"xs": [1]}, config=Config(before_call=cache, **settings))
    assert result["a"] == 5 and result.fallbacks == {"a": error}


@pytest.mark.parametrize("mode", modes("inline", "tasks"))
def test_what_a_hook_raises_keeps_its_context_and_shows_no_frame_of_ours_beneath(mode: dict[str, Any]) -> None:
    def make() -> Callable[[NodeOutcome], Any]:
        def hook(record: NodeOutcome) -> None:
            try:
                {}["key"]
            except KeyError:
                raise BROKEN  # noqa: B904

        return hook

    with pytest.raises(OSError, match="the disk is full") as caught:
        flow.run(flow.topologies.linear(1), config=Config(on_outcome=make, **mode))
    assert isinstance(caught.value.__context__, KeyError)
    names = [frame.name for frame in traceback.extract_tb(BROKEN.__traceback__)]
    assert names == [names[0], "run", "hook"]
    BROKEN.__traceback__ = BROKEN.__context__ = None


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("is_async", [False, True])
def test_what_is_skipped_for_a_known_failure_is_told(backend: str, is_async: bool) -> None:
    told = Told(is_async)
    dag = flow.topologies.linear(2)
    config = Config(on_outcome=told, backend=backend, mode="tasks", on_error="collect")  # type: ignore[arg-type]
    flow.run(dag, known={"n0": Outcome("failed", error=ValueError())}, config=config)
    assert told.all == {((), "n1", None, "skipped", 0, True)}


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("when", ["completed", "failed"])
def test_a_cancellation_that_a_hook_raises_by_itself_ends_the_run(is_async: bool, when: str) -> None:
    seen: list[str] = []

    def make() -> Callable[[NodeOutcome], Any]:
        def hook(record: NodeOutcome) -> None:
            seen.append(f"{record.node} {record.status}")
            raise asyncio.CancelledError("connection closed")

        async def later(record: NodeOutcome) -> None:
            hook(record)

        return later if is_async else hook

    dag = flow.Dag("lost")
    dag.add("a", lambda: 1 if when == "completed" else 1 / 0)
    dag.add("b", lambda a: a)
    with pytest.raises(asyncio.CancelledError, match="connection closed"):
        flow.run(dag, config=Config(on_outcome=make, mode="tasks", on_error="collect"))
    assert seen == [f"a {when}"]


def test_nothing_is_told_after_an_exit_in_a_hook() -> None:
    seen: list[str] = []

    def make() -> Callable[[NodeOutcome], Any]:
        def hook(record: NodeOutcome) -> None:
            seen.append(record.node)
            raise SystemExit(3)

        return hook

    for mode in ("inline", "tasks"):
        with pytest.raises(SystemExit):
            flow.run(flow.topologies.linear(3), config=Config(on_outcome=make, mode=mode))  # type: ignore[arg-type]
    assert seen == ["n0", "n0"]


class Leave(BaseException):
    """An exit of the user's own."""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("exit", [SystemExit, KeyboardInterrupt, Leave])
def test_nothing_is_told_after_an_exit_in_an_async_hook(backend: str, exit: type[BaseException]) -> None:
    seen: list[str] = []

    def make() -> Callable[[NodeOutcome], Any]:
        async def hook(record: NodeOutcome) -> None:
            seen.append(record.node)
            raise exit

        return hook

    async def stubborn() -> None:
        with suppress(BaseException):  # it ends as if it were not cancelled
            await anyio.sleep(10)

    dag = flow.Dag("exit")
    dag.add("b", stubborn)
    dag.add("a", lambda: anyio.sleep(0))
    config = Config(on_outcome=make, mode="tasks", backend=backend)  # type: ignore[arg-type]
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        flow.run(dag, config=config)
    found = caught.value
    while isinstance(found, BaseExceptionGroup):  # a loop may report it so
        found = found.exceptions[0]
    assert isinstance(found, exit) and seen == ["a"]


def test_an_answer_that_does_not_fit_leaves_no_fallback() -> None:
    dag = flow.Dag("misfit")
    dag.map("m", lambda batch: batch, over="xs", batch_size=2, on_error="collect")

    def make() -> Callable[[NodeCall], Any]:
        return lambda call: None if call.item is None else Outcome("completed", [0], ValueError("stand-in"))

    result = flow.run(dag, {"xs": [1, 2]}, config=Config(before_call=make))
    assert dict(result.fallbacks) == {} and result["m"].failed == 2


def test_a_parameter_left_out_is_not_shown_for_items_of_a_dag_either() -> None:
    inner = flow.Dag("inner")
    inner.add("twice", lambda x, by=2: x * by)
    dag = flow.Dag("outer")
    dag.map("m", inner, over="xs")
    seen: list[Any] = []

    def make() -> Callable[[NodeCall], Any]:
        return lambda call: seen.append((call.node, call.item, dict(call.arguments)))

    flow.run(dag, {"xs": [1]}, config=Config(before_call=make))
    assert ("m", 0, {"x": 1}) in seen


def test_a_stand_in_that_a_hook_answers_is_told_with_its_error() -> None:
    error, told = ValueError("stand-in"), Told()
    dag = flow.Dag("stand-in")
    dag.add("a", lambda: 1)
    dag.map("m", lambda x: x, over="xs")

    def make() -> Callable[[NodeCall], Any]:
        return lambda call: Outcome("completed", 9, error) if call.node == "a" or call.item is not None else None

    flow.run(dag, {"xs": [1]}, config=Config(before_call=make, on_outcome=told))
    assert {(r.node, r.item): r.error for r in told.records} == {("a", None): error, ("m", 0): error, ("m", None): None}


@pytest.mark.parametrize("setting", ["on_outcome", "before_call"])
def test_a_run_that_a_hook_has_ended_needs_no_collector(place: tuple[dict[str, Any], bool], setting: str) -> None:
    settings, is_async = place
    alive: weakref.WeakSet[Any] = weakref.WeakSet()

    class Output:
        def __init__(self) -> None:
            alive.add(self)

    def hook(record: Any) -> None:
        if record.node == "b":
            raise LookupError

    async def later(record: Any) -> None:
        hook(record)

    dag = flow.Dag("ended")
    dag.add("a", Output)
    dag.add("b", lambda a: 1 / 0)
    gc.collect()
    gc.disable()
    try:
        with suppress(LookupError, flow.RunError):
            flow.run(dag, config=Config(**{setting: lambda: later if is_async else hook}, **settings))
        assert len(alive) == 0
    finally:
        gc.enable()


@pytest.mark.parametrize("holds", ["fallback", "item's fallback", "item"])
def test_a_run_that_a_hook_has_ended_after_a_survived_failure_needs_no_collector(
    place: tuple[dict[str, Any], bool], holds: str
) -> None:
    settings, is_async = place
    alive: weakref.WeakSet[Any] = weakref.WeakSet()

    class Boom(Exception):
        def __init__(self) -> None:
            alive.add(self)

    def bad(x: int = 0) -> None:
        raise Boom

    def hook(record: Any) -> None:
        if record.node == "end":
            raise LookupError

    async def later(record: Any) -> None:
        hook(record)

    dag = flow.Dag("ended")
    if holds == "fallback":
        dag.add("a", bad, fallback=0)
    elif holds == "item":
        dag.map("a", bad, over="xs", on_error="collect")
    else:
        dag.map("a", bad, over="xs", fallback=0)
    dag.add("end", lambda a: 1)
    inputs = {} if holds == "fallback" else {"xs": [1, 2]}
    gc.collect()
    gc.disable()
    try:
        with suppress(LookupError):
            flow.run(dag, inputs, config=Config(on_outcome=lambda: later if is_async else hook, **settings))
        assert len(alive) == 0
    finally:
        gc.enable()


def test_a_batch_that_a_hook_has_answered_for_is_all_of_its_items() -> None:
    error = ValueError("stand-in")
    dag = flow.Dag("batches")
    dag.map("m", lambda batch: batch, over="xs", batch_size=2)

    def make() -> Callable[[NodeCall], Any]:
        return lambda call: None if call.item is None else Outcome("completed", [0] * 2, error)

    result = flow.run(dag, {"xs": [1, 2, 3, 4]}, config=Config(before_call=make))
    assert result["m"] == [0] * 4 and result.fallbacks == {"m": dict.fromkeys(range(4), error)}
