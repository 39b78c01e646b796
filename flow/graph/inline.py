"""Copy the nodes of one definition into another, under a prefix (:meth:`flow.Dag.include`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from flow.errors import UsageError, nearest, shown
from flow.graph.routes import after_of, prefixed
from flow.plan.definition import PLAIN, Definition, Needs, Policy
from flow.plan.plan import Plan
from flow.plan.waits import Wait
from flow.signature import shape_of
from flow.types import ABSENT


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
    cleanup = () if plan._nodes.routes is None else plan._nodes.routes.gated
    for i, deps in enumerate(plan._nodes.dependencies):
        policy = prefixed(_policy(theirs, i), plan, i, names, sources)
        if policy is not None:
            mine.policies[first + i] = policy
        mine.after.append(tuple([names[d] for d in after_of(plan, i)]) if deps or i in cleanup else starts)
    declared = plan._nodes.declared
    if declared is not None:
        mine.included.append(declared.without(given))
    mine.names += names
    mine.fns += plan._nodes.fns
    mine.needs += needs
    return removed


def cleanup_of_part(
    plan: Plan, i: int, policy: Policy, keep: Collection[int]
) -> tuple[Needs, tuple[str, ...], Policy]:
    """Return needs, order and policy of node ``i`` of ``plan``, which cleans up, in a Dag of the nodes ``keep``.

    Parameters take their defaults, or a pending Outcome, for nodes that it lacks.
    """
    names = plan.names
    sources = {slot: names[slot] if slot in keep else ABSENT for slot in plan._nodes.reads_of(i) if slot >= 0}
    policy = prefixed(policy, plan, i, names, sources) or policy
    assert policy.routing is not None
    before = [(names[d], c) for d, c in zip(after_of(plan, i), policy.routing.conditions, strict=True) if d in keep]
    routing = msgspec.structs.replace(policy.routing, conditions=tuple([condition for _, condition in before]))
    after = tuple([name for name, _ in before])
    return _needs(plan, i, sources), after, msgspec.structs.replace(policy, routing=routing)


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
