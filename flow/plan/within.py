"""What a plan has to know of the plans that its nodes run: of Dags as nodes, maps and loops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flow.plan.nodes import Nodes, function_of
from flow.plan.waits import plan_within
from flow.policy.mapping import Mapped


def note_within(nodes: Nodes, i: int, fn: Any) -> None:
    """Note what is special of the plan that node ``i`` with the function ``fn`` runs, if it runs one."""
    plan = plan_within(fn)
    if plan is not None:
        if plan._nodes.waits:
            nodes.holders.add(i)
        if plan._nodes.secret:
            nodes.guarded.add(i)


def secret_inputs(nodes: Nodes) -> frozenset[str]:
    """Return the secret run inputs of a plan: those it declares, and those that a plan within takes as such."""
    declared = frozenset[str]() if nodes.declared is None else nodes.declared.secret
    if not nodes.guarded:
        return declared
    name_of = {slot: name for name, slots in nodes.inputs.items() for slot in slots}
    return declared.union([name_of[slot] for i in nodes.guarded for slot in _secret_slots(nodes, i) if slot in name_of])


def _secret_slots(nodes: Nodes, i: int) -> Iterator[int]:
    """Yield the slots of node ``i`` that provide secret inputs of the plan it runs."""
    fn: Any = function_of(nodes, i)
    around, slots = fn.around, nodes.arguments[i]
    secret = plan_within(fn)._nodes.secret if around is None else around.secret
    if around is None and isinstance(fn, Mapped) and not secret.isdisjoint(fn.roles.items):
        yield from slots[: len(fn.sources)]
    for parameter, slot in zip(nodes.parameters(i), slots, strict=True):
        if parameter in secret:
            yield slot


__all__ = ["note_within", "secret_inputs"]
