"""flow.Context: children, overlays, publishing and gathering; and what a run's store shows of the run."""

from __future__ import annotations

import operator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from conftest import MODES, collected, modes

import flow
from flow import Config, Context, DataConfig, Retry, Status, WorkflowData
from flow.testing import context


class TestChildren:
    def test_everything_is_shared_by_reference(self) -> None:
        big = object()
        parent = context(run_id="r-1", node="n", inputs={"big": big})
        parent.data["big"] = big
        child = parent.child("item", 3)
        assert (child.run_id, child.node, child.item, child.index, child.attempt) == ("r-1", "n", "item", 3, 1)
        assert child.inputs["big"] is big
        assert child.data["big"] is big
        assert parent.item is None
        assert parent.index is None

    def test_what_a_child_writes_is_its_own(self) -> None:
        parent = context()
        parent.data["shared"] = 1
        one, other = parent.child(index=0), parent.child(index=1)
        one.data["mine"] = "one"
        one.data["shared"] = 2
        del other.data["shared"]
        assert (one.data["shared"], parent.data["shared"], "shared" in other.data) == (2, 1, False)
        assert ("mine" in other.data, "mine" in parent.data) == (False, False)
        parent.data["later"] = 5
        assert one.data["later"] == other.data["later"] == 5
        assert one.data is one.data

    def test_children_nest(self) -> None:
        parent = context()
        child = parent.child(index=0)
        child.data["x"] = 1
        grandchild = child.child(index=0)
        assert grandchild.data["x"] == 1
        grandchild.data["x"] = 2
        assert (child.data["x"], "x" in parent.data) == (1, False)
        grandchild.publish("total", 5)
        child.gather([grandchild])
        assert child.data["total"] == 5
        assert "total" not in parent.data

    def test_repr(self) -> None:
        parent = context(run_id="r", node="n", attempt=2)
        assert repr(parent) == "Context(run_id='r', node='n', attempt=2)"
        assert repr(parent.child("a", 1)) == "Context(run_id='r', node='n', attempt=1, item='a', index=1)"

    def test_one_made_for_a_test(self) -> None:
        store = WorkflowData()
        mine = context(item="x", index=2, data=store)
        mine.data["written"] = 1
        mine.publish("total", 1)
        assert (mine.item, mine.index, store.keys()) == ("x", 2, [])
        parent = context(data=store)
        parent.gather([mine])
        assert store.items() == [("total", 1)]


class TestPublish:
    def test_a_nodes_own_goes_into_the_store_at_once(self) -> None:
        ctx = context()
        ctx.publish("last", 1)
        ctx.publish("last", 2)
        ctx.publish("all", 1, "append")
        ctx.publish("all", 2, "append")
        ctx.publish("sum", 1, operator.add)
        ctx.publish("sum", 2, operator.add)
        assert dict(ctx.data.items()) == {"last": 2, "all": [1, 2], "sum": 3}

    def test_append_to_what_is_no_list(self) -> None:
        ctx = context()
        ctx.data["k"] = "was"
        ctx.publish("k", 1, "append")
        assert ctx.data["k"] == ["was", 1]

    def test_the_list_that_is_there_is_not_changed(self) -> None:
        ctx = context()
        there = [1]
        ctx.data["k"] = there
        ctx.publish("k", 2, "append")
        assert (there, ctx.data["k"]) == ([1], [1, 2])

    @pytest.mark.parametrize("merge", ["first", 3, None, ""])
    def test_an_unknown_rule(self, merge: Any) -> None:
        with pytest.raises(flow.UsageError) as caught:
            context().publish("k", 1, merge)
        assert str(caught.value) == f"publish('k'): merge is 'last', 'append' or a function, not {merge!r}"

    def test_gather_goes_by_index(self) -> None:
        parent = context()
        children = [parent.child(index=k) for k in range(4)]
        for child in reversed(children):
            child.publish("last", child.index)
            child.publish("all", child.index, "append")
            child.publish("all", -1, "append")
            child.publish("text", str(child.index), operator.add)
        assert parent.data.keys() == []
        parent.gather(iter(children[::-1]))
        assert dict(parent.data.items()) == {"last": 3, "all": [0, -1, 1, -1, 2, -1, 3, -1], "text": "0123"}

    def test_a_fold_goes_on_from_what_is_there(self) -> None:
        parent = context()
        parent.data["n"] = 100
        child = parent.child()
        child.publish("n", 1, operator.add)
        parent.gather([child, parent.child()])
        assert parent.data["n"] == 101

    def test_rules_that_differ_are_refused_and_nothing_is_merged(self) -> None:
        parent = context(node="n")
        children = [parent.child(index=k) for k in range(3)]
        children[0].publish("fine", 1)
        children[0].publish("k", 1, "append")
        children[2].publish("k", 1, operator.add)
        with pytest.raises(flow.UsageError) as caught:
            parent.gather(children)
        assert str(caught.value) == (
            "node 'n': key 'k' is published with merge='append' and with merge=add (item 2): say the same everywhere"
        )
        assert parent.data.keys() == []

    def test_a_lambda_is_one_rule_though_made_anew(self) -> None:
        parent = context()
        children = [parent.child(index=k) for k in range(3)]
        for child in children:
            child.publish("k", 1, lambda a, b: a + b)
        parent.gather(children)
        assert parent.data["k"] == 3
        children[0].publish("k", 1, lambda a, b: a - b)
        with pytest.raises(flow.UsageError, match="say the same everywhere"):
            parent.gather(children)


