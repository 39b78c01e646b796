"""The two ways in, and what they refuse."""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
from typing import Any

import pytest
from conftest import collected, error_of, modes

import flow
from flow import Config, Status


def one(fn: Any = lambda: 1, **options: Any) -> flow.Dag:
    dag = flow.Dag("one")
    dag.add("a", fn, **options)
    return dag


async def acoro() -> int:
    return 1


class TestWaysIn:
    def test_run_inside_a_loop_is_refused_when_it_needs_one(self) -> None:
        async def main() -> None:
            assert flow.run(one())["a"] == 1, "a sync plan needs none"
            with pytest.raises(flow.UsageError, match=r"use 'await flow.execute\(...\)' here"):
                flow.run(one(acoro))

        asyncio.run(main())

    @pytest.mark.parametrize("target", [None, "dag", lambda: 1, 3])
    def test_other_targets_are_refused(self, target: Any) -> None:
        with pytest.raises(flow.UsageError, match=r"takes a flow.Dag or a flow.Plan, not"):
            flow.run(target)

    def test_other_configs_are_refused(self) -> None:
        with pytest.raises(flow.UsageError, match="config must be a flow.Config"):
            flow.run(one(), config={"limit": 3})  # type: ignore[arg-type]

    @pytest.mark.parametrize("inputs", [[1], "x", 5])
    def test_other_inputs_are_refused(self, inputs: Any) -> None:
        with pytest.raises(flow.InputError, match="inputs must be a mapping"):
            flow.run(one(), inputs)

    @pytest.mark.parametrize("backend", ["uvloop", "trio"])
    def test_an_absent_backend_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch, backend: Any) -> None:
        monkeypatch.setitem(sys.modules, backend, None)
        hint = rf"'{backend}' is not installed: pip install 'flow-dag\[{backend}\]'"
        with pytest.raises(flow.UsageError, match=hint):
            flow.run(one(acoro), config=Config(backend=backend))

    def test_a_lookup_error_of_a_node_is_its_own(self, backend: str) -> None:
        async def bad() -> None:
            raise LookupError("mine")

        assert str(error_of(one(bad), backend=backend).exceptions[0]) == "mine"

    @pytest.mark.parametrize(("name", "advice"), [
        ("ctx", "annotate it: flow.Context"), ("self", "a method is added bound"), ("x", r"pass inputs=\{'x': ...\}"),
    ])  # fmt: skip
    def test_a_missing_input_says_where_and_what_to_do(self, name: str, advice: str) -> None:
        space: dict[str, Any] = {}
        exec(compile(f"def fn({name}): return 1", "nodes.py", "exec"), space)
        with pytest.raises(flow.InputError, match=rf"node 'a' \(nodes.py:1\).*{advice}"):
            flow.run(one(space["fn"]))

    def test_a_typo_in_an_input_is_refused_though_a_context_could_read_it(self) -> None:
        def fn(ctx: flow.Context, region: str = "eu") -> str:
            return region

        with pytest.raises(flow.InputError, match="'regoin' is no parameter of any node .did you mean 'region'"):
            flow.run(one(fn), {"regoin": "us"})
        with pytest.raises(flow.InputError, match="'other' is no parameter of any node; .* inputs=\\.\\.\\."):
            flow.run(one(fn), {"other": 1})

    @pytest.mark.parametrize("value", [{}, 0, False, []])
    def test_false_values_are_no_config_and_no_inputs(self, value: Any) -> None:
        with pytest.raises(flow.UsageError, match="config must be a flow.Config"):
            flow.run(one(), config=value)
        if value != {}:
            with pytest.raises(flow.InputError, match="inputs must be a mapping"):
                flow.run(one(), value)

    def test_long_and_hostile_values_stay_out_of_messages(self) -> None:
        with pytest.raises(flow.UsageError) as caught:
            flow.run([1] * 100_000)  # type: ignore[arg-type]
        assert len(str(caught.value)) < 300

    def test_a_timeout_that_limits_nothing(self) -> None:
        assert flow.run(one(timeout=flow.Timeout()))["a"] == 1

    def test_a_nested_dag_is_named_by_itself(self) -> None:
        outer = flow.Dag("outer")
        outer.add("sub", one(lambda: 1 / 0))
        error = error_of(outer).exceptions[0]
        assert error.__notes__[-1] == "in node 'sub' (<Plan('one', nodes=1, edges=0) as one node>)"

    def test_the_output_of_an_async_generator_is_for_its_reader(self) -> None:
        async def rows() -> Any:
            yield 1
            yield 2

        async def total(a: Any) -> int:
            return sum([row async for row in a])

        dag = one(rows)
        dag.add("total", total)
        assert flow.run(dag)["total"] == 3

    def test_an_import_error_of_a_node_is_its_own(self) -> None:
        async def bad() -> None:
            raise ImportError("mine")

        error = error_of(one(bad), backend="trio") if "trio" in sys.modules else error_of(one(bad))
        assert str(error.exceptions[0]) == "mine"

    def test_run_ids_differ_and_can_be_given(self) -> None:
        ids = {flow.run(one()).run_id for _ in range(50)}
        assert len(ids) == 50
        assert all(flow.types.is_name(i) for i in ids)
        assert flow.run(one(), run_id="mine-7").run_id == "mine-7"

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
    def test_run_ids_differ_across_a_fork(self) -> None:
        code = (
            "import os, flow\n"
            "d = flow.Dag('d'); d.add('a', lambda: 1); flow.run(d).run_id\n"
            "r, w = os.pipe()\n"
            "if os.fork() == 0:\n"
            "    os.write(w, flow.run(d).run_id.encode()); os._exit(0)\n"
            "print(flow.run(d).run_id != os.read(r, 100).decode())"
        )
        out = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
        assert out.stdout.strip() == "True"

    def test_optional_inputs_override_defaults_of_every_taker(self) -> None:
        dag = flow.Dag("d")
        dag.add("a", lambda scale=2: scale)
        dag.add("b", lambda scale=3: scale)
        assert dict(flow.run(dag)) == {"a": 2, "b": 3}
        assert dict(flow.run(dag, {"scale": 9})) == {"a": 9, "b": 9}

    def test_unknown_inputs_pass_when_the_dag_says_that_anything_goes(self) -> None:
        def reads(ctx: flow.Context) -> Any:
            return ctx.inputs["anything"]

        dag = flow.Dag("open", inputs=...)
        dag.add("a", reads)
        assert flow.run(dag, {"anything": 4})["a"] == 4
        with pytest.raises(flow.InputError, match="inputs=\\.\\.\\."):
            flow.run(one(reads), {"anything": 4})

    def test_import_flow_is_light(self) -> None:
        heavy = "asyncio anyio trio networkx rich click psutil random pathlib logging".split()
        code = f"import sys, flow; print([m for m in {heavy!r} if m in sys.modules])"
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert out.stdout.strip() == "[]"


