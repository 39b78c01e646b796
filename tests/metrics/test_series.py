"""How many time series there are is bounded, whatever names are made at run time."""

from __future__ import annotations

import pytest

import flow
from flow.metrics import Counts, names


def run_of(counts: Counts, name: str, *nodes: str) -> None:
    dag = flow.Dag(name)
    for node in nodes:
        dag.add(node, lambda: 1)
    flow.run(dag, config=flow.Config(observers=(counts.observe,)))


def lines_of(counts: Counts) -> int:
    """The time series of workflows and nodes in the text, those of what is "other" not counted."""
    text = counts.exposition()[0].decode().splitlines()
    return len([line for line in text if 'workflow="' in line and '"other"' not in line])


@pytest.mark.parametrize("series", [1, 100, 1_000])
def test_many_nodes_and_workflows_become_other(series: int) -> None:
    counts = Counts(series=series)
    for k in range(60):
        run_of(counts, f"w{k}", *(f"n{k}" for k in range(60)))
    found = counts.snapshot()
    assert found.values[names.SERIES][()] <= series
    assert lines_of(counts) <= series
    assert sum(found.values[names.NODES].values()) == 3_600  # nothing is lost
    assert sum(found.values[names.RUNS].values()) == 60
    assert any("other" in key for key in found.values[names.NODES])
    text = counts.exposition()[0].decode().splitlines()
    assert len(text) < series + 300  # what is other has a bound too: that of all nodes, and of each workflow


def test_the_number_of_series_is_the_number_of_lines() -> None:
    counts = Counts()
    run_of(counts, "a", "x", "y")
    run_of(counts, "b", "x")
    assert lines_of(counts) == counts.snapshot().values[names.SERIES][()]


def test_many_runs_within_a_run_add_no_series() -> None:
    counts = Counts()
    inner = flow.Dag("inner")
    inner.add("inside", lambda x: x)
    dag = flow.Dag("outer")
    dag.map("each", inner, over="numbers")
    sizes = []
    for many in (1, 500):
        flow.run(dag, {"numbers": list(range(many))}, config=flow.Config(observers=(counts.observe,)))
        sizes.append(lines_of(counts))
    assert sizes[0] == sizes[1]


def test_what_is_expected_is_there_with_zeros() -> None:
    counts = Counts()
    dag = flow.Dag("rare")
    dag.add("fails", lambda: 1)
    counts.expect(dag.compile())
    values = counts.snapshot().values
    assert values[names.RUNS] == {("rare", "completed"): 0, ("rare", "failed"): 0}
    assert values[names.NODE_ERRORS] == {("rare", "fails"): 0}
    assert values[names.NODES] == {("rare", "fails", "completed"): 0, ("rare", "fails", "failed"): 0}
    assert lines_of(counts) == values[names.SERIES][()]


@pytest.mark.parametrize("series", [0, -1, True, 1.5, "many"])
def test_a_bound_is_a_number(series: object) -> None:
    with pytest.raises(flow.errors.ConfigError, match="series must be an integer of at least 1"):
        Counts(series=series)  # type: ignore[arg-type]
