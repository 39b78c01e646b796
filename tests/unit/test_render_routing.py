"""Pictures of plans that route: choices, merges, conditions, and what came over the edges of a run."""

from __future__ import annotations

import hashlib
import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flow
from flow.draw import labels
from flow.draw.picture import MAX_NODES, Picture
from flow.draw.svg import draw
from flow.graph.render import to_dot, to_mermaid, to_svg
from flow.plan.marks import NOTHING, marks_of
from flow.plan.tokens import LIVE, TokenResolver
from flow.run.card import dead_edges
from flow.types import Status


def one() -> int:
    return 1


def fails() -> int:
    raise ValueError("no")


def desk() -> flow.Dag:
    dag = flow.Dag("desk")
    dag.route("triage", lambda: "bill", to={"spam": "drop", "bill": "pay", 3: "pay"}, default="answer")
    dag.add("drop", one)
    dag.add("pay", fails)
    dag.add("answer", one)
    dag.merge("outcome", of=["drop", "answer"])
    dag.add("alarm", lambda pay=0: pay, after={"pay": "failed"})
    dag.add("report", one, after={"alarm": "done", "outcome": "completed"}, join="done")
    return dag


@pytest.fixture(scope="module")
def result() -> flow.Result:
    return flow.run(desk())


def test_mermaid() -> None:
    assert to_mermaid(desk()) == (
        "flowchart TD\n"
        '    n0{"triage"}\n'
        '    n1["drop"]\n'
        '    n2["pay"]\n'
        '    n3["answer"]\n'
        '    n4(["outcome"])\n'
        '    n5["alarm"]\n'
        '    n6["report"]\n'
        '    n0 -.->|"spam"| n1\n'
        '    n0 -.->|"bill#44;#32;3"| n2\n'
        '    n0 -.->|"default"| n3\n'
        "    n1 --> n4\n"
        "    n3 --> n4\n"
        '    n2 -->|"failed"| n5\n'
        '    n5 -.->|"done"| n6\n'
        "    n4 -.-> n6\n"
    )


def test_mermaid_of_a_run(result: flow.Result) -> None:
    text = result.graph("mermaid")
    assert '    n0{"triage"}:::completed\n' in text and '    n4(["outcome"]):::bypassed\n' in text
    assert "    linkStyle 0,2,3,4,7 stroke-dasharray:7 4,opacity:0.6\n" in text
    assert "classDef bypassed fill:#e0f2f1,stroke:#00897b,color:#212121,stroke-dasharray:4 3\n" in text


def test_dot(result: flow.Result) -> None:
    text = to_dot(desk())
    assert '    n0 [label="triage", shape=diamond];\n' in text and '    n4 [label="outcome", style=rounded];\n' in text
    assert '    n0 -> n1 [label="spam", style=dotted];\n    n0 -> n2 [label="bill, 3", style=dotted];\n' in text
    assert "    n1 -> n4;\n" in text and '    n2 -> n5 [label="failed"];\n' in text
    text = result.graph("dot")
    dead = 'style=dashed, color="#9e9e9e", fontcolor="#757575"'
    assert f'    n0 -> n1 [label="spam", {dead}];\n    n0 -> n2 [label="bill, 3", style=dotted];\n' in text
    assert f"    n1 -> n4 [{dead}];\n" in text
    assert '    n4 [label="outcome", style="rounded,filled,dashed", fillcolor="#e0f2f1", color="#00897b"];\n' in text
    assert '    n0 [label="triage", shape=diamond, style=filled, fillcolor="#e8f5e9", color="#43a047"];\n' in text


def elements(svg: str, tag: str) -> list[ET.Element]:
    return [element for element in ET.fromstring(svg).iter() if element.tag.endswith(f"}}{tag}")]


def test_svg_of_a_run(result: flow.Result) -> None:
    svg = result.graph()
    (router,) = elements(svg, "polygon")
    assert router.get("class") == "flow-completed"
    xs, ys = zip(*[map(float, corner.split(",")) for corner in str(router.get("points")).split()], strict=True)
    texts = {"".join(text.itertext()): text for text in elements(svg, "text")}
    name = texts["triage"]
    assert min(xs) + 12 < float(name.get("x", 0)) - 20 and float(name.get("x", 0)) + 20 < max(xs) - 12
    assert min(ys) < float(name.get("y", 0)) < max(ys)
    assert {"spam", "bill, 3", "default", "failed", "done"} <= texts.keys()
    titles = [title.text for title in elements(svg, "title")]
    assert {"spam", "bill, 3", "default", "failed", "done"} <= set(titles)
    assert any(str(title).startswith("triage: completed\nsync, chooses what runs\n") for title in titles)
    assert any("sync, join='some'" in str(title) for title in titles)
    dashed = [path for path in elements(svg, "path") if path.get("stroke-dasharray") == "7 4"]
    assert len(dashed) == len(dead_edges(result._run)) == 5
    boxes = [box for box in elements(svg, "rect") if box.get("stroke-dasharray") == "4 3"]
    assert [box.get("class") for box in boxes] == ["flow-bypassed"] * 3  # drop, answer, outcome
    assert [box.get("rx") for box in boxes] == ["5", "5", "14"]
    assert svg.count("flow-order") == 2 + 2  # the rules; triage -> pay, alarm -> report


