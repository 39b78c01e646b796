"""What nodes of a file pass to what they call, where ``with`` does not say it; and data that is there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import ROOT

import flow
from flow.errors import SpecError
from flow.spec.text.limits import MAX_FAULTS

pytest.importorskip("yaml", reason="PyYAML is not installed: pip install -e '.[spec]'")

from flow import spec

FOLDER = ROOT / "docs" / "examples" / "faulty"


@pytest.fixture(autouse=True)
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(FOLDER))
    yield
    sys.modules.pop("shop", None)


def run(text: str, inputs: dict[str, Any] | None = None) -> flow.Result:
    return flow.run(spec.loads(f"flow: 1\n{text}", name="w", folder=FOLDER, allow="shop:*"), inputs or {})


@pytest.mark.parametrize("publish", ["", ", publish: {k: '{{ result }}'}"])
def test_parameters_with_the_names_of_nodes_and_inputs_get_them(publish: str) -> None:
    text = f"inputs: {{shop: {{}}}}\nnodes:\n  pages: {{set: {{}}}}\n  goods: {{call: shop:send{publish}}}\n"
    result = run(text.replace("shop: {}", "to: {}, text: {}"), {"text": "hello", "to": "you"})
    assert result["goods"] == "you: hello"


@pytest.mark.parametrize("publish", ["", ", publish: {k: '{{ result }}'}"])
def test_one_that_nothing_fills_is_told_of(publish: str) -> None:
    with pytest.raises(SpecError, match="w:3:3: node 'a': takes 'text', which is neither|with does not give"):
        run(f"nodes:\n  a: {{call: shop:send{publish}}}\n")


def test_a_file_gets_the_inputs_of_these_names() -> None:
    result = run("inputs: {shop: {type: string}}\nnodes:\n  a: {file: parts/goods.yaml}\n", {"shop": "eu"})
    assert dict(result["a"]) == {"prices": ["eu 0"]}


def test_a_list_with_one_expression_is_a_list() -> None:
    result = run("inputs: {n: {}}\nnodes:\n  a: {map: shop:price, over: ['{{ inputs.n }}']}\n", {"n": "four"})
    assert result["a"] == [4.0]


def test_data_is_there_after_one_node_that_certainly_publishes_it() -> None:
    text = """
inputs: {s: {}}
nodes:
  a: {set: {x: 1}, when: inputs.s == 1, publish: {k: maybe}}
  b: {set: {x: 1}, publish: {k: always}}
  c: {set: {x: "{{ data.k }}"}, join: none_failed}
"""
    assert run(text, {"s": 2})["c"] == {"x": "always"}


def test_the_first_of_many_faults_are_told() -> None:
    nodes = "".join(f"  node_{n}: {{set: {{a: '{{{{ nodes_{n} }}}}'}}}}\n" for n in range(2_000))
    with pytest.raises(SpecError) as refused:
        run(f"nodes:\n{nodes}")
    faults = refused.value.faults
    assert len(faults) == MAX_FAULTS + 1
    assert "did you mean 'node_0'" in faults[0]
    assert faults[-1].endswith("here is another fault, and there may be more: mend those before first")


def test_a_fault_that_is_found_twice_counts_once() -> None:
    """Outputs that may be bypassed make loading ask for every function early, and then again."""
    nodes = "".join(f"  n{n}: {{call: 'no_such_module_{n}:f'}}\n" for n in range(MAX_FAULTS - 50))
    with pytest.raises(SpecError) as refused:
        flow.spec.loads(f"flow: 1\nnodes:\n  a: {{set: {{x: 1}}, when: 'true'}}\n{nodes}", allow="no_such_module_0:*")
    assert len(refused.value.faults) == MAX_FAULTS - 50
