"""What a plan takes and gives, as callers from outside see it: its inputs with their types, and its outputs."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import msgspec

from flow.plan.annotated import Annotations
from flow.plan.assignable import UNKNOWN
from flow.plan.plan import Plan
from flow.signature import shape_of


class Input(msgspec.Struct, frozen=True):
    """An input that runs of a workflow take.

    :ivar type: its annotation; Any if there is none, or if nodes do not agree on one.
    :ivar default: a 1-tuple; () if there is none, or if each run makes its own. :ivar secret: its value is not shown.
    """

    name: str
    type: Any = Any
    required: bool = True
    default: tuple[Any, ...] = ()
    secret: bool = False


def inputs_of(plan: Plan) -> dict[str, Input]:
    """Return the inputs that runs of a plan take, by name. O(nodes + arguments)."""
    nodes = plan._nodes
    declared = nodes.declared
    if declared is not None:
        found = {
            name: Input(
                name,
                declared.types.get(name, Any),
                name in declared.required,
                declared.defaults.get(name, ()),
                name in declared.secret,
            )
            for name in declared.names
        }
        if not declared.infers:
            return found
    else:
        found = {}
    annotations, shapes = Annotations(), _taken(plan)
    for name in plan.inputs:
        if name not in found:
            found[name] = _inferred(name, name in nodes.required_inputs, shapes.get(name, ()), annotations)
    return found


def _taken(plan: Plan) -> dict[str, list[Any]]:
    """Return by input the functions that take it."""
    nodes = plan._nodes
    name_of = {slot: name for name, slots in nodes.inputs.items() for slot in slots}
    takers: dict[str, list[Any]] = {}
    for i, slots in enumerate(nodes.reads):
        for slot in slots:
            if slot in name_of:
                takers.setdefault(name_of[slot], []).append(nodes.fns[i])
    return takers


def _inferred(name: str, required: bool, fns: Sequence[Any], annotations: Annotations) -> Input:
    kinds = [annotations.of(fn).get(name, UNKNOWN) for fn in fns]
    kind = kinds[0] if kinds and all(other == kinds[0] for other in kinds) else UNKNOWN
    defaults = [p.default for fn in fns for p in shape_of(fn).parameters if p.name == name and p.default]
    default = defaults[0] if defaults and not required else ()
    known = kind is not UNKNOWN and kind is not inspect.Parameter.empty
    return Input(name, kind if known else Any, required, default)


def output_types(plan: Plan, names: Sequence[str]) -> dict[str, Any]:
    """Return the types of the outputs of these nodes; Any where nothing is known."""
    annotations, nodes = Annotations(), plan._nodes
    found = {}
    for name in names:
        kind = annotations.returned(nodes.fns[plan.find(name)])
        found[name] = Any if kind is UNKNOWN else kind
    return found


def sinks(plan: Plan) -> tuple[str, ...]:
    """Return the nodes that no other one takes. Cleanup gives nothing, and takes nothing away. O(nodes + edges)."""
    routes, names = plan._nodes.routes, plan.names
    cleanup = set() if routes is None else {names[i] for i in routes.gated}
    return tuple([name for name, after in plan.successors.items() if name not in cleanup and cleanup.issuperset(after)])


__all__ = ["Input", "inputs_of", "output_types", "sinks"]
