"""The rows beside AI Workflow Engine's: they do their work, and are refused if not; arrivals by the clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from itertools import count
from typing import Any

import pytest
from conftest import VirtualLoop

import flow
from flow_bench.harness.contender import Refused, expect
from flow_bench.harness.logs import unwritten
from flow_bench.harness.rows import BELOW, Identity, Row, of_calls
from flow_bench.micro import measuring, test_node
from flow_bench.micro.case import Case
from flow_bench.originals.page import shown
from flow_bench.originals.table import Ours, source
from flow_bench.report import tables
from flow_bench.session.passes import merged
from flow_bench.suites.load import live, rate, recovery, soak
from flow_bench.suites.load.rate import Arrivals, Watched

SOURCE = source("rust")
pytestmark = pytest.mark.usefixtures("frozen")

TINY = measuring.Effort(rounds=1, sample=0.0, each_rounds=measuring.EACH, quick=True)
ON_TIME = Watched(100, 100.0, 10_000, 11_000, [(20.0 + k, 30_000_000 + 1_000 * k) for k in range(101)], peak=32.0)


def virtually(work: Callable[[], Any]) -> Any:
    """Run an async function on virtual time: nothing waits."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work())


class TestSource:
    printed = {original.name: original.printed for table in SOURCE.tables for original in table.rows}

    def test_every_row_of_the_original_is_there_with_its_figures(self) -> None:
        assert self.printed.items() >= {
            "requests": "15,000+ requests/s",
            "nodes": "sub-millisecond",
            "concurrent workflows": "1,000+",
            "memory": "under 100 MB baseline",
            "small payload (256 B)": "18,432 requests/s, P50 4.2 ms, P95 8.7, P99 12.3",
            "medium (1 KB)": "15,678 requests/s, P50 5.1 ms, P95 10.2, P99 15.6",
            "large (4 KB)": "12,345 requests/s, P50 6.8 ms, P95 13.4, P99 19.8",
            "no keep-alive": "8,765 requests/s, P50 10.2 ms, P95 18.9, P99 28.4",
            "simple compute": "mean 0.082 ms, P95 0.124, P99 0.189, below 1 ms: yes",
            "JSON transform": "mean 0.234 ms, P95 0.412, P99 0.687, below 1 ms: yes",
            "router": "mean 0.156 ms, P95 0.289, P99 0.445, below 1 ms: yes",
            "parallel (4 nodes)": "mean 0.678 ms, P95 0.987, P99 1.234, below 1 ms: yes",
            "idle": "baseline 45 MB, peak 45 MB, growth 0 MB/hour",
            "100 workflows/s": "baseline 78 MB, peak 124 MB, growth 2.3 MB/hour",
            "1,000 workflows/s": "baseline 156 MB, peak 289 MB, growth 8.7 MB/hour",
        }.items()
        asked = [name for name in self.printed if name.partition(":")[0] in ("API", "nodes", "workflows")]
        assert len(asked) == 3 + 1 + 4 + 4  # "nodes" is a target too

    def test_every_row_has_one_of_ours(self) -> None:
        assert [one.name for table in SOURCE.tables for one in table.rows if not one.ours] == []

    def test_each_of_ours_is_measured_by_its_command(self) -> None:
        known: dict[Identity, set[str]] = {}
        for suite in ("node", "workflow"):
            for test, cases in measuring.tables_of(suite, quick=True):
                for case in cases:
                    known[suite, case.section, case.label, case.size, case.series] = {test, case.section}
        for row in (*paced_rows(), *recovery_rows(), *live_rows()):
            known["workflow", row.section, row.label, row.nodes, ""] = {row.section}
        elsewhere = ("api", "ai")  # test_bench_api.py, test_bench_ai.py
        ours = [one for _, one in SOURCE.rows() if one.suite not in elsewhere]
        assert len(ours) > 30
        assert [one for one in ours if one.only not in known.get(one.identity, ())] == []

    def test_one_operation_has_as_many_nodes_as_it_says(self) -> None:
        cases = {case.label: case for _, cases in measuring.tables_of("node", quick=True) for case in cases}
        ours = [one for _, one in SOURCE.rows()]
        assert {(one.label, one.times) for one in ours if one.suite == "node"} == {
            (one.label, cases[one.label].per) for one in ours if one.suite == "node"
        }


