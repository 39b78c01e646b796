"""A stored run as a picture, without its Dag."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flow.draw.picture import Picture
from flow.draw.svg import draw
from flow.types import Status

if TYPE_CHECKING:
    from flow.store.backend import RunRow
    from flow.store.story import Story
    from flow.store.structure import Structure


def picture(row: RunRow, story: Story, structure: Structure) -> str:
    """Draw the outermost nodes of a run, with their statuses, as an SVG. O(nodes + edges)."""
    nodes = structure.nodes.get("", {})
    names = list(nodes)
    index = {name: i for i, name in enumerate(names)}
    edges = [
        (index[source], i, bool(equals))
        for i, name in enumerate(names)
        for _, equals, source in (take.rpartition("=") for take in nodes[name].takes)
        if source in index
    ]
    known = {str(status): status for status in Status}
    status = {
        index[node.name]: known[node.status]
        for node in story.nodes
        if not node.path and node.item is None and node.name in index and node.status in known
    }
    return draw(Picture(row.dag, names, _levels(len(names), edges), edges, status), alone=True)


def _levels(count: int, edges: Sequence[tuple[int, int, bool]]) -> list[int]:
    """Return for each node the edges of the longest path to it. O(nodes + edges)."""
    after: dict[int, list[int]] = {}
    left = [0] * count
    for source, to, _ in edges:
        after.setdefault(source, []).append(to)
        left[to] += 1
    levels, todo = [0] * count, [i for i in range(count) if not left[i]]
    while todo:
        i = todo.pop()
        for to in after.get(i, ()):
            levels[to] = max(levels[to], levels[i] + 1)
            left[to] -= 1
            if not left[to]:
                todo.append(to)
    return levels


__all__ = ["picture"]