class TestResult:
    def test_typed_keys(self) -> None:
        dag = flow.Dag("d")

        @dag.node
        def users() -> list[int]:
            return [1]

        ref = dag.add("other", lambda: "x")
        result = flow.run(dag)
        assert (result[users], result[ref], result["users"]) == ([1], "x", [1])
        assert result.get("nope", 5) == 5
        assert ("users" in result, "nope" in result, users in result) == (True, False, True)

    def test_unknown_names_are_key_errors_with_a_hint(self) -> None:
        result = flow.run(one())
        with pytest.raises(KeyError, match="has no node 'b'"):
            result["b"]
        with pytest.raises(KeyError):
            result.status["b"]
        with pytest.raises(flow.errors.MissingOutput) as caught:
            result["A"]
        assert str(caught.value).startswith("plan 'one' has no node 'A'")

    def test_repr_tells_the_story(self) -> None:
        dag = one()
        for i in range(7):
            dag.add(f"bad{i}", lambda: {}["k"])
        dag.add("child", lambda bad0: 1)
        text = repr(collected(dag))
        assert text.startswith("<Result of 'one': NOT OK, 1 completed, 7 failed, 1 skipped in ")
        assert "\n  bad0: KeyError: 'k'\n" in text
        assert text.endswith("\n  ... and 2 more errors>")

    def test_to_dict(self) -> None:
        dag = flow.Dag("d")
        dag.add("a", lambda: 1)
        dag.add("b", lambda a: 1 / 0, retry=flow.Retry(2, delay=0))
        dag.add("c", lambda b: 1)
        result = collected(dag)
        plain = result.to_dict()
        assert plain == {
            "run_id": result.run_id,
            "dag": "d",
            "ok": False,
            "wall_time": result.wall_time,
            "counts": {"completed": 1, "failed": 1, "skipped": 1},
            "nodes": {
                "a": {"status": "completed", "output": 1},
                "b": {"status": "failed", "attempts": 2, "error": "ZeroDivisionError: division by zero"},
                "c": {"status": "skipped"},
            },
        }
        assert "output" not in result.to_dict(outputs=False)["nodes"]["a"]
        timed = flow.run(one(), config=Config(timing=True)).to_dict()["nodes"]["a"]
        assert 0 <= timed["started"] <= timed["ended"]

    def test_times_must_be_asked_for(self) -> None:
        result = flow.run(one())
        for ask in (lambda: result.durations, result.spans, result.timeline):
            with pytest.raises(flow.UsageError, match=r"Config\(timing=True\)"):
                ask()

    def test_inputs_are_read_only(self) -> None:
        result = flow.run(one(lambda x: x), {"x": 1})
        with pytest.raises(TypeError):
            result.inputs["x"] = 2  # type: ignore[index]

    def test_timeline(self) -> None:
        with pytest.raises(flow.UsageError, match="'mermaid' or 'svg', not 'png'"):
            flow.run(one()).timeline("png")  # type: ignore[arg-type]
        result = flow.run(one(), config=Config(timing=True))
        assert result.timeline().startswith("gantt")
        assert result.timeline("svg").startswith("<svg")

    def test_raise_for_errors(self) -> None:
        flow.run(one()).raise_for_errors()
        with pytest.raises(flow.RunError, match="1 of 1 node failed: 'a'"):
            collected(one(lambda: 1 / 0)).raise_for_errors()

    def test_views(self) -> None:
        result = flow.run(one())
        assert repr(result.outputs) == "{'a': 1}"
        assert (len(result), list(result), dict(result.items())) == (1, ["a"], {"a": 1})
        assert result.status == {"a": Status.COMPLETED}
        assert result.status["a"] == "completed"
        assert result.inputs == {}

    def test_run_error_travels(self) -> None:
        error = pickle.loads(pickle.dumps(error_of(one(lambda: 1 / 0))))
        assert (error.nodes, type(error.exceptions[0]), error.result) == (("a",), ZeroDivisionError, None)


