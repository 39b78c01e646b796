"""Mermaid and Graphviz text: whole pictures, and no label that breaks them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flow.errors import DefinitionError, UsageError
from flow.graph import topologies
from flow.graph.dag import Dag
from flow.graph.render import COLOURS, to_dot, to_mermaid
from flow.graph.topologies import noop
from flow.plan.status import StatusTracker
from flow.types import NAME_PATTERN, Status

NAMES = st.lists(st.from_regex(NAME_PATTERN, fullmatch=True), min_size=1, max_size=6, unique=True)


def report() -> Dag:
    """load.users -> scores (data), scores -> publish (ordering), load.users -> publish (both ways)."""
    dag = Dag("report#1")
    dag.add("load.users", noop)
    dag.add("scores", noop, needs=["load.users"])
    dag.add("publish@eu", noop, needs=["load.users"], after=["scores", "load.users"])
    return dag


def test_mermaid() -> None:
    assert to_mermaid(report()) == (
        "flowchart TD\n"
        '    n0["load.users"]\n'
        '    n1["scores"]\n'
        '    n2["publish#64;eu"]\n'
        "    n0 --> n1\n"
        "    n0 --> n2\n"
        "    n1 -.-> n2\n"
    )


def test_mermaid_with_status() -> None:
    status = {"load.users": Status.COMPLETED, "scores": Status.FAILED, "not of this plan": Status.READY}
    assert to_mermaid(report().compile(), status=status) == (
        "flowchart TD\n"
        '    n0["load.users"]:::completed\n'
        '    n1["scores"]:::failed\n'
        '    n2["publish#64;eu"]\n'
        "    n0 --> n1\n"
        "    n0 --> n2\n"
        "    n1 -.-> n2\n"
        "    classDef completed fill:#e8f5e9,stroke:#43a047,color:#212121\n"
        "    classDef failed fill:#ffebee,stroke:#e53935,color:#212121\n"
    )


def test_dot() -> None:
    assert to_dot(report()) == (
        'digraph "report#1" {\n'
        "    node [shape=box];\n"
        '    n0 [label="load.users"];\n'
        '    n1 [label="scores"];\n'
        '    n2 [label="publish@eu"];\n'
        "    n0 -> n1;\n"
        "    n0 -> n2;\n"
        "    n1 -> n2 [style=dotted];\n"
        "}\n"
    )


def test_dot_with_status() -> None:
    tracker = StatusTracker(report().compile())
    tracker.set("scores", "skipped")
    text = to_dot(report(), status=tracker)
    assert '    n1 [label="scores", style=filled, fillcolor="#eeeeee", color="#757575"];\n' in text
    assert '    n0 [label="load.users", style=filled, fillcolor="#f5f5f5", color="#9e9e9e"];\n' in text


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("end", "end"),
        ("load_users", "load_users"),
        ("__init__", "#95;#95;init#95;#95;"),
        ("a._b_.c", "a.#95;b#95;.c"),
        ("a#quot", "a#35;quot"),
        ("a@b.example", "a#64;b.example"),
        ("www.example.com", "www#46;example.com"),
        ("1.", "1#46;"),
        ("v1.2:x+y-z", "v1.2:x+y-z"),
        ("größe_ß", "größe_ß"),
    ],
)
def test_labels_are_not_taken_for_mermaid_markup(name: str, label: str) -> None:
    dag = Dag()
    dag.add(name, noop)
    assert to_mermaid(dag) == f'flowchart TD\n    n0["{label}"]\n'


@settings(max_examples=40)
@given(NAMES)
def test_every_legal_name_can_be_read_back(names: list[str]) -> None:
    dag = Dag()
    for name in names:
        dag.add(name, noop, after=dag.names[-1:])
    mermaid, dot = to_mermaid(dag), to_dot(dag)
    labels = re.findall(r'^    n\d+\["([^"<>`@]*)"\]$', mermaid, re.MULTILINE)
    assert [re.sub(r"#(\d+);", lambda m: chr(int(m[1])), label) for label in labels] == names
    assert re.findall(r'^    n\d+ \[label="([^"\\&]*)"\];$', dot, re.MULTILINE) == names
    assert mermaid.count("\n") == dot.count("\n") - 2 == 1 + len(names) + len(names) - 1


def test_a_run_input_is_no_node() -> None:
    dag = Dag()

    def total(users: list[int], factor: int) -> int:
        return sum(users) * factor

    dag.add("users", lambda: [1])
    dag.node(total)
    assert to_mermaid(dag) == 'flowchart TD\n    n0["users"]\n    n1["total"]\n    n0 --> n1\n'


def test_lines_are_linear_in_the_graph() -> None:
    dag = topologies.random_dag(200, p=0.1, seed=3)
    edges = dag.compile().edge_count
    assert to_mermaid(dag).count("-->") == to_dot(dag).count("->") == edges > 1000


def test_every_status_has_a_colour() -> None:
    assert set(COLOURS) == set(Status)
    for status in Status:
        text = to_mermaid(topologies.linear(1), status={"n0": status})
        assert text.splitlines()[1] == f'    n0["n0"]:::{status}'
        assert text.splitlines()[2].startswith(f"    classDef {status} fill:")


def test_strings_are_statuses_too() -> None:
    status: Any = {"n0": "ready"}
    assert 'n0["n0"]:::ready' in to_mermaid(topologies.linear(1), status=status)


@pytest.mark.parametrize("render", [to_mermaid, to_dot])
def test_refused(render: Any) -> None:
    with pytest.raises(UsageError, match="node 'n0': 'done' is no status; one of pending, ready"):
        render(topologies.linear(1), status={"n0": "done"})
    with pytest.raises(UsageError, match=r"a Plan or a Dag is needed, not 'dag' \(a str\)"):
        render("dag")
    with pytest.raises(DefinitionError, match="empty"):
        render(Dag())
