"""``result.why``: one sentence for each way in which a node may end."""

from __future__ import annotations

from typing import Any

import pytest

import flow


def one() -> int:
    return 1


def fails() -> int:
    raise ValueError("no")


def build() -> flow.Dag:
    dag = flow.Dag("d")
    dag.add("one", one)
    dag.add("bad", fails)
    dag.add("stand_in", fails, fallback=3)
    dag.add("skipped", one, after="bad")
    dag.add("skipped_too", one, after="skipped")
    dag.add("never", one, after="one", when=lambda: False)
    dag.add("behind", one, after="never")
    dag.route("r", lambda: ["a", "b", "c", "d"], to={name: name for name in "abcdef"})
    for name in "abcdef":
        dag.add(name, one)
    dag.add("no_failure", one, after=["one"], join="failed")
    dag.add("asked_failed", one, after=["bad"], join="failed", when=lambda: False)
    dag.add("asked_some", one, after=["never", "one"], join="some", when=lambda: False)
    dag.add("asked_done", one, after=["never"], join="done", when=lambda: False)
    dag.add("none_of_some", one, after=["never"], join="some")
    dag.add("cured", one, after={"one": "failed"})
    return dag


EXPECTED = {
    "one": "node 'one' completed",
    "bad": "node 'bad' failed: ValueError: no",
    "stand_in": "node 'stand_in' completed by its fallback, after ValueError: no",
    "skipped": "node 'skipped' was skipped: node 'bad' failed",
    "skipped_too": "node 'skipped_too' was skipped: node 'bad' failed",
    "never": "node 'never' was bypassed: its condition (when) said no",
    "behind": "node 'behind' was bypassed: node 'never' before it was bypassed",
    "r": "node 'r' completed, and chose 'a', 'b', 'c' and 1 more",
    "f": "node 'f' was bypassed: router 'r' chose 'a', 'b', 'c' and 1 more",
    "no_failure": "node 'no_failure' was bypassed: no node before it failed (join='failed')",
    "asked_failed": "node 'asked_failed' was bypassed: its condition (when) said no",
    "asked_some": "node 'asked_some' was bypassed: its condition (when) said no",
    "asked_done": "node 'asked_done' was bypassed: its condition (when) said no",
    "none_of_some": "node 'none_of_some' was bypassed: node 'never' before it was bypassed",
    "cured": "node 'cured' was bypassed: node 'one' completed, and this one runs if that fails",
}


def test_every_sentence() -> None:
    result = flow.run(build(), config=flow.Config(on_error="collect"))
    assert {name: result.why(name).partition("\n")[0] for name in EXPECTED} == EXPECTED
    text = repr(result)
    assert "node 'never' was bypassed: its condition (when) said no" in text and "more bypassed" in text
    with pytest.raises(flow.UsageError, match="did you mean"):
        result.why("skiped")


def test_plans_that_do_not_route() -> None:
    dag = flow.Dag("d")
    dag.add("bad", fails)
    dag.add("after", one, after="bad")
    dag.add("rest", one, priority=-1)
    with pytest.raises(flow.RunError) as caught:
        flow.run(dag)
    result = caught.value.result
    assert [result.why(name) for name in ("after", "rest")] == [
        "node 'after' was skipped: node 'bad' failed",
        "node 'rest' was cancelled: the run ended first",
    ]
    good = flow.run(flow.topologies.linear(1))
    assert good.why("n0") == "node 'n0' completed"


@pytest.mark.parametrize("known", [flow.Outcome("skipped")])
def test_known(known: Any) -> None:
    result = flow.run(flow.topologies.linear(2), known={"n0": known}, config=flow.Config(on_error="collect"))
    assert result.why("n0") == "node 'n0' was skipped, which was known before the run"
    assert result.why("n1") == "node 'n1' was skipped: node 'n0' was skipped"
