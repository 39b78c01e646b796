"""``ctx.report``: facts that stay with a run, whatever becomes of its nodes."""

from __future__ import annotations

import threading
from typing import Annotated, Any, get_args

import anyio
import msgspec
import pytest
from conftest import modes

import flow
from flow import Config, Context, Retry, UsageError
from flow.run.events import NodeReported
from flow.run.reports import Report
from flow.testing import FakeClock, context, reported


class Inputs(msgspec.Struct):
    token: Annotated[str, flow.Secret]


def brief(reports: Any) -> list[tuple[Any, ...]]:
    return [(one.kind, one.value, one.node, one.path, one.index, one.attempt) for one in reports]


def one_node(fn: Any, **options: Any) -> flow.Dag:
    dag = flow.Dag("d")
    dag.add("node", fn, **options)
    return dag


def says(item: int, ctx: Context) -> int:
    ctx.report("fact", item)
    return item


def inner() -> flow.Dag:
    dag = flow.Dag("inner")
    dag.add("says", says)
    return dag


@pytest.mark.parametrize("mode", modes())
def test_in_every_mode(mode: dict[str, Any], backend: Any) -> None:
    dag, first = flow.Dag("d"), {"tokens": [1, 2.5, None, True], "cost": "0.1"}

    @dag.node
    def plain(ctx: Context) -> list[Any]:
        ctx.report("usage", first)
        ctx.report("file", "a.txt")
        ctx.child().report("usage", 2)
        assert ctx.reported("usage") == [first, 2]
        return []

    @dag.node
    async def waits(plain: Any, ctx: Context) -> list[Any]:
        ctx.report("usage", 3)
        await anyio.sleep(0)
        assert ctx.reported("usage") == [3]
        assert ctx.reported("file") == []
        return ctx.run_reported("usage")

    result = flow.run(dag, config=Config(backend=backend, **mode))
    assert brief(result.reports) == [
        ("usage", first, "plain", (), None, 1),
        ("file", "a.txt", "plain", (), None, 1),
        ("usage", 2, "plain", (), None, 1),
        ("usage", 3, "waits", (), None, 1),
    ]
    assert result["waits"] == [first, 2, 3]
    assert isinstance(result.reports[0], Report)


def test_without_an_event_loop() -> None:
    result = flow.run(one_node(says), {"item": 5})
    assert brief(result.reports) == [("fact", 5, "node", (), None, 1)]


def test_a_run_that_reports_nothing_keeps_nothing() -> None:
    def silent(ctx: Context) -> tuple[Any, Any]:
        return ctx.reported("k"), ctx.run_reported("k")

    result = flow.run(one_node(silent))
    assert result["node"] == ([], [])
    assert result.reports == ()
    assert result._run._extras is None  # nothing was made for it


def test_observers_get_an_event() -> None:
    seen: list[Any] = []
    dag = flow.Dag("d")
    dag.map("each", inner(), "xs")
    result = flow.run(dag, {"xs": [7]}, config=Config(observers=(seen.append,), clock=FakeClock(3.0)))
    (event,) = [one for one in seen if isinstance(one, NodeReported)]
    assert (event.node, event.kind, event.value, event.at) == ("says", "fact", 7, 3.0)
    assert (event.path, event.index, event.attempt) == (("each[0]",), None, 1)
    assert event.run_id != result.run_id  # as with all events: that of the inner run
    assert NodeReported in get_args(flow.events.Event)
    assert "NodeReported" in flow.events.__all__


def test_the_time_is_the_runs() -> None:
    clock = FakeClock(5.0)

    def node(ctx: Context) -> None:
        clock.sleep(2.0)
        ctx.report("k", 1)

    assert flow.run(one_node(node), config=Config(clock=clock)).reports[0].at == 7.0


def test_of_all_attempts() -> None:
    def node(ctx: Context) -> list[Any]:
        ctx.report("try", ctx.attempt)
        if ctx.attempt < 3:
            raise OSError
        return ctx.reported("try")

    result = flow.run(one_node(node, retry=Retry(3, delay=0.0)))
    assert result["node"] == [1, 2, 3]
    assert [one.attempt for one in result.reports] == [1, 2, 3]


