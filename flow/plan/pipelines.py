"""Maps that take the items of another map as they come (``pipelined=True``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flow.errors import shown
from flow.plan.nodes import Nodes
from flow.plan.order import distinct, reach
from flow.policy.mapping import Mapped


def join_pipelines(
    nodes: Nodes, fns: Sequence[Any], pipelined: Sequence[int], where: Callable[[int], str]
) -> tuple[dict[int, list[int]], list[str]]:
    """Give each map those pipelined after it; it runs them, so it waits for what they take besides its results.

    :param pipelined: the maps that are to be.
    :return: per map what it waits for only for those pipelined after it, and what is wrong.
    """
    lent: dict[int, list[int]] = {}
    faults: list[str] = []
    before: dict[int, int] = {}
    for i in pipelined:
        if not nodes.arguments[i]:  # its function could not be read
            continue
        fault = _fault(fns[i], nodes.names, fns, nodes.arguments[i])
        if fault:
            faults.append(f"{where(i)}: {fault}")
            continue
        before[i] = source = nodes.arguments[i][0]
        nodes.pipelines[source] = (*nodes.pipelines.get(source, ()), i)
    for i, source in before.items():
        others = [d for d in nodes.dependencies[i] if d != source]
        first, seen = source, {i}
        while first in before and first not in seen:  # (a cycle is found later)
            seen.add(first)
            first = before[first]
        if others and first in reach(others, nodes.dependencies):
            faults.append(
                f"{where(i)}: cannot be pipelined: it also waits for what itself waits for the map "
                f"{shown(str(nodes.names[first]))}, and its items could never start before that has ended"
            )
        elif others:
            lent.setdefault(first, []).extend([d for d in others if d not in nodes.dependencies[first]])
            nodes.dependencies[first] = distinct((*nodes.dependencies[first], *others))
    return lent, faults


def _fault(over: Mapped, names: Sequence[Any], fns: Sequence[Any], slots: Sequence[int]) -> str:
    """Say why a map cannot take its items from the node at its first slot as they come; nothing if it can."""
    source = slots[0]
    label = str(names[source]) if source >= 0 else over.sources[0]
    before = fns[source] if source >= 0 else None
    if len(over.sources) != 1:
        return f"pipelined goes over one other map, not over {len(over.sources)} sources"
    if not isinstance(before, Mapped):
        return f"pipelined goes over one other map; {shown(label)} is none"
    try:
        takes_all = source in slots[1:] or any(p.name in over.sources for p in over.roles.extras)
    except TypeError:  # its function cannot be read, which is another fault
        return ""
    if takes_all:
        why = f"its function also takes all of {shown(label)}"
        return f"cannot be pipelined: {why}, which is not there before it has ended"
    if over.options.take is not None:
        return "take and pipelined exclude each other: give take to the first map"
    if before.options.batch_size is not None:
        return f"cannot be pipelined after {shown(label)}, which has batches"
    return f"cannot be pipelined after {shown(label)}, which is a flat_map" if before.options.outcome == "flat" else ""
