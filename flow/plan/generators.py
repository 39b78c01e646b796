"""Nodes whose output is a generator: that can be gone over once, so one node may read it, and that once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flow.awaits import is_generator_function
from flow.errors import shown
from flow.plan.definition import Definition
from flow.plan.nodes import Nodes
from flow.policy.looping import Looped
from flow.policy.mapping import Mapped
from flow.signature import Composite, Nested


def mark_generators(nodes: Nodes, d: Definition, start: int, ids: set[int]) -> None:
    """Note which nodes give a generator. (One with middleware may well return something else.)

    :param ids: of the generator functions met in the nodes from ``start`` on; those of older nodes are added.
    """
    ids.update([id(d.fns[i]) for i in nodes.generators])  # what an earlier compile has read is not read again
    if ids and not d.middleware:
        mine = {i for i in range(start, nodes.count) if id(d.fns[i]) in ids}
        nodes.generators.update([i for i in mine if i not in d.policies or not d.policies[i].middleware])


def reading_faults(nodes: Nodes, fns: Sequence[Any], where: Callable[[int], str]) -> list[str]:
    """Say which generators several nodes read. O(nodes + arguments) if there are any."""
    if not nodes.generators:
        return []
    readers: dict[int, list[int]] = {i: [] for i in sorted(nodes.generators)}
    for i, slots in enumerate(nodes.arguments):
        for slot in nodes.generators.intersection(slots):
            reads = max(_reads(fns[i], at) for at, found in enumerate(slots) if found == slot)
            readers[slot] += [i] * reads
    return [_fault(where(i), nodes.names, several) for i, several in readers.items() if len(several) > 1]


def _fault(where: str, all_names: Sequence[str], readers: Sequence[int]) -> str:
    names = [shown(str(all_names[k])) for k in dict.fromkeys(readers)]
    several = f"nodes {' and '.join(names[:3])}" if len(names) > 1 else f"node {names[0]}"
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    read = "read it" if len(names) > 1 else "reads it more than once"
    return (
        f"{where} gives a generator, which can be gone over once, but {several}{more} "
        f"{read}: whichever comes later would find nothing left. Let it return list(...)"
    )


def _reads(fn: Any, at: int) -> int:
    """How often a node goes over what comes at position ``at``: several times (2), if each item or round does."""
    around = fn.around if issubclass(type(fn), Composite) else None
    if around is not None:
        name = around.shape().positional[at].name
        return 1 if name in around.sources or isinstance(fn, Nested) else 2
    if isinstance(fn, Mapped):
        if at >= len(fn.sources):
            return 2
        try:
            return 2 if any(p.name == fn.sources[at] for p in fn.roles.extras) else 1
        except TypeError:  # its function cannot be read, which is another fault
            return 1
    if isinstance(fn, Looped) and fn.body is not None:
        carried = [name for name, _ in fn.carried]
        return _reads(fn.body, at) if fn.most == 1 or fn.body.inputs[at] in carried else 2
    if isinstance(fn, Nested):
        nodes: Nodes = fn.plan._nodes
        slots_of: Mapping[str, tuple[int, ...]] = nodes.inputs
        inside = set(slots_of[fn.inputs[at]])
        return sum(slot in inside for slots in nodes.arguments for slot in slots)
    return 1


def makes_generators(fn: Any) -> bool:
    """Tell whether a map's function only makes generators, of which nothing runs within the item's call."""
    if type(fn) is not Mapped or not is_generator_function(fn.fn):
        return False
    return fn.options.batch_size is None and fn.options.outcome != "flat"
