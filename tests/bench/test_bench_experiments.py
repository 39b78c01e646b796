"""The experiments: their models do the same work as what they are compared with, or are refused."""

from __future__ import annotations

import functools
import json
import traceback
from pathlib import Path
from typing import Any

import pytest

import flow
from flow_bench.__main__ import main
from flow_bench.harness.contender import Refused
from flow_bench.harness.work import noop
from flow_bench.suites.experiments import suite as experiments

pytestmark = pytest.mark.usefixtures("frozen")

TINY = experiments.Effort(rounds=1)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiments, "QUICK", TINY)
    monkeypatch.setattr(experiments, "SIZES", (1, 5))
    monkeypatch.setattr(experiments, "NODES", 10)


@pytest.mark.usefixtures("tiny")
def test_the_experiments_end_to_end(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    flags = [flag for name in ("reuse", "guarded") for flag in ("--only", name)]
    assert main(["experiments", "--quick", "--json", str(file), *flags]) == 0
    rows = json.loads(file.read_text())["rows"]
    names = [(row["section"], row["label"]) for row in rows]
    assert len(set(names)) == len(names) == 8 + 10
    assert {row["suite"] for row in rows} == {"experiments"}
    assert all(row["ratio"] == 1.0 for row in rows if ": now" in row["label"])
    assert "the model, recycled" in capsys.readouterr().out


def test_flow_takes_a_cached_function_as_the_function_it_is() -> None:
    calls: list[int] = []

    @functools.lru_cache(maxsize=128)
    def square(n: int, *, plus: int = 0) -> int:
        calls.append(n)
        if n < 0:
            raise ValueError("negative")
        return n * n + plus

    dag = flow.Dag("cached")
    assert dag.node(square) is square
    dag.add("text", lambda square: str(square))
    assert (dag.names, dag.compile().required_inputs) == (("square", "text"), ("n",))
    assert [flow.run(dag, {"n": 3})["text"] for _ in range(2)] == ["9", "9"]
    assert flow.run(dag, {"n": 3, "plus": 1})[square] == 10
    assert calls == [3, 3]
    with pytest.raises(flow.RunError) as caught:
        flow.run(dag, {"n": -1})
    (error,) = caught.value.exceptions
    assert [frame.name for frame in traceback.extract_tb(error.__traceback__)] == ["square"]
    line = square.__wrapped__.__code__.co_firstlineno
    assert error.__notes__ == [f"in node 'square' ({__file__}:{line})"]


# -- reuse -----------------------------------------------------------------------------------


def test_the_model_of_a_state_is_as_new_when_recycled() -> None:
    plan = flow.topologies.linear(3, fn=noop).compile()
    new, used = (experiments.State(plan, flow.Config()) for _ in range(2))
    used.values[:] = [1, 2, 3]
    used.errors[0], used.inputs["x"], used.timed_out, used.resolver = ValueError(), 1, True, object()  # type: ignore[assignment]
    values = used.values
    assert used.recycled(new.values.copy()) == [1, 2, 3]
    assert used.values is values
    fields = [name for name in experiments.State.__slots__ if name != "started_at"]
    assert [getattr(used, name) for name in fields] == [getattr(new, name) for name in fields]


def test_a_state_not_copied_for_its_result_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def shared(self: experiments.State, blank: list[Any]) -> list[Any]:
        return self.values

    monkeypatch.setattr(experiments.State, "recycled", shared)
    with pytest.raises(Refused, match="the model, recycled"):
        list(experiments.reuse(TINY))