@cache
def measured_rows() -> dict[str, Row]:
    """Not a fixture: pytest cannot run another session while it sets one up."""
    wanted = ["speed_up", "error_handling"]
    return {row.label: row for rows in measuring.measure("node", TINY, wanted) for row in rows}


def test_the_page_tells_what_the_original_asks_for() -> None:
    figures = {"mean": 80.0, "p95": 90.0, BELOW: 0.997, "speed_up": 3.8, "overhead": 12.0}
    text = shown(Ours("node", "kinds", "node", "l", times=5), Row("node", "l", "us", [70.0], figures=figures))
    assert text == (
        "350 us, mean 400 us, P95 450 us, overhead 60.0 us, below 1 ms: 99.7%, 3.80 times as fast as one after another"
    )


def paced_rows() -> list[Row]:
    every = [Watched(one, 100.0, 100 * one, 120 * one, ON_TIME.points) for one in rate.RATES]
    alive = Row(rate.SECTION, f"{rate.ALIVE:,} workflows alive at once: resident", "MB")
    return [alive, *(row for one in every for row in rate.rows_of(one))]


def recovery_rows() -> list[Row]:
    return [Row(recovery.SECTION, way.label, "us") for way in recovery.WAYS]


def live_rows() -> list[Row]:
    burst = live.Burst([1.0, 2.0], 0.0, 1.0)
    counts = live.Effort().counts
    return [row for one in counts for row in live._completion_rows({way.label: [burst] for way in live.WAYS}, one)]


class TestNodes:
    def cases(self, *tests: str) -> dict[str, Case]:
        tables_of = measuring.tables_of("node", quick=True)
        return {case.label: case for test, cases in tables_of for case in cases if test in tests}

    @pytest.mark.parametrize(("table", "nodes"), [("speed_up", "four"), ("error_handling", "one")])
    def test_every_case_does_its_work_and_is_refused_if_it_does_not(self, table: str, nodes: str) -> None:
        other = getattr(test_node, nodes)(lambda *before: 0)
        for case in self.cases(table).values():
            operation = case.make()
            with unwritten():
                raw = asyncio.run(operation()) if case.is_async else operation()
            assert case.check(raw) is None
            assert case.check(flow.run(other) if isinstance(raw, flow.Result) else 0)

    def test_a_node_that_was_not_run_is_refused(self) -> None:
        case = self.cases("speed_up")["4 nodes that wait 1 ms, at once"]
        only_some = flow.run(test_node.four(test_node.succeeds), targets=["part0"])
        assert "(1, None) where (5, " in str(case.check(only_some))

    def test_a_fallback_that_was_not_needed_is_refused(self) -> None:
        case = self.cases("error_handling")["raises: fallback"]
        assert "(-1, 1, False) where (-1, 1, True)" in str(case.check(flow.run(test_node.one(lambda: -1))))

    def test_speed_up_is_over_the_row_before(self) -> None:
        rows = measured_rows()
        alone, at_once = (rows[f"4 nodes that wait 1 ms, {how}"] for how in ("one after another", "at once"))
        assert at_once.figures["speed_up"] == alone.figure / at_once.figure  # type: ignore[operator]
        assert "speed_up" not in alone.figures

    def test_overhead_is_above_the_node_that_returns(self) -> None:
        rows = measured_rows()
        plain, retried = rows["returns"], rows["raises, then returns: retry"]
        assert retried.figures["overhead"] == retried.figure - plain.figure  # type: ignore[operator]
        assert "overhead" not in plain.figures

    def test_a_wait_of_1_ms_is_never_below_it(self) -> None:
        assert measured_rows()["4 nodes that wait 1 ms, at once"].figures[BELOW] == 0.0


