"""The scenarios suite: its workflows do what they say, wait as stated, and are refused if they do not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from conftest import VirtualLoop
from given import cases_of

import flow
from flow_bench.__main__ import REFUSED, main
from flow_bench.micro import test_scenarios as scenarios
from flow_bench.micro.case import Case
from flow_bench.micro.test_scenarios import NO_WAITS, SCENARIOS, WAITS, Scenario
from flow_bench.micro.workflows import Pause, Wait, checkout, etl

pytestmark = pytest.mark.usefixtures("frozen")

each_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.label)


def execute(operation: Callable[[], Any]) -> flow.Result:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        result: flow.Result = runner.run(operation())
    return result


def broken(scenario: Scenario, node: str, fn: Callable[..., Any]) -> flow.Plan:
    """The scenario's plan with another function in one node's place."""
    plan: flow.Plan = scenario.module.build(Pause(scenario.module.WAITS, 0)).compile()
    plan._nodes.fns[plan.find(node)] = fn
    return plan


def test_rows_have_names_of_their_own() -> None:
    for quick in (True, False):
        names = [(case.section, case.label, case.size, case.series) for case in cases_of("scenarios", quick)]
        assert len(set(names)) == len(names) == 8


def test_the_rows_of_a_quick_run_are_those_of_a_long_one() -> None:
    def names(cases: list[Case]) -> list[tuple[Any, ...]]:
        return [(case.section, case.label, case.size, case.series, case.ideal) for case in cases]

    assert names(cases_of("scenarios", True)) == names(cases_of("scenarios", False))


@each_scenario
def test_a_run_does_its_work_with_and_without_waits(scenario: Scenario) -> None:
    for case in cases_of("scenarios", True):
        if case.label == scenario.label:
            assert case.check(execute(case.make())) is None


@each_scenario
def test_a_run_takes_exactly_its_critical_path_on_virtual_time(scenario: Scenario) -> None:
    plan = scenario.plan(1)

    async def run() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await flow.execute(plan, scenario.module.INPUTS)
        return loop.time() - began

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(run()) == pytest.approx(plan.critical_path().length, rel=0.02)


@each_scenario
def test_a_workflow_with_an_outcome_changed_is_refused(scenario: Scenario) -> None:
    def nothing(*_: object) -> dict[str, Any]:
        return {}

    async def nothing_later(*_: object) -> dict[str, Any]:
        return {}

    fn = nothing_later if scenario.label == "ETL" else nothing
    result = execute(partial(flow.execute, broken(scenario, "outcome", fn), scenario.module.INPUTS))
    fault = scenario.check(result)
    assert fault is not None
    assert " is None, not " in fault


def test_a_node_that_fails_though_it_should_not_is_refused() -> None:
    scenario = SCENARIOS[0]

    def fails(*_: object) -> None:
        raise ValueError("no")

    plan = broken(scenario, "net", fails)
    collect = flow.Config(on_error="collect")
    fault = scenario.check(execute(partial(flow.execute, plan, scenario.module.INPUTS, config=collect)))
    assert fault is not None
    assert "net is failed" in fault
    assert "outcome is skipped" in fault


def test_a_node_that_should_fail_and_does_not_is_refused() -> None:
    scenario = SCENARIOS[2]

    async def answers(profile: object) -> list[str]:
        return []

    fault = scenario.check(
        execute(partial(flow.execute, broken(scenario, "recommended", answers), {"token": "user:42"}))
    )
    assert fault == "recommended is completed"


def test_the_suite_refuses_a_workflow_that_loses_rows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scenarios, "SCENARIOS", SCENARIOS[1:2])
    monkeypatch.setattr(etl, "ORDERS", etl.ORDERS.rpartition("\n")[0])
    assert main(["scenarios", "--quick", "--only", NO_WAITS]) == REFUSED
    assert "ETL' is refused: rows is 101, not 102" in capsys.readouterr().err


def test_the_suite_end_to_end(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(scenarios, "SCENARIOS", SCENARIOS[3:])
    assert main(["scenarios", "--quick"]) == 0
    printed = capsys.readouterr().out
    for text in (WAITS, NO_WAITS, "approval", "critical path 31 ms"):
        assert text in printed


def test_waits_add_up() -> None:
    assert Wait(0.5).total == 0.5
    assert Wait(0.5, in_a_row=3, between=0.25).total == 2.0
    pause = Pause(checkout.WAITS, 2)
    assert (pause.cost("charge"), pause.between("charge")) == (pytest.approx(0.04), 0.008)


def test_the_totals_of_the_etl_are_those_of_a_plain_loop() -> None:
    totals = dict.fromkeys(etl.REGIONS, 0)
    for line in etl.orders_file().splitlines()[1:]:
        _, customer, amount, currency = line.split(",")
        if amount and int(customer) < 12:
            totals[etl.REGIONS[int(customer) // 4]] += int(amount) * etl.CURRENCIES[currency]
    assert totals == etl.WANTED["totals"]