@pytest.mark.parametrize("thread", [False, True])
def test_items_are_told_apart(thread: bool, backend: Any) -> None:
    def one(item: int, ctx: Context) -> list[Any]:
        ctx.report("k", item)
        ctx.child("mine", 99).report("k", -item)
        return ctx.reported("k")

    dag = flow.Dag("d")
    dag.map("each", one, "xs", thread=thread)
    result = flow.run(dag, {"xs": [1, 2, 3]}, config=Config(backend=backend))
    assert result["each"] == [[1, -1], [2, -2], [3, -3]]
    assert sorted((one.index, one.value) for one in result.reports) == [
        (0, -1), (0, 1), (1, -2), (1, 2), (2, -3), (2, 3),
    ]  # fmt: skip


def test_items_of_an_inner_dag_are_told_apart() -> None:
    """Also where nothing else tells them apart: no timeout, no hook, no journal."""

    def keyed(item: int, ctx: Context) -> tuple[Any, str]:
        ctx.report("k", item)
        return ctx.reported("k"), ctx.idempotency_key

    dag, body = flow.Dag("d"), flow.Dag("body")
    body.add("keyed", keyed)
    dag.map("each", body, "xs")
    result = flow.run(dag, {"xs": [1, 2]})
    outputs = [one["keyed"] for one in result["each"]]
    assert [found for found, _ in outputs] == [[1], [2]]
    assert len({key for _, key in outputs}) == 2
    assert [one.path for one in result.reports] == [("each[0]",), ("each[1]",)]


def test_runs_within_are_part_of_the_outermost() -> None:
    dag = flow.Dag("d")
    dag.add("sub", inner())
    dag.map("each", inner(), "xs")

    @dag.node
    def starts(sub: Any, each: Any, ctx: Context) -> list[Any]:
        first = ctx.run(inner(), {"item": 10})
        second = ctx.run(inner(), {"item": 11})
        ctx.report("fact", 12)
        assert brief(first.reports) == [("fact", 10, "says", ("starts",), None, 1)]
        assert brief(second.reports) == [("fact", 11, "says", ("starts+2",), None, 1)]
        assert ctx.reported("fact") == [12]
        return ctx.run_reported("fact")

    result = flow.run(dag, {"item": 1, "xs": [2, 3]})
    assert result["starts"] == [1, 2, 3, 10, 11, 12]
    assert [(one.value, one.path, one.node) for one in result.reports] == [
        (1, ("sub",), "says"), (2, ("each[0]",), "says"), (3, ("each[1]",), "says"), (10, ("starts",), "says"),
        (11, ("starts+2",), "says"), (12, (), "starts"),
    ]  # fmt: skip


def test_a_run_within_a_run_within_shows_its_own_part() -> None:
    middle = flow.Dag("middle")

    @middle.node
    def deeper(ctx: Context) -> Any:
        ctx.report("fact", 1)
        return ctx.run(inner(), {"item": 2}).reports

    dag = flow.Dag("d")

    @dag.node
    def top(ctx: Context) -> tuple[Any, ...]:
        ctx.report("fact", 0)
        found = ctx.run(middle)
        return found.reports, found["deeper"]

    result = flow.run(dag)
    middles, deepest = result["top"]
    assert [one.value for one in result.reports] == [0, 1, 2]
    assert [one.value for one in middles] == [1, 2]
    assert [(one.value, one.path) for one in deepest] == [(2, ("top", "deeper"))]


async def test_execute_within(anyio_backend: Any) -> None:
    dag = flow.Dag("d")

    @dag.node
    async def top(ctx: Context) -> Any:
        return (await ctx.execute(inner(), {"item": 4})).reports

    result = await flow.execute(dag)
    assert [one.value for one in result["top"]] == [4]
    assert result.reports == result["top"]


def test_rounds_of_loops_have_their_paths() -> None:
    body = flow.Dag("body")

    @body.node
    def count(n: int, ctx: Context) -> int:
        ctx.report("round", n)
        assert ctx.reported("round") == [n]
        return n + 1

    dag = flow.Dag("d")
    dag.loop("loop", body, carry={"n": "count"}, until=lambda count: count == 3, max_iterations=5)
    result = flow.run(dag, {"n": 0})
    assert [(one.value, one.path) for one in result.reports] == [
        (0, ("loop#1",)), (1, ("loop#2",)), (2, ("loop#3",)),
    ]  # fmt: skip


