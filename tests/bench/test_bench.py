"""The benchmark suite: it refuses contenders that do not do the work, and its arithmetic is right."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import flow
from flow_bench.__main__ import MISSED, REFUSED, main
from flow_bench.harness import rows, stores
from flow_bench.harness.allocations import traced_peak
from flow_bench.harness.checks import check_async, check_sync
from flow_bench.harness.child import child
from flow_bench.harness.contender import Contender, Refused, fresh, ready
from flow_bench.harness.interleave import interleave, interleave_on_loop, schedule
from flow_bench.harness.loops import bare_loop, calls_only, counter_loop, on_graph, task_per_node
from flow_bench.harness.rows import Row, Target
from flow_bench.harness.work import DONE, Work
from flow_bench.micro import measuring as harness
from flow_bench.report import tables as report
from flow_bench.suites.engine import (
    context,
    core,
    examples,
    handover,
    hot,
    items,
    keeping,
    looping,
    mapping,
    routing,
    scale,
    seams,
    singles,
)  # fmt: skip
from flow_bench.suites.store import cost as data_cost
from flow_bench.suites.store import data
from flow_bench.suites.store import memory as data_memory
from flow_bench.suites.store import threads as data_threads

pytestmark = pytest.mark.usefixtures("frozen")

TINY = core.Settings(
    nodes=(12,),
    rounds=2,
    large_rounds=2,
    singles=singles.Effort(
        batches=2, batch=3, waiting_nodes=5, waiting_rounds=2, ticker_nodes=200, ticker_runs=1, chain_rounds=1,
        pictures=1, crowd=3, crowd_nodes=20, crowd_rounds=1,
    ),
    hot=hot.Effort(rounds=1, looks=(5, 30), sizes=(4,)),
    seams=seams.Effort(rounds=1, nodes=12, calls=3),
    looping=looping.Effort(rounds=1, times=3),
    routing=routing.Effort(rounds=1, nodes=12),
)


@pytest.fixture(autouse=True)
def _short_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "RUNS", 1)
    monkeypatch.setattr(core, "repeat_of", lambda nodes: 2)


@pytest.fixture
def work() -> Work:
    return Work.of(flow.topologies.layered(3, 4, 2))


def ordered(change: Callable[[int, list[Any]], list[Any]], *, calls: Callable[[int], int] = lambda i: 1) -> Contender:
    """A loop in order that treats each node's arguments, and the number of its calls, as told."""

    def prepare(work: Work) -> Callable[[], Any]:
        def run() -> list[Any]:
            outputs: list[Any] = [None] * len(work.dependencies)
            for i, fn in enumerate(work.kinds["sync"]):
                for _ in range(calls(i)):
                    outputs[i] = fn(*change(i, [outputs[d] for d in work.dependencies[i]]))
            return outputs

        return run

    return on_graph("broken", prepare)


def unchanged(i: int, values: list[Any]) -> list[Any]:
    return values


