"""What type checkers infer of flow: read by mypy and pyright (tests/unit/test_typed.py), never run.

``# type: ignore[...]`` marks what they must refuse: one that is not needed is a finding.
"""

from __future__ import annotations

import operator
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from typing import Any, assert_type

import msgspec

import flow
import flow.expr as room
from flow.data.within import RunResult
from flow.expr import Expression
from flow.types import NodeRef

dag = flow.Dag("typed")


def size(word: str) -> int:
    return len(word)


async def asize(word: str) -> int:
    return len(word)


def sizes(words: list[str]) -> list[int]:
    return [len(word) for word in words]


async def asizes(words: list[str]) -> tuple[int, ...]:
    return tuple(map(len, words))


assert_type(flow.action(size)("word"), int)
assert_type(flow.action(name="other")(size)("word"), int)
flow.action(name=5)  # type: ignore[call-overload]


def rows() -> Iterator[int]:
    yield 1


async def arows() -> AsyncIterator[int]:
    yield 1


def pairs(word: str) -> list[tuple[str, int]]:
    return [(word, 1)]


async def apairs(word: str) -> list[tuple[str, int]]:
    return [(word, 1)]


def count(so_far: dict[str, int], word: str) -> dict[str, int]:
    return so_far | {word: 1}


# -- nodes

one = dag.add("one", size)
other = dag.add("other", asize, after=one, needs={"word": one}, retry=flow.Retry(3), timeout=flow.Timeout(node=2.0))
assert_type(one, NodeRef[int])
assert_type(other, NodeRef[int])
assert_type(dag.route("route", lambda: "x", to={"x": one}), NodeRef[tuple[str, ...]])
assert_type(dag.merge("merge", of=[one, other]), NodeRef[int])
assert_type(dag.merge("merge2", of=[one, "other"]), NodeRef[Any])
assert_type(dag.add("joined", lambda: 1, join="some", when=lambda: True, after={one: "failed"}), NodeRef[int])
assert_type(flow.expr("a > 1")(a=1), Any)
assert_type(dag.add("asked", lambda: 1, when=flow.expr("succeeded(one)")), NodeRef[int])
assert_type(dag.add("summed", flow.expr("one + other")), NodeRef[Any])
assert_type(dag.add("greeting", flow.template("Hello {{ one }}"), when=flow.template("{{ one > 1 }}")), NodeRef[Any])
assert_type(dag.map("keyed", size, "rows", key=flow.expr("item.name")), NodeRef[Any])
assert_type(dag.loop("looped", size, until=flow.expr("output > 1"), max_iterations=2), NodeRef[int])
assert_type(flow.expr.compile("a > 1"), Expression)
assert_type(flow.expr.template("{{ a }}").source, str)
assert_type(room.structure([]).evaluate({}), Any)
flow.expr("a", 3)  # type: ignore[call-arg]
assert_type(dag.add("closed", size, cleanup=True), NodeRef[int])
assert_type(dag.teardown("torn_down", size, of=one, retry=flow.Retry(2)), NodeRef[int])
assert_type(dag.teardown("atorn_down", asize, of="one"), NodeRef[int])
dag.teardown("of_nothing", size)  # type: ignore[call-overload]
assert_type(flow.Outcome(value=3), flow.Outcome[int])
assert_type(dag.add("rows", rows), NodeRef[Iterator[int]])
assert_type(dag.add("arows", arows), NodeRef[AsyncIterator[int]])
assert_type(dag.add("inner", flow.Dag("inner")), NodeRef[Mapping[str, Any]])
assert_type(dag.add("text", lambda: "text"), NodeRef[str])
assert_type(dag.add("class", dict[str, int]), NodeRef[dict[str, int]])


@dag.node
def plain(x: int) -> str:
    return str(x)


@dag.node(name="other_name", retry=flow.Retry(2), priority=1)
async def awaited(x: int) -> str:
    return str(x)


assert_type(plain(1), str)
dag.add("wrong", size, retries=3)  # type: ignore[call-overload]
dag.node(retrys=3)  # type: ignore[call-overload]

# -- maps

