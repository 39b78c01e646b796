"""Generated code for what follows a node that has suspended: which nodes it covers, and that nothing else changes."""

from __future__ import annotations

import asyncio
import copy
import pickle
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from random import Random
from typing import Any

import anyio.lowlevel
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_oracle import Spec, World, dags

import flow
from flow import Config, Retry, Status
from flow.plan import blocks
from flow.plan.blocks import HEAD, blocks_of
from flow.plan.resolver import Resolver

HOT = Config(optimize="at_once", on_error="collect")
COLD = Config(optimize=False, on_error="collect")


async def fetch(*values: int) -> int:
    await anyio.lowlevel.checkpoint()
    return 1 + sum(values)


def total(*values: int) -> int:
    return sum(values)


def dag_of(text: str, fns: dict[str, Any] | None = None) -> flow.Dag:
    """Read ``name: needs ...`` lines; names in capitals are async."""
    dag = flow.Dag("blocks")
    for line in text.split(","):
        name, _, needs = line.strip().partition(":")
        fn = (fns or {}).get(name, fetch if name.isupper() else total)
        dag.add(name, fn, needs=needs.split())
    return dag


def named(plan: flow.Plan) -> list[str]:
    return [" ".join(plan.names[i] for i in block) for block in blocks_of(plan)]


# -- which nodes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A:, b: A, c: b, d: c, e: d", ["b c d e"]),  # a chain
        ("A:, b: A, c: A, d: b c, e: A d", ["b c d e"]),  # several first nodes; one that needs the async node as well
        ("A:, B:, c: A, d: c, e: d, f: e, g: f B, h: g", ["c d e f"]),  # another async node is needed from there on
        ("A:, B:, c: A B, d: c A, e: d, f: B A", ["c d e f"]),
        ("A:, B:, c: A, d: B, e: c d, f: e, g: e, h: f g", ["e f g h"]),  # first nodes that are ready at other times
        ("A:, b: A, c: b, d: c, E: b, f: d, g: f, h: g, i: h", ["f g h i"]),  # E, which needs b, is started before f
        ("a:, b: a, c: b, d: c, A: d", ["a b c d"]),  # from the start
        ("A:, b: A, c: b, d: c", []),  # too few
        ("A:, B: A, C: B", []),
    ],
)
def test_what_a_block_is(text: str, expected: list[str]) -> None:
    assert named(dag_of(text).compile()) == expected


def test_a_long_block_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "GUARDED_STRETCH", 4)
    chain = ", ".join(f"n{i}: n{i - 1}" for i in range(1, 10))
    plan = dag_of(f"A:, n0: A, {chain}").compile()
    assert named(plan) == ["n0 n1 n2 n3", "n4 n5 n6 n7"]


def test_priorities_and_very_long_plans_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    dag = dag_of("A:, b: A, c: b, d: c, e: d")
    monkeypatch.setattr(blocks, "MOST", 5)
    assert named(dag.compile()) == ["b c d e"]
    dag.add("last", total)
    assert named(dag.compile()) == []
    monkeypatch.undo()
    assert named(dag.compile()) == ["b c d e"]
    dag.add("first", total, priority=1)
    assert named(dag.compile()) == []


