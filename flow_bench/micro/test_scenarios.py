"""The scenarios suite: four everyday workflows (:mod:`flow_bench.micro.workflows`), on asyncio.

``waits``: with the waits that each module states, beside the critical path of these. ``no waits``: the same
functions with every wait taken out, so that what is left is their own work and the engine's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import flow
from flow_bench.micro.case import Case, table
from flow_bench.micro.workflows import Pause, api, approval, checkout, etl

WAITS, NO_WAITS = "waits", "no waits"


@dataclass(frozen=True)
class Scenario:
    """One workflow.

    :ivar module: its waits, its inputs, the Dag and what comes out.
    :ivar failing: nodes that are meant to fail; all others complete.
    """

    label: str
    module: ModuleType
    failing: frozenset[str] = frozenset()

    def plan(self, scale: float) -> flow.Plan:
        """Return the workflow with its waits times ``scale``."""
        dag: flow.Dag = self.module.build(Pause(self.module.WAITS, scale))
        return dag.compile()

    def check(self, result: flow.Result) -> str | None:
        """Say what is wrong with a run."""
        ends = {True: flow.Status.FAILED, False: flow.Status.COMPLETED}
        wrong = [f"{n} is {s}" for n, s in result.status.items() if s != ends[n in self.failing]]
        if wrong:
            return "; ".join(wrong)
        outcome, wanted = result["outcome"], self.module.WANTED
        found = [f"{k} is {outcome.get(k)!r}, not {v!r}" for k, v in wanted.items() if outcome.get(k) != v]
        return "; ".join(found) or None


SCENARIOS = (
    Scenario("e-commerce checkout", checkout),
    Scenario("ETL", etl),
    Scenario("API orchestration", api, frozenset({"recommended"})),
    Scenario("approval", approval),
)


def _case(scenario: Scenario, section: str, scale: float, **more: Any) -> Case:
    plan = scenario.plan(scale)
    run = partial(partial, flow.execute, plan, scenario.module.INPUTS)
    return Case(scenario.label, run, scenario.check, section=section, is_async=True, size=len(plan), **more)


@table
def test_waits(quick: bool) -> Iterator[Case]:
    """With their waits."""
    for one in SCENARIOS:
        ideal = one.plan(1).critical_path().length
        shape: dict[str, Any] = {"waits": True, "unit": "ms", "rounds": 9 if quick else 25, "ideal": ideal}
        yield _case(one, WAITS, 1, note=f"critical path {ideal * 1e3:.3g} ms", **shape)


@table
def test_no_waits(quick: bool) -> list[Case]:
    """Without them."""
    return [_case(one, NO_WAITS, 0) for one in SCENARIOS]
