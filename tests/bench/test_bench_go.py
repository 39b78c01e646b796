"""The tables of Flow Orchestrator: every row is there, has a row here that exists, and that is refused without work."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from conftest import DATA
from given import given_samples, measured

import flow
from flow_bench.harness.contender import Refused
from flow_bench.harness.interleave import Samples
from flow_bench.harness.rows import Identity
from flow_bench.micro import measuring, test_allocation, test_data
from flow_bench.micro.case import Case
from flow_bench.originals.table import Original, Ours, source
from flow_bench.suites.engine import concurrency
from flow_bench.suites.load import workflow
from flow_bench.suites.store import data

SOURCE = source("go")
PRINTED = [
    line.split() for line in (DATA / "flow_orchestrator.txt").read_text("utf-8").splitlines() if line[:1] != "#"
]
MEASURED = [
    *[f"{name}/Size_{size}" for name in ("NodeStatus", "SnapshotAndRestore") for size in (10, 100, 1_000)],
    *[f"Serialization/Workflow_{n}Nodes/{way}" for n in (10, 100, 1_000) for way in ("JSON_Save", "JSON_Load")],
    *[f"WorkflowDataArenaComparison/Size_{size}/ArenaCustomBlock" for size in (100, 1_000)],
    "FocusedConcurrency/HighContention",
    *[
        f"RealWorldScenarios/{name}"
        for name in ("E-CommerceCheckout", "ETLDataProcessing", "APIOrchestration", "ApprovalProcess")
    ],
]
"""In the code of its benchmarks, without a figure in their analysis."""
COUNTED = {"locks taken: one by one", "locks taken: batched"}
"""Rows of contention that are counted and not timed."""
MICRO = ("allocation", "dag", "data", "scenarios", "workflow")
ROWS = {row.name: row for table in SOURCE.tables for row in table.rows}
OURS = list(SOURCE.rows())


def once(case: Case) -> None:
    operation = case.make()
    case.refuse_unless_done(asyncio.run(operation()) if case.is_async else operation())


def cases_of(suite: str, *tests: str) -> list[Case]:
    """Those of these tests."""
    tables = dict(measuring.tables_of(suite, True))
    return [case for test in tests for case in tables[test]]


def refused(cases: Sequence[Case], match: str, times: int = 1) -> None:
    """Check that each is refused, by its last call of so many at the latest."""
    assert cases
    for case in cases:
        with pytest.raises(Refused, match=match):
            for _ in range(times):
                once(case)


# -- the original's rows ---------------------------------------------------------------------


class TestRows:
    def test_every_printed_row_is_there_with_its_figures(self) -> None:
        assert len(PRINTED) == 66
        for name, _, *figures in PRINTED:
            assert ROWS[name].printed.replace(",", "").split() == figures, name

    def test_so_is_every_row_that_is_only_measured_and_no_other(self) -> None:
        unprinted = {name for name, row in ROWS.items() if row.printed == "no figure is printed"}
        assert unprinted == {f"Benchmark{name}-10" for name in MEASURED}
        assert unprinted.isdisjoint(name for name, *_ in PRINTED)
        assert len(ROWS) == len(PRINTED) + len(MEASURED)

    def test_names_differ(self) -> None:
        assert len(ROWS) == sum(len(table.rows) for table in SOURCE.tables)

    def test_every_row_has_one_here(self) -> None:
        assert all(row.ours for row in ROWS.values())

    def test_rows_that_execute_nothing_are_told(self) -> None:
        for table in SOURCE.tables:
            names = {row.name.split("/")[0] for row in table.rows}
            if names == {"BenchmarkScalability"}:
                assert "These rows of the original execute nothing" in table.note
            elif names == {"BenchmarkFocusedConcurrency"}:
                assert table.note.startswith("No engine code runs")
            elif names == {"BenchmarkWorkflowDataArenaComparison"}:
                assert "the standard store never is" in table.note
        for name in ("ReadOptimized", "HighConcurrency"):
            assert "not in that version's code" in ROWS[f"BenchmarkWorkflowDataConfigurations/{name}_Size_10-10"].does

    @pytest.mark.parametrize(
        "words",
        [
            "Pre-allocate", "workflow caching", "topology-aware", "specialized", "10-20%", "2x logical cores",
            "adaptive concurrency", "workflow importance", "incremental", "500+ nodes", "<100 nodes",
            "interning for all", "arena reset", "direct goroutines", "caching dependency resolution",
        ],
    )  # fmt: skip
    def test_every_recommendation_is_answered(self, words: str) -> None:
        (answer,) = [answer for advice, answer in SOURCE.advice if words in advice]
        assert answer


# -- the rows here ---------------------------------------------------------------------------


def cases_by_identity() -> dict[Identity, tuple[str, Case]]:
    found: dict[Identity, tuple[str, Case]] = {}
    for suite in MICRO:
        for test, cases in measuring.tables_of(suite, False):
            for case in cases:
                found[suite, case.section, case.label, case.size, case.series] = test, case
    return found


CASES = cases_by_identity()


class TestOurs:
    @pytest.mark.parametrize(
        ("row", "ours"), [pair for pair in OURS if pair[1].suite in MICRO], ids=lambda one: getattr(one, "name", "")
    )
    def test_a_micro_row_exists_under_its_command(self, row: Original, ours: Ours) -> None:
        test, case = CASES[ours.identity]
        assert ours.only == test
        assert not case.missing

    def test_the_sections_can_be_chosen(self) -> None:
        sections = {"data": data.SECTIONS, "workflow": workflow.SECTIONS, "concurrency": concurrency.SECTIONS}
        for _, ours in OURS:
            assert ours.only in sections.get(ours.suite, (ours.only,))

    def test_all_the_others_are_of_the_concurrency_suite(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def at_once(contenders: Sequence[Any], *_: Any, **__: Any) -> Samples:
            return given_samples({one.label: [1.0] for one in contenders})

        monkeypatch.setattr(concurrency, "interleave_on_loop", at_once)
        tiny = concurrency.Effort(rounds=1, large_rounds=1, contention_rounds=1)
        found = {("concurrency", *row.identity[1:]) for table in concurrency.run(tiny) for row in table}
        wanted = {ours.identity for _, ours in OURS if ours.suite not in MICRO}
        assert {identity[2] for identity in wanted - found} <= COUNTED

    @pytest.mark.parametrize("suite", ["dag", "data", "allocation", "workflow"])
    def test_a_figure_times_its_number_is_one_operation(self, suite: str) -> None:
        single = ("keys", "single", "status_tracking", "status_reading")  # one of what the figure is per
        for row, ours in OURS:
            if ours.suite == suite and ours.only not in single:
                assert ours.times == CASES[ours.identity][1].per, row.name


# -- the new rows do their work, and are refused without it ----------------------------------


ALLOCATION = [case for _, cases in measuring.tables_of("allocation", True) for case in cases]
NEW = [
    *ALLOCATION, *cases_of("data", "configurations", "arena", "saved"), *cases_of("workflow", "scalability", "workers"),
    *[case for case in cases_of("dag", "definition", "topologies") if "then compile" in case.label],
]  # fmt: skip


def test_rows_are_distinct() -> None:
    times = Counter((case.section, case.label, case.size, case.series) for case in NEW)
    assert set(times.values()) == {1}


@pytest.mark.parametrize("case", [case for case in NEW if case.size < 10_000], ids=lambda case: case.name)
def test_a_case_does_its_work_twice(case: Case) -> None:
    once(case)
    once(case)


def test_allocation_is_a_suite() -> None:
    (rows,) = measuring.measure("allocation", measuring.Effort(rounds=1, sample=0.0), ["reset"])
    assert {row.suite for row in rows} == {"allocation"}
    assert [row.nodes for row in rows] == [10, 10, 100, 100, 1_000, 1_000]
    assert all(row.figures["bytes"] > 0 for row in rows)


class TestAllocation:
    def test_bytes_that_are_not_written_or_not_made_are_refused(self) -> None:
        for case in cases_of("allocation", "single"):
            number, right = case.make()()
            assert (number, right) == (case.per, True)
            for wrong in ((number - 1, True), (number, False)):
                with pytest.raises(Refused, match="where"):
                    case.refuse_unless_done(wrong)
        assert test_allocation.make_plain(8, 2, bytes(8)) == (2, False)
        assert test_allocation.copy_plain(bytearray(8), 2, b"\x01" * 8) == (2, False)

    def test_an_arena_that_keeps_other_bytes_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        add = flow.memory.Arena.add
        monkeypatch.setattr(flow.memory.Arena, "add", lambda self, given: add(self, bytes(len(given))))
        arenas = [case for case in cases_of("allocation", "single") if case.label == test_allocation.ADD]
        refused(arenas, r"it left \(\d+, False\) where")
        refused(cases_of("allocation", "reset"), "the last record is not what was added")

    def test_an_arena_that_keeps_nothing_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(flow.memory.Arena, "add", lambda self, given: 0)
        refused(cases_of("allocation", "reset"), "the arena holds 0 records under 1 handles")

    def test_an_arena_that_is_not_reset_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(flow.memory.Arena, "reset", lambda self: None)
        reset = [case for case in cases_of("allocation", "reset") if case.label == test_allocation.RESET]
        refused(reset, "the arena holds", times=2)

    def test_strings_that_are_not_interned_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def copied(text: str) -> str:
            return "".join(list(text))

        handles = iter(range(1, 10_000))
        pool, strings = flow.memory.StringPool, flow.memory.ArenaStrings
        monkeypatch.setattr(pool, "intern", lambda self, text: copied(text))
        monkeypatch.setattr(pool, "intern_many", lambda self, texts: [copied(text) for text in texts])
        monkeypatch.setattr(sys, "intern", copied)
        monkeypatch.setattr(strings, "add", lambda self, text: next(handles))
        monkeypatch.setattr(strings, "add_many", lambda self, texts: [next(handles) for _ in texts])
        monkeypatch.setattr(strings, "get", lambda self, handle: "another")
        cases = cases_of("allocation", "interning")
        assert len(cases) == 7
        refused(cases, "of 100 strings were not interned")

    def test_half_of_the_strings_are_repeated(self) -> None:
        given = Counter(test_allocation.texts())
        assert sum(given.values()) == 100
        assert sum(times for times in given.values() if times > 1) == 50

    def test_a_name_that_is_not_kept_is_refused(self) -> None:
        for case in cases_of("allocation", "room")[1:3]:
            index, kept = case.make()()
            with pytest.raises(Refused):
                case.refuse_unless_done((index, kept[:-1]))
            index.popitem()
            with pytest.raises(Refused):
                case.refuse_unless_done((index, kept))


def forget(monkeypatch: pytest.MonkeyPatch, method: str, instead: Callable[..., Any]) -> None:
    """Replace a method of every kind of store that the rows use."""
    configs = [
        flow.DataConfig(**settings) for settings in (*test_data.CONFIGURATIONS.values(), {"metrics": "timing"})
    ]
    for kind in {type(flow.WorkflowData(config)) for config in configs}:
        monkeypatch.setattr(kind, method, instead)


class TestStore:
    def test_a_store_that_forgets_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        forget(monkeypatch, "set", lambda self, key, value: None)
        refused(cases_of("data", "configurations"), "it left")
        refused([case for case in cases_of("data", "arena") if case.series == "new"], "did not give back")

    def test_bytes_that_lack_a_value_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(flow.WorkflowData, "to_json", lambda self: b"{}")
        refused(cases_of("data", "configurations"), "it left")
        refused(
            [case for case in cases_of("data", "saved") if "to_json" in case.label or case.label == test_data.BACK],
            "it left {} where",
        )

    def test_a_status_that_is_not_set_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(flow.plan.StatusTracker, "set", lambda self, name, status: None)
        refused(cases_of("data", "configurations"), "it left")
        refused(cases_of("data", "arena"), "did not give back")

    def test_a_store_that_is_not_reset_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        forget(monkeypatch, "reset", lambda self: None)
        refused([case for case in cases_of("data", "arena") if case.series == "reset"], "the store holds")

    def test_a_snapshot_that_is_not_restored_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        forget(monkeypatch, "restore", lambda self, snapshot: None)
        refused([case for case in cases_of("data", "saved") if case.label == test_data.SNAPSHOT], "it left {} where")

    def test_a_buffer_that_lacks_a_value_is_refused(self) -> None:
        for case in cases_of("data", "saved"):
            if case.label in (test_data.ENCODED, test_data.REUSED):
                with pytest.raises(Refused, match="it left {} where"):
                    case.refuse_unless_done(bytearray(b"{}"))

    def test_a_block_is_as_large_as_there(self) -> None:
        assert [test_data.block_for(nodes) for nodes in (10, 100, 1_000)] == [8_192, 45_056, 413_696]
        (config,) = {test_data.MEMORIES["arena, custom block"](100)}
        assert (config.memory, config.block_size) == ("arena", 45_056)


class TestRuns:
    def test_a_graph_without_a_dependency_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        add = flow.Dag.add
        cases = [case for case in NEW if "then compile" in case.label and case.size <= 100]

        def forgetful(self: flow.Dag, name: str, fn: Any, *, needs: Any = ()) -> Any:
            return add(self, name, fn, needs=needs[:-1] if name == "n7" else needs)

        monkeypatch.setattr(flow.Dag, "add", forgetful)
        refused(cases, "nodes have other dependencies, n7 for one")

    def test_a_run_that_leaves_nodes_out_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        run, execute = flow.run, flow.execute
        monkeypatch.setattr(flow, "run", lambda plan, **given: run(plan, targets=[plan.names[1]], **given))
        monkeypatch.setattr(flow, "execute", lambda plan, **given: execute(plan, targets=[plan.names[1]], **given))
        chains = [case for case in cases_of("workflow", "scalability") if "known" not in case.label]
        refused([*chains, *cases_of("workflow", "workers")], "outputs are not those|nodes were known")

    def test_a_run_that_knows_nothing_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        run, execute = flow.run, flow.execute
        monkeypatch.setattr(flow, "run", lambda plan, known=None, **given: run(plan, **given))
        monkeypatch.setattr(flow, "execute", lambda plan, known=None, **given: execute(plan, **given))
        known = [case for case in cases_of("workflow", "scalability") if "known" in case.label]
        refused([*known, *cases_of("workflow", "workers")], "0 nodes were known where")

    def test_more_than_four_at_a_time_are_refused(self) -> None:
        loose = concurrency.bounded("loose", concurrency.eager_tasks, concurrency.FEW, "loose")
        with pytest.raises(Refused, match="50 tasks were under way at once, not 4"):
            asyncio.run(concurrency.check(loose))


def test_cases_run_through_the_harness() -> None:
    cases = [case for case in cases_of("workflow", "scalability") if case.size == 10]
    rows = measured("workflow", cases, measuring.Effort(rounds=1, sample=0.0))
    assert [(row.nodes, row.topology) for row in rows] == [(10, "sync")] * 2 + [(10, "async")] * 2