@given(st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_when_its_head_may_run_all_of_a_block_may(seed: int) -> None:
    random = Random(seed)
    count = random.randint(4, 40)
    dag = flow.Dag("random")
    for i in range(count):
        needs = random.sample(range(i), min(i, random.randint(0, 3)))
        dag.add(f"n{i}", fetch if random.random() < 0.2 else total, needs=[f"n{d}" for d in needs])
    plan = dag.compile()
    seen: set[int] = set()
    for part in blocks_of(plan):
        assert not seen & set(part)
        seen |= set(part)
        assert [i for i in plan.order if i in part] == part
        assert not any(plan.kinds[i] for i in part)
        before = set(plan.dependencies[part[0]])
        for k, i in enumerate(part):
            assert set(plan.dependencies[i]) <= before | set(part[:k])
            # One that does not follow on another of the block is ready when the head is, not earlier.
            assert set(plan.dependencies[i]) & set(part[:k]) or set(plan.dependencies[i]) == before


# -- that nothing else changes ---------------------------------------------------------------


class BusyWorld(World):
    """One in which some nodes hold the loop for so long that it has to turn after them."""

    def __init__(self, specs: list[Spec], busy: Callable[[float], None]) -> None:
        self.busy = busy
        super().__init__(specs)

    def _function(self, i: int, spec: Spec) -> Callable[..., Any]:
        fn = super()._function(i, spec)

        def held(*values: Any) -> Any:
            self.busy(0.006)
            return fn(*values)

        async def held_async(*values: Any) -> Any:
            self.busy(0.006)
            return await fn(*values)

        return fn if i % 5 else held if spec.style == "sync" else held_async


@pytest.mark.parametrize("backend", ["asyncio", "trio", "uvloop"])
def test_runs_with_blocks_agree_with_the_oracle(backend: str, monkeypatch: pytest.MonkeyPatch, busy: Any) -> None:
    pytest.importorskip(backend)
    monkeypatch.setattr(blocks, "LEAST", 2)
    used = 0

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(dags(most=60), st.sampled_from([None, 1, 2, 5]), st.integers(1, 12))
    def check(specs: list[Spec], limit: int | None, longest: int) -> None:
        nonlocal used
        monkeypatch.setattr(blocks, "GUARDED_STRETCH", longest + 1)
        specs = [msgspec.structs.replace(spec, priority=0, style="sync" if i % 4 else "waits")
                 for i, spec in enumerate(specs)]  # fmt: skip
        world = BusyWorld(specs, busy)
        config = HOT.replace(backend=backend, limit=limit)
        result = flow.run(world.dag, config=config)
        status = world.expected()
        assert list(result.status.values()) == status
        assert world.calls == world.expected_calls(status)
        done = [i for i, s in enumerate(status) if s is Status.COMPLETED]
        assert dict(result.outputs) == {f"n{i}": ("out", i) for i in done}
        if limit == 1 and not any(spec.fails for spec in specs):
            assert world.started == list(result.plan.order)
        used += result.plan.blocks is not None and bool(result.plan.blocks.by_head)

    check()
    assert used > 20


CHAIN = "A:, b: A, c: b, d: c, e: d, f: e, Z: f"


def made(plan: flow.Plan) -> list[str]:
    return [] if plan.blocks is None else [plan.names[head] for head in plan.blocks.by_head]


def test_code_is_generated_one_block_a_run_when_the_plan_is_hot(on_loop: Any) -> None:
    async def main() -> None:
        plan = dag_of(f"{CHAIN}, g: Z, h: g, i: h, j: i").compile()
        plan.warmth = 2
        found = []
        for _ in range(5):
            assert (await flow.execute(plan))["j"] == 2
            found.append((plan.warmth, made(plan)))
        assert found == [(1, []), (1, []), (0, ["b"]), (0, ["b", "g"]), (0, ["b", "g"])]
        assert plan.blocks is not None
        assert [i for i, kind in enumerate(plan.blocks.kinds) if kind == HEAD] == [plan.find("b"), plan.find("g")]

    on_loop(main)


def test_a_block_is_really_run(on_loop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        plan = dag_of(CHAIN).compile()
        await flow.execute(plan, config=HOT)
        assert plan.blocks is not None
        block = plan.blocks.by_head[plan.find("b")]
        calls = []

        def watched(values: Any, *rest: Any) -> int:
            calls.append([values[i] for i in plan.dependencies[block.part[0]]])
            return call(values, *rest)

        call, block.call = block.call, watched
        assert (await flow.execute(plan, config=HOT))["Z"] == 2
        assert calls == [[1]]
        for config in (COLD, HOT.replace(timing=True), HOT.replace(limit=1), HOT.replace(sync="thread"),
                       HOT.replace(order="critical_path"), HOT.replace(keep="targets")):  # fmt: skip
            assert (await flow.execute(plan, config=config))["Z"] == 2
        assert len(calls) == 1

    on_loop(main)


@pytest.mark.parametrize("place", ["b", "c", "f"])
@pytest.mark.parametrize("attempts", [1, 2])
def test_a_node_that_fails_within_a_block(place: str, attempts: int, on_loop: Any) -> None:
    async def main() -> None:
        found = []
        for config in (COLD, HOT):
            calls: list[str] = []

            def fails(*values: int, calls: list[str] = calls) -> int:
                calls.append("fails")
                if len(calls) == 1:
                    raise ValueError(f"cannot take {values}")
                return sum(values)

            dag = flow.Dag("fails")
            dag.add("A", fetch)
            for name, before in zip("bcdef", "Abcde", strict=True):
                more = {"retry": Retry(attempts, delay=0.0)} if name == place else {}
                dag.add(name, fails if name == place else total, needs=[before], **more)
                dag.add(f"beside_{name}", total, needs=[before])
            result = await flow.execute(dag, config=config)
            error = result.errors.get(place)
            names = [] if error is None else [tb.name for tb in traceback.extract_tb(error.__traceback__)]
            notes = [] if error is None else error.__notes__
            found.append((dict(result.status), dict(result.outputs), repr(error), notes, names, calls))
            assert bool(made(result.plan)) == (config is HOT)
        assert found[0] == found[1]
        assert found[0][0][place] is (Status.COMPLETED if attempts == 2 else Status.FAILED)

    on_loop(main)


def test_contextvars_stay_with_their_node(on_loop: Any) -> None:
    var: ContextVar[str] = ContextVar("var", default="unset")

    async def main() -> None:
        for place in "bcdef":
            fns = {name: (lambda *_: var.set("changed") and None) if name == place else (lambda *_: var.get())
                   for name in "bcdef"}  # fmt: skip
            result = await flow.execute(dag_of(CHAIN.replace(", Z: f", ""), fns), config=HOT)
            assert made(result.plan) == ["b"]
            assert [result[name] for name in "bcdef" if name != place] == ["unset"] * 4

    on_loop(main)


def test_what_a_node_sees_of_the_run(on_loop: Any) -> None:
    async def main() -> None:
        seen: dict[bool, list[Any]] = {False: [], True: []}
        for config in (COLD, HOT):

            def looks(value: int, ctx: flow.Context, config: Config = config) -> int:
                found = {name: str(status) for name, status in ctx.data.statuses.items()}
                runnable = [name for name in found if ctx.data.is_runnable(name)]
                seen[config is HOT].append((found, dict(ctx.data.outputs), runnable))
                return value

            async def long() -> int:
                for _ in range(20):
                    await anyio.lowlevel.checkpoint()
                return 1

            fns = {"L": long, "d": looks, "f": looks}
            dag = dag_of("w:, A:, L:, b: A, c: b, d: c, e: d, f: e, out: c w, late: f L", fns)
            result = await flow.execute(dag, config=config)
            assert bool(made(result.plan)) == (config is HOT)
        assert len(seen[True]) == 2
        assert seen[True] == seen[False]
        statuses, outputs, runnable = seen[True][0]
        assert list(statuses.values()) == [
            "completed", "completed", "running", "completed", "completed",
            "running", "pending", "pending", "ready", "pending",
        ]  # fmt: skip
        assert (sorted(outputs), runnable) == (["A", "b", "c", "w"], ["out"])

    on_loop(main)


def test_what_is_seen_after_a_block_has_failed(on_loop: Any) -> None:
    async def main() -> None:
        def fails(value: int) -> int:
            raise ValueError

        def looks(value: int, ctx: flow.Context) -> list[str]:
            return [str(status) for status in ctx.data.statuses.values()]

        for config in (COLD, HOT):
            dag = dag_of("A:, b: A, c: b, d: c, e: d, f: e, L: A, g: L", {"d": fails, "g": looks})
            result = await flow.execute(dag, config=config)
            assert result["g"] == ["completed"] * 3 + ["failed", "skipped", "skipped", "completed", "running"]
        assert made(result.plan) == ["b"]

    on_loop(main)


def test_a_node_that_ends_the_run(on_loop: Any) -> None:
    async def main() -> None:
        def exits(value: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises((KeyboardInterrupt, BaseExceptionGroup)):
            await flow.execute(dag_of(CHAIN, {"d": exits}), config=HOT)

    on_loop(main)


def test_a_cancelled_run_ends_between_two_nodes_of_a_block() -> None:
    async def main() -> list[str]:
        called = []

        def cancels(value: int) -> int:
            task.cancel()
            return value

        def last(value: int) -> int:
            called.append("after")
            return value

        dag = dag_of(f"{CHAIN}, Y: Z", {"d": cancels, "Z": fetch})
        dag.add("never", last, needs=["Y"])
        task = asyncio.ensure_future(flow.execute(dag, config=HOT))
        with pytest.raises(asyncio.CancelledError):
            await task
        return called

    assert asyncio.run(main()) == []


@pytest.mark.parametrize("copied", [lambda plan: pickle.loads(pickle.dumps(plan)), copy.copy])
def test_copies_go_without_and_make_their_own(copied: Any) -> None:
    plan = dag_of(CHAIN).compile()
    asyncio.run(flow.execute(plan, config=HOT))
    assert made(plan) == ["b"]
    twin = copied(plan)
    assert twin.blocks is None
    assert asyncio.run(flow.execute(twin, config=HOT))["Z"] == 2
    assert made(twin) == ["b"]


def test_a_run_goes_well_where_code_cannot_be_generated(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise RecursionError("no room to compile")

    monkeypatch.setattr(blocks, "generated", never)
    plan = dag_of(CHAIN).compile()
    for wait in (2_000, 1_999):
        assert asyncio.run(flow.execute(plan, config=HOT))["Z"] == 2
        assert plan.blocks is not None
        assert (made(plan), plan.blocks.wait) == ([], wait)
    plan.blocks.wait = 0
    monkeypatch.undo()
    asyncio.run(flow.execute(plan, config=HOT))
    assert made(plan) == ["b"]


# -- faults it has had -----------------------------------------------------------------------


@pytest.mark.parametrize("config", [COLD, HOT], ids=["cold", "hot"])
@pytest.mark.parametrize("turns", range(1, 9))
def test_while_the_loop_turns_nobody_takes_from_a_block_whose_head_is_taken(
    config: Config, turns: int, on_loop: Any, busy: Any
) -> None:
    async def main() -> None:
        calls: list[str] = []

        def calling(name: str) -> Any:
            return lambda *_: calls.append(name) or 1  # type: ignore[func-returns-value]

        async def waits() -> int:
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            return 1

        async def holds(value: int) -> int:
            busy(0.02)  # the loop is to turn before b; meanwhile W ends, whose host looks for what is ready
            return value

        fns = {name: calling(name) for name in "bcdegh"} | {"W": waits, "X": holds}
        dag = dag_of("A:, W:, X: A, b: X, c: X, d: b c, e: d, g: c W, S: e, h: c S", fns)
        result = await flow.execute(dag, config=config)
        assert result.errors == {}
        assert sorted(calls) == ["b", "c", "d", "e", "g", "h"]
        assert bool(made(result.plan)) == (config is HOT)

    on_loop(main)


@pytest.mark.parametrize("raises", [False, True])
def test_a_node_that_holds_the_loop_within_a_block_is_named(raises: bool, on_loop: Any, busy: Any) -> None:
    async def main() -> None:
        def holds(value: int) -> int:
            busy(0.2)
            if raises:
                raise ValueError
            return value

        with pytest.warns(flow.BlockingNodeWarning, match="node 'd' held the event loop for 0.2"):
            result = await flow.execute(dag_of(CHAIN, {"d": holds}), config=HOT)
        assert made(result.plan) == ["b"]

    on_loop(main)


def test_generating_hides_no_node_that_held_the_loop(on_loop: Any, busy: Any) -> None:
    async def main() -> None:
        async def holds() -> int:
            busy(0.2)
            await anyio.lowlevel.checkpoint()
            return 1

        with pytest.warns(flow.BlockingNodeWarning, match="node 'A' held the event loop for 0.2"):
            result = await flow.execute(dag_of(CHAIN, {"A": holds}), config=HOT)
        assert made(result.plan) == ["b"]

    on_loop(main)


def test_what_another_thread_sees_while_the_resolver_is_told(on_loop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        seen = []

        def passed(self: Resolver, *args: Any) -> None:
            seen.append([str(status) for status in views[0].statuses.values()])
            tell(self, *args)

        def looks(value: int, ctx: flow.Context) -> int:
            views.append(ctx.data)
            return value

        views: list[Any] = []
        tell = Resolver.passed
        monkeypatch.setattr(Resolver, "passed", passed)
        await flow.execute(dag_of(CHAIN, {"d": looks}), config=HOT)
        assert seen == [["completed"] * 6 + ["pending"]] or seen == [["completed"] * 6 + ["ready"]]

    on_loop(main)


def test_a_debugger_that_quits_at_the_end_of_the_code(on_loop: Any) -> None:
    async def main() -> None:
        plan = dag_of(CHAIN.replace(", Z: f", "")).compile()
        await flow.execute(plan, config=HOT)
        assert plan.blocks is not None
        block = plan.blocks.by_head[plan.find("b")]

        def quits(values: Any, *rest: Any) -> int:
            values[1:6] = [1] * 5
            raise ValueError("quit")

        quits.__code__ = quits.__code__.replace(co_firstlineno=10)  # so that it raises on the line of the return
        block.call = quits
        result = await flow.execute(plan, config=HOT)
        assert {name: str(error) for name, error in result.errors.items()} == {"f": "quit"}
        assert [str(status) for status in result.status.values()] == ["completed"] * 5 + ["failed"]

    on_loop(main)


def test_a_run_goes_well_where_blocks_cannot_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(plan: flow.Plan) -> Any:
        raise RecursionError("no room to look")

    monkeypatch.setattr(blocks, "blocks_of", never)
    plan = dag_of(CHAIN).compile()
    assert asyncio.run(flow.execute(plan, config=HOT))["Z"] == 2
    assert made(plan) == []