class TestBelow:
    """The column "below 1 ms"."""

    @staticmethod
    def shown(share: float | None) -> str:
        figures = {} if share is None else {BELOW: share}
        text = tables.table([
            Row("s", "some", "us", [1.0] * 10, each=True, figures=figures),
            Row("s", "all", "us", [1.0] * 10, each=True, figures={BELOW: 1.0}),
        ])  # fmt: skip
        _, header, row, _ = text.splitlines()
        end = header.index("below 1 ms") + len("below 1 ms")
        return row[end - len("below 1 ms") : end].strip()

    @pytest.mark.parametrize(
        ("share", "shown"),
        [(1.0, "yes"), (0.997, "99.7%"), (0.99999, "99.9%"), (0.00001, "0.1%"), (0.0, "no"), (None, "")],
    )
    def test_all_some_and_none(self, share: float | None, shown: str) -> None:
        assert self.shown(share) == shown

    def test_it_is_whole_calls_in_seconds_that_count(self) -> None:
        figures = of_calls([0.0009, 0.001, 0.0011, 0.0002], [90.0, 100.0, 110.0, 20.0])  # us, a tenth of a call
        assert figures[BELOW] == 0.5
        assert (figures["mean"], figures["p50"], figures["p99"]) == (80.0, 90.0, 110.0)

    def test_rows_of_single_calls_have_it(self) -> None:
        rows = [row for rows in measuring.measure("node", TINY, ["patterns"]) for row in rows]
        assert all(0 < row.figures[BELOW] <= 1 for row in rows)

    def test_one_slow_call_in_one_pass_of_many_is_not_lost(self) -> None:
        passes = [[Row("s", "l", "us", [1.0], figures={BELOW: share}).to_dict()] for share in (1.0, 1.0, 0.9)]
        assert merged(passes)[0]["figures"][BELOW] == pytest.approx(0.9667, abs=1e-4)

    def test_other_rows_have_no_such_column(self) -> None:
        assert "below" not in tables.table([Row("s", "l", "us", [1.0])])


class TestRecovery:
    @pytest.mark.parametrize("way", recovery.WAYS, ids=lambda way: way.label)
    def test_every_way_recovers(self, way: recovery.Way) -> None:
        with unwritten():
            trials = asyncio.run(way.trials(2))
        assert len(trials) == max(2, way.at_once)
        assert all(trial.seconds > 0 for trial in trials)

    def test_a_workflow_that_never_fails_is_refused(self) -> None:
        way = replace(recovery.WAYS[1], make=partial(recovery.with_flow, 0, retry=recovery.RETRY))
        with pytest.raises(Refused, match="workflow 0 failed 0 times where it was to fail 1 times"):
            asyncio.run(way.trials(1))

    def test_a_fallback_in_place_of_a_second_attempt_is_refused(self) -> None:
        way = replace(recovery.WAYS[1], make=partial(recovery.with_flow, fallback=recovery.STAND_IN))
        with unwritten(), pytest.raises(Refused, match="went on with -1 where 1 was to stand"):
            asyncio.run(way.trials(1))

    def test_every_workflow_is_a_sample(self) -> None:
        rows = asyncio.run(recovery.rows_of(recovery.WAYS[:2], recovery.Effort(rounds=2, workflows=3)))
        assert [(row.label, len(row.samples), row.each) for row in rows] == [
            (way.label, 6, True) for way in recovery.WAYS[:2]
        ]
        assert all({"mean", "p50", "p95", "p99", BELOW} <= row.figures.keys() for row in rows)


