"""Random maps against ``[fn(x) for x in xs]`` with the errors placed, for every mode, limit, source and function."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest
from conftest import DRIVERS, LoopClock, examples
from hypothesis import given
from hypothesis import strategies as st

import flow
from flow import Config, Context, MapResult, Retry

FAR = 99
"""Failing calls of an item that never succeeds."""


class Case(msgspec.Struct):
    """One map: per item, how many calls fail first."""

    fails: list[int]
    attempts: int
    style: str
    source: str
    on_error: str
    outcome: str
    concurrency: int | None
    batch_size: int | None
    batch_wait: float | None
    keyed: bool
    take: int | None
    seed: int


cases = st.builds(
    Case,
    fails=st.lists(st.sampled_from([0, 0, 0, 0, 0, 1, 2, FAR]), max_size=25),
    attempts=st.sampled_from([1, 1, 2, 3]),
    style=st.sampled_from(["sync", "async", "waits", "sometimes", "thread"]),
    source=st.sampled_from(["list", "generator", "async", "dict", "zipped"]),
    on_error=st.sampled_from(["fail", "collect", "collect", "skip"]),
    outcome=st.sampled_from(["map", "map", "map", "filter", "flat_map"]),
    concurrency=st.sampled_from([None, 1, 2, 3, 50]),
    batch_size=st.sampled_from([None, None, None, 1, 2, 4]),
    batch_wait=st.sampled_from([None, 1e6]),  # (longer than any source takes: it changes nothing)
    keyed=st.booleans(),
    take=st.sampled_from([None, None, 0, 3, 100]),
    seed=st.integers(0, 1000),
)
settings_of = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(DRIVERS),
        "limit": st.sampled_from([None, 1, 2, 5, 1000]),
        "executor": st.sampled_from(["inline", "inline", "inline", "thread"]),
        "keep": st.sampled_from(["all", "targets"]),
    }
)


class World:
    """Builds the Dag of a case and watches it run."""

    def __init__(self, case: Case, wait: Callable[[int], Any]) -> None:
        self.case = case
        self.wait = wait
        self.calls = [0] * len(case.fails)
        self.in_flight = self.most = 0
        if case.outcome != "map":
            case.keyed = False
            case.on_error = "skip" if case.on_error == "collect" else case.on_error
        self.taken = len(case.fails) if case.take is None else min(case.take, len(case.fails))

    def dag(self) -> flow.Dag:
        case = self.case
        dag = flow.Dag("world")
        items = list(range(len(case.fails)))

        async def stream() -> AsyncIterator[int]:
            for x in items:
                if (x + case.seed) % 4 == 0:
                    await self.wait(x)
                yield x

        sources: dict[str, Any] = {
            "list": lambda: items, "generator": lambda: iter(items), "async": stream,
            "dict": lambda: {f"k{x}": x for x in items}, "zipped": lambda: items,
        }  # fmt: skip
        dag.add("xs", sources[case.source])
        dag.add("ys", lambda: iter(items))
        options: dict[str, Any] = {
            "concurrency": case.concurrency, "batch_size": case.batch_size, "take": case.take,
            "batch_wait": None if case.batch_size is None else case.batch_wait,
            "on_error": case.on_error, "thread": case.style == "thread",
            "retry": Retry(case.attempts, delay=0.003) if case.attempts > 1 else None,
        }  # fmt: skip
        if case.keyed:
            options["key"] = lambda item: f"key{item[0] if case.source == 'zipped' else item}"
        over = ["xs", "ys"] if case.source == "zipped" else "xs"
        getattr(dag, case.outcome)("m", self.function(), over, **options)
        dag.add("after", lambda m: None)
        return dag

    def function(self) -> Callable[..., Any]:
        case = self.case

        def one(x: Any) -> Any:
            if case.source == "zipped":
                assert x[0] == x[1]
                x = x[0]
            return x

        def work(item: Any, index: int, ctx: Context) -> Any:
            xs = [one(x) for x in item] if case.batch_size else [one(item)]
            assert index == xs[0] == ctx.index
            for x in xs:
                self.calls[x] += 1
                assert ctx.attempt == self.calls[x]
            ctx.publish("all", xs, "append")
            for x in xs:
                if self.calls[x] <= case.fails[x]:
                    raise ValueError(x)
            results = [self.result(x) for x in xs]
            return results if case.batch_size else results[0]

        async def awork(item: Any, index: int, ctx: Context) -> Any:
            self.in_flight += 1
            self.most = max(self.most, self.in_flight)
            try:
                if case.style == "waits" or (case.style == "sometimes" and index % 3 == case.seed % 3):
                    await self.wait(index)
                return work(item, index, ctx)
            finally:
                self.in_flight -= 1

        return work if case.style in ("sync", "thread") else awork

    def result(self, x: int) -> Any:
        return {"map": ("out", x), "filter": x % 3, "flat_map": [x] * (x % 3)}[self.case.outcome]

    # -- the oracle --------------------------------------------------------------------------

    def entries(self) -> list[list[int]]:
        size = self.case.batch_size or 1
        return [list(range(k, min(k + size, self.taken))) for k in range(0, self.taken, size)]

    def failed(self) -> list[list[int]]:
        return [entry for entry in self.entries() if self.bad(entry)]

    def bad(self, entry: list[int]) -> bool:
        return max(self.case.fails[x] for x in entry) >= self.case.attempts

    def well(self) -> list[int]:
        return [x for entry in self.entries() if not self.bad(entry) for x in entry]

    def expected(self) -> Any:
        case = self.case
        pairs = [(self.key(x), self.result(x)) for x in self.well()]
        if case.outcome == "flat_map":
            return [part for _, several in pairs for part in several]
        if case.outcome == "filter":
            item = (lambda x: (x, x)) if case.source == "zipped" else (lambda x: x)
            pairs = [(self.key(x), item(x)) for x in self.well() if self.result(x)]
        return dict(pairs) if self.has_keys() else [value for _, value in pairs]

    def has_keys(self) -> bool:
        return self.case.keyed or self.case.source == "dict"

    def key(self, x: int) -> str:
        return f"key{x}" if self.case.keyed else f"k{x}"

    def expected_calls(self) -> list[int]:
        calls = [0] * len(self.case.fails)
        for entry in self.entries():
            most = min(self.case.attempts, 1 + max(self.case.fails[x] for x in entry))
            for x in entry:
                calls[x] = most
        return calls

    def check(self, result: flow.Result) -> None:
        case = self.case
        assert self.in_flight == 0
        failed = self.failed() if case.on_error == "fail" else []
        assert {n: str(s) for n, s in result.status.items()} == {
            "xs": "completed", "ys": "completed",
            "m": "failed" if failed else "completed", "after": "skipped" if failed else "completed",
        }  # fmt: skip
        if failed:
            self.check_failure(result.errors["m"])
            return
        assert self.calls == self.expected_calls()
        well = [entry for entry in self.entries() if not self.bad(entry)]
        assert result.data.get("all", []) == well
        if result.plan._nodes.successors[2] and "m" not in result:
            return  # freed
        got = result["m"]
        if case.on_error != "collect":
            assert got == self.expected()
            return
        assert isinstance(got, MapResult)
        names = [self.key(x) if self.has_keys() else x for x in self.well()]
        assert got.items() == [(n, self.result(x)) for n, x in zip(names, self.well(), strict=True)]
        assert list(got.errors) == [x for entry in self.failed() for x in entry]
        for entry in self.failed():
            (error,) = {id(got.errors[x]): got.errors[x] for x in entry}.values()
            assert case.fails[error.args[0]] >= case.attempts
        assert (len(got), got.completed, got.failed) == (self.taken, len(self.well()), self.taken - len(self.well()))

    def check_failure(self, error: BaseException) -> None:
        errors = error.exceptions if isinstance(error, flow.errors.MapError) else (error,)
        if isinstance(error, flow.errors.MapError):
            size = self.case.batch_size or 1
            assert list(error.indices) == sorted(error.indices)
            assert [i // size for i in error.indices] == [e.args[0] // size for e in errors]  # type: ignore[attr-defined]
        bad = {entry[0] for entry in self.failed()}
        size = self.case.batch_size or 1
        for one in errors:
            assert type(one) is ValueError
            # an item that still had attempts left when the map ended has failed as well
            assert self.case.fails[one.args[0]] > 0
        assert any(one.args[0] // size * size in bad for one in errors)
        assert all(calls <= self.case.attempts for calls in self.calls)


async def turns(x: int) -> None:
    for _ in range(x % 3 + 1):
        await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("backend", ["asyncio", "trio", "uvloop"])
def test_every_map_is_its_oracles(backend: str) -> None:
    pytest.importorskip(backend)

    @examples(400 if backend == "asyncio" else 150)
    @given(cases, settings_of)
    def check(case: Case, options: dict[str, Any]) -> None:
        world = World(case, turns)
        clock = flow.testing.FakeClock()
        config = Config(on_error="collect", backend=backend, clock=clock, **options)  # type: ignore[arg-type]
        world.check(flow.run(world.dag(), config=config))

    check()


def test_storms_on_virtual_time(virtual: Any) -> None:
    """Items that wait, retries that wait, limits and cancellation: the oracle's end, the bound kept, nothing left."""

    @examples(200)
    @given(cases, settings_of, st.sampled_from([None, None, 0.004, 0.02]))
    def check(case: Case, options: dict[str, Any], cancel_after: float | None) -> None:
        if case.style == "thread":
            case.style = "waits"
        options["executor"] = "inline"

        async def wait(x: int) -> None:
            await anyio.sleep((x * 7 + case.seed) % 11 / 1000)

        world = World(case, wait)
        config = Config(on_error="collect", clock=LoopClock(), **options)

        async def main() -> None:
            result = None
            with anyio.move_on_after(cancel_after) as scope:
                try:
                    result = await flow.execute(world.dag(), config=config)
                except flow.RunError:  # of items that have failed since the cancellation
                    assert scope.cancel_called
            assert world.in_flight == 0
            if result is not None:
                world.check(result)
            if virtual.name == "asyncio":
                assert asyncio.all_tasks() == {asyncio.current_task()}

        virtual(main)
        most = min(case.concurrency or FAR, options["limit"] or (8 if options["mode"] == "workers" else FAR))
        assert world.most <= (1 if options["mode"] == "inline" else most)

    check()
