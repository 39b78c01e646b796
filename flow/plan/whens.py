"""Compile the conditions of nodes (``when=``): wire them, and give edges conditions that they say themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from flow.errors import described, shown
from flow.plan.routes import Routes, When
from flow.signature import (
    Composite,
    Parameter,
    Shape,
    is_async_callable,
    is_text,
    location_of,
    only_stars,
    remedy_of,
)
from flow.signature import shape_of as read_shape

if TYPE_CHECKING:
    from flow.plan.wiring import Wirer


def when_of(i: int, fn: Any, reads: Any, wirer: Wirer) -> tuple[When, dict[int, str]] | str:
    """Return the condition of node ``i``, and what its Outcomes say of the edges that they come over; or a fault.

    What it says of an edge is "failed", "completed", "handled" (the node is there for a failure), or nothing.
    """
    if not callable(fn) or is_async_callable(fn) or isinstance(fn, Composite):
        kind = "an async function, and nothing would await it" if callable(fn) else shown(fn)
        return f"when must be a sync function that returns True or False, not {kind}"
    try:
        shape = read_shape(fn)
    except Exception as error:  # of the function's own attributes
        return f"the parameters of when ({location_of(fn)}) cannot be read: {described(error)}"
    if star := only_stars(fn, shape):
        return f"when ({location_of(fn)}) takes {star}: let it name the outputs and inputs that it looks at"
    wiring = wirer.wire(i, shape, reads, of_condition=True)
    slots, by_place = wiring.slots, _by_place(shape, wiring.slots, wiring.keywords)
    defaults = {at: p.default for at, p in by_place.items() if p.default}
    outcomes = {at: p for at, p in by_place.items() if p.is_outcome and slots[at] >= 0}
    plain = not wiring.keywords and wiring.context == -1 and not defaults and not outcomes
    when = When(fn, slots, wiring.keywords, wiring.context, defaults, plain, tuple(outcomes))
    return when, {slots[at]: "" if p.source is None else p.source.condition for at, p in outcomes.items()}


def _by_place(shape: Shape, slots: Sequence[int], keywords: Sequence[str]) -> dict[int, Parameter]:
    """The parameters, by position among the values."""
    by_name = {p.name: p for p in shape.parameters}
    first = len(slots) - len(keywords)
    found = dict(enumerate(shape.positional[:first]))
    found.update({first + k: by_name[name] for k, name in enumerate(keywords) if name in by_name})
    return found


def needed_by(when: When) -> frozenset[int]:
    """Return the nodes whose outputs a condition cannot do without."""
    sure = [at for at in range(len(when.slots)) if at not in when.defaults and at not in when.outcomes]
    return frozenset([when.slots[at] for at in sure if when.slots[at] >= 0])


def settle_asked(found: Routes, asked: dict[int, dict[int, str]]) -> set[tuple[int, int]]:
    """Give the edges conditions over which conditions of nodes get Outcomes: "done", or what they say themselves.

    (Cleanup handles no failure: there such an edge is live however its node ends.)

    :param asked: by node, what is said of its edges, as :func:`when_of` returns it.
    :return: edges that stay live only if their node completes, though an Outcome comes over them: nodes and slots.
    """
    kept: set[tuple[int, int]] = set()
    gated = found.cleanup.union(found.setups)
    for i, edges in asked.items():
        for slot, said in edges.items():
            if said == "completed" and i not in gated:
                kept.add((i, slot))
            else:
                condition = "failed" if said == "failed" and i not in gated else "done"
                if said == "handled":
                    found.handlers.setdefault(i, set()).add(slot)
                found.conditions.setdefault(i, {}).setdefault(slot, condition)
    return kept


def when_faults(found: Routes, names: Sequence[Any]) -> Iterator[tuple[int, str]]:
    """Yield the nodes whose conditions read what may not come, and what is wrong with each."""
    for i, when in found.whens.items():
        needs = found.needs[i] - {found.setups.get(i, -1)}
        join, own = found.joins.get(i), found.conditions.get(i, ())
        all_of_them = join is not None or i in found.gated
        wrong = [slot for slot in sorted(needs) if all_of_them or slot in own]
        if wrong:
            told = ", ".join([shown(names[slot]) for slot in wrong])
            how = remedy_of(when.fn) if is_text(when.fn) else "give its parameter a default"
            yield i, f"when takes the output of {told}, which may not come: {how}"
        early = [at for at in when.outcomes if at not in when.defaults] if type(join) is int else []
        if early:
            told = ", ".join([shown(names[when.slots[at]]) for at in early])
            yield i, (
                f"when asks how {told} ended, and join={join} may start this node before: join otherwise, or ask in a "
                "function whose parameter has a default"
            )


__all__ = ["needed_by", "settle_asked", "when_faults", "when_of"]
