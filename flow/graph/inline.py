"""Copy the nodes of one definition into another, under a prefix (:meth:`flow.Dag.include`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from flow.errors import UsageError, nearest, shown
from flow.graph.routes import after_of, prefixed
from flow.plan.definition import PLAIN, Definition, Needs, Policy
from flow.plan.plan import Plan
from flow.plan.waits import Wait
from flow.signature import shape_of


def inline(
    mine: Definition,
    theirs: Definition,
    plan: Plan,
    prefix: str,
    given: Mapping[str, Any],
    starts: tuple[Any, ...],
    replace: bool = False,
) -> bool:
    """Append the nodes of ``plan``, compiled from ``theirs``, to ``mine``. O(nodes + edges).

    :param replace: remove those first that have this prefix.
    :return: whether any were removed.
    :raises UsageError: before anything is appended.
    """
    for parameter in given:
        if parameter not in plan.inputs:
            raise UsageError(f"dag {plan.name!r} has no run input {shown(parameter)}{nearest(parameter, plan.inputs)}")
    input_of = {slot: name for name, slots in plan._nodes.inputs.items() for slot in slots}
    names = [f"{prefix}.{name}" for name in plan.names]
    sources: dict[int, Any] = {slot: given.get(name) for slot, name in input_of.items()}
    sources.update(enumerate(names))
    needs = [_needs(plan, i, sources) for i in range(plan._nodes.count)]
    removed = replace and mine.cut_below(prefix)
    first = len(mine.names)
    for i, deps in enumerate(plan._nodes.dependencies):
        policy = prefixed(_policy(theirs, i), plan, i, names, sources)
        if policy is not None:
            mine.policies[first + i] = policy
        mine.after.append(tuple([names[d] for d in after_of(plan, i)]) if deps else starts)
    declared = plan._nodes.declared
    if declared is not None:
        mine.included.append(declared.without(given))
    mine.names += names
    mine.fns += plan._nodes.fns
    mine.needs += needs
    return removed


def _policy(theirs: Definition, i: int) -> Policy | None:
    policy = theirs.policies.get(i)
    if not theirs.middleware or isinstance(theirs.fns[i], Wait):
        return policy
    policy = policy or PLAIN
    return msgspec.structs.replace(policy, middleware=(*theirs.middleware, *policy.middleware))


def _needs(plan: Plan, i: int, sources: Mapping[int, Any]) -> Needs:
    """Name the source of each argument of node ``i``; inputs that are not given follow the usual rule."""
    binder = plan._nodes.binders.get(i)
    keywords = binder.keywords if binder is not None else ()
    slots = plan._nodes.arguments[i]
    fn = plan._nodes.fns[i]
    parameters = [p.name for p in (plan._nodes.shapes.get(id(fn)) or shape_of(fn)).positional]
    refs = [sources.get(slot) for slot in slots]
    by_position = len(slots) - len(keywords)
    if by_position > len(parameters):  # *args: only a sequence can fill it
        if keywords or None in refs:
            raise UsageError(
                f"node {plan.names[i]!r} mixes *args with keywords or inputs and cannot be inlined: "
                "add the Dag as one node instead"
            )
        return tuple(refs)
    named = zip((*parameters[:by_position], *keywords), refs, strict=True)
    return {parameter: ref for parameter, ref in named if ref is not None} or None
