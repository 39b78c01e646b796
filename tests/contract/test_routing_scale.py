"""Large plans that route: nothing recurses, and every step is linear (at worse than that, these take minutes)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

import flow
from flow.plan import routing
from flow.types import Status


def one() -> int:
    return 1


def routed(count: int, chosen: Any) -> flow.Dag:
    """A router that leads to ``count`` nodes."""
    dag = flow.Dag("wide")
    dag.route("router", lambda: chosen, to={i: f"n{i}" for i in range(count)})
    for i in range(count):
        dag.add(f"n{i}", one)
    return dag


def deep(count: int) -> flow.Dag:
    """A router with two ways on, of which the one not chosen is a chain."""
    dag = flow.Dag("deep")
    dag.route("router", lambda: "short", to={"short": "only", "long": "n0"})
    dag.add("only", one)
    for i in range(count):
        dag.add(f"n{i}", lambda *values: len(values), needs=[f"n{i - 1}"] if i else [])
    return dag


@pytest.mark.parametrize("on_error", ["fail_fast", "collect"])
def test_a_route_that_bypasses_all_but_one(on_error: Any) -> None:
    config = flow.Config(on_error=on_error)
    for dag in (routed(100_000, 7), deep(100_000)):
        result = flow.run(dag, config=config)
        assert result.ok
        assert result.counts[Status.COMPLETED] == 2
        assert result.counts[Status.BYPASSED] >= 99_999


@pytest.mark.long
def test_a_million_nodes_behind_a_route() -> None:
    for dag in (routed(1_000_000, 7), deep(1_000_000)):
        assert flow.run(dag).counts[Status.BYPASSED] >= 999_999


def test_a_router_that_chooses_many() -> None:
    result = flow.run(routed(50_000, list(range(0, 50_000, 2))))
    assert result.counts == {Status.COMPLETED: 25_001, Status.BYPASSED: 25_000}


def test_many_routers_that_lead_to_one_node(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at, distinct = [0], routing.distinct

    def counting(found: Iterable[int]) -> Any:
        kept = distinct(found)
        looked_at[0] += len(kept)
        return kept

    monkeypatch.setattr(routing, "distinct", counting)
    dag, count = flow.Dag("exits"), 2_000
    for i in range(count):
        dag.route(f"n{i}", lambda: "go", to={"go": f"n{i + 1}", "stop": "end"})
    dag.add(f"n{count}", one)
    dag.add("end", one, join="some")
    assert flow.run(dag).counts == {Status.COMPLETED: count + 1, Status.BYPASSED: 1}
    assert looked_at[0] < 4 * count
