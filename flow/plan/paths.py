"""Longest paths through a graph given as "node i waits for dependencies[i]", in one pass over an order of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from flow.awaits import UNAWAITED, is_unawaited
from flow.errors import UsageError, shown

Durations: TypeAlias = Mapping[str, float] | Callable[[str], float] | None


class CriticalPath(msgspec.Struct, frozen=True):
    """The longest chain of a plan: the least time any number of workers needs.

    :ivar nodes: names along it, in running order.
    :ivar length: sum of their durations: seconds, or nodes if no durations were given.
    """

    nodes: tuple[str, ...]
    length: float


def weights(names: Sequence[str], costs: Mapping[int, float], durations: Durations) -> list[float]:
    """Each node's weight: from ``durations``, else its cost where any node has one, else 1."""
    if durations is None:
        if not costs:
            return [1.0] * len(names)
        return [costs.get(i, 0.0) for i in range(len(names))]
    if isinstance(durations, Mapping):
        return [durations.get(name, 0.0) for name in names]
    if is_unawaited(durations):
        raise UsageError(f"durations {UNAWAITED} of a node's name, not {shown(durations)}")
    return [durations(name) for name in names]


def level_of(dependencies: Sequence[Sequence[int]], order: Sequence[int]) -> list[int]:
    """Per node, the edges on the longest path that leads to it."""
    levels = [0] * len(dependencies)
    for i in order:
        deps = dependencies[i]
        if deps:
            levels[i] = 1 + max([levels[d] for d in deps])
    return levels


def longest_chain(
    dependencies: Sequence[Sequence[int]], order: Sequence[int], weight: Sequence[float]
) -> tuple[list[int], float]:
    """Return the heaviest path, in running order, and its weight."""
    longest = [0.0] * len(dependencies)
    via = [-1] * len(dependencies)
    for i in order:
        best, at = 0.0, -1
        for d in dependencies[i]:
            if at < 0 or longest[d] > best:
                best, at = longest[d], d
        longest[i] = best + weight[i]
        via[i] = at
    at = max(range(len(longest)), key=longest.__getitem__)
    length = longest[at]
    path = []
    while at >= 0:
        path.append(at)
        at = via[at]
    path.reverse()
    return path, length


def longest_below(dependencies: Sequence[Sequence[int]], order: Sequence[int], weight: Sequence[float]) -> list[float]:
    """Per node, the weight of the heaviest path that begins with it."""
    below = [0.0] * len(dependencies)
    for i in reversed(order):
        below[i] += weight[i]
        for d in dependencies[i]:
            below[d] = max(below[d], below[i])
    return below
