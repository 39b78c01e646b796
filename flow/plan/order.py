"""Orders of a graph given as "node i waits for dependencies[i]"; all iterative, so depth is no limit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import Any


def successors_of(dependencies: Sequence[Sequence[int]]) -> list[Sequence[int]]:
    """Turn "waits for" into "is waited for by". O(nodes + edges)."""
    successors: list[Any] = [()] * len(dependencies)  # a list only where there is something to hold
    for i, deps in enumerate(dependencies):
        for d in deps:
            known = successors[d]
            if known:
                known.append(i)
            else:
                successors[d] = [i]
    return successors


def extended_successors(known: Sequence[Sequence[int]], dependencies: Sequence[Sequence[int]]) -> list[Sequence[int]]:
    """:func:`successors_of` for a graph whose first ``len(known)`` nodes had ``known``, which stays as it is."""
    successors = [*known, *[()] * (len(dependencies) - len(known))]
    for i in range(len(known), len(dependencies)):
        for d in dependencies[i]:
            successors[d] = [*successors[d], i]
    return successors


def is_ordered(dependencies: Sequence[Sequence[int]], start: int = 0) -> bool:
    """Tell whether each node from ``start`` on stands after all it waits for; ends at the first that does not."""
    for i in range(start, len(dependencies)):
        for d in dependencies[i]:
            if d >= i:
                return False
    return True


def topological_order(
    dependencies: Sequence[Sequence[int]], successors: Sequence[Sequence[int]], ranks: Sequence[int] | None
) -> list[int]:
    """The order in which a run with limit 1 takes nodes: always the ready one of lowest rank.

    Nodes are visited by rank; one that is not ready is left behind, and one that gets ready
    behind the present place goes through a heap. O(nodes + edges), plus O(log n) per node left behind.

    :param ranks: each node's place, a permutation; None for definition order.
    :return: the indices in that order; nodes on or behind a cycle are missing.
    """
    waiting = list(map(len, dependencies))
    rank: Sequence[int] = range(len(waiting)) if ranks is None else ranks
    by_rank: Sequence[int] = rank if ranks is None else inverse(ranks)
    order: list[int] = []
    behind: list[int] = []
    for place, first in enumerate(by_rank):
        if waiting[first]:
            continue
        i = first
        while True:
            order.append(i)
            for s in successors[i]:
                waiting[s] -= 1
                if not waiting[s] and rank[s] < place:
                    heappush(behind, rank[s])
            if not behind:
                break
            i = by_rank[heappop(behind)]
    return order


def cycle_in(dependencies: Sequence[Sequence[int]], order: Sequence[int]) -> list[int]:
    """Return indices along one cycle in running order, first repeated last; [] if ``order`` has every node.

    What the countdown could not order waits for something that it could not order either, so
    walking upstream among those must come round. O(nodes + edges).
    """
    stuck = bytearray(b"\1") * len(dependencies)
    for i in order:
        stuck[i] = 0
    at = stuck.find(1)
    if at < 0:
        return []
    seen: dict[int, int] = {}
    path: list[int] = []
    while at not in seen:
        seen[at] = len(path)
        path.append(at)
        at = next(dep for dep in dependencies[at] if stuck[dep])
    return [at, *reversed(path[seen[at] :])]


def reach(starts: Iterable[int], step: Sequence[Sequence[int]]) -> frozenset[int]:
    """All that can be reached from ``starts``, themselves included. O(nodes + edges)."""
    todo = list(starts)
    seen = set(todo)
    while todo:
        for n in step[todo.pop()]:
            if n not in seen:
                seen.add(n)
                todo.append(n)
    return frozenset(seen)


def distinct(slots: list[int] | tuple[int, ...]) -> tuple[int, ...]:
    """The node indices among ``slots``, each once; the very same tuple if that is what it is."""
    unique = tuple(dict.fromkeys([slot for slot in slots if slot >= 0]))
    return slots if unique == slots and type(slots) is tuple else unique


def inverse(permutation: Sequence[int]) -> list[int]:
    """Turn "who stands at each place" into "at which place does each stand", or back."""
    result = [0] * len(permutation)
    for place, i in enumerate(permutation):
        result[i] = place
    return result
