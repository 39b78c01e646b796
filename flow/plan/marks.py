"""What pictures show of a plan that routes or loops: which nodes choose, merge and loop, and what edges wait for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any, Final

import msgspec

from flow.draw.text import cut
from flow.errors import printable, shown
from flow.plan.merging import Merge
from flow.plan.nodes import Nodes
from flow.plan.routes import Choice
from flow.policy.looping import Looped

_KEYS: Final = 3  # in one label
_KEY: Final = 24  # characters


class Marks(msgspec.Struct, frozen=True):
    """By node index.

    :ivar labels: by edge: the keys of a router that lead over it, and a condition other than "completed".
    :ivar loops: what is said of loops: the most rounds, and the nodes of a Dag.
    """

    routers: Set[int] = frozenset()
    merges: Set[int] = frozenset()
    labels: Mapping[tuple[int, int], str] = {}
    loops: Mapping[int, str] = {}


NOTHING: Final = Marks()


def marks_of(nodes: Nodes) -> Marks:
    """Return the marks of a plan. O(nodes with policies, edges of routers and with conditions, and keys)."""
    routes = nodes.routes
    fns: list[tuple[int, object]] = [(i, binder.fn) for i, binder in nodes.binders.items()]
    loops = {i: ", ".join(fn.said()) for i, fn in fns if isinstance(fn, Looped)}
    if routes is None:
        return Marks(loops=loops) if loops else NOTHING
    labels: dict[tuple[int, int], str] = {}
    for i, choice in routes.routers.items():
        for at, keys in _keys_of(choice).items():
            labels[i, at] = ", ".join(keys[:_KEYS]) + (f", +{len(keys) - _KEYS}" if len(keys) > _KEYS else "")
    for s, by_node in routes.conditions.items():
        for i, condition in by_node.items():
            labels[i, s] = f"{labels[i, s]}: {condition}" if (i, s) in labels else condition
    merges = frozenset([i for i in routes.joins if isinstance(nodes.fns[i], Merge)])
    return Marks(frozenset(routes.routers), merges, labels, loops)


def told(nodes: Nodes, i: int) -> Iterator[str]:
    """Yield a few words about what decides whether node ``i`` runs, and what it decides."""
    routes = nodes.routes
    if routes is None:
        return
    if i in routes.routers:
        yield "chooses what runs"
    if i in routes.joins:
        yield f"join={routes.joins[i]!r}"
    if i in routes.whens:
        said = routes.whens[i].said
        yield "has a condition (when)" if said == "when" else f"when {said}"
    if i in routes.gated:
        yield "cleans up" if i in routes.cleanup else "is a teardown"


def _keys_of(choice: Choice) -> dict[int, list[str]]:
    by_name: dict[str, list[str]] = {name: [] for name in choice.targets.values()}
    for key, name in choice.to.items():
        if name in by_name:
            by_name[name].append(_text(key))
    if choice.default in by_name:
        by_name[choice.default].append("default")
    return {at: by_name[name] for at, name in choice.targets.items()}


def _text(key: Any) -> str:
    return cut(printable(key), _KEY) if type(key) is str else shown(key, _KEY)


__all__ = ["NOTHING", "Marks", "marks_of", "told"]
