"""The run inputs of a Dag as a workflow file declares them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flow.errors import shown
from flow.plan.declared import Declared
from flow.plan.nodes import function_of
from flow.plan.plan import Plan
from flow.policy.looping import Looped
from flow.policy.mapping import Mapped
from flow.signature import Composite, shape_of
from flow.spec.dumping.literals import Unsayable, input_type, literal, optional
from flow.types import ABSENT, MISSING

_UNDECLARED: Final = Declared((), {}, {}, {}, frozenset(), infers=True)


def inputs_of(plan: Plan, faults: list[str]) -> dict[str, Any]:
    """Return the inputs of a plan by name; what a file cannot say goes to ``faults``."""
    declared = plan._nodes.declared or _UNDECLARED
    if declared.anything:
        faults.append("inputs: a run may give any other input (...), and a file declares each")
    if hasattr(declared.source, "__post_init__"):
        faults.append(f"inputs: {declared.source.__name__} checks them together (__post_init__): a file has no words")
    own = _own_defaults(plan) if any(value is ABSENT for value in plan._nodes.input_defaults) else {}
    found: dict[str, Any] = {}
    for name in dict.fromkeys([*declared.names, *plan.inputs]):
        if not name.isidentifier() or name.startswith("_"):
            faults.append(f"input {shown(name)}: its name is no letter followed by letters, digits and '_'")
            continue
        try:
            found[name] = _input(plan, declared, name, own)
        except Unsayable as error:
            faults.append(f"input {shown(name)}: {error}")
    return found


def _input(plan: Plan, declared: Declared, name: str, own: Mapping[int, Any]) -> dict[str, Any]:
    kind, may_be_none = declared.types.get(name, Any), False
    given = _default(plan, declared, name, own)
    if given and given[0] is None:
        kind, may_be_none = optional(kind)
    made = input_type(kind)
    if name in declared.secret:
        made["secret"] = True
    if given and given[0] is None and (may_be_none or kind is Any):
        made["required"] = False
    elif given:
        made["default"] = literal(given[0])
    return made


def _default(plan: Plan, declared: Declared, name: str, own: Mapping[int, Any]) -> tuple[Any, ...]:
    """Return the value of an input that is not given, in a tuple; an empty one if every run gives it."""
    if name in declared.defaults:
        return declared.defaults[name]
    if name in declared.factories:
        return (declared.factories[name](),)
    slots = plan._nodes.inputs.get(name, ())
    defaults = plan._nodes.input_defaults
    values = [own.get(slot, defaults[slot]) if defaults[slot] is ABSENT else defaults[slot] for slot in slots]
    if name in declared.required or not values or any(value is MISSING for value in values):
        return ()
    if any(value is ABSENT for value in values):
        raise Unsayable("it may be left out, and what then holds is not known here: declare it with a default")
    first = values[0]
    if any(type(value) is not type(first) or value != first for value in values):
        raise Unsayable("several functions have different defaults for it: declare it, with one")
    return (first,)


def _own_defaults(plan: Plan) -> dict[int, Any]:
    """Return by slot the defaults of parameters that loops and maps leave out of the call."""
    nodes, found = plan._nodes, {}
    for i in nodes.binders:
        fn = function_of(nodes, i)
        if isinstance(fn, (Looped, Mapped)) and not isinstance(fn.fn, Composite):
            defaults = {p.name: p.default[0] for p in shape_of(fn.fn).parameters if p.default}
            slots = zip(nodes.parameters(i), nodes.arguments[i], strict=True)
            found.update({slot: defaults[name] for name, slot in slots if name in defaults})
    return found


__all__ = ["inputs_of"]
