"""Draw a graph as SVG, or as Mermaid or Graphviz text.

A solid edge passes data, a dotted one is pure ordering, a dashed one brought nothing in a run. Nodes that choose are
diamonds (in SVG hexagons), merges have round ends, loops a double line and their rounds; edges tell their keys and
conditions. In the texts nodes are ``n0, n1, ...`` in definition order with their names as quoted labels, so no name can
break the syntax. All functions are O(nodes + edges), iterative, and need little memory beyond the text itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from io import StringIO
from types import MappingProxyType
from typing import Final, Literal

from flow.errors import UsageError, shown
from flow.exports import only
from flow.graph.dag import Dag
from flow.graph.interop import plan_of
from flow.plan.marks import Marks, marks_of
from flow.plan.plan import Plan
from flow.reprs import counted
from flow.tracebacks import ends_at_user
from flow.types import Status

COLOURS: Final[Mapping[Status, tuple[str, str]]] = {
    Status.PENDING: ("#f5f5f5", "#9e9e9e"),
    Status.READY: ("#e3f2fd", "#1e88e5"),
    Status.RUNNING: ("#fff8e1", "#ffa000"),
    Status.WAITING: ("#fbe9e7", "#f4511e"),
    Status.COMPLETED: ("#e8f5e9", "#43a047"),
    Status.FAILED: ("#ffebee", "#e53935"),
    Status.SKIPPED: ("#eeeeee", "#757575"),
    Status.BYPASSED: ("#e0f2f1", "#00897b"),
    Status.CANCELLED: ("#f3e5f5", "#8e24aa"),
}
"""Fill and border colour of each status. What was bypassed has a dashed border, too."""

_DEAD: Final = "stroke-dasharray:7 4,opacity:0.6"
_DEAD_DOT: Final = 'style=dashed, color="#9e9e9e", fontcolor="#757575"'

# Mermaid reads labels, quoted ones too, as Markdown: underscores at a word's edge would be
# emphasis, a@b.c and www.b.c links, "1." a list. '#' begins its own entities.
_MERMAID_SPECIAL: Final = re.compile(r"""[^\w.:+-]|(?<![^\W_])_|_(?![^\W_])|(?<=^www)\.|(?<=\d)\.$""")


@ends_at_user
def to_svg(graph: Plan | Dag, *, status: Mapping[str, Status] | None = None) -> str:
    """Return a picture of the graph as a self-contained SVG, light or dark as its reader's system is.

    Boxes in layers, long edges led around boxes. Past 300 nodes, or where very many edges are long, a row for each
    level. Parameters and errors are those of :func:`to_mermaid`.
    """
    from flow.draw.svg import draw
    from flow.plan.pictured import pictured

    plan = plan_of(graph)
    return draw(pictured(plan.name, plan._nodes, plan._level_of, _statuses(plan, status)), alone=True)


@ends_at_user
def to_mermaid(graph: Plan | Dag, *, status: Mapping[str, Status] | None = None) -> str:
    """Return a Mermaid flowchart, top down.

    Mermaid itself draws 500 edges and 50,000 characters unless configured otherwise
    (``maxEdges``, ``maxTextSize``); for more, use :func:`to_dot`.

    :param graph: a plan, or a Dag to be compiled.
    :param status: colours nodes by status; may lack some nodes and name others.
    :raises DefinitionError: if the Dag cannot be compiled. :raises UsageError: for a value that is no status.
    """
    plan = plan_of(graph)
    return text_of(plan, "mermaid", _statuses(plan, status))


@ends_at_user
def to_dot(graph: Plan | Dag, *, status: Mapping[str, Status] | None = None) -> str:
    """Return a Graphviz digraph. Parameters and errors are those of :func:`to_mermaid`."""
    plan = plan_of(graph)
    return text_of(plan, "dot", _statuses(plan, status))


def text_of(
    plan: Plan,
    form: Literal["mermaid", "dot"],
    status: Mapping[int, Status],
    dead: Set[tuple[int, int]] = frozenset(),
    rounds: Mapping[int, int] = MappingProxyType({}),
) -> str:
    """Return the text of a picture. O(nodes + edges).

    :param status: by node index. :param dead: edges over which nothing came, by upstream and downstream.
    :param rounds: how many each loop has run.
    """
    marks = marks_of(plan._nodes)
    loops = {i: counted(rounds[i], "round") if i in rounds else said for i, said in marks.loops.items()}
    return _text((_mermaid if form == "mermaid" else _dot)(plan, marks, loops, status, dead))


def _mermaid(
    plan: Plan, marks: Marks, loops: Mapping[int, str], shown: Mapping[int, Status], dead: Set[tuple[int, int]]
) -> Iterator[str]:
    lost: list[int] = []
    yield "flowchart TD\n"
    for i, name in enumerate(plan.names):
        style = f":::{shown[i].value}" if i in shown else ""
        opens, closes = ("{", "}") if i in marks.routers else ("([", "])") if i in marks.merges else ("[", "]")
        label = _mermaid_label(name)
        if i in loops:
            opens, closes, label = "[[", "]]", f"{label}<br/>{loops[i]}"
        yield f'    n{i}{opens}"{label}"{closes}{style}\n'
    for k, (upstream, downstream, is_data) in enumerate(plan._nodes.edges()):
        edge = upstream, downstream
        label = f'|"{_mermaid_label(marks.labels[edge])}"|' if edge in marks.labels else ""
        yield f"    n{upstream} {'-->' if is_data else '-.->'}{label} n{downstream}\n"
        if edge in dead:
            lost.append(k)
    if lost:
        yield f"    linkStyle {','.join(map(str, lost))} {_DEAD}\n"
    used = set(shown.values())
    for status, (fill, border) in COLOURS.items():
        if status in used:
            dashed = ",stroke-dasharray:4 3" if status is Status.BYPASSED else ""
            yield f"    classDef {status.value} fill:{fill},stroke:{border},color:#212121{dashed}\n"


def _dot(
    plan: Plan, marks: Marks, loops: Mapping[int, str], shown: Mapping[int, Status], dead: Set[tuple[int, int]]
) -> Iterator[str]:
    yield f'digraph "{_dot_label(plan.name)}" {{\n    node [shape=box];\n'
    for i, name in enumerate(plan.names):
        styles, colours = ["rounded"] if i in marks.merges else [], ""
        if i in shown:
            fill, border = COLOURS[shown[i]]
            styles += ["filled", "dashed"] if shown[i] is Status.BYPASSED else ["filled"]
            colours = f', fillcolor="{fill}", color="{border}"'
        shape = ", shape=diamond" if i in marks.routers else ", peripheries=2" if i in loops else ""
        style = "" if not styles else f", style={styles[0]}" if len(styles) == 1 else f', style="{",".join(styles)}"'
        label = _dot_label(name) + (f"\\n{loops[i]}" if i in loops else "")
        yield f'    n{i} [label="{label}"{shape}{style}{colours}];\n'
    for upstream, downstream, is_data in plan._nodes.edges():
        edge = upstream, downstream
        said = [f'label="{_dot_label(marks.labels[edge])}"'] if edge in marks.labels else []
        said += [_DEAD_DOT] if edge in dead else [] if is_data else ["style=dotted"]
        yield f"    n{upstream} -> n{downstream}{_listed(said)};\n"
    yield "}\n"


def _listed(attributes: list[str]) -> str:
    return f" [{', '.join(attributes)}]" if attributes else ""


def _statuses(plan: Plan, status: Mapping[str, Status] | None) -> dict[int, Status]:
    if not status:
        return {}
    found = {}
    for i, name in enumerate(plan.names):
        if name in status:
            try:
                found[i] = Status(status[name])
            except ValueError:
                known = ", ".join(Status)
                raise UsageError(f"node {name!r}: {shown(status[name])} is no status; one of {known} is") from None
    return found


def _mermaid_label(name: str) -> str:
    if name.isalnum():
        return name
    return _MERMAID_SPECIAL.sub(lambda found: f"#{ord(found[0])};", name)


def _dot_label(name: str) -> str:
    if name.isidentifier():
        return name
    return name.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;").replace("\n", "\\n")


def _text(lines: Iterable[str]) -> str:
    # str.join would hold every line as an object of its own at once.
    out = StringIO()
    out.writelines(lines)
    return out.getvalue()


__all__ = ["COLOURS", "to_dot", "to_mermaid"]
__dir__ = only(__all__)
