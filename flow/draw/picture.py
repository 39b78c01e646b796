"""A graph to be drawn, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Final

import msgspec

from flow.draw.layout import Edge
from flow.types import Status

MAX_NODES: Final = 300
"""Most nodes of a graph in which each node has a box. A larger graph is drawn by level, without notes and tooltips."""


class Picture(msgspec.Struct, frozen=True):
    """A graph, and the texts beside its nodes. Nodes are indices.

    :ivar title: the Dag's name.
    :ivar levels: per node, the edges of the longest path that leads to it.
    :ivar edges: upstream, downstream, and whether data passes.
    :ivar status: by node, for nodes that have a status.
    :ivar notes: per node, a few words in its box; ``tips``: lines of its tooltip.
    :ivar stacked: nodes that are drawn as several: maps.
    :ivar routers: nodes that choose what runs; ``merges``: those that take the output of what ran.
    :ivar labels: texts on edges, by upstream and downstream; ``dead``: edges over which nothing came in a run.
    """

    title: str
    names: Sequence[str]
    levels: Sequence[int]
    edges: Sequence[Edge]
    status: Mapping[int, Status] = {}
    notes: Mapping[int, str] = {}
    tips: Mapping[int, str] = {}
    stacked: Set[int] = frozenset()
    routers: Set[int] = frozenset()
    merges: Set[int] = frozenset()
    labels: Mapping[tuple[int, int], str] = {}
    dead: Set[tuple[int, int]] = frozenset()


def by_status(status: Mapping[int, Status]) -> dict[Status, int]:
    """Return the number of nodes by status, for statuses that occur."""
    counts = dict.fromkeys(Status, 0)
    for each in status.values():
        counts[each] += 1
    return {each: count for each, count in counts.items() if count}