def test_of_failed_runs() -> None:
    dag = one_node(says)

    @dag.node
    def breaks(node: int) -> None:
        raise OSError

    with pytest.raises(flow.RunError) as caught:
        flow.run(dag, {"item": 5})
    assert [one.value for one in caught.value.result.reports] == [5]
    result = flow.run(dag, {"item": 5}, config=Config(on_error="collect"))
    assert [one.value for one in result.reports] == [5]


def test_of_a_failed_attempt_with_a_fallback() -> None:
    def node(ctx: Context) -> int:
        ctx.report("k", 1)
        raise OSError

    result = flow.run(one_node(node, fallback=0))
    assert (result["node"], [one.value for one in result.reports]) == (0, [1])


async def test_of_cancelled_runs(anyio_backend: Any) -> None:
    dag, begun = flow.Dag("d"), anyio.Event()

    @dag.node
    async def waits(ctx: Context) -> None:
        ctx.report("k", 1)
        begun.set()
        await anyio.sleep_forever()

    async with flow.start(dag) as handle:
        await begun.wait()
        handle.cancel()
        with pytest.raises(flow.RunError) as caught:
            await handle.result()
    assert [one.value for one in caught.value.result.reports] == [1]


def test_of_runs_at_their_time_limit(backend: Any) -> None:
    async def waits(ctx: Context) -> None:
        ctx.report("k", 1)
        await anyio.sleep_forever()

    with pytest.raises(flow.RunError) as caught:
        flow.run(one_node(waits), config=Config(timeout=0.02, backend=backend))
    assert [one.value for one in caught.value.result.reports] == [1]


def test_after_the_end_of_the_run_it_is_dropped() -> None:
    def node(ctx: Context) -> Context:
        return ctx

    seen: list[Any] = []
    result = flow.run(one_node(node), config=Config(observers=(seen.append,)))
    result["node"].report("k", 1)
    assert result.reports == ()
    assert not [one for one in seen if isinstance(one, NodeReported)]


def test_an_inner_run_that_goes_on_after_the_outermost_reports_nowhere() -> None:
    held: list[Context] = []
    body, dag = flow.Dag("body"), flow.Dag("d")

    @body.node
    def keeps(ctx: Context) -> None:
        held.append(ctx)

    dag.add("sub", body)
    result = flow.run(dag)
    inner_run: Any = held[0]._scope.shared
    inner_run.wall_time = float("nan")  # as if it were going on, in a thread that was left behind
    held[0].report("k", 1)
    assert result.reports == ()


def test_a_call_that_was_left_behind_is_refused(backend: Any) -> None:
    left, seen = threading.Event(), list[str]()
    done = threading.Event()

    def node(ctx: Context) -> None:
        left.wait(10)
        try:
            ctx.report("k", 1)
        except UsageError as error:
            seen.append(str(error))
        done.set()

    dag = one_node(node, thread=True, timeout=0.2, abandon_on_timeout=True, continue_on_error=True)

    @dag.node
    def after(ctx: Context) -> None:
        pass

    result = flow.run(dag, config=Config(backend=backend))
    left.set()
    assert done.wait(10)
    assert "takes no writes any more" in seen[0]
    assert result.reports == ()


def test_threads_may_report_at_once(backend: Any) -> None:
    def node(ctx: Context) -> list[Any]:
        def report(letter: str) -> None:
            for number in range(100):
                ctx.report("k", [letter, number])

        threads = [threading.Thread(target=report, args=(letter,)) for letter in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return ctx.reported("k")

    result = flow.run(one_node(node, thread=True), config=Config(backend=backend))
    assert len(result.reports) == 400
    assert result["node"] == [one.value for one in result.reports]
    for letter in "abcd":
        assert [n for one, n in result["node"] if one == letter] == list(range(100))


def test_a_copy_is_kept() -> None:
    value: dict[str, Any] = {"a": [1, {"b": (2, 3)}]}

    def node(ctx: Context) -> None:
        ctx.report("k", value)
        value["a"].append(4)
        value["a"][1]["b"] = None

    assert flow.run(one_node(node)).reports[0].value == {"a": [1, {"b": [2, 3]}]}


class Odd(str):
    pass


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"x", "report('k'): value is a bytes: a report is plain data: dicts with str keys"),
        ({"a": [1, {"b": object()}]}, "report('k'): value['a'][1]['b'] is an object: a report is plain data"),
        ({"a": {1: 2}}, "report('k'): value['a'] has a key that is an int: a report is plain data"),
        ([{Odd("x"): 2}], "report('k'): value[0] has a key that is an Odd"),
        ([Odd("x")], "report('k'): value[0] is an Odd"),
        ({1, 2}, "report('k'): value is a set"),
        ([0] * 100_001, "report('k'): the value has over 100,000 values: report less"),
    ],
)
def test_what_is_no_plain_data(value: Any, message: str) -> None:
    ctx = context()
    with pytest.raises(UsageError) as caught:
        ctx.report("k", value)
    assert str(caught.value).startswith(message)
    assert reported(ctx) == []


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_how_deep_a_value_may_be() -> None:
    ctx, round_one = context(), list[Any]()
    round_one.append(round_one)
    ctx.report("k", nested(64))
    for value in (nested(65), nested(10_000), round_one):
        with pytest.raises(UsageError, match="over 64 containers in each other"):
            ctx.report("k", value)
    shared: Any = [1]
    for _ in range(40):
        shared = [shared, shared]  # 2**40 values, if each is copied
    with pytest.raises(UsageError, match="over 100,000 values"):
        ctx.report("k", shared)
    assert len(reported(ctx)) == 1


