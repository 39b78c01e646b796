"""Random loops against a loop in plain Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
import pytest
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st

import flow
from flow.errors import LoopLimit

CONFIGS: Mapping[str, dict[str, Any]] = {
    "inline": {},
    "tasks": {"mode": "tasks"},
    "workers": {"mode": "workers", "limit": 1},
    "threads": {"executor": "thread"},
    "watched": {"observers": (lambda event: None,), "timing": True},
    "generated": {"optimize": "at_once"},
    "hooked": {"on_outcome": lambda: lambda outcome: None},
    "trio": {"mode": "tasks", "backend": "trio"},
}


@st.composite
def loops(draw: st.DrawFn) -> dict[str, Any]:
    """A body of a few nodes, each a weighted sum of inputs and nodes before it; what is carried; when it ends."""
    inputs = draw(st.lists(st.sampled_from("xyz"), min_size=1, max_size=3, unique=True))
    nodes: list[tuple[str, list[str], int, bool]] = []
    for k in range(draw(st.integers(1, 4))):
        known = [*inputs, *[name for name, *_ in nodes]]
        reads = draw(st.lists(st.sampled_from(known), min_size=1, max_size=3, unique=True))
        nodes.append((f"n{k}", reads, draw(st.integers(-3, 5)), draw(st.booleans())))
    used = sorted({name for _, reads, *_ in nodes for name in reads if name in inputs})
    names = [name for name, *_ in nodes]
    return {
        "nodes": nodes,
        "given": {name: draw(st.integers(-5, 5)) for name in used},
        "carry": {name: draw(st.sampled_from(names)) for name in used if draw(st.booleans())},
        "looks": draw(st.lists(st.sampled_from([*names, *used]), min_size=1, max_size=3, unique=True)),
        "divisor": draw(st.integers(1, 7)),
        "most": draw(st.integers(1, 8)),
        "on_limit": draw(st.sampled_from(["fail", "return"])),
        "history": draw(st.booleans()),
        "fails_at": draw(st.one_of(st.none(), st.integers(-30, 30))),
        "attempts": draw(st.integers(1, 2)),
    }


def expected(case: dict[str, Any]) -> Any:
    """What a loop in plain Python gives: the outputs, or the kind of error."""
    given, rounds = dict(case["given"]), []
    for _ in range(case["most"]):
        values = dict(given)
        for name, reads, extra, _ in case["nodes"]:
            values[name] = sum(values[read] for read in reads) % 1000 + extra
            if values[name] == case["fails_at"]:
                return ValueError
        rounds.append({name: values[name] for name, *_ in case["nodes"]})
        if sum(values[name] for name in case["looks"]) % case["divisor"] == 0:
            break
        given |= {name: values[output] for name, output in case["carry"].items()}
    else:
        if case["on_limit"] == "fail":
            return LoopLimit
    return tuple(rounds) if case["history"] else rounds[-1]


def dag_of(case: dict[str, Any]) -> flow.Dag:
    body = flow.Dag("body")
    for name, reads, extra, is_async in case["nodes"]:
        body.add(name, _function(reads, extra, is_async, case["fails_at"]))
    until: Any = {}
    looks = ", ".join(case["looks"])
    exec(f"def until({looks}): return sum(({looks},)) % {case['divisor']} == 0", until)
    dag = flow.Dag("d")
    dag.loop(
        "l", body, until=until["until"], carry=case["carry"], max_iterations=case["most"], on_limit=case["on_limit"],
        history=case["history"], retry=flow.Retry(case["attempts"], delay=0.0),
    )  # fmt: skip
    return dag


def _function(reads: list[str], extra: int, is_async: bool, fails_at: int | None) -> Any:
    space: dict[str, Any] = {}
    head = f"{'async ' if is_async else ''}def node({', '.join(reads)}): "
    exec(f"{head}return {'await ' if is_async else ''}made({', '.join(reads)})", space)

    def made(*values: int) -> int:
        value = sum(values) % 1000 + extra
        if value == fails_at:
            raise ValueError(value)
        return value

    async def amade(*values: int) -> int:
        if extra % 2:
            await anyio.sleep(0)
        return made(*values)

    space["made"] = amade if is_async else made
    return space["node"]


@pytest.mark.parametrize("settings", CONFIGS)
@examples(60)
@given(case=loops())
def test_a_loop_is_what_python_says(settings: str, case: dict[str, Any]) -> None:
    wanted = expected(case)
    try:
        found: Any = flow.run(dag_of(case), case["given"], config=flow.Config(**CONFIGS[settings]))["l"]
    except flow.RunError as error:
        inner = error.exceptions[0]
        found = type(inner.exceptions[0] if isinstance(inner, flow.RunError) else inner)
    else:
        found = tuple(map(dict, found)) if case["history"] else dict(found)
    assert found == wanted