assert_type(dag.map("a", size, over="xs"), NodeRef[list[int]])
assert_type(dag.map("b", asize, over=["xs", one]), NodeRef[list[int]])
assert_type(dag.map("c", sizes, over="xs", batch_size=10), NodeRef[list[int]])
assert_type(dag.map("d", asizes, over="xs", batch_size=10), NodeRef[list[int]])
assert_type(dag.map("e", asizes, over="xs", batch_size=10, on_error="collect"), NodeRef[flow.MapResult[int]])
assert_type(dag.map("c2", sizes, over="xs", batch_size=10, batch_wait=0.5), NodeRef[list[int]])
assert_type(dag.map("f", size, over="xs", on_error="skip", concurrency="auto"), NodeRef[list[int]])
collected = dag.map("g", asize, over="xs", on_error="collect", key=str.upper)
assert_type(collected, NodeRef[flow.MapResult[int]])
assert_type(dag.flat_map("h", pairs, over="xs"), NodeRef[list[tuple[str, int]]])
assert_type(dag.flat_map("i", apairs, over="xs"), NodeRef[list[tuple[str, int]]])
assert_type(dag.filter("j", size, over=collected), NodeRef[list[Any]])
assert_type(dag.reduce("k", lambda a, b: a + 1, over=collected, start=0), NodeRef[int])
assert_type(dag.reduce("l", count, over="xs", start={}), NodeRef[dict[str, int]])
assert_type(dag.reduce("m", operator.add, over=collected, start=0), NodeRef[int])
dag.map("n", size, over="xs", max_workers=8)  # type: ignore[call-overload]
dag.map("o", size, over="xs", on_error="ignore")  # type: ignore[call-overload]
dag.reduce("p", count, over="xs", start=[])  # type: ignore[arg-type]

# -- a run

result = flow.run(dag, {"x": 1}, targets=[one, plain, "other"], known={one: 1, plain: "1", "other": 2}, run_id="r")
assert_type(result, flow.Result)
assert_type(flow.run(dag, known=result), flow.Result)
assert_type(flow.run(dag, known={"one": flow.Outcome("failed", error=OSError())}), flow.Result)
assert_type(result[one], int)
assert_type(result[plain], str)
assert_type(result[awaited], str)
assert_type(result["one"], Any)
assert_type(result[collected], flow.MapResult[int])
assert_type(result[collected].values, list[int])
assert_type(result[collected][0], int)
assert_type(list(result[collected]), list[int])
assert_type(result[collected].items(), list[tuple[Any, int]])
assert_type(result.get(one), int | None)
assert_type(result.get(one, 0), int)
assert_type(result.get(plain, None), str | None)
assert_type(result.get("one"), Any)
assert_type(result.status["one"], flow.Status)
assert_type(result.errors["one"], BaseException)
assert_type(result.error(), flow.RunError | None)


class Approval(msgspec.Struct):
    by: str


approved, pause = dag.signal("approved", type=Approval, after=one), dag.timer("pause", seconds=3.0)
assert_type(approved, NodeRef[Approval])
assert_type(dag.signal("any"), NodeRef[Any])
assert_type(pause, NodeRef[None])
assert_type(result[approved], Approval)
dag.signal("wrong", retry=3)  # type: ignore[call-overload]
dag.timer("wrong", thread=True)  # type: ignore[call-arg]


async def started() -> None:
    async with flow.start(dag, {"x": 1}) as run:
        assert_type(run, flow.RunHandle)
        run.send("approved", {"by": "Ann"})
        assert_type(run.waiting, tuple[str, ...])
        assert_type(run.status(approved), flow.Status)
        assert_type(await run.result(), flow.Result)
    flow.start(dag, limit=3)  # type: ignore[call-arg]


async def executed() -> None:
    assert_type(await flow.execute(dag, {"x": 1}), flow.Result)


flow.run(dag, limit=3)  # type: ignore[call-arg]
flow.run(7)  # type: ignore[arg-type]
flow.Nope  # type: ignore[attr-defined]

try:
    flow.run(dag)
except flow.RunError as failed:
    assert_type(failed.exceptions, tuple[Exception | ExceptionGroup[Exception], ...])
    assert_type(failed.nodes, tuple[str, ...])
except flow.InputError as error:
    assert_type(error.faults, tuple[str, ...])


# -- data

TOTAL = flow.Key[int]("total")


def writes(ctx: flow.Context) -> None:
    assert_type(ctx.data, flow.WorkflowData)
    assert_type(ctx.data[TOTAL], int)
    assert_type(ctx.data.get(TOTAL), int | None)
    assert_type(ctx.data.get(TOTAL, "none"), int | str)
    assert_type(ctx.data["total"], Any)
    assert_type(ctx.data.get_int("total"), int)


