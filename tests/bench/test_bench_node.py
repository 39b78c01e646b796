"""The node suite: its rows differ, its cases do their work, and what does not is refused; percentiles of calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import given
import pytest
from given import cases_of

import flow
from flow_bench.harness.contender import Refused, expect
from flow_bench.harness.rows import percentile
from flow_bench.micro import measuring as harness
from flow_bench.micro import test_node as node
from flow_bench.micro.case import Case
from flow_bench.micro.measuring import EACH

pytestmark = pytest.mark.usefixtures("frozen")

TINY = harness.Effort(rounds=1, sample=0.0, each_rounds=EACH)


def measured(cases: list[Case]) -> list[Any]:
    return given.measured("node", cases, TINY)


class TestSuite:
    def test_every_row_is_measured_and_unlike_the_others(self) -> None:
        rows = measured(cases_of("node", True))
        assert len({row.identity for row in rows}) == len(rows)
        assert all(row.figure > 0 and len(row.samples) >= EACH for row in rows)
        assert all({"mean", "p50", "p95", "p99"} <= row.figures.keys() for row in rows)

    def test_rows_do_not_depend_on_how_much_is_measured(self) -> None:
        quick, full = ([(c.section, c.label, c.size, c.series) for c in cases_of("node", q)] for q in (True, False))
        assert quick == full

    def test_every_kind_stands_beside_the_same_work_by_hand(self) -> None:
        labels = [case.label for case in cases_of("node", True)]
        by_hand = {label.removesuffix(node.BY_HAND) for label in labels if label.endswith(node.BY_HAND)}
        assert len(by_hand) == 12
        assert by_hand <= set(labels)


class TestRefusal:
    @pytest.mark.parametrize(
        "label", ["routing: dag.route, 3 branches (2 bypassed), merge", "sync compute: a hundred squares"]
    )
    def test_an_engine_that_runs_only_the_first_node(self, monkeypatch: pytest.MonkeyPatch, label: str) -> None:
        run = flow.run

        def lazy(plan: flow.Plan, inputs: Any = None, **more: Any) -> flow.Result:
            return run(plan, inputs, targets=[plan.names[0]], **more)

        monkeypatch.setattr(flow, "run", lazy)
        cases = [case for case in cases_of("node", True) if case.label == label]
        if label.startswith("sync"):  # which has no other
            assert len(measured(cases)) == 1
        else:
            with pytest.raises(Refused, match="1 of 3 nodes completed, and 0 were bypassed"):
                measured(cases)

    def test_a_node_that_returns_something_else(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(node, "choose", lambda kind: "pickup")
        with pytest.raises(Refused, match="'sent by pickup' where 'sent by express'"):
            measured([case for case in cases_of("node", True) if case.label.startswith("routing")])

    def test_a_failure_that_is_not_reported(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(node, "fails", lambda: 1)
        with pytest.raises(Refused, match="'completed'"):
            measured([case for case in cases_of("node", True) if case.label == "error path: raises, 1 node is skipped"])
        with pytest.raises(Refused, match="no RunError was raised"):
            measured([case for case in cases_of("node", True) if case.label.endswith(", RunError")])

    def test_a_retry_that_was_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(node, "fails_every_other_time", lambda: lambda: 2)
        with pytest.raises(Refused, match="1 attempts were made where 2 were to be"):
            measured([case for case in cases_of("node", True) if case.label == "retry: raises once, then returns"])


class TestEach:
    """What the harness makes of cases whose every call is a sample."""

    @staticmethod
    def row(operation: Callable[[], Any], *, is_async: bool, calls: int) -> Any:
        case = Case("l", lambda: operation, expect(1), section="s", each=True, is_async=is_async, per=2, unit="ns")
        effort = harness.Effort(rounds=1, sample=0.0, each_rounds=calls)
        return given.measured("any", [case], effort)[0]

    def test_percentiles_are_those_of_the_calls(self) -> None:
        row = self.row(lambda: 1, is_async=False, calls=25)
        assert len(row.samples) == 30  # whole rounds
        assert len(row.ratios) == 3
        assert row.figures["p50"] == percentile(row.samples, 50)
        assert row.figures["p99"] == percentile(row.samples, 99) == max(row.samples)
        assert row.figures["mean"] == pytest.approx(sum(row.samples) / 30)

    def test_async_calls_are_timed_on_the_loop_one_by_one(self) -> None:
        calls = []

        async def operation() -> int:
            calls.append(1)
            return 1

        row = self.row(operation, is_async=True, calls=20)
        assert len(calls) == 2 + 20 + 3  # two to warm up, and three to see what one allocates
        assert len(row.samples) == 20

    def test_one_wrong_call_of_many_is_refused(self) -> None:
        answers = iter([1] * 14 + [2] + [1] * 100)
        with pytest.raises(Refused, match="2 where 1"):
            self.row(lambda: next(answers), is_async=False, calls=20)
