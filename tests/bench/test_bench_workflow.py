"""The workflow suite: every row is measured; lost workflows, nodes not run and failures not told are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from given import cases_of, measured

import flow
from flow_bench.harness.contender import Refused
from flow_bench.micro import measuring as harness
from flow_bench.micro import test_workflow as single
from flow_bench.micro.test_node import ROUTES
from flow_bench.suites.load import live, rate, recovery, soak, waiting, workflow
from flow_bench.suites.load.live import BARE, CROWD, NODES, OURS, PER_NODE, Burst, Contender, Fn, Workflow

pytestmark = pytest.mark.usefixtures("frozen")

CASES = harness.Effort(rounds=1, sample=0.0, each_rounds=harness.EACH)
TINY = workflow.Effort(
    cases=CASES,
    live=live.Effort(counts=(2, 3), rounds=1, crowd_rounds=1, memory_up_to=2),
    waiting=waiting.Effort(count=3, rounds=1, seconds=0.01),
    soak=soak.Effort(rounds=2, seconds=0.01),
    recovery=recovery.Effort(rounds=1, workflows=1),
    rate=rate.Effort(warm=0.05, seconds=0.1, every=0.02, rates=(0, 20), alive=3),
)


class TestSuite:
    def test_every_row_is_measured_and_unlike_the_others(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(soak, "WARM", 50)
        tables = list(workflow.run(TINY))
        rows = [row for table in tables for row in table]
        assert len(tables) == len(workflow.SECTIONS)
        assert {row.section for row in rows} == set(workflow.SECTIONS)
        assert len({row.identity for row in rows}) == len(rows)
        assert all(row.figure is not None or row.note.startswith("n/a") for row in rows)

    def test_sections_can_be_chosen(self) -> None:
        chosen = workflow.Effort(sections=("linear",), cases=CASES)
        assert [row.section for table in workflow.run(chosen) for row in table] == ["linear"] * 6

    def test_the_complex_workflow_routes_runs_in_parallel_and_maps(self) -> None:
        result = flow.run(single.order_plan(), {"order": single.ORDER})
        assert result["receipt"] == single.RECEIPT
        assert result["receipt"]["total"] == 475.0
        assert [str(result.status[f"by_{name}"]) for name in ROUTES] == ["bypassed", "completed", "bypassed"]
        assert len(result.plan) == 13
        assert single.order_by_hand() == asyncio.run(single.order_gathered()) == single.RECEIPT

    def test_an_engine_that_runs_only_the_first_node_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        run = flow.run
        monkeypatch.setattr(flow, "run", lambda plan, inputs=None: run(plan, inputs, targets=[plan.names[0]]))
        cases = [case for case in cases_of("workflow") if case.label == "3 sync nodes"]
        with pytest.raises(Refused, match="linear: 3 sync nodes.*1 of 3 nodes completed"):
            measured("workflow", cases, CASES)


class TestFailures:
    @pytest.mark.parametrize("rate", single.RATES)
    @pytest.mark.parametrize("config", [single.COLLECT, single.FAIL_FAST])
    def test_as_many_fail_as_told(self, rate: int, config: flow.Config) -> None:
        results = asyncio.run(single.together(single.failing(rate), config))
        assert sum(not result.ok for result in results) == rate
        assert single.as_told(rate, results) is None

    def test_another_rate_is_refused(self) -> None:
        results = asyncio.run(single.together(single.failing(10), single.COLLECT))
        assert "workflow 2 was to fail" in str(single.as_told(50, results))
        assert "workflow 0 was to return 5" in str(single.as_told(0, results))

    def test_lost_workflows_are_refused(self) -> None:
        results = asyncio.run(single.together(single.failing(0), single.COLLECT))
        assert single.as_told(0, results[:-1]) == "0 of 99 failed"

    def test_failures_that_never_happen_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(single, "fails", lambda number, rate: False)
        cases = [case for case in cases_of("workflow") if case.label.endswith("10 % fail, collect")]
        with pytest.raises(Refused, match="0 of 100 failed"):
            measured("workflow", cases, CASES)


def way(make: Callable[[Sequence[Fn]], Workflow]) -> Contender:
    return Contender("broken", make, live.lost)


class TestLive:
    @pytest.mark.parametrize("honest", live.WAYS, ids=lambda w: w.label)
    def test_the_contenders_run_each_node_of_each_workflow_once(self, honest: Contender) -> None:
        asyncio.run(live.check(honest))

    def test_a_node_that_is_left_out_is_refused(self) -> None:
        with pytest.raises(Refused, match="3 workflows of 10 nodes returned 9"):
            asyncio.run(live.check(way(lambda fns: live.as_one_task(fns[1:]))))

    def test_a_node_that_runs_twice_is_refused(self) -> None:
        def twice(fns: Sequence[Fn]) -> Workflow:
            async def run() -> int:
                value = 0
                for fn in fns:
                    await fn(value)
                    value = await fn(value)
                return value

            return run

        with pytest.raises(Refused, match="made the calls"):
            asyncio.run(live.check(way(twice)))

    def test_a_plan_that_loses_a_node_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        execute = flow.execute

        async def cached(plan: flow.Plan) -> Any:
            return {f"n{NODES - 1}": (await execute(plan, targets=["n3"]))["n3"]}

        monkeypatch.setattr(flow, "execute", cached)
        with pytest.raises(Refused, match="returned 4"):
            asyncio.run(live.completion(live.WAYS, 2, 1))

    def test_lost_workflows_are_refused(self) -> None:
        with pytest.raises(Refused, match="9 of 10 workflows finished"):
            live.WAYS[0].refuse_unless_done([NODES] * 9, [NODES] * 10)

    def test_rows_say_when_99_of_100_were_done_and_what_was_the_target(self) -> None:
        ours, bare, nodes = (Burst([k * scale for k in range(1, 101)], 1.0, 10 * scale) for scale in (0.3, 0.1, 0.2))
        rows = {row.label: row for row in live._completion_rows({OURS: [ours], BARE: [bare], PER_NODE: [nodes]}, CROWD)}
        judged = rows[f"P99 completion, {OURS}"]
        assert judged.figure == pytest.approx(29_700)
        assert judged.figures["p50"] == pytest.approx(15_000)
        assert judged.ratio == pytest.approx(3.0)
        assert judged.note == "3.00x of the CPU time, 3% of the time in the collector"
        assert judged.verdict.upper() == "MISS"
        assert rows[f"  {OURS} / {PER_NODE}"].figure == pytest.approx(1.5)
        assert rows[f"  {OURS} / {PER_NODE}"].verdict.upper() == "PASS"
        assert rows[f"throughput, {BARE}"].figure == pytest.approx(10)

    def test_memory_is_what_each_holds(self) -> None:
        def heavy(fns: Sequence[Fn]) -> Workflow:
            plain = live.as_one_task(fns)

            async def run() -> int:
                held = bytearray(100_000)
                value = await plain()
                return value + 0 * len(held)

            return run

        light = asyncio.run(live.bytes_each(way(live.as_one_task), 20))
        assert 500 < light < 10_000
        assert asyncio.run(live.bytes_each(way(heavy), 20)) - light == pytest.approx(100_000, rel=0.01)

    def test_workflows_that_are_not_alive_when_memory_is_taken_are_refused(self) -> None:
        def hurried(fns: Sequence[Fn]) -> Workflow:
            return live.as_one_task([fn for k, fn in enumerate(fns) if k != NODES // 2])

        with pytest.raises(Refused, match="0 of 4 workflows were alive"):
            asyncio.run(live.bytes_each(way(hurried), 4))


class TestWaiting:
    def test_what_each_holds_is_told(self) -> None:
        bare, ours = (asyncio.run(waiting.bytes_each(label, 50)) for label in (waiting.BARE, waiting.OURS))
        assert 300 < bare < ours < 8_000

    def test_runs_that_do_not_wait_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        dag = flow.Dag("approval")
        dag.signal("approve", when=lambda: False)
        monkeypatch.setattr(waiting, "approval", dag.compile)
        with pytest.raises(Refused, match="0 of 1 runs waited"):
            asyncio.run(waiting.bytes_each(waiting.OURS, 2))


class TestSoak:
    def test_it_runs_as_many_as_it_says(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(soak, "WARM", 60)
        made: list[int] = []
        plan = soak.plan()
        execute = flow.execute

        async def counted(*arguments: Any, **more: Any) -> flow.Result:
            made.append(1)
            return await execute(*arguments, **more)

        monkeypatch.setattr(flow, "execute", counted)
        counter = soak.Soak()
        rate = asyncio.run(counter.stretch(plan, 0.0, at_least=60))
        assert rate > 0
        assert counter.begun == len(made) == counter.succeeded + counter.failed >= 60
        assert counter.failed == counter.begun // soak.EVERY
        counter.refuse_unless_whole()
        counter.succeeded -= 1
        with pytest.raises(Refused, match=f"of {len(made)} workflows"):
            counter.refuse_unless_whole()

    @pytest.mark.parametrize(("number", "as_number"), [(10, 11), (11, 10)])
    def test_a_workflow_that_ends_otherwise_is_refused(self, number: int, as_number: int) -> None:
        async def run() -> flow.Result:
            return await flow.execute(soak.plan(), {"number": number}, config=soak.COLLECT)

        result = asyncio.run(run())
        soak.Soak().judge(number, result)
        with pytest.raises(Refused, match=f"workflow {as_number} ended as"):
            soak.Soak().judge(as_number, result)

    def test_growth_is_the_slope_of_memory_over_workflows(self) -> None:
        assert soak.slope([(0, 100), (10, 120), (20, 140)]) == 2.0
        assert soak.slope([(5, 100), (5, 120)]) == 0.0
        grown = soak._memory_row("x", [(1_000, 50_000_000), (2_000, 51_000_000)])
        assert grown.figure == pytest.approx(1_000_000)
        assert grown.better == "zero"
        assert grown.note == "50.0 MB after 1,000 workflows, 51.0 MB after 2,000"

    def test_memory_is_looked_at_after_every_stretch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(soak, "WARM", 1)
        told = iter([50_000_000, 50_000_000, 58_000_000])
        monkeypatch.setattr(soak, "resident", lambda: next(told))
        row = soak.soaked(3, 0.0)[1]
        assert row.figures == {"rss_mb": 58.0}
        assert row.figure is not None and row.figure > 0
