"""What a node can do without: outputs of nodes that may fail (``continue_on_error``), where it has defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import structs

from flow.plan.order import reach
from flow.plan.plan import Plan
from flow.policy.arguments import Optionals, optionals_of
from flow.policy.bind import Binder
from flow.signature import Composite, shape_of


def provide_defaults(plan: Plan, start: int, lent: Mapping[int, Sequence[int]]) -> None:
    """Give the nodes from ``start`` on the defaults that stand in for outputs which a tolerated failure may lack.

    An output may be lacking of a tolerant node, and of any that may be skipped for it. O(nodes + edges), and reading
    the functions of the nodes that come after a tolerant one.

    :param lent: nodes that a map waits for though only maps pipelined after it take their outputs.
    """
    doubtful = reach(list(plan.tolerant), plan.successors)
    for i in doubtful:
        if i < start or not doubtful.intersection(plan.arguments[i]):
            continue
        defaults = _defaults(plan, i)
        wanting = [(at, slot) for at, slot in enumerate(plan.arguments[i]) if slot in doubtful]
        spared = {slot for _, slot in wanting} - {slot for at, slot in wanting if at not in defaults}
        if spared:
            plan.spared[i] = frozenset(spared)
            binder = plan.binders.get(i) or Binder(plan.fns[i], bool(plan.kinds[i]))
            given = tuple([(at, *defaults[at]) for at, slot in wanting if slot in spared])
            plan.binders[i] = structs.replace(binder, defaults=given, optional=binder.optional or _optionals(plan, i))
    for i, nodes in lent.items():
        plan.spared[i] = plan.spared.get(i, frozenset()).union(nodes)


def _optionals(plan: Plan, i: int) -> Optionals | None:
    """What node ``i``'s function may be called without; a map or a Dag leaves out what is missing itself."""
    fn = plan.fns[i]
    return None if isinstance(fn, Composite) else optionals_of(plan.shapes.get(id(fn)) or shape_of(fn))


def _defaults(plan: Plan, i: int) -> dict[int, tuple[object, ...]]:
    """The defaults of node ``i``'s parameters, each a 1-tuple, by position among its arguments."""
    fn, binder = plan.fns[i], plan.binders.get(i)
    shape = plan.shapes.get(id(fn)) or shape_of(fn)
    keywords = binder.keywords if binder is not None else ()
    first_keyword = len(plan.arguments[i]) - len(keywords)
    by_name = {p.name: p.default for p in shape.parameters}
    found = {at: p.default for at, p in enumerate(shape.positional[:first_keyword])}
    found.update({first_keyword + k: by_name.get(name, ()) for k, name in enumerate(keywords)})
    return {at: default for at, default in found.items() if default}
