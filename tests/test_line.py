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


# -- faults it has had -----------------------------------------------------------------------


@EAGER
@pytest.mark.filterwarnings("error::flow.BlockingNodeWarning")
def test_nothing_starts_after_a_warning_that_is_an_error(busy: Any) -> None:
    started = []

    async def holds() -> None:
        busy(0.2)
        await asyncio.sleep(0)

    async def starts(*_: Any) -> None:
        started.append("beside")
        await asyncio.sleep(0)

    for text in ("a, b, c", "a, b, c: a"):
        with pytest.raises(flow.BlockingNodeWarning, match="node 'a' held the event loop"):
            execute(plan_of(text, {"a": holds, "b": starts, "c": starts}))
    assert started == []


@pytest.mark.parametrize("text", ["a, z: a", "a, b, z: a b"])
def test_an_error_has_only_the_users_own_context(text: str) -> None:
    async def fails() -> None:
        try:
            async with asyncio.timeout(0):
                await asyncio.sleep(60)
        except TimeoutError:
            pass
        raise ValueError("mine")

    error = execute(plan_of(text, {"a": fails})).errors["a"]
    assert repr(error) == "ValueError('mine')"
    assert error.__context__ is None


@EAGER  # elsewhere one that holds it for less than 5 ms may be taken for the next that waits
@pytest.mark.parametrize(("kinds", "named"), [("ss", "s0 s1"), ("wdw", "d1"), ("wlw", "l1")])
def test_a_short_blocking_after_names_the_right_nodes(kinds: str, named: str, busy: Any) -> None:
    async def slow(*_: int) -> int:
        await asyncio.sleep(0)
        busy(0.003)
        return 1

    async def dry(*_: int) -> int:
        busy(0.003)
        return 1

    def plain(*_: int) -> int:
        busy(0.003)
        return 1

    fns = {"s": slow, "d": dry, "w": waits, "l": plain}
    dag = flow.Dag("line")
    for i, kind in enumerate(kinds):
        dag.add(f"{kind}{i}", fns[kind], needs=[f"{kinds[i - 1]}{i - 1}"] if i else [])
    with pytest.warns(flow.BlockingNodeWarning) as warned:
        execute(dag.compile(), blocking_after=0.002)
    assert [str(w.message).split("'")[1] for w in warned] == named.split()


@pytest.mark.parametrize("shape", ["chain", "chains"])
def test_the_loop_turns_in_time(shape: str, busy: Any) -> None:
    held = [0.0]

    def holds(*_: int) -> int:
        busy(0.0045 if shape == "chain" else 0.001)
        held[-1] += 0.0045 if shape == "chain" else 0.001
        return 1

    async def twice(*_: int) -> int:
        holds()
        await asyncio.sleep(0)
        return holds()

    async def dry(*_: int) -> int:
        return holds()

    dag = flow.Dag("line")
    for k in range(1 if shape == "chain" else 10):
        for i in range(30):
            dag.add(f"n{k}_{i}", dry if i % 2 else twice, needs=[f"n{k}_{i - 1}"] if i else [])

    async def main() -> None:
        async def tick() -> None:
            while True:
                held.append(0.0)
                await asyncio.sleep(0)

        ticker = asyncio.create_task(tick())
        assert (await flow.execute(dag)).ok
        ticker.cancel()

    asyncio.run(main())
    assert max(held) < 0.0141