@pytest.mark.parametrize("method", ["report", "reported", "run_reported"])
@pytest.mark.parametrize("kind", ["", 3, "../x", "no name"])
def test_wrong_kinds(method: str, kind: Any) -> None:
    arguments = (kind, 1) if method == "report" else (kind,)
    with pytest.raises(UsageError, match=rf"^{method}: kind .* is refused: a name is"):
        getattr(context(), method)(*arguments)


def test_keys_are_not_said_where_values_are_not_shown() -> None:
    def node(ctx: Context) -> None:
        ctx.report("k", {"private": object()})

    with pytest.raises(flow.RunError) as caught:
        flow.run(one_node(node), config=Config(show_values=False))
    assert "private" not in str(caught.value.exceptions[0])


def test_secrets_are_masked() -> None:
    seen: list[Any] = []
    dag = flow.Dag("d", inputs=Inputs)

    @dag.node
    def node(token: str, ctx: Context) -> Any:
        ctx.report("k", {"url": f"https://{token}@host", "n": 1})
        return ctx.reported("k")

    result = flow.run(dag, {"token": "very-secret"}, config=Config(observers=(seen.append,)))
    masked = {"url": "https://***@host", "n": 1}
    assert [one.value for one in result.reports] == [masked]
    assert [one.value for one in seen if isinstance(one, NodeReported)] == [masked]


async def test_a_stream_has_the_newest_of_each_kind(anyio_backend: Any) -> None:
    def node(ctx: Context) -> None:
        for number in range(3):
            ctx.report("a", number)
            ctx.report("b", -number)

    found = [one async for one in flow.stream(one_node(node))]
    values = [(one.kind, one.value) for one in found if isinstance(one, NodeReported)]
    assert values == [("a", 2), ("b", -2)]
    assert isinstance(found[-1], flow.Result) and len(found[-1].reports) == 6


class TestByHand:
    def test_it_is_kept(self) -> None:
        ctx = context(node="n", attempt=2, clock=FakeClock(4.0))
        ctx.report("k", {"a": (1,)})
        ctx.child().report("other", None)
        assert reported(ctx) == [
            Report("k", {"a": [1]}, "n", (), None, 2, 4.0),
            Report("other", None, "n", (), None, 2, 4.0),
        ]
        assert (ctx.reported("k"), ctx.run_reported("other")) == ([{"a": [1]}], [None])

    def test_an_item(self) -> None:
        ctx = context(node="m", item="x", index=4)
        ctx.report("k", 1)
        assert [(one.index, one.value) for one in reported(ctx)] == [(4, 1)]
        assert ctx.reported("k") == [1]

    def test_of_a_context_of_its_own(self) -> None:
        again = Context.from_export(context().export())
        again.report("k", 1)
        assert again.reported("k") == [1]

    @pytest.mark.parametrize("of_run", [False, True])
    def test_of_nothing_else(self, of_run: bool) -> None:
        def node(ctx: Context) -> Context:
            return ctx

        with pytest.raises(UsageError, match=r"in a run, Result\.reports has what is reported"):
            reported(flow.run(one_node(node))["node"] if of_run else None)  # type: ignore[arg-type]