@pytest.mark.filterwarnings("ignore:.*all of its . routers:flow.DefinitionWarning")
@settings(max_examples=60)
@given(st.data())
def test_dead_edges_are_those_that_carried_no_live_token(data: st.DataObject) -> None:
    dag = flow.Dag("d")
    names = [f"n{k}" for k in range(data.draw(st.integers(2, 9)))]
    for k, name in enumerate(names):
        before = data.draw(st.lists(st.sampled_from(names[:k]), unique=True)) if k else []
        after = {other: data.draw(st.sampled_from(["completed", "failed", "done"])) for other in before}
        later = names[k + 1 :]
        if later and data.draw(st.booleans()):
            to = dict(enumerate(data.draw(st.lists(st.sampled_from(later), min_size=1, unique=True))))
            dag.route(name, lambda: 0, to=to, after=after, join="done")
            continue
        join = data.draw(st.sampled_from(["some", "done", "none_failed"])) if before else "all"
        dag.add(name, data.draw(st.sampled_from([one, fails])), after=after, join=join)
    result = flow.run(dag, config=flow.Config(on_error="collect"))
    run = result._run
    dead = dead_edges(run)
    svg = result.graph()
    if not isinstance(run.resolver, TokenResolver):
        assert not dead
        return
    for i, s, _ in run.nodes.edges():
        assert ((i, s) in dead) == (run.resolver.token(i, s) != LIVE)
    assert svg.count('stroke-dasharray="7 4"') == len(dead) == result.graph("dot").count('color="#9e9e9e"')


def test_what_never_ended_has_no_dead_edges() -> None:
    dag = flow.Dag("d")
    dag.add("bad", fails)
    dag.add("skipped", one, after="bad")
    dag.add("rest", one, priority=-1, when=lambda: True)
    dag.add("behind", one, after="rest")
    with pytest.raises(flow.RunError) as caught:
        flow.run(dag)
    result = caught.value.result
    assert result.status["behind"] == "cancelled"
    assert dead_edges(result._run) == {(0, 1)} and result.graph().count('stroke-dasharray="7 4"') == 1


def wide(count: int, key: str = "key") -> flow.Dag:
    dag = flow.Dag("wide")
    dag.route("choose", lambda: f"{key} 0", to={f"{key} {k}": f"target_{k}" for k in range(count)}, default="target_0")
    for k in range(count):
        dag.add(f"target_{k}", one)
    dag.add("total", one, after={f"target_{k}": "done" for k in range(count)})
    return dag


@pytest.mark.parametrize("dag", [desk(), wide(4), wide(12), wide(40, "a rather long key that goes on and on")])
def test_labels_lie_in_the_picture_beside_each_other_and_out_of_boxes(dag: flow.Dag) -> None:
    root = ET.fromstring(to_svg(dag))
    across, down = float(root.get("width", 0)), float(root.get("height", 0))
    sides = ("x", "y", "width", "height")
    rects = [e for e in root.iter() if e.tag.endswith("}rect") and e.get("x")]
    said = [[float(e.get(side, 0)) for side in sides] for e in rects if e.get("class") == "flow-bg"]
    boxes = [[float(e.get(side, 0)) for side in sides] for e in rects if e.get("class") != "flow-bg"]
    assert len(said) >= 5
    for k, (x, y, w, h) in enumerate(said):
        assert x >= 0 and y >= 0 and x + w <= across and y + h <= down
        for ox, oy, ow, oh in [*said[:k], *boxes]:
            assert not (x < ox + ow and ox < x + w and y < oy + oh and oy < y + h)


def test_labels_are_short_and_not_too_many() -> None:
    svg = to_svg(wide(40, "a rather long key that goes on and on"))
    texts = ["".join(text.itertext()) for text in elements(svg, "text") if text.get("font-size") == "10"]
    assert max(map(len, texts)) <= labels.MAX_CHARACTERS and any("\u2026" in text for text in texts)
    many = flow.Dag("many")
    for k in range(150):
        many.add(f"a{k}", one)
        many.add(f"b{k}", one, after={f"a{k}": "failed"})
    assert to_svg(many).count(">failed</text>") == 150
    picture = Picture(
        "d", ["a", *map(str, range(250))], [0, *[1] * 250], [(0, k, True) for k in range(1, 251)],
        labels={(0, k): "x" for k in range(1, 251)},
    )  # fmt: skip
    assert draw(picture, alone=True).count(">x</text>") == labels.MAX_LABELS


