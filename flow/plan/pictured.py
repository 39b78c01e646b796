"""The picture of a plan, and its card in notebooks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set

from flow.blame import shortened
from flow.draw import html
from flow.draw.picture import MAX_NODES, Picture
from flow.errors import shown
from flow.plan.marks import marks_of, told
from flow.plan.nodes import Nodes, executor_of, fallback_of, function_of
from flow.plan.waits import Wait
from flow.policy.looping import Looped
from flow.policy.mapping import Folded, Mapped
from flow.reprs import counted
from flow.signature import Composite, location_of
from flow.types import MISSING, Status


def pictured(
    name: str,
    nodes: Nodes,
    levels: Sequence[int],
    status: Mapping[int, Status] | None = None,
    notes: Mapping[int, str] | None = None,
    tips: Mapping[int, str] | None = None,
    dead: Set[tuple[int, int]] = frozenset(),
) -> Picture:
    """Return the picture of a graph. O(nodes + edges).

    :param notes: texts in the boxes of nodes; None marks maps, folds, loops and Dags.
    :param tips: first lines of tooltips. Policies and the place of the function follow.
    :param dead: edges over which nothing came.
    """
    if nodes.count > MAX_NODES:
        return Picture(name, nodes.names, levels, list(nodes.edges()), status or {})
    kinds = {i: kind for i in range(nodes.count) if (kind := _kind(nodes, i))}
    said = tips or {}
    lines = {i: "\n".join(filter(None, [said.get(i, ""), *_told(nodes, i)])) for i in range(nodes.count)}
    stacked = frozenset([i for i in kinds if isinstance(function_of(nodes, i), Mapped)])
    marks = marks_of(nodes)
    return Picture(
        name, nodes.names, levels, list(nodes.edges()), status or {}, kinds if notes is None else notes, lines, stacked,
        marks.routers, marks.merges, marks.labels, dead,
    )  # fmt: skip


def card(text: str, name: str, nodes: Nodes, levels: Sequence[int]) -> str:
    """Return the card of a plan."""
    picture = pictured(name, nodes, levels)
    size = f"{counted(nodes.count, 'node')}, {counted(len(picture.edges), 'edge')}"
    head = [html.title(name), html.said(size)]
    if nodes.inputs:
        required = set(nodes.required_inputs)
        inputs = [each if each in required else f"{each} (optional)" for each in nodes.inputs]
        few = ", ".join(inputs[: html.MAX_ROWS]) + (", ..." if len(inputs) > html.MAX_ROWS else "")
        head.append(html.said(f"inputs: {few}"))
    return html.card(text, head, html.graph(picture))


def _kind(nodes: Nodes, i: int) -> str:
    """Return the kind of a node that is no plain function: map, reduce, loop, dag, signal or timer."""
    fn = function_of(nodes, i)
    if not isinstance(fn, Composite):
        return ""
    if isinstance(fn, Wait):
        return fn.word
    if isinstance(fn, Looped):
        return "loop"
    return "map" if isinstance(fn, Mapped) else "reduce" if isinstance(fn, Folded) else "dag"


def _told(nodes: Nodes, i: int) -> Iterator[str]:
    """Yield lines about the policies of node ``i`` and the place of its function."""
    executor, fallback = executor_of(nodes, i), fallback_of(nodes, i)
    fn, kind = function_of(nodes, i), _kind(nodes, i)
    rounds = fn.said() if isinstance(fn, Looped) else ()
    how = () if isinstance(fn, Wait) else ("async" if nodes.is_async[i] else "sync",)
    words = [kind, *rounds, *how, *told(nodes, i)]
    if executor not in (None, "inline"):
        words.append("in a thread" if executor == "thread" else f"executor {executor}")
    if i in nodes.retries:
        words.append(f"up to {nodes.retries[i].attempts} attempts")
    if i in nodes.may_fail:
        words.append("may fail")
    if fallback is not MISSING:
        words.append(f"fallback {shown(fallback)}")
    yield ", ".join(filter(None, words))
    yield shortened(location_of(nodes.fns[i]))