class TestArrivals:
    def test_a_late_timer_makes_no_other_workflow_late(self) -> None:
        now, begun = 50.0, []

        async def sleep(seconds: float) -> None:
            nonlocal now
            now += seconds + 0.0007 if seconds else 0.0

        arrivals = Arrivals(100, lambda: now, sleep)
        asyncio.run(arrivals(200, lambda number: begun.append((number, now)), 50.0))
        assert [number for number, _ in begun] == list(range(1, 201))
        assert [at for _, at in begun[:3]] == pytest.approx([50.0, 50.0107, 50.0207])
        assert begun[-1][1] == pytest.approx(50.0 + 1.99 + 0.0007)  # a sleep for each would be 0.14 s late by now
        assert arrivals.latest == pytest.approx(0.0007)

    def test_after_a_pause_those_that_are_due_begin_at_once(self) -> None:
        now, begun = 0.0, []

        async def sleep(seconds: float) -> None:
            nonlocal now
            now += seconds

        def begin(number: int) -> None:
            nonlocal now
            begun.append(now)
            now += 0.035 if number == 2 else 0.0

        asyncio.run(Arrivals(100, lambda: now, sleep)(7, begin, 0.0))
        assert begun == pytest.approx([0.0, 0.01, 0.045, 0.045, 0.045, 0.05, 0.06])

    def test_a_timer_that_fires_early_begins_nothing(self) -> None:
        now, begun = 0.0, []

        async def sleep(seconds: float) -> None:
            nonlocal now
            now += max(seconds / 2, 1e-6)

        asyncio.run(Arrivals(10, lambda: now, sleep)(3, lambda number: begun.append(now), 0.0))
        assert all(at >= k / 10 for k, at in enumerate(begun))


