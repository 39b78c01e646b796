"""Maps that start on an item as soon as the map before them has it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from conftest import DRIVERS, LoopClock, collected, examples
from hypothesis import given
from hypothesis import strategies as st

import flow
from flow import Config, Context, Retry, Status
from flow.run import pacing


@pytest.fixture
def config(mode: dict[str, Any], backend: str) -> Config:
    return Config(backend=backend, clock=flow.testing.FakeClock(), **mode)  # type: ignore[arg-type]


def timed(dag: flow.Dag, virtual: Any, inputs: Any = None, **config: Any) -> tuple[flow.Result, float]:
    """Run on virtual time; return the result and the seconds it took."""

    async def main() -> tuple[flow.Result, float]:
        began = anyio.current_time()
        result = await flow.execute(dag, inputs, config=Config(clock=LoopClock(), **config))
        return result, anyio.current_time() - began

    found: tuple[flow.Result, float] = virtual(main)
    return found


def second(seconds: float = 1.0) -> Any:
    async def wait(x: int) -> int:
        await anyio.sleep(seconds)
        return x + 1

    return wait


class TestInTime:
    def test_an_item_goes_on_before_the_others_are_done(self, virtual: Any) -> None:
        log: list[tuple[str, int, float]] = []

        def stage(name: str, seconds: float) -> Any:
            async def wait(x: int, index: int) -> int:
                log.append((name, index, anyio.current_time()))
                await anyio.sleep(seconds)
                return x

            return wait

        for pipelined, took in ((True, 4 * 1 + 2), (False, 4 * 1 + 4 * 2)):
            log.clear()
            dag = flow.Dag("d")
            dag.map("a", stage("a", 1), over="xs", concurrency=1)
            dag.map("b", stage("b", 2), over="a", concurrency=2 if pipelined else 1, pipelined=pipelined)
            result, seconds = timed(dag, virtual, {"xs": range(4)})
            assert result["b"] == [0, 1, 2, 3]
            assert seconds == pytest.approx(took)
            first_b = next(at for name, _, at in log if name == "b")
            last_a = max(at for name, _, at in log if name == "a")
            assert (first_b < last_a) == pipelined

    def test_each_stage_has_its_own_bound(self, virtual: Any) -> None:
        now, peak = {"a": 0, "b": 0, "c": 0}, {"a": 0, "b": 0, "c": 0}

        async def work(x: int, ctx: Context) -> int:
            now[ctx.node] += 1
            peak[ctx.node] = max(peak[ctx.node], now[ctx.node])
            await anyio.sleep({"a": 1, "b": 3, "c": 2}[ctx.node])
            now[ctx.node] -= 1
            return x

        for extra, most in (({}, {"a": 2, "b": 3, "c": 1}), ({"limit": 1}, {"a": 1, "b": 1, "c": 1})):
            peak.update(a=0, b=0, c=0)
            dag = flow.Dag("d")
            dag.map("a", work, over="xs", concurrency=2)
            dag.map("b", work, over="a", concurrency=3, pipelined=True)
            dag.map("c", work, over="b", concurrency=1, pipelined=True)
            result, _ = timed(dag, virtual, {"xs": (k for k in range(12))}, **extra)
            assert result["c"] == list(range(12))
            assert (peak, now) == (most, {"a": 0, "b": 0, "c": 0})

    def test_the_limit_of_the_run_is_kept_by_all_stages_together(self, virtual: Any) -> None:
        now = peak = 0

        async def work(x: int) -> int:
            nonlocal now, peak
            now += 1
            peak = max(peak, now)
            await anyio.sleep(1)
            now -= 1
            return x

        dag = flow.Dag("d")
        dag.map("a", work, over="xs")
        dag.map("b", work, over="a", pipelined=True)
        _, seconds = timed(dag, virtual, {"xs": range(8)}, limit=4)
        assert (peak, seconds) == (4, pytest.approx(4))

    def test_retries_of_each_stage(self, virtual: Any) -> None:
        calls: list[tuple[str, int, int]] = []

        async def flaky(x: int, ctx: Context) -> int:
            assert ctx.index is not None
            calls.append((ctx.node, ctx.index, ctx.attempt))
            await anyio.sleep(1)
            if ctx.index == 1 and ctx.attempt < 3:
                raise OSError
            return x

        dag = flow.Dag("d")
        retry = Retry(3, delay=10.0, backoff="constant", jitter=0.0)
        dag.map("a", flaky, over="xs", retry=retry, concurrency=1)
        dag.map("b", flaky, over="a", retry=retry, pipelined=True, concurrency=1)
        result, seconds = timed(dag, virtual, {"xs": range(3)})
        assert result["b"] == [0, 1, 2]
        assert sorted(calls) == sorted((n, i, k) for n in "ab" for i in range(3) for k in range(1, 4 if i == 1 else 2))
        assert seconds == pytest.approx(2 + 10 + 1 + 10 + 1 + 22 + 1, abs=1)

    def test_cancelled_from_outside(self, virtual: Any) -> None:
        started: list[str] = []
        ended: list[str] = []

        async def work(x: int, ctx: Context) -> int:
            started.append(ctx.node)
            try:
                await anyio.sleep(1 if ctx.node == "a" else 100)
            finally:
                ended.append(ctx.node)
            return x

        dag = flow.Dag("d")
        dag.map("a", work, over="xs", concurrency=2)
        dag.map("b", work, over="a", concurrency=2, pipelined=True)

        async def main() -> bool:
            with anyio.move_on_after(5) as scope:
                await flow.execute(dag, {"xs": range(100)})
            return scope.cancelled_caught

        assert virtual(main)
        assert sorted(started) == sorted(ended)
        assert "b" in ended


class TestOutcomes:
    def chain(self, bad_a: Any = (), bad_b: Any = (), **options: Any) -> flow.Dag:
        def stage(bad: Any) -> Any:
            def fn(x: int) -> int:
                if x in bad:
                    raise ValueError(x)
                return x

            return fn

        dag = flow.Dag("d")
        dag.map("a", stage(bad_a), over="xs", on_error=options.get("a", "fail"))
        dag.map("b", stage(bad_b), over="a", pipelined=True, on_error=options.get("b", "fail"))
        dag.add("after_a", lambda a: "ran")
        dag.add("after_b", lambda b: "ran")
        return dag

    def run(self, dag: flow.Dag, config: Config, inputs: Any = None) -> flow.Result:
        inputs = {"xs": range(5)} if inputs is None else inputs
        return flow.run(dag, inputs, config=config.replace(on_error="collect"))

    def test_all_well(self, config: Config) -> None:
        for xs in (range(5), [], iter(range(5))):
            result = self.run(self.chain(), config, {"xs": xs})
            assert result.get("b", list(range(5))) in (list(range(5)), [])
            assert set(result.status.values()) == {Status.COMPLETED}

    def test_stage_one_fails(self, config: Config) -> None:
        result = self.run(self.chain(bad_a=[2]), config)
        assert {n: str(s) for n, s in result.status.items()} == {
            "a": "failed", "b": "skipped", "after_a": "skipped", "after_b": "skipped",
        }  # fmt: skip
        assert result.errors["a"].__notes__[0] == "in item 2 (2) of map 'a'"

    def test_stage_two_fails_and_stage_one_does_not(self, config: Config) -> None:
        result = self.run(self.chain(bad_b=[2]), config)
        assert {n: str(s) for n, s in result.status.items()} == {
            "a": "completed", "b": "failed", "after_a": "completed", "after_b": "skipped",
        }  # fmt: skip
        assert result.errors["b"].__notes__[0] == "in item 2 (2) of map 'b'"
        assert result["after_a"] == "ran"
        assert result.get("a", list(range(5))) == list(range(5))

    def test_what_is_skipped_never_comes(self, config: Config) -> None:
        config = config.replace(keep="all")
        result = self.run(self.chain(bad_a=[0, 4], bad_b=[2], a="skip", b="skip"), config)
        assert (result["a"], result["b"]) == ([1, 2, 3], [1, 3])

    def test_collect_keeps_places(self, config: Config) -> None:
        config = config.replace(keep="all")
        result = self.run(self.chain(bad_a=[0, 4], bad_b=[2], a="collect", b="collect"), config)
        a, b = result["a"], result["b"]
        assert (a.items(), list(a.errors), len(a)) == ([(1, 1), (2, 2), (3, 3)], [0, 4], 5)
        assert (b.items(), list(b.errors), len(b)) == ([(1, 1), (3, 3)], [2], 5)
        assert (b.completed, b.failed, b.values) == (2, 1, [1, 3])
        with pytest.raises(flow.UsageError, match="item 4 of map 'b' never came: the map before failed on it"):
            b[4]

    def test_keys_go_along(self, config: Config) -> None:
        config = config.replace(keep="all")
        xs = {"p": 0, "q": 1, "r": 2, "s": 4}
        result = self.run(self.chain(bad_a=[0, 4], a="skip"), config, {"xs": xs})
        assert (result["a"], result["b"]) == ({"q": 1, "r": 2}, {"q": 1, "r": 2})
        result = self.run(self.chain(bad_b=[1], bad_a=[4], a="collect", b="collect"), config, {"xs": xs})
        assert result["b"].items() == [("p", 0), ("r", 2)]
        assert result["b"].keys == ["p", "q", "r", "s"]

    def test_filters_and_flat_maps_along_the_way(self, config: Config) -> None:
        dag = flow.Dag("d")
        dag.filter("even", lambda x: x % 2 == 0, over="xs")
        dag.map("half", lambda x: x // 2, over="even", pipelined=True)
        dag.filter("big", lambda x: x > 1, over="half", pipelined=True)
        dag.flat_map("twice", lambda x: [x, x], over="big", pipelined=True)
        dag.map("other", lambda x, index: (index, x), over="even", pipelined=True)
        result = flow.run(dag, {"xs": range(9)}, config=config.replace(keep="all"))
        assert dict(result) == {
            "even": [0, 2, 4, 6, 8], "half": [0, 1, 2, 3, 4], "big": [2, 3, 4], "twice": [2, 2, 3, 3, 4, 4],
            "other": [(0, 0), (2, 2), (4, 4), (6, 6), (8, 8)],
        }  # fmt: skip

    def test_extra_dependencies_are_waited_for(self, config: Config) -> None:
        dag = flow.Dag("d")
        dag.map("a", lambda x: x, over="xs")
        dag.map("b", lambda item, scale: item * scale, over="a", pipelined=True)

        @dag.node
        async def scale() -> int:
            await anyio.lowlevel.checkpoint()
            return 10

        assert flow.run(dag, {"xs": [1, 2]}, config=config)["b"] == [10, 20]

    def test_async_sources(self, config: Config) -> None:
        async def xs() -> AsyncIterator[int]:
            for k in range(6):
                await anyio.lowlevel.checkpoint()
                yield k

        async def work(x: int) -> int:
            await anyio.lowlevel.checkpoint()
            return x + 1

        dag = flow.Dag("d")
        dag.add("xs", xs)
        dag.map("a", work, over="xs", concurrency=2)
        dag.map("b", lambda x: 2 * x, over="a", pipelined=True)
        assert flow.run(dag, config=config)["b"] == [2, 4, 6, 8, 10, 12]

    def test_a_source_that_raises(self, config: Config) -> None:
        boom = KeyError()

        def xs() -> Iterator[int]:
            yield 1
            raise boom

        dag = flow.Dag("d")
        dag.add("xs", xs)
        dag.map("a", lambda x: x, over="xs", on_error="skip")
        dag.map("b", lambda x: x, over="a", pipelined=True, on_error="skip")
        result = self.run(dag, config, {})
        assert (result.errors, result.status["b"]) == ({"a": boom}, Status.SKIPPED)

    def test_contexts_and_threads(self, config: Config) -> None:
        def one(x: int, ctx: Context) -> int:
            ctx.publish("one", x, "append")
            return x

        def two(x: int, ctx: Context, index: int) -> int:
            ctx.publish("two", (index, x, ctx.node), "append")
            return x

        dag = flow.Dag("d")
        dag.filter("a", one, over="xs")
        dag.map("b", two, over="a", pipelined=True)
        assert flow.run(dag, {"xs": [0, 5, 6]}, config=config).data.items() == [
            ("one", [0, 5, 6]), ("two", [(1, 5, "b"), (2, 6, "b")]),
        ]  # fmt: skip

    def test_an_exit_in_a_later_stage_ends_the_run(self, config: Config) -> None:
        def exits(x: int) -> None:
            raise SystemExit(3)

        dag = flow.Dag("d")
        dag.map("a", lambda x: x, over="xs")
        dag.map("b", exits, over="a", pipelined=True, on_error="skip")
        with pytest.raises(SystemExit):
            flow.run(dag, {"xs": [1]}, config=config)

    def test_a_dag_as_a_later_stage(self, config: Config) -> None:
        inner = flow.Dag("inner")
        inner.add("y", lambda item: item * 2)
        dag = flow.Dag("d")
        dag.map("a", lambda x: x, over="xs")
        dag.map("b", inner, over="a", pipelined=True)
        assert [r["y"] for r in flow.run(dag, {"xs": [1, 2]}, config=config)["b"]] == [2, 4]

    def test_an_item_that_holds_the_event_loop_is_named(self, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
        ticks = count()
        monkeypatch.setattr(pacing, "perf_counter", lambda: float(next(ticks)))  # a second at each look
        dag = flow.Dag("d")
        dag.map("a", lambda x: x, over="xs")
        dag.map("b", lambda x: x, over="a", pipelined=True)
        config = Config(mode="tasks", blocking_after=0.5, backend=backend)  # type: ignore[arg-type]
        with pytest.warns(flow.errors.BlockingNodeWarning) as caught:
            assert flow.run(dag, {"xs": [1]}, config=config)["b"] == [1]
        assert any("node 'b[0]' held the event loop" in str(w.message) and w.filename == __file__ for w in caught)
        dag = flow.Dag("d")
        dag.map("m", lambda x: x, over="xs")
        with pytest.warns(flow.errors.BlockingNodeWarning, match=r"node 'm\[1\]' held the event loop"):
            flow.run(dag, {"xs": [1, 2, 3]}, config=config)

    def test_time_limits_and_events_of_a_stage(self, virtual: Any) -> None:
        seen: list[Any] = []
        dag = flow.Dag("d")
        dag.map("a", second(1), over="xs")
        dag.map("b", second(5), over="a", pipelined=True, timeout=2.0, on_error="collect")
        result, _ = timed(dag, virtual, {"xs": [1]}, observers=[seen.append])
        assert str(result["b"].errors[0]) == "node 'b[0]' exceeded its attempt limit of 2 s"
        mine = [(type(e).__name__, e.node) for e in seen if type(e).__name__.startswith(("Map", "Item"))]
        assert mine == [("MapStarted", "a"), ("MapStarted", "b"), ("ItemFinished", "a"), ("ItemFailed", "b")]


class TestCompiling:
    def faults(self, *, first: Any = None, **options: Any) -> tuple[str, ...]:
        dag = flow.Dag("d")
        dag.add("xs", lambda: [1])
        dag.map("a", lambda item: item, over="xs", **(first or {}))
        dag.add("after_a", lambda a: 1)
        dag.map("b", **{"fn": lambda item: item, "over": "a", "pipelined": True, **options})
        with pytest.raises(flow.DefinitionError) as caught:
            dag.compile()
        return tuple(fault.split("): ", 1)[1] for fault in caught.value.faults)

    def test_what_cannot_be_pipelined(self) -> None:
        assert self.faults(over="xs") == ("pipelined goes over one other map; 'xs' is none",)
        assert self.faults(over="input") == ("pipelined goes over one other map; 'input' is none",)
        assert self.faults(over=["a", "xs"]) == ("pipelined goes over one other map, not over 2 sources",)
        assert self.faults(first={"batch_size": 2}) == ("cannot be pipelined after 'a', which has batches",)
        assert self.faults(take=3) == ("take and pipelined exclude each other: give take to the first map",)
        assert self.faults(key=str) == ("key and pipelined exclude each other: give key to the first map",)
        waits = (
            "cannot be pipelined: it also waits for what itself waits for the map 'a', and its items could never "
            "start before that has ended",
        )
        assert self.faults(after="after_a") == waits
        assert self.faults(fn=lambda item, after_a: 0) == waits
        whole = ("cannot be pipelined: its function also takes all of 'a', which is not there before it has ended",)
        assert self.faults(fn=lambda item, a: 0) == whole
        assert self.faults(fn=lambda item, rest: 0, needs={"rest": "a"}) == whole
        assert self.faults(fn=7) == ("7 is not callable: give the function that is called with each item",)

    def test_after_a_flat_map_or_itself(self) -> None:
        dag = flow.Dag("d")
        dag.flat_map("a", lambda x: [x], over="xs")
        dag.map("b", lambda item: item, over="a", pipelined=True)
        with pytest.raises(flow.DefinitionError, match="cannot be pipelined after 'a', which is a flat_map"):
            dag.compile()
        dag = flow.Dag("d")
        dag.map("a", lambda item: item, over="a", pipelined=True)
        with pytest.raises(flow.DefinitionError, match="self edge"):
            dag.compile()
        dag = flow.Dag("d")
        dag.map("a", lambda item: item, over="b", pipelined=True)
        dag.map("b", lambda item: item, over="a", pipelined=True)
        with pytest.raises(flow.errors.CycleError):
            dag.compile()

    def test_a_follower_of_a_later_stage_that_waits_for_the_first(self) -> None:
        dag = flow.Dag("d")
        dag.map("a", lambda item: item, over="xs")
        dag.map("b", lambda item: item, over="a", pipelined=True)
        dag.map("c", lambda item, a: item, over="b", pipelined=True)
        with pytest.raises(flow.DefinitionError, match="waits for what itself waits for the map 'a'"):
            dag.compile()

    def two(self) -> flow.Dag:
        dag = flow.Dag("two")
        dag.add("scale", lambda: 10)
        dag.map("a", lambda x: x + 1, over="xs")
        dag.map("b", lambda item, scale: item * scale, over="a", pipelined=True)
        return dag

    @pytest.mark.parametrize("keep", ["all", "targets"])
    def test_targets_cut_the_follower_off(self, keep: Any) -> None:
        config = Config(keep=keep)
        result = flow.run(self.two(), {"xs": [1, 2]}, targets="a", config=config)
        assert result["a"] == [2, 3]
        assert "b" not in result.plan
        result = flow.run(self.two(), {"xs": [1, 2]}, targets="b", config=config)
        assert result["b"] == [20, 30]
        result = flow.run(self.two(), {"xs": [1, 2]}, targets="scale", config=config)
        assert dict(result) == {"scale": 10}

    def test_include(self) -> None:
        dag = flow.Dag("d")
        dag.add("numbers", lambda: (k for k in range(3)))
        dag.include(self.two(), prefix="p", inputs={"xs": "numbers"})
        result = flow.run(dag)
        assert (result["p.a"], result["p.b"]) == ([1, 2, 3], [10, 20, 30])
        whole = flow.Dag("whole")
        whole.add("inner", self.two())
        assert flow.run(whole, {"xs": [1]})["inner"]["b"] == [20]

    def test_a_compiled_dag_grows(self) -> None:
        dag = flow.Dag("d")
        dag.map("a", lambda x: x + 1, over="xs")
        assert flow.run(dag, {"xs": [1]})["a"] == [2]
        dag.map("b", lambda x: x * 2, over="a", pipelined=True)
        assert flow.run(dag, {"xs": [1]})["b"] == [4]
        dag.add("c", lambda b: sum(b))
        plan = dag.compile()
        assert plan._nodes.pipelines == {0: (1,)}
        assert flow.run(dag, {"xs": [1, 2]})["c"] == 10
        dag.map("e", lambda x: -x, over="b", pipelined=True)
        assert dag.compile()._nodes.pipelines == {0: (1,), 1: (3,)}
        assert flow.run(dag, {"xs": [1, 2]})["e"] == [-4, -6]


stage_of = st.fixed_dictionaries(
    {
        "source": st.integers(0, 100),
        "kind": st.sampled_from(["map", "map", "filter"]),
        "style": st.sampled_from(["sync", "async", "waits"]),
        "bad": st.sets(st.integers(0, 9), max_size=3),
        "on_error": st.sampled_from(["fail", "skip", "skip"]),
        "concurrency": st.sampled_from([None, 1, 2, 5]),
        "batch_size": st.sampled_from([None, None, 1, 2, 3, 100]),
        "batch_wait": st.sampled_from([None, None, 0.0005, 1000.0]),
    }
)
options_of = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(DRIVERS),
        "limit": st.sampled_from([None, 1, 2, 7]),
        "keep": st.sampled_from(["all", "all", "targets"]),
        "executor": st.sampled_from(["inline", "inline", "inline", "thread"]),
    }
)


def tree(stages: list[dict[str, Any]], pipelined: bool, log: list[tuple[int, int]]) -> flow.Dag:
    """A random tree of maps, each over ``xs`` or an earlier stage."""
    dag = flow.Dag("tree")
    for s, stage in enumerate(stages):
        batched = stage["batch_size"] and s and all(later["source"] % t != s for t, later in enumerate(stages) if t > s)
        if batched and stage["on_error"] != "fail":  # else it would depend on what is in one batch with what
            stage["bad"] = set()

        def call(x: tuple[int, int], s: int = s, stage: Any = stage) -> Any:
            log.append((s, x[0]))
            if x[0] in stage["bad"]:
                raise ValueError(s, x[0])
            return (x[0] + s) % 3 if stage["kind"] == "filter" else (x[0], x[1] * 3 + s)

        async def acall(x: tuple[int, int], call: Any = call, stage: Any = stage) -> Any:
            if stage["style"] == "waits":
                for _ in range(x[0] % 3):
                    await anyio.lowlevel.checkpoint()
            return call(x)

        def calls(batch: list[Any], call: Any = call) -> list[Any]:
            return [call(x) for x in batch]

        async def acalls(batch: list[Any], acall: Any = acall) -> list[Any]:
            return [await acall(x) for x in batch]

        sync = stage["style"] == "sync"
        fn: Any = (calls if sync else acalls) if batched else call if sync else acall
        options = {name: stage[name] for name in ("batch_size", "batch_wait") if batched and stage["batch_size"]}
        add = dag.filter if stage["kind"] == "filter" else dag.map
        source = f"s{stage['source'] % s}" if s else "xs"
        add(f"s{s}", fn, over=source, needs=None, pipelined=pipelined and s > 0, on_error=stage["on_error"],
            concurrency=stage["concurrency"], **options)  # type: ignore[operator]  # fmt: skip
    return dag


@pytest.mark.parametrize("on", ["asyncio", "trio"])
def test_pipelined_equals_unpipelined(on: str) -> None:
    @examples(120)
    @given(st.lists(stage_of, min_size=2, max_size=4), options_of, st.integers(0, 9), st.booleans())
    def check(stages: list[dict[str, Any]], options: dict[str, Any], number: int, lazy: bool) -> None:
        runs = []
        for pipelined in (False, True):
            log: list[tuple[int, int]] = []
            items = [(k, 1) for k in range(number)]
            result = flow.run(
                tree(stages, pipelined, log), {"xs": iter(items) if lazy else items},
                config=Config(on_error="collect", backend=on, **options),  # type: ignore[arg-type]
            )  # fmt: skip
            runs.append((result, log))
        (plain, _), (piped, log) = runs
        assert dict(piped.status) == dict(plain.status)
        assert dict(piped.outputs) == dict(plain.outputs)
        for name, error in piped.errors.items():
            errors = error.exceptions if isinstance(error, flow.errors.MapError) else (error,)
            assert {type(e) for e in errors} == {ValueError}
            assert {e.args[0] for e in errors} == {int(name[1:])}
        seen = {entry: at for at, entry in enumerate(log)}
        assert len(seen) == len(log), "no item goes through a stage twice"
        for (s, k), at in seen.items():
            if s:
                assert seen[(stages[s]["source"] % s, k)] < at, "stages in order"

    check()


def test_collected_follower_after_failing_first() -> None:
    dag = flow.Dag("d")
    dag.map("a", lambda x: 1 // x, over="xs")
    dag.map("b", lambda x: x, over="a", pipelined=True, on_error="collect")
    dag2 = flow.Dag("d")
    dag2.add("xs", lambda: [1, 0])
    dag2.include(dag, prefix="p", inputs={"xs": "xs"})
    result = collected(dag2)
    assert {n: str(s) for n, s in result.status.items()} == {"xs": "completed", "p.a": "failed", "p.b": "skipped"}
