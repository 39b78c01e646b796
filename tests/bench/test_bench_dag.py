"""The dag suite: its rows are distinct, do what they say, and refuse a graph or a Resolver that does less."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from given import cases_of, measured

import flow
from flow_bench.harness.contender import Refused
from flow_bench.micro import measuring as harness
from flow_bench.micro import test_dag as dag
from flow_bench.micro.case import Case

TINY = harness.Effort(rounds=2, sample=0.0)
SMALL = [case for case in cases_of("dag", True) if case.size <= 100]


def small(section: str) -> list[Case]:
    return [case for case in SMALL if case.section.startswith(section)]


def once(case: Case) -> None:
    case.refuse_unless_done(case.make()())


@pytest.mark.parametrize("quick", [False, True])
def test_rows_are_distinct(quick: bool) -> None:
    cases = cases_of("dag", quick)
    assert len({(case.section, case.label, case.size, case.series) for case in cases}) == len(cases) >= 80


def test_every_case_does_its_work() -> None:
    for case in cases_of("dag", True):
        once(case)


def test_cases_run_through_the_harness() -> None:
    cases = [case for case in small("resolution, per edge") if case.series == "diamond"]
    rows = measured("dag", cases, TINY)
    assert [(row.nodes, row.topology, len(row.samples)) for row in rows] == [
        (10, "diamond", 2),
        (100, "diamond", 2),
    ] * 2
    assert rows[1].note == "196 edges"
    assert all(row.ratios and row.suite == "dag" for row in rows)


def test_a_figure_is_per_edge() -> None:
    by_label = {case.label: case.per for case in small("topologies") if case.series == dag.RANDOM}
    assert by_label["compile, per node"] == 100
    assert by_label["compile, per edge"] == dag.graph(dag.RANDOM, 100).plan("sync").edge_count > 1_000


class TestResolution:
    def test_who_may_run_by_brute_force(self) -> None:
        diamond = [(), (0,), (0,), (0,), (1, 2, 3)]
        assert dag.runnable(diamond, 0) == [True, False, False, False, False]
        assert dag.runnable(diamond, 2) == [False, False, True, True, False]
        assert dag.runnable(diamond, 4) == [False, False, False, False, True]

    @pytest.mark.parametrize("nodes", [10, 100, 1_000])
    @pytest.mark.parametrize("shape", dag.RESOLVED)
    def test_it_looks_at_every_edge_once(self, shape: str, nodes: int) -> None:
        seen = [0]

        class Counted(list[int]):
            def __iter__(self) -> Iterator[int]:
                seen[0] += len(self)
                return super().__iter__()

        plan = dag.graph(shape, nodes).plan("sync", fresh=True)
        plan._nodes._successors = [Counted(successors) for successors in plan._nodes.successors]
        dag.count_down(plan)
        assert seen == [plan.edge_count]
        seen[0] = 0
        assert dag.resolve(plan) == dag.runnable(plan._nodes.dependencies, nodes // 3)
        assert seen == [sum(len(plan._nodes.successors[i]) for i in range(nodes // 3))]

    def test_a_successor_forgotten_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        done = flow.plan.Resolver.done

        def forgetful(self: flow.plan.Resolver, i: int) -> None:
            full = self.successors
            self.successors = [successors[:-1] for successors in full]
            done(self, i)
            self.successors = full

        monkeypatch.setattr(flow.plan.Resolver, "done", forgetful)
        for case in [case for case in small("resolution") if case.series != dag.RANDOM]:
            with pytest.raises(Refused, match="nodes runnable where"):
                once(case)
        with pytest.raises(Refused, match=f"contender '{small('resolution')[0].section}"):
            measured("dag", small("resolution")[:1], TINY)

    def test_a_node_ready_too_soon_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(flow.plan.Resolver, "is_runnable", lambda self, i: True)
        for case in small("resolution"):
            with pytest.raises(Refused, match="nodes runnable where"):
                once(case)

    def test_counting_down_in_another_order_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        take = flow.plan.Resolver.take
        advance = lambda self, i: -1 if i == 5 else (self.done(i), take(self))[1]
        monkeypatch.setattr(flow.plan.Resolver, "advance", advance)
        for case in small("incremental"):
            if case.label.startswith("each completed"):
                with pytest.raises(Refused, match="where"):
                    once(case)

    def test_an_added_node_forgotten_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(flow.plan.Resolver, "add", lambda self, dependencies=(): -1)
        with pytest.raises(Refused, match=r"it left \(10, 0\) where \(10, 10\) was to be"):
            once(next(case for case in small("incremental") if case.label.startswith("each taken")))


class TestDefinition:
    def test_a_dependency_left_out_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        add = flow.Dag.add

        def forgetful(self: flow.Dag, name: str, fn: Any, *, needs: Any = ()) -> Any:
            return add(self, name, fn, needs=needs[:-1] if name == "n7" else needs)

        cases = [case for case in small("definition") if case.series == "linear"]
        monkeypatch.setattr(flow.Dag, "add", forgetful)
        for case in cases:
            with pytest.raises(Refused, match="1 nodes have other dependencies, n7 for one"):
                once(case)

    def test_a_node_left_out_is_refused(self) -> None:
        work = dag.graph("linear", 10)
        assert "it made 9 nodes" in str(dag.as_in(work)(dag.graph("linear", 9).dag("sync")))

    def test_a_plan_compiled_anew_is_refused_where_the_same_one_is_to_come(self) -> None:
        (case,) = [case for case in cases_of("dag", True) if case.label == "an unchanged Dag"]
        case.refuse_unless_done(case.make()())
        with pytest.raises(Refused):
            case.refuse_unless_done(dag.graph("linear", 10).plan("sync"))


class TestStatuses:
    def test_a_status_not_set_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        set_status = flow.plan.StatusTracker.set

        def lazy(self: flow.plan.StatusTracker, name: str, status: flow.Status) -> None:
            if (name, status) != ("n3", flow.Status.COMPLETED):
                set_status(self, name, status)

        monkeypatch.setattr(flow.plan.StatusTracker, "set", lazy)
        following = [case for case in small("status") if case.label.startswith("StatusTracker.set")]
        assert len(following) == 6
        for case in following:
            with pytest.raises(Refused, match="it left 1 nodes in another status than completed"):
                once(case)
