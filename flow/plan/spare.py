"""Outputs that a node can do without: of nodes that may fail (``continue_on_error``), if it has defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import structs

from flow.plan.nodes import Nodes
from flow.plan.order import reach
from flow.policy.arguments import Optionals, optionals_of
from flow.policy.bind import Binder
from flow.signature import Composite, shape_of


def provide_defaults(nodes: Nodes, start: int, lent: Mapping[int, Sequence[int]]) -> None:
    """Give the nodes from ``start`` on the defaults that stand in for outputs which a tolerated failure may lack.

    An output may be lacking of a tolerant node, and of any that may be skipped for it. O(nodes + edges), and reading
    the functions of the nodes that come after a tolerant one.

    :param lent: nodes that a map waits for though only maps pipelined after it take their outputs.
    """
    doubtful = reach(list(nodes.may_fail), nodes.successors)
    for i in doubtful:
        if i < start or not doubtful.intersection(nodes.arguments[i]):
            continue
        defaults = defaults_of(nodes, i)
        wanting = [(at, slot) for at, slot in enumerate(nodes.arguments[i]) if slot in doubtful]
        spared = {slot for _, slot in wanting} - {slot for at, slot in wanting if at not in defaults}
        if spared:
            nodes.spared[i] = frozenset(spared)
            binder = nodes.binders.get(i) or Binder(nodes.fns[i], bool(nodes.is_async[i]))
            given = tuple([(at, *defaults[at]) for at, slot in wanting if slot in spared])
            nodes.binders[i] = structs.replace(binder, defaults=given, optional=binder.optional or optionals(nodes, i))
    for i, others in lent.items():
        nodes.spared[i] = nodes.spared.get(i, frozenset()).union(others)


def optionals(nodes: Nodes, i: int) -> Optionals | None:
    """What node ``i``'s function may be called without; a map or a Dag leaves out what is missing itself."""
    fn = nodes.fns[i]
    return None if isinstance(fn, Composite) else optionals_of(nodes.shapes.get(id(fn)) or shape_of(fn))


def defaults_of(nodes: Nodes, i: int) -> dict[int, tuple[object, ...]]:
    """The defaults of node ``i``'s parameters, each a 1-tuple, by position among its arguments."""
    fn, binder = nodes.fns[i], nodes.binders.get(i)
    shape = nodes.shapes.get(id(fn)) or shape_of(fn)
    keywords = binder.keywords if binder is not None else ()
    first_keyword = len(nodes.arguments[i]) - len(keywords)
    by_name = {p.name: p.default for p in shape.parameters}
    found = {at: p.default for at, p in enumerate(shape.positional[:first_keyword])}
    found.update({first_keyword + k: by_name.get(name, ()) for k, name in enumerate(keywords)})
    return {at: default for at, default in found.items() if default}
