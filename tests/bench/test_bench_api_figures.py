"""The API suite's own figures: the order that is priced, the memory of a service, and runs that are compared."""

from __future__ import annotations

from typing import Any

import pytest

from flow_bench.harness.rows import Measured, Row, Target
from flow_bench.report import tables
from flow_bench.session.compare import compare
from flow_bench.session.passes import merged
from flow_bench.suites.api import load, memory, order


@pytest.fixture
def by_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where wrk is not installed."""
    monkeypatch.setattr(load, "wrk", lambda: None)


class TestOrder:
    @pytest.mark.parametrize("size", [256, 1_024, 4_096])
    def test_a_request_has_the_bytes_that_are_asked_for(self, size: int) -> None:
        assert len(order.body_of(order.inputs_of(size))) == size

    @pytest.mark.parametrize("customer", ["regular customer", "somebody"])
    def test_what_is_expected_is_worked_out_without_the_workflow(self, customer: str) -> None:
        inputs = order.inputs_of(1_024, customer)
        lines = [order.Line(**line) for line in inputs["lines"]]
        result = order.run(order.order().compile(), customer, lines, inputs["note"])
        assert result["receipt"] == order.receipt_of(inputs)
        assert (result["discount"] > 0) == (customer == "regular customer")

    def test_another_answer_is_told(self) -> None:
        inputs = order.inputs_of(512)
        right: dict[str, Any] = {
            "id": "a", "status": "completed", "outputs": {"receipt": order.receipt_of(inputs)}, "errors": {},
            "counts": {"completed": 3}, "seconds": 0.1,
        }  # fmt: skip
        assert order.answer_fault(right, inputs) is None
        assert order.answer_fault(right | {"id": "", "counts": {}}, inputs) == "its answer has no right counts, id"
        assert order.answer_fault(right, order.inputs_of(600)) == "its answer has no right outputs"
        assert order.answer_fault([], inputs) == "its answer is no object"


@pytest.mark.usefixtures("by_client")
class TestMemory:
    def test_a_rate_idle_and_many_at_once(self) -> None:
        effort = memory.Effort(seconds=0.3, warm=0.2, every=0.1, rates=(0, 50), fill=20, alive=30)
        rows = {row.label: row for row in memory.run(effort)}
        assert list(rows) == [
            *[f"{what}: {row}" for what in ("idle", "50 workflows/s") for row in ("baseline", "peak", "growth")],
            "30 workflows at once: resident",
        ]
        assert rows["idle: baseline"].figure and rows["30 workflows at once: resident"].figure
        assert rows["idle: growth"].figure is None and "measure without --quick" in rows["idle: growth"].note

    def test_growth_is_of_the_seconds_that_it_says(self) -> None:
        points = [(float(at), 50_000_000 + at * 1_000) for at in range(31)]
        growth = memory.rows_of(memory.Watched(100, points, 60_000_000, 100.0))[2]
        assert growth.figure == pytest.approx(3.6)  # MB an hour
        assert growth.note == "extrapolated from 30 s: 50.00 MB, then 50.03 MB"

    def test_a_rate_that_was_not_reached_has_no_figures(self) -> None:
        rows = memory.rows_of(memory.Watched(100, [(0.0, 1), (30.0, 1)], 1, 90.0))
        assert [row.figure for row in rows] == [None] * 3
        assert {row.note for row in rows} == {"n/a: 100 workflows/s were to be reached, and 90.0 were"}

    def test_very_many_requests(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rows = {row.label: row for row in memory.long(memory.Effort(requests=200))}
        assert list(rows) == ["after the first 20", "after the last", "peak", "growth per 100,000 requests"]
        assert rows["peak"].figure and rows["after the last"].figure


class TestSaved:
    """A saved run is compared by the rows' ratios to the bare app; what is mostly the machine's is not compared."""

    def run(self, ratio: float) -> dict[str, Any]:
        rows = [
            Row("s", "l", "requests/s", [100.0], ratios=[Measured(0.5, ratio)], better="higher", suite="api"),
            Row("s", "P99", "x", [ratio], better="none", suite="api"),
        ]
        return {"machine": {}, "rows": merged([[row.to_dict() for row in rows]] * 5)}

    def test_fewer_requests_are_slower(self) -> None:
        found = compare(self.run(0.5), self.run(0.3))
        assert [(one.identity[2], one.verdict) for one in found.changes] == [("l", "slower")]
        ((identity, why),) = found.apart
        assert identity[2] == "P99" and why == "told alone: what else the machine did makes it"
        assert [one.verdict for one in compare(self.run(0.3), self.run(0.5)).changes] == ["faster"]
        assert [one.verdict for one in compare(self.run(0.5), self.run(0.43)).changes] == ["same"]

    def test_a_target_that_is_the_least(self) -> None:
        target = Target(3.0, of="figure", binding=True, least=True)
        rows = [Row("s", "l", "x", [value], target=target, better="higher") for value in (2.999, 3.0)]
        assert [row.verdict for row in rows] == ["MISS", "PASS"]
        assert str(target) == ">= 3" and tables.judged(rows[0]) == "2.9990x"
