"""Runs that nobody observes are counted as observed ones are."""

from __future__ import annotations

from typing import Any

import pytest

import flow
from flow.errors import RunError
from flow.metrics.counts import Counts
from flow.metrics.unobserved import Unobserved


def dag() -> flow.Dag:
    made = flow.Dag("d")

    @made.node
    def a(x: int) -> int:
        return x

    @made.node
    def b(a: int) -> float:
        return 1 / a

    made.add("c", lambda b: b, after="b")
    made.add("beside", lambda: 1, after="a")
    return made


def shown(counts: Counts) -> Any:
    """All that is counted, but for seconds."""
    snapshot = counts.snapshot()
    text = counts.exposition()[0].decode()
    assert snapshot
    return sorted(
        line for line in text.splitlines()
        if line.startswith("workflow_") and "_sum" not in line and "_bucket" not in line and "_created" not in line
    )  # fmt: skip


@pytest.mark.parametrize("on_error", ["fail_fast", "collect"])
def test_they_count_as_observed_ones(on_error: Any) -> None:
    pytest.importorskip("prometheus_client")
    plan = dag().compile()
    assert Unobserved.fits(plan)
    seen, unseen = Counts(), Counts()
    by_result = Unobserved(unseen, plan)
    seen.expect(plan)
    base = flow.Config(on_error=on_error)
    for x in (1, 0, 2, 0, 0, 3):
        for config in (base.replace(observers=(seen.observe,)), base.replace(timing=True)):
            try:
                result = flow.run(plan, {"x": x}, config=config)
            except RunError as error:
                result = error.result
            if config.timing:
                if result.ok:
                    by_result.completed(result._run)
                else:
                    by_result.ended(result)
    assert shown(unseen) == shown(seen)
    assert any('status="failed"' in line and not line.endswith(" 0.0") for line in shown(seen))


def test_seconds_are_those_of_the_run() -> None:
    plan, counts = dag().compile(), Counts()
    by_result = Unobserved(counts, plan)
    result = flow.run(plan, {"x": 1}, config=flow.Config(timing=True))
    by_result.completed(result._run)
    workflow = counts.workflow("d")
    assert workflow.seconds[-1] == result.wall_time and sum(workflow.seconds[:-1]) == 1
    assert {node: row[-1] for node, row in workflow.rows.items()} == dict(result.durations)
    by_result.broken()
    assert (workflow.begun, workflow.ended["failed"], workflow.going_on) == (2, 1, 0)


@pytest.mark.parametrize("what", ["retry", "map", "when", "timeout", "inner"])
def test_what_a_result_does_not_tell_enough_of(what: str) -> None:
    made = flow.Dag("d")
    if what == "map":
        made.map("m", lambda x: x, over="xs")
    elif what == "inner":
        made.add("i", dag())
    else:
        options: dict[str, Any] = {
            "retry": {"retry": flow.Retry(2)}, "when": {"when": lambda: True}, "timeout": {"timeout": 1.0},
        }[what]  # fmt: skip
        made.add("n", lambda: 1, **options)
    assert not Unobserved.fits(made.compile())
