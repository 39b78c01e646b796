"""What can be told of the graph of tasks: its cycles, and what is reached through one task only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from flow.spec.converting.model import Task

Edges = Mapping[str, Sequence[str]]


def edges_of(tasks: Mapping[str, Task]) -> dict[str, list[str]]:
    """Return the tasks that each task leads to, each once."""
    return {
        name: list(dict.fromkeys(target for one in task.next for target in one.do if target in tasks))
        for name, task in tasks.items()
    }


def entries_of(tasks: Mapping[str, Task]) -> list[str]:
    """Return the tasks that no task leads to."""
    led_to = {target for targets in edges_of(tasks).values() for target in targets}
    return [name for name in tasks if name not in led_to]


def reached(edges: Edges, starts: Iterable[str], without: str | None = None) -> set[str]:
    """Return what is reached from some tasks. :param without: as if this task were not there. O(n + e)."""
    todo = [name for name in starts if name != without]
    found = set(todo)
    while todo:
        for target in edges[todo.pop()]:
            if target not in found and target != without:
                found.add(target)
                todo.append(target)
    return found


def cycles(edges: Edges) -> list[set[str]]:
    """Return the sets of tasks that lead to each other, in some order; also of one that leads to itself. O(n + e)."""
    order, seen = list[str](), set[str]()
    for root in edges:
        if root in seen:
            continue
        seen.add(root)
        stack = [(root, iter(edges[root]))]
        while stack:
            name, targets = stack[-1]
            for target in targets:
                if target not in seen:
                    seen.add(target)
                    stack.append((target, iter(edges[target])))
                    break
            else:
                order.append(name)
                stack.pop()
    back: dict[str, list[str]] = {name: [] for name in edges}
    for name, into in edges.items():
        for target in into:
            back[target].append(name)
    found, seen = list[set[str]](), set()
    for root in reversed(order):
        if root in seen:
            continue
        group = {root}
        todo = [root]
        while todo:
            for name in back[todo.pop()]:
                if name not in group and name not in seen:
                    group.add(name)
                    todo.append(name)
        seen |= group
        if len(group) > 1 or root in edges[root]:
            found.append(group)
    return found


def ordered(edges: Edges) -> list[str]:
    """Return the tasks so that each comes before those it leads to, else in the order of the file. O(n + e)."""
    from heapq import heapify, heappop, heappush

    places = {name: place for place, name in enumerate(edges)}
    names = list(edges)
    before = dict.fromkeys(edges, 0)
    for targets in edges.values():
        for target in targets:
            before[target] += 1
    ready = [places[name] for name in edges if not before[name]]
    heapify(ready)
    found = list[str]()
    while ready:
        name = names[heappop(ready)]
        found.append(name)
        for target in edges[name]:
            before[target] -= 1
            if not before[target]:
                heappush(ready, places[target])
    return found


__all__ = ["cycles", "edges_of", "entries_of", "ordered", "reached"]