def nests(ctx: flow.Context) -> None:
    inside = ctx.run(dag, {"x": 1}, targets=["one"])
    assert_type(inside["one"], Any)
    assert_type(inside[one], int)
    assert_type(inside.ok, bool)
    assert_type(inside.errors, dict[str, BaseException])
    assert_type(ctx.run(dag.compile())[one], int)
    ctx.run(lambda: 1)  # type: ignore[arg-type]
    ctx.emit("progress", 0.5)
    ctx.emit("text", "a", append=True)
    ctx.emit(1, "a")  # type: ignore[arg-type]


async def streams(ctx: flow.Context) -> None:
    inside = await ctx.execute(dag)
    assert_type(inside[one], int)
    events: AsyncIterator[flow.events.Event | flow.Result] = flow.stream(dag, {"x": 1})
    async for event in events:
        match event:
            case flow.events.NodeEmitted(key="text"):
                assert_type(event.offset, int)
            case flow.Result():
                assert_type(event[one], int)
    flow.stream(dag, confg=flow.Config())  # type: ignore[call-arg]


accepted: RunResult = flow.run(dag)

flow.DataConfig(memory=dict)
flow.DataConfig(memory=lambda: dict[str, Any]())
flow.DataConfig(memory="slot")  # type: ignore[arg-type]
flow.DataConfig(memory=size)  # type: ignore[arg-type]
strings = flow.memory.StringPool()
lists = flow.memory.ObjectPool(lambda: list[int](), reset=list[int].clear)
with lists.acquire() as borrowed:
    assert_type(borrowed, list[int])
with flow.WorkflowData.pool().acquire() as store:
    assert_type(store, flow.WorkflowData)


# -- settings, plans, tuning


def flaky(error: Exception) -> bool:
    return True


def narrow(error: ValueError) -> bool:
    return True


flow.Retry(retry_if=flaky)
flow.Retry(retry_if=(ValueError, KeyError))
flow.Retry(retry_if=narrow)  # type: ignore[arg-type]
flow.Config(limt=3)  # type: ignore[call-arg]
assert_type(flow.Config(limit=3).replace(limit="auto"), flow.Config)
flow.Config(clock=flow.testing.FakeClock(), observers=(print, lambda event: None))

plan = dag.compile()
assert_type(plan, flow.Plan)
assert_type(plan.names, Sequence[str])
assert_type(plan.dependencies["one"], tuple[str, ...])
assert_type(plan.topological_order(), list[str])
assert_type(flow.tune(dag, {"x": 1}, objective="latency", budget=0.1), flow.tuning.TuneReport)
assert_type(flow.tune(dag).best, flow.Config)
flow.tune(dag, objective="speed")  # type: ignore[arg-type]
either = flow.run if plan.names else flow.execute
found: flow.Result | Coroutine[Any, Any, flow.Result] = either(dag, {"x": 1})

# -- loops

body = flow.Dag("body")
assert_type(dag.loop("l1", size, until=lambda n: True, max_iterations=3), NodeRef[int])
assert_type(dag.loop("l2", asize, until=lambda n: True, max_iterations=3, on_limit="return"), NodeRef[int])
assert_type(dag.loop("l3", size, until=lambda n: True, max_iterations=3, history=True), NodeRef[tuple[int, ...]])
assert_type(dag.loop("l4", asize, until=lambda n: True, max_iterations=3, history=True), NodeRef[tuple[int, ...]])
assert_type(
    dag.loop("l5", body, until=lambda n: True, max_iterations=3, carry={"a": "b"}), NodeRef[Mapping[str, Any]]
)
assert_type(
    dag.loop("l6", body, until=lambda n: True, max_iterations=3, history=True, retry=flow.Retry(3), when=lambda: True),
    NodeRef[tuple[Mapping[str, Any], ...]],
)
dag.loop("l7", size, until=lambda n: True)  # type: ignore[call-overload]
dag.loop("l8", size, max_iterations=3)  # type: ignore[call-overload]
dag.loop("l9", size, until=lambda n: True, max_iterations=3, carry={"a": "b"})  # type: ignore[call-overload]
dag.loop("l10", body, until=lambda n: True, max_iterations=3, carry="a")  # type: ignore[call-overload]
dag.loop("l11", body, until=lambda n: True, max_iterations=3, on_limit="stop")  # type: ignore[call-overload]
