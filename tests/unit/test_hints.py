"""Hints at the names that were meant: good ones, and never quadratic in how many are wrong."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import flow
from flow.errors import COMPARED_CHARACTERS, MAX_LIKELY, Hints, nearest


@contextmanager
def soon() -> Iterator[None]:
    """No more is compared than one error may cost. (Each of these compared all with all once, and took minutes.)"""
    compared = 0

    class Counting(difflib.SequenceMatcher[str]):
        def set_seq1(self, a: Any) -> None:
            nonlocal compared
            compared += len(a)
            super().set_seq1(a)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(difflib, "SequenceMatcher", Counting)
        yield
    assert 0 < compared <= 1.1 * COMPARED_CHARACTERS  # what is looked at last may be more than is left


def function_of(*parameters: str) -> Any:
    namespace: dict[str, Any] = {}
    exec(f"def fn({', '.join(parameters)}): return 1", namespace)
    return namespace["fn"]


def test_missing_inputs() -> None:
    dag = flow.Dag()
    for i in range(3_000):
        dag.add(f"missing_node_{i:05d}", function_of(f"missing_{i:05d}"))
    dag.compile()
    with soon(), pytest.raises(flow.InputError) as caught:
        flow.run(dag)
    assert len(caught.value.faults) == 3_000
    assert "did you mean" in caught.value.faults[0]
    assert "node 'missing_node_02999'" in caught.value.faults[-1]


def test_unknown_inputs() -> None:
    dag = flow.Dag()
    dag.add("it", function_of(*(f"parameter_{i:05d}=0" for i in range(200))))
    dag.compile()
    with soon(), pytest.raises(flow.InputError) as caught:
        flow.run(dag, {f"paramter_{i:05d}x": 1 for i in range(5_000)})
    assert len(caught.value.faults) == 5_000
    assert "did you mean 'parameter_00000'" in caught.value.faults[0]


def test_unknown_inputs_are_a_fault_unless_the_dag_says_that_anything_goes() -> None:
    def fn(ctx: flow.Context, parameter: int = 0) -> Any:
        return ctx.inputs["settings"]

    dag = flow.Dag(inputs=...)
    dag.add("it", fn)
    assert flow.run(dag, {"settings": 3})["it"] == 3
    dag = flow.Dag()
    dag.add("it", fn)
    with pytest.raises(flow.InputError, match="did you mean 'parameter'"):
        flow.run(dag, {"paramter": 3})
    with pytest.raises(flow.InputError, match="5 is no parameter of any node"):
        flow.run(_plain(), {5: 3})  # type: ignore[dict-item]


def _plain() -> flow.Dag:
    dag = flow.Dag()
    dag.add("it", lambda: 1)
    return dag


def test_names_of_nodes_and_parameters_in_a_definition() -> None:
    parameters = [f"parameter_{i:05d}" for i in range(200)]
    dag = flow.Dag()
    dag.add("wrong", function_of(*parameters), needs={f"paramter_{i:05d}": "source" for i in range(2_000)})
    dag.add("source", lambda: 1)
    for i in range(2_000):
        dag.add(f"node_{i:05d}", lambda: 1, after=f"nod_{i:05d}")
    with soon(), pytest.raises(flow.DefinitionError) as caught:
        dag.compile()
    assert len(caught.value.faults) == 4_000
    assert "did you mean 'parameter_00000'" in caught.value.faults[0]


def test_options_and_settings() -> None:
    wrong = {f"concurency{i}": 1 for i in range(20_000)}
    with soon(), pytest.raises(flow.UsageError, match="did you mean 'concurrency'"):
        flow.Dag().map("it", len, "items", **wrong)
    with soon(), pytest.raises(flow.errors.ConfigError) as caught:
        flow.Config(**{f"blocking_aftr{i}": 1 for i in range(20_000)})
    assert len(caught.value.faults) == 20_000


def test_a_file_of_settings(tmp_path: Any) -> None:
    path = tmp_path / "flow.toml"
    path.write_text("[flow]\n" + "".join(f"blocking_aftr{i} = 1\n" for i in range(20_000)))
    with soon(), pytest.raises(flow.errors.ConfigError) as caught:
        flow.Config.load(path)
    assert "did you mean 'blocking_after'" in caught.value.faults[0]


def test_one_budget_for_all_of_an_error() -> None:
    hints = Hints()
    known = [f"parameter_{i:05d}" for i in range(100)]
    given = [bool(hints.nearest(f"paramter_{i:05d}", known)) for i in range(1_000)]
    assert given[0]
    assert not given[-1]
    assert given == sorted(given, reverse=True)
    assert nearest("paramter_00001", known)  # a new error has a new one


@pytest.mark.parametrize("name", ["scor", "usres", "load1", "zzz", "transform_user", "a" * 255])
def test_they_are_those_of_difflib(name: str) -> None:
    known = ["users", "score", "scores", "load", "load2", "transform_users", "user", "a" * 250, *map(str, range(30))]
    assert len(known) <= MAX_LIKELY
    found = nearest(name, known)
    close = difflib.get_close_matches(name, known)
    assert all(repr(k) in found for k in close)
    assert bool(found) == bool(close)
