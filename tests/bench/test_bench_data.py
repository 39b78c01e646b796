"""The data suite's growing stores and runs: rows are distinct, and a store that loses something is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from given import cases_of, given_samples

import flow
from flow_bench.harness import stores
from flow_bench.harness.contender import Refused
from flow_bench.micro import measuring as harness
from flow_bench.micro.case import Case
from flow_bench.micro.measuring import tables_of
from flow_bench.suites.store import cost as data_cost
from flow_bench.suites.store import data

TINY = harness.Effort(rounds=1, sample=0.0)


def once(case: Case) -> None:
    case.refuse_unless_done(case.make()())


def first(section: str, **wanted: object) -> Case:
    cases = dict(tables_of("data", True))[section]
    return next(case for case in cases if all(getattr(case, name) == value for name, value in wanted.items()))


def test_rows_are_distinct_and_do_their_work() -> None:
    cases = cases_of("data")
    assert len({(case.section, case.label, case.size, case.series) for case in cases}) == len(cases) == 100
    for case in cases:
        once(case)


def test_all_strategies_are_used_in_both_protocols() -> None:
    pairs = {(case.label, case.series) for case in dict(tables_of("data", True))["nodes"]}
    assert pairs == {(memory, protocol) for memory in ("standard", "slots", "arena") for protocol in ("new", "reset")}


def test_they_are_sections_of_the_suite() -> None:
    effort = replace(data.QUICK, cases=TINY, sections=("keys",))
    (rows,) = data.run(effort)
    assert {row.topology for row in rows} == set(stores.PRESETS)
    assert {row.suite for row in rows} == {"data"}


@pytest.mark.parametrize("section", ["strings", "nodes"])
def test_a_store_that_is_not_reset_is_refused(section: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = first(section, series="reset")
    monkeypatch.setattr(type(flow.WorkflowData(flow.DataConfig(metrics="off"))), "reset", lambda self: None)
    with pytest.raises(Refused, match="holds"):
        once(case)


@pytest.mark.parametrize("section", ["keys", "strings", "nodes"])
def test_a_store_that_forgets_is_refused(section: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = first(section)
    kinds = {type(flow.WorkflowData(flow.DataConfig(metrics=metrics))) for metrics in ("off", "counting")}
    for kind in kinds:
        real = kind.get
        monkeypatch.setattr(
            kind, "get", lambda self, key, *default, get=real: None if key == "key:3" else get(self, key)
        )
    with pytest.raises(Refused, match="did not (give|get) back"):
        once(case)


def test_kinds_that_share_a_process_have_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def timed(workload: str, kinds: list[str], effort: data_cost.Effort) -> Any:
        return given_samples({kind: [1.0] for kind in kinds})

    monkeypatch.setattr(data_cost, "timed", timed)
    together, apart = (
        [(row.section, row.label) for table in data_cost.cost_rows(data_cost.Effort(1, 10, apart)) for row in table]
        for apart in (False, True)
    )
    assert together == apart