def test_hostile_keys() -> None:
    dag = flow.Dag("d")
    keys = ['<b>"&', "a|b", "end", "x\n\0y", "\u202e", "#quot;", ("a", 1), None, True]
    dag.route("r", one, to={key: f"n{k}" for k, key in enumerate(keys)})
    for k in range(len(keys)):
        dag.add(f"n{k}", one)
    svg = to_svg(dag)
    assert ET.fromstring(svg) is not None and "\u202e" not in svg and "<b>" not in svg
    mermaid, dot = to_mermaid(dag), to_dot(dag)
    assert len(re.findall(r'^    n0 -\.->\|"[^"<>|`\n]+"\| n\d+$', mermaid, re.MULTILINE)) == len(keys)
    labelled = r'^    n0 -> n\d+ \[label="(?:[^"\\\n]|\\.)+", style=dotted\];$'
    assert len(re.findall(labelled, dot, re.MULTILINE)) == len(keys)


def test_many_keys_to_one_node_and_a_condition_on_a_router() -> None:
    dag = flow.Dag("d")
    dag.route("r", one, to={k: "a" for k in range(9)}, default="a")
    dag.add("a", one, after={"r": "done"})
    assert marks_of(dag.compile()._nodes).labels == {(0, 1): "0, 1, 2, +7: done"}


def test_a_part_of_a_plan() -> None:
    part = desk().subgraph("drop")
    assert to_mermaid(part) == 'flowchart TD\n    n0{"triage"}\n    n1["drop"]\n    n0 -.->|"spam"| n1\n'
    assert to_mermaid(flow.run(desk(), targets=["drop"]).plan).count("{") == 1


def test_a_router_alone() -> None:
    part = desk().compile().subgraph("triage")
    assert "<polygon" in to_svg(part) and to_mermaid(part) == 'flowchart TD\n    n0{"triage"}\n'


def test_a_large_plan_is_drawn_by_level() -> None:
    result = flow.run(wide(MAX_NODES))
    svg = result.graph()
    assert "too many to draw each" in svg and "<polygon" not in svg
    assert result.graph("mermaid").count('|"done"|') == MAX_NODES
    plan = wide(MAX_NODES).compile()
    assert "too many to draw each" in to_svg(plan)


def test_cards(result: flow.Result) -> None:
    for card in (result._repr_html_(), desk().compile()._repr_html_(), desk()._repr_html_()):
        assert "<polygon" in card and ">spam</text>" in card
    assert result._repr_html_().count('stroke-dasharray="7 4"') == 5


class TestPlansThatDoNotRoute:
    """Their pictures are, byte for byte, what they were before there was routing."""

    def picture(self) -> Picture:
        status = {0: Status.COMPLETED, 1: Status.FAILED, 2: Status.SKIPPED, 4: Status.CANCELLED}
        edges = [(0, 1, True), (1, 2, True), (0, 2, False), (2, 4, True), (3, 4, True), (1, 4, False)]
        names = ["load", "double", "total", "sub", "end"]
        return Picture("plain", names, [0, 1, 2, 0, 3], edges, status, {1: "map"}, {0: "async"}, frozenset([1]))

    @pytest.mark.parametrize(("alone", "digest"), [(True, "55ec46be9ca9f221"), (False, "982223e2670de696")])
    def test_svg(self, alone: bool, digest: str) -> None:
        assert hashlib.sha256(draw(self.picture(), alone=alone).encode()).hexdigest()[:16] == digest

    def test_nothing_of_routing_in_them(self) -> None:
        dag = flow.Dag("plain")
        dag.add("bad", fails)
        dag.add("skipped", lambda bad: bad)
        dag.add("rest", one, after=["skipped"])
        assert marks_of(dag.compile()._nodes) is NOTHING
        result = flow.run(dag, config=flow.Config(on_error="collect"))
        assert dead_edges(result._run) == frozenset()
        picture: Any = result._picture()
        assert not (picture.routers or picture.merges or picture.labels or picture.dead)
        for text in (result.graph(), result.graph("mermaid"), result.graph("dot"), result._repr_html_()):
            for mark in ("polygon", 'stroke-dasharray="', "linkStyle", "style=dashed", "diamond", "opacity="):
                assert mark not in text


class TestLoops:
    """A loop has a double line, the most rounds before a run, and after it those that it has run."""

    def dag(self) -> flow.Dag:
        body = flow.Dag("body")
        body.add("better", lambda draft: draft + 1)
        dag = flow.Dag("d")
        dag.loop("polish", body, carry={"draft": "better"}, until=lambda better: better > 2, max_iterations=5)
        dag.add("after", lambda polish: polish)
        return dag

    def test_before(self) -> None:
        assert 'n0[["polish<br/>up to 5 rounds, 1 node"]]' in flow.render.to_mermaid(self.dag())
        assert 'n0 [label="polish\\nup to 5 rounds, 1 node", peripheries=2];' in flow.render.to_dot(self.dag())

    def test_after(self) -> None:
        result = flow.run(self.dag(), {"draft": 0})
        assert 'n0[["polish<br/>3 rounds"]]:::completed' in result.graph("mermaid")
        assert 'n0 [label="polish\\n3 rounds", peripheries=2, style=filled' in result.graph("dot")
        assert "3 rounds" in result.graph("svg")