class TestCheck:
    def test_an_honest_contender_passes(self, work: Work) -> None:
        check_sync(ordered(unchanged), work)

    def test_a_skipped_node_is_refused(self, work: Work) -> None:
        with pytest.raises(Refused, match="nodes never called: 7") as caught:
            check_sync(ordered(unchanged, calls=lambda i: int(i != 7)), work)
        assert caught.value.faults[-1].startswith("the outputs are not those that the nodes returned")

    def test_a_node_called_twice_is_refused(self, work: Work) -> None:
        with pytest.raises(Refused, match="nodes called more than once: 3"):
            check_sync(ordered(unchanged, calls=lambda i: 2 if i == 3 else 1), work)

    @pytest.mark.parametrize(
        "change", [lambda i, values: values[::-1], lambda i, values: values[:1], lambda i, values: [*values, None]]
    )
    def test_wrong_arguments_are_refused(self, work: Work, change: Callable[[int, list[Any]], list[Any]]) -> None:
        with pytest.raises(Refused, match="was given"):
            check_sync(ordered(change), work)

    def test_a_node_before_its_dependencies_is_refused(self, work: Work) -> None:
        def backwards(work: Work) -> Callable[[], Any]:
            return lambda: [fn() for fn in reversed(work.kinds["sync"])][-1:]

        with pytest.raises(Refused, match="node 11 ran before"):
            check_sync(calls_only("backwards", backwards), work)

    def test_a_timed_run_that_leaves_too_little_is_refused(self, work: Work) -> None:
        with pytest.raises(Refused, match="a run left 11 outputs, not 12"):
            on_graph("c", counter_loop).refuse_unless_done([DONE] * 11 + [None], work)
        with pytest.raises(Refused, match="a run left 11 outputs"):
            interleave([ordered(unchanged, calls=lambda i: int(i != 7))], 1, work)
        with pytest.raises(Refused, match="not the last output"):
            calls_only("c", bare_loop).refuse_unless_done([None], work)

    def test_async_contenders_are_checked_and_timed_alike(self, work: Work) -> None:
        def forgetful(work: Work) -> Callable[[], Awaitable[list[Any]]]:
            async def run() -> list[Any]:
                return [
                    await fn(*[0] * len(deps)) for fn, deps in zip(work.kinds["async"], work.dependencies, strict=True)
                ]

            return run

        with pytest.raises(Refused, match="was given 0, 0"):
            asyncio.run(check_async(on_graph("forgetful", forgetful), work))
        good = on_graph("good", task_per_node)
        asyncio.run(check_async(good, work))
        assert len(asyncio.run(interleave_on_loop([good], 3, work))["good"]) == 3

    def test_an_async_contender_that_hangs_is_refused(self, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("flow_bench.harness.checks.PATIENCE", 0.01)
        stuck = on_graph("stuck", lambda work: lambda: asyncio.sleep(60))
        with pytest.raises(Refused, match="did not end within"):
            asyncio.run(check_async(stuck, work))

    def test_the_command_exits_non_zero(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        lazy = ordered(unchanged, calls=lambda i: int(i != 2))
        monkeypatch.setattr(core, "SYNC", [*core.SYNC, lazy])
        assert main(["core", "--quick", "--nodes", "12", "--rounds", "1", "--only", "sync"]) == REFUSED
        assert "contender 'broken' is refused: nodes never called: 2" in capsys.readouterr().err

    def test_every_contender_of_the_suite_passes(self, work: Work) -> None:
        for contender in core.SYNC:
            check_sync(contender, work)
        for contender in core.ASYNC:
            asyncio.run(check_async(contender, work))


class TestStatistics:
    def test_known_values(self) -> None:
        values = [1.0, 2.0, 3.0, 4.0, 100.0]
        assert rows.quartiles(values) == (2.0, 3.0, 4.0)
        assert rows.quartiles([5.0]) == (5.0, 5.0, 5.0)
        assert rows.relative_iqr(values) == pytest.approx(2 / 3)
        assert rows.ratios([2.0, 3.0], [1.0, 2.0]) == [2.0, 1.5]

    @pytest.mark.parametrize(("percent", "expected"), [(0, 1), (1, 1), (50, 50), (99, 99), (99.5, 100), (100, 100)])
    def test_percentiles_are_nearest_ranks(self, percent: float, expected: int) -> None:
        assert rows.percentile(list(range(100, 0, -1)), percent) == expected

    def test_a_row_is_the_median_of_figures_and_of_ratios(self) -> None:
        row = Row("s", "l", "us", [1.0, 9.0, 2.0], ratios=[0.5, 3.0, 0.7], target=Target(0.7, binding=True))
        assert (row.figure, row.ratio, row.verdict) == (2.0, 0.7, "PASS")
        assert row.to_dict()["samples"] == [1.0, 9.0, 2.0]

    @pytest.mark.parametrize(
        ("target", "verdict"),
        [
            (Target(1.9, of="figure", binding=True), "MISS"),
            (Target(2.0, of="figure", binding=True), "PASS"),
            (Target(1.9, of="figure", binding=False), "miss"),
            (Target(0.4, binding=True), ""),  # a target for a ratio that was not measured
            (None, ""),
        ],
    )
    def test_verdicts(self, target: Target | None, verdict: str) -> None:
        assert Row("s", "l", "us", [2.0], target=target).verdict == verdict

    def test_rounds_are_interleaved_and_each_contender_comes_first_in_turn(self) -> None:
        turns = list(schedule(3, 5))
        by_round = [[c for turn, c in turns if turn == k] for k in range(-1, 5)]
        assert all(sorted(order) == [0, 1, 2] for order in by_round)
        assert {order[0] for order in by_round} == {0, 1, 2}

    def test_the_collector_is_off_within_rounds_and_on_afterwards(self) -> None:
        assert gc.isenabled()
        assert {gc.isenabled() for _ in schedule(2, 2)} == {False}
        assert gc.isenabled()
        with pytest.raises(Refused):
            interleave([on_graph("c", bare_loop)], 1, Work.of(flow.topologies.linear(3)))  # it stores nothing
        assert gc.isenabled()


class TestCore:
    def test_the_whole_suite_end_to_end(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        monkeypatch.setattr(core, "QUICK", TINY)
        file = tmp_path / "rows.json"
        assert main(["core", "--quick", "--json", str(file)]) == 0
        printed = capsys.readouterr().out
        for text in ("sync, no event loop, 12 nodes", "async on asyncio", "async on trio", "async on uvloop",
                     "build and compile", "flow.run of one sync node", "two uneven chains", "1 ms ticker",
                     "total after 30 runs of 4 nodes", "memory of the code",
                     "async: async on_outcome", "two processes: flow.execute",
                     "order edges: a router every 10 nodes"):  # fmt: skip
            assert text in printed
        document = json.loads(file.read_text())
        assert {row["section"] for row in document["rows"]} >= {"sync", "async", "trio", "uvloop", "build"}
        assert all(len(row["samples"]) == 2 for row in document["rows"] if row["section"] == "sync")
        assert document["machine"]["python"].endswith(sys.version.split()[0])

    def test_one_row_per_contender_and_topology(self) -> None:
        (rows,) = core.run(replace(TINY, sections=("sync",)))
        assert len(rows) == len(core.SYNC) * 5
        assert {row.topology for row in rows} == {"chain", "diamond", "tree", "layered", "random"}
        assert all(row.ratio == 1.0 for row in rows if row.label == core.COUNTERS)

    def test_hooks_are_called_in_the_runs_that_are_timed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        told: list[Any] = []
        asked: list[Any] = []

        async def tell(outcome: Any) -> None:
            told.append(outcome)

        monkeypatch.setattr(seams, "told", told.append)
        monkeypatch.setattr(seams, "told_async", tell)
        monkeypatch.setattr(seams, "asked", asked.append)
        hooks, _ = seams.run(seams.Effort(rounds=1, nodes=12, calls=3))
        rounds = 3  # one of them warms up, one shows what a run allocates
        assert len(told) == rounds * 12 * (1 + 2 + 2)  # one sync run with a hook for outcomes, two on a loop, twice
        assert len(asked) == rounds * 12 * 3
        assert [row.ratio for row in hooks if row.label.endswith(": no hook")] == [1.0, 1.0, 1.0]

    def test_an_executor_that_answers_wrongly_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(seams, "noop", lambda: "something else")
        with pytest.raises(Refused):
            list(seams.run(seams.Effort(rounds=1, nodes=12, calls=3)))

    def test_a_loop_runs_the_rounds_that_are_timed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        (rows,) = looping.run(looping.Effort(rounds=1, times=3))
        assert [row.ratio for row in rows if row.label.endswith(looping.BY_HAND)] == [1.0, 1.0]
        assert [row.target for row in rows if row.label.endswith(looping.ROUND)] == [looping.ONE_MORE] * 2
        monkeypatch.setattr(looping, "more", lambda n: n + 2)
        with pytest.raises(Refused):
            list(looping.run(looping.Effort(rounds=1, times=3)))

    def test_plans_that_route_stand_beside_the_same_ones_that_count(self) -> None:
        for table in routing.run(routing.Effort(rounds=1, nodes=40)):
            assert [row.ratio for row in table if row.label.endswith(routing.COUNTING)] == [1.0, 1.0]
            assert len({row.label for row in table}) == len(table) == 9

    def test_a_condition_that_says_no_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(routing, "agrees", lambda: False)
        with pytest.raises(Refused, match="a when on every node.*bypassed"):
            list(routing.run(routing.Effort(rounds=1, nodes=12)))

    @pytest.mark.parametrize("nodes", [100, 1_000, 10_000, 13])
    def test_topologies_have_the_size_asked_for(self, nodes: int) -> None:
        assert {len(dag) for dag in core.topologies(nodes).values()} == {nodes}

    def test_a_missing_library_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "trio", None)
        monkeypatch.setitem(sys.modules, "uvloop", None)
        tables = list(core.run(replace(TINY, sections=("trio", "uvloop"))))
        assert [rows[0].note for rows in tables] == ["n/a: trio is not installed", "n/a: uvloop is not installed"]
        assert all("n/a" in report.table(rows) for rows in tables)

    def test_strict_exits_with_1_on_a_miss(self, monkeypatch: pytest.MonkeyPatch) -> None:
        missed = Row("s", "l", "us", [2.0], target=Target(1.0, of="figure", binding=True))
        monkeypatch.setattr(core, "run", lambda settings: iter([[missed]]))
        assert main(["core"]) == 0
        assert main(["core", "--strict"]) == MISSED

    def test_several_interpreters(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        file = tmp_path / "rows.json"
        flags = ["--only", "build", "--quick", "--nodes=8", "--rounds", "1", "--json", str(file)]
        assert main(["core", "--python", sys.executable, f"--python={sys.executable}", *flags]) == 0
        assert [len(run["rows"]) for run in json.loads(file.read_text())["runs"]] == [8 * 5] * 2
        assert capfd.readouterr().out.count("build and compile, 8 nodes") == 2


class TestReport:
    def test_targets_missed_somewhere_name_the_topology(self) -> None:
        rows = [
            Row("sync", "flow", "us", [1.0], ratios=[r], nodes=9, topology=t, target=Target(0.9, 0.6, binding=True))
            for t, r in (("chain", 0.8), ("tree", 0.95))
        ]
        table = report.table(rows)
        assert "<= 0.9x (aim 0.6x)  MISS: tree" in table
        assert report.summary(rows).startswith("1 missed, 0 not judged here, 1 met")
        assert report.summary([Row("s", "a", "us", [1.0])]) == "no figure here has a target"


class TestScale:
    @pytest.mark.parametrize("topology", list(scale.topologies()))
    def test_every_phase_is_timed_and_checked(self, topology: str) -> None:
        assert scale.phases(topology, 50).keys() == {*scale.PHASES, scale.YARDSTICK}

    def test_children_report_growth_and_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(scale, "topologies", lambda: {"chain": flow.topologies.linear})
        phases, routed, memory = scale.run(scale.Effort(small=50, large=100, small_rounds=1))
        assert [row.label for row in routed] == [scale.WIDE, scale.DEEP]
        assert [row.label for row in phases] == [*scale.PHASES, scale.TOTAL, scale.YARDSTICK]
        assert phases[0].target == Target(2.2, binding=True)
        assert [row.label for row in memory] == ["chain, sync", "chain, async"]
        assert all(row.figure for row in memory)

    def test_a_child_that_fails_is_refused(self) -> None:
        with pytest.raises(Refused, match="no-such-graph"):
            scale.child("phases", "no-such-graph", 10)


class TestWays:
    def test_what_is_not_done_is_refused(self) -> None:
        idle = ready("idle", lambda: None, lambda found: found is not None)
        with pytest.raises(Refused, match="contender 'idle' is refused: a timed run did not do its work"):
            interleave([idle], 1)

        async def nothing() -> None:
            return None

        with pytest.raises(Refused, match="'idle'"):
            asyncio.run(interleave_on_loop([replace(idle, make=lambda: nothing)], 1))

    def test_samples_are_per_operation_and_before_is_called_before_each(self) -> None:
        calls: list[str] = []
        way = ready("a", lambda: calls.append("run"), lambda _: True, 10, lambda: calls.append("before"))
        assert len(interleave([way], 3)["a"]) == 3
        assert calls == ["before", "run"] * (4 + 1)  # one shows what it allocates

    def test_what_an_operation_allocates(self) -> None:
        kept = ready("kept", lambda: [bytes(1_000) for _ in range(50)], lambda made: len(made) == 50, 50)
        brief = ready("brief", lambda: len([bytes(1_000) for _ in range(50)]), lambda made: made == 50, 50)
        samples = interleave([kept, brief], 1)
        assert samples.memory("kept")["bytes"] == pytest.approx(1_050, rel=0.1)  # 33 bytes of header, 8 in the list
        assert samples.memory("kept")["blocks"] == pytest.approx(1, abs=0.2)
        assert samples.memory("brief")["bytes"] == pytest.approx(1_050, rel=0.1)
        assert samples.memory("brief")["blocks"] < 0.2  # it left nothing
        assert samples.memory("kept", 10)["bytes"] == samples.memory("kept")["bytes"] / 10

        async def made() -> list[bytes]:
            return [bytes(1_000) for _ in range(50)]

        async def both() -> Any:
            ways = [ready("kept", made, lambda made: len(made) == 50, 50)]
            return await interleave_on_loop(ways, 1), await interleave_on_loop(ways, 1, memory=False)

        on_loop, without = asyncio.run(both())
        assert on_loop.memory("kept")["bytes"] == pytest.approx(1_050, rel=0.1)
        assert on_loop.memory("kept")["blocks"] == pytest.approx(1, abs=0.2)
        assert without.memory("kept") == {}

    def test_traced_peaks_are_those_above_before(self) -> None:
        peak, made = traced_peak(lambda: len(bytes(1_000_000)) + len(bytes(500_000)))
        assert made == 1_500_000
        assert 1_000_000 <= peak < 1_200_000
        assert gc.isenabled()

    def test_a_fresh_function_has_code_of_its_own(self) -> None:
        copied = fresh(data_cost.pairs)
        assert copied.__code__ is not data_cost.pairs.__code__
        assert copied.__name__ == "pairs"

    def test_a_child_that_fails_is_refused(self) -> None:
        with pytest.raises(Refused, match="no preset is called 'nothing'"):
            child("suites.store.cost", "pairs", 1, "nothing")


TINY_CONTEXT = context.Effort(
    sizes=(0, 3), rounds=2, deep_rounds=2, children=20, counts=(10, 20), deep=10,
    mapping=mapping.Effort(sizes=(10, 1_000, 2_000), nodes=1_000, rounds=1, traced=50, waiting=60, waiting_rounds=2),
    keeping=keeping.Effort(nodes=30, rounds=2), items=items.Effort(counts=(10, 20), rounds=1, patience=0.0),
    examples=examples.Effort(servers=20, users=20, entries=40, rounds=1), handover=handover.Effort(nodes=4, rounds=1),
)  # fmt: skip


class TestContext:
    def test_the_whole_suite_end_to_end(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        monkeypatch.setattr(context, "QUICK", TINY_CONTEXT)
        file = tmp_path / "rows.json"
        assert main(["context", "--quick", "--json", str(file)]) == 0
        printed = capsys.readouterr().out
        for text in ("ctx.child, 3 results", "copy.deepcopy, 3 results", "bytes per item", "one of 2,000 items / one",
                     "2,000 items with ctx and an output", "50 at a time: Dag.map", "60 at a time: Dag.map",
                     "40 log entries", "async that has waited", "time extrapolated from 10 items",
                     "async on trio", "1,000 async nodes: keep=\"targets\""):  # fmt: skip
            assert text in printed
        rows = json.loads(file.read_text())["rows"]
        assert [row["label"] for row in rows if row["note"] == "not measured: too much"] == ["20 items: copy.deepcopy"]
        assert all(len(row["samples"]) == 2 for row in rows if row["label"].startswith("ctx.child"))

    def test_a_child_that_is_no_new_context_is_refused(self) -> None:
        class Same:
            item = index = 4

            def __init__(self) -> None:
                self.data = flow.WorkflowData()

            def child(self, item: int, index: int) -> Any:
                return self

        with pytest.raises(Refused, match="'ctx.child, 0 results'"):
            interleave([context.child_way(0, Same(), 5)], 1)
        with pytest.raises(Refused, match="it should leave 3 objects"):
            context.held_peak("same", lambda i: None, 3)

    def test_a_child_that_sees_something_else_is_refused(self) -> None:
        real = context.context_of(2)

        class Copying:
            data = real.data

            def child(self, item: int, index: int) -> Any:
                found = real.child(item, index)
                found.data.set("r1", dict(real.data["r1"]))
                return found

        with pytest.raises(Refused, match="'ctx.child, 2 results'"):
            interleave([context.child_way(2, Copying(), 5)], 1)

    @pytest.mark.parametrize("fn", [lambda item: None, lambda item: item])
    def test_a_map_without_its_results_is_refused(self, fn: Callable[[Any], Any]) -> None:
        plan = mapping.mapped(fn, 2)
        way = mapping.way("sync", "broken", plan, range(3), lambda result: mapping.all_mapped(3, result))
        with pytest.raises(Refused, match="'broken'"):
            interleave([way], 1)

    def test_a_run_that_keeps_all_is_refused(self) -> None:
        plan = keeping.chain(keeping.passed_on, 3)
        with pytest.raises(Refused, match="it should keep one output, of node 3"):
            keeping.peak_row("s", "keeps", plan, flow.run)
        assert keeping.peak_row("s", "frees", plan, lambda p: flow.run(p, config=keeping.TARGETS)).verdict


TINY_DATA = data.Effort(
    sizes=(10, 20), stores=2, rounds=2, reads=5, read_rounds=2, run_rounds=2, encoded=5,
    cost=data_cost.Effort(rounds=2, held=50), cases=harness.Effort(rounds=1, sample=0.0),
    threads=data_threads.Effort(seconds=0.001, rounds=2, longest=0.001, completions=10, completion_rounds=2),
)  # fmt: skip


class Forgetful:
    """A store that loses every tenth call of one operation."""

    def __init__(self, operation: str) -> None:
        self.data, self.calls = flow.WorkflowData(), 0
        setattr(self, operation, lambda *args: self.sometimes(operation, *args))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.data, name)

    def __len__(self) -> int:
        return len(self.data)

    def sometimes(self, operation: str, *args: Any) -> None:
        self.calls += 1
        if self.calls % 10:
            getattr(self.data, operation)(*args)


class TestData:
    def test_the_whole_suite_end_to_end(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        monkeypatch.setattr(data, "QUICK", TINY_DATA)
        monkeypatch.setattr(data_cost, "child", lambda _, *arguments: data_cost.answer(*map(str, arguments)))
        monkeypatch.setattr(data_memory, "run", lambda effort: iter([[Row("matrix", "strategies", "us", [1.0])]]))
        file = tmp_path / "rows.json"
        assert main(["data", "--quick", "--json", str(file)]) == 0
        printed = capsys.readouterr().out
        for text in ("sampled / off", "memory=arena", "10 set, 10 get", "low_memory: small records held",
                     "first write after a snapshot, 20 keys", "msgpack: WorkflowData", "inside a run, counting",
                     "1,000 nodes, data=store", "16 threads on one store", "tasks, locked=True", "matrix"):  # fmt: skip
            assert text in printed
        rows = {row["label"]: row for row in json.loads(file.read_text())["rows"]}
        assert rows["metrics=off"]["target"]["at_most"] == 2.5
        assert all(preset in rows for preset in stores.PRESETS)

    def test_one_section_in_a_process_of_its_own(self) -> None:
        samples = data_cost.timed("reads", ["default", "memory=slots metrics=off"], TINY_DATA.cost)
        assert {kind: len(found) for kind, found in samples.items()} == {"default": 2, "memory=slots metrics=off": 2}

    @pytest.mark.parametrize("workload", ["pairs", "reads", "texts"])
    def test_a_store_that_forgets_is_refused(self, workload: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(data_cost, "made", lambda kind: Forgetful("set"))
        with pytest.raises(Refused, match="'default'"):
            interleave([data_cost.way(workload, "default")], 1)
        with pytest.raises(Refused, match="it does not hold what was set"):
            data_cost.held("default", "texts", 50)

    def test_a_restore_that_does_nothing_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(data.Stores, "restore", lambda stores: stores.held)
        with pytest.raises(Refused, match="'restore.*, 10 keys'"):
            interleave(data.whole_ways(10, 2), 1)

    def test_a_lost_update_is_refused(self) -> None:
        with pytest.raises(Refused, match="the total is .* after .* increments"):
            data_threads.together(Forgetful("increment"), 0.001)
        result = flow.run(data_threads.completing("tasks", 5))
        assert data_threads.nothing_lost(5, result)
        result.data.update("nodes", lambda nodes: nodes[1:])
        assert not data_threads.nothing_lost(5, result)

    def test_every_setting_has_a_name(self) -> None:
        assert stores.config_of("locked=True metrics=off") == flow.DataConfig(locked=True, metrics="off")
        assert stores.config_of("low_memory").memory == "arena"