class TestTracking:
    def test_a_tracker_follows_a_run(self) -> None:
        dag = one(lambda: 1)
        dag.add("b", lambda a: 1 / 0, retry=flow.Retry(2, delay=0))
        dag.add("c", lambda b: 1)
        tracker = flow.plan.StatusTracker(dag.compile())
        seen: list[tuple[str, str]] = []
        tracker.subscribe(lambda change: seen.append((change.node, str(change.new))))
        result = collected(dag, observers=(flow.observe.tracking(tracker),))
        assert dict(tracker) == dict(result.status)
        assert seen == [
            ("a", "ready"), ("a", "running"), ("a", "completed"),
            ("b", "ready"), ("b", "running"), ("b", "ready"), ("b", "running"), ("b", "failed"),
            ("c", "skipped"),
        ]  # fmt: skip


class TestMiddleware:
    def run(self, backend: str, layer: Any, node: Any) -> flow.Result:
        return collected(one(node, middleware=[layer]), backend)

    @pytest.mark.parametrize("kind", ["sync", "async"])
    def test_timed(self, backend: str, kind: str) -> None:
        seen: list[tuple[str, bool]] = []
        layer = flow.middleware.timed(lambda node, seconds: seen.append((node, seconds >= 0)))

        def bad() -> None:
            raise ValueError

        async def abad() -> None:
            raise ValueError

        self.run(backend, layer, bad if kind == "sync" else abad)
        self.run(backend, layer, (lambda: 1) if kind == "sync" else acoro)
        assert seen == [("a", True), ("a", True)]

    @pytest.mark.parametrize("kind", ["sync", "async"])
    def test_logged(self, backend: str, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        def bad() -> None:
            raise ValueError("why")

        async def abad() -> None:
            raise ValueError("why")

        with caplog.at_level("INFO", logger="flow"):
            result = self.run(backend, flow.middleware.logged(), (lambda: 1) if kind == "sync" else acoro)
            failed = self.run(backend, flow.middleware.logged("flow"), bad if kind == "sync" else abad)
        texts = [r.getMessage() for r in caplog.records if r.name == "flow"]
        assert texts[0] == f"run {result.run_id}: node a started (attempt 1)"
        assert texts[1].startswith(f"run {result.run_id}: node a finished in 0.")
        assert texts[3] == f"run {failed.run_id}: node a raised ValueError: why"

    @pytest.mark.parametrize(
        ("schema", "value", "fault"),
        [
            (list[int], [1, 2], ""),
            (list[int], [1, "x"], "Expected `int`, got `str`"),
            (int, "1", "Expected `int`, got `str`"),
            (dict[str, float], {"a": 1.5}, ""),
            (complex, 1j, ""),
            (complex, "no", "Expected `complex`, got `str`"),
            ({"a": str}, 5, "Expected `str`, got `int`"),
            ({"other": str}, 5, ""),
        ],
    )
    def test_validated(self, schema: Any, value: Any, fault: str) -> None:
        result = collected(one(lambda: value, middleware=[flow.middleware.validated(schema)]))
        if fault:
            assert isinstance(result.errors["a"], TypeError)
            assert f"node 'a' returned {value!r}: {fault}" in str(result.errors["a"])
        else:
            assert result["a"] is value

    def test_the_outermost_plain_layer_may_answer_for_an_async_node(self, backend: str) -> None:
        result = self.run(backend, lambda next, ctx: "early", acoro)
        assert result["a"] == "early"


class TestFakeClock:
    def test_sleepers_wake_in_order(self, on_loop: Any) -> None:
        import anyio

        clock = flow.testing.FakeClock()
        woke: list[tuple[str, float]] = []

        async def sleeper(name: str, seconds: float) -> None:
            await clock.wait(seconds)
            woke.append((name, clock.now()))

        async def main() -> None:
            async with anyio.create_task_group() as group:
                for name, seconds in (("c", 3.0), ("a", 1.0), ("b", 2.0)):
                    group.start_soon(sleeper, name, seconds)

        on_loop(main)
        assert woke == [("a", 1.0), ("b", 2.0), ("c", 3.0)]

    def test_is_a_clock(self) -> None:
        assert isinstance(flow.testing.FakeClock(), flow.clock.Clock)
        assert isinstance(flow.clock.SYSTEM_CLOCK, flow.clock.Clock)
        assert repr(flow.clock.SYSTEM_CLOCK) == "SystemClock()"


@pytest.mark.parametrize("layers", [(20, 10), (5, 40)])
def test_a_run_of_nodes_that_wait_uses_no_more_tasks_than_wait(layers: tuple[int, int]) -> None:
    """The scheduling moves on, not the node: a chain of waiting nodes needs one task, not one per node."""
    most = 0

    async def node(*values: Any) -> None:
        nonlocal most
        await asyncio.sleep(0)
        most = max(most, len(asyncio.all_tasks()))

    depth, width = layers
    dag = flow.topologies.layered(depth, width, 1, fn=node)
    flow.run(dag)
    assert most <= width * 2 + 2
    most = 0
    flow.run(flow.topologies.linear(50, fn=node))
    assert most == 2, "the caller's and one host"


class TestErrorsStandAlone:
    """A failure carries its own story, not that of the node that failed before it."""

    @pytest.mark.parametrize("mode", modes("inline", "tasks"))
    def test_no_context_from_another_node(self, mode: Any) -> None:
        dag = one(lambda: 1 / 0)
        dag.add("b", lambda: {}["k"])
        dag.add("c", lambda: [][0], retry=flow.Retry(2, delay=0))
        errors = collected(dag, **mode).errors
        assert [type(e) for e in errors.values()] == [ZeroDivisionError, KeyError, IndexError]
        assert [e.__context__ for e in errors.values()] == [None, None, None]

    @pytest.mark.parametrize("mode", modes("inline", "tasks"))
    def test_an_interrupted_run_is_told_as_such(self, mode: Any) -> None:
        def stop() -> None:
            raise KeyboardInterrupt

        dag = one(lambda: 1)
        dag.add("b", stop, after="a")
        dag.add("c", lambda: 1, after="b")
        seen: list[Any] = []
        with pytest.raises(KeyboardInterrupt):
            flow.run(dag, config=Config(**mode, observers=(seen.append,)))
        assert isinstance(seen[-1], flow.events.RunFinished)
        assert (seen[-1].ok, seen[-1].counts["completed"]) == (False, 1)

    def test_the_run_limit_counts_from_the_start(self) -> None:
        import anyio

        def node() -> None:
            import time

            time.sleep(0.03)

        dag = flow.Dag("d")
        for i in range(5):
            dag.add(f"n{i}", node, after=[f"n{i - 1}"] if i else ())

        async def main() -> flow.Result:
            await anyio.sleep(0)
            with pytest.raises(flow.RunError) as caught:
                await flow.execute(dag, config=Config(timeout=0.05))
            return caught.value.result

        result = asyncio.run(main())
        assert result.timed_out
        assert result.counts[Status.COMPLETED] < 4