class TestRate:
    @staticmethod
    def watched(per_second: int, made: flow.Plan | None = None, seconds: float = 2.0) -> Watched:
        with unwritten():
            found: Watched = virtually(lambda: rate.watch(per_second, 0.5, seconds, 0.1, made))
        return found

    def test_a_steady_rate_is_reached(self) -> None:
        found = self.watched(200)
        assert (found.whole, found.reached) == (500, pytest.approx(200, rel=0.02))
        assert len(found.points) == pytest.approx(20, abs=2)
        assert found.points[0][1] > 10e6
        assert found.peak > 10

    def test_an_idle_process_begins_nothing(self) -> None:
        found = self.watched(0)
        assert (found.whole, found.ended, found.seconds) == (0, 0, pytest.approx(2.0, abs=0.01))
        labels = [row.label for row in rate.rows_of(found)]
        assert labels == ["idle: baseline", "idle: peak", "idle: growth"]

    def test_a_rate_that_is_not_reached_has_no_figures(self) -> None:
        def slow(number: int) -> int:
            asyncio.get_running_loop().jumping.time += 0.02  # type: ignore[attr-defined]  # it computes for 20 ms
            return number

        found = self.watched(100, slowed(slow))
        rows = rate.rows_of(found)
        assert found.whole == 250
        assert [row.figure for row in rows[:-1]] == [None] * 3
        assert rows[-1].label == "100 workflows/s: reached"
        assert rows[-1].figure == pytest.approx(50, rel=0.1)
        assert all(row.note.startswith("n/a: 100 workflows/s were to be reached, and ") for row in rows)

    def test_a_dropped_workflow_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        execute, calls = flow.execute, count()

        async def lossy(*args: Any, **more: Any) -> Any:
            if next(calls) == 42:
                asyncio.current_task().cancel()  # type: ignore[union-attr]
                await asyncio.sleep(0)
            return await execute(*args, **more)

        monkeypatch.setattr(flow, "execute", lossy)
        with pytest.raises(Refused, match="of 250 workflows 224 succeeded and 25 failed"):
            self.watched(100)

    def test_a_wrong_output_is_refused(self) -> None:
        with pytest.raises(Refused, match="workflow 1 ended as"):
            self.watched(100, slowed(lambda number: number + 1))

    def test_growth_is_that_of_an_hour(self) -> None:
        rows = {row.label: row for row in rate.rows_of(ON_TIME)}
        growth = rows["100 workflows/s: growth"]
        assert growth.figure == pytest.approx(3.6)  # 1,000 bytes a second
        assert growth.note == "extrapolated from 100 s: 30.0 MB, then 30.1 MB"
        assert rows["100 workflows/s: baseline"].figure == 30.0
        assert rows["100 workflows/s: baseline"].verdict.upper() == "PASS"
        assert rows["100 workflows/s: peak"].figure == 32.0

    def test_one_object_left_by_each_workflow_is_a_thousand_blocks(self) -> None:
        assert rate.rows_of(replace(ON_TIME, blocks=5_000))[2].figures == {rate.BLOCKS: 1_000.0}
        left: list[object] = []

        def leave(number: int) -> int:
            left.append([None] * 100)
            return number

        kept = self.watched(200, slowed(leave), seconds=10.0)
        assert kept.blocks > kept.ended // 2 > 900
        assert self.watched(200, seconds=10.0).blocks < 900

    def test_a_pause_makes_a_crowd(self) -> None:
        def pause(number: int) -> int:
            asyncio.get_running_loop().jumping.time += 0.5 if number == 150 else 0.0  # type: ignore[attr-defined]
            return number

        assert self.watched(100, slowed(pause)).crowd >= 50
        assert self.watched(100).crowd < 5

    def test_seconds_tell_no_growth(self) -> None:
        growth = rate.rows_of(replace(ON_TIME, points=ON_TIME.points[:50]))[2]
        assert growth.figure is None
        assert growth.note.startswith("n/a: it takes a minute to tell, and these were 49.0 s")

    def test_a_baseline_above_the_target_misses_it(self) -> None:
        heavy = replace(ON_TIME, points=[(at, size + 80_000_000) for at, size in ON_TIME.points])
        assert rate.rows_of(heavy)[0].verdict.upper() == "MISS"

    def test_all_alive_at_once(self) -> None:
        assert asyncio.run(rate.alive(3)) > 10
        with pytest.raises(Refused, match="0 of 3 workflows were alive in their sixth node"):
            asyncio.run(rate.alive(3, nodes=230))  # which the loop does not turn often enough to reach

    def test_every_rate_has_a_process_of_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = []

        def child(module: str, *arguments: Any) -> Any:
            asked.append((module, *arguments))
            if arguments[0] == "alive":
                return 33.0
            per_second = arguments[1]
            return {**vars(ON_TIME), "rate": per_second, "ended": 100 * per_second}

        monkeypatch.setattr(rate, "child", child)
        rows = rate.run(rate.QUICK)
        assert len({row.identity for row in rows}) == len(rows) == 3 + 4 + 4 + 1
        assert asked[0] == (rate.MODULE, "alive", rate.ALIVE)
        assert sorted(asked[1:], key=lambda one: one[2]) == [
            (rate.MODULE, "watch", one, "0.5", str(rate.QUICK.seconds), "0.05") for one in rate.RATES
        ]

    def test_the_child_prints_what_it_watched(self) -> None:
        found = rate._watched_in_child(rate.Effort(warm=0.05, seconds=0.1, every=0.02), 50)
        assert (found.rate, found.whole) == (50, 7)
        assert found.points[0][1] > 10_000_000


def slowed(number: Callable[[int], int]) -> flow.Plan:
    """The soak's workflow, whose number a function is asked for first."""
    dag = flow.Dag("slowed")
    dag.add("asked", lambda number: number_of(number))
    number_of = number

    async def checked(asked: int) -> int:
        if not asked % soak.EVERY:
            raise soak.Refusal(f"workflow {asked}")
        return asked

    dag.node(checked)
    dag.add("doubled", lambda checked: 2 * checked)
    dag.add("stored", lambda doubled: doubled)
    dag.add("beside", partial(asyncio.sleep, rate.WAIT))
    return dag.compile()


def test_records_are_made_and_written_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    with unwritten():
        flow.run(test_node.one(test_node.fails, fallback=1))
    assert not caplog.records
    flow.run(test_node.one(test_node.fails, fallback=1))
    assert len(caplog.records) == 1


def test_what_stands_beside_nothing_has_no_figure() -> None:
    bench = measuring.Bench(TINY)
    case = Case("l", lambda: list, expect([]), section="s", speed_up_over="gone", overhead_over="gone")
    assert bench._beside(case, Row("s", "l", "us", [1.0])) == {}
