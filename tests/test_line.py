"""A run on asyncio in which only one node can run at a time counts nothing while its nodes wait."""

from __future__ import annotations

import asyncio
import sys
from contextvars import ContextVar
from typing import Any

import pytest

import flow
from flow import Config, Status
from flow.plan.resolver import lone_nodes

EAGER = pytest.mark.skipif(sys.version_info < (3, 12), reason="no eager tasks")
VAR: ContextVar[str] = ContextVar("VAR", default="unset")


async def waits(*values: int) -> int:
    await asyncio.sleep(0)
    return sum(values) + 1


def plan_of(text: str, fns: dict[str, Any]) -> flow.Plan:
    """``"a, b: a, c: a b"``: nodes and what they need."""
    dag = flow.Dag("line")
    for part in text.split(","):
        name, _, needs = part.partition(":")
        dag.add(name.strip(), fns.get(name.strip(), waits), needs=needs.split())
    return dag.compile()


def execute(plan: flow.Plan, **config: Any) -> flow.Result:
    return asyncio.run(flow.execute(plan, config=Config(on_error="collect", **config)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "lone"),
    [
        ("a, b: a, c: b", "abc"),
        ("a, b: a, c: a, d: b c", "a"),  # what comes after the first async node that is none does not matter
        ("a, b", ""),
        ("a, b: a, c", ""),
        ("a, b: a, s: b, t: b, c: s t, d: c", "abtcd"),  # s and t are sync: they never suspend
    ],
)
def test_lone_nodes(text: str, lone: str) -> None:
    plan = plan_of(text, {"s": lambda v: v, "t": lambda v: v})
    assert {plan.names[i] for i in lone_nodes(plan)} == set(lone)
    assert plan.lone is lone_nodes(plan)


def test_none_where_code_may_be_generated() -> None:
    sync = dict.fromkeys("bcde", lambda v: v)
    assert lone_nodes(plan_of("a, b: a, c: b, d: c, e: d", sync)) == frozenset()


@EAGER
def test_nothing_is_counted_in_a_chain_of_waits() -> None:
    result = execute(plan_of("a, b: a, s: b, c: s", {"s": lambda v: v * 10}))
    assert dict(result) == {"a": 1, "b": 2, "s": 20, "c": 21}
    assert result._run.resolver is None
    assert execute(plan_of("a, b: a, c: a", {}))._run.resolver is not None


def test_what_a_node_sees_of_the_run() -> None:
    seen = []

    async def looks(value: int, ctx: flow.Context) -> int:
        await asyncio.sleep(0)
        seen.append(({name: str(status) for name, status in ctx.data.statuses.items()}, dict(ctx.data.outputs)))
        return value

    assert execute(plan_of("a, b: a, c: b", {"b": looks})).ok
    assert seen == [({"a": "completed", "b": "running", "c": "pending"}, {"a": 1})]


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_node_fails_after_a_wait(attempts: int) -> None:
    calls = []

    async def fails(value: int) -> int:
        await asyncio.sleep(0)
        calls.append(value)
        if len(calls) == 1:
            raise ValueError("once")
        return value

    dag = flow.Dag("d")
    dag.add("a", waits)
    dag.add("b", fails, needs=["a"], retry=flow.Retry(attempts, delay=0.0))
    dag.add("c", waits, needs=["b"])
    result = execute(dag.compile())
    assert calls == [1] * attempts
    tail = [Status.COMPLETED] * 2 if attempts == 2 else [Status.FAILED, Status.SKIPPED]
    assert list(result.status.values()) == [Status.COMPLETED, *tail]


@pytest.mark.parametrize("swallows", [False, True])
def test_a_time_limit_reaches_the_node_that_waits(swallows: bool) -> None:
    async def long(value: int) -> int:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            if not swallows:
                raise
        return value

    with pytest.raises(flow.RunError) as caught:
        execute(plan_of("a, b: a, c: b", {"b": long}), timeout=0.01)
    status = caught.value.result.status
    ended = Status.COMPLETED if swallows else Status.CANCELLED
    assert dict(status) == {"a": Status.COMPLETED, "b": ended, "c": Status.CANCELLED}


def test_cancelled_from_outside() -> None:
    cleared = []

    async def long(value: int) -> int:
        try:
            await asyncio.sleep(60)
        finally:
            cleared.append(value)
        return value

    async def main() -> None:
        task = asyncio.create_task(flow.execute(plan_of("a, b: a, c: b", {"b": long})))
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert cleared == [1]


def test_contextvars_stay_with_their_node() -> None:
    async def changes(*_: int) -> str:
        await asyncio.sleep(0)
        before = VAR.get()
        VAR.set("changed")
        await asyncio.sleep(0)
        return before + " " + VAR.get()

    result = execute(plan_of("a, b: a, c: b, d: c", dict.fromkeys("abcd", changes)))
    assert list(result.values()) == ["unset changed"] * 4
