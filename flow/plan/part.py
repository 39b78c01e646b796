"""Cut a plan down to the nodes that given targets need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flow.types import MISSING

if TYPE_CHECKING:
    from flow.plan.plan import Plan


def part_of(plan: Plan, part: Plan, kept: Sequence[int]) -> Plan:
    """Fill the empty plan ``part`` with the nodes ``kept`` of ``plan``. O(nodes + edges).

    :param kept: ascending indices, with all that they depend on.
    """
    new = dict(zip(kept, range(len(kept)), strict=True))
    part.names = [plan.names[i] for i in kept]
    part.index = dict(zip(part.names, range(len(kept)), strict=True))
    part.fns = [plan.fns[i] for i in kept]
    part.kinds = bytearray([plan.kinds[i] for i in kept])
    for i in kept:
        arguments, dependencies = plan.arguments[i], plan.dependencies[i]
        slots = tuple([new.get(slot, slot) for slot in arguments])  # input slots count from the end: they stay
        part.arguments.append(slots)
        part.dependencies.append(slots if dependencies is arguments else tuple([new[d] for d in dependencies]))
    part.binders = {new[i]: binder for i, binder in plan.binders.items() if i in new}
    part.retries = {new[i]: retry for i, retry in plan.retries.items() if i in new}
    part.priorities = {new[i]: priority for i, priority in plan.priorities.items() if i in new}
    part.costs = {new[i]: cost for i, cost in plan.costs.items() if i in new}
    part.tolerant = {new[i] for i in plan.tolerant if i in new}
    part.fallbacks = {new[i]: fallback for i, fallback in plan.fallbacks.items() if i in new}
    part.spared = {new[i]: frozenset([new[d] for d in nodes]) for i, nodes in plan.spared.items() if i in new}
    part.pipelines = {
        new[i]: followers
        for i, after in plan.pipelines.items()
        if i in new and (followers := tuple([new[a] for a in after if a in new]))
    }
    part.shapes = plan.shapes
    # Nothing kept waits for anything dropped, so what is left of the order is the part's own.
    part.order = range(len(kept)) if isinstance(plan.order, range) else [new[i] for i in plan.order if i in new]
    part.all_sync = 1 not in part.kinds
    part.inputs, part.tail = plan.inputs, plan.tail
    used = {slot for slots in part.arguments for slot in slots if slot < 0 and plan.tail[slot] is MISSING}
    part.required_inputs = tuple([name for name in plan.required_inputs if not used.isdisjoint(plan.inputs[name])])
    return part
