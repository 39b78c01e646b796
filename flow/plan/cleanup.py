"""Compile cleanup: nodes that run after all others, and teardowns of setups (``cleanup=``, :meth:`flow.Dag.teardown`).

Both wait for a *gate* besides their edges: it opens once the nodes have ended that they clean up after
(:mod:`flow.plan.gates`). Their edges are live once the node before has ended, in whatever way, unless ``join`` or
``after`` says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from flow.errors import shown
from flow.plan.definition import Definition, Policy, Routing
from flow.plan.nodes import Nodes
from flow.plan.order import distinct, topological_order
from flow.plan.routes import Routes
from flow.types import MISSING

if TYPE_CHECKING:
    from flow.plan.wiring import Wirer


def read_cleanup(i: int, policy: Policy, found: Routes, nodes: Nodes, wirer: Wirer) -> Iterator[str]:
    """Note in ``found`` that node ``i`` cleans up, if it does; yield what is wrong with the options that say so."""
    setup = (policy.routing or Routing()).setup
    if type(policy.cleanup) is not bool:
        yield f"cleanup must be True or False, not {shown(policy.cleanup)}"
    elif setup is MISSING:
        if policy.cleanup:
            found.cleanup.add(i)
    elif policy.cleanup:
        yield "a teardown runs after its setup's dependants, and cleanup=True after all nodes: choose one of them"
    elif (at := wirer.find(setup)) < 0:
        wirer.unknown(setup, f"{wirer.where(i)}: of")
    else:
        found.setups[i] = at
        nodes.dependencies[i] = distinct((*nodes.dependencies[i], at))
        wirer.forward = wirer.forward or at >= i  # itself, too: no order has it


def give_gates(found: Routes, nodes: Nodes, d: Definition, wirer: Wirer) -> Iterator[tuple[int, str]]:
    """Let edges of cleanup be live in whatever way their node ends; yield nodes and their faults. O(nodes + edges)."""
    found.gated = gated = frozenset([*found.cleanup, *found.setups])
    for i in sorted(gated):
        if i in found.joins:
            continue
        policy = d.policies[i]
        conditions = () if policy.routing is None else policy.routing.conditions
        explicit = {wirer.find(ref) for ref, _ in zip(d.after[i], conditions, strict=False)}
        for before in nodes.dependencies[i]:
            if before not in explicit and before != found.setups.get(i):
                found.conditions.setdefault(i, {}).setdefault(before, "done")
    yield from _faults(found, nodes)


def _faults(found: Routes, nodes: Nodes) -> Iterator[tuple[int, str]]:
    names, gated = nodes.names, found.gated
    targets = {(router, target) for router, choice in found.routers.items() for target in choice.targets}
    for i, dependencies in enumerate(nodes.dependencies):
        for d in gated.intersection(dependencies):
            if i in found.cleanup or (i in found.setups and found.setups[i] == d):
                continue
            if i not in gated:
                why = "cleanup runs after all ordinary nodes; make both cleanup=True, or drop this dependency"
                yield i, f"an ordinary node depends on {_kind(found, d)} {shown(names[d])}: {why}"
            elif d in found.cleanup:
                why = "cleanup runs after all teardowns; drop this dependency"
                yield i, f"a teardown depends on the cleanup node {shown(names[d])}: {why}"
    for router, target in sorted(targets):
        if target in gated:
            why = "cleanup runs whatever is chosen; put its work into a node that is no cleanup"
            yield router, f"a route leads to {_kind(found, target)} {shown(names[target])}: {why}"
    for i, setup in found.setups.items():
        if setup in gated:
            kind = "a cleanup node" if setup in found.cleanup else "a teardown"
            yield i, f"a teardown is of= an ordinary node, and {shown(names[setup])} is {kind} itself"


def _kind(found: Routes, i: int) -> str:
    return "the cleanup node" if i in found.cleanup else "the teardown"


def gated_order(nodes: Nodes, ranks: Sequence[int] | None) -> list[int]:
    """Return the order in which a run with limit 1 takes nodes that include cleanup. O(nodes + edges).

    Gates become nodes: per ordinary node one for "it and all its descendants have ended", and one for "all have ended
    but cleanup". They come first among what is ready.
    """
    routes, count = nodes.routes, nodes.count
    assert routes is not None
    ordinary = [i for i in range(count) if i not in routes.gated]
    closed = {i: count + k for k, i in enumerate(ordinary)}
    last = count + len(ordinary)
    waits: list[Any] = list(nodes.dependencies)
    for i, setup in routes.setups.items():
        waits[i] = (*waits[i], closed[setup])
    for i in routes.cleanup:
        waits[i] = (*waits[i], last)
    waits += [(i, *[closed[s] for s in nodes.successors[i] if s in closed]) for i in ordinary]
    waits.append([i for i in range(count) if i not in routes.cleanup])
    before: list[Any] = [[] for _ in waits]
    for i, others in enumerate(waits):
        for d in others:
            before[d].append(i)
    places = range(count) if ranks is None else ranks
    first = len(ordinary) + 1
    order = topological_order(waits, before, [*[place + first for place in places], *range(first)])
    return [i for i in order if i < count]


__all__ = ["gated_order", "give_gates", "read_cleanup"]