@pytest.fixture(params=modes("auto", "inline", "tasks", "threads", "workers-2"))
def config(request: pytest.FixtureRequest, backend: str) -> Config:
    return Config(backend=backend, clock=flow.testing.FakeClock(), **request.param)  # type: ignore[arg-type]


class TestInMaps:
    def test_items_do_not_see_each_other(self, config: Config) -> None:
        def item(x: int, ctx: Context) -> list[str]:
            ctx.data[f"own{x}"] = x
            ctx.data["base"] = x
            return sorted(ctx.data.keys())

        async def aitem(x: int, ctx: Context) -> list[str]:
            await anyio.lowlevel.checkpoint()
            return item(x, ctx)

        for fn in (item, aitem):
            dag = flow.Dag("d")
            dag.add("first", lambda: 0)

            @dag.node(after="first")
            def base(ctx: Context) -> list[int]:
                ctx.data["base"] = "base"
                return [0, 1, 2]

            dag.map("m", fn, over="base")
            result = flow.run(dag, config=config)
            assert result["m"] == [["base", "own0"], ["base", "own1"], ["base", "own2"]]
            assert result.data.items() == [("base", "base")]

    def test_published_in_the_order_of_the_items(self, virtual: Any) -> None:
        async def item(x: int, ctx: Context) -> None:
            await anyio.sleep(10 - x)
            ctx.publish("all", x, "append")
            ctx.publish("last", x)
            ctx.publish("text", str(x), lambda a, b: a + b)

        dag = flow.Dag("d")
        dag.map("m", item, over="xs")
        result = virtual(lambda: flow.execute(dag, {"xs": range(5)}))
        assert dict(result.data.items()) == {"all": [0, 1, 2, 3, 4], "last": 4, "text": "01234"}

    def test_what_failed_items_and_attempts_published_is_dropped(self, config: Config) -> None:
        def item(x: int, ctx: Context) -> None:
            ctx.publish("seen", (x, ctx.attempt), "append")
            if x == 1 or (x == 2 and ctx.attempt == 1):
                raise ValueError(x)

        dag = flow.Dag("d")
        dag.map("m", item, over="xs", on_error="skip", retry=Retry(2, delay=1.0))
        assert flow.run(dag, {"xs": range(4)}, config=config).data["seen"] == [(0, 1), (2, 2), (3, 1)]

        def once(x: int, ctx: Context) -> None:
            if ctx.attempt == 1:
                ctx.publish("seen", x, "append")
                raise ValueError(x)

        dag = flow.Dag("d")
        dag.map("m", once, over="xs", retry=Retry(2, delay=1.0))
        assert flow.run(dag, {"xs": range(3)}, config=config).data.items() == []

        def batch(xs: list[int], ctx: Context) -> list[int]:
            ctx.publish("seen", xs, "append")
            return [1 // x for x in xs]

        dag = flow.Dag("d")
        dag.map("m", batch, over="xs", on_error="skip", batch_size=2)
        assert flow.run(dag, {"xs": [1, 2, 0, 3, 4]}, config=config).data["seen"] == [[1, 2], [4]]

    def test_an_items_own_children_publish_only_when_gathered(self, config: Config) -> None:
        def item(x: int, ctx: Context) -> list[int]:
            children = [ctx.child(k, k) for k in range(3)]
            for child in children:
                child.publish("n", child.item, "append")
            ctx.publish("mine", x, "append")
            assert "n" not in ctx.data
            ctx.gather(children)
            return list(ctx.data["n"])

        dag = flow.Dag("d")
        dag.map("m", item, over="xs")
        result = flow.run(dag, {"xs": [7, 8]}, config=config)
        assert result["m"] == [[0, 1, 2], [0, 1, 2]]
        assert result.data.items() == [("mine", [7, 8])]

    def test_rules_that_differ_fail_the_map(self, config: Config) -> None:
        def item(x: int, ctx: Context) -> None:
            ctx.publish("k", x, "append" if x else "last")

        dag = flow.Dag("d")
        dag.map("m", item, over="xs")
        error = flow.run(dag, {"xs": range(3)}, config=config.replace(on_error="collect")).errors["m"]
        assert isinstance(error, flow.UsageError)
        assert "node 'm': key 'k' is published with merge='last' and with merge='append' (item 1)" in str(error)

    def test_a_nested_dags_data_is_an_overlay(self, config: Config) -> None:
        inner = flow.Dag("inner")

        @inner.node
        def inside(ctx: Context) -> Any:
            ctx.data["inner"] = 1
            return ctx.data["outer"], sorted(ctx.data.keys())

        dag = flow.Dag("d")

        @dag.node
        def before(ctx: Context) -> None:
            ctx.data["outer"] = "o"

        dag.add("nested", inner, after=before)

        @dag.node(after="nested")
        def after(ctx: Context) -> list[str]:
            return ctx.data.keys()

        result = flow.run(dag, config=config)
        assert result["nested"]["inside"] == ("o", ["inner", "outer"])
        assert result["after"] == ["outer"]

    def test_a_nested_dags_store_shows_the_nested_run(self, config: Config) -> None:
        inner = flow.Dag("inner")
        inner.add("one", lambda: 1)

        @inner.node
        def inside(one: int, ctx: Context) -> Any:
            return dict(ctx.data.outputs)

        dag = flow.Dag("d")

        @dag.node
        def before(ctx: Context) -> int:
            return len(ctx.data.outputs)

        dag.add("nested", inner, after=before)

        @dag.node(after="nested")
        def after(ctx: Context) -> Any:
            return sorted(ctx.data.outputs), ctx.data.is_runnable("last")

        dag.add("last", lambda after: after)
        result = flow.run(dag, config=config)
        assert result["nested"]["inside"] == {"one": 1}
        assert result["after"] == (["before", "nested"], False)
        assert sorted(result.data.outputs) == ["after", "before", "last", "nested"]


class TestWhatTheStoreShows:
    """ctx.data.outputs, .statuses and .is_runnable, asked from inside nodes in every phase of a run."""

    def dag(self, waits: bool = False, fails: bool = False) -> flow.Dag:
        async def slow(a: int) -> int:
            await anyio.lowlevel.checkpoint()
            return a

        def broken(a: int) -> None:
            raise ValueError

        dag = flow.Dag("d")
        dag.add("a", lambda: 1)
        if waits:
            dag.add("slow", slow)
        if fails:
            dag.add("broken", broken)
            dag.add("skipped", lambda broken: 0)

        def look(a: int, ctx: Context) -> Any:
            data = ctx.data
            return (
                dict(data.outputs),
                {n: str(s) for n, s in data.statuses.items()},
                {n: data.is_runnable(n) for n in ("a", "look", "b", "c", "free")},
            )

        dag.add("look", look, after="slow" if waits else ())
        dag.add("b", lambda a: a)
        dag.add("c", lambda look, b: 0)
        dag.add("free", lambda: 0)
        return dag

    @pytest.mark.parametrize("timeout", [None, 1000.0])
    @pytest.mark.parametrize("mode", modes("auto", "tasks"))
    def test_before_anything_waited(self, mode: Any, timeout: Any, backend: str) -> None:
        result = flow.run(self.dag(), config=Config(**mode, timeout=timeout, backend=backend))  # type: ignore[arg-type]
        outputs, statuses, runnable = result["look"]
        assert outputs == {"a": 1}
        assert statuses == {"a": "completed", "look": "running", "b": "ready", "c": "pending", "free": "ready"}
        assert runnable == {"a": False, "look": False, "b": True, "c": False, "free": True}
        assert dict(result.data.outputs) == dict(result)
        assert set(result.data.statuses.values()) == {Status.COMPLETED}
        assert not result.data.is_runnable("c")
        with pytest.raises(flow.UsageError, match="no node 'nope'"):
            result.data.is_runnable("nope")

    def test_after_something_waited(self, backend: str) -> None:
        result = flow.run(self.dag(waits=True), config=Config(limit=1, backend=backend))  # type: ignore[arg-type]
        outputs, statuses, runnable = result["look"]
        assert outputs == {"a": 1, "slow": 1}
        assert (statuses["slow"], statuses["look"], statuses["c"]) == ("completed", "running", "pending")
        assert (runnable["look"], runnable["c"], runnable["b"]) == (False, False, True)

    @pytest.mark.parametrize("mode", modes("auto", "tasks"))
    def test_after_a_failure(self, mode: Any, backend: str) -> None:
        result = collected(self.dag(fails=True), backend, **mode)
        outputs, statuses, runnable = result["look"]
        assert outputs == {"a": 1}
        assert statuses == {
            "a": "completed", "broken": "failed", "skipped": "skipped", "look": "running", "b": "ready",
            "c": "pending", "free": "ready",
        }  # fmt: skip
        assert runnable["b"]
        assert result.data.statuses["broken"] is Status.FAILED
        assert "broken" not in result.data.outputs

    def test_in_items_of_a_map(self, backend: str) -> None:
        dag = flow.Dag("d")
        dag.add("xs", lambda: [1, 2])

        def item(x: int, ctx: Context) -> Any:
            return sorted(ctx.data.outputs), str(ctx.data.statuses["m"]), ctx.data.is_runnable("z")

        dag.map("m", item, over="xs")
        dag.add("z", lambda m: 0)
        for settings in (MODES["auto"], MODES["tasks"], MODES["threads"]):
            result = flow.run(dag, config=Config(backend=backend, **settings))  # type: ignore[arg-type]
            assert result["m"] == [(["xs"], "running", False)] * 2

    def test_a_store_that_is_given(self) -> None:
        store = WorkflowData()

        def count(ctx: Context) -> int:
            return int(ctx.data.increment("runs"))

        dag = flow.Dag("d")
        dag.add("n", count)
        assert [flow.run(dag, data=store)["n"] for _ in range(3)] == [1, 2, 3]
        assert store["runs"] == 3
        assert dict(store.outputs) == {"n": 3}, "it shows the last run"
        other = flow.Dag("other")
        other.add("m", lambda: 7)
        assert flow.run(other, data=store).data is store
        assert dict(store.outputs) == {"m": 7}
        with pytest.raises(flow.UsageError, match="data must be a flow.WorkflowData"):
            flow.run(dag, data={})  # type: ignore[arg-type]

    def test_two_runs_at_once_share_a_store(self, on_loop: Any) -> None:
        store = WorkflowData()

        async def count(ctx: Context) -> None:
            for _ in range(20):
                ctx.data.increment("n")
                await anyio.lowlevel.checkpoint()

        dag = flow.Dag("d")
        dag.add("a", count)
        dag.add("b", count)

        async def main() -> None:
            async with anyio.create_task_group() as group:
                for _ in range(2):
                    group.start_soon(lambda: flow.execute(dag, data=store))

        on_loop(main)
        assert store["n"] == 80
        assert store.statuses["a"] is Status.COMPLETED

    @pytest.mark.parametrize("settings", [{"memory": "slots"}, {"metrics": "counting"}, {"memory": "arena"}])
    def test_the_configured_store(self, settings: Any) -> None:
        config = Config(data=DataConfig(**settings))

        def item(x: int, ctx: Context) -> int:
            ctx.data["own"] = x
            ctx.publish("all", x, "append")
            return x

        dag = flow.Dag("d")
        dag.map("m", item, over="xs")
        result = flow.run(dag, {"xs": [1, 2]}, config=config)
        assert result.data.items() == [("all", [1, 2])]
        statistics = result.data.statistics()
        assert all(getattr(statistics, name) == value for name, value in settings.items())

    def test_a_run_that_never_asked(self) -> None:
        dag = flow.Dag("d")
        dag.add("a", lambda: 1)
        result = flow.run(dag)
        assert result.data.items() == []
        assert dict(result.data.outputs) == {"a": 1}
        assert dict(WorkflowData().outputs) == {}
        with pytest.raises(flow.UsageError, match="belongs to no run"):
            WorkflowData().is_runnable("a")
